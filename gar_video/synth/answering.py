"""The true answer to each kind of question, as a key; None where it is not plain to see.

Every function takes the truth, the places of the things in the order of their mention, and what is
asked for (a colour, an act) where the question names it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gar_video.synth import events
from gar_video.synth.appearance import SIZE_NAMES
from gar_video.synth.options import sequences, straight
from gar_video.synth.truth import Truth

Places = tuple[int, ...]
Answerer = Callable[[Truth, Places, str], "str | None"]
#: Draws what is asked for; None gives up.
Asker = Callable[[np.random.Generator, Truth, Places], "str | None"]


def color(truth: Truth, at: Places, _x: str) -> str | None:
    """Name a thing's colour, unless it changes."""
    thing = truth.scene.objects[at[0]]
    return thing.color if thing.recolor is None else None


def shape(truth: Truth, at: Places, _x: str) -> str | None:
    """Name a thing's shape."""
    return truth.scene.objects[at[0]].shape


def size(truth: Truth, at: Places, _x: str) -> str | None:
    """Name a thing's size, unless it changes."""
    thing = truth.scene.objects[at[0]]
    return thing.size if thing.resize is None else None


def look(truth: Truth, at: Places, x: str) -> str | None:
    """Describe a thing by its size and, as asked for, its shape or its colour."""
    thing = truth.scene.objects[at[0]]
    if thing.resize is not None or thing.recolor is not None:
        return None
    if x == "shape":
        return f"a {thing.size} {thing.shape}"
    return f"a {thing.size} {thing.color} object"


def look_by(rng: np.random.Generator, _truth: Truth, _at: Places) -> str:
    """Draw by what to describe a look, beside the size."""
    return ("shape", "color")[int(rng.integers(2))]


def pattern(truth: Truth, at: Places, _x: str) -> str | None:
    """Name a thing's pattern."""
    return truth.scene.objects[at[0]].pattern


def place_start(truth: Truth, at: Places, _x: str) -> str | None:
    """Name the corner a thing begins in."""
    return events.corner(truth, at[0], 0)


def place_end(truth: Truth, at: Places, _x: str) -> str | None:
    """Name the corner a thing ends in."""
    return events.corner(truth, at[0], -1)


def direction(truth: Truth, at: Places, _x: str) -> str | None:
    """Name the one act of a thing that does nothing else."""
    acts = events.acts(truth, at[0])
    return acts[0] if acts and len(acts) == 1 else None


def which(value: Callable[[Truth, int], str | None]) -> Answerer:
    """Answer which one of three things has something that is asked for."""

    def answer(truth: Truth, at: Places, x: str) -> str | None:
        values = [value(truth, k) for k in at]
        if None in values or values.count(x) > 1:
            return None
        return "abc"[values.index(x)] if x in values else "none"

    return answer


def ask_which(
    value: Callable[[Truth, int], str | None], pool: Callable[[str], tuple[str, ...]]
) -> Asker:
    """Draw who shall be the answer, or nobody, and what to ask for accordingly."""

    def ask(rng: np.random.Generator, truth: Truth, at: Places) -> str | None:
        values = [value(truth, k) for k in at]
        target = int(rng.integers(4))
        names = pool(truth.scene.level)
        if target == 3:
            absent = [name for name in names if name not in values]
            return absent[int(rng.integers(len(absent)))] if absent else None
        x = values[target]
        return x if x in names and values.count(x) == 1 else None

    return ask


def color_of(truth: Truth, k: int) -> str | None:
    """Return the colour of a thing that keeps it."""
    return color(truth, (k,), "")


def shape_of(truth: Truth, k: int) -> str | None:
    """Return the shape of a thing."""
    return truth.scene.objects[k].shape


def which_moves(truth: Truth, at: Places, x: str) -> str | None:
    """Answer who does nothing but move that way, if nobody else does so even for a while."""
    acts = [[phase.act for phase in truth.phases(k)] for k in at]
    does = [x in mine for mine in acts]
    if not any(does):
        return "none"
    k = does.index(True)
    plain = does.count(True) == 1 and events.acts(truth, at[k]) == [x]
    return "abc"[k] if plain else None


def ask_which_moves(rng: np.random.Generator, truth: Truth, at: Places) -> str | None:
    """Draw who shall be the answer, or nobody, and the direction accordingly."""
    target, names = int(rng.integers(4)), straight(truth.scene.level)
    if target < 3:
        acts = events.acts(truth, at[target])
        x = acts[0] if acts and len(acts) == 1 else None
        return x if x in names and which_moves(truth, at, x) == "abc"[target] else None
    absent = [name for name in names if which_moves(truth, at, name) == "none"]
    return absent[int(rng.integers(len(absent)))] if absent else None


def direction_of(truth: Truth, k: int) -> str | None:
    """Return the one act of a thing that does nothing else."""
    return direction(truth, (k,), "")


def first_then(truth: Truth, at: Places, _x: str) -> str | None:
    """Name the two acts of a thing that does just two."""
    acts = events.acts(truth, at[0])
    key = "|".join(acts or ())
    return key if key in sequences(truth.scene.level) else None


def act_at(act: Callable[[Truth, int], str | None]) -> Answerer:
    """Answer with an act that is read of one thing."""

    def answer(truth: Truth, at: Places, _x: str) -> str | None:
        return act(truth, at[0])

    return answer


def _moving(act: str | None) -> bool | None:
    return None if act is None else act != "still"


def who_moves(act: Callable[[Truth, int], str | None]) -> Answerer:
    """Answer which of two things moves at a time: one, both or none."""

    def answer(truth: Truth, at: Places, _x: str) -> str | None:
        one, other = (_moving(act(truth, k)) for k in at)
        if one is None or other is None:
            return None
        return {(True, False): "a", (False, True): "b", (True, True): "both"}.get(
            (one, other), "none"
        )

    return answer


def enter_side(truth: Truth, at: Places, _x: str) -> str | None:
    """Name the side a thing comes in by."""
    passage = events.enters(truth, at[0])
    return passage[0] if passage else None


def leave_side(truth: Truth, at: Places, _x: str) -> str | None:
    """Name the side a thing leaves by."""
    passage = events.leaves(truth, at[0])
    return passage[0] if passage else None


def seen_when(truth: Truth, at: Places, _x: str) -> str | None:
    """Say when a thing can be seen."""
    return events.sight(truth, at[0])


def color_end(truth: Truth, at: Places, _x: str) -> str | None:
    """Name the colour a thing changes to."""
    thing = truth.scene.objects[at[0]]
    return thing.recolor.color if thing.recolor and events.at_end(truth, at[0]) else None


def change(truth: Truth, at: Places, _x: str) -> str | None:
    """Say what changes about a thing that is seen all the time."""
    thing = truth.scene.objects[at[0]]
    if truth.visibility.seen[at[0]].min() < events.CLEAR:
        return None
    if thing.resize is not None:
        return "grows" if thing.resize.scale > 1 else "shrinks"
    return "color" if thing.recolor is not None else "nothing"


def speed(truth: Truth, at: Places, _x: str) -> str | None:
    """Say how a thing's speed changes."""
    phases = truth.phases(at[0])
    if not phases or not all(events.clear(truth, phase) for phase in phases):
        return None
    if len(phases) == 1:
        return "none" if phases[0].act == "still" else "steady"
    if len(phases) != 2 or phases[0].act != phases[1].act:
        return None
    return "faster" if phases[1].speed > phases[0].speed else "slower"


def where_start(truth: Truth, at: Places, _x: str) -> str | None:
    """Say where a thing is from another at the start."""
    return events.relation(truth, at[0], at[1], 0)


def where_end(truth: Truth, at: Places, _x: str) -> str | None:
    """Say where a thing is from another at the end."""
    return events.relation(truth, at[0], at[1], -1)


def meet(truth: Truth, at: Places, _x: str) -> str | None:
    """Say what two things do to each other."""
    return events.encounter(truth, at[0], at[1])


def distance(truth: Truth, at: Places, _x: str) -> str | None:
    """Say how the distance of two things changes."""
    return events.trend(truth, at[0], at[1])


def largest(truth: Truth, at: Places, _x: str) -> str | None:
    """Name the largest of three, or none where all are of one size."""
    sizes = [size(truth, (k,), "") for k in at]
    if None in sizes:
        return None
    ranks = [SIZE_NAMES.index(str(size)) for size in sizes]
    if len(set(ranks)) == 1:
        return "none"
    return "abc"[ranks.index(max(ranks))] if ranks.count(max(ranks)) == 1 else None


def in_common(truth: Truth, at: Places, _x: str) -> str | None:
    """Say whether two things share colour, shape, both or neither."""
    colors = [color_of(truth, k) for k in at]
    if None in colors:
        return None
    color = colors[0] == colors[1]
    shape = shape_of(truth, at[0]) == shape_of(truth, at[1])
    if color:
        return "both" if shape else "color"
    return "shape" if shape else "none"


def why_unseen(truth: Truth, at: Places, _x: str) -> str | None:
    """Give the reason a thing is not seen for some time, if there is one reason."""
    when = events.sight(truth, at[0])
    if when in ("always", None):
        return when
    late, left = events.enters(truth, at[0]), events.leaves(truth, at[0])
    inside = bool((truth.visibility.inside[at[0]] > 0.9).all())
    if inside:
        return "hidden"
    if late and not left and when == "end":
        return "late"
    return "left" if left and not late and when == "start" else None


def same_way(truth: Truth, at: Places, _x: str) -> str | None:
    """Compare the directions of two things that each do one thing only."""
    one, other = (direction_of(truth, k) for k in at)
    if one is None or other is None or "circle" in (one, other):
        return None
    if "still" in (one, other):
        return "still"
    if one == other:
        return "same"
    if events.opposite(one, other):
        return "opposite"
    return "across" if events.crosswise(one, other) else None


def why_stop(truth: Truth, at: Places, _x: str) -> str | None:
    """Give the reason a moving thing stops."""
    k = at[0]
    phases = truth.phases(k)
    if not phases or phases[0].act == "still":
        return None
    if phases[-1].act != "still":
        alone = all(phase.act != "still" and events.clear(truth, phase) for phase in phases)
        return "never" if alone and events.at_end(truth, k) else None
    if len(phases) != 2 or not events.clear(truth, phases[0]):
        return None
    if any(hiding.stays and hiding.most > 0.9 for hiding in events.hidings(truth, k)):
        return "hide"
    if not events.at_end(truth, k):
        return None
    others = [j for j in range(truth.num_objects) if j != k]
    near = [float(events.gaps(truth, k, j)[-1]) for j in others]
    if truth.scene.objects[k].plan == "meet" and min(near) < 0.006:
        return "touch" if truth.visibility.under[[*others], k, -1].max() < 0.05 else None
    return "alone" if min(near, default=1.0) > 0.06 else None


def next_move(truth: Truth, at: Places, _x: str) -> str | None:
    """Say what a thing goes on doing after the clip."""
    return events.last_act(truth, at[0])


def next_edge(truth: Truth, at: Places, _x: str) -> str | None:
    """Name the edge a thing will reach."""
    return events.next_edge(truth, at[0])


def will_leave(truth: Truth, at: Places, _x: str) -> str | None:
    """Say which of two things will leave the frame if both go on."""
    acts = [events.last_act(truth, k) for k in at]
    return None if "circle" in acts else who_moves(events.last_act)(truth, at, "")
