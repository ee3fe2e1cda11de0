"""Stream time: seconds that never go back."""

from __future__ import annotations

import math
import time

from gar_video.errors import TracksError


class StreamClock:
    """Checks times that are given, and tells them where none are.

    Attributes:
        now_s: The time of the last update, in seconds; minus infinity before the first.
    """

    def __init__(self) -> None:
        self.now_s = -math.inf
        self._began: float | None = None
        self._given: bool | None = None

    def tick(self, time_s: float | None) -> float:
        """Take the time of an update.

        Args:
            time_s: Seconds in the stream; None for seconds since the first update.

        Returns:
            The time in seconds.

        Raises:
            TracksError: If it is not a finite number, lies before the last one, or times are given
                for some updates only.
        """
        if self._given is not None and self._given != (time_s is not None):
            raise TracksError(
                "time_s is given for some updates only; give it for all of them, or for none"
            )
        now = self._elapsed() if time_s is None else _finite(time_s)
        if now < self.now_s:
            raise TracksError(
                f"time_s {now:g} after {self.now_s:g}: times go back; give rising times, or begin "
                "anew where the stream does"
            )
        self._given, self.now_s = time_s is not None, now
        return now

    def _elapsed(self) -> float:
        if self._began is None:
            self._began = time.monotonic()
        return time.monotonic() - self._began


def _finite(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise TracksError(f"time_s is {value!r}; expected seconds")
    return number
