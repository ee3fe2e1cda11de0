"""Descriptions of rendered things, and what a description says when read back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from gar_video.synth import events
from gar_video.synth.answers import article, moves, way
from gar_video.synth.appearance import COLORS, PATTERNS, SHAPES, SIZE_NAMES
from gar_video.synth.motion import DIRECTION_NAMES
from gar_video.synth.truth import Truth

#: How to ask for a description; the last two are kept out of training.
PROMPTS = (
    "Describe {a}.",
    "Describe {a} in detail.",
    "Describe this masked region in detail.",
    "What is {a} and what does it do?",
    "What do you see of {a}?",
    "Tell me about {a}.",
    "{a}: describe it.",
    "Say what {a} looks like and how it moves.",
    "Describe the object marked {a} in this video.",
    "Look at {a} through the whole video and describe it.",
    # kept out
    "Tell me what {a} looks like and what it does.",
    "Describe in detail the object marked {a}.",
)

#: How a description begins; ``{np}`` is the thing with its article, ``{does}`` what it does.
STYLES = (
    "{np} that {does}.",
    "{np}. It {does}.",
    "This is {np} that {does}.",
    "It is {np}. It {does}.",
    # kept out
    "This is {np}. It {does}.",
    "It is {np} that {does}.",
)
HELD_OUT = 2

#: Every verb a description can use, for the vocabulary.
VERBS = (
    "moves up down left right and to the in a circle stays still stops starts stands",
    "gets faster slower comes in from the left right top bottom leaves at the",
    "hides goes behind comes out from behind is hidden by touches grows shrinks turns",
    "is in the picture and then",
)


@dataclass(frozen=True)
class Facts:
    """What a description says of its thing.

    Attributes:
        size: Name, or None if not said.
        color: As ``size``.
        shape: As ``size``.
        pattern: As ``size``; plain things' pattern is not mentioned.
        acts: Acts in order, keys as ``events.acts`` has them.
        others: Further things that happen, in order: ``"enters left"``, ``"leaves top"``,
            ``"behind"``, ``"hidden"``, ``"emerges"``, ``"covered"``, ``"touches"``, ``"grows"``,
            ``"shrinks"``, ``"turns blue"``.
    """

    size: str | None = None
    color: str | None = None
    shape: str | None = None
    pattern: str | None = None
    acts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """A true description and the facts in it."""

    text: str
    facts: Facts


@dataclass
class _Story:
    """What a thing does, as verbs in order of time, and as facts."""

    verbs: list[tuple[float, str]] = field(default_factory=list)
    others: list[tuple[float, str]] = field(default_factory=list)
    acts: list[str] = field(default_factory=list)

    def add(self, time_s: float, verb: str, fact: str) -> None:
        self.verbs.append((time_s, verb))
        self.others.append((time_s, fact))


def named(truth: Truth, k: int) -> str:
    """Return a thing's look with its article: ``"a large red circle"``."""
    thing = truth.scene.objects[k]
    pattern = "" if thing.pattern == "plain" else f"{thing.pattern} "
    return article(f"{thing.size} {pattern}{thing.color} {thing.shape}")


def describe(
    rng: np.random.Generator, truth: Truth, object_id: int, split: str = "train"
) -> Description:
    """Describe a thing: its look, then what it does in order.

    Args:
        rng: Source of randomness, for the manner of speaking.
        truth: What is true of the scene.
        object_id: Whom to describe.
        split: ``"train"`` or ``"heldout"`` manners.

    Returns:
        The description and its facts.
    """
    k = object_id - 1
    story = _tell(truth, k)
    verbs = [verb for _, verb in sorted(story.verbs, key=lambda pair: pair[0])]
    known = len(STYLES) - HELD_OUT
    style = int(rng.integers(known) if split == "train" else rng.integers(known, len(STYLES)))
    text = STYLES[style].format(np=named(truth, k), does=_chain(verbs))
    thing = truth.scene.objects[k]
    facts = Facts(
        size=thing.size,
        color=thing.color,
        shape=thing.shape,
        pattern=None if thing.pattern == "plain" else thing.pattern,
        acts=tuple(story.acts),
        others=tuple(fact for _, fact in sorted(story.others, key=lambda pair: pair[0])),
    )
    return Description(text[0].upper() + text[1:], facts)


def describe_object(
    rng: np.random.Generator, truth: Truth, object_id: int, split: str = "train"
) -> str:
    """Return the words of ``describe``."""
    return describe(rng, truth, object_id, split).text


def describe_prompt(rng: np.random.Generator, object_id: int, split: str = "train") -> str:
    """Return a way to ask for a description of an object."""
    known = len(PROMPTS) - HELD_OUT
    index = int(rng.integers(known) if split == "train" else rng.integers(known, len(PROMPTS)))
    return PROMPTS[index].format(a=f"<{object_id}>")


def _chain(verbs: list[str]) -> str:
    """Join verbs: ``"moves left, touches a star and then stops"``."""
    if not verbs:
        return "is in the picture"
    if len(verbs) == 1:
        return verbs[0]
    return f"{', '.join(verbs[:-1])} and then {verbs[-1]}"


def _tell(truth: Truth, k: int) -> _Story:
    """Collect what a thing does."""
    story, thing = _Story(), truth.scene.objects[k]
    enters, leaves = events.enters(truth, k), events.leaves(truth, k)
    if enters:
        story.add(enters[1] - 1e-3, f"comes in from the {enters[0]}", f"enters {enters[0]}")
    seen = [phase for phase in truth.phases(k) if phase.seen > 0.3]
    for n, phase in enumerate(seen):
        story.acts.append(phase.act)
        before = seen[n - 1] if n else None
        verb = moves(phase.act)
        if before is not None and phase.act == "still":
            verb = "stops"
        elif before is not None and before.act == phase.act:
            story.acts.pop()
            verb = "gets faster" if phase.speed > before.speed else "gets slower"
        story.verbs.append((phase.start_s, verb))
    if leaves:
        story.add(leaves[1] + 1e-3, f"leaves at the {leaves[0]}", f"leaves {leaves[0]}")
    for hiding in events.hidings(truth, k):
        if hiding.most < 0.8:
            continue
        by = named(truth, hiding.by)
        if hiding.stays:
            story.add(hiding.start_s, f"hides behind {by}", "hidden")
        elif hiding.start_s < 0.05:
            story.add(hiding.start_s - 1e-3, f"comes out from behind {by}", "emerges")
        elif any(p.act != "still" and p.start_s <= hiding.start_s <= p.end_s for p in seen):
            story.add(hiding.start_s, f"goes behind {by}", "behind")
        else:
            story.add(hiding.start_s, f"is hidden by {by}", "covered")
    for j in range(truth.num_objects):
        if j != k and thing.plan == "meet" and events.encounter(truth, k, j) == "touch":
            time_s = float(truth.times_s[int(np.argmax(events.gaps(truth, k, j) < 0.006))])
            story.add(time_s - 0.1, f"touches {named(truth, j)}", "touches")
    if thing.resize is not None:
        verb = "grows" if thing.resize.scale > 1 else "shrinks"
        story.add(thing.resize.start_s, verb, verb)
    if thing.recolor is not None:
        verb = f"turns {thing.recolor.color}"
        story.add(thing.recolor.time_s, verb, verb)
    return story


def read(text: str) -> Facts:
    """Return the facts that a description states, by its words.

    Reads our own descriptions exactly and others' as far as they use the same words: the first
    named size, colour, shape and pattern, and the acts in the order they are told.
    """
    low = text.lower()
    # What stands behind another's article is that other's look.
    own = re.sub(r"(behind|touches|hidden by) an? [a-z ]*?(?=,| and then|\.|;|$)", r"\1", low)
    words = re.findall(r"[a-z]+", own)

    def first(names: tuple[str, ...]) -> str | None:
        return next((word for word in words if word in names), None)

    acts, others = [], []
    ways = sorted((way(name) for name in DIRECTION_NAMES), key=len, reverse=True)
    back = {way(name): name for name in DIRECTION_NAMES}
    pattern = (
        rf"moves (?:to the )?({'|'.join(ways)})|(in a circle)|(stops|stays still|stands still)"
        r"|comes in from the (\w+)|leaves at the (\w+)|(goes behind)|(hides behind)"
        r"|(comes out from behind)|(is hidden by)|(touches)|(grows)|(shrinks)|turns (\w+)"
    )
    names = ("behind", "hidden", "emerges", "covered", "touches", "grows", "shrinks")
    for match in re.finditer(pattern, own):
        groups = match.groups()
        if groups[0]:
            acts.append(back[groups[0]])
        elif groups[1] or groups[2]:
            acts.append("circle" if groups[1] else "still")
        elif groups[3] or groups[4]:
            others.append(f"enters {groups[3]}" if groups[3] else f"leaves {groups[4]}")
        elif groups[12]:
            others.append(f"turns {groups[12]}")
        else:
            others.append(names[next(i for i in range(7) if groups[5 + i])])
    return Facts(
        size=first(SIZE_NAMES),
        color=first(COLORS),
        shape=first(SHAPES),
        pattern=first(PATTERNS[1:]),
        acts=tuple(acts),
        others=tuple(others),
    )
