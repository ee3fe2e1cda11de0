"""The rendered stream: endless clips with known truth, drawn in memory, never written."""

from __future__ import annotations

import difflib

import numpy as np

from gar_video import masks
from gar_video.prompt import (
    LETTERS,
    RegionPrompt,
    RegionSlot,
    mentioned_ids,
    multiple_choice,
    parse_question,
    slot_numbers,
)
from gar_video.sampling import uniform
from gar_video.synth.descriptions import describe_object, describe_prompt
from gar_video.synth.kinds import KINDS
from gar_video.synth.questions import kind_names, sample_questions
from gar_video.synth.truth import Truth
from gar_video.train.clips import Clip, draw_clip, draw_scene
from gar_video.train.recipe.config import DataSection
from gar_video.train.recipe.data.examples import (
    Example,
    Maker,
    Thread,
    description,
    num_frames,
    single,
)
from gar_video.train.recipe.errors import SampleError, TrainingError

# A mask of fewer pixels is no region; a thing seen in fewer frames shows nothing of its motion.
_LEAST_PIXELS, _LEAST_FRAMES = 4, 2
#: Kinds that one picture answers.
_STILL = (
    "color", "shape", "size", "look", "pattern", "which color", "which shape", "largest",
    "in common",
)  # fmt: skip
_TRIES = 20


class Rendered:
    """Clips drawn from the sample's own generator: any sample can be made without the others."""

    def __init__(self, section: DataSection, maker: Maker, name: str) -> None:
        self.name = name
        self._section, self._maker = section, maker
        for kind in section.kinds:
            if kind not in (*KINDS, "description"):
                near = difflib.get_close_matches(kind, [*KINDS, "description"], n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KINDS)}"
                raise TrainingError(f"{name}: unknown kind of question {kind!r}; {hint}")

    def __len__(self) -> int:
        return 0

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Draw a clip and ask about it; see ``Source``."""
        section = self._section
        photo = bool(rng.random() < section.photos)
        for _ in range(_TRIES):
            looked = 1 if photo else num_frames(section, self._maker, rng)
            wanted = int(section.objects[int(rng.integers(len(section.objects)))])
            truth, indices, clip = self._draw(rng, looked, wanted)
            visible = _visible(clip, truth.num_objects)
            least = min(_LEAST_FRAMES, len(indices))
            able = np.flatnonzero(visible.sum(1) >= least)
            if len(able) < wanted:
                continue
            pointed = [int(k) for k in rng.permutation(able)[:wanted]]
            threads = self._threads(rng, truth, pointed, len(indices))
            if threads:
                chosen = _one_manner(rng, threads)
                numbers = slot_numbers(wanted, describe_photo=photo and chosen[0].describes)
                prompt = _prompt(clip, visible, pointed, numbers, photo, chosen[0].describes)
                return Example(prompt, chosen)
        raise SampleError("shows nothing that can be asked about")

    def _draw(
        self, rng: np.random.Generator, looked: int, wanted: int
    ) -> tuple[Truth, list[int], Clip]:
        section = self._section
        crowd = max(wanted, 1 + int(rng.choice(3, p=[0.2, 0.4, 0.4])))
        scene, flat = draw_scene(rng, section.level, crowd)
        truth = Truth(scene)
        if looked == 1:
            indices = [int(rng.integers(scene.num_frames))]
        else:
            indices = uniform(range(scene.num_frames), looked)
        side = section.side or self._maker.processor.config.tile_size
        return truth, indices, draw_clip(rng, scene, truth.times_s[indices], flat, side)

    def _threads(
        self, rng: np.random.Generator, truth: Truth, pointed: list[int], looked: int
    ) -> list[Thread]:
        """Ask and describe; every thread is about things that are pointed at."""
        ids = [truth.scene.objects[k].object_id for k in pointed]
        threads: list[Thread] = []
        for choice in (False, True):
            if choice and rng.random() >= self._section.choices * 4:
                continue
            names = [
                name
                for name in kind_names(truth.scene.level, choice)
                if (looked > 2 or name in _STILL) and KINDS[name].things <= len(ids)
                if not self._section.kinds or name in self._section.kinds
            ]
            asked = sample_questions(
                rng, truth.scene, truth, names, None, choice=choice, per_kind=3
            )
            for question in asked:
                if not set(question.object_ids) <= set(ids):
                    continue
                if choice:
                    text = multiple_choice(question.text, question.options)
                    letter = LETTERS[question.answer_index]
                    if set(mentioned_ids(parse_question(text))) <= set(ids):
                        threads.append(single(text, letter, f"letter {question.kind}"))
                else:
                    threads.append(single(question.text, question.answer, question.kind))
        if looked > 2 and (not self._section.kinds or "description" in self._section.kinds):
            for object_id in ids:
                asked_for = describe_prompt(rng, object_id)
                told = describe_object(rng, truth, object_id)
                threads.append(single(asked_for, told, "description"))
                if len(ids) == 1:
                    threads.append(description(object_id, told))
        order = rng.permutation(len(threads))
        return self._mixed([threads[int(n)] for n in order])

    def _mixed(self, threads: list[Thread]) -> list[Thread]:
        """Keep as many as are packed, the wanted share of them multiple choices."""
        most, share = self._section.questions, self._section.choices
        letters = [t for t in threads if t.turns[0].kind.startswith("letter ")]
        open_ones = [t for t in threads if not t.turns[0].kind.startswith("letter ")]
        count = min(len(letters), round(most * min(1.0, share * 4 if share < 0.25 else share)))
        if not open_ones and not letters:
            return []
        return [*letters[:count], *open_ones[: most - count]]


def _one_manner(rng: np.random.Generator, threads: list[Thread]) -> tuple[Thread, ...]:
    """Descriptions introduce their object in other words than questions do."""
    described = [thread for thread in threads if thread.describes]
    if not described:
        return tuple(threads)
    others = [thread for thread in threads if not thread.describes]
    return tuple(described if not others or rng.random() < 0.3 else others)


def _visible(clip: Clip, count: int) -> np.ndarray:
    """Return ``(objects, frames)`` bool: where things show enough pixels."""
    things = np.arange(1, count + 1)[:, None, None, None]
    seen: np.ndarray = (clip.labels[None] == things).sum((2, 3)) >= _LEAST_PIXELS
    return seen


def _prompt(
    clip: Clip,
    visible: np.ndarray,
    pointed: list[int],
    numbers: tuple[int, ...],
    photo: bool,
    described: bool,
) -> RegionPrompt:
    slots = []
    for k, number in zip(pointed, numbers, strict=True):
        regions = tuple(
            masks.encode(clip.labels[t] == k + 1) if visible[k, t] else None
            for t in range(len(clip.labels))
        )
        slots.append(RegionSlot(clip.scene.objects[k].object_id, number, regions))
    return RegionPrompt(clip.frames, tuple(slots), photo, described)
