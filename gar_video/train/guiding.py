"""Showing the decoder where to look: a question's tokens at the things that it names.

What is true of a thing stands, after a few layers, at its replayed regions. To answer, a mention
``<Prompt1>`` has to find the regions of its thing among hundreds of tokens, and the answer's start
has to find the mentions. Attention that begins evenly spread gets next to no gradient for this: it
took most of a training to come about, badly. Here some heads of two layers are told outright where
their weight belongs, and linear heads ask the mentions for what they should have found. A third
layer looks again, for what two things are to each other, and a fourth at the thing that is the
answer. Used in training only; the layers stay plain attention.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedTokenizerBase

from gar_video.synth.kinds import KINDS
from gar_video.train.packing import Layout, answer_begins
from gar_video.train.region_heads import CLASSES, RegionTruth
from gar_video.train.samples import Sample

#: Layers whose heads are shown where to look: mentions at regions, then answers at mentions, again
#: for comparing two, and at the one of three that is asked for.
MENTIONS, ANSWERS, PAIRS, CHOSEN = 4, 5, 6, 7
#: Heads of the first that look at a thing's last region, and the one that looks at its first.
LAST, FIRST = (0, 1), 2
#: Head of the first by which an answer's start looks for the question's words of time.
WHEN = 3
#: The words that tell a question about the start from one about the end. Of what a question is put
#: by, these drown on the way through the layers: "where is <1> at the end" was answered with where
#: it is at the start.
STARTS = frozenset(("start", "starts", "begin", "begins", "beginning", "first"))
TIMES = STARTS | {"end", "ends", "last", "finish"}
#: Things whose mentions an answer's start is shown; a head for each.
MOST = 3
#: Heads of the third that look at a pair's things, and those that look at its later thing for what
#: it is to the prompt's first thing, and to the one before it.
EACH, TO_FIRST, TO_PREVIOUS = (0, 1), 2, 3
#: Head of the fourth that looks at the thing that is the answer.
ANSWER = 0
#: Facts of a thing's last region that a mention is asked for.
ASKED = tuple(name for name in CLASSES if name not in ("slot", "frame", "step", "relation"))
#: Kinds of questions that an answer's start is to tell apart.
ASKED_KINDS = (*KINDS, "describe")


@dataclass
class Gaze:
    """Where some tokens of questions are to look.

    Attributes:
        layer: Number of the layer.
        head: Number of its head.
        tokens: ``[G]`` flat indices of the tokens that look.
        pairs: ``[2, M]`` number of the looking token, and what it may look at: a column among
            the prompt's tokens and those of its own chunk.
    """

    layer: int
    head: int
    tokens: torch.Tensor
    pairs: torch.Tensor


@dataclass
class Guide:
    """All that is shown in one step.

    Attributes:
        gazes: Where to look.
        mentions: ``[N]`` flat indices of the mentions (of answers' starts, where a question
            mentions nobody).
        rows: ``[N]`` the last region of the thing that each means.
        pairs: ``[P, 3]`` of each question about two things: flat index of its answer's start, and
            the last regions of the two.
        kinds: ``[Q, 2]`` of each question of a known kind: flat index of its answer's start, and
            the number of its kind in ``ASKED_KINDS``.
    """

    gazes: list[Gaze]
    mentions: torch.Tensor
    rows: torch.Tensor
    pairs: torch.Tensor
    kinds: torch.Tensor


@dataclass
class _Thing:
    """A prompted thing: the last of its regions, and columns of its first and last one."""

    row: int
    first: list[int]
    last: list[int]


def _things(sample: Sample, row: int, per_tile: int) -> list[_Thing]:
    """Find each thing's first and last region; ``row`` is the sample's first one."""
    half, at, found = per_tile // 2, 0, []
    starts = [start + half for _, _, start in sample.prompt.regions]
    for seen in sample.visible:
        last = at + int(seen.sum()) - 1
        spans = [list(range(starts[k], starts[k] + per_tile - half)) for k in (at, last)]
        found.append(_Thing(row + last, *spans))
        at = last + 1
    return found


def draw_guide(
    samples: Sequence[Sample],
    layout: Layout,
    prompt_ids: Sequence[int],
    per_tile: int,
    time_ids: Collection[int] = (),
) -> Guide:
    """Find out where each question's tokens should look.

    Args:
        samples: The batch.
        layout: Its layout.
        prompt_ids: Token ids of ``<Prompt0>``, ``<Prompt1>`` …
        per_tile: Tokens of a region; what is known of it stands in the second half of them.
        time_ids: Token ids of ``TIMES``.
    """
    width, longest, chunk = layout.ids.shape[1], layout.prompt_length, layout.mask.shape[2]
    begins = layout.begins.tolist()
    answers = answer_begins(layout).tolist() if begins else []
    looks: dict[tuple[int, int], list[tuple[int, list[int]]]] = defaultdict(list)
    mentions, rows, pairs = list[int](), list[int](), list[tuple[int, int, int]]()
    kinds = list[tuple[int, int]]()
    number, row = 0, 0

    def column(token: int) -> int:
        return longest + (token % width - longest) % chunk

    for sample in samples:
        things = _things(sample, row, per_tile)
        row += len(sample.prompt.regions)
        alone = sample.is_image and len(things) == 1
        slots = {prompt_ids[slot + alone]: slot for slot in range(len(things))}
        for question in sample.questions:
            begin, answer = begins[number], answers[number]
            number += 1
            named = [(begin + i, slots[t]) for i, t in enumerate(question.ids) if t in slots]
            # Where nobody is mentioned, the answer's start looks for itself.
            for token, slot in named or [(answer, slot) for slot in question.slots[:1]]:
                for head in LAST:
                    looks[MENTIONS, head].append((token, things[slot].last))
                looks[MENTIONS, FIRST].append((token, things[slot].first))
                mentions.append(token)
                rows.append(things[slot].row)
            places: dict[int, list[int]] = {slot: [] for slot in question.slots}
            for token, slot in named:
                places.setdefault(slot, []).append(column(token))
            for head, slot in enumerate(question.slots[:MOST]):
                looks[ANSWERS, head].append((answer, places[slot] or things[slot].last))
            for head, slot_or_none in enumerate(_compared(question.slots)):
                # Who has nothing to look at looks at the prompt's first token.
                there = [0] if slot_or_none is None else places[slot_or_none] or [column(answer)]
                looks[PAIRS, head].append((answer, there))
            if len(question.slots) == 2:
                first, second = question.slots
                pairs.append((answer, things[first].row, things[second].row))
            if (kind := question.kind.removeprefix("letter ")) in ASKED_KINDS:
                kinds.append((answer, ASKED_KINDS.index(kind)))
            times = [column(begin + i) for i, t in enumerate(question.ids) if t in time_ids]
            if times:
                looks[MENTIONS, WHEN].append((answer, times))
            said = {slots[t] for t in question.answer if t in slots}
            if len(question.slots) == 3 and len(said) == 1 and (there := places[min(said)]):
                looks[CHOSEN, ANSWER].append((answer, there))
    gazes = [_gaze(layer, head, found) for (layer, head), found in looks.items()]
    return Guide(
        gazes,
        torch.tensor(mentions).long(),
        torch.tensor(rows).long(),
        torch.tensor(pairs).long().reshape(-1, 3),
        torch.tensor(kinds).long().reshape(-1, 2),
    )


def _compared(slots: Sequence[int]) -> tuple[int | None, ...]:
    """Return whom each head of the comparing layer is to look at."""
    if len(slots) != 2:
        return (slots[0] if len(slots) == 1 else None, None, None, None)
    early, late = sorted(slots)
    return (*slots, late if early == 0 else None, late if 0 < early == late - 1 else None)


def _gaze(layer: int, head: int, found: list[tuple[int, list[int]]]) -> Gaze:
    pairs = [(n, column) for n, (_, columns) in enumerate(found) for column in columns]
    tokens = torch.tensor([token for token, _ in found])
    return Gaze(layer, head, tokens, torch.tensor(pairs).T.contiguous())


class Watch:
    """Sums up how far heads look from where they should; give it to ``run_decoder``.

    Args:
        guide: Where they should.
        layout: Of the batch.

    Attributes:
        loss: Mean of -log of the weight in the right place.
        weights: ``"layer.head"`` -> mean weight in the right place.
    """

    def __init__(self, guide: Guide, layout: Layout) -> None:
        self.loss: torch.Tensor | float = 0.0
        self.weights: dict[str, float] = {}
        self._layout = layout
        self._gazes: dict[int, list[Gaze]] = defaultdict(list)
        for gaze in guide.gazes:
            self._gazes[gaze.layer].append(gaze)
        self._share = 1 / max(len(guide.gazes), 1)

    def __call__(self, depth: int, query: torch.Tensor, key: torch.Tensor) -> None:
        """Look at a layer's queries and keys, ``[B, h, L, d]``."""
        layout = self._layout
        width, prompt, chunk = layout.ids.shape[1], layout.prompt_length, layout.mask.shape[2]
        for gaze in self._gazes.get(depth, ()):
            rows, starts, seen = layout.seen_by(gaze.tokens)
            asking = query[rows, gaze.head, gaze.tokens % width]  # [G, d]
            keys = key[:, gaze.head]  # [B, L, d]
            own = keys[rows[:, None], starts[:, None] + torch.arange(chunk)]  # [G, C, d]
            scores = (
                torch.cat(
                    [
                        (keys[rows, :prompt] @ asking[:, :, None])[..., 0],
                        (own @ asking[:, :, None])[..., 0],
                    ],
                    1,
                )
                / asking.shape[-1] ** 0.5
            )  # [G, P + C]
            weights = F.softmax(scores.masked_fill(~seen, float("-inf")), 1)
            here, there = gaze.pairs
            right = weights.new_zeros(len(weights)).index_add(0, here, weights[here, there])
            self.loss = self.loss - right.clamp_min(1e-6).log().mean() * self._share
            self.weights[f"{depth}.{gaze.head}"] = float(right.detach().mean())


def time_tokens(
    tokenizer: PreTrainedTokenizerBase, words: Collection[str] = TIMES
) -> frozenset[int]:
    """Return the ids of the tokens that spell one of the words, with or without a space."""
    ids = {tokenizer.decode([n]): n for n in range(len(tokenizer))}
    return frozenset(n for token, n in ids.items() if token.strip().lower() in words)


class MentionHeads(nn.Module):
    """Linear readers of a thing's facts at its mentions, and of a question's kind at its answer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = nn.ModuleDict({name: nn.Linear(width, CLASSES[name]) for name in ASKED})
        self.kind = nn.Linear(width, len(ASKED_KINDS))

    def loss(
        self, hidden: torch.Tensor, guide: Guide, truth: RegionTruth
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss and how right each head is.

        Args:
            hidden: ``[B, L, D]`` after the layer in which mentions look at regions.
            guide: Of the batch.
            truth: What is true of its regions.
        """
        states = self.norm(hidden.flatten(0, 1)[guide.mentions])  # [N, D]
        total, right = hidden.new_zeros(()), {}
        for name in ASKED:
            answers = truth.classes[name][guide.rows]
            if not bool((known := answers >= 0).any()):
                continue
            logits = self.read[name](states[known])
            total = total + F.cross_entropy(logits, answers[known])
            right[name] = float((logits.detach().argmax(1) == answers[known]).float().mean())
        total = total / 12
        if len(guide.kinds):
            at, kinds = guide.kinds.T
            logits = self.kind(self.norm(hidden.flatten(0, 1)[at]))
            total = total + F.cross_entropy(logits, kinds)
            right["kind"] = float((logits.detach().argmax(1) == kinds).float().mean())
        return total, right
