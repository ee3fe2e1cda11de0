"""A crew of Ray's workers: the same units, the same batches, the same answers, on many machines.

The process that was started (the driver) alone holds the run's state and writes; workers look at
recordings and answer batches. Footage and the run's folder have to be reached by the same paths
from every machine. A worker that is lost takes nothing with it: what it was at is given to another
one.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gar_video.batch.clips import Planned
from gar_video.batch.crew import Answered, WorkerLost
from gar_video.batch.footage import Recording
from gar_video.batch.settings import Settings
from gar_video.batch.state import Unit
from gar_video.errors import GARVideoError, VideoError

_LAST_WORDS_S = 120.0

_pids: list[int] = []


def worker_pids() -> list[int]:
    """Return the process ids of the workers, each on its own machine; for tests."""
    return list(_pids)


@dataclass(frozen=True)
class _Failure:
    """What went wrong at a worker, in one line: exceptions of other machines come with pages."""

    reason: str


class _Worker:
    """What runs on a worker: one model, one decoder for planning and one for answering."""

    def __init__(
        self,
        settings: Settings,
        folder: str,
        model: str,
        device: str,
        dtype: str,
        tokens_at_once: int | None,
        threads: int,
    ) -> None:
        import torch

        # As many as the driver has: sums in another order end in other last digits.
        torch.set_num_threads(threads)
        from gar_video.batch.answering import Answerer
        from gar_video.batch.clips import Clips
        from gar_video.batch.looking import Looker
        from gar_video.batch.prompted import load_tracker
        from gar_video.batch.running import identify, load_model

        tracker = load_tracker(settings, device, dtype)
        gar = load_model(model, device, dtype)
        self._model = identify(gar)
        self._sam2 = None if tracker is None else tracker.identity
        self._clips = Clips(settings, Path(folder), tracker=tracker)
        self._looker = Looker(
            settings, Path(folder), gar.processor, gar.model.config.num_frames,
            clips=Clips(settings, Path(folder), tracker=tracker),
        )  # fmt: skip
        self._answerer = Answerer(gar, self._model["sha256"], tokens_at_once)
        self._threads = threads
        self._planning, self._loading, self._running = (threading.Lock() for _ in range(3))

    def hello(self) -> tuple[int, tuple[dict[str, Any], dict[str, Any] | None]]:
        """Return the process id and what tells the checkpoints (GAR, SAM 2) from others."""
        return os.getpid(), (self._model, self._sam2)

    def plan(self, number: int, recording: Recording) -> Planned | _Failure:
        """Look at a recording."""
        import torch

        with self._planning:
            torch.set_num_threads(self._threads)
            return _guarded(lambda: self._clips.plan(number, recording))

    def answer(
        self, units: Sequence[Unit], recordings: Mapping[int, Recording]
    ) -> Answered | _Failure:
        """Answer a batch: one is prepared while the model is busy with another."""

        def answered() -> Answered:
            import torch

            with self._loading:
                torch.set_num_threads(self._threads)
                loaded = self._looker.load(units, recordings)
            with self._running:
                before = self._answerer.shrunk
                answers, failed = self._answerer.answer(loaded)
                shrunk = self._answerer.shrunk - before
            return Answered(answers, failed, loaded.pictures, shrunk)

        return _guarded(answered)


def _guarded(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        known = isinstance(error, GARVideoError)
        return _Failure(text if known else f"{type(error).__name__}: {text}")


@dataclass(eq=False)
class _Slot:
    """A place for a worker, and how much it has in hand."""

    worker: Any
    planning: int = 0
    answering: int = 0
    futures: set[Future[Any]] = field(default_factory=set)


class RayCrew:
    """Workers of a Ray cluster: the one at ``RAY_ADDRESS``, or one of this machine.

    Args:
        settings: The run's.
        folder: The run's folder.
        model: The checkpoint's name, known to every machine.
        device: Where workers compute.
        dtype: Number type to compute in.
        workers: How many; each has a GPU of its own where the cluster has any.
        tokens_at_once: As for ``Answerer``.

    Raises:
        GARVideoError: If Ray is not installed, the cluster cannot be reached, or a worker cannot
            be started.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        model: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        workers: int = 2,
        tokens_at_once: int | None = None,
    ) -> None:
        import torch

        self._ray = ray = _ray()
        self._began_it = not ray.is_initialized()
        if self._began_it:
            _connect(ray, workers)
        gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 and device != "cpu" else 0
        # Threads of one worker: plans, answers, and who asks how it is.
        self._make = (
            ray.remote(_Worker)
            .options(num_cpus=1, num_gpus=gpus, max_concurrency=4, max_restarts=0)
            .remote
        )
        self._given = (
            settings, str(folder), model, device, dtype, tokens_at_once, torch.get_num_threads()
        )  # fmt: skip
        self._lock = threading.Lock()
        self._closing = False
        self.planners, self.answerers = workers, 2 * workers
        self._slots = [_Slot(self._make(*self._given)) for _ in range(workers)]
        try:
            known = ray.get([slot.worker.hello.remote() for slot in self._slots])
        except ray.exceptions.RayError as error:
            self.close()
            cause = getattr(error, "cause", None) or error
            text = str(cause).strip().splitlines()[-1:] or [type(cause).__name__]
            raise GARVideoError(f"a worker cannot be started: {text[0]}") from None
        _pids[:] = [pid for pid, _ in known]
        self.model: dict[str, Any] = known[0][1][0]
        self.sam2: dict[str, Any] | None = known[0][1][1]
        for at, name in enumerate((model, settings.sam2)):
            if any(other[at] != known[0][1][at] for _, other in known):
                self.close()
                raise GARVideoError(
                    f"the checkpoint {name} is not the same on all machines; expected one "
                    "everywhere"
                )

    def plan(self, number: int, recording: Recording) -> Future[Planned]:
        """Look at a recording."""
        with self._lock:
            slot = min(self._slots, key=lambda slot: slot.planning)
            slot.planning += 1
        return self._watched(slot, slot.worker.plan.remote(number, recording), "planning")

    def answer(
        self, units: Sequence[Unit], recordings: Mapping[int, Recording]
    ) -> Future[Answered]:
        """Answer a batch."""
        with self._lock:
            slot = min(self._slots, key=lambda slot: slot.answering)
            slot.answering += 1
        return self._watched(slot, slot.worker.answer.remote(units, recordings), "answering")

    def _watched(self, slot: _Slot, reference: Any, doing: str) -> Future[Any]:
        """Return a future whose errors are ours; a worker that is lost is replaced."""
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        worker = slot.worker
        slot.futures.add(outer)

        def ended(inner: Future[Any]) -> None:
            with self._lock:
                setattr(slot, doing, getattr(slot, doing) - 1)
                slot.futures.discard(outer)
            error = inner.exception()
            if error is not None:
                self._replace(slot, worker)
                text = type(error).__name__
                outer.set_exception(WorkerLost(f"the worker is gone ({text})"))
                return
            value = inner.result()
            if isinstance(value, _Failure):
                outer.set_exception(VideoError(value.reason))
            else:
                outer.set_result(value)

        reference.future().add_done_callback(ended)
        return outer

    def _replace(self, slot: _Slot, worker: Any) -> None:
        """Put a new worker in a lost one's place, once."""
        with self._lock:
            if slot.worker is worker and not self._closing:
                slot.worker = self._make(*self._given)

    def close(self) -> None:
        """Let workers end what they answer, and end them."""
        with self._lock:
            self._closing = True
            waiting = [one for slot in getattr(self, "_slots", ()) for one in slot.futures]
        wait(waiting, timeout=_LAST_WORDS_S)
        for slot in getattr(self, "_slots", ()):
            with contextlib.suppress(Exception):
                self._ray.kill(slot.worker)
        if self._began_it:
            self._ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise GARVideoError(
            "the engine ray needs Ray; install it with pip install 'gar-video[ray]'"
        ) from None
    return ray


def _connect(ray: Any, workers: int) -> None:
    address = os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            cpus = max(workers, os.cpu_count() or 1)
            ray.init(num_cpus=cpus, include_dashboard=False, **quiet)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError: by Ray's version
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise GARVideoError(f"cannot reach the Ray cluster at {address}: {text}") from None
