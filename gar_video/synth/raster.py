"""Filling outlines exactly: coverage of each pixel, by drawing finer and averaging."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.synth.appearance import outline

Contours = list[npt.NDArray[np.float64]]
_SHIFT = 4
_UNITS = 1 << _SHIFT


@functools.lru_cache(maxsize=512)
def _turned(shape: str, angle: float) -> tuple[npt.NDArray[np.float64], ...]:
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s], [-s, c]])
    return tuple(contour @ turn for contour in outline(shape))


def contours(
    shape: str,
    angle: float,
    diameter: float,
    centre: npt.NDArray[np.float64],
    scale_xy: tuple[float, float],
) -> Contours:
    """Return a thing's contours in pixels.

    Args:
        shape: Name of the shape.
        angle: How far it is turned, radians.
        diameter: Its diameter, units of the frame's height.
        centre: ``(2,)`` centre in the same units.
        scale_xy: Pixels a unit, along x and y.

    Returns:
        Float ``(V, 2)`` contours; pixel ``i`` covers ``i`` to ``i + 1``.
    """
    scale = np.asarray(scale_xy)
    return [(contour * diameter + centre) * scale for contour in _turned(shape, angle)]


def bounds(outlines: Contours) -> tuple[int, int, int, int]:
    """Return the pixel box ``(x0, y0, x1, y1)``, end exclusive, that holds the contours."""
    low, high = outlines[0].min(axis=0), outlines[0].max(axis=0)
    x0, y0 = (int(v) for v in np.floor(low))
    x1, y1 = (int(v) for v in np.ceil(high))
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _fixed(outlines: Contours, origin: tuple[int, int], fine: int) -> list[npt.NDArray[np.int32]]:
    """Return contours in OpenCV's fixed-point coordinates on the finer grid."""
    return [
        np.rint(((contour - origin) * fine - 0.5) * _UNITS).astype(np.int32) for contour in outlines
    ]


def fill(outlines: Contours, box: tuple[int, int, int, int], fine: int) -> npt.NDArray[np.uint8]:
    """Return the share of each pixel of ``box`` that lies inside, ``(h, w)``, 0 to 255.

    Args:
        outlines: Contours in pixels; even-odd, so a contour inside another is a hole.
        box: ``(x0, y0, x1, y1)``, end exclusive.
        fine: Fine pixels along each side of a pixel.
    """
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    grid = np.zeros((height * fine, width * fine), np.uint8)
    cv2.fillPoly(grid, _fixed(outlines, (x0, y0), fine), 255, shift=_SHIFT)
    return grid if fine == 1 else cv2.resize(grid, (width, height), interpolation=cv2.INTER_AREA)


def stroke(
    outlines: Contours, box: tuple[int, int, int, int], fine: int, width_px: float
) -> npt.NDArray[np.uint8]:
    """Return the coverage of lines along the contours, as ``fill`` does for their inside."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    grid = np.zeros((height * fine, width * fine), np.uint8)
    points = _fixed(outlines, (x0, y0), fine)
    # OpenCV has one line width for a call and counts it in whole fine pixels.
    cv2.polylines(grid, points, True, 255, max(1, round(width_px * fine)), cv2.LINE_8, _SHIFT)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_AREA)


@functools.lru_cache(maxsize=8)
def _pattern_parts(pattern: str) -> tuple[npt.NDArray[np.float64], ...]:
    """Return the polygons of a pattern over the unit box around the origin."""
    parts: list[npt.ArrayLike] = []
    if pattern == "striped":
        for y in (-0.43, -0.14, 0.15, 0.44):
            parts.append([(-0.75, y - 0.07), (0.75, y - 0.07), (0.75, y + 0.07), (-0.75, y + 0.07)])
    elif pattern == "dotted":
        angles = 2 * np.pi * np.arange(12) / 12
        ring = 0.075 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        places = (-0.36, -0.12, 0.12, 0.36)
        parts += [ring + np.array([x, y]) for x in places for y in places]
    elif pattern == "checkered":
        cell = 0.25
        for i in range(-3, 3):
            for j in range(-3, 3):
                if (i + j) % 2:
                    x, y = i * cell, j * cell
                    parts.append([(x, y), (x + cell, y), (x + cell, y + cell), (x, y + cell)])
    return tuple(np.asarray(part, dtype=np.float64) for part in parts)


def pattern_fill(
    pattern: str,
    angle: float,
    diameter: float,
    centre: npt.NDArray[np.float64],
    scale_xy: tuple[float, float],
    box: tuple[int, int, int, int],
    fine: int,
) -> npt.NDArray[np.uint8]:
    """Return the coverage of a pattern's second colour over ``box``, not cut to the shape."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s], [-s, c]])
    scale = np.asarray(scale_xy)
    parts = [((part @ turn) * diameter + centre) * scale for part in _pattern_parts(pattern)]
    return fill(parts, box, fine)


def shapes_overlap(
    one: tuple[str, float, float],
    other: tuple[str, float, float],
    offset: npt.NDArray[np.float64],
    pixels: int = 224,
) -> bool:
    """Say whether two things overlap.

    Args:
        one: Shape, angle and diameter of the first.
        other: The same of the second.
        offset: ``(2,)`` centre of the first minus that of the second, units of frame height.
        pixels: Pixels a unit that the test is drawn at.
    """
    scale = (float(pixels), float(pixels))
    first = contours(*one[:2], one[2], np.asarray(offset, dtype=float), scale)
    second = contours(*other[:2], other[2], np.zeros(2), scale)
    a, b = bounds(first), bounds(second)
    box = (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    if box[0] >= box[2] or box[1] >= box[3]:
        return False
    both = (fill(first, box, 1) > 0) & (fill(second, box, 1) > 0)
    return bool(both.any())
