"""Who is in the stream, and whose turn it is to be put into words."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.answer import Answer
from gar_video.live.views import Album, View, looks_changed


@dataclass(frozen=True)
class LiveAnswer:
    """Words about an object of a stream.

    Attributes:
        object_id: The object.
        answer: The answer; its ``frames`` and ``times_s`` are those of the stream.
        question: The standing question as it was given; None for a description.
        is_last: Whether the object has ended and these are the last words of this kind.
        time_s: The stream's time when the words were ready.
        took_s: How long the model took for all it was asked about the object at once.
    """

    object_id: int
    answer: Answer
    question: str | None
    is_last: bool
    time_s: float
    took_s: float

    @property
    def text(self) -> str:
        """The words."""
        return self.answer.text

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types: the answer's, and what is the stream's."""
        return {
            "object_id": self.object_id,
            "kind": "description" if self.question is None else "question",
            "is_last": self.is_last,
            "time_s": self.time_s,
            "took_s": self.took_s,
            **self.answer.to_dict(),
        }


class Subject:
    """One object's life in the stream."""

    __slots__ = (
        "album",
        "answers",
        "asked_s",
        "failures",
        "first_s",
        "fresh",
        "last_s",
        "looks",
        "object_id",
        "order",
        "seen",
        "text",
        "words_looks",
        "words_s",
    )

    def __init__(self, object_id: int, time_s: float, album: Album, order: int) -> None:
        self.object_id = object_id
        self.first_s = self.last_s = time_s
        self.album = album
        self.order = order
        self.seen = 0
        self.text = ""
        self.answers: dict[str | None, LiveAnswer] = {}
        self.asked_s = time_s
        self.words_s: float | None = None  # when the model was asked for the words there are
        self.fresh = 0  # views kept since
        self.failures = 0
        self.looks: npt.NDArray[np.float32] | None = None
        self.words_looks: npt.NDArray[np.float32] | None = None

    def keep(self, view: View) -> bool:
        """Take a view; return whether it was kept."""
        self.looks = view.looks
        kept = self.album.keep(view)
        self.fresh += kept
        return kept

    @property
    def changed(self) -> bool:
        """Whether its looks are others than those its words are about."""
        if self.looks is None or self.words_looks is None:
            return False
        return looks_changed(self.words_looks, self.looks)


class Roster:
    """The objects in view, those that have just ended, and who is next.

    Args:
        every_s: Words are renewed when they are so old, in seconds.
        min_visible: Frames in which an object must have been seen to be put into words.
        lost_after_s: An object not seen for so long has ended.
        max_objects: Most objects in view that are followed.
        max_ended: Most ended objects that wait for their last words.
        capacity: Views kept of each object.
        first_slot_s: See ``Album``.
    """

    def __init__(
        self,
        *,
        every_s: float,
        min_visible: int,
        lost_after_s: float,
        max_objects: int,
        max_ended: int,
        capacity: int,
        first_slot_s: float,
    ) -> None:
        self.every_s = every_s
        self.min_visible = min_visible
        self.lost_after_s = lost_after_s
        self.max_objects = max_objects
        self.max_ended = max_ended
        self._album = (capacity, first_slot_s, every_s / 2)
        self.present: OrderedDict[int, Subject] = OrderedDict()  # longest unseen first
        self.ended: OrderedDict[int, Subject] = OrderedDict()
        self.num_objects = 0
        self.num_skipped = 0
        self.num_ended = 0
        self.num_without_last_words = 0

    def see(self, object_id: int, time_s: float) -> Subject | None:
        """Note that an object is in view; None if there are too many."""
        subject = self.present.get(object_id)
        if subject is None:
            subject = self.ended.pop(object_id, None)  # it was only hidden
            if subject is None:
                if len(self.present) >= self.max_objects:
                    self.num_skipped += 1
                    return None
                self.num_objects += 1
                subject = Subject(object_id, time_s, Album(*self._album), self.num_objects)
            else:
                self.num_ended -= 1
            self.present[object_id] = subject
        self.present.move_to_end(object_id)
        subject.seen += 1
        subject.last_s = time_s
        return subject

    def end_lost(self, now_s: float) -> bool:
        """End objects that were not seen for long; return whether there were any."""
        any_ended = False
        while self.present:
            subject = next(iter(self.present.values()))
            if now_s - subject.last_s <= self.lost_after_s:
                break
            self._end(subject)
            any_ended = True
        return any_ended

    def end_all(self) -> None:
        """End all objects."""
        for subject in list(self.present.values()):
            self._end(subject, room=len(self.present) + self.max_ended)

    def _end(self, subject: Subject, room: int | None = None) -> None:
        del self.present[subject.object_id]
        self.num_ended += 1
        if subject.seen < self.min_visible:
            return  # a flicker: never put into words
        self.ended[subject.object_id] = subject
        while len(self.ended) > (self.max_ended if room is None else room):
            self.ended.popitem(last=False)
            self.num_without_last_words += 1

    def find(self, object_id: int) -> Subject | None:
        """Return an object in view, or one that waits for its last words."""
        return self.present.get(object_id) or self.ended.get(object_id)

    def is_ended(self, subject: Subject) -> bool:
        """Whether this very object has ended, and waits for its last words."""
        return self.ended.get(subject.object_id) is subject

    def next(self, now_s: float) -> Subject | None:
        """Return whose turn it is; None if nobody's.

        New objects come first, in the order they came; then those that ended; then those whose
        looks changed; then those whose words are oldest, if they are older than ``every_s``.
        """
        best: Subject | None = None
        best_key: tuple[float, float] = (9.0, 0.0)
        for subject in self.present.values():
            if subject.seen < self.min_visible or not len(subject.album):
                continue
            key = self._urgency(subject, now_s)
            if key is not None and key < best_key:
                best, best_key = subject, key
        for subject in self.ended.values():
            if not len(subject.album):
                continue  # its only views are still on their way, or were dropped
            key = (0.0, subject.order) if subject.words_s is None else (1.0, subject.order)
            if key < best_key:
                best, best_key = subject, key
        return best

    def _urgency(self, subject: Subject, now_s: float) -> tuple[float, float] | None:
        if subject.words_s is None:
            return (0.0, subject.order)
        if not subject.fresh:
            return None
        age = now_s - subject.words_s
        if subject.changed and age > self.every_s / 4:
            return (2.0, subject.words_s)
        return (3.0, subject.words_s) if age >= self.every_s else None
