"""What rendered things look like: named colours, shapes, sizes, patterns and grounds.

Every name is a word that questions and answers use, and its place in the tuple is its class id.
The basic level's names come first, so that an id means the same on both levels.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rgb = tuple[int, int, int]

#: Colour name -> exemplars. A drawn colour is a mixture of two of them plus a little noise, so
#: that "green" covers forest green as well as the full green that other people's scripts use.
PALETTE: dict[str, tuple[Rgb, ...]] = {
    "red": ((220, 30, 35), (255, 0, 0), (190, 15, 30)),
    "orange": ((250, 140, 20), (255, 165, 0), (255, 128, 0)),
    "yellow": ((250, 220, 40), (255, 255, 0), (240, 225, 70)),
    "green": ((40, 165, 60), (0, 255, 0), (0, 128, 0)),
    "cyan": ((40, 205, 225), (0, 255, 255), (60, 220, 220)),
    "blue": ((35, 80, 220), (0, 0, 255), (30, 60, 170)),
    "purple": ((150, 50, 200), (128, 0, 128), (120, 40, 170)),
    "pink": ((250, 130, 185), (255, 105, 180), (255, 170, 200)),
    "white": ((245, 245, 245), (255, 255, 255), (235, 235, 235)),
    "black": ((15, 15, 15), (0, 0, 0), (30, 30, 30)),
    "brown": ((125, 75, 35), (139, 69, 19), (105, 65, 40)),
    "gray": ((128, 128, 128), (110, 110, 110), (150, 150, 150)),
}
COLORS = tuple(PALETTE)
NUM_BASIC_COLORS = 10

SHAPES = (
    "circle",
    "square",
    "triangle",
    "star",
    "cross",
    "ring",
    "diamond",
    "heart",
    "moon",
    "arrow",
)
NUM_BASIC_SHAPES = 6

#: Size name -> diameter in units of the frame's height: 18, 28 and 40 pixels at 112.
SIZES: dict[str, float] = {"small": 0.165, "medium": 0.25, "large": 0.36}
SIZE_NAMES = tuple(SIZES)

PATTERNS = ("plain", "striped", "dotted", "checkered")

#: Linear sRGB to XYZ as shares of the white point, D65.
_XYZ = np.array(
    [
        [0.412453 / 0.950456, 0.212671, 0.019334 / 1.088754],
        [0.357580 / 0.950456, 0.715160, 0.119193 / 1.088754],
        [0.180423 / 0.950456, 0.072169, 0.950227 / 1.088754],
    ]
)

GROUNDS = ("flat", "gradient", "clouds", "checker", "stripes", "speckle")
NUM_BASIC_GROUNDS = 3


@dataclass(frozen=True)
class Background:
    """The ground behind the objects.

    Attributes:
        kind: One of ``GROUNDS``.
        rgb_a: First colour.
        rgb_b: Second colour; unused by a flat ground.
        scale: Cells across the frame's height, for grounds that have a grain.
        angle: Direction of gradients and stripes, radians.
        seed: Seed of the random grounds.
    """

    kind: str
    rgb_a: Rgb
    rgb_b: Rgb
    scale: float = 6.0
    angle: float = 0.0
    seed: int = 0


def color_names(level: str) -> tuple[str, ...]:
    """Return the colour names of a level."""
    return COLORS if level == "full" else COLORS[:NUM_BASIC_COLORS]


def shape_names(level: str) -> tuple[str, ...]:
    """Return the shape names of a level."""
    return SHAPES if level == "full" else SHAPES[:NUM_BASIC_SHAPES]


def sample_rgb(rng: np.random.Generator, name: str) -> Rgb:
    """Return one drawing of the named colour."""
    exemplars = np.asarray(PALETTE[name], dtype=float)
    first, second = rng.integers(len(exemplars), size=2)
    share = rng.random()
    rgb = exemplars[first] * share + exemplars[second] * (1 - share) + rng.uniform(-8, 8, 3)
    return to_rgb(rgb)


def to_rgb(values: npt.ArrayLike) -> Rgb:
    """Round and clip three numbers to a colour of Python ints."""
    red, green, blue = np.clip(np.rint(np.asarray(values, dtype=float)), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def lab(rgbs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return CIE Lab values (D65), ``(N, 3)``, of ``(N, 3)`` sRGB colours in 0..255."""
    srgb = np.asarray(rgbs, dtype=np.float64).reshape(-1, 3) / 255
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    xyz = linear @ _XYZ
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[:, 0], f[:, 1], f[:, 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def sample_background(rng: np.random.Generator, level: str, object_rgbs: list[Rgb]) -> Background:
    """Draw a ground from which every object's colour stands out.

    Args:
        rng: Source of randomness.
        level: ``"basic"`` or ``"full"``.
        object_rgbs: Colours that are going to stand on it.

    Returns:
        The ground whose nearest object colour is far enough away, or the best of the tries.
    """
    kinds = GROUNDS if level == "full" else GROUNDS[:NUM_BASIC_GROUNDS]
    kind = kinds[int(rng.integers(len(kinds)))]
    colors = lab(object_rgbs)
    best, best_distance = None, -1.0
    for _ in range(24):
        # Mostly greyish grounds; now and then a coloured one, as other people's clips have.
        value, tint = rng.uniform(5, 250), rng.uniform(-1, 1, 3)
        strength = rng.choice([0.0, 18.0, 60.0], p=[0.35, 0.4, 0.25])
        rgb_a = to_rgb(value + tint * strength)
        contrast = rng.uniform(8, 22 if level == "basic" else 40)
        rgb_b = to_rgb(np.asarray(rgb_a) + contrast * rng.choice([-1.0, 1.0]))
        grounds = lab([rgb_a, rgb_b])
        nearest = float(np.linalg.norm(colors[:, None] - grounds[None], axis=-1).min())
        if nearest > best_distance:
            best, best_distance = (rgb_a, rgb_b), nearest
        if nearest > 38:
            break
    assert best is not None
    return Background(
        kind=kind,
        rgb_a=best[0],
        rgb_b=best[1],
        scale=round(float(rng.uniform(4, 9)), 3),
        angle=round(float(rng.uniform(0, 2 * np.pi)), 4),
        seed=int(rng.integers(2**31)),
    )


def _regular(count: int, radius: float = 0.5, phase: float = -np.pi / 2) -> list[tuple]:
    angles = phase + 2 * np.pi * np.arange(count) / count
    return list(zip(radius * np.cos(angles), radius * np.sin(angles), strict=True))


def _star() -> list[tuple]:
    radii = np.where(np.arange(10) % 2 == 0, 0.5, 0.21)
    angles = -np.pi / 2 + np.pi * np.arange(10) / 5
    return list(zip(radii * np.cos(angles), radii * np.sin(angles), strict=True))


def _heart() -> list[tuple]:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return list(zip(x, y, strict=True))


def _moon() -> list[tuple]:
    outer = np.linspace(0.25 * np.pi, 1.75 * np.pi, 36)
    # The inner edge is a circle through the same two horns, pushed to the right.
    horn = 0.5 * np.sin(0.25 * np.pi)
    centre, radius = 0.26, float(np.hypot(0.5 * np.cos(0.25 * np.pi) - 0.26, horn))
    start = float(np.arctan2(-horn, 0.5 * np.cos(0.25 * np.pi) - centre))
    inner = np.linspace(start % (2 * np.pi), -start % (2 * np.pi), 28)
    points = [(0.5 * np.cos(a), 0.5 * np.sin(a)) for a in outer]
    return points + [(centre + radius * np.cos(a), radius * np.sin(a)) for a in inner]


@functools.cache
def outline(shape: str) -> tuple[npt.NDArray[np.float64], ...]:
    """Return a shape's closed contours, each ``(V, 2)``, x right and y down.

    The bounding box is centred on the origin and its longer side is 1. Further contours are holes
    (even-odd filling).
    """
    third = 0.36 / 2
    points: list[tuple]
    if shape in ("circle", "ring"):
        points = _regular(40)
    elif shape == "square":
        points = [(-0.45, -0.45), (0.45, -0.45), (0.45, 0.45), (-0.45, 0.45)]
    elif shape == "triangle":
        points = [(0.0, -0.5), (0.56, 0.45), (-0.56, 0.45)]
    elif shape == "star":
        points = _star()
    elif shape == "cross":
        a, b = third, 0.5
        points = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
        points += [(a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]
    elif shape == "diamond":
        points = [(0.0, -0.5), (0.36, 0.0), (0.0, 0.5), (-0.36, 0.0)]
    elif shape == "heart":
        points = _heart()
    elif shape == "moon":
        points = _moon()
    elif shape == "arrow":
        points = [(-0.5, -0.16), (0.05, -0.16), (0.05, -0.42), (0.5, 0.0)]
        points += [(0.05, 0.42), (0.05, 0.16), (-0.5, 0.16)]
    else:
        raise KeyError(shape)
    contour = np.asarray(points, dtype=np.float64)
    low, high = contour.min(axis=0), contour.max(axis=0)
    contour = (contour - (low + high) / 2) / (high - low).max()
    # A square drawn as wide as a circle looks larger; its area is kept nearer to the others'.
    contour = contour * (0.9 if shape == "square" else 1.0)
    holes = [contour * 0.55] if shape == "ring" else []
    return (contour, *holes)
