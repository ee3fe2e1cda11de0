"""A video of what was seen and said live: objects drawn in, the latest words on a panel below."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from gar_video.files import replacing
from gar_video.lettering import FAINT, INK, Entry, Picture, panel, wrap
from gar_video.live.sources import LiveFrame
from gar_video.visuals import draw_objects, object_colors

if TYPE_CHECKING:
    import supervision as sv

_TICKS_PER_S = 90_000
_ROWS = 5  # objects whose words are shown at once
_LINES = 2  # lines of words an object


class LiveVideo:
    """Writes H.264 mp4 while a stream runs; the file appears when it is whole.

    A stream that ends by an error or Ctrl-C still leaves what was written so far.

    Args:
        path: The file, ending in ``.mp4``.
        fps: Frames per second, about; every frame keeps its time.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        self._path, self._fps = path, fps
        self._stack = contextlib.ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._last_tick = -1
        self._colors: dict[int, tuple[int, int, int]] = {}

    def __enter__(self) -> LiveVideo:
        import av

        temporary = self._stack.enter_context(replacing(self._path))
        self._container = av.open(str(temporary), "w", format="mp4")
        return self

    def write(self, frame: LiveFrame, found: sv.Detections) -> None:
        """Append a frame with its detections, their words in ``data["description"]``."""
        import av

        picture = self._draw(frame.image, found)
        if self._stream is None:
            self._open(picture)
        image = av.VideoFrame.from_ndarray(picture, format="rgb24")
        image.time_base = Fraction(1, _TICKS_PER_S)
        self._last_tick = max(round(frame.time_s * _TICKS_PER_S), self._last_tick + 1)
        image.pts = self._last_tick
        self._container.mux(self._stream.encode(image))

    def _open(self, picture: Picture) -> None:
        rate = Fraction(max(self._fps, 1)).limit_denominator(1001)
        stream = self._stream = self._container.add_stream("libx264", rate=rate)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)

    def _draw(self, image: Picture, found: sv.Detections) -> Picture:
        sure = found
        if len(found) and found.tracker_id is not None:
            chosen: Any = found[np.asarray(found.tracker_id) >= 0]
            sure = chosen
        ids = [] if sure.tracker_id is None else [int(number) for number in sure.tracker_id]
        colors = object_colors(range(10))
        mine = {number: colors[number % 10] for number in ids}
        drawn = draw_objects(image, sure, mine) if ids else image
        words = list(sure.data.get("description", [])) if ids else []
        below = _panel(image.shape[1], dict(zip(ids, words, strict=True)), mine)
        whole = np.vstack([drawn, below])
        return np.pad(whole, ((0, whole.shape[0] % 2), (0, whole.shape[1] % 2), (0, 0)), "edge")

    def __exit__(self, *problem: object) -> None:
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()
            # Not told of the problem, so that what there is stays; an empty film does not.
            if self._stream is not None:
                self._stack.close()
            else:
                with contextlib.suppress(_Nothing):
                    self._stack.__exit__(_Nothing, _Nothing(), None)


class _Nothing(Exception):  # noqa: N818 - never leaves this module
    """No frame was written."""


def _panel(width: int, words: dict[int, str], colors: dict[int, tuple[int, int, int]]) -> Picture:
    """Draw the words of the first few objects, always as tall."""
    size = int(np.clip(width / 44, 12, 26))
    step, pad = round(size * 1.3), max(4, size // 2)
    room = width - 3 * pad - size
    entries = []
    for number in sorted(words)[:_ROWS]:
        lines = wrap(f"{number}: {words[number] or '…'}", room, size)
        if len(lines) > _LINES:
            lines = [*lines[: _LINES - 1], lines[_LINES - 1] + " …"]
        entries.append(Entry(colors[number], tuple((line, INK) for line in lines)))
    if len(words) > _ROWS:
        entries.append(Entry(None, ((f"and {len(words) - _ROWS} more", FAINT),)))
    height = 2 * pad + _ROWS * (_LINES * step + pad // 2) + step
    return panel(width, size, entries, height)
