"""What a user points with: a box, points or a mask on one frame, meaning one object.

Pixel coordinates of the original video, ``x`` to the right and ``y`` down, frames 0-based.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gar_video.errors import PromptError


def _index(value: object, name: str) -> int:
    """Return ``value`` as a Python int, refusing floats, booleans and strings."""
    if isinstance(value, (bool, np.bool_)):
        raise PromptError(f"{name} is {value!r}; expected a whole number")
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise PromptError(f"{name} is {value!r}; expected a whole number") from None


def _check_frame(frame: int, num_frames: int) -> None:
    if not 0 <= frame < num_frames:
        raise PromptError(
            f"prompt on frame {frame}, but the video has frames 0 to {num_frames - 1}; "
            "frames are counted from 0"
        )


@dataclass(frozen=True)
class Box:
    """A box around one object on one frame.

    Attributes:
        frame: 0-based frame index.
        xyxy: ``(x_min, y_min, x_max, y_max)`` in pixels of the original video.
        object_id: The id that the object's track gets.

    Raises:
        PromptError: If a value is not finite, or the box is inverted or of zero area.
    """

    frame: int
    xyxy: tuple[float, float, float, float]
    object_id: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", _index(self.frame, "frame"))
        object.__setattr__(self, "object_id", _index(self.object_id, "object_id"))
        try:
            values = tuple(float(v) for v in self.xyxy)
        except (TypeError, ValueError):
            raise PromptError(f"box {self.xyxy!r}; expected four numbers X1,Y1,X2,Y2") from None
        if len(values) != 4:
            raise PromptError(f"box has {len(values)} values; expected four: X1,Y1,X2,Y2")
        if not np.isfinite(values).all():
            raise PromptError(f"box {values} holds NaN or infinity; expected four finite numbers")
        x1, y1, x2, y2 = values
        if x2 <= x1 or y2 <= y1:
            raise PromptError(
                f"box {values} is inverted or has no area; "
                "expected X1,Y1,X2,Y2 with X1 < X2 and Y1 < Y2"
            )
        object.__setattr__(self, "xyxy", values)

    def check(self, num_frames: int, resolution_wh: tuple[int, int]) -> None:
        """Raise PromptError unless frame and box lie inside the video."""
        _check_frame(self.frame, num_frames)
        width, height = resolution_wh
        x1, y1, x2, y2 = self.xyxy
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
            raise PromptError(
                f"box {self.xyxy} reaches outside the {width}x{height} frame; "
                f"expected 0 <= x <= {width} and 0 <= y <= {height}"
            )


@dataclass(frozen=True)
class Points:
    """Clicks on one object on one frame.

    Attributes:
        frame: 0-based frame index.
        xy: Points ``[(x, y), ...]`` in pixels of the original video.
        labels: 1 for a point on the object, 0 for a point off it; all 1 by default.
        object_id: The id that the object's track gets.

    Raises:
        PromptError: If there is no point on the object, a value is not finite, or the number of
            labels differs from the number of points.
    """

    frame: int
    xy: Sequence[tuple[float, float]]
    labels: Sequence[int] | None = None
    object_id: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", _index(self.frame, "frame"))
        object.__setattr__(self, "object_id", _index(self.object_id, "object_id"))
        try:
            points = np.asarray(self.xy, dtype=float)
        except (TypeError, ValueError):
            raise PromptError(f"points {self.xy!r}; expected [(x, y), ...]") from None
        if points.shape == (2,):
            points = points[None]
        if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
            raise PromptError(f"points of shape {points.shape}; expected one or more (x, y)")
        if not np.isfinite(points).all():
            raise PromptError("a point holds NaN or infinity; expected finite pixel coordinates")
        labels = [1] * len(points) if self.labels is None else list(self.labels)
        if len(labels) != len(points):
            raise PromptError(f"{len(points)} points but {len(labels)} labels; expected one each")
        if any(label not in (0, 1) for label in labels):
            raise PromptError(f"labels {labels}; expected 1 (on the object) or 0 (off it)")
        object.__setattr__(self, "xy", tuple((float(x), float(y)) for x, y in points))
        object.__setattr__(self, "labels", tuple(int(label) for label in labels))

    def check(self, num_frames: int, resolution_wh: tuple[int, int]) -> None:
        """Raise PromptError unless frame and points lie inside the video."""
        _check_frame(self.frame, num_frames)
        width, height = resolution_wh
        for x, y in self.xy:
            if not (0 <= x < width and 0 <= y < height):
                raise PromptError(
                    f"point ({x:g}, {y:g}) lies outside the {width}x{height} frame; "
                    f"expected 0 <= x < {width} and 0 <= y < {height}"
                )


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask of one object on one frame.

    Attributes:
        frame: 0-based frame index.
        mask: ``(H, W)`` array of the video's size; non-zero pixels belong to the object.
        object_id: The id that the object's track gets.

    Raises:
        PromptError: If the mask is not two-dimensional or covers no pixel.
    """

    frame: int
    mask: npt.NDArray[np.bool_]
    object_id: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", _index(self.frame, "frame"))
        object.__setattr__(self, "object_id", _index(self.object_id, "object_id"))
        mask = np.asarray(self.mask)
        if mask.ndim != 2:
            raise PromptError(f"mask of shape {mask.shape}; expected (height, width)")
        mask = mask != 0
        if not mask.any():
            raise PromptError(
                f"the mask of object {self.object_id} on frame {self.frame} is empty; "
                "expected at least one pixel of the object"
            )
        object.__setattr__(self, "mask", mask)

    def check(self, num_frames: int, resolution_wh: tuple[int, int]) -> None:
        """Raise PromptError unless frame and mask fit the video."""
        _check_frame(self.frame, num_frames)
        height, width = self.mask.shape
        if (width, height) != tuple(resolution_wh):
            raise PromptError(
                f"mask of {width}x{height} pixels for a video of "
                f"{resolution_wh[0]}x{resolution_wh[1]}; expected the video's own size"
            )


VisualPrompt: TypeAlias = Box | Points | Mask
