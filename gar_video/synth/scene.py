"""Scenes: everything about a rendered clip, as data, drawn from a seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.synth.appearance import Background, sample_background
from gar_video.synth.looks import dress, sample_look, sample_shake, share_looks, suit
from gar_video.synth.motion import Path, Segment, backwards, position
from gar_video.synth.plans import (
    BASIC_PAIRS,
    BASIC_PLANS,
    FULL_PAIRS,
    FULL_PLANS,
    Stage,
    draw,
    pair_paths,
    plan_path,
)
from gar_video.synth.raster import shapes_overlap
from gar_video.synth.things import Recolor, Resize, SceneObject, Shake

LEVELS = ("basic", "full")
FPS = 15
STEADY = Shake()
#: What an actor does with its partner, and what it is called gone the other way round.
BACKWARDS = {"meet": "part", "hide": "emerge"}
PAIRS = ("cross", "hide", "meet", "follow", "part", "emerge")
_LEVEL_KEY = {"basic": 11, "full": 12}


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
    shake: Shake = STEADY

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
        shake=sample_shake(rng, level),
    )


def _sample_objects(
    rng: np.random.Generator, level: str, count: int, stage: Stage
) -> tuple[SceneObject, ...]:
    """Draw looks, plans and order of all things."""
    looks = [sample_look(rng, level, count) for _ in range(count)]
    share_looks(rng, looks)
    plans = [draw(rng, FULL_PLANS if level == "full" else BASIC_PLANS) for _ in range(count)]
    height = [int(v) for v in rng.permutation(count)]
    pair = "apart"
    if count > 1:
        pair = draw(rng, FULL_PAIRS if level == "full" else BASIC_PAIRS)
    if pair == "duo":
        plans[:2] = ["line", "line"]
    elif pair in PAIRS:
        suit(rng, pair, looks, level)
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
    things = [dress(rng, level, looks[i], plans[i], paths[i], height[i], stage) for i in order]
    things = [replace(thing, object_id=k + 1) for k, thing in enumerate(things)]
    actor = order.index(0)
    if pair == "meet":
        things[actor] = _until_touching(things[actor], things[order.index(1)])
    if pair in BACKWARDS and rng.random() < 0.45:
        path = backwards(things[actor].path, stage.duration_s)
        things[actor] = replace(things[actor], path=path, plan=BACKWARDS[pair])
    return tuple(things)


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
            if near.mean() > (0.9 if planned else 0.35):
                return False
    return True


__all__ = [
    "FPS",
    "LEVELS",
    "Recolor",
    "Resize",
    "Scene",
    "SceneObject",
    "Shake",
    "sample_scene",
    "scene_rng",
]
