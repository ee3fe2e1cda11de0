"""What is true of a scene: every thing's state in every frame, and what happens in the clip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gar_video.synth.appearance import COLORS, PATTERNS, SHAPES, SIZE_NAMES
from gar_video.synth.raster import bounds, contours, fill
from gar_video.synth.scene import Scene, sample_scene, scene_rng

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """What a trainer needs to know of the things in some frames.

    Lengths are shares of the frame's width (x) and height (y), so 0 to 1 inside the frame.

    Attributes:
        color: ``(N, T)`` ids into ``appearance.COLORS``.
        shape: ``(N,)`` ids into ``appearance.SHAPES``.
        size: ``(N,)`` ids into ``appearance.SIZE_NAMES``: the size at the start.
        pattern: ``(N,)`` ids into ``appearance.PATTERNS``.
        centre: ``(N, T, 2)`` centre of the whole thing, also where it is hidden or outside.
        extent: ``(N, T, 2)`` width and height of the whole thing's upright box.
        visible: ``(N, T)`` share of the whole thing that can be seen, 0 to 1.
    """

    color: Ints
    shape: Ints
    size: Ints
    pattern: Ints
    centre: Floats
    extent: Floats
    visible: Floats


def frame_labels(
    scene: Scene,
    frames: npt.ArrayLike | None = None,
    *,
    times_s: npt.ArrayLike | None = None,
) -> Labels:
    """Return the labels of every thing in some frames.

    Args:
        scene: The scene.
        frames: 0-based frame indices; all frames by default.
        times_s: Times to look at instead of frames.

    Returns:
        Labels of ``N`` things in ``T`` frames.
    """
    if times_s is not None:
        times = np.atleast_1d(np.asarray(times_s, dtype=np.float64))
    elif frames is not None:
        times = np.atleast_1d(np.asarray(frames, dtype=np.float64)) / scene.fps
    else:
        times = scene.times_s
    size = np.array([scene.aspect, 1.0])
    things = scene.objects
    diameters = np.stack([thing.diameters(times) for thing in things])
    spans = np.array([_span(thing.shape, thing.angle) for thing in things])
    return Labels(
        color=np.array([[COLORS.index(t.color_at(s)[0]) for s in times] for t in things]),
        shape=np.array([SHAPES.index(thing.shape) for thing in things]),
        size=np.array([SIZE_NAMES.index(thing.size) for thing in things]),
        pattern=np.array([PATTERNS.index(thing.pattern) for thing in things]),
        centre=scene.centres(times) / size,
        extent=diameters[..., None] * spans[:, None, :] / size,
        visible=visibility(scene, times)[0],
    )


def _span(shape: str, angle: float) -> Floats:
    """Return width and height of a turned shape of diameter 1."""
    contour = contours(shape, angle, 1.0, np.zeros(2), (1.0, 1.0))[0]
    return np.ptp(contour, axis=0)


def visibility(scene: Scene, times_s: Floats, pixels: int = 96) -> tuple[Floats, Floats]:
    """Return how much of each thing can be seen, and how much of it lies inside the frame.

    Args:
        scene: The scene.
        times_s: ``(T,)`` times.
        pixels: Height in pixels of the picture that shares are counted in.

    Returns:
        Two arrays ``(N, T)``, each 0 to 1, as shares of the whole thing's area.
    """
    things, centres = scene.objects, scene.centres(times_s)
    diameters = np.stack([thing.diameters(times_s) for thing in things])
    count, steps = len(things), len(times_s)
    seen, inside = np.ones((count, steps)), np.ones((count, steps))
    # Every shape lies inside a circle of 0.71 diameters; most frames need no drawing at all.
    reach = diameters * 0.72
    size = np.array([scene.aspect, 1.0])
    outside = (centres - reach[..., None] < 0) | (centres + reach[..., None] > size)
    edge: npt.NDArray[np.bool_] = np.asarray(outside.any(axis=-1))
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    close = apart < reach[:, None] + reach[None]
    for i, thing in enumerate(things):
        above = [j for j in range(count) if things[j].z > thing.z]
        hard = edge[i] | close[i, above].any(axis=0) if above else edge[i]
        for t in np.flatnonzero(hard):
            covers = [j for j in above if close[i, j, t]]
            seen[i, t], inside[i, t] = _shares(
                scene, i, covers, centres[:, t], diameters[:, t], pixels
            )
        gone = (times_s < thing.appear_s) | (times_s > thing.leave_s)
        seen[i, gone] = inside[i, gone] = 0.0
    return seen, inside


def _shares(
    scene: Scene, i: int, covers: list[int], centres: Floats, diameters: Floats, pixels: int
) -> tuple[float, float]:
    """Return the seen and the inside share of one thing in one frame."""
    scale = (float(pixels), float(pixels))

    def form(k: int) -> list[Floats]:
        thing = scene.objects[k]
        return contours(thing.shape, thing.angle, float(diameters[k]), centres[k], scale)

    mine = form(i)
    box = bounds(mine)
    own = fill(mine, box, 1) > 0
    whole = max(1, int(own.sum()))
    x, y = np.arange(box[0], box[2]), np.arange(box[1], box[3])
    own &= ((x >= 0) & (x < pixels * scene.aspect))[None] & ((y >= 0) & (y < pixels))[:, None]
    inside = int(own.sum()) / whole
    for k in covers:
        own &= fill(form(k), box, 1) == 0
    return int(own.sum()) / whole, inside


class Truth:
    """What is true of a scene.

    Attributes:
        scene: The scene.
        times_s: ``(T,)`` times of the frames.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.times_s = scene.times_s

    @cached_property
    def labels(self) -> Labels:
        """Labels of every thing in every frame."""
        return frame_labels(self.scene)


def sample(
    seed: int,
    level: str = "basic",
    num_objects: int | None = None,
    duration_s: float | None = None,
    aspect: float = 1.0,
) -> tuple[Scene, Truth]:
    """Draw the scene of a seed, and what is true of it.

    Seeds are independent of each other and of the order they are asked in, so a stream of them
    can be split between workers and taken up again anywhere.
    """
    scene = sample_scene(scene_rng(seed, level), level, num_objects, duration_s, aspect)
    return scene, Truth(scene)
