"""Questions about samples, from the renderer's truth, as tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import numpy as np

from gar_video.processor import GARProcessor
from gar_video.prompt import DESCRIBE, RegionPrompt, RegionSlot, multiple_choice, parse_question
from gar_video.synth import events, wordings
from gar_video.synth.answers import article, forms
from gar_video.synth.balance import WEIGHTS
from gar_video.synth.descriptions import PROMPTS, STYLES, describe_object, named
from gar_video.synth.kinds import KINDS, Kind, asked
from gar_video.synth.questions import WORDINGS
from gar_video.synth.truth import Truth
from gar_video.train.packing import SOME_MASK, Question
from gar_video.train.samples import Sample

#: What can be said of one picture: these kinds need no time.
_OF_ONE_FRAME = (
    "color", "shape", "size", "look", "pattern", "which color", "which shape", "largest",
    "in common", "where start", "where end", "place start", "place end",
)  # fmt: skip
#: What the first and the last frame tell.
_OF_TWO_FRAMES = (*_OF_ONE_FRAME, "place start", "place end", "where start", "where end",
                  "direction", "color end", "enter side", "leave side")  # fmt: skip

#: Short ways in which people ask, beside the renderer's wordings.
SHORT: dict[str, tuple[str, ...]] = {
    "color": ("What color is this?", "Color?", "what color is {a}", "What is its color?"),
    "shape": ("What shape is this?", "Shape?", "what shape is {a}", "What is its shape?"),
    "size": ("What size is it?", "How big is it?"),
    "direction": (
        "Which way does it go?", "Which way does {a} go?", "Where does it go?",
        "Where is {a} going?", "What direction does {a} move in?", "which way does {a} move",
    ),
    "place start": ("Where does it start?",),
    "place end": ("Where does it end up?",),
    "where start": ("Where is {a} from {b}?",),
    "meet": ("Do they meet?",),
    "distance": ("Do they get closer?",),
    "in common": ("What do they have in common?",),
}  # fmt: skip

#: How much more than evenly a kind is asked; what is learned early less, what decides much more.
_NEED = {
    "color": 0.6, "shape": 0.6, "size": 0.6, "look": 0.6, "direction": 0.7, "next move": 0.7,
    "enter side": 0.8, "leave side": 0.7, "which color": 1.6, "which shape": 1.4, "largest": 1.8,
    "which moves": 1.8, "first": 1.3, "first then": 0.8, "in common": 2.8, "where start": 2.0,
    "where end": 2.2, "meet": 2.0, "distance": 2.0, "seen when": 1.4, "why unseen": 1.6,
    "why stop": 1.3, "will leave": 1.8, "same way": 2.0, "moving start": 1.4, "moving end": 1.2,
}  # fmt: skip

#: Weight of a description: a dozen words of which each must be right.
_TOLD = 3.0
#: Kind, slots it names, what is asked for, key of the answer.
Case = tuple[Kind, tuple[int, ...], str, str]


class RenderedAsker:
    """Fills samples with questions about them.

    Args:
        processor: The checkpoint's processor.
        per_clip: Questions on a clip, at most.
        letters: Share of choices that are put with lettered options.
        split: ``"train"`` or ``"heldout"`` wordings.

    Attributes:
        asked: Kind -> how often it has been asked. Scenes offer some kinds fifty times as often as
            others; what has been asked seldom is preferred.
    """

    def __init__(
        self,
        processor: GARProcessor,
        per_clip: int = 12,
        letters: float = 0.0,
        split: str = "train",
    ) -> None:
        self.processor = processor
        self.per_clip = per_clip
        self.letters = letters
        self.split = split
        self.asked: Counter[str] = Counter()
        self._known: dict[tuple[str, int, bool], list[int]] = {}

    def __call__(self, rng: np.random.Generator, sample: Sample) -> None:
        """Ask questions about a sample."""
        count = len(sample.objects)
        for kind, slots, x, key in self._chosen(rng, self._cases(rng, sample), count):
            sample.questions.append(self._put(rng, sample, kind, slots, x, key))
        for slot in range(count):
            if rng.random() < 0.7 / count:
                self._describe(rng, sample, slot)

    def worth(self, sample: Sample) -> float:
        """Return how much a sample's questions are wanted, after all that has been asked."""
        return sum(self._wanted(kind) for kind in {question.kind for question in sample.questions})

    def note(self, sample: Sample) -> None:
        """Count a sample's questions as asked."""
        self.asked.update(question.kind for question in sample.questions)

    def _wanted(self, kind: str) -> float:
        return _NEED.get(kind, 1.0) / (50 + self.asked[kind])

    def _chosen(self, rng: np.random.Generator, found: list[Case], count: int) -> list[Case]:
        """Draw cases, the wanted more often; twice the same one is put in other words."""
        if not found:
            return []
        kinds = Counter(kind.name for kind, _, _, _ in found)
        # A question about all prompted things is what users' questions mostly are.
        weight = [
            self._wanted(kind.name) / kinds[kind.name] * (3 if kind.things >= min(count, 3) else 1)
            for kind, _, _, _ in found
        ]
        share = np.asarray(weight) / sum(weight)
        limit = min(2 * len(found), self.per_clip)
        return [found[int(i)] for i in rng.choice(len(found), limit, p=share)]

    def _cases(self, rng: np.random.Generator, sample: Sample) -> list[Case]:
        """Return what can be asked."""
        truth, count = sample.truth, len(sample.objects)
        level, found = sample.scene.level, list[Case]()
        frames = len(sample.frame_indices)
        for name, kind in KINDS.items():
            if kind.full_only and level != "full":
                continue
            if frames == 1 and name not in _OF_ONE_FRAME:
                continue
            if frames == 2 and name not in _OF_TWO_FRAMES:
                continue
            # Training's scenes have things alike as often as not; the weights expect few.
            weights = {} if name == "in common" else WEIGHTS[level].get(name, {})
            for slots in _slots(rng, count, kind.things):
                places = tuple(sample.objects[s] for s in slots)
                x: str | None = ""
                if kind.ask is not None:
                    x = kind.ask(rng, truth, places)
                key = None if x is None else _answer(sample, kind, places, x)
                if x is None or key is None or _unclear(sample, slots, name):
                    continue
                # What is frequent must not become the answer when in doubt.
                if rng.random() < weights.get(kind.group(key), 1.0):
                    found.append((kind, slots, x, key))
        return found

    def _put(
        self,
        rng: np.random.Generator,
        sample: Sample,
        kind: Kind,
        slots: tuple[int, ...],
        x: str,
        key: str,
    ) -> Question:
        names = {letter: f"<{s}>" for letter, s in zip("abc", slots, strict=False)}
        texts = WORDINGS[kind.name]
        texts = (
            texts[: -wordings.HELD_OUT] if self.split == "train" else texts[-wordings.HELD_OUT :]
        )
        alone = len(sample.objects) == kind.things
        if alone and kind.name in SHORT and self.split == "train" and rng.random() < 0.2:
            texts = SHORT[kind.name]
        told = asked(kind, x)
        text = texts[int(rng.integers(len(texts)))]
        text = text.format(**names, x=told, ax=article(told) if told else "")
        text = text[0].upper() + text[1:] if rng.random() < 0.9 else text
        answers = forms(kind.family, key, names)
        manner = 0 if rng.random() < 0.6 else int(rng.integers(len(answers)))
        if kind.options is not None and rng.random() < self.letters:
            keys = kind.options(rng, sample.truth, key)
            keys = [keys[int(i)] for i in rng.permutation(len(keys))]
            manner = int(rng.integers(len(answers)))
            text = multiple_choice(text, [forms(kind.family, k, names)[manner] for k in keys])
            letter = "ABCD"[keys.index(key)]
            return self._question(sample, text, letter, f"letter {kind.name}", slots)
        return self._question(sample, text, answers[manner], kind.name, slots)

    def _describe(self, rng: np.random.Generator, sample: Sample, slot: int) -> None:
        texts = PROMPTS[:-2] if self.split == "train" else PROMPTS[-2:]
        alone = len(sample.objects) == 1
        # What the library itself asks, which mentions nobody, half of the time.
        if alone and rng.random() < 0.5:
            text = DESCRIBE
        else:
            text = texts[int(rng.integers(len(texts)))].format(a=f"<{slot}>")
            if not alone and text == DESCRIBE:
                text = f"Describe <{slot}>."
        k = sample.objects[slot]
        if len(sample.frame_indices) == 1:
            answer = still_description(rng, sample.truth, k)
        elif len(sample.frame_indices) < 4:
            return
        else:
            answer = describe_object(rng, sample.truth, k + 1, "train")
        told = self._question(sample, text, answer, "describe", (slot,), weight=_TOLD)
        sample.questions.append(told)

    def _question(
        self,
        sample: Sample,
        text: str,
        answer: str,
        kind: str,
        slots: tuple[int, ...],
        weight: float = 1.0,
    ) -> Question:
        count = len(sample.objects)
        photo = sample.is_image and count == 1
        told = self._ids(answer, count, photo, answer=True)
        return Question(self._ids(text, count, photo), told, kind, slots, weight)

    def _ids(self, text: str, count: int, photo: bool, answer: bool = False) -> list[int]:
        key = (text + ("\0" if answer else ""), count, photo)
        if key not in self._known:
            if len(self._known) > 60000:
                self._known.clear()
            numbers = (1,) if photo else tuple(range(count))
            slots = tuple(RegionSlot(s, n, (SOME_MASK,)) for s, n in enumerate(numbers))
            prompt = RegionPrompt(np.zeros((1, 1, 1, 3), np.uint8), slots, photo)
            write = self.processor.answer_ids if answer else self.processor.question_ids
            self._known[key] = write(parse_question(text), prompt)
        return self._known[key]


def _slots(rng: np.random.Generator, count: int, things: int) -> list[tuple[int, ...]]:
    """Return which slots to ask about together.

    A question's first object is the prompt's first when it is asked alone, so mostly here too.
    """
    if things > count:
        return []
    if things == 1:
        return [(s,) for s in range(count)]
    if things == 2:
        pairs = [p for p in permutations(range(count), 2) if p[0] < p[1] or rng.random() < 0.25]
        return [pairs[int(i)] for i in rng.permutation(len(pairs))[:8]]
    if count == 3:
        return [(0, 1, 2)] if rng.random() < 0.8 else [tuple(int(v) for v in rng.permutation(3))]
    return [tuple(int(v) for v in rng.permutation(count)[:3])]


def _answer(sample: Sample, kind: Kind, places: tuple[int, ...], x: str) -> str | None:
    """Return the answer's key; the only frame of a picture is its first and its last."""
    if len(sample.frame_indices) == 1:
        (at,) = sample.frame_indices
        if kind.name in ("where start", "where end"):
            return events.relation(sample.truth, places[0], places[1], at)
        if kind.name in ("place start", "place end"):
            return events.corner(sample.truth, places[0], at)
    return kind.answer(sample.truth, places, x)


def _unclear(sample: Sample, slots: Sequence[int], kind: str) -> bool:
    """Say whether the frames looked at do not show what is asked."""
    if len(sample.frame_indices) == 1:
        # In one frame a thing may be half hidden: its look is asked about only where it shows.
        seen = sample.truth.visibility.seen[:, sample.frame_indices[0]]
        return any(seen[sample.objects[s]] < 0.5 for s in slots)
    if kind in ("enter side", "leave side", "seen when", "why unseen"):
        return False
    return any(sample.visible[s].sum() < 2 for s in slots)


def still_description(rng: np.random.Generator, truth: Truth, k: int) -> str:
    """Describe a thing in a photograph: its look only."""
    style = STYLES[int(rng.integers(len(STYLES) - 2))]
    opening = style.split("{np}")[0]
    text = f"{opening}{named(truth, k)}."
    return text[0].upper() + text[1:]
