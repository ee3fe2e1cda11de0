"""Answers that begin with the same question, as one row that branches behind it.

Scoring four options as four rows runs the question four times. As branches they share it: all
tokens stand in one row, and attention hides the branches from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

Ids = Sequence[int]


@dataclass(frozen=True)
class Branches:
    """Rows of questions with their answers behind them.

    Attributes:
        ids: ``[B, S]`` int64 token ids, padded at the ends; answers lack their last tokens.
        offsets: ``[B, S]`` int64, each token's place after the prompt.
        hidden_from: ``[B, S, S]`` bool, which tokens each token must not see.
        sources: For each answer its row, and where in it its tokens are told from.
    """

    ids: torch.Tensor
    offsets: torch.Tensor
    hidden_from: torch.Tensor
    sources: tuple[tuple[int, tuple[int, ...]], ...]

    def to(self, device: torch.device) -> Branches:
        """Return the same on a device."""
        ids, offsets = self.ids.to(device), self.offsets.to(device)
        return Branches(ids, offsets, self.hidden_from.to(device), self.sources)


def branched(questions: Sequence[Ids], answers: Sequence[Ids]) -> Branches:
    """Let neighbouring answers to equal questions share a row.

    Args:
        questions: Per answer, its question; at least one token each.
        answers: Their tokens.
    """
    rows: list[_Row] = []
    sources = []
    for question, answer in zip(map(list, questions), map(list, answers), strict=True):
        if not rows or rows[-1].question != question:
            rows.append(_Row(question))
        sources.append((len(rows) - 1, rows[-1].grow(answer[:-1])))
    longest = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in rows])
    offsets = torch.tensor([row.offsets + [0] * (longest - len(row.ids)) for row in rows])
    # Padding counts as one more branch, which nobody sees and which sees itself.
    branch = torch.tensor([row.branch + [-1] * (longest - len(row.ids)) for row in rows])
    at = torch.arange(longest)
    own = (branch[:, None] == 0) | (branch[:, None] == branch[:, :, None])
    return Branches(ids, offsets, ~(own & (at <= at[:, None])), tuple(sources))


class _Row:
    """A question and what has grown behind it."""

    def __init__(self, question: list[int]) -> None:
        self.question = question
        self.ids = list(question)
        self.offsets = list(range(len(question)))
        self.branch = [0] * len(question)
        self._branches = 0

    def grow(self, tokens: list[int]) -> tuple[int, ...]:
        """Add a branch; return from where its tokens, and the one behind them, are told."""
        self._branches += 1
        first, length = len(self.ids), len(self.question)
        self.ids += tokens
        self.offsets += range(length, length + len(tokens))
        self.branch += [self._branches] * len(tokens)
        return (length - 1, *range(first, first + len(tokens)))
