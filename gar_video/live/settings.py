"""What a LiveDescriber can be told, checked, and what it tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gar_video.errors import PromptError

Channels = Literal["RGB", "BGR"]


@dataclass(frozen=True)
class LiveStats:
    """What a LiveDescriber has done so far.

    Attributes:
        updates: Calls of ``update``.
        frames_taken: Frames of which a copy was taken, as some object needed a view.
        frames_dropped: Of these, frames that newer ones pushed out of the queue.
        answers: Answers given, descriptions and standing questions.
        failures: Times the model could not answer.
        objects: Objects seen, the present ones included.
        ended: Objects that have ended.
        without_last_words: Ended objects whose last description was given up, as too many waited.
        skipped: Rows left out because too many objects were in view.
        dropped_boxes: Boxes left out: NaN, inverted or outside the frame.
        unconfirmed: Rows left out because their tracker was not sure yet (id -1).
    """

    updates: int
    frames_taken: int
    frames_dropped: int
    answers: int
    failures: int
    objects: int
    ended: int
    without_last_words: int
    skipped: int
    dropped_boxes: int
    unconfirmed: int


def check_settings(
    every_s: float,
    min_visible: int,
    queue: int,
    views: int,
    lost_after_s: float,
    channels: str,
) -> None:
    """Refuse settings that cannot be meant.

    Raises:
        PromptError: So.
    """
    for name, value, least in (
        ("every_s", every_s, 0.01),
        ("min_visible", min_visible, 1),
        ("queue", queue, 1),
        ("views", views, 1),
        ("lost_after_s", lost_after_s, 0.01),
    ):
        if not value >= least:
            raise PromptError(f"{name} is {value}; expected at least {least}")
    if channels not in ("RGB", "BGR"):
        raise PromptError(f"channels is {channels!r}; expected 'RGB' or 'BGR'")
