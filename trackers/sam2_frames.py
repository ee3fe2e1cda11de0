"""Frames as SAM 2's predictor wants to index them, decoded on demand.

The predictor only asks ``images[i]`` and ``len(images)``. Each frame is resized and normalised as
sam2's own loader does it, so that masks equal the official predictor's to the last bit:

* from an ``.mp4`` file that decord reads soundly and that is short, the way sam2 reads videos:
  decord scales while it converts from YUV. decord decodes the whole clip ahead of a slow reader,
  so that longer ones (over ``DECORD_BYTES`` of scaled frames) would not be flat in memory;
* from anything else (longer files, folder of images, array, other containers), the way sam2 reads
  a folder of JPEG files: the RGB frame resized by Pillow's default filter.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

if TYPE_CHECKING:
    from gar_video.video import Video

# Resized frames kept so that playing backwards decodes in runs: about this many bytes of them.
CHUNK_BYTES = 24 * 2**20

# Clips whose scaled frames are together larger than this are not given to decord.
DECORD_BYTES = 64 * 2**20

# Why ``Video`` leaves a file to PyAV, but not a reason here, where each frame is read by both.
_HARMLESS_HERE = {"it is one single group of pictures"}

_MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float32)[:, None, None]
_STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float32)[:, None, None]


class _Reader(Protocol):
    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Return frame ``index`` as ``(S, S, 3)`` uint8 RGB."""


class _PillowReader:
    def __init__(self, video: Video, size: int) -> None:
        self.video, self.size = video, size

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        return np.array(Image.fromarray(self.video[index]).resize((self.size, self.size)))


class _DecordReader:
    """Reads scaled frames through decord, each after the video itself could read it.

    decord waits for ever for a frame that the file does not give. The video raises then, so that
    decord is never asked for it.
    """

    def __init__(self, video: Video, scaled: Any) -> None:
        self.video, self.scaled = video, scaled

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        self.video[index]
        frame = self.scaled[index]
        # Whoever set decord's bridge to torch for this thread gets tensors from it.
        return frame.asnumpy() if hasattr(frame, "asnumpy") else frame.numpy()


def _reader_for(video: Video, size: int) -> _Reader:
    scaled = _scaled_decord(video, size)
    return _PillowReader(video, size) if scaled is None else _DecordReader(video, scaled)


def _scaled_decord(video: Video, size: int) -> Any:
    """Open an ``.mp4`` as sam2 does, or return None where decord is not sound for it."""
    path = getattr(video, "path", None)
    if path is None or path.suffix not in (".mp4", ".MP4") or not path.is_file():
        return None
    if len(video) * 3 * size * size > DECORD_BYTES:
        return None
    reasons = getattr(video, "_why_not_decord", ("unknown",))
    if getattr(video, "_wanted_backend", None) == "pyav" or set(reasons) - _HARMLESS_HERE:
        return None
    from gar_video.decoding import decord_reader

    decord = decord_reader.load()
    if decord is None:
        return None
    try:
        scaled = decord.VideoReader(str(path), width=size, height=size)
        return scaled if len(scaled) == len(video) else None
    except Exception:  # decord raises several kinds, RuntimeError and its own among them
        return None


class LazyImages:
    """What stands in for ``inference_state["images"]``; holds a bounded number of frames.

    Args:
        video: Where the frames come from.
        image_size: Side of the model's square input in pixels.

    Attributes:
        backwards: Set while frames are asked for in falling order: then a run of frames is
            decoded forwards and handed out from its end.
        held: Resized frames held at the moment.
    """

    def __init__(self, video: Video, image_size: int) -> None:
        self.num_frames = len(video)
        self.backwards = False
        self.chunk = max(8, CHUNK_BYTES // (3 * image_size * image_size))
        self._reader = _reader_for(video, image_size)
        self._frames: OrderedDict[int, npt.NDArray[np.uint8]] = OrderedDict()

    @property
    def held(self) -> int:
        """Number of resized frames held."""
        return len(self._frames)

    def __len__(self) -> int:
        return self.num_frames

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return frame ``index`` normalised, ``[3, S, S]`` float32 on the CPU."""
        pixels = torch.from_numpy(self._resized(index))
        image = pixels.permute(2, 0, 1).float() / 255.0
        image -= _MEAN
        image /= _STD
        return image

    def _resized(self, index: int) -> npt.NDArray[np.uint8]:
        if index in self._frames:
            return self._frames[index]
        if not self.backwards:
            self._frames.clear()
            frame = self._reader.read(index)
            self._frames[index] = frame
            return frame
        self._frames.clear()
        for number in range(max(0, index - self.chunk + 1), index + 1):
            self._frames[number] = self._reader.read(number)
        return self._frames[index]
