"""Guessing answers without looking: what the text of questions alone gives away.

Every rule here is learned on one set of questions and tried on another. Over questions with four
options all of them should come out near one in four.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from gar_video.synth.questions import Question

Score = Callable[[Question, int], float]


def _bag(text: str) -> set[str]:
    return set(re.findall(r"<\d>|[a-z]+", text.lower()))


def _rate(seen: Sequence[Question], trait: Callable[[Question, int], object]) -> Score:
    """Score an option by how often options with its trait were true."""
    offered: Counter[object] = Counter()
    true: Counter[object] = Counter()
    for question in seen:
        for i in range(len(question.options)):
            offered[trait(question, i)] += 1
        true[trait(question, question.answer_index)] += 1

    def score(question: Question, i: int) -> float:
        key = trait(question, i)
        return (true[key] + 1) / (offered[key] + 4)

    return score


def _shared(question: Question, i: int) -> float:
    """Count the words that an option shares with the other options."""
    mine = _bag(question.options[i])
    others = [_bag(text) for j, text in enumerate(question.options) if j != i]
    return sum(len(mine & other) for other in others) / (len(mine) + 1)


def _regression(seen: Sequence[Question], epochs: int = 3) -> Score:
    """Learn a weight for each word of each option given the kind, its place and what is asked."""
    size = 1 << 16
    weights = np.zeros(size)

    def features(question: Question, i: int) -> npt.NDArray[np.int64]:
        kind, text = question.kind, question.options[i]
        traits = [f"{kind}|{word}" for word in sorted(_bag(text))]
        traits += [f"{kind}|{question.option_keys[i]}", f"{kind}|place {i}", f"{kind}|={text}"]
        traits += [f"{kind}|{question.asked_for}|{question.option_keys[i]}"]
        traits += [f"{kind}|{question.wording}|{question.option_keys[i]}"]
        others = (k for j, k in enumerate(question.option_keys) if j != i)
        traits += [f"{kind}|{question.option_keys[i]}|{other}" for other in others]
        hashed = [zlib.crc32(trait.encode()) % size for trait in traits]
        return np.asarray(hashed, dtype=np.int64)

    cached = [[features(q, i) for i in range(len(q.options))] for q in seen]
    for epoch in range(epochs):
        pace = 0.1 / (1 + epoch)
        for question, rows in zip(seen, cached, strict=True):
            logits = np.array([weights[row].sum() for row in rows])
            shares = np.exp(logits - logits.max())
            shares /= shares.sum()
            for i, row in enumerate(rows):
                np.add.at(weights, row, pace * (float(i == question.answer_index) - shares[i]))

    def score(question: Question, i: int) -> float:
        return float(weights[features(question, i)].sum())

    return score


def rules(seen: Sequence[Question]) -> dict[str, Score]:
    """Learn all rules from multiple-choice questions.

    Returns:
        Name of each rule -> score of an option of a question; it guesses the highest.
    """
    return {
        "answer per kind": _rate(seen, lambda q, i: (q.kind, q.option_keys[i])),
        "words per kind": _rate(seen, lambda q, i: (q.kind, q.options[i])),
        "answer per wording": _rate(seen, lambda q, i: (q.kind, q.wording, q.option_keys[i])),
        "answer per asked": _rate(seen, lambda q, i: (q.kind, q.asked_for, q.option_keys[i])),
        "answer per objects": _rate(seen, lambda q, i: (q.kind, q.object_ids, q.options[i])),
        "answer per option set": _rate(
            seen, lambda q, i: (q.kind, q.option_keys[i], tuple(sorted(q.option_keys)))
        ),
        "place per kind": _rate(seen, lambda q, i: (q.kind, i)),
        "place": _rate(seen, lambda _, i: i),
        "most shared words": _shared,
        "fewest shared words": lambda q, i: -_shared(q, i),
        "longest": lambda q, i: len(q.options[i]),
        "shortest": lambda q, i: -len(q.options[i]),
        "words of the question": lambda q, i: len(_bag(q.options[i]) & _bag(q.text)),
        "regression": _regression(seen),
    }


def text_only_accuracy(seen: Sequence[Question], unseen: Sequence[Question]) -> dict[str, float]:
    """Return how often each rule is right on questions that it did not learn from.

    Args:
        seen: Multiple-choice questions to learn from.
        unseen: Others to guess.

    Returns:
        Name of the rule -> share of right guesses. Ties count as a draw among the tied.
    """
    result = {}
    for name, score in rules(seen).items():
        right = 0.0
        for question in unseen:
            scores = np.array([score(question, i) for i in range(len(question.options))])
            best = np.flatnonzero(scores >= scores.max() - 1e-12)
            right += float(question.answer_index in best) / len(best)
        result[name] = right / max(1, len(unseen))
    return result
