"""Heads on the decoder's hidden states where answers begin: facts of the asked things.

To say what two things have in common, or who stands where, the decoder must first bring what it
knows of both to the place where the answer begins; only there can they be compared. Through answers
alone it does not find that out in thousands of steps. Linear heads that read the hidden states of
that place, and are asked for the facts that a question of its kind needs, make it the first thing
learned. Thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from gar_video.train.packing import Layout, answer_begins
from gar_video.train.region_heads import CLASSES, RegionTruth
from gar_video.train.samples import Sample

#: Where a thing is in the first and in the last frame that shows it.
_PLACES = ("start", "end")

#: Kind of question -> what has to be known of each thing that it names.
_NEEDED: dict[str, tuple[str, ...]] = {
    "in common": ("color", "shape"),
    "which color": ("color",),
    "which shape": ("shape",),
    "largest": ("size",),
    "look": ("color", "shape"),
    "color": ("color",),
    "shape": ("shape",),
    "size": ("size",),
    "where start": ("start",),
    "where end": ("end",),
    "place start": ("start",),
    "place end": ("end",),
    "distance": ("start", "end"),
    "meet": ("sight", "start", "end"),
    "direction": ("first",),
    "first": ("first",),
    "last": ("last",),
    "next move": ("last",),
    "first then": ("first", "last"),
    "moving start": ("first",),
    "moving end": ("last",),
    "which moves": ("first", "last"),
    "same way": ("first", "last"),
    "will leave": ("last", "end"),
    "next edge": ("last", "end"),
    "seen when": ("sight",),
    "why unseen": ("sight", "its why unseen"),
    "why stop": ("last", "its why stop"),
    "enter side": ("its enter side",),
    "leave side": ("its leave side",),
    "describe": ("color", "shape", "size", "first", "last"),
}
_FACTS = tuple(dict.fromkeys(fact for facts in _NEEDED.values() for fact in facts))
#: Things a question names at most.
_THINGS = "abc"


@dataclass
class FactTruth:
    """What the heads are to say.

    Attributes:
        classes: Head -> numbers of the questions it is asked at, and ``[n]`` int64 answers.
        places: Head -> the same with ``[n, 2]`` float32 centres.
    """

    classes: dict[str, tuple[torch.Tensor, torch.Tensor]]
    places: dict[str, tuple[torch.Tensor, torch.Tensor]]


def fact_truth(samples: Sequence[Sample], regions: RegionTruth) -> FactTruth:
    """Read what the heads are to say off what is true of the samples' regions.

    Args:
        samples: The batch.
        regions: What is true of its regions; a thing's last region says what it did.
    """
    asked: dict[str, tuple[list[int], list[int]]] = {}
    row, number = 0, 0
    for sample in samples:
        ends = []
        for seen in sample.visible:
            ends.append((row, row + int(seen.sum()) - 1))
            row += int(seen.sum())
        for question in sample.questions:
            kind = question.kind.removeprefix("letter ")
            for name, slot in zip(_THINGS, question.slots, strict=False):
                for fact in _NEEDED.get(kind, ()):
                    questions, rows = asked.setdefault(f"{name} {fact}", ([], []))
                    questions.append(number)
                    rows.append(ends[slot][0 if fact == "start" else 1])
            number += 1
    classes, places = {}, {}
    for head, (questions, rows) in asked.items():
        at, fact = torch.tensor(questions), head[2:]
        if fact in _PLACES:
            places[head] = (at, regions.numbers[rows, :2])
            continue
        answers = regions.classes[fact][rows]
        if bool((known := answers >= 0).any()):
            classes[head] = (at[known], answers[known])
    return FactTruth(classes, places)


class FactHeads(nn.Module):
    """Linear readers of the decoder's hidden states where answers begin."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = nn.ModuleDict(
            {
                f"{name} {fact}": nn.Linear(width, 2 if fact in _PLACES else CLASSES[fact])
                for name in _THINGS
                for fact in _FACTS
            }
        )

    def loss(
        self, hidden: torch.Tensor, layout: Layout, truth: FactTruth
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss and how right each head is.

        Args:
            hidden: ``[B, L, D]`` of the last layer but one: the last is to compare.
            layout: Of the batch.
            truth: Of its questions.
        """
        begin = answer_begins(layout)  # [Q]
        states = self.norm(hidden.flatten(0, 1)[begin])  # [Q, D]
        total, facts, right = hidden.new_zeros(()), 0, {}
        for head, (at, answers) in truth.classes.items():
            logits = self.read[head](states[at])
            total = total + F.cross_entropy(logits, answers, reduction="sum")
            facts += len(at)
            right[head] = float((logits.detach().argmax(1) == answers).float().mean())
        for head, (at, centres) in truth.places.items():
            told = self.read[head](states[at])
            total = total + 20 * F.smooth_l1_loss(told, centres, beta=0.05, reduction="sum")
            facts += len(at)
            right[head] = float((told.detach() - centres).abs().mean())
        return total / max(facts, 1), right
