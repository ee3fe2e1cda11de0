"""Clips nobody trained on, multiple choices about them, and which of them a model gets right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gar_video import masks
from gar_video.choosing import score_options
from gar_video.encoding import encode
from gar_video.errors import GARVideoError
from gar_video.generation import Decoder
from gar_video.model import GARModel
from gar_video.processor import GARProcessor
from gar_video.prompt import RegionPrompt, RegionSlot
from gar_video.sampling import uniform
from gar_video.synth.kinds import KINDS
from gar_video.synth.questions import Question, sample_questions
from gar_video.synth.render import render_labels
from gar_video.synth.scene import sample_scene
from gar_video.synth.truth import Truth

# Generators of their own: no training stream begins with this number.
_KEY = 4242
_LEAST_PIXELS, _LEAST_FRAMES = 4, 2


@dataclass(frozen=True)
class Plan:
    """What is drawn and asked.

    Attributes:
        kinds: Kinds of questions, each asked equally often.
        frames: Frames of a clip.
        pointed: Objects that are prompted.
        crowd: Things in a scene; None for as many as the level has.
        per_clip: Questions a clip, at most.
        level: The rendered world.
        side: Pixels of a side.
    """

    kinds: tuple[str, ...]
    frames: int = 6
    pointed: int = 1
    crowd: int | None = None
    per_clip: int = 4
    level: str = "basic"
    side: int = 112


@dataclass(frozen=True)
class Asked:
    """A multiple choice.

    Attributes:
        kind: What it asks.
        text: The question; objects are ``<ID>``.
        options: The answers to choose from.
        answer_index: Place of the true one.
        object_ids: Prompted objects that it names.
    """

    kind: str
    text: str
    options: tuple[str, ...]
    answer_index: int
    object_ids: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Item:
    """A clip with its prompted objects and what is asked about them."""

    prompt: RegionPrompt
    questions: tuple[Asked, ...]


def draw(plan: Plan, count: int, seed: int) -> list[Item]:
    """Draw clips until enough is asked about them; the same seed gives the same items.

    Args:
        plan: What to draw.
        count: Questions.
        seed: Of everything.

    Raises:
        GARVideoError: If such scenes do not give such questions.
    """
    rng = np.random.Generator(np.random.PCG64([_KEY, seed]))
    quota = _shares(plan.kinds, count)
    asked: Counter[str] = Counter()
    items: list[Item] = []
    for _ in range(20 * count + 200):
        if asked.total() == count:
            return items
        wanted = [kind for kind in plan.kinds if asked[kind] < quota[kind]]
        item = _one(rng, plan, wanted, {kind: quota[kind] - asked[kind] for kind in wanted})
        if item is not None:
            items.append(item)
            asked.update(question.kind for question in item.questions)
    raise GARVideoError(
        f"{plan.pointed} objects in {plan.frames} frames gave {asked.total()} of {count} questions "
        f"about {', '.join(plan.kinds)}; ask for fewer"
    )


def _shares(kinds: Sequence[str], count: int) -> dict[str, int]:
    return {
        kind: count // len(kinds) + (n < count % len(kinds)) for n, kind in enumerate(kinds)
    }  # fmt: skip


def _one(
    rng: np.random.Generator, plan: Plan, kinds: Sequence[str], room: dict[str, int]
) -> Item | None:
    scene = sample_scene(rng, plan.level, plan.crowd)
    truth = Truth(scene)
    indices = uniform(range(scene.num_frames), plan.frames)
    frames, labels = render_labels(
        scene, resolution_wh=(plan.side, plan.side), times_s=truth.times_s[indices]
    )
    things = np.arange(1, truth.num_objects + 1)[:, None, None, None]
    visible = (labels[None] == things).sum((2, 3)) >= _LEAST_PIXELS  # [objects, frames]
    able = np.flatnonzero(visible.sum(1) >= min(_LEAST_FRAMES, plan.frames))
    if len(able) < plan.pointed:
        return None
    pointed = [int(k) for k in rng.permutation(able)[: plan.pointed]]
    ids = {scene.objects[k].object_id for k in pointed}
    found = sample_questions(rng, scene, truth, kinds, None, per_kind=4)
    found = [q for q in found if set(q.object_ids) <= ids]
    chosen: list[Question] = []
    left = dict(room)
    for place in rng.permutation(len(found)):
        question = found[int(place)]
        if left[question.kind] and len(chosen) < plan.per_clip:
            left[question.kind] -= 1
            chosen.append(question)
    if not chosen:
        return None
    slots = []
    for number, k in enumerate(pointed):
        regions = tuple(
            masks.encode(labels[t] == k + 1) if visible[k, t] else None for t in range(len(labels))
        )
        slots.append(RegionSlot(scene.objects[k].object_id, number, regions))
    asked = tuple(Asked(q.kind, q.text, q.options, q.answer_index, q.object_ids) for q in chosen)
    return Item(RegionPrompt(frames, tuple(slots)), asked)


def score(
    model: GARModel,
    processor: GARProcessor,
    items: Sequence[Item],
    by: str = "text",
    progress: Callable[[int], None] = lambda done: None,
) -> list[dict[str, Any]]:
    """Ask everything; one line per question, in order.

    Args:
        model: The model, as it is.
        processor: Its processor.
        items: What to ask.
        by: How options are scored.
        progress: Called with the questions asked so far.

    Returns:
        Per question its ``kind``, whether it ``needs_context``, the ``chosen`` option's place and
        whether that is ``right``.
    """
    decoder = Decoder(model, processor.stop_ids)
    lines: list[dict[str, Any]] = []
    for item in items:
        with torch.inference_mode():
            encoded = encode(decoder, processor, item.prompt)
            asked = [(question.text, question.options) for question in item.questions]
            scores = score_options(decoder, processor, encoded, asked, by, 16)
        for question, own in zip(item.questions, scores, strict=True):
            chosen = int(own.argmax())
            lines.append({
                "kind": question.kind,
                "needs_context": question.kind in KINDS and KINDS[question.kind].needs_context,
                "chosen": chosen,
                "right": chosen == question.answer_index,
            })  # fmt: skip
        progress(len(lines))
    return lines


def rights(lines: Sequence[dict[str, Any]], needs_context: bool | None = None) -> list[bool]:
    """Return which answers are right, of one sort if asked."""
    return [
        bool(line["right"])
        for line in lines
        if needs_context is None or line["needs_context"] is needs_context
    ]


def check_kinds(kinds: Sequence[str], pointed: int) -> None:
    """Refuse kinds of questions that cannot be put.

    Raises:
        GARVideoError: If one is unknown, has no options, or names more things than are prompted.
    """
    for name in kinds:
        kind = KINDS.get(name)
        if kind is None or kind.options is None:
            known = ", ".join(n for n, k in KINDS.items() if k.options is not None)
            raise GARVideoError(f"unknown kind of question {name!r}; expected some of {known}")
        if kind.things > pointed:
            raise GARVideoError(
                f"{name!r} names {kind.things} objects, but only {pointed} is prompted"
            )
