"""Clips to train nano SAM 2 on: frames and exact masks, drawn in memory, endless and seeded.

A source is called with a seed and gives ``(frames, masks)``: frames ``(T, S, S, 3)`` uint8 RGB,
masks ``(T, N, S, S)`` bool of the visible part of each object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gar_video.synth.scene import Scene

Clip: TypeAlias = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]
Source: TypeAlias = Callable[[int], Clip]

_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def _regular(corners: int, turn: float = 0.0) -> npt.NDArray[np.float64]:
    angles = np.arange(corners) * 2 * np.pi / corners + turn
    return np.stack([np.sin(angles), -np.cos(angles)], axis=1)


def _star(points: int, inner: float) -> npt.NDArray[np.float64]:
    outline = _regular(2 * points)
    outline[1::2] *= inner
    return outline


def _heart() -> npt.NDArray[np.float64]:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1) / 17


def _cross(arm: float) -> npt.NDArray[np.float64]:
    a = arm
    xs = [-a, a, a, 1, 1, a, a, -a, -a, -1, -1, -a]
    ys = [-1, -1, -a, -a, a, a, 1, 1, a, a, -a, -a]
    return np.stack([xs, ys], axis=1).astype(np.float64)


_OUTLINES = [
    _regular(40),
    _regular(40),
    _regular(3),
    _regular(4, np.pi / 4),
    _regular(4),
    _regular(5),
    _regular(6),
    _star(5, 0.45),
    _star(4, 0.4),
    _heart(),
    _cross(0.33),
]


def _texture(rng: np.random.Generator, size: int, plain: float) -> npt.NDArray[np.uint8]:
    """Return a ``(size, size, 3)`` surface: plain, shaded, striped, checkered, dotted or cloudy."""
    first = rng.integers(0, 256, 3).astype(np.float32)
    if rng.random() < plain:
        return np.broadcast_to(first.astype(np.uint8), (size, size, 3)).copy()
    # The second colour is sometimes near the first and sometimes anything.
    second = np.clip(first + rng.normal(0, rng.choice([25, 90]), 3), 0, 255).astype(np.float32)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    period = size * rng.uniform(0.05, 0.25)
    kind = rng.integers(5)
    if kind == 0:
        weight = (along - along.min()) / (np.ptp(along) + 1e-6)
    elif kind == 1:
        weight = (np.sin(along * 2 * np.pi / period) > 0).astype(np.float32)
    elif kind == 2:
        weight = ((along // period + across // period) % 2).astype(np.float32)
    elif kind == 3:
        waves = np.sin(along * 2 * np.pi / period) * np.sin(across * 2 * np.pi / period)
        weight = (waves > 0.35).astype(np.float32)
    else:
        coarse = rng.random((rng.integers(3, 12), rng.integers(3, 12))).astype(np.float32)
        weight = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    surface = first + (second - first) * np.clip(weight, 0, 1)[..., None]
    return surface.astype(np.uint8)


def _paths(
    rng: np.random.Generator, num_frames: int, count: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return centres ``(N, T, 2)`` and radii ``(N, T)`` in units of the frame's side."""
    time = np.arange(num_frames)[None, :, None]
    start = rng.uniform(0.12, 0.88, (count, 1, 2))
    speed = rng.choice([0.0, 0.01, 0.025, 0.05], (count, 1, 1), p=[0.15, 0.3, 0.35, 0.2])
    angle = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    velocity = speed * np.concatenate([np.cos(angle), np.sin(angle)], axis=2)
    centres = start + velocity * time
    curve = rng.uniform(-0.25, 0.25, (count, 1, 1)) * (rng.random((count, 1, 1)) < 0.4)
    turned = angle + curve * time
    arc = speed * np.concatenate([np.cos(turned), np.sin(turned)], axis=2)
    centres = np.where(curve != 0, start + np.cumsum(arc, axis=1), centres)
    leaving = rng.random((count, 1, 1)) < 0.3
    outwards = start - 0.5
    outwards *= rng.uniform(0.05, 0.15, (count, 1, 1)) / np.linalg.norm(
        outwards, axis=2, keepdims=True
    )
    centres = np.where(leaving, start + outwards * time, centres)
    bounce = ~leaving & (rng.random((count, 1, 1)) < 0.5)  # the others may leave the picture
    centres = np.where(bounce, 1 - np.abs(1 - np.mod(centres, 2)), centres)
    shake = rng.normal(0, rng.choice([0.0, 0.004]), (1, num_frames, 2))
    radii = rng.uniform(0.07, 0.22, (count, 1)) * np.exp(
        rng.normal(0, 0.02, (count, 1)) * np.arange(num_frames)[None]
    )
    return centres + shake, np.clip(radii, 0.04, 0.3)


def drawn_clip(seed: int, *, size: int, num_frames: int, max_objects: int = 4) -> Clip:
    """Draw a clip of moving shapes that hide one another and may leave the picture.

    Every object is visible in the first frame.

    Args:
        seed: The same seed draws the same clip.
        size: Side of the square frames in pixels.
        num_frames: Length of the clip.
        max_objects: Objects at most; at least one stands in the clip.
    """
    rng = np.random.default_rng(seed)
    while True:
        clip = _draw(rng, size, num_frames, int(rng.integers(1, max_objects + 1)))
        visible = clip[1][0].reshape(clip[1].shape[1], -1).sum(axis=1) >= 0.003 * size * size
        if visible.any():
            return clip[0], clip[1][:, visible]


def _draw(rng: np.random.Generator, size: int, num_frames: int, count: int) -> Clip:
    ground = _texture(rng, size, plain=0.4)
    surfaces = [_texture(rng, size, plain=0.6) for _ in range(count)]
    outlines = [_OUTLINES[rng.integers(len(_OUTLINES))] for _ in range(count)]
    if count > 1 and rng.random() < 0.3:
        surfaces[1] = surfaces[0].copy()  # told apart by shape, or by place alone
        if rng.random() < 0.5:
            outlines[1] = outlines[0]
    stretch = rng.choice([1.0, 1.0, 0.7, 0.5], (count, 2))
    turn, spin = rng.uniform(0, 2 * np.pi, count), rng.normal(0, 0.05, count)
    centres, radii = _paths(rng, num_frames, count)
    ringed = rng.random(count) < 0.08

    frames = np.empty((num_frames, size, size, 3), np.uint8)
    masks = np.zeros((num_frames, count, size, size), bool)
    for t in range(num_frames):
        frame = ground.copy()
        for k in range(count):
            angle = turn[k] + spin[k] * t
            rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            outline = (outlines[k] * stretch[k]) @ rotation.T
            alpha = _filled(outline, centres[k, t], radii[k, t], size)
            if ringed[k]:
                alpha -= _filled(outline * 0.55, centres[k, t], radii[k, t], size)
            moved = np.rint((centres[k, t] - centres[k, 0]) * size).astype(int)
            surface = np.roll(surfaces[k], (moved[1], moved[0]), axis=(0, 1))
            weight = alpha[..., None].astype(np.float32) / 255
            frame = (frame + (surface.astype(np.float32) - frame) * weight).astype(np.uint8)
            solid = alpha >= 128
            masks[t, :k] &= ~solid
            masks[t, k] = solid
        frames[t] = frame
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(1, 8), frames.shape).astype(np.float32)
        frames = np.clip(frames + noise, 0, 255).astype(np.uint8)
    return frames, masks


def _filled(
    outline: npt.NDArray[np.float64], centre: npt.NDArray[np.float64], radius: float, size: int
) -> npt.NDArray[np.uint8]:
    """Return the anti-aliased ``(size, size)`` coverage, 0 to 255, of a filled outline."""
    points = np.rint((outline * radius + centre) * size * (1 << _SHIFT)).astype(np.int32)
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [points], 255, cv2.LINE_AA, _SHIFT)
    return canvas


def rendered_clip(seed: int, *, size: int, num_frames: int) -> Clip:
    """Render a clip of the synthetic world, squashed to a square.

    One scene in five is of the full level. Frames lie one to eight frame times apart, and at least
    one object is visible in the first. Something goes out of sight in four clips of five;
    a few frames of any scene would show it in one of twenty.

    Args:
        seed: The same seed renders the same clip.
        size: Side of the square frames in pixels.
        num_frames: Length of the clip.
    """
    from gar_video.synth.render import render
    from gar_video.synth.scene import sample_scene

    rng = np.random.default_rng(seed)
    to_show = num_frames > 1 and rng.random() < 0.8
    while True:
        level = "full" if rng.random() < 0.2 else "basic"
        aspect = float(rng.choice([1.0, 4 / 3, 16 / 9]))
        count = int(rng.choice([1, 2, 3], p=[0.1, 0.4, 0.5])) if level == "basic" else None
        scene = sample_scene(rng, level, count, aspect=aspect)
        if len(scene.objects) > 1 and rng.random() < 0.4:
            scene = _alike(scene, rng)
        # Where something is to go, also wide enough apart that it may come back.
        shares = [0.1, 0.15, 0.25, 0.3, 0.2] if to_show else [0.3, 0.25, 0.2, 0.15, 0.1]
        step = int(rng.choice([1, 2, 3, 5, 8], p=shares))
        last = max(0, scene.num_frames - 1)
        latest = max(0, last - step * (num_frames - 1))
        start = int(rng.integers(0, latest + 1))
        if to_show:
            going = _going(scene)
            if not len(going):
                continue
            before = int(step * (num_frames - 1) * rng.uniform(0.1, 0.5))
            start = int(np.clip(rng.choice(going) - before, 0, latest))
        frames = np.minimum(start + step * np.arange(num_frames), last)
        images, masks = render(scene, frames, (size, size))
        masks = masks.transpose(1, 0, 2, 3)
        visible = masks[0].reshape(masks.shape[1], -1).sum(axis=1) >= 0.003 * size * size
        if visible.any():
            return images, np.ascontiguousarray(masks[:, visible])


def _alike(scene: Scene, rng: np.random.Generator) -> Scene:
    """Give two things of a scene much the same colour."""
    one, other = rng.permutation(len(scene.objects))[:2]
    rgb = np.array(scene.objects[one].rgb) + rng.normal(0, rng.choice([0, 25]), 3)
    r, g, b = np.clip(rgb, 0, 255).astype(int).tolist()
    objects = list(scene.objects)
    objects[other] = replace(objects[other], rgb=(r, g, b))
    return replace(scene, objects=tuple(objects))


def _going(scene: Scene) -> npt.NDArray[np.intp]:
    """Return frames around which something goes out of sight, hidden or past the rim."""
    from gar_video.synth.render import render_labels

    times = np.arange(0, scene.num_frames, 3)
    _, labels = render_labels(scene, times, (32, 32))
    ids = np.arange(1, len(scene.objects) + 1)
    seen = (labels.reshape(len(times), -1, 1) == ids).any(axis=1)
    return times[1:][(seen[:-1] & ~seen[1:]).any(axis=1)]


def mixed_clip(seed: int, *, size: int, num_frames: int) -> Clip:
    """Render a clip of the synthetic world, or, one time in three, draw loose shapes."""
    source = drawn_clip if seed % 3 == 0 else rendered_clip
    return source(seed, size=size, num_frames=num_frames)
