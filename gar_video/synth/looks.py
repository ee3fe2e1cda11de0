"""Drawing what things look like, and what of it changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gar_video.synth.appearance import (
    PATTERNS,
    SIZES,
    color_names,
    sample_rgb,
    shape_names,
    to_rgb,
)
from gar_video.synth.motion import Path
from gar_video.synth.plans import Stage, stays_inside
from gar_video.synth.things import Recolor, Resize, SceneObject, Shake


@dataclass
class Look:
    """What a thing is going to look like; still open to change."""

    shape: str
    color: str
    size: str
    diameter: float


def sample_look(rng: np.random.Generator, level: str, crowd: int) -> Look:
    """Draw a look, smaller where many things share the frame."""
    shapes, colors = shape_names(level), color_names(level)
    shares = [1 / 3, 1 / 3, 1 / 3] if crowd <= 3 else [0.45, 0.4, 0.15]
    if crowd > 5:
        shares = [0.7, 0.3, 0.0]
    size = list(SIZES)[int(rng.choice(3, p=shares))]
    return Look(
        shape=shapes[int(rng.integers(len(shapes)))],
        color=colors[int(rng.integers(len(colors)))],
        size=size,
        diameter=round(SIZES[size] * float(rng.uniform(0.94, 1.06)), 4),
    )


def share_looks(rng: np.random.Generator, looks: list[Look]) -> None:
    """Let some things have the colour or the shape of another, so that it is worth asking."""
    for k in range(1, len(looks)):
        if rng.random() < 0.4:
            looks[k].color = looks[int(rng.integers(k))].color
        if rng.random() < 0.3:
            looks[k].shape = looks[int(rng.integers(k))].shape


def suit(rng: np.random.Generator, pair: str, looks: list[Look], level: str) -> None:
    """Make the looks of actor and partner such that their plan can be seen."""
    actor, partner = looks[0], looks[1]
    colors = color_names(level)
    while partner.color == actor.color:
        partner.color = colors[int(rng.integers(len(colors)))]
    if pair == "hide" or (pair == "cross" and rng.random() < 0.6):
        partner.size, actor.size = "large", ("small", "medium")[int(rng.random() < 0.3)]
        if pair == "hide":
            actor.size = "small"
        partner.shape = ("circle", "square")[int(rng.integers(2))]
    elif actor.size == "large" and partner.size == "large":
        actor.size = "medium"
    for look in (actor, partner):
        look.diameter = round(SIZES[look.size] * float(rng.uniform(0.94, 1.06)), 4)


def dress(
    rng: np.random.Generator,
    level: str,
    look: Look,
    plan: str,
    path: Path,
    z: int,
    stage: Stage,
) -> SceneObject:
    """Choose what a thing looks like in detail."""
    rgb = sample_rgb(rng, look.color)
    thing = SceneObject(
        object_id=0,
        shape=look.shape,
        color=look.color,
        rgb=rgb,
        size=look.size,
        diameter=look.diameter,
        angle=round(float(np.radians(rng.uniform(-9, 9))), 4),
        path=path,
        z=z,
        plan=plan,
    )
    if rng.random() < 0.25:
        thing = replace(thing, outline_rgb=to_rgb(np.asarray(rgb) * rng.uniform(0.35, 0.7)))
    if level != "full":
        return thing
    pattern = PATTERNS[int(rng.choice(4, p=[0.4, 0.2, 0.2, 0.2]))]
    lightness = sum(rgb) / 3
    shift = -1 if lightness > 140 else 1
    second = np.asarray(rgb, dtype=float) + shift * rng.uniform(55, 85)
    thing = replace(thing, pattern=pattern, pattern_rgb=to_rgb(second))
    chance, end = rng.random(), stage.duration_s
    if chance < 0.14:
        scale = float(rng.uniform(1.6, 1.9)) if look.size != "large" else 0.5
        scale = 1 / scale if look.size == "medium" and rng.random() < 0.5 else scale
        change = Resize(round(end * 0.25, 4), round(end * 0.75, 4), round(scale, 4))
        grown = look.diameter / 2 * max(1.0, scale)
        if plan not in ("meet", "hide", "follow", "partner") and (
            plan in ("enter", "leave", "pass") or stays_inside(path, grown, stage)
        ):
            thing = replace(thing, resize=change)
    elif chance < 0.26:
        names = [name for name in color_names(level) if name != look.color]
        name = names[int(rng.integers(len(names)))]
        time_s = round(end * float(rng.uniform(0.4, 0.6)), 4)
        thing = replace(thing, recolor=Recolor(time_s, name, sample_rgb(rng, name)))
        thing = replace(thing, pattern="plain")
    return thing


def sample_shake(rng: np.random.Generator, level: str) -> Shake:
    """Draw how the camera shakes: not at all on the basic level and in half of the full."""
    if level == "basic" or rng.random() < 0.5:
        return Shake()
    rates, phases = rng.uniform(0.7, 3.0, 4), rng.uniform(0, 2 * np.pi, 4)
    return Shake(
        amplitude=round(float(rng.uniform(0.003, 0.012)), 5),
        rates_hz=tuple(round(float(v), 4) for v in rates),  # type: ignore[arg-type]
        phases=tuple(round(float(v), 4) for v in phases),  # type: ignore[arg-type]
    )
