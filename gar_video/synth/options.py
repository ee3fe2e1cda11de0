"""The options of questions: which answers stand beside the true one.

Every chooser draws any four as often from one of them as from another, so that, where all answers
are equally frequent, no option stands out among its three neighbours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from gar_video.synth import events
from gar_video.synth.answers import TABLES
from gar_video.synth.appearance import SIZE_NAMES, color_names, shape_names
from gar_video.synth.motion import DIRECTION_NAMES, OPPOSITE
from gar_video.synth.truth import Truth

#: Draws the keys of four options, the true one first.
Chooser = Callable[[np.random.Generator, Truth, str], "list[str]"]


def pick(rng: np.random.Generator, among: list[str], count: int) -> list[str]:
    """Draw some of a list, without repeats."""
    return [among[int(i)] for i in rng.choice(len(among), size=count, replace=False)]


def draw_from(pool: Callable[[str], tuple[str, ...]]) -> Chooser:
    """Draw three more from the level's pool."""

    def choose(rng: np.random.Generator, truth: Truth, key: str) -> list[str]:
        others = [name for name in pool(truth.scene.level) if name != key]
        return [key, *pick(rng, others, 3)]

    return choose


def draw_all(family: str) -> Chooser:
    """Take the whole family; of a larger one the answer and three others."""
    keys = tuple(TABLES[family])
    return draw_from(lambda _level: keys)


def act_names(level: str) -> tuple[str, ...]:
    """Return what a thing can do at a time on a level."""
    if level == "full":
        return (*DIRECTION_NAMES, "still", "circle")
    return (*DIRECTION_NAMES[:4], "still")


def straight(level: str) -> tuple[str, ...]:
    """Return the directions of a level."""
    return DIRECTION_NAMES if level == "full" else DIRECTION_NAMES[:4]


def sights(level: str) -> tuple[str, ...]:
    """Return the times of being seen that a level has."""
    names = tuple(TABLES["sight"])
    return names if level == "full" else names[:4]


def meetings(level: str) -> tuple[str, ...]:
    """Return what two things can do to each other on a level."""
    names = tuple(TABLES["meet"])
    return names if level == "full" else names[:4]


@functools.cache
def sequences(level: str) -> tuple[str, ...]:
    """Return the pairs of acts that can follow each other: with a rest, a turn or a bounce."""
    names = straight(level)
    pairs = [
        f"{one}|{other}" for name in names for one, other in ((name, "still"), ("still", name))
    ]
    pairs += [f"{one}|{other}" for one in names for other in names if events.crosswise(one, other)]
    pairs += [f"{one}|{OPPOSITE[one]}" for one in DIRECTION_NAMES[:4]]
    return tuple(pairs)


def look_options(rng: np.random.Generator, truth: Truth, key: str) -> list[str]:
    """Cross two sizes with two shapes or colours: no option is in the middle."""
    size, other = key.split(" ")[1:3]
    suffix = " object" if key.endswith(" object") else ""
    names = color_names(truth.scene.level) if suffix else shape_names(truth.scene.level)
    (size2,) = pick(rng, [name for name in SIZE_NAMES if name != size], 1)
    (other2,) = pick(rng, [name for name in names if name != other], 1)
    return [f"a {s} {o}{suffix}" for s in (size, size2) for o in (other, other2)]


def first_then_options(rng: np.random.Generator, truth: Truth, key: str) -> list[str]:
    """Put two pairs both ways round, or four that begin or end alike, or any four.

    Each way draws any of its four as often from any other of them, so none stands out.
    """
    known = [name for name in sequences(truth.scene.level) if name != key]
    a, b = key.split("|")
    manner = rng.random()
    if manner < 0.4:
        (other,) = pick(rng, [name for name in known if name != f"{b}|{a}"], 1)
        c, d = other.split("|")
        return [key, f"{b}|{a}", other, f"{d}|{c}"]
    alike = [name for name in known if name.startswith(f"{a}|")]
    if manner < 0.7 and len(alike) >= 3:
        return [key, *pick(rng, alike, 3)]
    return [key, *pick(rng, known, 3)]


def by_direction(key: str) -> str:
    """Directions along the axes are equally frequent, and so are slanting ones."""
    parts = []
    for act in key.split("|"):
        kind = "slant" if " " in act else "axis"
        parts.append(kind if act in DIRECTION_NAMES else act)
    if parts == ["axis", "axis"]:
        return "back" if events.opposite(*key.split("|")) else "turn"
    return "|".join(parts)


def by_shape(key: str) -> str:
    """What others hide behind is a circle or a square, so these are more frequent."""
    return "cover" if key in ("circle", "square") else "shape"


def by_look(key: str) -> str:
    """Sizes depend on the plan; shapes too, as ``by_shape``; colours do not."""
    size, other = key.split(" ")[1:3]
    return f"{size} {'object' if key.endswith(' object') else by_shape(other)}"


def by_pattern(key: str) -> str:
    """Plain is the most frequent; the others are alike."""
    return key if key == "plain" else "pattern"


def by_number(key: str) -> str:
    """One of the things, whichever, is alike; both and none are apart."""
    return "one" if key in ("a", "b", "c") else key


def evenly(_key: str) -> str:
    """All answers are equally frequent by symmetry."""
    return "any"
