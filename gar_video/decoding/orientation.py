"""Turning stored pictures upright: what a container's display matrix asks for."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# (a, b, c, d) of a display matrix, x' = a x + c y and y' = b x + d y, and what that does to rows
# and columns: transpose first, then turn columns, then rows around.
_TURNS = {
    (1, 0, 0, 1): (False, False, False),
    (-1, 0, 0, -1): (False, True, True),
    (-1, 0, 0, 1): (False, True, False),
    (1, 0, 0, -1): (False, False, True),
    (0, 1, 1, 0): (True, False, False),
    (0, 1, -1, 0): (True, True, False),
    (0, -1, 1, 0): (True, False, True),
    (0, -1, -1, 0): (True, True, True),
}


@dataclass(frozen=True)
class Orientation:
    """How a stored picture becomes the shown one: transpose, then mirror columns, then rows.

    Attributes:
        transpose: Swap rows and columns.
        mirror_x: Then turn the columns around.
        mirror_y: Then turn the rows around.
        exact: False where the file asks for an angle between quarter turns, which is rounded.
    """

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False
    exact: bool = True

    @classmethod
    def of_frame(cls, frame: VideoFrame) -> Orientation:
        """Read the display matrix that the container hands over with its frames, if any."""
        side_data: Any = frame.side_data  # iterates over items, not keys
        for item in side_data:
            if item.type.name == "DISPLAYMATRIX":
                return cls.of_matrix(bytes(item))
        return cls()

    @classmethod
    def of_matrix(cls, matrix: bytes) -> Orientation:
        """Read nine native 32-bit integers, the first two of each row of three in 16.16."""
        a, b, _, c, d = struct.unpack_from("=5i", matrix)
        scale = max(abs(a), abs(b), abs(c), abs(d))
        if scale == 0:
            return cls(exact=False)
        parts = [v / scale for v in (a, b, c, d)]
        exact = all(abs(v) < 0.01 or abs(v) > 0.99 for v in parts)
        # Between two quarter turns the nearer one.
        straight = abs(parts[0]) >= abs(parts[1])
        keep = (True, False, False, True) if straight else (False, True, True, False)
        signs = tuple((1 if v > 0 else -1) if k else 0 for v, k in zip(parts, keep, strict=True))
        return cls(*_TURNS[signs], exact=exact)  # type: ignore[index]

    @property
    def is_rotation(self) -> bool:
        """Whether the picture is only turned, not mirrored."""
        return (self.transpose + self.mirror_x + self.mirror_y) % 2 == 0

    def turned(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the shown size of a stored ``(width, height)``."""
        return (size[1], size[0]) if self.transpose else size

    def apply(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the upright picture, contiguous; the given one itself if nothing is to do."""
        if not (self.transpose or self.mirror_x or self.mirror_y):
            return np.ascontiguousarray(image)
        import cv2  # several times faster here than numpy's strides

        if self.transpose:
            image = cv2.transpose(image)
        if self.mirror_x or self.mirror_y:
            code = -1 if self.mirror_x and self.mirror_y else int(self.mirror_x)
            image = cv2.flip(image, code)
        return image
