"""Who does a run's work: here threads of this process, with decoders in processes of their own.

A crew looks at recordings and answers batches; the engine decides what and when, and writes it
down. ``ray_engine`` has another one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from gar_video.batch.answering import Answerer
from gar_video.batch.clips import Clips, Planned, TracksCache
from gar_video.batch.footage import Recording
from gar_video.batch.looking import Loaded, Looker
from gar_video.batch.prompted import PromptTracker
from gar_video.batch.settings import Settings
from gar_video.batch.state import Unit
from gar_video.errors import Cancelled
from gar_video.pipeline import GARVideo


class WorkerLost(Exception):  # noqa: N818 - an outcome: the work is given to somebody else
    """Who did the work is gone."""


@dataclass(frozen=True, eq=False)
class Answered:
    """A batch that was answered.

    Attributes:
        answers: Rows by their units' numbers.
        failed: Reasons by their units' numbers.
        pictures: Thumbnails by their path in the run's folder.
        shrunk: How often memory did not suffice for the batch as it was.
    """

    answers: dict[int, dict[str, Any]]
    failed: dict[int, str] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    shrunk: int = 0


class Crew(Protocol):
    """What does the work.

    Attributes:
        model: What tells the checkpoint from others.
        sam2: The same of SAM 2's; None where no prompts are followed.
        planners: Recordings that can be looked at at a time.
        answerers: Batches that can be in hand at a time.
    """

    model: dict[str, Any]
    sam2: dict[str, Any] | None
    planners: int
    answerers: int

    def plan(self, number: int, recording: Recording) -> Future[Planned]:
        """Look at a recording."""

    def answer(
        self, units: Sequence[Unit], recordings: Mapping[int, Recording]
    ) -> Future[Answered]:
        """Answer a batch."""

    def close(self) -> None:
        """Stop: what is being answered is finished, the rest is not."""


class LocalCrew:
    """Threads of this process: some plan, one decodes ahead, one runs the model.

    Args:
        settings: The run's.
        folder: The run's folder.
        gar: The model.
        model: What tells the checkpoint from others, with its ``sha256``.
        tokens_at_once: As for ``Answerer``.
        decoders: Recordings that are looked at at a time, each in a process of its own.
        tracker: Follows prompts, where tracks come from them.
    """

    answerers = 3

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        gar: GARVideo,
        model: dict[str, Any],
        tokens_at_once: int | None = None,
        decoders: int = 1,
        tracker: PromptTracker | None = None,
    ) -> None:
        self.model = model
        self.sam2 = None if tracker is None else tracker.identity
        self.planners = decoders
        self._stopping = threading.Event()
        self._planning, self._loading, self._running = (
            ThreadPoolExecutor(count, thread_name_prefix=name)
            for name, count in (("planning", decoders), ("loading", 1), ("model", 1))
        )
        cache = TracksCache()
        # Not bound to threads, but one for each: whoever plans takes one and puts it back.
        self._clips: SimpleQueue[Clips] = SimpleQueue()
        for _ in range(decoders):
            self._clips.put(Clips(settings, folder, cache=cache, tracker=tracker))
        self._looker = Looker(
            settings, folder, gar.processor, gar.model.config.num_frames,
            clips=Clips(settings, folder, cache=cache, tracker=tracker),
        )  # fmt: skip
        self._answerer = Answerer(gar, model["sha256"], tokens_at_once)

    def _alive(self) -> None:
        if self._stopping.is_set():
            raise Cancelled("the run is being stopped")

    def plan(self, number: int, recording: Recording) -> Future[Planned]:
        """Look at a recording."""
        return self._planning.submit(self._plan, number, recording)

    def _plan(self, number: int, recording: Recording) -> Planned:
        self._alive()
        clips = self._clips.get()
        try:
            return clips.plan(number, recording, self._alive)
        finally:
            self._clips.put(clips)

    def answer(
        self, units: Sequence[Unit], recordings: Mapping[int, Recording]
    ) -> Future[Answered]:
        """Answer a batch: its frames are decoded while the model is busy with the one before."""
        loading = self._loading.submit(self._load, units, recordings)
        return self._running.submit(self._answer, loading)

    def _load(self, units: Sequence[Unit], recordings: Mapping[int, Recording]) -> Loaded:
        self._alive()
        return self._looker.load(units, recordings, self._alive)

    def _answer(self, loading: Future[Loaded]) -> Answered:
        loaded = loading.result()
        self._alive()
        before = self._answerer.shrunk
        answers, failed = self._answerer.answer(loaded)
        return Answered(answers, failed, loaded.pictures, self._answerer.shrunk - before)

    def close(self) -> None:
        """Stop: what the model is busy with is finished, the rest is not."""
        self._stopping.set()
        for pool in (self._running, self._planning, self._loading):
            pool.shutdown(wait=True, cancel_futures=True)
        while not self._clips.empty():
            self._clips.get().close()
        self._looker.close()
