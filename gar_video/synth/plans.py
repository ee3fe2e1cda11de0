"""How things move: one thing's plan, and what two things do to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gar_video.synth.motion import (
    DIRECTION_NAMES,
    OPPOSITE,
    Path,
    Segment,
    Vector,
    arc_inside,
    legs,
    place,
    position,
    steps_inside,
    tilted,
)

#: Plan -> how often it is drawn.
BASIC_PLANS = {
    "line": 0.24,
    "stop": 0.15,
    "start": 0.13,
    "turn": 0.13,
    "bounce": 0.11,
    "still": 0.10,
    "enter": 0.11,
    "leave": 0.11,
}
FULL_PLANS = {
    **BASIC_PLANS,
    "circle": 0.12,
    "pause": 0.10,
    "faster": 0.06,
    "slower": 0.06,
    "zigzag": 0.06,
    "pass": 0.06,
}
#: Plan of two things -> how often it is drawn.
BASIC_PAIRS = {"apart": 0.30, "cross": 0.22, "hide": 0.18, "meet": 0.18, "duo": 0.22}
FULL_PAIRS = {**BASIC_PAIRS, "follow": 0.2}


def draw(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """Draw a key by its weight."""
    names = list(weights)
    shares = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


class Stage:
    """Where and how long things move on one level: what every plan needs to know."""

    def __init__(self, level: str, duration_s: float, aspect: float) -> None:
        self.full = level == "full"
        self.duration_s = duration_s
        self.aspect = aspect
        self.directions = DIRECTION_NAMES if self.full else DIRECTION_NAMES[:4]
        self.tilt = 10.0 if self.full else 8.0

    def direction(self, rng: np.random.Generator, among: Sequence[str] | None = None) -> str:
        """Draw a direction."""
        names = self.directions if among is None else among
        return names[int(rng.integers(len(names)))]

    def heading(self, rng: np.random.Generator, direction: str) -> Vector:
        """Return a unit vector near a direction."""
        return tilted(direction, float(rng.uniform(-self.tilt, self.tilt)))

    def extent(self, unit: Vector) -> float:
        """Return how long one unit of way is along a direction: wide frames give longer ways."""
        return float(np.hypot(unit[0] * min(self.aspect, 1.6), unit[1]))


def plan_path(rng: np.random.Generator, plan: str, radius: float, stage: Stage) -> Path:
    """Lay one thing's path.

    Args:
        rng: Source of randomness.
        plan: A key of ``FULL_PLANS``.
        radius: Half the thing's diameter.
        stage: The clip.

    Returns:
        Its path.
    """
    end, margin = stage.duration_s, radius * 1.05
    first = stage.direction(rng)
    unit = stage.heading(rng, first)
    long = unit * rng.uniform(0.42, 0.66) * stage.extent(unit)
    short = unit * rng.uniform(0.30, 0.48) * stage.extent(unit)
    middle = end * rng.uniform(0.43, 0.57)
    if plan == "still":
        return steps_inside(rng, [None], [end], margin, stage.aspect)
    if plan == "stop":
        return steps_inside(rng, [short * 1.15, None], [middle, end], margin, stage.aspect)
    if plan == "start":
        return steps_inside(rng, [None, short * 1.15], [middle, end], margin, stage.aspect)
    if plan == "turn":
        second = stage.heading(rng, _across(rng, first, stage))
        step = second * rng.uniform(0.30, 0.48) * stage.extent(second)
        return steps_inside(rng, [short, step], [middle, end], margin, stage.aspect)
    if plan == "bounce":
        return _bounce(rng, radius, stage)
    if plan in ("enter", "leave", "pass"):
        return _through_edge(rng, plan, radius, stage)
    if plan == "circle":
        turns = rng.uniform(0.9, 1.6) * rng.choice([-1.0, 1.0])
        return arc_inside(rng, float(turns), end, margin, stage.aspect)
    if plan == "pause":
        times = [end * 0.36, end * 0.66, end]
        return steps_inside(rng, [long * 0.5, None, long * 0.5], times, margin, stage.aspect)
    if plan in ("faster", "slower"):
        shares = (0.22, 0.78) if plan == "faster" else (0.78, 0.22)
        steps = [long * share for share in shares]
        return steps_inside(rng, steps, [middle, end], margin, stage.aspect)
    if plan == "zigzag":
        second = stage.heading(rng, _across(rng, first, stage))
        step = second * rng.uniform(0.26, 0.36)
        times = [end * 0.35, end * 0.66, end]
        return steps_inside(rng, [short * 0.8, step, short * 0.8], times, margin, stage.aspect)
    return steps_inside(rng, [long], [end], margin, stage.aspect)


def _across(rng: np.random.Generator, direction: str, stage: Stage) -> str:
    """Draw a direction at a right angle to another."""
    unit = tilted(direction, 0)
    among = [name for name in stage.directions if abs(float(tilted(name, 0) @ unit)) < 0.1]
    return stage.direction(rng, among)


def _bounce(rng: np.random.Generator, radius: float, stage: Stage) -> Path:
    """Lay a way to an edge and back off it."""
    direction = stage.direction(rng, DIRECTION_NAMES[:4])
    axis = 0 if direction in ("left", "right") else 1
    unit = stage.heading(rng, direction)
    length = rng.uniform(0.32, 0.52) * stage.extent(unit)
    size = np.array([stage.aspect, 1.0])
    wall = radius if unit[axis] < 0 else size[axis] - radius
    mirrored = unit.copy()
    mirrored[axis] *= -1
    back = length * rng.uniform(0.85, 1.1)
    # Along the other axis the whole way is laid as any other.
    offsets = [np.zeros(2), unit * length, unit * length + mirrored * back]
    start, shrink = place(rng, offsets, [radius * 1.05] * 3, stage.aspect)
    start[axis] = wall - unit[axis] * length * shrink
    middle = stage.duration_s * rng.uniform(0.43, 0.57)
    steps = [unit * length * shrink, mirrored * back * shrink]
    return legs(start, steps, [middle, stage.duration_s])


def _through_edge(rng: np.random.Generator, plan: str, radius: float, stage: Stage) -> Path:
    """Lay a way in from outside, out of the frame, or straight through it."""
    direction = stage.direction(rng, DIRECTION_NAMES[:4])
    axis = 0 if direction in ("left", "right") else 1
    unit = stage.heading(rng, direction)
    size = np.array([stage.aspect, 1.0])
    # Turned shapes reach a little beyond their radius; outside means no pixel of it.
    outside = radius * 1.2
    end = stage.duration_s
    sign = np.sign(unit[axis])
    far, near = size[axis] + outside, -outside
    margin = radius * 1.05
    # Coordinate along the way where it begins and ends.
    depth = rng.uniform(0.42, 0.68) * size[axis]
    if plan == "enter":
        begin = near if sign > 0 else far
        length = (depth + outside) / abs(unit[axis])
        rests, times = [True, False], [end * rng.uniform(0.18, 0.34), end]
    elif plan == "leave":
        begin = size[axis] - depth if sign > 0 else depth
        length = (depth + outside) / abs(unit[axis])
        rests, times = [False, True], [end * rng.uniform(0.66, 0.82), end]
    else:
        begin = near if sign > 0 else far
        length = (size[axis] + 2 * outside) / abs(unit[axis])
        rests, times = [True, False, True], [end * 0.12, end * 0.88, end]
    step = unit * length
    start = np.empty(2)
    start[axis] = begin
    other = 1 - axis
    low = margin - min(0.0, step[other])
    high = size[other] - margin - max(0.0, step[other])
    start[other] = rng.uniform(low, high) if high > low else size[other] / 2 - step[other] / 2
    return legs(start, [None if rest else step for rest in rests], times)


def pair_paths(
    rng: np.random.Generator, pair: str, radii: tuple[float, float], stage: Stage
) -> tuple[Path, Path]:
    """Lay the paths of an actor and a partner.

    Args:
        rng: Source of randomness.
        pair: ``"cross"`` (the actor passes over the partner's place), ``"hide"`` (it stops
            there), ``"meet"`` (it stops beside it, touching: the caller sets the exact place),
            ``"follow"`` (it goes the partner's way behind it) or ``"duo"`` (both go straight:
            the same way, opposite ways or at a right angle).
        radii: Half diameters of actor and partner.
        stage: The clip.

    Returns:
        Paths of actor and partner.
    """
    end = stage.duration_s
    if pair == "follow":
        return _follow(rng, radii, stage)
    if pair == "duo":
        return _duo(rng, radii, stage)
    direction = stage.direction(rng, DIRECTION_NAMES[:4])
    unit = stage.heading(rng, direction) if pair == "cross" else tilted(direction, 0)
    reach, clear = stage.extent(unit), (radii[0] + radii[1]) * 1.06
    before = max(clear, float(rng.uniform(0.34, 0.46)) * reach)
    far = before
    if pair == "cross":
        # A short way past something large: the thing is hidden for a good part of the clip.
        if radii[1] > 1.6 * radii[0]:
            before = far = clear * float(rng.uniform(1.0, 1.15))
            far += clear * float(rng.uniform(1.0, 1.15))
        else:
            far += max(clear, float(rng.uniform(0.34, 0.46)) * reach)
    target = before + (radii[0] + radii[1] if pair == "meet" else 0.0)
    offsets = [np.zeros(2), unit * far, unit * target]
    start, shrink = place(rng, offsets, [radii[0] * 1.05, radii[0] * 1.05, radii[1]], stage.aspect)
    step, at = offsets[1] * shrink, start + offsets[2] * shrink
    if pair == "cross":
        actor = legs(start, [step], [end])
    else:
        actor = legs(start, [step, None], [end * rng.uniform(0.5, 0.64), end])
    return actor, (Segment(0.0, "still", float(at[0]), float(at[1])),)


def _duo(rng: np.random.Generator, radii: tuple[float, float], stage: Stage) -> tuple[Path, Path]:
    """Lay two straight ways that compare plainly, one of them perhaps as fast as the other."""
    first = stage.direction(rng)
    how = int(rng.integers(3))
    second = (first, OPPOSITE[first], _across(rng, first, stage))[how]
    unit = stage.heading(rng, first)
    other = unit if how == 0 else stage.heading(rng, second)
    long = float(rng.uniform(0.40, 0.60))
    # Side by side at the same speed, the distance stays the same.
    other_long = long if how == 0 and rng.random() < 0.6 else float(rng.uniform(0.40, 0.60))
    steps = (unit * long * stage.extent(unit), other * other_long * stage.extent(other))
    paths = []
    for step, radius in zip(steps, radii, strict=True):
        margin = max(radii) if how == 0 else radius
        paths.append(steps_inside(rng, [step], [stage.duration_s], margin * 1.05, stage.aspect))
    return paths[0], paths[1]


def _follow(
    rng: np.random.Generator, radii: tuple[float, float], stage: Stage
) -> tuple[Path, Path]:
    """Lay a partner's way, and the same way again a little later for the actor."""
    end = stage.duration_s
    plan = ("line", "turn")[int(rng.integers(2))]
    leader = plan_path(rng, plan, max(radii) * 1.4, stage)
    speed = float(np.hypot(leader[0].vx, leader[0].vy))
    delay = min(sum(radii) * 1.25 / max(speed, 1e-6), end * 0.45)
    late = [replace(leader[0], x=leader[0].x - leader[0].vx * delay)]
    late[0] = replace(late[0], y=leader[0].y - leader[0].vy * delay)
    late += [segment.shifted(delay, 0.0, 0.0) for segment in leader[1:]]
    return tuple(late), leader


def stays_inside(path: Path, radius: float, stage: Stage) -> bool:
    """Say whether a thing is wholly in the frame for the whole clip."""
    points = position(path, np.linspace(0, stage.duration_s, 17))
    high = np.array([stage.aspect, 1.0]) - radius * 0.95
    return bool((points >= radius * 0.95).all() and (points <= high).all())
