"""What is true of a scene: every thing's state in every frame, and what happens in the clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gar_video.synth.appearance import COLORS, PATTERNS, SHAPES, SIZE_NAMES
from gar_video.synth.motion import Phase, find_phases, position
from gar_video.synth.raster import bounds, contours, fill
from gar_video.synth.scene import Scene, sample_scene, scene_rng

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Found = TypeVar("Found")


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
    visible: Floats | None = None,
) -> Labels:
    """Return the labels of every thing in some frames.

    Args:
        scene: The scene.
        frames: 0-based frame indices; all frames by default.
        times_s: Times to look at instead of frames.
        visible: The visible shares, where they are known already.

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
        visible=visibility(scene, times).seen if visible is None else visible,
    )


def _span(shape: str, angle: float) -> Floats:
    """Return width and height of a turned shape of diameter 1."""
    contour = contours(shape, angle, 1.0, np.zeros(2), (1.0, 1.0))[0]
    return np.ptp(contour, axis=0)


@dataclass(frozen=True)
class Visibility:
    """How much of each thing can be seen, as shares of its whole area.

    Attributes:
        seen: ``(N, T)`` share that is inside the frame and under nothing.
        inside: ``(N, T)`` share that is inside the frame.
        under: ``(N, N, T)`` share of the first thing that lies under the second.
    """

    seen: Floats
    inside: Floats
    under: Floats


def visibility(scene: Scene, times_s: Floats, pixels: int = 112) -> Visibility:
    """Return how much of each thing can be seen.

    Args:
        scene: The scene.
        times_s: ``(T,)`` times.
        pixels: Height in pixels of the picture that shares are counted in.

    Returns:
        The shares, at each time.
    """
    things, centres = scene.objects, scene.centres(times_s)
    diameters = np.stack([thing.diameters(times_s) for thing in things])
    count, steps = len(things), len(times_s)
    seen, inside = np.ones((count, steps)), np.ones((count, steps))
    under = np.zeros((count, count, steps))
    # Every shape lies inside a circle of 0.72 diameters; most frames need no drawing at all.
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
            at, wide = centres[:, t], diameters[:, t]
            shares = _shares(scene, i, covers, at, wide, pixels)
            seen[i, t], inside[i, t] = shares[:2]
            under[i, covers, t] = shares[2:]
        gone = (times_s < thing.appear_s) | (times_s > thing.leave_s)
        seen[i, gone] = inside[i, gone] = 0.0
    return Visibility(seen, inside, under)


def _shares(
    scene: Scene, i: int, covers: list[int], centres: Floats, diameters: Floats, pixels: int
) -> list[float]:
    """Return the seen and inside share of one thing in one frame, and those under ``covers``."""
    scale = (float(pixels), float(pixels))

    def form(k: int) -> list[Floats]:
        thing = scene.objects[k]
        return contours(thing.shape, thing.angle, float(diameters[k]), centres[k], scale)

    mine = form(i)
    box = bounds(mine)
    own = fill(mine, box, 4) >= 128
    whole = max(1, int(own.sum()))
    x, y = np.arange(box[0], box[2]), np.arange(box[1], box[3])
    free = own & ((x >= 0) & (x < pixels * scene.aspect))[None] & ((y >= 0) & (y < pixels))[:, None]
    inside, shares = int(free.sum()) / whole, []
    for k in covers:
        cover = fill(form(k), box, 4) >= 128
        shares.append(int((own & cover).sum()) / whole)
        free &= ~cover
    return [int(free.sum()) / whole, inside, *shares]


class Truth:
    """What is true of a scene. Computed when first asked for.

    Things are meant by their place ``k`` in ``scene.objects``; ``object_id`` is ``k + 1``.

    Attributes:
        scene: The scene.
        times_s: ``(T,)`` times of the frames.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.times_s = scene.times_s
        self._known: dict[tuple, Any] = {}

    @property
    def num_objects(self) -> int:
        """Things of the scene."""
        return len(self.scene.objects)

    @cached_property
    def labels(self) -> Labels:
        """Labels of every thing in every frame."""
        return frame_labels(self.scene, visible=self.visibility.seen)

    @cached_property
    def visibility(self) -> Visibility:
        """How much of every thing is seen in every frame."""
        return visibility(self.scene, self.times_s)

    @cached_property
    def centres(self) -> Floats:
        """``(N, T, 2)`` centres, units of the frame's height."""
        return self.scene.centres(self.times_s)

    @cached_property
    def velocity(self) -> Floats:
        """``(N, T, 2)`` velocity of every thing along its path, the camera's shaking left out."""
        step = 0.5 / self.scene.fps
        ahead = [position(thing.path, self.times_s + step) for thing in self.scene.objects]
        back = [position(thing.path, self.times_s - step) for thing in self.scene.objects]
        return (np.stack(ahead) - np.stack(back)) * self.scene.fps

    @property
    def speed(self) -> Floats:
        """``(N, T)`` speed, units of the frame's height per second."""
        return np.linalg.norm(self.velocity, axis=-1)

    @property
    def heading(self) -> Floats:
        """``(N, T)`` heading in degrees: 0 right, 90 down; NaN where a thing stands."""
        degrees = np.degrees(np.arctan2(self.velocity[..., 1], self.velocity[..., 0]))
        return np.where(self.speed > 1e-6, degrees, np.nan)

    def remember(self, key: tuple, make: Callable[[], Found]) -> Found:
        """Return what ``make`` gives, making it only once for a key."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def phases(self, k: int) -> tuple[Phase, ...]:
        """Return what can be seen of a thing's motion, stretch by stretch."""
        path, share = self.scene.objects[k].path, self.visibility
        return self.remember(
            ("phases", k),
            lambda: find_phases(path, self.times_s, share.inside[k], share.seen[k]),
        )


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
