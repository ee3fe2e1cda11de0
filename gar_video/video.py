"""Videos and photographs: frames by index, exact times, one face for every source."""

from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from gar_video.errors import VideoError

if TYPE_CHECKING:
    from gar_video.decoding.decord_reader import DecordReader
    from gar_video.decoding.pyav_reader import PyavReader

Image: TypeAlias = npt.NDArray[np.uint8]
Backend: TypeAlias = Literal["auto", "decord", "pyav"]

# Whether "auto" takes decord for files it can be trusted with. PyAV, measured on six codecs, needs
# less time for the same pixels, and holds no more than the frames in hand; decord may hold many.
_AUTO_TAKES_DECORD = False
_DEFAULT_FPS = Fraction(25)  # of folders and arrays, which carry no times
_TOLERANCE_S = 1e-6  # times given in seconds meet frames' times up to rounding


class _Reader(Protocol):
    resolution_wh: tuple[int, int]

    def read(self, indices: Sequence[int]) -> Iterator[Image]: ...

    def close(self) -> None: ...


class Video:
    """A video, or a photograph, as frames that can be asked for in any order.

    Frames are ``(H, W, 3)`` uint8 RGB in the size the file stores, turned upright as the container
    or the EXIF orientation says. Non-square pixels are not stretched. YUV becomes RGB by the
    matrix and range that the file names, BT.601 and limited range where it names none; there is
    no tone mapping. Frames are counted from 0 in the order they are shown, and each is the array's
    sole owner: drawing on it changes nothing here.

    A file's length is the number of frames in it, whatever its header claims. A frame whose data
    is damaged raises when it is asked for; no neighbour stands in for it.

    Args:
        source: Path of a video file, of a folder of pictures (one a frame, in natural order) or of
            a photograph; or a ``(T, H, W, 3)`` uint8 RGB array, or ``(H, W, 3)`` for a photograph.
        fps: Frames per second. Folders and arrays have 25 by default. For a file it replaces the
            file's own times by evenly spaced ones.
        backend: Who decodes files: ``"pyav"``; ``"decord"``, which raises where decord would be
            unsound; or ``"auto"``, the better of both for the file. The pixels are the same.

    Raises:
        VideoError: If the source is missing, unreadable, empty, cut off, without a video stream or
            without a frame, of no known kind, or an array of another type or shape.

    Example:
        >>> video = Video(np.zeros((4, 48, 64, 3), np.uint8), fps=2)
        >>> len(video), video.resolution_wh, video.index_at(1.2)
        (4, (64, 48), 2)
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | npt.NDArray[np.uint8],
        *,
        fps: float | Fraction | None = None,
        backend: Backend = "auto",
    ) -> None:
        if backend not in ("auto", "decord", "pyav"):
            raise VideoError(f"backend {backend!r}; expected 'auto', 'decord' or 'pyav'")
        self.path: Path | None = None
        self.is_image = False
        self._wanted_backend = backend
        self._fps = None if fps is None else _as_rate(fps)
        self._lock = threading.RLock()
        self._closed = False
        self._doubts: tuple[str, ...] | None = None
        self._pyav: PyavReader | None = None
        self._decord: DecordReader | None = None
        self._reader: _Reader
        if isinstance(source, (str, os.PathLike)):
            self._open_path(source)
        else:
            self._open_array(source)
        self._times_s.setflags(write=False)

    # ---- opening ------------------------------------------------------------------------------

    def _open_path(self, source: str | os.PathLike[str]) -> None:
        from gar_video.decoding import containers, pictures

        text = os.fspath(source)
        if "://" in text:
            raise VideoError(
                f"{text} is an address; expected a file or folder: download or record it first"
            )
        if not text:
            raise VideoError("the path is empty; expected a video file, a picture or a folder")
        self.path = Path(text)
        self.name = self.path.resolve().name
        if self.path.is_dir():
            paths = pictures.in_folder(self.path)
            self._take(pictures.PictureReader(paths), len(paths))
            return
        containers.check_file(self.path)
        if pictures.is_picture(self.path):
            self.is_image = True
            # Decoded now: a damaged photograph is better refused here than later.
            self._take(pictures.ArrayReader(pictures.load(self.path)[None]), 1)
            return
        self._open_file(self.path)

    def _open_file(self, path: Path) -> None:
        from gar_video.decoding import decord_reader
        from gar_video.decoding.pyav_reader import PyavReader

        reader = self._pyav = PyavReader(path)
        try:
            if self._wanted_backend == "decord":
                if self._why_not_decord:
                    raise VideoError(
                        f"decord cannot be trusted with {path}: {'; '.join(self._why_not_decord)}; "
                        "use backend='auto'"
                    )
                if decord_reader.load() is None:
                    raise VideoError(
                        "decord is not installed, or cannot be used in a forked process; "
                        "use backend='auto'"
                    )
        except BaseException:
            reader.close()
            raise
        index = reader.index
        self._reader = reader
        if self._fps is None:
            self._fps, self._times_s = index.fps, index.times_s()
            self._last_s = float(index.last_duration * index.time_base)
        else:
            self._space_evenly(len(index))

    def _open_array(self, source: object) -> None:
        from gar_video.decoding import pictures

        if not hasattr(source, "__array__"):
            raise VideoError(
                f"source of type {type(source).__name__}; expected a path, or a (T, H, W, 3) or "
                "(H, W, 3) uint8 RGB array (np.stack makes one of a list of frames)"
            )
        frames = np.asarray(source)
        self.name = "array"
        self.is_image = frames.ndim == 3
        if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3:
            raise VideoError(
                f"array of shape {frames.shape} and type {frames.dtype}; expected (T, H, W, 3), or "
                "(H, W, 3) for a photograph, of type uint8 in RGB order"
            )
        if frames.size == 0:
            raise VideoError(f"array of shape {frames.shape} has no pixels; expected at least one")
        frames = frames[None] if self.is_image else frames
        self._take(pictures.ArrayReader(frames), len(frames))

    def _take(self, reader: _Reader, num_frames: int) -> None:
        """Use a reader of frames without times of their own."""
        self._reader = reader
        self._space_evenly(num_frames)

    def _space_evenly(self, num_frames: int) -> None:
        self._fps = self._fps or (Fraction(1) if self.is_image else _DEFAULT_FPS)
        ticks = np.arange(num_frames, dtype=np.float64)
        self._times_s = ticks * self._fps.denominator / self._fps.numerator
        self._last_s = float(1 / self._fps)

    # ---- what it is ---------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._times_s)

    def __repr__(self) -> str:
        width, height = self.resolution_wh
        kind = "photograph" if self.is_image else f"{len(self)} frames, {float(self.fps):g} fps"
        return f"Video({self.name!r}, {width}x{height}, {kind})"

    @property
    def resolution_wh(self) -> tuple[int, int]:
        """``(width, height)`` in pixels, upright."""
        return self._reader.resolution_wh

    @property
    def width(self) -> int:
        """Width in pixels, upright."""
        return self.resolution_wh[0]

    @property
    def height(self) -> int:
        """Height in pixels, upright."""
        return self.resolution_wh[1]

    @property
    def fps(self) -> Fraction:
        """Frames per second, exact; the mean where the rate varies, 1 for a photograph."""
        assert self._fps is not None
        return self._fps

    @property
    def times_s(self) -> npt.NDArray[np.float64]:
        """``(T,)`` seconds at which the frames appear, the first at 0.0; read-only."""
        return self._times_s

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame's appearance to the last one's end."""
        return float(self._times_s[-1]) + self._last_s

    @property
    def backend(self) -> str:
        """Who decodes: ``"decord"``, ``"pyav"`` or, without a file, ``"none"``."""
        if self._pyav is None:
            return "none"
        return "decord" if self._use_decord() is not None else "pyav"

    # ---- frames -------------------------------------------------------------------------------

    def __getitem__(self, index: int) -> Image:
        """Return frame ``index``, ``(H, W, 3)`` uint8 RGB.

        Raises:
            VideoError: If there is no such frame (counted from 0; negative indices and slices are
                not taken), or it is damaged.
        """
        index = self._check(index)
        with self._lock:
            return next(iter(self._source().read([index])))

    def frames(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Image:
        """Decode some frames, each needed stretch of the file once.

        Args:
            indices: Frame indices from 0, in any order; repeats are allowed.

        Returns:
            ``(N, H, W, 3)`` uint8 RGB in the order asked for.

        Raises:
            VideoError: If there is no such frame, or one is damaged.
        """
        asked = [self._check(index) for index in indices]
        images = np.empty((len(asked), self.height, self.width, 3), dtype=np.uint8)
        distinct = sorted(set(asked))
        places: dict[int, list[int]] = {index: [] for index in distinct}
        for place, index in enumerate(asked):
            places[index].append(place)
        with self._lock:
            for index, image in zip(distinct, self._source().read(distinct), strict=True):
                for place in places[index]:
                    images[place] = image
        return images

    def __iter__(self) -> Iterator[Image]:
        """Yield the frames one after the other, ``(H, W, 3)`` uint8 RGB, holding none of them.

        Other frames may be asked for meanwhile without disturbing the pace.
        """
        self._check_open()
        if self._pyav is None:
            for index in range(len(self)):
                with self._lock:
                    image = next(iter(self._reader.read([index])))
                yield image
            return
        from gar_video.decoding.pyav_reader import PyavReader

        # A decoder of its own: one that jumps between two places decodes everything twice. PyAV's,
        # because it gives out each frame as it is decoded and never runs ahead of the consumer.
        reader = PyavReader(self._pyav.path, like=self._pyav)
        try:
            for index in range(len(self)):
                yield next(iter(reader.read([index])))
        finally:
            reader.close()

    # ---- times --------------------------------------------------------------------------------

    def index_at(self, time_s: float) -> int:
        """Return the index of the frame that is shown at a time.

        Args:
            time_s: Seconds from the first frame, at most the duration.

        Raises:
            VideoError: If the time is negative, after the end, or not a number.
        """
        time_s = self._check_time(time_s)
        return max(int(np.searchsorted(self._times_s, time_s + _TOLERANCE_S, "right")) - 1, 0)

    def window(self, start_s: float, end_s: float) -> range:
        """Return the indices of the frames that appear in a stretch of time.

        Args:
            start_s: First second, at least 0.
            end_s: Second before which frames appear; may lie behind the end.

        Returns:
            The indices with ``start_s <= time < end_s``; where no frame appears in so short a
            stretch, the one that is shown at its start.

        Raises:
            VideoError: If the stretch is empty, reversed or starts after the end.
        """
        first_s, last_s = self._check_time(start_s), float(end_s)
        if math.isnan(last_s) or last_s <= first_s or first_s >= self.duration_s:
            raise VideoError(
                f"the time window {start_s} to {end_s} s is empty, reversed or after the end; "
                f"expected 0 <= start < end, start before {self.duration_s:.3f} s"
            )
        bounds = np.array([first_s, last_s]) - _TOLERANCE_S
        first, end = np.searchsorted(self._times_s, bounds, "left").tolist()
        if first >= end:
            first = self.index_at(first_s)
            end = first + 1
        return range(first, end)

    # ---- closing ------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the file; asking for frames afterwards raises VideoError."""
        if not self._closed:
            self._closed = True
            if self._decord is not None:
                self._decord.close()
            self._reader.close()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- inside -------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise VideoError(f"{self.name} is closed; open it again to read frames")

    def _check(self, index: object) -> int:
        """Return a frame index as a Python int if there is such a frame."""
        try:
            if isinstance(index, (bool, np.bool_)):
                raise TypeError
            number = operator.index(index)  # type: ignore[arg-type]
        except TypeError:
            raise VideoError(
                f"frame index {index!r}; expected a whole number (for several: video.frames(...))"
            ) from None
        if not 0 <= number < len(self):
            raise VideoError(
                f"frame {number} of {self.name}, which has frames 0 to {len(self) - 1}; "
                "frames are counted from 0"
            )
        return number

    def _check_time(self, time_s: float) -> float:
        time_s = float(time_s)
        if not -_TOLERANCE_S <= time_s <= self.duration_s + _TOLERANCE_S:  # NaN fails too
            raise VideoError(
                f"time {time_s} s of {self.name}, which lasts {self.duration_s:.3f} s; "
                f"expected 0 to {self.duration_s:.3f}"
            )
        return max(time_s, 0.0)

    def _source(self) -> _Reader | DecordReader:
        """Return who reads frames now."""
        self._check_open()
        return self._use_decord() or self._reader

    @property
    def _why_not_decord(self) -> tuple[str, ...]:
        """Why decord is not to be used for the file; looked into when somebody asks."""
        from gar_video.decoding import decord_reader

        if self._doubts is None:
            self._doubts = () if self._pyav is None else decord_reader.unsound(self._pyav)
        return self._doubts

    def _use_decord(self) -> DecordReader | None:
        """Return decord's reader where it is sound, installed and safe in this process."""
        wanted = self._wanted_backend == "decord" or (
            self._wanted_backend == "auto" and _AUTO_TAKES_DECORD
        )
        if self._pyav is None or not wanted or self._why_not_decord:
            return None
        if self._decord is None:
            from gar_video.decoding import decord_reader

            decord = decord_reader.load()
            if decord is None:
                return None
            self._decord = decord_reader.DecordReader(self._pyav, decord)
        return self._decord if self._decord.usable else None


def _as_rate(fps: float | Fraction) -> Fraction:
    """Return frames per second as an exact fraction; 29.97 and the like mean n * 1000 / 1001."""
    try:
        rate = Fraction(fps)
    except (TypeError, ValueError, OverflowError):
        raise VideoError(f"fps {fps!r}; expected a positive number") from None
    if rate <= 0:
        raise VideoError(f"fps {fps!r}; expected a positive number")
    if isinstance(fps, float):
        whole = round(rate * 1001 / 1000)
        ntsc = Fraction(whole * 1000, 1001)
        rate = (
            ntsc
            if rate.denominator > 1 and abs(rate - ntsc) < 0.01
            else rate.limit_denominator(10**6)
        )
    return rate
