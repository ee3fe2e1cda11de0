"""What happens in a scene, read from its truth, where it is plain to see; None where it is not.

"Plain" keeps questions honest: a thing a third covered is neither seen nor hidden, a way of a few
pixels is neither motion nor rest, and nobody is asked about either.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.synth.appearance import COLORS
from gar_video.synth.motion import DIRECTIONS, OPPOSITE, Phase, position
from gar_video.synth.raster import contours
from gar_video.synth.truth import Truth

Floats = npt.NDArray[np.float64]

#: Less than this share seen is out of sight; more than CLEAR is plainly seen.
FAINT, CLEAR = 0.10, 0.40
#: A phase asked about lasts at least this share of the clip.
LONG = 0.24
SIDES = {"left": "right", "right": "left", "up": "bottom", "down": "top"}


def at_start(truth: Truth, k: int) -> bool:
    """Say whether a thing is plainly seen in the first frame."""
    return bool(truth.visibility.seen[k, 0] > CLEAR)


def at_end(truth: Truth, k: int) -> bool:
    """Say whether a thing is plainly seen in the last frame."""
    return bool(truth.visibility.seen[k, -1] > CLEAR)


def clear(truth: Truth, phase: Phase) -> bool:
    """Say whether a phase is long enough and seen enough to be asked about."""
    return phase.seconds >= LONG * truth.scene.duration_s and phase.seen > 0.5


def acts(truth: Truth, k: int) -> list[str] | None:
    """Return the acts of a thing's phases in order, or None if one is not plain."""
    phases = truth.phases(k)
    if not phases or not all(clear(truth, phase) for phase in phases):
        return None
    return [phase.act for phase in phases]


def first_act(truth: Truth, k: int) -> str | None:
    """Return what a thing does at the start, or None."""
    phases = truth.phases(k)
    plain = phases and at_start(truth, k) and clear(truth, phases[0])
    return phases[0].act if plain else None


def last_act(truth: Truth, k: int) -> str | None:
    """Return what a thing does at the end, or None."""
    phases = truth.phases(k)
    plain = phases and at_end(truth, k) and clear(truth, phases[-1])
    return phases[-1].act if plain else None


def enters(truth: Truth, k: int) -> tuple[str, float] | None:
    """Return the side a thing enters by (``"left"``, ``"top"``, …) and when, or None."""
    inside = truth.visibility.inside[k]
    if inside[0] > 0.02 or inside.max() < 0.95:
        return None
    t = int(np.argmax(inside > 0.05))
    return _side(truth, k, t), float(truth.times_s[t])


def leaves(truth: Truth, k: int) -> tuple[str, float] | None:
    """Return the side a thing leaves by, and when, or None."""
    inside = truth.visibility.inside[k]
    if inside[-1] > 0.02 or inside.max() < 0.95:
        return None
    t = len(inside) - 1 - int(np.argmax(inside[::-1] > 0.05))
    return _side(truth, k, t), float(truth.times_s[t])


def _side(truth: Truth, k: int, t: int) -> str:
    """Return the side of the frame that a thing's centre is nearest to or beyond."""
    x, y = truth.centres[k, t]
    depth = {"left": x, "right": truth.scene.aspect - x, "top": y, "bottom": 1 - y}
    return min(depth, key=lambda side: depth[side])


def sight(truth: Truth, k: int) -> str | None:
    """Return when a thing can be seen.

    Returns:
        ``"always"``, ``"start"``, ``"end"``, ``"start and end"``, ``"middle"``, or None where it
        is seen only faintly or disappears too briefly.
    """
    seen = truth.visibility.seen[k]
    on = seen > 0.2
    edges = np.flatnonzero(np.diff(on.astype(int))) + 1
    runs = np.split(np.arange(len(seen)), edges)
    for run in runs:
        least = 0.17 if run[0] == 0 or run[-1] == len(seen) - 1 else 0.22
        if len(run) < least * len(seen):
            return None
        strong = (seen[run] > CLEAR) if on[run[0]] else (seen[run] < FAINT)
        if strong.mean() < 0.7 or not strong[len(strong) // 2]:
            return None
    if len(runs) == 1:
        return "always" if on[0] and seen.min() > CLEAR else None
    key = "".join("+" if on[run[0]] else "-" for run in runs)
    return {"+-": "start", "-+": "end", "+-+": "start and end", "-+-": "middle"}.get(key)


@dataclass(frozen=True)
class Hiding:
    """One thing going behind another.

    Attributes:
        by: Place of the thing that hides it.
        start_s: When it begins to be covered.
        end_s: When it is free again, or the clip's end.
        most: Largest share covered.
        stays: It is still covered when the clip ends.
    """

    by: int
    start_s: float
    end_s: float
    most: float
    stays: bool


def hidings(truth: Truth, k: int) -> list[Hiding]:
    """Return the times at which more than half of a thing is behind another."""
    found = []
    for j in range(truth.num_objects):
        under = truth.visibility.under[k, j]
        if j == k or under.max() < 0.5:
            continue
        covered = np.concatenate([[False], under > 0.05, [False]])
        starts = np.flatnonzero(~covered[:-1] & covered[1:])
        ends = np.flatnonzero(covered[:-1] & ~covered[1:]) - 1
        for start, end in zip(starts, ends, strict=True):
            most = float(under[start : end + 1].max())
            if most >= 0.5:
                times = truth.times_s
                stays = bool(under[-1] > 0.5 and end == len(times) - 1)
                found.append(Hiding(j, float(times[start]), float(times[end]), most, stays))
    return sorted(found, key=lambda hiding: hiding.start_s)


def gaps(truth: Truth, i: int, j: int) -> Floats:
    """Return ``(T,)`` lower bounds of the distance between two outlines, exact below 0.08.

    0 where the things touch or overlap.
    """
    i, j = min(i, j), max(i, j)
    return truth.remember(("gaps", i, j), lambda: _gaps(truth, i, j))


def _gaps(truth: Truth, i: int, j: int) -> Floats:
    one, other = truth.scene.objects[i], truth.scene.objects[j]
    wide = one.diameters(truth.times_s), other.diameters(truth.times_s)
    between = truth.centres[i] - truth.centres[j]
    gap = np.maximum(np.linalg.norm(between, axis=1) - 0.72 * (wide[0] + wide[1]), 0.0)
    lapping = truth.visibility.under[i, j] + truth.visibility.under[j, i] > 0
    near = np.flatnonzero((gap < 0.08) & ~lapping)
    gap[lapping] = 0.0
    if len(near):
        # Squared distances of all points of one edge from all of the other's, frame by frame.
        first = _dense(one.shape, one.angle)[None] * wide[0][near, None, None]
        second = _dense(other.shape, other.angle)[None] * wide[1][near, None, None]
        first = first + between[near, None, :]
        square = ((first**2).sum(-1))[:, :, None] + ((second**2).sum(-1))[:, None, :]
        square -= 2 * first @ second.transpose(0, 2, 1)
        gap[near] = np.sqrt(np.maximum(square.min(axis=(1, 2)), 0.0))
    return gap


@functools.lru_cache(maxsize=512)
def _dense(shape: str, angle: float) -> Floats:
    """Return points along a shape's outer edge at diameter 1, close enough for distances."""
    corners = contours(shape, angle, 1.0, np.zeros(2), (1.0, 1.0))[0]
    following = np.roll(corners, -1, axis=0)
    count = 1 if len(corners) > 20 else max(3, 36 // len(corners))
    shares = (np.arange(count) / count)[:, None, None]
    return (corners + (following - corners) * shares).reshape(-1, 2)


def encounter(truth: Truth, i: int, j: int) -> str | None:
    """Return what two things do to each other.

    Returns:
        ``"behind"`` (the first goes behind the second), ``"front"``, ``"touch"`` (they touch
        and stay together), ``"follow"`` and ``"lead"`` (the first goes behind the second on its
        way, or before it), ``"apart"``, or None where it is not plain.
    """
    one, other = truth.scene.objects[i], truth.scene.objects[j]
    under = truth.visibility.under
    pair = {one.plan, other.plan}
    if pair == {"follow", "partner"}:
        plain = max(under[i, j].max(), under[j, i].max()) < 0.05
        return ("follow" if one.plan == "follow" else "lead") if plain else None
    both_seen = (truth.visibility.inside[[i, j]] > 0.95).all()
    if under[i, j].max() > 0.6:
        return "behind"
    if under[j, i].max() > 0.6:
        return "front"
    # Passing in front of something large covers little of it: count the smaller one's area.
    size = [thing.diameter**2 for thing in (one, other)]
    if under[i, j].max() * size[0] > 0.6 * size[1]:
        return "behind"
    if under[j, i].max() * size[1] > 0.6 * size[0]:
        return "front"
    if max(under[i, j].max(), under[j, i].max()) > 0.04:
        return None
    gap = gaps(truth, i, j)
    if gap.min() < 0.006 and pair in ({"meet", "partner"}, {"part", "partner"}):
        return "touch"
    return "apart" if gap.min() > 0.06 and both_seen else None


def relation(truth: Truth, i: int, j: int, t: int) -> str | None:
    """Return where a thing is from another in a frame.

    Returns:
        ``"left"``, ``"right"``, ``"above"`` or ``"below"``, or None where both are not plainly
        seen or it lies between.
    """
    if min(truth.visibility.seen[i, t], truth.visibility.seen[j, t]) < CLEAR:
        return None
    dx, dy = truth.centres[i, t] - truth.centres[j, t]
    if max(abs(dx), abs(dy)) < 0.2 or min(abs(dx), abs(dy)) > 0.5 * max(abs(dx), abs(dy)):
        return None
    if abs(dx) > abs(dy):
        return "right" if dx > 0 else "left"
    return "below" if dy > 0 else "above"


def corner(truth: Truth, k: int, t: int) -> str | None:
    """Return the quarter of the frame a thing is in (``"top left"``, …), or None near a middle."""
    x, y = truth.centres[k, t] / np.array([truth.scene.aspect, 1.0])
    if truth.visibility.seen[k, t] < CLEAR or min(abs(x - 0.5), abs(y - 0.5)) < 0.09:
        return None
    return f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"


def trend(truth: Truth, i: int, j: int) -> str | None:
    """Return how the distance of two things changes.

    Returns:
        ``"closer"``, ``"farther"``, ``"same"``, ``"closer then farther"``, or None.
    """
    if not all(at_start(truth, k) and at_end(truth, k) for k in (i, j)):
        return None
    apart = np.linalg.norm(truth.centres[i] - truth.centres[j], axis=1)
    first, last, low, high = apart[0], apart[-1], apart.min(), apart.max()
    if high - low < 0.035:
        return "same"
    when = int(np.argmin(apart)) / len(apart)
    if min(first, last) - low > 0.14 and high - max(first, last) < 0.05:
        return "closer then farther" if 0.25 < when < 0.75 else None
    if abs(first - last) < 0.16 or low < min(first, last) - 0.04 or high > max(first, last) + 0.04:
        return None
    return "closer" if last < first else "farther"


def next_edge(truth: Truth, k: int) -> str | None:
    """Return the edge a thing will reach if it goes on as it does at the end, or None."""
    act = last_act(truth, k)
    if act is None or act in ("still", "circle"):
        return None
    x, y = truth.centres[k, -1]
    vx, vy = (float(v) + 1e-9 for v in truth.velocity[k, -1])
    wait = {
        "left" if vx < 0 else "right": (x if vx < 0 else truth.scene.aspect - x)
        / max(abs(vx), 1e-9),
        "top" if vy < 0 else "bottom": (y if vy < 0 else 1 - y) / max(abs(vy), 1e-9),
    }
    first, second = sorted(wait, key=lambda side: wait[side])
    return first if wait[second] > 1.4 * wait[first] else None


def position_after(truth: Truth, k: int, seconds: float) -> tuple[float, float]:
    """Return where a thing is some seconds after the clip if it goes on as it does."""
    path = truth.scene.objects[k].path
    x, y = position(path, [truth.scene.duration_s + seconds])[0]
    return float(x), float(y)


@dataclass(frozen=True)
class Event:
    """Something that happens.

    Attributes:
        time_s: When.
        kind: ``"enters"``, ``"leaves"``, ``"starts"``, ``"stops"``, ``"turns"``, ``"bounces"``,
            ``"speeds up"``, ``"slows down"``, ``"hidden"``, ``"touches"``, ``"grows"``,
            ``"shrinks"`` or ``"recolored"``.
        object_id: To whom.
        other_id: By whom or with whom, where there is one.
        detail: Side, direction or colour, where there is one.
    """

    time_s: float
    kind: str
    object_id: int
    other_id: int | None = None
    detail: str = ""


def events(truth: Truth) -> list[Event]:
    """Return all that happens, in order of time."""
    found = []
    for k, thing in enumerate(truth.scene.objects):
        me = thing.object_id
        for kind, passage in (("enters", enters(truth, k)), ("leaves", leaves(truth, k))):
            if passage is not None:
                found.append(Event(passage[1], kind, me, None, passage[0]))
        phases = truth.phases(k)
        for before, after in pairwise(phases):
            kind = _change(before, after, thing.plan)
            found.append(Event(after.start_s, kind, me, None, after.act))
        for hiding in hidings(truth, k):
            found.append(Event(hiding.start_s, "hidden", me, hiding.by + 1))
        if thing.resize is not None:
            kind = "grows" if thing.resize.scale > 1 else "shrinks"
            found.append(Event(thing.resize.start_s, kind, me))
        if thing.recolor is not None:
            found.append(Event(thing.recolor.time_s, "recolored", me, None, thing.recolor.color))
        for j in range(k):
            if encounter(truth, k, j) == "touch":
                t = int(np.argmax(gaps(truth, k, j) < 0.006))
                found.append(Event(float(truth.times_s[t]), "touches", j + 1, me))
    return sorted(found, key=lambda event: (event.time_s, event.object_id, event.kind))


def _change(before: Phase, after: Phase, plan: str) -> str:
    if after.act == "still":
        return "stops"
    if before.act == "still":
        return "starts"
    if before.act == after.act:
        return "speeds up" if after.speed > before.speed else "slows down"
    return "bounces" if plan == "bounce" else "turns"


def to_dict(truth: Truth) -> dict[str, Any]:
    """Return scene, states and events as plain data for a JSON file.

    Per object and frame: centre and extent as shares of the frame, the visible share, the speed
    in frame heights a second, the heading in degrees (0 right, 90 down; None at rest), the colour.
    """
    labels, speed, heading = truth.labels, truth.speed, truth.heading
    tracks = []
    for k, thing in enumerate(truth.scene.objects):
        states = {
            "centre": np.round(labels.centre[k], 4).tolist(),
            "extent": np.round(labels.extent[k], 4).tolist(),
            "visible": np.round(labels.visible[k], 3).tolist(),
            "speed": np.round(speed[k], 4).tolist(),
            "heading": [None if np.isnan(v) else round(float(v), 1) for v in heading[k]],
            "color": [COLORS[c] for c in labels.color[k]],
        }
        phases = [
            {"act": p.act, "start_s": round(p.start_s, 4), "end_s": round(p.end_s, 4)}
            for p in truth.phases(k)
        ]
        about = {"object_id": thing.object_id, "phases": phases, "sight": sight(truth, k)}
        tracks.append({**about, **states})
    return {
        "scene": truth.scene.to_dict(),
        "objects": tracks,
        "events": [vars(event) for event in events(truth)],
    }


def opposite(one: str, other: str) -> bool:
    """Say whether two acts are opposite directions."""
    return one in OPPOSITE and OPPOSITE[one] == other


def crosswise(one: str, other: str) -> bool:
    """Say whether two acts are directions at a right angle."""
    if one not in DIRECTIONS or other not in DIRECTIONS:
        return False
    return abs(float(np.dot(DIRECTIONS[one], DIRECTIONS[other]))) < 0.1
