"""What is asked about, and what comes of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from gar_video.answer import Answer
from gar_video.server.clips import Clip
from gar_video.server.planning import Frames
from gar_video.server.row import TokenChance
from gar_video.tracks import Tracks


@dataclass(frozen=True, eq=False)
class Subject:
    """What is asked about: a clip, its objects, and where to look.

    Attributes:
        clip: The clip.
        tracks: Where its objects are; None to ask about the pictures alone.
        frames: How many frames to look at, or which.
        time: Window in seconds.
    """

    clip: Clip
    tracks: Tracks | None
    frames: Frames = None
    time: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Reply:
    """An answer with what it cost.

    Attributes:
        answer: The answer.
        chances: Log-probabilities of its tokens, where they were wished for.
        prompt_tokens: Tokens that were read.
        cached_tokens: Of these, tokens of a clip that had been encoded before.
    """

    answer: Answer
    chances: tuple[TokenChance, ...] = ()
    prompt_tokens: int = 0
    cached_tokens: int = 0


class Place:
    """A place for decoded frames that wait for the model; entered in one thread, left in any."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self._places, self._lock = places, threading.Lock()
        self._inside = self._left = False

    def enter(self) -> None:
        """Wait until there is one."""
        self._places.acquire()
        with self._lock:
            self._inside = not self._left
        if self._left:
            self._places.release()

    def leave(self) -> None:
        """Free it, also while it is still being waited for."""
        with self._lock:
            inside, self._inside, self._left = self._inside, False, True
        if inside:
            self._places.release()
