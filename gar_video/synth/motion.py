"""Paths: where a thing is over time, as segments of standing, straight lines and arcs.

Coordinates are units of the frame's height: x runs from 0 to the frame's aspect ratio, y from 0
(top) to 1 (bottom). Times are seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

_H = float(np.sqrt(0.5))
#: Direction name -> unit vector, y down. The four of the basic level first.
DIRECTIONS: dict[str, tuple[float, float]] = {
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
    "up left": (-_H, -_H),
    "up right": (_H, -_H),
    "down left": (-_H, _H),
    "down right": (_H, _H),
}
DIRECTION_NAMES = tuple(DIRECTIONS)
OPPOSITE = {
    a: next(b for b in DIRECTIONS if np.allclose(np.add(DIRECTIONS[a], DIRECTIONS[b]), 0))
    for a in DIRECTIONS
}


@dataclass(frozen=True)
class Segment:
    """One stretch of a path.

    Attributes:
        start_s: Where it begins; it lasts until the next segment begins, the last one for ever.
        kind: ``"still"``, ``"line"`` or ``"arc"``.
        x: Position at ``start_s``; for an arc, its centre.
        y: As ``x``.
        vx: Velocity of a line, units per second.
        vy: As ``vx``.
        radius: Radius of an arc.
        angle: Angle on the arc at ``start_s``, radians.
        omega: Turning speed of an arc, radians per second; positive is clockwise on the screen.
    """

    start_s: float
    kind: str
    x: float
    y: float
    vx: float = 0.0
    vy: float = 0.0
    radius: float = 0.0
    angle: float = 0.0
    omega: float = 0.0

    def position(self, times_s: Vector) -> Vector:
        """Return ``(T, 2)`` positions, also before and after the segment's own time."""
        dt = np.asarray(times_s, dtype=np.float64) - self.start_s
        if self.kind == "arc":
            angle = self.angle + self.omega * dt
            x, y = self.x + self.radius * np.cos(angle), self.y + self.radius * np.sin(angle)
        else:
            x, y = self.x + self.vx * dt, self.y + self.vy * dt
        return np.stack([x, y], axis=-1)

    def shifted(self, delay_s: float, dx: float, dy: float) -> Segment:
        """Return the same stretch later and elsewhere."""
        return replace(self, start_s=self.start_s + delay_s, x=self.x + dx, y=self.y + dy)


Path = tuple[Segment, ...]


def position(path: Path, times_s: npt.ArrayLike) -> Vector:
    """Return ``(T, 2)`` positions along a path."""
    times = np.atleast_1d(np.asarray(times_s, dtype=np.float64))
    if len(path) == 1:
        return path[0].position(times)
    which = segment_index(path, times)
    out = np.empty((len(times), 2))
    for index, segment in enumerate(path):
        mine = which == index
        if mine.any():
            out[mine] = segment.position(times[mine])
    return out


def segment_index(path: Path, times_s: Vector) -> npt.NDArray[np.int64]:
    """Return, for each time, which segment of the path is on."""
    starts = np.array([segment.start_s for segment in path[1:]])
    return np.searchsorted(starts, times_s, side="right")


def backwards(path: Path, duration_s: float) -> Path:
    """Return the path that is gone the other way round: at ``t`` where it was at the end - t."""
    ends = [segment.start_s for segment in path[1:]] + [duration_s]
    segments = []
    for segment, end in zip(reversed(path), reversed(ends), strict=True):
        start = duration_s - end
        if segment.kind == "arc":
            angle = segment.angle + segment.omega * (end - segment.start_s)
            segments.append(replace(segment, start_s=start, angle=angle, omega=-segment.omega))
            continue
        x, y = (float(v) for v in segment.position(np.array([end]))[0])
        segments.append(Segment(start, segment.kind, x, y, -segment.vx, -segment.vy))
    return tuple(segments)


def compass(dx: float, dy: float) -> str:
    """Return the name of the nearest of the eight directions; y points down."""
    return max(DIRECTIONS, key=lambda name: DIRECTIONS[name][0] * dx + DIRECTIONS[name][1] * dy)


def tilted(direction: str, degrees: float) -> Vector:
    """Return a direction's unit vector, turned by some degrees."""
    x, y = DIRECTIONS[direction]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([c * x - s * y, s * x + c * y])


def legs(start: Vector, steps: Sequence[Vector | None], times_s: Sequence[float]) -> Path:
    """Build a path of straight legs and rests.

    Args:
        start: Position at time 0.
        steps: What each leg moves by; None rests.
        times_s: When each leg ends; the last may lie beyond the clip.

    Returns:
        One segment a leg.
    """
    segments, at, clock = [], np.asarray(start, dtype=float), 0.0
    for step, end in zip(steps, times_s, strict=True):
        x, y = float(at[0]), float(at[1])
        if step is None:
            segments.append(Segment(clock, "still", x, y))
        else:
            vx, vy = (float(v) for v in step / (end - clock))
            segments.append(Segment(clock, "line", x, y, vx, vy))
            at = at + step
        clock = float(end)
    return tuple(segments)


def place(
    rng: np.random.Generator,
    offsets: Sequence[Vector],
    margins: Sequence[float],
    aspect: float,
) -> tuple[Vector, float]:
    """Choose where a path starts so that all of it stays inside the frame.

    Args:
        rng: Source of randomness.
        offsets: Way points relative to the start, the start itself (zeros) among them.
        margins: Room to keep between each way point and every edge.
        aspect: Frame width over height.

    Returns:
        The start and the factor (at most 1) by which the way had to be shortened to fit.
    """
    points, rims = np.asarray(offsets, dtype=float), np.asarray(margins, dtype=float)[:, None]
    size = np.array([aspect, 1.0])
    shrink = 1.0
    for _ in range(24):
        low = (rims - points * shrink).max(axis=0)
        high = (size - rims - points * shrink).min(axis=0)
        if (low <= high).all():
            break
        shrink *= 0.95
    free = np.maximum(high - low, 0.0)
    return low + rng.random(2) * free, shrink


def steps_inside(
    rng: np.random.Generator,
    steps: Sequence[Vector | None],
    times_s: Sequence[float],
    margin: float,
    aspect: float,
) -> Path:
    """Lay straight legs and rests somewhere inside the frame."""
    moves = [np.zeros(2) if step is None else step for step in steps]
    points = [np.zeros(2), *np.cumsum(moves, axis=0)]
    start, shrink = place(rng, points, [margin] * len(points), aspect)
    return legs(start, [None if s is None else s * shrink for s in steps], times_s)


def arc_inside(
    rng: np.random.Generator, turns: float, duration_s: float, margin: float, aspect: float
) -> Path:
    """Lay a circular way of ``turns`` (negative: anticlockwise) inside the frame."""
    radius = float(rng.uniform(0.16, 0.24))
    radius = min(radius, 0.5 * min(aspect, 1.0) - margin)
    free = np.array([aspect, 1.0]) - 2 * (margin + radius)
    centre = margin + radius + rng.random(2) * np.maximum(free, 0.0)
    return (
        Segment(
            0.0,
            "arc",
            float(centre[0]),
            float(centre[1]),
            radius=radius,
            angle=float(rng.uniform(0, 2 * np.pi)),
            omega=2 * np.pi * turns / duration_s,
        ),
    )


@dataclass(frozen=True)
class Phase:
    """A stretch of one motion of one thing, as far as it is in the frame.

    Attributes:
        act: ``"still"``, ``"circle"`` or a direction's name.
        start_s: Where it begins.
        end_s: Where it ends.
        speed: Units of the frame's height per second.
        seen: Mean share of the thing that is seen meanwhile.
    """

    act: str
    start_s: float
    end_s: float
    speed: float
    seen: float

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s


def find_phases(path: Path, times_s: Vector, inside: Vector, seen: Vector) -> tuple[Phase, ...]:
    """Cut a path into what can be seen of it.

    Args:
        path: The path.
        times_s: ``(T,)`` times of the frames.
        inside: ``(T,)`` share of the thing inside the frame.
        seen: ``(T,)`` share of the thing that is seen.

    Returns:
        One phase a segment, without the parts outside the frame. Neighbouring phases of the same
        act and speed are one.
    """
    phases: list[Phase] = []
    which = segment_index(path, times_s) if len(path) > 1 else np.zeros(len(times_s), int)
    for index, segment in enumerate(path):
        mine = (which == index) & (inside > 0.05)
        if not mine.any():
            continue
        speed = float(np.hypot(segment.vx, segment.vy))
        act = "still" if segment.kind == "still" else compass(segment.vx, segment.vy)
        if segment.kind == "arc":
            act, speed = "circle", abs(segment.omega) * segment.radius
        start, end = float(times_s[mine][0]), float(times_s[mine][-1])
        share = float(seen[mine].mean())
        last = phases[-1] if phases else None
        if last is not None and last.act == act and abs(last.speed - speed) < 0.02:
            both = (last.seen * last.seconds + share * (end - start)) / (end - last.start_s)
            phases[-1] = Phase(act, last.start_s, end, speed, both)
        else:
            phases.append(Phase(act, start, end, speed, share))
    return tuple(phases)
