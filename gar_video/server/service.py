"""The house behind the addresses: clips, tracks, plans and the model's thread, brought together."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from gar_video.answer import Choice
from gar_video.choosing import as_choice
from gar_video.generation import Generated
from gar_video.prompt import RegionPrompt, multiple_choice
from gar_video.server.clips import Clip, Clips
from gar_video.server.decoding import Decoders
from gar_video.server.decoding_child import DecodingLimits
from gar_video.server.engine import Engine
from gar_video.server.fetching import Fetcher
from gar_video.server.media import Media
from gar_video.server.metrics import Metrics
from gar_video.server.planning import Plan, Planner, Turn
from gar_video.server.problems import Problem
from gar_video.server.regions import Pointed, Region, read_regions
from gar_video.server.row import Piece, Row, Wish
from gar_video.server.settings import Settings
from gar_video.server.subject import Place, Reply, Subject
from gar_video.server.track_sets import TrackSets
from gar_video.server.tracking import Tracking
from gar_video.server.uploads import Uploads
from gar_video.server.worker import Job, Worker
from gar_video.tracks import Tracks

if TYPE_CHECKING:
    from gar_video.trackers import Sam2Tracker

T = TypeVar("T")


class Service:
    """Answers questions about clips for many callers at once.

    Args:
        settings: How it is run.
        engine: Runs the model.
        load_sam2: Returns SAM 2.
    """

    def __init__(
        self, settings: Settings, engine: Engine, load_sam2: Callable[[], Sam2Tracker]
    ) -> None:
        limits = self.limits = settings.limits
        self.settings, self.engine = settings, engine
        self.model = _public_name(settings.model)
        self.metrics = Metrics()
        self._temporary = tempfile.TemporaryDirectory(prefix="gar-video-")
        folder = settings.store or Path(self._temporary.name)
        self.decoders = Decoders(
            limits.decoders,
            DecodingLimits(
                limits.frames, limits.pixels, limits.duration_s, limits.decoder_bytes,
                limits.open_s, limits.frame_s,
            ),
        )  # fmt: skip
        self.clips = Clips(folder / "clips", self.decoders, limits.clips, limits.stored_bytes)
        self.uploads = Uploads(folder / "uploads", self.clips, limits)
        fetch = Fetcher(limits.body_bytes, limits.fetch_s, limits.redirects)
        self.media = Media(self.clips, self.uploads.clip, fetch if settings.fetch else None)
        self.tracking = Tracking(
            load_sam2, queue=limits.queue, keep=limits.tracks, seconds=limits.track_s
        )
        self.worker = Worker(
            # Requests are counted at the door; one may hold several questions.
            engine, queue=4 * limits.queue, batch=limits.batch, prefix_bytes=limits.prefix_bytes,
            on_batch=self._count_batch,
        )  # fmt: skip
        self.planner = Planner(engine.gar)
        self.track_sets = TrackSets(limits.keep_s, 4 * limits.tracks)
        self._threads = ThreadPoolExecutor(8, "gar-video request")
        self._pictures = threading.BoundedSemaphore(limits.pictures)
        self._inside = 0
        self._draining = False
        self._sweeper: asyncio.Task[None] | None = None
        self._watch()

    # ---------------------------------------------------------------- beginning and end

    async def start(self) -> None:
        """Start threads and children, and load the tracker if that has not been done."""
        self.worker.start()
        await self.in_thread(self.decoders.start)
        await self.in_thread(self.tracking.warm)
        self._sweeper = asyncio.create_task(self._sweep())

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken."""
        return self.worker.is_alive and not self._draining

    def drain(self) -> None:
        """Take no further requests; those that are there go on."""
        self._draining = True
        self.worker.close()

    def give_up(self) -> None:
        """End what is still being answered with an error that says so."""
        self.drain()
        self.tracking.close()
        self.worker.give_up()

    async def stop(self) -> None:
        """End threads and children, and remove what was kept."""
        self.give_up()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.to_thread(self.worker.join, 10.0)
        self.decoders.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._temporary.cleanup()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(30.0, self.limits.keep_s / 4))
            await self.in_thread(self.uploads.sweep)
            self.track_sets.sweep(self.tracking)
            await self.in_thread(self.clips.sweep, self.limits.keep_s)

    def _watch(self) -> None:
        worker, watch = self.worker, self.metrics.watch
        watch("requests_inside", "Requests that wait or are being answered.", lambda: self._inside)
        watch("queue_jobs", "Requests that wait for the model.", lambda: worker.num_waiting)
        watch("tracking_jobs", "Requests at the tracker.", lambda: self.tracking.num_waiting)
        watch("clips", "Clips that are kept.", lambda: len(self.clips))
        watch("encoded_clips", "Encoded clips that are kept.", lambda: len(worker.prefixes))
        watch(
            "encoded_clips_found", "Answers on a clip that was encoded already.",
            lambda: worker.prefixes.hits,
        )  # fmt: skip
        watch("encoded_clips_made", "Clips that had to be encoded.", lambda: worker.prefixes.misses)

    def _count_batch(self, jobs: int, seconds: float) -> None:
        self.metrics.batch.observe(jobs)
        self.metrics.busy.inc(seconds)

    # ---------------------------------------------------------------- steps of an answer

    async def in_thread(self, call: Callable[..., T], *args: Any, **named: Any) -> T:
        """Call something that blocks."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(call, *args, **named))

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Let a request in.

        Raises:
            Problem: 429 if too many are inside; 503 if the server is being stopped.
        """
        if self._draining:
            raise Problem(
                503, "the server is being stopped; ask again when it is back",
                code="shutting_down", retry_after=10,
            )  # fmt: skip
        if self._inside >= self.limits.queue:
            raise Problem(
                429,
                f"{self._inside} requests are waiting or being answered, as many as may; try "
                "again later",
                code="queue_full",
                retry_after=self.worker.pace_s * self._inside,
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def deadline(self) -> float:
        """Return the monotonic time at which an answer that is asked for now is given up."""
        return time.monotonic() + self.limits.deadline_s

    async def point(self, clip: Clip, regions: Sequence[Region], *, follow: bool) -> Pointed:
        """Check a request's regions against its clip.

        Raises:
            Problem: 413 if there are too many.
            GARVideoError: If they are malformed.
        """
        if len({region.id for region in regions}) > self.limits.objects:
            raise Problem(
                413, f"more than {self.limits.objects} objects in one request", param="regions"
            )
        return await self.in_thread(
            read_regions, regions, clip.video, clip.digest, follow=follow,
            max_masks=self.limits.regions,
        )  # fmt: skip

    async def tracks_of(
        self, clip: Clip, regions: Sequence[Region], *, follow: bool
    ) -> Tracks | None:
        """Return the tracks of a request's regions; None if there are none.

        Raises:
            Problem: If there are too many, or the tracker has too much to do.
            GARVideoError: If they are malformed or cannot be followed.
        """
        if not regions:
            return None
        pointed = await self.point(clip, regions, follow=follow)
        if not pointed.needs_tracker:
            return await self.in_thread(self.tracking.make, pointed)
        following = self.tracking.ask(pointed)
        try:
            return await asyncio.shield(asyncio.wrap_future(following.done))
        finally:
            self.tracking.leave(following)

    async def plan(self, subject: Subject, turns: Sequence[Turn], max_tokens: int) -> Plan:
        """Choose frames and word a conversation.

        Raises:
            PromptError: As ``Planner.plan``.
        """
        return await self.in_thread(
            self.planner.plan, subject.clip, subject.tracks, turns, max_tokens=max_tokens,
            frames=subject.frames, time=subject.time,
        )  # fmt: skip

    async def _pictured(self, plan: Plan, job: Job) -> None:
        """Give a job its prompt, with the frames decoded unless the clip is encoded already."""
        job.prompt = plan.prompt
        if plan.key in self.worker.prefixes:
            return
        place = Place(self._pictures)

        def free() -> None:
            job.prompt = plan.prompt
            place.leave()

        def decode() -> RegionPrompt:
            place.enter()
            return plan.prompt()

        job.on_encoded = free
        try:
            prompt = await self.in_thread(decode)
        except BaseException:
            free()
            raise
        job.prompt = lambda: prompt

    async def _done(self, job: Job) -> Any:
        """Submit a job and wait for its result; whoever stops waiting frees its place."""
        try:
            self.worker.submit(job)
            return await asyncio.shield(asyncio.wrap_future(job.done))
        finally:
            job.cancel()
            job.on_encoded()

    # ---------------------------------------------------------------- answers

    async def reply(
        self,
        plan: Plan,
        question: str,
        wish: Wish,
        deadline: float,
        tell: Callable[[Piece], None] | None = None,
    ) -> Reply:
        """Answer a planned conversation.

        Args:
            plan: The plan.
            question: The last question, as it was asked.
            wish: How to answer.
            deadline: Monotonic time after which it is given up.
            tell: Called with pieces of the answer, in the model's thread.

        Raises:
            Problem: If it fails or takes too long.
        """
        if not plan.suffix:
            answer = self.engine.gar._result(plan.view, question, None)
            if tell is not None:
                tell(Piece(answer.text))
            return Reply(answer)
        job = Job(deadline, plan.key)
        row = Row(
            plan.suffix, wish, self.engine.gar.processor.decode,
            frozenset(self.engine.gar.processor.stop_ids), tell, job.is_over,
        )  # fmt: skip
        job.rows = (row,)
        await self._pictured(plan, job)
        held, length = await self._done(job)
        generated = Generated(tuple(row.tokens), row.finish_reason)
        answer = self.engine.gar._result(plan.view, question, generated)
        answer = replace(answer, text=row.text)  # without what a stop text ended
        read = length + len(plan.suffix)
        self.metrics.tokens.labels("read").inc(read)
        self.metrics.tokens.labels("generated").inc(len(row.tokens))
        return Reply(answer, tuple(row.chances), read, length if held else 0)

    async def stream(
        self, plan: Plan, question: str, wish: Wish, deadline: float
    ) -> AsyncGenerator[Piece | Reply, None]:
        """Answer a planned conversation; yield its pieces and at last the whole.

        Raises:
            Problem: As ``reply``.
        """
        loop = asyncio.get_running_loop()
        coming: asyncio.Queue[Piece | None] = asyncio.Queue()

        def tell(piece: Piece) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(coming.put_nowait, piece)

        task = asyncio.create_task(self.reply(plan, question, wish, deadline, tell))
        task.add_done_callback(lambda _: coming.put_nowait(None))
        try:
            while (piece := await coming.get()) is not None:
                yield piece
            # Pieces that were told just before the end may stand behind the mark.
            while not coming.empty():
                if (piece := coming.get_nowait()) is not None:
                    yield piece
            yield task.result()
        finally:
            task.cancel()

    async def choose(
        self,
        subject: Subject,
        questions: Sequence[tuple[str, Sequence[str]]],
        by: str | None,
        deadline: float,
    ) -> list[Choice]:
        """Choose between options; questions about the same objects are scored together.

        Raises:
            PromptError: If a question or an option is malformed.
            Problem: If it fails or takes too long.
        """
        gar = self.engine.gar
        scoring = by or gar.model.config.choice_scoring
        plans = [
            await self.plan(subject, [Turn("user", multiple_choice(*question))], 1)
            for question in questions
        ]
        groups: dict[str, list[int]] = {}
        for at, plan in enumerate(plans):
            groups.setdefault(plan.key, []).append(at)
        scores: dict[int, torch.Tensor | None] = {}
        for key, places in groups.items():
            if plans[places[0]].view.hidden:
                continue
            job = Job(deadline, key, questions=[questions[at] for at in places], by=scoring)
            await self._pictured(plans[places[0]], job)
            scores.update(zip(places, await self._done(job), strict=True))
        return [
            as_choice(
                plan.view, gar._evidence(plan.view, question), options, scoring, scores.get(at)
            )
            for at, (plan, (question, options)) in enumerate(zip(plans, questions, strict=True))
        ]

    async def call(
        self, what: Callable[[Callable[[], bool], Callable[[], None]], T], deadline: float
    ) -> T:
        """Do something long in the model's thread.

        Args:
            what: Gets two functions: whether nobody waits for it any more, and one to call between
                its parts, which answers others meanwhile.
            deadline: Monotonic time after which it is given up.

        Raises:
            Problem: If it fails or takes too long.
        """
        job = Job(deadline)
        job.call = lambda worker: what(job.is_over, worker.serve_waiting)
        result: T = await self._done(job)
        return result


def _public_name(model: str) -> str:
    """Return what a checkpoint is called outside: folders are nobody's business."""
    path = Path(model).expanduser()
    return path.resolve().name if path.is_dir() else model
