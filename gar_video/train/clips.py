"""Clips to train on: rendered scenes, and what cameras, codecs and other people's scripts do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.synth.appearance import Background, Rgb, lab, sample_rgb, to_rgb
from gar_video.synth.raster import contours
from gar_video.synth.render import render_labels
from gar_video.synth.scene import Scene, sample_scene

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Clip:
    """Frames of a scene as the vision tower sees them.

    Attributes:
        scene: What is drawn.
        times_s: ``(F,)`` times of the frames.
        frames: ``(F, S, S, 3)`` uint8 RGB, squashed to the tile.
        labels: ``(F, S, S)`` uint8, 1 + place of the object in ``scene.objects``, 0 for ground.
    """

    scene: Scene
    times_s: npt.NDArray[np.float64]
    frames: Frames
    labels: Frames


_ASPECTS = (1.0, 1.0, 4 / 3, 16 / 9, 3 / 4, 1.25)


def draw_scene(
    rng: np.random.Generator, level: str = "basic", num_objects: int | None = None
) -> tuple[Scene, bool]:
    """Draw a scene with more kinds of frames and grounds than the renderer's own.

    Returns:
        The scene, and whether it is to be drawn the plain way: hard edges on a flat ground.
    """
    aspect = float(_ASPECTS[int(rng.integers(len(_ASPECTS)))])
    scene = sample_scene(rng, level, num_objects, aspect=aspect)
    scene = alike(rng, scene)
    plain = bool(rng.random() < 0.25)
    if plain:
        rgbs = [thing.rgb for thing in scene.objects]
        scene = replace(scene, background=flat_ground(rng, scene, rgbs))
        if rng.random() < 0.5:
            things = tuple(replace(thing, outline_rgb=None) for thing in scene.objects)
            scene = replace(scene, objects=things)
    return scene, plain


def alike(rng: np.random.Generator, scene: Scene) -> Scene:
    """Give two things the same colour or shape now and then; by chance that is rare."""
    things = list(scene.objects)
    if len(things) < 2:
        return scene
    one, other = (int(k) for k in rng.permutation(len(things))[:2])
    # Where one hides the other they must differ, and the larger must cover the smaller.
    if {things[one].plan, things[other].plan} & {"hide", "cross", "partner"}:
        return scene
    if rng.random() < 0.45 and things[one].recolor is None and things[other].recolor is None:
        color = things[one].color
        things[other] = replace(things[other], color=color, rgb=sample_rgb(rng, color))
    if rng.random() < 0.45:
        things[other] = replace(things[other], shape=things[one].shape)
    return replace(scene, objects=tuple(things))


def flat_ground(rng: np.random.Generator, scene: Scene, rgbs: list[Rgb]) -> Background:
    """Choose a flat ground of the kind that scripts use: black, white, grey or a dull colour."""
    colors = lab(rgbs)
    best, best_distance = (0, 0, 0), -1.0
    for _ in range(12):
        kind = rng.random()
        if kind < 0.25:
            rgb = (0, 0, 0)
        elif kind < 0.5:
            rgb = (255, 255, 255)
        elif kind < 0.85:
            rgb = (int(rng.integers(15, 245)),) * 3
        else:
            rgb = to_rgb(rng.integers(20, 236, 3))
        distance = float(np.linalg.norm(colors - lab([rgb]), axis=1).min())
        if distance > best_distance:
            best, best_distance = rgb, distance
        if distance > 35:
            break
    return replace(scene.background, kind="flat", rgb_a=best, rgb_b=best)


def render_plain(
    scene: Scene, times_s: npt.NDArray[np.float64], rng: np.random.Generator, side: int
) -> tuple[Frames, Frames]:
    """Draw a scene as a few lines of OpenCV would: whole pixels, hard edges, then squashed."""
    height = int(rng.integers(112, 361))
    width = max(64, round(height * scene.aspect))
    centres = scene.centres(times_s)
    order = sorted(range(len(scene.objects)), key=lambda k: scene.objects[k].z)
    stretch = np.exp(rng.uniform(-0.12, 0.12, (len(scene.objects), 2)))
    frames = np.empty((len(times_s), side, side, 3), np.uint8)
    labels = np.zeros((len(times_s), side, side), np.uint8)
    scale = (width / scene.aspect, float(height))
    for t, time_s in enumerate(times_s):
        picture = np.empty((height, width, 3), np.uint8)
        picture[:] = scene.background.rgb_a
        label = np.zeros((height, width), np.uint8)
        for k in order:
            thing = scene.objects[k]
            if not thing.appear_s <= time_s <= thing.leave_s:
                continue
            diameter = float(thing.diameters(np.array([time_s]))[0])
            pieces = contours(thing.shape, thing.angle, diameter, np.zeros(2), scale)
            middle = centres[k, t] * scale
            points = [np.rint(p * stretch[k] + middle).astype(np.int32) for p in pieces]
            color = tuple(int(v) for v in thing.color_at(time_s)[1])
            cv2.fillPoly(picture, points, color)
            cv2.fillPoly(label, points, k + 1)
        how = cv2.INTER_AREA if height > side else cv2.INTER_LINEAR
        frames[t] = cv2.resize(picture, (side, side), interpolation=how)
        labels[t] = cv2.resize(label, (side, side), interpolation=cv2.INTER_NEAREST)
    return frames, labels


def draw_clip(
    rng: np.random.Generator,
    scene: Scene,
    times_s: npt.NDArray[np.float64],
    plain: bool = False,
    side: int = 112,
    disturbed: bool = True,
) -> Clip:
    """Draw some frames of a scene and, if wanted, disturb them as recording does."""
    if plain:
        frames, labels = render_plain(scene, times_s, rng, side)
    else:
        frames, labels = render_labels(scene, resolution_wh=(side, side), times_s=times_s)
    return Clip(scene, times_s, disturb(rng, frames) if disturbed else frames, labels)


def disturb(rng: np.random.Generator, frames: Frames) -> Frames:
    """Blur, compress, add noise, or shift brightness and contrast; the same way in all frames."""
    kind = rng.random()
    if kind < 0.45:
        return frames
    out = frames
    if kind < 0.6 or kind > 0.9:
        sigma = float(rng.uniform(0.3, 0.9))
        out = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in out])
    if 0.55 < kind < 0.75 or kind > 0.93:
        gain, shift = rng.uniform(0.88, 1.1), rng.uniform(-10, 10)
        out = np.clip(out * gain + shift, 0, 255).astype(np.uint8)
    if kind > 0.7:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))]
        coded = [cv2.imencode(".jpg", frame, quality)[1] for frame in out]
        out = np.asarray([cv2.imdecode(code, cv2.IMREAD_COLOR) for code in coded], np.uint8)
    if kind < 0.5 or kind > 0.97:
        noise = rng.normal(0, rng.uniform(1, 6), out.shape)
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    return out


_KERNEL = np.ones((3, 3), np.uint8)


def disturb_mask(rng: np.random.Generator, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Make a mask as coarse as trackers' are: a pixel more or less, or its box."""
    kind = rng.random()
    if kind < 0.4:
        return mask
    if kind < 0.66:
        return cv2.dilate(mask.astype(np.uint8), _KERNEL) > 0
    if kind < 0.92:
        smaller = cv2.erode(mask.astype(np.uint8), _KERNEL) > 0
        return smaller if smaller.any() else mask
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    boxed = np.zeros_like(mask)
    boxed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return boxed


def box_shares(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return (x_min/W, y_min/H, x_max/W, y_max/H) as the processor does."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    height, width = mask.shape
    return columns[0] / width, rows[0] / height, columns[-1] / width, rows[-1] / height


__all__ = [
    "Clip",
    "box_shares",
    "disturb",
    "disturb_mask",
    "draw_clip",
    "draw_scene",
    "flat_ground",
    "render_plain",
]
