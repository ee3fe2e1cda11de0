"""The model's thread: a bounded queue, whose questions about one clip are answered together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch

from gar_video.encoding import Encoded
from gar_video.prompt import RegionPrompt
from gar_video.server.engine import Asked, Engine
from gar_video.server.prefixes import Prefixes
from gar_video.server.problems import Problem, as_problem
from gar_video.server.row import Row

# After a batch of several, so long is waited for those who ask again at once.
_LINGER_S = 0.02


@dataclass(eq=False)
class Job:
    """Something that waits for the model.

    Attributes:
        key: Which encoded clip it is about; empty for a job of its own.
        prompt: Returns the prompt with its frames, should the clip have to be encoded.
        rows: Answers to generate.
        questions: Options to score instead, with how to.
        call: Anything else to do in the model's thread; it gets the worker.
        deadline: Monotonic time after which nobody waits.
        done: Holds the result: for rows whether the clip had been encoded already and its tokens,
            for options their scores, else what ``call`` returned.
        encoded: Set when the frames are no longer needed.
    """

    deadline: float
    key: str = ""
    prompt: Callable[[], RegionPrompt] | None = None
    rows: Sequence[Row] = ()
    questions: Sequence[Asked] = ()
    by: str = ""
    call: Callable[[Worker], Any] | None = None
    done: Future[Any] = field(default_factory=Future)
    on_encoded: Callable[[], None] = lambda: None
    _gone: bool = False

    def cancel(self) -> None:
        """Say that nobody waits for it any more."""
        self._gone = True

    def is_over(self) -> bool:
        """Whether nobody waits for it, or not any longer."""
        return self._gone or time.monotonic() > self.deadline

    def kind(self) -> tuple[str, str]:
        """Jobs of equal kinds run together."""
        return self.key, "rows" if self.rows else self.by

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        self.on_encoded()
        if not self.done.done():
            self.done.set_exception(as_problem(error))

    def finish(self, result: Any) -> None:
        """End it with its result."""
        if not self.done.done():
            self.done.set_result(result)


class Worker:
    """Answers in a thread of its own.

    Args:
        engine: Runs the model.
        queue: Jobs that may wait.
        batch: Answers that are generated at once.
        prefix_bytes: Bytes of encoded clips that are kept.
        on_batch: Called with the number of jobs of each batch, and the seconds it took.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        queue: int = 64,
        batch: int = 32,
        prefix_bytes: int = 2**30,
        on_batch: Callable[[int, float], None] = lambda jobs, seconds: None,
    ) -> None:
        self.engine = engine
        self.prefixes = Prefixes(prefix_bytes, engine.size)
        self._queue, self._batch, self._on_batch = queue, batch, on_batch
        self._waiting: deque[Job] = deque()
        self._running: tuple[Job, ...] = ()
        self._change = threading.Condition()
        self._last = 1  # jobs of the last batch
        self.pace_s = 0.2  # seconds that a job takes, on the average of late
        self._why_closed = ""
        self._thread = threading.Thread(target=self._run, name="gar-video model", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def num_waiting(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Jobs that are being answered."""
        return len(self._running)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs and takes jobs."""
        return self._thread.is_alive() and not self._why_closed

    def submit(self, job: Job) -> None:
        """Put a job into the queue.

        Raises:
            Problem: 429 if the queue is full; 503 if the server is being stopped.
        """
        with self._change:
            if self._why_closed:
                raise Problem(503, self._why_closed, code="shutting_down", retry_after=10)
            if len(self._waiting) >= self._queue:
                wait_s = self.pace_s * len(self._waiting)
                raise Problem(
                    429,
                    f"{len(self._waiting)} requests are waiting already, as many as may; "
                    "try again later",
                    code="queue_full",
                    retry_after=wait_s,
                )
            self._waiting.append(job)
            self._change.notify()

    def close(self, why: str = "the server is being stopped; ask again when it is back") -> None:
        """Take no further jobs; those that wait and run go on."""
        with self._change:
            self._why_closed = why
            self._change.notify()

    def give_up(self) -> None:
        """End what waits and runs with an error."""
        with self._change:
            left = [*self._waiting, *self._running]
            self._waiting.clear()
        for job in left:
            job.fail(Problem(503, self._why_closed or "given up", code="shutting_down"))
            job.cancel()

    def join(self, seconds: float) -> None:
        """Wait for the thread's end after ``close``."""
        self._thread.join(seconds)

    # ---------------------------------------------------------------- in the thread

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._why_closed:
                    self._change.wait()
                if not self._waiting:
                    return
                self._linger()
                jobs = self._take()
            if jobs:
                self._serve(jobs)

    def serve_waiting(self) -> None:
        """Answer what waits; for long jobs, which call it between their parts."""
        outer = self._running
        for _ in range(self._queue):
            with self._change:
                jobs = self._take(calls=False)
            if not jobs:
                break
            self._serve(jobs)
        self._running = outer

    def _linger(self) -> None:
        """Wait a moment where several asked at once a moment ago: they are likely to ask again."""
        until = time.monotonic() + _LINGER_S
        while len(self._waiting) < self._last and not self._why_closed:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._change.wait(left)

    def _take(self, calls: bool = True) -> list[Job]:
        """Take the first job and those that can be run with it."""
        gone = [job for job in self._waiting if job.is_over()]
        for job in gone:
            self._waiting.remove(job)
            job.fail(_too_late())
        first = next((job for job in self._waiting if calls or job.call is None), None)
        if first is None:
            return []
        taken: list[Job] = []
        rows = 0
        for job in list(self._waiting):
            alike = job is first or (first.call is None and job.kind() == first.kind())
            cost = max(len(job.rows), len(job.questions), 1)
            if alike and (not taken or rows + cost <= self._batch):
                taken.append(job)
                rows += cost
                self._waiting.remove(job)
        return taken

    def _serve(self, jobs: Sequence[Job]) -> None:
        self._running = tuple(jobs)
        began = time.monotonic()
        try:
            with torch.inference_mode():
                self._answer(jobs)
        except Exception as error:
            for job in jobs:
                job.fail(error)
        finally:
            self._running = ()
        seconds = time.monotonic() - began
        self._last = len(jobs)
        self.pace_s += 0.1 * (seconds / len(jobs) - self.pace_s)
        self._on_batch(len(jobs), seconds)

    def _answer(self, jobs: Sequence[Job]) -> None:
        first = jobs[0]
        if first.call is not None:
            first.finish(first.call(self))
            return
        encoded, held = self._encoded(first)
        for job in jobs:
            job.on_encoded()
        if first.rows:
            self.engine.answer(encoded, [row for job in jobs for row in job.rows])
            length = self.engine.length(encoded)
            for job in jobs:
                if job.is_over():
                    job.fail(_too_late())
                else:
                    job.finish((held or job is not first, length))
        else:
            asked = [question for job in jobs for question in job.questions]
            scores = iter(self.engine.score(encoded, asked, first.by))
            for job in jobs:
                job.finish([next(scores) for _ in job.questions])
        self.prefixes.trim()

    def _encoded(self, job: Job) -> tuple[Encoded, bool]:
        def encode() -> Encoded:
            assert job.prompt is not None
            return self.engine.encode(job.prompt())

        return self.prefixes.get(job.key, encode)


def _too_late() -> Problem:
    return Problem(
        503, "the answer took longer than a request may; ask less, or ask again later",
        code="deadline", retry_after=5,
    )  # fmt: skip
