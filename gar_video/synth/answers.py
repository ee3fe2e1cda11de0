"""How answers are worded: for each family of answers and each key in it, several forms.

The same place in two lists of forms is the same manner of speaking, so that the four options of a
question can be put alike.
"""

from __future__ import annotations

from collections.abc import Callable

from gar_video.synth.appearance import COLORS, PATTERNS, SHAPES, SIZE_NAMES
from gar_video.synth.motion import DIRECTION_NAMES

#: An object's name for a place in the question: "a" -> "<2>".
Names = dict[str, str]


def article(word: str) -> str:
    """Return the indefinite article with its word."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def way(act: str) -> str:
    """Return a direction as an adverb: ``"left"``, ``"up and to the left"``."""
    return act.replace(" ", " and to the ")


def moves(act: str) -> str:
    """Return an act as a verb: ``"moves left"``, ``"stays still"``, ``"moves in a circle"``."""
    if act == "still":
        return "stays still"
    return "moves in a circle" if act == "circle" else f"moves {way(act)}"


def moving(act: str) -> str:
    """Return an act as a participle."""
    if act == "still":
        return "standing still"
    return "moving in a circle" if act == "circle" else f"moving {way(act)}"


def brief(act: str) -> str:
    """Return an act in the fewest words."""
    return "in a circle" if act == "circle" else way(act)


def _act(key: str) -> list[str]:
    return [brief(key), f"it {moves(key)}", moving(key)]


def _acts(key: str) -> list[str]:
    first, second = key.split("|")
    return [
        f"it {moves(first)}, then it {moves(second)}",
        f"{moving(first)}, then {moving(second)}",
        f"first {brief(first)}, then {brief(second)}",
    ]


_SIDE = {side: [side, f"the {side} side", f"the {side} edge"] for side in ("left", "right")}
_SIDE |= {side: [side, f"the {side} side", f"the {side} edge"] for side in ("top", "bottom")}

_CORNER = {
    f"{v} {h}": [f"{v} {h}", f"in the {v} {h} corner", f"it is at the {v} {h}"]
    for v in ("top", "bottom")
    for h in ("left", "right")
}

_SIGHT = {
    "always": ["the whole time", "all the time"],
    "start": ["only at the start", "only at the beginning"],
    "end": ["only at the end", "only in the end"],
    "start and end": ["at the start and at the end", "at the beginning and in the end"],
    "middle": ["only in the middle", "only in the middle part"],
}

#: Families whose answers name objects or are the same for all; formatted with the names.
TABLES: dict[str, dict[str, list[str]]] = {
    "color": {name: [name, f"it is {name}"] for name in COLORS},
    "shape": {name: [name, article(name), f"it is {article(name)}"] for name in SHAPES},
    "size": {name: [name, f"it is {name}"] for name in SIZE_NAMES},
    "pattern": {name: [name, f"it is {name}"] for name in PATTERNS},
    "act": {name: _act(name) for name in (*DIRECTION_NAMES, "still", "circle")},
    "side": _SIDE,
    "corner": _CORNER,
    "sight": _SIGHT,
    "one of three": {
        "a": ["{a}", "it is {a}"],
        "b": ["{b}", "it is {b}"],
        "c": ["{c}", "it is {c}"],
        "none": ["none of them", "it is none of them"],
    },
    "largest": {
        "a": ["{a}", "it is {a}"],
        "b": ["{b}", "it is {b}"],
        "c": ["{c}", "it is {c}"],
        "none": ["none: they have the same size", "it is none of them: all have the same size"],
    },
    "one of two": {
        "a": ["only {a}", "{a} alone"],
        "b": ["only {b}", "{b} alone"],
        "both": ["both", "both of them"],
        "none": ["neither", "neither of them"],
    },
    "where": {
        "left": ["left", "left of {b}", "to the left of it"],
        "right": ["right", "right of {b}", "to the right of it"],
        "above": ["above", "above {b}", "above it"],
        "below": ["below", "below {b}", "below it"],
    },
    "meet": {
        "touch": ["they touch", "{a} touches {b}"],
        "behind": ["{a} goes behind {b}", "{a} is hidden by {b} for some time"],
        "front": ["{a} goes in front of {b}", "{b} is hidden by {a} for some time"],
        "apart": ["they stay apart", "{a} stays away from {b}"],
        "follow": ["{a} follows {b}", "{a} goes the way of {b} after it"],
        "lead": ["{b} follows {a}", "{b} goes the way of {a} after it"],
    },
    "trend": {
        "closer": ["they get closer", "it gets smaller"],
        "farther": ["they get farther apart", "it gets larger"],
        "same": ["it stays the same", "it does not change"],
        "closer then farther": [
            "they get closer, then farther apart",
            "it gets smaller, then larger",
        ],
    },
    "common": {
        "color": ["only the color", "the colour, but not the shape"],
        "shape": ["only the shape", "the shape, but not the colour"],
        "both": ["both color and shape", "the colour and the shape"],
        "none": ["neither color nor shape", "not the colour and not the shape"],
    },
    "unseen": {
        "hidden": ["it is hidden behind another object", "another object hides it"],
        "left": ["it leaves the picture", "it goes out of the picture"],
        "late": ["it comes into the picture later", "it is not there at the start"],
        "always": ["it can be seen all the time", "it is never out of sight"],
    },
    "same way": {
        "same": ["the same direction", "they move the same way"],
        "opposite": ["opposite directions", "they move opposite ways"],
        "across": ["directions at a right angle", "they move at a right angle to each other"],
        "still": ["at least one stays still", "not both of them move"],
    },
    "stop": {
        "touch": ["it comes to another object", "it touches another object"],
        "hide": ["it is behind another object", "it goes behind another object and stays there"],
        "alone": ["it stops away from all objects", "nothing is near: it stops alone"],
        "never": ["it does not stop", "it is still moving at the end"],
    },
    "change": {
        "grows": ["it grows", "it gets larger"],
        "shrinks": ["it shrinks", "it gets smaller"],
        "color": ["its color changes", "it turns another colour"],
        "nothing": ["nothing changes", "it looks the same all the time"],
    },
    "speed": {
        "faster": ["it gets faster", "first slow, then fast"],
        "slower": ["it gets slower", "first fast, then slow"],
        "steady": ["its speed stays the same", "it moves at the same speed all the time"],
        "none": ["it does not move", "it stays still all the time"],
    },
}

_MAKERS: dict[str, Callable[[str], list[str]]] = {"acts": _acts, "text": lambda key: [key]}


def forms(family: str, key: str, names: Names) -> list[str]:
    """Return all ways to give an answer.

    Args:
        family: A key of ``TABLES``, ``"acts"`` or ``"text"``.
        key: The answer's key in it.
        names: Object tags for the letters that a form may mention.

    Returns:
        The forms, the plainest first.
    """
    if family in _MAKERS:
        return _MAKERS[family](key)
    texts = TABLES[family][key]
    return [text.format(**names) if "{" in text else text for text in texts]
