"""Kinds of questions: what each asks, of how many things, and what the truth answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from gar_video.synth import events
from gar_video.synth.answers import TABLES, moves
from gar_video.synth.appearance import COLORS, PATTERNS, SIZE_NAMES, color_names, shape_names
from gar_video.synth.motion import DIRECTION_NAMES
from gar_video.synth.truth import Truth

BASIC = "Basic Questions"
SEQUENTIAL = "Sequential Questions"
RELATIONSHIP = "Relationship Questions"
REASONING = "Reasoning Questions"
FUTURE = "Future Predictions"
TYPES = (BASIC, SEQUENTIAL, RELATIONSHIP, REASONING, FUTURE)

Places = tuple[int, ...]
#: The key of the true answer for things at some places, or None where it is not plain. The last
#: argument is what is asked for (a colour, a motion), where a question names it.
Answerer = Callable[[Truth, Places, str], "str | None"]
Chooser = Callable[[np.random.Generator, Truth, str], "list[str]"]
Asker = Callable[[np.random.Generator, Truth, Places], "str | None"]


@dataclass(frozen=True)
class Kind:
    """A kind of question.

    Attributes:
        name: Its name, a key of the wordings.
        type: One of the five BenchQ types.
        things: How many things it names.
        answer: Gives the key of the true answer.
        family: Family of its answers' wording.
        options: Draws the keys of the four options, given the true one.
        ask: Draws what is asked for, where the question names it; None gives up.
        full_only: Only asked on the full level.
        choice: It can be put as a multiple choice.
        open: It can be put without options.
        group: Names the class within which answers are equally frequent by symmetry.
    """

    name: str
    type: str
    things: int
    answer: Answerer
    family: str
    options: Chooser
    ask: Asker | None = None
    full_only: bool = False
    choice: bool = True
    open: bool = True
    group: Callable[[str], str] = field(default=lambda key: key)


def _pick(rng: np.random.Generator, among: list[str], count: int) -> list[str]:
    return [among[int(i)] for i in rng.choice(len(among), size=count, replace=False)]


def _from(pool: Callable[[str], tuple[str, ...]]) -> Chooser:
    """Draw three more from the level's pool."""

    def choose(rng: np.random.Generator, truth: Truth, key: str) -> list[str]:
        others = [name for name in pool(truth.scene.level) if name != key]
        return [key, *_pick(rng, others, 3)]

    return choose


def _all(family: str) -> Chooser:
    """Take the whole family; of a larger one the answer and three others."""
    keys = tuple(TABLES[family])
    return _from(lambda _level: keys)


def act_names(level: str) -> tuple[str, ...]:
    """Return what a thing can do at a time on a level."""
    if level == "full":
        return (*DIRECTION_NAMES, "still", "circle")
    return (*DIRECTION_NAMES[:4], "still")


def _sights(level: str) -> tuple[str, ...]:
    names = tuple(TABLES["sight"])
    return names if level == "full" else names[:4]


def _meetings(level: str) -> tuple[str, ...]:
    names = tuple(TABLES["meet"])
    return names if level == "full" else names[:4]


_colors, _shapes = _from(color_names), _from(shape_names)
_acts = _from(act_names)


def _direction_group(key: str) -> str:
    """Directions along the axes are equally frequent, and so are slanting ones."""
    parts = []
    for act in key.split("|"):
        kind = "slant" if " " in act else "axis"
        parts.append(kind if act in DIRECTION_NAMES else act)
    if parts == ["axis", "axis"]:
        return "back" if events.opposite(*key.split("|")) else "turn"
    return "|".join(parts)


# --- Basic ---


def _color(truth: Truth, at: Places, _x: str) -> str | None:
    thing = truth.scene.objects[at[0]]
    return thing.color if thing.recolor is None else None


def _shape(truth: Truth, at: Places, _x: str) -> str | None:
    return truth.scene.objects[at[0]].shape


def _size(truth: Truth, at: Places, _x: str) -> str | None:
    thing = truth.scene.objects[at[0]]
    return thing.size if thing.resize is None else None


def _look(truth: Truth, at: Places, x: str) -> str | None:
    thing = truth.scene.objects[at[0]]
    if thing.resize is not None or thing.recolor is not None:
        return None
    if x == "shape":
        return f"a {thing.size} {thing.shape}"
    return f"a {thing.size} {thing.color} object"


def _look_by(rng: np.random.Generator, _truth: Truth, _at: Places) -> str:
    return ("shape", "color")[int(rng.integers(2))]


def _look_group(key: str) -> str:
    """Sizes and shapes are not equally frequent, nor independent; colours are."""
    return key.split(" ")[1] + " object" if key.endswith(" object") else key


def _look_options(rng: np.random.Generator, truth: Truth, key: str) -> list[str]:
    """Cross two sizes with two shapes or colours: no option is in the middle."""
    size, other = key.split(" ")[1:3]
    suffix = " object" if key.endswith(" object") else ""
    names = color_names(truth.scene.level) if suffix else shape_names(truth.scene.level)
    (size2,) = _pick(rng, [name for name in SIZE_NAMES if name != size], 1)
    (other2,) = _pick(rng, [name for name in names if name != other], 1)
    return [f"a {s} {o}{suffix}" for s in (size, size2) for o in (other, other2)]


def _pattern(truth: Truth, at: Places, _x: str) -> str | None:
    return truth.scene.objects[at[0]].pattern


def _place_start(truth: Truth, at: Places, _x: str) -> str | None:
    return events.corner(truth, at[0], 0)


def _place_end(truth: Truth, at: Places, _x: str) -> str | None:
    return events.corner(truth, at[0], -1)


def _direction(truth: Truth, at: Places, _x: str) -> str | None:
    acts = events.acts(truth, at[0])
    return acts[0] if acts and len(acts) == 1 else None


def _which(value: Callable[[Truth, int], str | None]) -> Answerer:
    """Answer which one of three things has something that is asked for."""

    def answer(truth: Truth, at: Places, x: str) -> str | None:
        values = [value(truth, k) for k in at]
        if None in values or values.count(x) > 1:
            return None
        return "abc"[values.index(x)] if x in values else "none"

    return answer


def _ask_which(
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


def _color_of(truth: Truth, k: int) -> str | None:
    return _color(truth, (k,), "")


def _shape_of(truth: Truth, k: int) -> str | None:
    return truth.scene.objects[k].shape


def _which_moves(truth: Truth, at: Places, x: str) -> str | None:
    """Answer who does nothing but move that way, if nobody else does so even for a while."""
    acts = [[phase.act for phase in truth.phases(k)] for k in at]
    does = [x in mine for mine in acts]
    if not any(does):
        return "none"
    k = does.index(True)
    plain = does.count(True) == 1 and events.acts(truth, at[k]) == [x]
    return "abc"[k] if plain else None


def _ask_which_moves(rng: np.random.Generator, truth: Truth, at: Places) -> str | None:
    target, names = int(rng.integers(4)), _straight(truth.scene.level)
    if target < 3:
        acts = events.acts(truth, at[target])
        x = acts[0] if acts and len(acts) == 1 else None
        return x if x in names and _which_moves(truth, at, x) == "abc"[target] else None
    absent = [name for name in names if _which_moves(truth, at, name) == "none"]
    return absent[int(rng.integers(len(absent)))] if absent else None


def _direction_of(truth: Truth, k: int) -> str | None:
    return _direction(truth, (k,), "")


# --- Sequential ---


def _first_then(truth: Truth, at: Places, _x: str) -> str | None:
    acts = events.acts(truth, at[0])
    if not acts or len(acts) != 2 or acts[0] == acts[1]:
        return None
    return "|".join(acts)


def _first_then_options(rng: np.random.Generator, truth: Truth, key: str) -> list[str]:
    """Either cross two beginnings with two ends, or put two pairs both ways round."""
    a, b = key.split("|")
    others = [name for name in act_names(truth.scene.level) if name not in (a, b, "circle")]
    c, d = _pick(rng, others, 2)
    if rng.random() < 0.5:
        return [f"{first}|{second}" for first in (a, c) for second in (b, d)]
    return [f"{a}|{b}", f"{b}|{a}", f"{c}|{d}", f"{d}|{c}"]


def _moving(act: str | None) -> bool | None:
    return None if act is None else act != "still"


def _who_moves(act: Callable[[Truth, int], str | None]) -> Answerer:
    def answer(truth: Truth, at: Places, _x: str) -> str | None:
        one, other = (_moving(act(truth, k)) for k in at)
        if one is None or other is None:
            return None
        return {(True, False): "a", (False, True): "b", (True, True): "both"}.get(
            (one, other), "none"
        )

    return answer


def _pair_group(key: str) -> str:
    return "one" if key in ("a", "b", "c") else key


def _enter_side(truth: Truth, at: Places, _x: str) -> str | None:
    passage = events.enters(truth, at[0])
    return passage[0] if passage else None


def _leave_side(truth: Truth, at: Places, _x: str) -> str | None:
    passage = events.leaves(truth, at[0])
    return passage[0] if passage else None


def _color_end(truth: Truth, at: Places, _x: str) -> str | None:
    thing = truth.scene.objects[at[0]]
    return thing.recolor.color if thing.recolor and events.at_end(truth, at[0]) else None


def _change(truth: Truth, at: Places, _x: str) -> str | None:
    thing = truth.scene.objects[at[0]]
    if truth.visibility.seen[at[0]].min() < events.CLEAR:
        return None
    if thing.resize is not None:
        return "grows" if thing.resize.scale > 1 else "shrinks"
    return "color" if thing.recolor is not None else "nothing"


def _speed(truth: Truth, at: Places, _x: str) -> str | None:
    phases = truth.phases(at[0])
    if not phases or not all(events.clear(truth, phase) for phase in phases):
        return None
    if len(phases) == 1:
        return "none" if phases[0].act == "still" else "steady"
    if len(phases) != 2 or phases[0].act != phases[1].act:
        return None
    return "faster" if phases[1].speed > phases[0].speed else "slower"


# --- Relationship, reasoning, future ---


def _where_start(truth: Truth, at: Places, _x: str) -> str | None:
    return events.relation(truth, at[0], at[1], 0)


def _where_end(truth: Truth, at: Places, _x: str) -> str | None:
    return events.relation(truth, at[0], at[1], -1)


def _meet(truth: Truth, at: Places, _x: str) -> str | None:
    return events.encounter(truth, at[0], at[1])


def _distance(truth: Truth, at: Places, _x: str) -> str | None:
    return events.trend(truth, at[0], at[1])


def _largest(truth: Truth, at: Places, _x: str) -> str | None:
    sizes = [_size(truth, (k,), "") for k in at]
    if None in sizes:
        return None
    ranks = [SIZE_NAMES.index(str(size)) for size in sizes]
    if len(set(ranks)) == 1:
        return "none"
    return "abc"[ranks.index(max(ranks))] if ranks.count(max(ranks)) == 1 else None


def _in_common(truth: Truth, at: Places, _x: str) -> str | None:
    colors = [_color_of(truth, k) for k in at]
    if None in colors:
        return None
    color = colors[0] == colors[1]
    shape = _shape_of(truth, at[0]) == _shape_of(truth, at[1])
    if color:
        return "both" if shape else "color"
    return "shape" if shape else "none"


def _why_unseen(truth: Truth, at: Places, _x: str) -> str | None:
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


def _same_way(truth: Truth, at: Places, _x: str) -> str | None:
    one, other = (_direction_of(truth, k) for k in at)
    if one is None or other is None or "circle" in (one, other):
        return None
    if "still" in (one, other):
        return "still"
    if one == other:
        return "same"
    if events.opposite(one, other):
        return "opposite"
    return "across" if events.crosswise(one, other) else None


def _why_stop(truth: Truth, at: Places, _x: str) -> str | None:
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


def _next_move(truth: Truth, at: Places, _x: str) -> str | None:
    return events.last_act(truth, at[0])


def _next_edge(truth: Truth, at: Places, _x: str) -> str | None:
    return events.next_edge(truth, at[0])


def _will_leave(truth: Truth, at: Places, _x: str) -> str | None:
    acts = [events.last_act(truth, k) for k in at]
    return None if "circle" in acts else _who_moves(events.last_act)(truth, at, "")


def _straight(level: str) -> tuple[str, ...]:
    return DIRECTION_NAMES if level == "full" else DIRECTION_NAMES[:4]


def _kinds() -> list[Kind]:
    side, three = _all("side"), _all("one of three")
    return [
        Kind("color", BASIC, 1, _color, "color", _colors),
        Kind("shape", BASIC, 1, _shape, "shape", _shapes),
        Kind("size", BASIC, 1, _size, "size", _all("side"), choice=False),
        Kind("pattern", BASIC, 1, _pattern, "pattern", _from(lambda _: PATTERNS), full_only=True),
        Kind(
            "look", BASIC, 1, _look, "text", _look_options, _look_by, open=False, group=_look_group
        ),
        Kind("place start", BASIC, 1, _place_start, "corner", _all("corner")),
        Kind("place end", BASIC, 1, _place_end, "corner", _all("corner")),
        Kind("direction", BASIC, 1, _direction, "act", _acts, group=_direction_group),
        Kind(
            "which color",
            BASIC,
            3,
            _which(_color_of),
            "one of three",
            three,
            _ask_which(_color_of, color_names),
            group=_pair_group,
        ),
        Kind(
            "which shape",
            BASIC,
            3,
            _which(_shape_of),
            "one of three",
            three,
            _ask_which(_shape_of, shape_names),
            group=_pair_group,
        ),
        Kind(
            "first then",
            SEQUENTIAL,
            1,
            _first_then,
            "acts",
            _first_then_options,
            group=_direction_group,
        ),
        Kind(
            "first", SEQUENTIAL, 1, _act_at(events.first_act), "act", _acts, group=_direction_group
        ),
        Kind("last", SEQUENTIAL, 1, _act_at(events.last_act), "act", _acts, group=_direction_group),
        Kind("enter side", SEQUENTIAL, 1, _enter_side, "side", side),
        Kind("leave side", SEQUENTIAL, 1, _leave_side, "side", side),
        Kind("seen when", SEQUENTIAL, 1, _seen_when, "sight", _from(_sights)),
        Kind(
            "moving start",
            SEQUENTIAL,
            2,
            _who_moves(events.first_act),
            "one of two",
            _all("one of two"),
            group=_pair_group,
        ),
        Kind(
            "moving end",
            SEQUENTIAL,
            2,
            _who_moves(events.last_act),
            "one of two",
            _all("one of two"),
            group=_pair_group,
        ),
        Kind(
            "color end", SEQUENTIAL, 1, _color_end, "color", _from(lambda _: COLORS), full_only=True
        ),
        Kind("change", SEQUENTIAL, 1, _change, "change", _all("change"), full_only=True),
        Kind("speed", SEQUENTIAL, 1, _speed, "speed", _all("speed"), full_only=True),
        Kind("where start", RELATIONSHIP, 2, _where_start, "where", _all("where")),
        Kind("where end", RELATIONSHIP, 2, _where_end, "where", _all("where")),
        Kind("meet", RELATIONSHIP, 2, _meet, "meet", _from(_meetings)),
        Kind("distance", RELATIONSHIP, 2, _distance, "trend", _all("trend")),
        Kind("largest", RELATIONSHIP, 3, _largest, "largest", _all("largest"), group=_pair_group),
        Kind("in common", REASONING, 2, _in_common, "common", _all("common")),
        Kind("why unseen", REASONING, 1, _why_unseen, "unseen", _all("unseen")),
        Kind("same way", REASONING, 2, _same_way, "same way", _all("same way")),
        Kind("why stop", REASONING, 1, _why_stop, "stop", _all("stop")),
        Kind(
            "which moves",
            REASONING,
            3,
            _which_moves,
            "one of three",
            three,
            _ask_which_moves,
            group=_pair_group,
        ),
        Kind("next move", FUTURE, 1, _next_move, "act", _acts, group=_direction_group),
        Kind("next edge", FUTURE, 1, _next_edge, "side", side),
        Kind(
            "will leave",
            FUTURE,
            2,
            _will_leave,
            "one of two",
            _all("one of two"),
            group=_pair_group,
        ),
    ]


def _act_at(act: Callable[[Truth, int], str | None]) -> Answerer:
    def answer(truth: Truth, at: Places, _x: str) -> str | None:
        return act(truth, at[0])

    return answer


def _seen_when(truth: Truth, at: Places, _x: str) -> str | None:
    return events.sight(truth, at[0])


KINDS: dict[str, Kind] = {kind.name: kind for kind in _kinds()}


def asked(kind: Kind, x: str) -> str:
    """Return how a question puts what it asks for."""
    return moves(x) if kind.name == "which moves" else x


__all__ = ["KINDS", "TYPES", "Kind", "act_names", "asked"]
