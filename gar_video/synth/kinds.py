"""Kinds of questions: what each asks, of how many things, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gar_video.synth import answering as true
from gar_video.synth import events, options
from gar_video.synth.answering import Answerer, Asker, Places
from gar_video.synth.answers import moves
from gar_video.synth.appearance import COLORS, PATTERNS, color_names, shape_names
from gar_video.synth.options import Chooser, draw_all, draw_from

TYPES = (
    "Basic Questions",
    "Sequential Questions",
    "Relationship Questions",
    "Reasoning Questions",
    "Future Predictions",
)


@dataclass(frozen=True)
class Kind:
    """A kind of question.

    Attributes:
        name: Its name, a key of the wordings.
        type: One of the five BenchQ types.
        things: How many things it names.
        answer: Gives the key of the true answer.
        family: Family of its answers' wording.
        options: Draws the keys of the four options, given the true one; None for a kind that is
            only asked openly.
        ask: Draws what is asked for, where the question names it; None gives up.
        full_only: Only asked on the full level.
        open: It can be put without options.
        group: Names the class within which answers are equally frequent by symmetry.
    """

    name: str
    type: str
    things: int
    answer: Answerer
    family: str
    options: Chooser | None
    ask: Asker | None = None
    full_only: bool = False
    open: bool = True
    group: Callable[[str], str] = field(default=lambda key: key)

    @property
    def needs_context(self) -> bool:
        """Whether the answer cannot be read from the regions alone, each by itself.

        Looks can; where something is, how it moves and what is around it need the whole frame.
        """
        return self.name not in _LOOKS


_LOOKS = ("color", "shape", "size", "pattern", "look", "which color", "which shape", "in common")
_ACTS, _SIDES = draw_from(options.act_names), draw_all("side")
_COLORS, _SHAPES = draw_from(color_names), draw_from(shape_names)
_PATTERNS, _ANY_COLOR = draw_from(lambda _: PATTERNS), draw_from(lambda _: COLORS)
_CORNERS, _WHERES = draw_all("corner"), draw_all("where")
_TWO, _THREE = draw_all("one of two"), draw_all("one of three")
_EVENLY, _NUMBER, _DIRECTION = options.evenly, options.by_number, options.by_direction


def _basic() -> list[Kind]:
    def kind(name: str, things: int, *rest: Any, **more: Any) -> Kind:
        return Kind(name, TYPES[0], things, *rest, **more)

    color_of, shape_of = true.color_of, true.shape_of
    ask_color = true.ask_which(color_of, color_names)
    ask_shape = true.ask_which(shape_of, shape_names)
    look, by_pattern = options.look_options, options.by_pattern
    which_color, which_shape = true.which(color_of), true.which(shape_of)
    return [
        kind("color", 1, true.color, "color", _COLORS, group=_EVENLY),
        kind("shape", 1, true.shape, "shape", _SHAPES, group=options.by_shape),
        kind("size", 1, true.size, "size", None),
        kind("pattern", 1, true.pattern, "pattern", _PATTERNS, full_only=True, group=by_pattern),
        kind("look", 1, true.look, "text", look, true.look_by, open=False, group=options.by_look),
        kind("place start", 1, true.place_start, "corner", _CORNERS, group=_EVENLY),
        kind("place end", 1, true.place_end, "corner", _CORNERS, group=_EVENLY),
        kind("direction", 1, true.direction, "act", _ACTS, group=_DIRECTION),
        kind("which color", 3, which_color, "one of three", _THREE, ask_color, group=_NUMBER),
        kind("which shape", 3, which_shape, "one of three", _THREE, ask_shape, group=_NUMBER),
    ]


def _sequential() -> list[Kind]:
    def kind(name: str, things: int, *rest: Any, **more: Any) -> Kind:
        return Kind(name, TYPES[1], things, *rest, **more)

    first, last = events.first_act, events.last_act
    sequence = options.first_then_options
    return [
        kind("first then", 1, true.first_then, "acts", sequence, group=_DIRECTION),
        kind("first", 1, true.act_at(first), "act", _ACTS, group=_DIRECTION),
        kind("last", 1, true.act_at(last), "act", _ACTS, group=_DIRECTION),
        kind("enter side", 1, true.enter_side, "side", _SIDES, group=_EVENLY),
        kind("leave side", 1, true.leave_side, "side", _SIDES, group=_EVENLY),
        kind("seen when", 1, true.seen_when, "sight", draw_from(options.sights)),
        kind("moving start", 2, true.who_moves(first), "one of two", _TWO, group=_NUMBER),
        kind("moving end", 2, true.who_moves(last), "one of two", _TWO, group=_NUMBER),
        kind("color end", 1, true.color_end, "color", _ANY_COLOR, full_only=True, group=_EVENLY),
        kind("change", 1, true.change, "change", draw_all("change"), full_only=True),
        kind("speed", 1, true.speed, "speed", draw_all("speed"), full_only=True),
    ]


def _others() -> list[Kind]:
    _, _, relationship, reasoning, future = TYPES
    which, moves, size = true.which_moves, true.ask_which_moves, draw_all("largest")
    return [
        Kind("where start", relationship, 2, true.where_start, "where", _WHERES, group=_EVENLY),
        Kind("where end", relationship, 2, true.where_end, "where", _WHERES, group=_EVENLY),
        Kind("meet", relationship, 2, true.meet, "meet", draw_from(options.meetings)),
        Kind("distance", relationship, 2, true.distance, "trend", draw_all("trend")),
        Kind("largest", relationship, 3, true.largest, "largest", size, group=_NUMBER),
        Kind("in common", reasoning, 2, true.in_common, "common", draw_all("common")),
        Kind("why unseen", reasoning, 1, true.why_unseen, "unseen", draw_all("unseen")),
        Kind("same way", reasoning, 2, true.same_way, "same way", draw_all("same way")),
        Kind("why stop", reasoning, 1, true.why_stop, "stop", draw_all("stop")),
        Kind("which moves", reasoning, 3, which, "one of three", _THREE, moves, group=_NUMBER),
        Kind("next move", future, 1, true.next_move, "act", _ACTS, group=_DIRECTION),
        Kind("next edge", future, 1, true.next_edge, "side", _SIDES, group=_EVENLY),
        Kind("will leave", future, 2, true.will_leave, "one of two", _TWO, group=_NUMBER),
    ]


KINDS: dict[str, Kind] = {kind.name: kind for kind in (*_basic(), *_sequential(), *_others())}


def asked(kind: Kind, x: str) -> str:
    """Return how a question puts what it asks for."""
    return moves(x) if kind.name == "which moves" else x


__all__ = ["KINDS", "TYPES", "Kind", "Places", "asked"]
