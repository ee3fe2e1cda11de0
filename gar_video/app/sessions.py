"""All visitors' sessions: found by a secret, closed when they are left."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gar_video.app.models import Models
from gar_video.app.session import Session
from gar_video.errors import PromptError


class Sessions:
    """Makes, finds and closes sessions.

    Args:
        models: The models that all of them share.
        most: How many may be open at once.
        idle_s: A session untouched for so long is closed.
        grace_s: One whose page was closed is kept so long, should it come back.
        clock: Tells the time, in seconds.
    """

    def __init__(
        self,
        models: Models,
        *,
        most: int = 64,
        idle_s: float = 2 * 3600,
        grace_s: float = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.models = models
        self.folder = Path(tempfile.mkdtemp(prefix="gar-video-app-"))
        self._most, self._idle_s, self._grace_s, self._clock = most, idle_s, grace_s, clock
        self._lock = threading.Lock()
        self._held: dict[str, tuple[Session, float]] = {}
        self._end = threading.Event()

    def __len__(self) -> int:
        return len(self._held)

    def create(self) -> Session:
        """Make a session.

        Raises:
            PromptError: If there are too many.
        """
        self.tidy()
        with self._lock:
            if len(self._held) >= self._most:
                raise PromptError(f"{self._most} pages are open already; try again in a while")
            session = Session(Path(tempfile.mkdtemp(dir=self.folder)), self.models)
            self._held[session.key] = (session, self._clock() + self._idle_s)
        return session

    def get(self, key: object) -> Session:
        """Return the session of a key, which thereby stays.

        Raises:
            PromptError: If there is none, or none any more.
        """
        with self._lock:
            held = self._held.get(key) if isinstance(key, str) else None
            if held is None:
                raise PromptError("this page has been left alone for too long; reload it to go on")
            self._held[held[0].key] = (held[0], self._clock() + self._idle_s)
            return held[0]

    def leave(self, key: str) -> None:
        """Note that a session's page has gone."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held[key] = (held[0], min(held[1], self._clock() + self._grace_s))

    def tidy(self) -> int:
        """Close the sessions whose time is over and return how many there were."""
        now = self._clock()
        with self._lock:
            over = [key for key, (_, until) in self._held.items() if until <= now]
            gone = [self._held.pop(key)[0] for key in over]
        for session in gone:
            session.close()
        return len(gone)

    def keep_tidy(self, every_s: float = 15) -> None:
        """Tidy now and then, beside everything else, until ``close``."""

        def work() -> None:
            while not self._end.wait(every_s):
                self.tidy()

        threading.Thread(target=work, name="tidy-sessions", daemon=True).start()

    def close(self) -> None:
        """Close all sessions and remove their files."""
        self._end.set()
        with self._lock:
            gone = [session for session, _ in self._held.values()]
            self._held.clear()
        for session in gone:
            session.close()
        shutil.rmtree(self.folder, ignore_errors=True)
