"""LiveDescriber: words beside a running tracker, without ever holding it up."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gar_video.errors import GARVideoError
from gar_video.live.asking import Asker
from gar_video.live.clock import StreamClock
from gar_video.live.reading import Row, RowReader, as_detections, check_frame_pixels, with_words
from gar_video.live.settings import Channels, LiveStats, check_settings
from gar_video.live.subjects import LiveAnswer, Roster, Subject
from gar_video.live.views import Taken, View, views_of
from gar_video.regions import BadBoxes

if TYPE_CHECKING:
    import supervision as sv

    from gar_video.pipeline import GARVideo

OnAnswer = Callable[[LiveAnswer], None]

_log = logging.getLogger("gar_video.live")


class LiveDescriber:
    """Puts the objects of a running tracker into words.

    Call ``update`` for every frame. It costs a fraction of a millisecond and, when some object
    needs a new view, a copy of the frame; everything else happens in two threads beside the loop.
    One keeps views (few, scaled down, shared between objects), the other asks the model: about
    new objects first, then those that ended, then those whose looks changed, then those whose
    words are oldest.

    Meanwhile the model belongs to the describer: do not call ``gar`` from elsewhere.

    Args:
        gar: The model.
        every_s: Words are renewed when they are so many seconds old.
        min_visible: Frames in which an object must have been seen to be put into words.
        queue: Frames that may wait to be looked through; the newest push out the oldest.
        questions: Standing questions asked of every object, which is ``<1>`` in them.
        on_answer: Called with each new answer, from the describer's own thread.
        views: Views kept of an object; by default as many as the model looks at.
        lost_after_s: An object not seen for so long has ended: it is described a last time and
            forgotten.
        channels: Order of the frames' colours; ``"BGR"`` for OpenCV's.
        bad_boxes: What to do with boxes that do not fit the frame; see ``regions.BadBoxes``.
        max_objects: Most objects in view that are followed; further ones are counted.
        max_ended: Most ended objects that wait for their last words.
        **generation: Fields of ``GenerationSettings``, such as ``max_new_tokens``.

    Raises:
        PromptError: If a setting cannot be meant or a question mentions other objects than <1>.

    Example:
        ``with LiveDescriber(gar, every_s=2.0) as describer:`` and in the loop
        ``detections = describer.update(frame, tracker.update(detections))``; the words are in
        ``detections.data["description"]``.
    """

    def __init__(
        self,
        gar: GARVideo,
        every_s: float = 2.0,
        min_visible: int = 3,
        queue: int = 8,
        *,
        questions: Sequence[str] = (),
        on_answer: OnAnswer | None = None,
        views: int | None = None,
        lost_after_s: float = 2.0,
        channels: Channels = "RGB",
        bad_boxes: BadBoxes = "drop",
        max_objects: int = 256,
        max_ended: int = 64,
        **generation: Any,
    ) -> None:
        num_views = gar.model.config.num_frames if views is None else views
        check_settings(every_s, min_visible, queue, num_views, lost_after_s, channels)
        self._asker = Asker(gar, questions, num_views, generation)
        self._on_answer = on_answer
        self._swap = channels == "BGR"
        # Frames are looked at in a square of this side; twice that keeps what can be seen.
        self._kept_side = 2 * int(gar.model.config.tile_size)
        self._bad_boxes = bad_boxes
        self._reader = RowReader(bad_boxes)
        self._clock = StreamClock()
        self._roster = Roster(
            every_s=every_s,
            min_visible=min_visible,
            lost_after_s=lost_after_s,
            max_objects=max_objects,
            max_ended=max_ended,
            capacity=num_views + num_views % 2,
            first_slot_s=min(0.2, every_s / 4),
        )
        self._size_wh: tuple[int, int] | None = None
        self._queue: deque[tuple[Taken, list[Subject]]] = deque()
        self._capacity = queue
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)  # for the thread with the model
        self._arrived = threading.Semaphore(0)  # for the thread that keeps views
        self._updates = self._taken = self._dropped = self._num_answers = self._failures = 0
        self._busy = self._keeping = False
        self._closing = self._stopped = False
        self._keeper_done = False
        self._crash: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guard, args=(run,), name=name, daemon=True)
            for run, name in ((self._keep_views, "gar-live-views"), (self._ask, "gar-live-words"))
        ]
        for thread in self._threads:
            thread.start()

    # ---------------------------------------------------------------- the user's loop

    def update(self, frame: Any, detections: Any, time_s: float | None = None) -> sv.Detections:
        """Take a frame and what was tracked in it, and return it with the latest words.

        Args:
            frame: ``(H, W, 3)`` uint8, all frames of one size. It may be drawn on afterwards.
            detections: ``sv.Detections`` with ``tracker_id``, Ultralytics ``Results`` of
                ``model.track``, or BoxMOT's array. Masks must not be changed afterwards.
            time_s: The frame's time, in seconds, not before the last one's; by default the time
                since the first update.

        Returns:
            The detections with ``data["description"]``, ``(N,)`` of str: the latest words about
            each row's object, empty while there are none.

        Raises:
            VideoError: If the frame is no picture, or of another size than those before it.
            TracksError: If there are no ids, ids or boxes cannot be meant, or the time goes back.
            GARVideoError: If the describer is closed.
        """
        self._check_running()
        found = as_detections(detections, self._bad_boxes)
        size_wh = check_frame_pixels(frame, self._size_wh)
        rows = self._reader.read(found, size_wh)
        now_s = self._clock.tick(time_s)
        self._size_wh = size_wh
        words = [""] * len(found)
        with self._lock:
            number = self._updates
            self._updates += 1
            wanted = self._look_around(rows, words, now_s)
            if self._roster.end_lost(now_s):
                self._news.notify_all()
        if wanted:
            # A copy, as the loop will draw on its frame.
            pixels = np.array(frame, np.uint8, order="C", copy=True)
            self._send(Taken(pixels, number, now_s, tuple(rows), found.mask), wanted)
        return with_words(found, words)

    def _look_around(self, rows: list[Row], words: list[str], now_s: float) -> list[Subject]:
        """Note who is in view, hand out their words, and return those who need a view."""
        wanted = []
        for row in rows:
            subject = self._roster.see(row.object_id, now_s)
            if subject is None:
                continue
            words[row.at] = subject.text
            if subject.album.wants(now_s, row.worth):
                subject.album.expect(now_s, row.worth)
                wanted.append(subject)
        return wanted

    def _send(self, taken: Taken, wanted: list[Subject]) -> None:
        """Queue a frame; the oldest gives way."""
        with self._lock:
            self._taken += 1
            self._queue.append((taken, wanted))
            if len(self._queue) > self._capacity:
                self._dropped += 1
                for subject in self._queue.popleft()[1]:
                    subject.album.lost()
        self._arrived.release()

    @property
    def stats(self) -> LiveStats:
        """What was done so far."""
        with self._lock:
            roster = self._roster
            return LiveStats(
                updates=self._updates,
                frames_taken=self._taken,
                frames_dropped=self._dropped,
                answers=self._num_answers,
                failures=self._failures,
                objects=roster.num_objects,
                ended=roster.num_ended,
                without_last_words=roster.num_without_last_words,
                skipped=roster.num_skipped,
                dropped_boxes=self._reader.dropped_boxes,
                unconfirmed=self._reader.unconfirmed,
            )

    @property
    def source_ids(self) -> dict[int, str]:
        """What objects are called whose ids are strings, by the int id used here."""
        return dict(self._reader.source_ids)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the pictures kept at the moment, shared ones counted once."""
        with self._lock:
            subjects = [*self._roster.present.values(), *self._roster.ended.values()]
            pictures = {id(v.picture): v.picture for s in subjects for v in s.album.views()}
        return sum(picture.num_bytes for picture in pictures.values())

    def latest(self, object_id: int) -> dict[str | None, LiveAnswer]:
        """Return an object's latest answers by standing question, its description under None."""
        with self._lock:
            subject = self._roster.find(object_id)
            return {} if subject is None else dict(subject.answers)

    # ---------------------------------------------------------------- the end

    def close(self, last_words: bool = True, timeout_s: float | None = None) -> None:
        """End the threads; calling it again does nothing.

        Args:
            last_words: Describe what is still in view a last time before ending. Otherwise only
                the answer that the model is working on is waited for.
            timeout_s: Longest to wait, in seconds; for ever if None.

        Raises:
            GARVideoError: If a thread, or ``on_answer`` in it, had failed.
        """
        with self._lock:
            self._closing = True
            if not last_words:
                self._stopped = True
            self._news.notify_all()
        self._arrived.release()
        end = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(None if end is None else max(0.0, end - time.monotonic()))
        crash, self._crash = self._crash, None
        if crash is not None:
            raise GARVideoError(f"LiveDescriber has failed: {crash!r}") from crash

    def __enter__(self) -> LiveDescriber:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
            return
        # After an error or Ctrl-C nobody waits for last words, or for another error.
        with contextlib.suppress(GARVideoError):
            self.close(last_words=False)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is to be said for now; return whether that came to be in time."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        with self._news:
            while (
                self._queue
                or self._keeping
                or self._busy
                or self._roster.next(self._clock.now_s) is not None
            ):
                self._check_crash()
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._news.wait(0.2 if left is None else min(left, 0.2))
        return True

    def _has_work(self) -> bool:
        waiting = self._queue or self._keeping or self._busy
        return bool(waiting) or self._roster.next(self._clock.now_s) is not None

    def _check_running(self) -> None:
        self._check_crash()
        if self._closing:
            raise GARVideoError("this LiveDescriber is closed; make a new one")

    def _check_crash(self) -> None:
        if self._crash is not None:
            raise GARVideoError(f"LiveDescriber has failed: {self._crash!r}") from self._crash

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            with self._lock:
                self._crash, self._stopped = error, True
                self._news.notify_all()
            self._arrived.release()

    # ---------------------------------------------------------------- the thread that keeps views

    def _keep_views(self) -> None:
        while True:
            self._arrived.acquire()
            with self._lock:
                taken = self._queue.popleft()[0] if self._queue else None
                self._keeping = taken is not None
                if taken is None and (self._closing or self._stopped):
                    if not self._stopped:
                        self._roster.end_all()
                    self._keeper_done = True
                    self._news.notify_all()
                    return
            if taken is None:
                continue
            views = views_of(taken, self._kept_side, self._swap)
            with self._lock:
                self._keeping = False
                for object_id, view in views:
                    subject = self._roster.find(object_id)
                    # An id may have been given to another object since.
                    if subject is not None and subject.first_s <= taken.time_s:
                        subject.keep(view)
                self._news.notify_all()

    # ---------------------------------------------------------------- the thread with the model

    def _ask(self) -> None:
        while True:
            with self._news:
                subject = None
                while not self._stopped:
                    subject = self._roster.next(self._clock.now_s)
                    if subject is not None or self._keeper_done:
                        break
                    # Words grow old without any news.
                    self._news.wait(0.1)
                if subject is None or self._stopped:
                    return
                views = subject.album.views()
                known = self._roster.is_ended(subject) and not subject.fresh
                given = list(subject.answers.values()) if known else []
                subject.fresh, subject.asked_s = 0, self._clock.now_s
                self._busy = True
            try:
                self._take_answers(subject, views, given or self._answers(subject, views))
            finally:
                with self._news:
                    self._busy = False
                    self._news.notify_all()

    def _answers(self, subject: Subject, views: list[View]) -> list[LiveAnswer]:
        """Ask the model; nothing if it cannot answer."""
        try:
            return self._asker.ask(subject.object_id, views, self._clock.now_s)
        except GARVideoError as error:
            with self._lock:
                self._failures += 1
            if not subject.failures:
                _log.warning("object %s could not be described: %s", subject.object_id, error)
            return []

    def _take_answers(self, subject: Subject, views: list[View], given: list[LiveAnswer]) -> None:
        with self._lock:
            # It may have ended, or come back, while the model was at work.
            is_last = self._roster.is_ended(subject) and not subject.fresh
            given = [replace(one, is_last=is_last) for one in given]
            self._num_answers += len(given)
            subject.words_s = subject.asked_s
            subject.words_looks = views[-1].looks
            subject.failures = 0 if given else subject.failures + 1
            for one in given:
                subject.answers[one.question] = one
                if one.question is None:
                    subject.text = one.text
            if is_last:
                del self._roster.ended[subject.object_id]
        if self._on_answer is not None:
            for one in given:
                self._on_answer(one)
