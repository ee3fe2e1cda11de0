"""Drawing scenes: frames, and masks of what can be seen of each thing."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.synth.appearance import Background
from gar_video.synth.raster import bounds, contours, fill, pattern_fill, stroke
from gar_video.synth.scene import Scene, SceneObject

Frames = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]


def render(
    scene: Scene,
    frames: Sequence[int] | npt.NDArray[np.integer] | None = None,
    resolution_wh: tuple[int, int] = (112, 112),
    *,
    times_s: npt.ArrayLike | None = None,
) -> tuple[Frames, Masks]:
    """Draw some frames of a scene.

    Args:
        scene: What to draw.
        frames: 0-based frame indices, in any order, repeats allowed; all frames by default.
        resolution_wh: Width and height in pixels.
        times_s: Times to draw instead of frames; need not fall on frames.

    Returns:
        Frames ``(T, H, W, 3)`` uint8 RGB and masks ``(num_objects, T, H, W)`` bool in the order
        of ``scene.objects``: the pixels at least half of which the thing covers, less those of
        things above it.
    """
    images, labels = render_labels(scene, frames, resolution_wh, times_s=times_s)
    ids = np.arange(1, len(scene.objects) + 1, dtype=np.uint8)
    return images, labels[None] == ids[:, None, None, None]


def render_labels(
    scene: Scene,
    frames: Sequence[int] | npt.NDArray[np.integer] | None = None,
    resolution_wh: tuple[int, int] = (112, 112),
    *,
    times_s: npt.ArrayLike | None = None,
) -> tuple[Frames, npt.NDArray[np.uint8]]:
    """Draw as ``render`` does, with one label map ``(T, H, W)`` uint8 instead of masks.

    A pixel's label is 1 + the place in ``scene.objects`` of the thing seen there, 0 for ground.
    """
    if times_s is not None:
        times = np.atleast_1d(np.asarray(times_s, dtype=np.float64))
    elif frames is not None:
        times = np.asarray(frames, dtype=np.float64) / scene.fps
    else:
        times = scene.times_s
    width, height = resolution_wh
    scale = (width / scene.aspect, float(height))
    centres = scene.centres(times)
    diameters = [thing.diameters(times) for thing in scene.objects]
    shake = scene.shake.offsets(times) * scale
    order = sorted(range(len(scene.objects)), key=lambda k: scene.objects[k].z)
    images = np.empty((len(times), height, width, 3), np.uint8)
    labels = np.zeros((len(times), height, width), np.uint8)
    fine = 4 if height <= 256 else 2
    for t, time_s in enumerate(times):
        image, label = images[t], labels[t]
        image[:] = ground(scene.background, resolution_wh, scene.aspect, tuple(shake[t]))
        for k in order:
            thing = scene.objects[k]
            if thing.appear_s <= time_s <= thing.leave_s:
                pose = Pose(centres[k, t], float(diameters[k][t]), float(time_s))
                _draw(image, label, k + 1, thing, pose, scale, fine)
    return images, labels


@dataclass(frozen=True)
class Pose:
    """Where a thing is at a time, and how large; units of the frame's height."""

    centre: npt.NDArray[np.float64]
    diameter: float
    time_s: float


def _draw(
    image: npt.NDArray[np.uint8],
    label: npt.NDArray[np.uint8],
    value: int,
    thing: SceneObject,
    pose: Pose,
    scale: tuple[float, float],
    fine: int,
) -> None:
    """Draw one thing over what is there."""
    height, width = label.shape
    outlines = contours(thing.shape, thing.angle, pose.diameter, pose.centre, scale)
    x0, y0, x1, y1 = bounds(outlines)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if left >= right or top >= bottom:
        return
    box = (x0, y0, x1, y1)
    inner = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
    cover = fill(outlines, box, fine)
    color = np.asarray(thing.color_at(pose.time_s)[1], dtype=np.float32)
    paint: npt.NDArray[np.float32] = color
    if thing.pattern != "plain":
        share = pattern_fill(
            thing.pattern, thing.angle, pose.diameter, pose.centre, scale, box, fine
        )[inner][..., None] * np.float32(1 / 255)
        paint = color + (np.asarray(thing.pattern_rgb, dtype=np.float32) - color) * share
    if thing.outline_rgb is not None and thing.recolor is None:
        line = stroke(outlines, box, fine, max(1.0, 0.045 * pose.diameter * scale[1]))
        share = line[inner][..., None] * np.float32(1 / 255)
        paint = paint + (np.asarray(thing.outline_rgb, dtype=np.float32) - paint) * share
    cover = cover[inner]
    alpha = cover[..., None] * np.float32(1 / 255)
    view = image[top:bottom, left:right]
    view[:] = (view + (paint - view) * alpha + 0.5).astype(np.uint8)
    label[top:bottom, left:right][cover >= 128] = value


def ground(
    background: Background,
    resolution_wh: tuple[int, int],
    aspect: float,
    shift_px: tuple[float, float] = (0.0, 0.0),
) -> npt.NDArray[np.uint8]:
    """Return the ground ``(H, W, 3)``, or ``(3,)`` for a flat one, moved by some pixels."""
    if background.kind == "flat":
        return np.asarray(background.rgb_a, dtype=np.uint8)
    width, height = resolution_wh
    if shift_px == (0.0, 0.0):
        pad = _pad(height)
        return _wide_ground(background, resolution_wh, aspect)[pad:-pad, pad:-pad]
    pad = _pad(height)
    move = np.array([[1, 0, shift_px[0] - pad], [0, 1, shift_px[1] - pad]], dtype=np.float64)
    wide = _wide_ground(background, resolution_wh, aspect)
    return cv2.warpAffine(wide, move, (width, height), flags=cv2.INTER_LINEAR)


def _pad(height: int) -> int:
    """Return how many pixels the ground reaches beyond the frame, for a shaking camera."""
    return max(2, int(np.ceil(height * 0.03)))


@functools.lru_cache(maxsize=64)
def _wide_ground(
    background: Background, resolution_wh: tuple[int, int], aspect: float
) -> npt.NDArray[np.uint8]:
    """Draw a ground and a rim around it."""
    width, height = resolution_wh
    pad = _pad(height)
    y = (np.arange(-pad, height + pad) + 0.5) / height
    x = (np.arange(-pad, width + pad) + 0.5) / width * aspect
    c, s = np.cos(background.angle), np.sin(background.angle)
    along = x[None, :] * c + y[:, None] * s
    across = y[:, None] * c - x[None, :] * s
    # How sharp an edge is, so that coarse and fine pictures show the same ground, smooth-edged.
    sharp = height / background.scale / 2
    rng = np.random.Generator(np.random.PCG64(background.seed))
    if background.kind == "gradient":
        share = (along - along.min()) / max(float(np.ptp(along)), 1e-9)
    elif background.kind == "clouds":
        coarse = rng.random((int(background.scale) + 3, int(background.scale * aspect) + 3))
        share = cv2.resize(coarse, (len(x), len(y)), interpolation=cv2.INTER_CUBIC)
    elif background.kind == "stripes":
        share = _edge(np.sin(along * background.scale * np.pi), sharp)
    elif background.kind == "checker":
        waves = np.sin(along * background.scale * np.pi) * np.sin(across * background.scale * np.pi)
        share = _edge(waves, sharp)
    else:
        rows, columns = int(background.scale * 6), int(background.scale * 6 * aspect)
        coarse = rng.random((rows, columns))
        share = cv2.resize(coarse, (len(x), len(y)), interpolation=cv2.INTER_LINEAR)
    share = np.clip(share, 0, 1)[..., None]
    first, second = np.asarray(background.rgb_a), np.asarray(background.rgb_b)
    picture = np.rint(first + (second - first) * share).astype(np.uint8)
    picture.setflags(write=False)
    return picture


def _edge(wave: npt.NDArray[np.float64], sharp: float) -> npt.NDArray[np.float64]:
    """Turn a wave into two tones with an edge about a pixel wide."""
    return np.clip(wave * sharp + 0.5, 0, 1)
