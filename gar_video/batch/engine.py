"""A run: footage in, answers out, each written exactly once, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gar_video.batch import results
from gar_video.batch.batches import cut_batches, is_finished, take_batch
from gar_video.batch.crew import Answered, Crew, WorkerLost
from gar_video.batch.fetching import drop_copy
from gar_video.batch.footage import Footage
from gar_video.batch.settings import Settings
from gar_video.batch.state import Counts, DiskFullError, State, Unit
from gar_video.errors import Cancelled, GARVideoError

LEASE_S = 600.0
_AHEAD = 4  # batches that wait to be answered, at most, while recordings are still looked at
_LOST = 3  # workers that a batch may take with it
_FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        recordings: Recordings by state.
        units: Units by state.
        seconds: Seconds since it was started, or gone on with.
        answered: Units answered since then.
    """

    recordings: Counts
    units: Counts
    seconds: float
    answered: int

    @property
    def expected(self) -> int:
        """Units in all, guessed where recordings have not been looked at yet."""
        known = self.recordings.done + self.recordings.failed
        return round(self.units.total * self.recordings.total / known) if known else 0

    @property
    def left_s(self) -> float | None:
        """Seconds left, at the pace so far; None if nobody knows yet."""
        done = self.units.done + self.units.failed
        if not self.answered:
            return None
        return self.seconds / self.answered * max(0, self.expected - done)


@dataclass(eq=False)
class _Job:
    """What somebody is at."""

    owner: str
    units: list[Unit] = field(default_factory=list)
    recording: int = 0


class Engine:
    """Works off a run.

    Args:
        state: The run's state.
        crew: Who does the work.
        settings: The run's settings.
        progress: Called about once a second.
        stop: Asked now and then; True ends the run as Ctrl-C does.
        watch: Asked for new footage now and then; with it the run goes on until it is stopped.
    """

    def __init__(
        self,
        state: State,
        crew: Crew,
        settings: Settings,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
        watch: Callable[[], Footage | None] | None = None,
    ) -> None:
        self._state, self._crew, self._settings = state, crew, settings
        self._folder = state.folder
        self._progress, self._stop, self._watch = progress, stop, watch
        self._written = 0
        self._jobs: dict[Future[Any], _Job] = {}
        self._lost: dict[str, int] = {}
        self._answered = 0
        self._began = self._renewed = time.monotonic()
        self._said = 0.0
        self.stopping = False
        #: How often memory did not suffice for a batch as it was.
        self.shrunk = 0

    def add(self, footage: Footage) -> int:
        """Add footage to the run; returns how many recordings are new."""
        for one in footage.unusable:
            self._state.add_failed(_sayable(one.source), one.reason)
        good = []
        for recording in footage.recordings:
            if _sayable(recording.source) == recording.source:
                good.append(recording)
            else:
                self._state.add_failed(
                    _sayable(recording.source), "its name is no UTF-8; rename the file"
                )
        return self._state.add_recordings(good)

    # ---------------------------------------------------------------- the loop

    def work(self) -> None:
        """Do all there is to do.

        Raises:
            KeyboardInterrupt: If it was stopped; what was answered is written.
            DiskFullError: If the disk is full; says how much more the run needs.
        """
        self._state.release()
        _tidy(self._folder)
        try:
            with self._interruptible():
                while self._turn():
                    pass
        except DiskFullError as error:
            raise DiskFullError(f"{error}; {self._needed()}") from None
        finally:
            self._crew.close()
            self._rest()
            with contextlib.suppress(GARVideoError):
                self._state.release()
        if self.stopping:
            raise KeyboardInterrupt

    def _turn(self) -> bool:
        """Give out work, wait a moment, write down what is done; False at the end."""
        if self._stop is not None and self._stop():
            self.stopping = True
        if self.stopping:
            return False
        if self._watch is not None and (found := self._watch()) is not None:
            self.add(found)
        self._give_out()
        if not self._jobs:
            if self._watch is None:
                return False
            self._idle()
            return True
        done, _ = wait(self._jobs, timeout=1.0, return_when=FIRST_COMPLETED)
        for one in done:
            self._take_in(one)
        self._renew()
        self._say(end=False)
        return True

    def _idle(self) -> None:
        """Have the tables up to date, and wait."""
        if self._answered != self._written:
            finish(self._state)
            self._written = self._answered
        self._say(end=False)
        time.sleep(0.2)

    def _give_out(self) -> None:
        cut_batches(self._state, self._settings.batch_size)
        answering = sum(bool(job.units) for job in self._jobs.values())
        while answering < self._crew.answerers:
            job = _Job(uuid.uuid4().hex)
            job.units = take_batch(self._state, job.owner, LEASE_S)
            if not job.units:
                break
            numbers = dict.fromkeys(unit.recording for unit in job.units)
            recordings = {number: self._state.recording(number) for number in numbers}
            self._jobs[self._crew.answer(job.units, recordings)] = job
            answering += 1
        planning = len(self._jobs) - answering
        # Far ahead of the answers nobody needs to look; but decoders shall not stand still either.
        most = self._crew.answerers + _AHEAD * self._settings.batch_size
        while planning < self._crew.planners and (
            not self._jobs or self._state.waiting(most) < most
        ):
            owner = uuid.uuid4().hex
            taken = self._state.take_recording(owner, LEASE_S)
            if taken is None:
                break
            self._jobs[self._crew.plan(*taken)] = _Job(owner, recording=taken[0])
            planning += 1

    def _take_in(self, one: Future[Any]) -> None:
        job = self._jobs.pop(one)
        try:
            done = one.result()
        except (CancelledError, Cancelled):
            self._state.release(job.owner)
        except WorkerLost as error:
            self._take_over(job, str(error))
        except Exception as error:
            self._fail(job, _reason(error))
        else:
            if isinstance(done, Answered):
                self._write(done)
                self._state.finish(done.answers, self._checked(done.failed))
                self._answered += len(job.units)
                self.shrunk += done.shrunk
                self._drop_copies({unit.recording for unit in job.units})
            else:
                self._state.plan(job.recording, done.facts, done.units)
                if not done.units:
                    self._drop_copies({job.recording})

    def _fail(self, job: _Job, reason: str) -> None:
        reasons = self._checked({0: reason})
        if job.units:
            self._state.finish({}, {unit.id: reasons[0] for unit in job.units})
        else:
            self._state.fail_recording(job.recording, reasons[0])
            self._drop_copies({job.recording})

    def _drop_copies(self, recordings: set[int]) -> None:
        """Remove what was fetched of recordings about which all is answered."""
        for number in recordings:
            recording = self._state.recording(number)
            if recording.is_remote and is_finished(self._state, number):
                drop_copy(recording.source, self._folder)

    def _take_over(self, job: _Job, reason: str) -> None:
        """Give the work of somebody who is gone to somebody else, or give it up."""
        key = str(job.units[0].id if job.units else -job.recording)
        self._lost[key] = self._lost.get(key, 0) + 1
        if self._lost[key] >= _LOST:
            self._fail(job, f"{self._lost[key]} workers were lost with it: {reason}")
        else:
            self._state.release(job.owner)

    def _checked(self, reasons: Mapping[int, str]) -> dict[int, str]:
        """Return reasons of failures; a full disk is none, it ends the run."""
        for reason in reasons.values():
            if any(text in reason for text in _FULL):
                raise DiskFullError(f"no space left for {self._folder}: {reason}")
        return dict(reasons)

    def _write(self, done: Answered) -> None:
        """Write thumbnails; the answers that name them come after."""
        for name, picture in done.pictures.items():
            path = self._folder / name
            if path.is_file() and path.stat().st_size == len(picture):
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(".tmp")
                temporary.write_bytes(picture)
                temporary.replace(path)
            except OSError as error:
                raise DiskFullError(f"cannot write {path}: {error.strerror}") from None

    def _rest(self) -> None:
        """Take in what was still being worked on when the run ended."""
        for one in list(self._jobs):
            if one.done():
                with contextlib.suppress(GARVideoError):
                    self._take_in(one)
        self._jobs.clear()

    # ---------------------------------------------------------------- around it

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let the first Ctrl-C end the run after what is being answered, the second at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupted(*_: object) -> None:
            if self.stopping:
                raise KeyboardInterrupt
            self.stopping = True

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _renew(self) -> None:
        now = time.monotonic()
        if now - self._renewed > LEASE_S / 4:
            self._renewed = now
            for job in self._jobs.values():
                self._state.renew(job.owner, LEASE_S)

    def _say(self, *, end: bool) -> None:
        now = time.monotonic()
        if self._progress is None or (now - self._said < 1 and not end):
            return
        self._said = now
        self._progress(self.progress())

    def progress(self) -> Progress:
        """Return how far the run has come."""
        return Progress(
            self._state.counts("recordings"), self._state.counts(),
            time.monotonic() - self._began, self._answered,
        )  # fmt: skip

    def _needed(self) -> str:
        """Say how much more room a run needs, by what its answers took so far."""
        held = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        at = self.progress()
        done = at.units.done + at.units.failed
        left = max(0, at.expected - done)
        each = held / done if done else 16_384
        mib = max(1, round((left * each + held) / (1 << 20)))
        return f"about {mib} MiB more for the {left or 'remaining'} answers that are left"


def _tidy(folder: Path) -> None:
    """Remove what a process that was killed had not yet given its name."""
    hidden = (*folder.glob(".*"), *folder.glob("tracks/.*"), *folder.glob("fetched/.*"))
    for path in (*hidden, *folder.glob("thumbnails/*/*.tmp")):
        if path.is_file():
            path.unlink(missing_ok=True)


def _sayable(source: str) -> str:
    """Return a name that can be written in UTF-8; that of most files is the same."""
    return source.encode("utf-8", "backslashreplace").decode()


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, GARVideoError):
        return text
    return f"{type(error).__name__}: {text} (a mistake of gar-video; please report it)"


def finish(state: State) -> int:
    """Write a run's tables from its state; returns how many rows there are.

    Raises:
        DiskFullError: If the disk is full.
    """
    try:
        return results.export(state.folder)
    except GARVideoError as error:
        if any(text in str(error) for text in _FULL):
            raise DiskFullError(f"{error}; all answers are kept in {state.path}") from None
        raise
