"""Frames of a video file by index, through decord where it is sound for the file.

decord finds frames by counting what its decoder gives out. Where a file gives fewer frames than it
has packets, decord shows neighbours in their place, and waits for ever in native code once it runs
into the end of the file. No time limit in Python ends that, so it must not begin: ``unsound`` says
beforehand, from the packets alone, why a file is left to PyAV, and even in sound files the last
group of pictures is read through PyAV, so that decord never comes to the end.

What no choice of files prevents: while decord waits for its first frame it goes on reading packets,
and on a busy machine then holds hundreds of decoded frames. That is why ``auto`` does not take it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gar_video.decoding import frame_index
from gar_video.decoding.pyav_reader import PyavReader

if TYPE_CHECKING:
    from types import ModuleType

Image = npt.NDArray[np.uint8]

_CODECS = ("h264", "hevc", "vp9", "mpeg4", "mjpeg")
_CONTAINERS = ("mov", "matroska", "avi")
_FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")
# Rows are padded to whole blocks of pixels; decord takes some narrow padded rows for compact ones.
_MIN_WIDTH = 128

_inherited = False  # this process was forked from one that had imported decord


def _after_fork() -> None:
    global _inherited
    _inherited = _inherited or "decord" in sys.modules


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)


def load() -> ModuleType | None:
    """Import decord if that is safe in this process, torch before it: the other way can crash.

    Returns:
        The module, or None where it is not installed or the process was forked from one that used
        it: decord's locks and threads do not survive that.
    """
    if _inherited or importlib.util.find_spec("decord") is None:
        return None
    if "torch" not in sys.modules and importlib.util.find_spec("torch") is not None:
        importlib.import_module("torch")
    known = "decord" in sys.modules
    try:
        decord = importlib.import_module("decord")
    except (ImportError, OSError, RuntimeError):
        return None
    if not known:  # whoever imported it before may want its messages
        decord.logging.set_level(decord.logging.QUIET)
    return decord


def unsound(reader: PyavReader) -> tuple[str, ...]:
    """Return why decord is not to be used for the reader's file; empty where it may be.

    Reads the whole file once more, without decoding it.
    """
    index, stream = reader.index, reader.stream
    reasons = sorted({*index.doubts, *frame_index.examine(reader.path)})
    codec = stream.codec_context.codec.name
    if codec not in _CODECS:
        reasons.append(f"its codec is {codec}")
    if stream.container.format.name.split(",")[0] not in _CONTAINERS:
        reasons.append(f"its container is {stream.container.format.name}")
    if reader.pixel_format not in _FORMATS:
        reasons.append(f"its pixels are {reader.pixel_format}")
    if len(stream.container.streams.video) != 1:
        reasons.append("it holds several video streams")
    if reader.resolution_wh[0] < _MIN_WIDTH or reader.resolution_wh[1] < _MIN_WIDTH:
        reasons.append("its frames are small")
    if not (reader.orientation.exact and reader.orientation.is_rotation):
        reasons.append("its pictures are mirrored or turned by an odd angle")
    if len(index.key_order) < 2:
        reasons.append("it is one single group of pictures")
    return tuple(reasons)


class DecordReader:
    """Decode frames through decord, and through PyAV what decord must not touch.

    Args:
        reader: The same file's PyAV reader.
        decord: The module, as ``load`` returned it.
    """

    def __init__(self, reader: PyavReader, decord: ModuleType) -> None:
        self._pyav = reader
        self._decord = decord
        self._pid = os.getpid()
        self._video: Any = None
        # The groups of pictures are closed: positions in decoding and showing order agree there.
        self._limit = int(reader.index.key_order[-1])

    @property
    def usable(self) -> bool:
        """Whether decord has not failed so far, in the process that opened it."""
        return self._pid == os.getpid() and self._limit > 0

    def read(self, indices: Sequence[int]) -> Iterator[Image]:
        """Yield the frames of ascending, distinct ``indices``, each ``(H, W, 3)`` uint8 RGB.

        Raises:
            VideoError: If a frame cannot be decoded.
        """
        done = 0
        while done < len(indices) and indices[done] < self._limit:
            image = self._one(indices[done])
            if image is None:
                self._limit = 0  # whatever it was, PyAV knows better
                break
            yield image
            done += 1
        if done < len(indices):
            yield from self._pyav.read(indices[done:])

    def _one(self, index: int) -> Image | None:
        try:
            if self._video is None:
                self._video = self._decord.VideoReader(str(self._pyav.path))
                if len(self._video) != len(self._pyav.index):
                    return None
            found = self._video[index]
            # What decord gives out is everybody's choice: sam2 sets its "bridge" to torch.
            image: Image = found.asnumpy() if hasattr(found, "asnumpy") else np.asarray(found)
        except Exception:  # decord raises several kinds, RuntimeError and its own among them
            return None
        width, height = self._pyav.resolution_wh
        return image if image.shape == (height, width, 3) else None

    def close(self) -> None:
        """Forget the decoder; the PyAV reader is its owner's to close."""
        if os.getpid() == self._pid:
            self._video = None
