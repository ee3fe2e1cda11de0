"""Heads on the decoder's hidden states in questions: facts of the things asked about.

To say what two things have in common, or who stands where, the decoder must first bring what it
knows of each to where it is named, and then of both to where the answer begins; only there can they
be compared. Through answers alone it does not find that out in thousands of steps. Linear heads
that read those two places, and are asked for facts, make it the first thing learned. Thrown away
afterwards.
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
#: What is to be known of a thing where it is named, whatever is asked about it later.
_NAMED = ("color", "shape", "size", "first", "last", "sight", *_PLACES)


@dataclass
class FactTruth:
    """What the heads are to say.

    Attributes:
        answers: Head -> numbers of the questions at whose answers it is asked, and what it is to
            say: ``[n]`` int64 classes or ``[n, 2]`` float32 centres.
        names: ``[m, 2]`` int64: question, and how many tokens before its answer begins a thing is
            named in it.
        named: Head -> rows of ``names`` and what it is to say there.
    """

    answers: dict[str, tuple[torch.Tensor, torch.Tensor]]
    names: torch.Tensor
    named: dict[str, tuple[torch.Tensor, torch.Tensor]]


def fact_truth(
    samples: Sequence[Sample], regions: RegionTruth, prompt_ids: Sequence[int]
) -> FactTruth:
    """Read what the heads are to say off what is true of the samples' regions.

    Args:
        samples: The batch.
        regions: What is true of its regions; a thing's last region says what it did.
        prompt_ids: Tokens that name things: of ``<Prompt0>``, ``<Prompt1>`` ….
    """
    asked: dict[str, tuple[list[int], list[int]]] = {}
    names: list[tuple[int, int]] = []
    things: list[tuple[int, int]] = []  # first and last region of each named thing
    number_of = {token: number for number, token in enumerate(prompt_ids)}
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
            for at, token in enumerate(question.ids):
                if token in number_of:
                    names.append((number, len(question.ids) - 1 - at))
                    # The only thing of a photograph has a number of its own.
                    things.append(ends[0 if len(ends) == 1 else number_of[token]])
            number += 1
    answers = {head: _known(regions, head[2:], *found) for head, found in asked.items()}
    everyone = list(range(len(names)))
    named = {
        fact: _known(regions, fact, everyone, [ends[fact != "start"] for ends in things])
        for fact in _NAMED
    }
    return FactTruth(
        {head: found for head, found in answers.items() if len(found[0])},
        torch.tensor(names, dtype=torch.int64).reshape(-1, 2),
        {head: found for head, found in named.items() if len(found[0])},
    )


def _known(
    regions: RegionTruth, fact: str, at: list[int], rows: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where something is known, and what."""
    places = torch.tensor(at, dtype=torch.int64)
    if fact in _PLACES:
        return places, regions.numbers[rows, :2]
    answers = regions.classes[fact][rows]
    known = answers >= 0
    return places[known], answers[known]


class FactHeads(nn.Module):
    """Linear readers of the decoder's hidden states, where things are named and answers begin."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_answers, self.norm_names = nn.LayerNorm(width), nn.LayerNorm(width)

        def head(fact: str) -> nn.Linear:
            return nn.Linear(width, 2 if fact in _PLACES else CLASSES[fact])

        self.answers = nn.ModuleDict(
            {f"{name} {fact}": head(fact) for name in _THINGS for fact in _FACTS}
        )
        self.named = nn.ModuleDict({fact: head(fact) for fact in _NAMED})

    def loss(
        self, early: torch.Tensor, late: torch.Tensor, layout: Layout, truth: FactTruth
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss and how right each head is.

        Args:
            early: ``[B, L, D]`` of a middle layer, which is to know things where they are named.
            late: ``[B, L, D]`` of the last layer but one: the last is to compare.
            layout: Of the batch.
            truth: Of its questions.
        """
        begin = answer_begins(layout)  # [Q]
        states = self.norm_answers(late.flatten(0, 1)[begin])  # [Q, D]
        at_answers, right = _ask(self.answers, states, truth.answers)
        places = begin[truth.names[:, 0]] - truth.names[:, 1]  # [m]
        states = self.norm_names(early.flatten(0, 1)[places])  # [m, D]
        at_names, told = _ask(self.named, states, truth.named)
        return at_answers + at_names, right | {f"n {name}": value for name, value in told.items()}


def _ask(
    heads: nn.ModuleDict,
    states: torch.Tensor,
    truth: dict[str, tuple[torch.Tensor, torch.Tensor]],
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the heads' mean loss and how right each is; for centres, how far off."""
    total, facts, right = states.new_zeros(()), 0, {}
    for name, (at, answers) in truth.items():
        told = heads[name](states[at])
        facts += len(at)
        if answers.is_floating_point():
            total = total + 20 * F.smooth_l1_loss(told, answers, beta=0.05, reduction="sum")
            right[name] = float((told.detach() - answers).abs().mean())
        else:
            total = total + F.cross_entropy(told, answers, reduction="sum")
            right[name] = float((told.detach().argmax(1) == answers).float().mean())
    return total / max(facts, 1), right
