"""Memory for frames that is used again once nobody holds the frame any more."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

# In a loop over frames the last one is still held while the next is made.
_KEPT = 2


def _holders(arrays: list[Image], at: int) -> int:
    """Count who refers to an array of a list, the list and this call included."""
    return sys.getrefcount(arrays[at])


# Measured, because interpreters differ in which of their own references they count.
_NOBODY_ELSE = _holders([np.empty(0, dtype=np.uint8)], 0)


def _may_count() -> bool:
    """Whether reference counts are exact, which they are not without CPython's global lock."""
    if sys.implementation.name != "cpython":
        return False
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class FrameBuffers:
    """Move frames into memory that the process already has.

    Fresh memory for every frame costs a page fault for every 4 KB, on the whole about a quarter of
    the time of reading a video frame by frame. An array is used again only when nothing but this
    pool refers to it: numpy's views, torch's tensors and buffers of it all count.

    Args:
        smallest: Frames of fewer bytes stay as they are: their memory is fresh only once.
    """

    def __init__(self, smallest: int = 2**20) -> None:
        self._smallest = smallest
        self._arrays: list[Image] = []
        self._reuse = _may_count()

    def moved(self, image: Image) -> Image:
        """Return ``image``, which nobody else may hold, or a contiguous copy of it."""
        if image.nbytes < self._smallest:
            return image
        for at in range(len(self._arrays)):
            free = _holders(self._arrays, at) == _NOBODY_ELSE
            if free and self._arrays[at].shape == image.shape:
                np.copyto(self._arrays[at], image)
                return self._arrays[at]
        array = np.array(image, order="C")
        if self._reuse and len(self._arrays) < _KEPT:
            self._arrays.append(array)
        return array
