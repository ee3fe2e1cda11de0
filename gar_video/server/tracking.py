"""The tracker's thread: regions are followed one request after the other, and tracks kept."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from gar_video.errors import Cancelled
from gar_video.server.problems import Problem, as_problem
from gar_video.server.regions import Pointed, make_tracks
from gar_video.tracks import Tracks

if TYPE_CHECKING:
    from gar_video.trackers import Sam2Tracker


@dataclass(eq=False)
class Following:
    """Regions that are being followed, for all who asked for the same.

    Attributes:
        pointed: The regions.
        deadline: Monotonic time after which it is given up.
        done: Holds the tracks.
        progress: (frames done, frames in all); (0, 0) before it begins.
        waiters: How many wait; nobody: it is given up.
    """

    pointed: Pointed
    deadline: float
    done: Future[Tracks] = field(default_factory=Future)
    progress: tuple[int, int] = (0, 0)
    waiters: int = 0
    stopped: bool = False

    def is_over(self) -> bool:
        """Whether nobody waits for it, or not any longer."""
        return self.stopped or self.waiters <= 0 or time.monotonic() > self.deadline


class Tracking:
    """Follows regions in a thread of its own.

    Args:
        load: Returns SAM 2; called once, in the thread.
        queue: Requests that may wait.
        keep: How many tracks are kept.
        seconds: How long one request may take.
    """

    def __init__(
        self, load: Callable[[], Sam2Tracker], *, queue: int, keep: int, seconds: float
    ) -> None:
        self._load, self._queue, self._keep, self._seconds = load, queue, keep, seconds
        self._tracker: Sam2Tracker | None = None
        self._thread = ThreadPoolExecutor(1, "gar-video tracker")
        self._kept: OrderedDict[str, Tracks] = OrderedDict()
        self._running: dict[str, Following] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def num_waiting(self) -> int:
        """Requests that wait or run."""
        return len(self._running)

    def warm(self) -> None:
        """Load SAM 2 now, so that a missing checkpoint is told at the start.

        Raises:
            CheckpointError: If there is none.
        """
        self._thread.submit(self._sam2).result()

    def ask(self, pointed: Pointed) -> Following:
        """Ask for tracks; whoever waits calls ``leave`` at last.

        Raises:
            Problem: 429 if too many wait; 503 if the server is being stopped.
        """
        with self._lock:
            kept = self._kept.get(pointed.key)
            following = self._running.get(pointed.key)
            if kept is not None:
                self._kept.move_to_end(pointed.key)
                following = Following(pointed, 0.0)
                following.done.set_result(kept)
            elif following is None or following.is_over():
                if self._closed:
                    raise Problem(503, "the server is being stopped", code="shutting_down",
                                  retry_after=10)  # fmt: skip
                if len(self._running) >= self._queue:
                    raise Problem(
                        429, f"{len(self._running)} requests wait for the tracker already; try "
                        "again later", code="queue_full", retry_after=10,
                    )  # fmt: skip
                following = Following(pointed, time.monotonic() + self._seconds, waiters=1)
                self._running[pointed.key] = following
                self._thread.submit(self._follow, following)
                return following
            following.waiters += 1
            return following

    def leave(self, following: Following) -> None:
        """Say that one waits no more."""
        with self._lock:
            following.waiters -= 1

    def make(self, pointed: Pointed) -> Tracks:
        """Return tracks of regions that need no tracker.

        Raises:
            TracksError: If they contradict each other.
        """
        with self._lock:
            kept = self._kept.get(pointed.key)
        return kept if kept is not None else self._remember(pointed.key, self._of(pointed, None))

    def close(self) -> None:
        """Stop what runs and take nothing further."""
        with self._lock:
            self._closed = True
            for following in self._running.values():
                following.stopped = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    # ---------------------------------------------------------------- in the thread

    def _sam2(self) -> Sam2Tracker:
        if self._tracker is None:
            self._tracker = self._load()
        return self._tracker

    def _follow(self, following: Following) -> None:
        try:
            with torch.inference_mode():
                tracks = self._of(following.pointed, following)
            self._remember(following.pointed.key, tracks)
            following.done.set_result(tracks)
        except Cancelled:
            why = "the server is being stopped" if self._closed else (
                "following the objects took longer than a request may; cut the video, or point "
                "at fewer objects"
            )  # fmt: skip
            following.done.set_exception(Problem(503, why, code="given_up", retry_after=10))
        except Exception as error:
            following.done.set_exception(as_problem(error, "regions"))
        finally:
            with self._lock:
                if self._running.get(following.pointed.key) is following:
                    del self._running[following.pointed.key]

    def _of(self, pointed: Pointed, following: Following | None) -> Tracks:
        def progress(done: int, total: int) -> None:
            if following is not None:
                following.progress = (done, total)

        return make_tracks(
            pointed,
            self._sam2,
            progress=progress,
            cancel=None if following is None else following.is_over,
        )

    def _remember(self, key: str, tracks: Tracks) -> Tracks:
        with self._lock:
            self._kept[key] = tracks
            while len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        return tracks
