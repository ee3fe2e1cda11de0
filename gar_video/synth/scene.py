"""Scenes: everything about a rendered clip, as data, drawn from a seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.synth.appearance import (
    PATTERNS,
    SHAPES,
    SIZES,
    Background,
    Rgb,
    color_names,
    sample_background,
    sample_rgb,
    shape_names,
    to_rgb,
)
from gar_video.synth.motion import Path, Segment, position
from gar_video.synth.plans import (
    BASIC_PAIRS,
    BASIC_PLANS,
    FULL_PAIRS,
    FULL_PLANS,
    Stage,
    draw,
    pair_paths,
    plan_path,
    stays_inside,
)
from gar_video.synth.raster import shapes_overlap

LEVELS = ("basic", "full")
FPS = 15
PAIRS = ("cross", "hide", "meet", "follow")
_LEVEL_KEY = {"basic": 11, "full": 12}


@dataclass(frozen=True)
class Resize:
    """A thing that grows or shrinks: its diameter goes linearly to ``scale`` times the first."""

    start_s: float
    end_s: float
    scale: float


@dataclass(frozen=True)
class Recolor:
    """A thing that changes its colour at once."""

    time_s: float
    color: str
    rgb: Rgb


@dataclass(frozen=True)
class SceneObject:
    """One thing of a scene. Lengths are units of the frame's height, times are seconds.

    Attributes:
        object_id: Its id, from 1.
        shape: Name of its shape.
        color: Name of its first colour.
        rgb: The colour drawn.
        size: Name of its size.
        diameter: Longer side of its upright box, at the start.
        angle: How far it is turned, radians.
        path: Where it is over time.
        z: Higher things hide lower ones.
        plan: What it was planned to do; ``truth`` says what can be seen.
        pattern: ``"plain"`` or what is drawn on it.
        pattern_rgb: Second colour of a pattern.
        outline_rgb: Colour of a thin edge, if it has one.
        resize: Growing or shrinking, if any.
        recolor: Change of colour, if any.
        appear_s: It is drawn from here on.
        leave_s: It is drawn until here.
    """

    object_id: int
    shape: str
    color: str
    rgb: Rgb
    size: str
    diameter: float
    angle: float
    path: Path
    z: int
    plan: str = "still"
    pattern: str = "plain"
    pattern_rgb: Rgb = (0, 0, 0)
    outline_rgb: Rgb | None = None
    resize: Resize | None = None
    recolor: Recolor | None = None
    appear_s: float = 0.0
    leave_s: float = float("inf")

    def diameters(self, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the diameter at each time."""
        if self.resize is None:
            return np.full(len(times_s), self.diameter)
        change = self.resize
        done = np.clip((times_s - change.start_s) / (change.end_s - change.start_s), 0.0, 1.0)
        return self.diameter * (1 + done * (change.scale - 1))

    def color_at(self, time_s: float) -> tuple[str, Rgb]:
        """Return name and value of the colour at a time."""
        if self.recolor is not None and time_s >= self.recolor.time_s:
            return self.recolor.color, self.recolor.rgb
        return self.color, self.rgb


@dataclass(frozen=True)
class Shake:
    """Camera jitter: two slow waves an axis.

    Attributes:
        amplitude: Largest offset, units of the frame's height; 0 for a camera that stands.
        rates_hz: Rates of the waves, x then y.
        phases: Their phases, radians.
    """

    amplitude: float = 0.0
    rates_hz: tuple[float, float, float, float] = (1.0, 2.0, 1.0, 2.0)
    phases: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def offsets(self, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return ``(T, 2)`` offsets of everything in the picture."""
        if self.amplitude == 0:
            return np.zeros((len(times_s), 2))
        angle = 2 * np.pi * np.outer(times_s, self.rates_hz) + np.asarray(self.phases)
        waves = np.sin(angle) * 0.5 * self.amplitude
        return np.stack([waves[:, 0] + waves[:, 1], waves[:, 2] + waves[:, 3]], axis=1)


@dataclass(frozen=True)
class Scene:
    """A clip before it is drawn. Independent of resolution.

    Attributes:
        level: ``"basic"`` or ``"full"``.
        objects: The things, by id.
        background: The ground.
        duration_s: Length in seconds.
        fps: Frames a second.
        aspect: Width over height. Drawn at another aspect ratio, everything is stretched alike.
        shake: Camera jitter.
    """

    level: str
    objects: tuple[SceneObject, ...]
    background: Background
    duration_s: float
    fps: int = FPS
    aspect: float = 1.0
    shake: Shake = Shake()

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return max(1, round(self.duration_s * self.fps))

    @property
    def times_s(self) -> npt.NDArray[np.float64]:
        """Times of the frames, ``(num_frames,)``."""
        return np.arange(self.num_frames) / self.fps

    def centres(self, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return ``(num_objects, T, 2)`` centres in the picture, shaking included."""
        shake = self.shake.offsets(times_s)
        return np.stack([position(thing.path, times_s) + shake for thing in self.objects])

    def to_dict(self) -> dict[str, Any]:
        """Return the scene as plain data that JSON can hold."""
        data = asdict(self)
        for thing in data["objects"]:
            if thing["leave_s"] == float("inf"):
                thing["leave_s"] = None
        return data


def scene_rng(seed: int, level: str = "basic") -> np.random.Generator:
    """Return the generator of a seed: independent between seeds, levels, and from any order."""
    return np.random.Generator(np.random.PCG64([_LEVEL_KEY[level], seed]))


def sample_scene(
    rng: np.random.Generator,
    level: str = "basic",
    num_objects: int | None = None,
    duration_s: float | None = None,
    aspect: float = 1.0,
) -> Scene:
    """Draw a scene.

    Args:
        rng: Source of all randomness; the same state gives the same scene.
        level: ``"basic"`` (nano's own world) or ``"full"``.
        num_objects: 1 to 9; by default up to three on the basic level and five on the full.
        duration_s: Length; by default 2 to 5 seconds on the basic level and 2 to 8 on the full.
        aspect: Width over height of the frame.

    Returns:
        A scene in which everything can be seen for a good part of the clip.

    Raises:
        ValueError: If the level is unknown or the number of objects is not in 1 to 9.
    """
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}; expected one of {', '.join(LEVELS)}")
    if num_objects is None:
        shares = [0.2, 0.45, 0.35] if level == "basic" else [0.15, 0.3, 0.3, 0.15, 0.1]
        num_objects = 1 + int(rng.choice(len(shares), p=shares))
    if not 1 <= num_objects <= 9:
        raise ValueError(f"num_objects is {num_objects}; expected 1 to 9")
    if duration_s is None:
        longest = 5.0 if level == "basic" else 8.0
        duration_s = round(float(rng.uniform(2.0, longest)) * FPS) / FPS
    stage = Stage(level, duration_s, aspect)
    for _ in range(40):
        objects = _sample_objects(rng, level, num_objects, stage)
        if _plain_to_see(objects, stage):
            break
    rgbs = [thing.rgb for thing in objects]
    rgbs += [thing.recolor.rgb for thing in objects if thing.recolor is not None]
    return Scene(
        level=level,
        objects=objects,
        background=sample_background(rng, level, rgbs),
        duration_s=duration_s,
        aspect=aspect,
        shake=_sample_shake(rng, level),
    )


def _sample_shake(rng: np.random.Generator, level: str) -> Shake:
    if level == "basic" or rng.random() < 0.5:
        return Shake()
    rates, phases = rng.uniform(0.7, 3.0, 4), rng.uniform(0, 2 * np.pi, 4)
    return Shake(
        amplitude=round(float(rng.uniform(0.003, 0.012)), 5),
        rates_hz=tuple(round(float(v), 4) for v in rates),  # type: ignore[arg-type]
        phases=tuple(round(float(v), 4) for v in phases),  # type: ignore[arg-type]
    )


@dataclass
class _Look:
    shape: str
    color: str
    size: str
    diameter: float


def _sample_look(rng: np.random.Generator, level: str, crowd: int) -> _Look:
    shapes, colors = shape_names(level), color_names(level)
    shares = [1 / 3, 1 / 3, 1 / 3] if crowd <= 3 else [0.45, 0.4, 0.15]
    if crowd > 5:
        shares = [0.7, 0.3, 0.0]
    size = list(SIZES)[int(rng.choice(3, p=shares))]
    return _Look(
        shape=shapes[int(rng.integers(len(shapes)))],
        color=colors[int(rng.integers(len(colors)))],
        size=size,
        diameter=round(SIZES[size] * float(rng.uniform(0.94, 1.06)), 4),
    )


def _sample_objects(
    rng: np.random.Generator, level: str, count: int, stage: Stage
) -> tuple[SceneObject, ...]:
    """Draw looks, plans and order of all things."""
    looks = [_sample_look(rng, level, count) for _ in range(count)]
    plans = [draw(rng, FULL_PLANS if level == "full" else BASIC_PLANS) for _ in range(count)]
    height = [int(v) for v in rng.permutation(count)]
    pair = "apart"
    if count > 1:
        pair = draw(rng, FULL_PAIRS if level == "full" else BASIC_PAIRS)
    if pair in PAIRS:
        _suit(rng, pair, looks, level)
        plans[0] = pair
        plans[1] = "partner"
        low, high = sorted(height[:2])
        # Passing is behind or in front; hiding is always behind.
        behind = pair == "hide" or rng.random() < 0.7
        height[:2] = [low, high] if behind else [high, low]
    paths: list[Path] = []
    if pair != "apart":
        radii = (looks[0].diameter / 2, looks[1].diameter / 2)
        paths = list(pair_paths(rng, pair, radii, stage))
    for look, plan in zip(looks[len(paths) :], plans[len(paths) :], strict=True):
        paths.append(plan_path(rng, plan, look.diameter / 2, stage))
    order = [int(v) for v in rng.permutation(count)]
    things = [_dress(rng, level, looks[i], plans[i], paths[i], height[i], stage) for i in order]
    things = [replace(thing, object_id=k + 1) for k, thing in enumerate(things)]
    if pair == "meet":
        actor, partner = order.index(0), order.index(1)
        things[actor] = _until_touching(things[actor], things[partner])
    return tuple(things)


def _suit(rng: np.random.Generator, pair: str, looks: list[_Look], level: str) -> None:
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


def _dress(
    rng: np.random.Generator,
    level: str,
    look: _Look,
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


def _form(thing: SceneObject) -> tuple[str, float, float]:
    return thing.shape, thing.angle, thing.diameter


def _until_touching(actor: SceneObject, partner: SceneObject) -> SceneObject:
    """Stop the actor where it first touches the partner, by halving on drawn shapes."""
    move, rest = actor.path
    start = np.array([move.x, move.y])
    stop = np.array([rest.x, rest.y])
    target = np.array([partner.path[0].x, partner.path[0].y])
    low, high = 0.0, 1.0
    for _ in range(9):
        share = (low + high) / 2
        at = start + (target - start) * share
        if shapes_overlap(_form(actor), _form(partner), at - target):
            high = share
        else:
            low = share
    stop = start + (target - start) * high
    seconds = rest.start_s
    vx, vy = ((stop - start) / seconds).tolist()
    path = (
        replace(move, vx=vx, vy=vy),
        Segment(seconds, "still", float(stop[0]), float(stop[1])),
    )
    return replace(actor, path=path)


def _plain_to_see(objects: tuple[SceneObject, ...], stage: Stage) -> bool:
    """Say whether no two things lie on each other for long unless they were planned to."""
    times = np.linspace(0, stage.duration_s, 9)
    centres = np.stack([position(thing.path, times) for thing in objects])
    for i, one in enumerate(objects):
        for other in objects[:i]:
            j = other.object_id - 1
            reach = (one.diameter + other.diameter) / 2
            near = np.linalg.norm(centres[i] - centres[j], axis=1) < reach * 0.8
            planned = "partner" in (one.plan, other.plan) and (
                one.plan in PAIRS or other.plan in PAIRS
            )
            if (near[0] or near[-1]) and not planned:
                return False
            if near.mean() > (0.6 if planned else 0.35):
                return False
    return True


__all__ = [
    "FPS",
    "LEVELS",
    "SHAPES",
    "Recolor",
    "Resize",
    "Scene",
    "SceneObject",
    "Shake",
    "sample_scene",
    "scene_rng",
]
