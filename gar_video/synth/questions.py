"""Questions about rendered scenes, with four options and with accepted open answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from gar_video.synth import wordings, wordings_pairs
from gar_video.synth.answers import article, forms
from gar_video.synth.balance import WEIGHTS
from gar_video.synth.kinds import KINDS, TYPES, Kind, Places, asked
from gar_video.synth.scene import Scene
from gar_video.synth.truth import Truth

WORDINGS = {**wordings.WORDINGS, **wordings_pairs.WORDINGS}
SPLITS = ("train", "heldout")


@dataclass(frozen=True)
class Question:
    """A question with its true answer.

    Attributes:
        kind: A key of ``kinds.KINDS``.
        type: One of the five BenchQ types.
        text: The question; objects are ``<1>``, ``<2>``, … by their ids.
        options: Four answers put alike; none for kinds that are only asked openly.
        answer_index: Place of the true one in ``options``; -1 without options.
        answer: The true answer in words.
        accepted: All forms of the true answer.
        object_ids: Ids of the objects, in order of first mention.
        key: The answer's key, independent of wording.
        option_keys: Keys of the options.
        asked_for: What the question names (a colour, an act), or an empty string.
        wording: Which wording of its kind it is.
        split: ``"train"`` or ``"heldout"``.
    """

    kind: str
    type: str
    text: str
    options: tuple[str, ...]
    answer_index: int
    answer: str
    accepted: tuple[str, ...]
    object_ids: tuple[int, ...]
    key: str
    option_keys: tuple[str, ...]
    asked_for: str
    wording: int
    split: str


@dataclass(frozen=True)
class Case:
    """What a question can be asked about: a kind, things, what is asked for and the answer."""

    kind: Kind
    places: Places
    asked_for: str
    key: str


def kind_names(level: str, choice: bool = True) -> tuple[str, ...]:
    """Return the kinds asked on a level, as multiple choices or openly."""
    return tuple(
        name
        for name, kind in KINDS.items()
        if (level == "full" or not kind.full_only)
        and (kind.options is not None if choice else kind.open)
    )


def cases(rng: np.random.Generator, truth: Truth, kinds: Iterable[str]) -> Iterator[Case]:
    """Yield all that can be asked about a scene, in a fixed order."""
    count = truth.num_objects
    for name in kinds:
        kind = KINDS[name]
        for places in _choices(rng, count, kind.things):
            x: str | None = ""
            if kind.ask is not None:
                x = kind.ask(rng, truth, places)
            if x is None:
                continue
            key = kind.answer(truth, places, x)
            if key is not None:
                yield Case(kind, places, x, key)


def _choices(rng: np.random.Generator, count: int, things: int) -> list[Places]:
    """Return which things to ask about together, in order of mention."""
    if things <= 2:
        return list(permutations(range(count), things))
    triples = list(combinations(range(count), 3))
    if len(triples) > 4:
        triples = [triples[int(i)] for i in rng.choice(len(triples), size=4, replace=False)]
    return [tuple(int(v) for v in rng.permutation(triple)) for triple in triples]


def sample_questions(
    rng: np.random.Generator,
    scene: Scene,
    truth: Truth,
    kinds: Iterable[str] | None = None,
    n: int | None = None,
    split: str = "train",
    *,
    choice: bool = True,
    per_kind: int = 1,
    balanced: bool = True,
) -> list[Question]:
    """Ask about a scene.

    Args:
        rng: Source of randomness.
        scene: The scene.
        truth: What is true of it.
        kinds: Kinds to ask; all of the scene's level by default.
        n: At most so many questions, the five types and the kinds in turn; all by default.
        split: Wordings to train on (``"train"``) or those kept out (``"heldout"``).
        choice: Ask multiple choices; otherwise also kinds and only such as make open questions.
        per_kind: At most so many questions of a kind.
        balanced: Pass over some of the more frequent answers, so that over many scenes all
            answers of a kind are about equally frequent and none can be guessed from the text.

    Returns:
        True questions; fewer than ``n``, or none, where little is plain to see.

    Raises:
        ValueError: If a kind or the split is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    names = list(kind_names(scene.level, choice) if kinds is None else kinds)
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise ValueError(f"kind {unknown[0]!r} is unknown; expected one of {', '.join(KINDS)}")
    kept: dict[str, list[Case]] = {name: [] for name in names}
    weights = WEIGHTS[scene.level]
    for case in cases(rng, truth, names):
        name = case.kind.name
        weight = weights.get(name, {}).get(case.kind.group(case.key), 1.0)
        if not balanced or rng.random() < weight:
            kept[name].append(case)
    chosen: dict[str, list[Case]] = {}
    for name, found in kept.items():
        order = rng.permutation(len(found))[:per_kind]
        chosen[name] = [found[int(i)] for i in order]
    picked = _in_turn(rng, chosen, n)
    return [put(rng, scene, truth, case, split, choice=choice) for case in picked]


def _in_turn(rng: np.random.Generator, chosen: dict[str, list[Case]], n: int | None) -> list[Case]:
    """Take cases type by type and kind by kind until there are enough."""
    queues: dict[str, list[Case]] = {}
    for type_name in TYPES:
        mine = [name for name in chosen if KINDS[name].type == type_name]
        mine = [mine[int(i)] for i in rng.permutation(len(mine))]
        deepest = max((len(chosen[name]) for name in mine), default=0)
        rounds = [chosen[name][d] for d in range(deepest) for name in mine if d < len(chosen[name])]
        queues[type_name] = rounds
    order = [TYPES[int(i)] for i in rng.permutation(len(TYPES))]
    picked: list[Case] = []
    total = sum(len(queue) for queue in queues.values())
    wanted = total if n is None else min(n, total)
    while len(picked) < wanted:
        for type_name in order:
            if queues[type_name] and len(picked) < wanted:
                picked.append(queues[type_name].pop(0))
    return picked


def put(
    rng: np.random.Generator,
    scene: Scene,
    truth: Truth,
    case: Case,
    split: str = "train",
    *,
    choice: bool = True,
) -> Question:
    """Put a case into words.

    Args:
        rng: Source of randomness.
        scene: The scene.
        truth: What is true of it.
        case: What to ask.
        split: Which wordings to use.
        choice: Give four options, if the kind has any.

    Returns:
        The question.
    """
    kind = case.kind
    texts = WORDINGS[kind.name]
    known = len(texts) - wordings.HELD_OUT
    wording = int(rng.integers(known) if split == "train" else rng.integers(known, len(texts)))
    ids = tuple(scene.objects[k].object_id for k in case.places)
    names = {letter: f"<{i}>" for letter, i in zip("abc", ids, strict=False)}
    x = asked(kind, case.asked_for)
    text = texts[wording].format(**names, x=x, ax=article(x) if x else "")
    text = text[0].upper() + text[1:]
    accepted = tuple(forms(kind.family, case.key, names))
    keys: list[str] = []
    manner = int(rng.integers(len(accepted)))
    if choice and kind.options is not None:
        keys = kind.options(rng, truth, case.key)
        keys = [keys[int(i)] for i in rng.permutation(len(keys))]
    else:
        manner = 0
    return Question(
        kind=kind.name,
        type=kind.type,
        text=text,
        options=tuple(forms(kind.family, key, names)[manner] for key in keys),
        answer_index=keys.index(case.key) if keys else -1,
        answer=accepted[manner],
        accepted=accepted,
        object_ids=tuple(dict.fromkeys(_mentioned(text, ids))),
        key=case.key,
        option_keys=tuple(keys),
        asked_for=case.asked_for,
        wording=wording,
        split=split,
    )


def _mentioned(text: str, ids: tuple[int, ...]) -> list[int]:
    """Return ids in the order in which the text first mentions them."""
    return sorted(ids, key=lambda i: text.index(f"<{i}>"))


def answer_for(truth: Truth, question: Question, places: Places) -> str | None:
    """Return the key of the answer to the same question about other things.

    For mask swaps: the text stays, the masks behind its names are those of other things.

    Args:
        truth: What is true of the scene.
        question: The question.
        places: Places in ``scene.objects`` of the things now meant, in the order of the kind's
            names (``<a>``, ``<b>``, ``<c>``), which for one thing is simply the thing.

    Returns:
        The key, comparable with ``question.option_keys``, or None where it is not plain.
    """
    return KINDS[question.kind].answer(truth, places, question.asked_for)
