"""Scoring rules and statistics. Pure: texts and numbers in, numbers out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

_BRACKETED = re.compile(r"\(([A-Z])\)")
_CLOSED = re.compile(r"([A-Z])\)")

# -- multiple choice -------------------------------------------------------------------------------


def official_letter(text: str) -> str | None:
    """Read an answer's letter by VideoRefer-BenchQ's published rule.

    The first ``(X)`` in capitals; else the first ``X)``; else the first character once dots are
    removed, whatever it is. An answer without a character has no letter; the published code stops
    there.

    Returns:
        One character in upper case, which need not be a letter; None if there is none.
    """
    match = _BRACKETED.search(text) or _CLOSED.search(text)
    if match:
        return match.group(1)
    rest = text.replace(".", "")
    return rest[0].upper() if rest else None


_STRICT = (
    re.compile(r"\(([A-Za-z])\)"),
    re.compile(r"(?<![A-Za-z])([A-Za-z])\)"),
    re.compile(r"^[\s\"'*`]*(?:(?:the |correct |best )*(?:answer|option)(?: is|:)*\s*)?([A-Za-z])"
               r"(?=[\s.:,;\"'*`]*$|[.:,](?=\s))", re.IGNORECASE),
)  # fmt: skip


def strict_letter(text: str, letters: Sequence[str]) -> str | None:
    """Read an answer's letter only where the answer is clearly that letter.

    ``"A person runs"`` begins with an A and answers nothing; nor does ``"(A) or (B)"``, which names
    two options. The published rule reads A from both.

    Args:
        text: The answer.
        letters: The options' letters.

    Returns:
        The letter, or None.
    """
    known = {letter.upper() for letter in letters}
    for pattern in _STRICT:
        found = {match.upper() for match in pattern.findall(text)} & known
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def whole_letter(text: str) -> str | None:
    """Read an answer's letter by GAR-Bench-VQA's published rule: the whole answer is the letter."""
    return text.upper() if len(text) == 1 else None


# -- DLC-Bench -------------------------------------------------------------------------------------


def match_option(reply: str, options: Sequence[str]) -> int | None:
    """Find the option that a judge's reply means, by DLC-Bench's rule.

    In this order, lower-cased: the reply is an option, its letter, or both; the one option that it
    contains; the letter before a dot that it begins with; of several options contained, the one
    that begins last (the longest of those that begin there); the longest option that contains the
    reply; a letter alone on the first line.

    Returns:
        The option's index; None if nothing matches, or the reply is empty or a single character
        that is no option's letter, where the published code stops with an error.
    """
    said = reply.strip().lower()
    texts = [option.strip().lower() for option in options]
    letters = "abcdefghij"[: len(texts)]
    if not said:
        return None
    for index, text in enumerate(texts):
        if said in (text, letters[index], f"{letters[index]}. {text}"):
            return index
    held = [(said.index(text), len(text), -i) for i, text in enumerate(texts) if text in said]
    if len(held) == 1:
        return -held[0][2]
    if said[1:2] == "." and said[0] in "abcde":
        return letters.index(said[0]) if said[0] in letters else None
    if held:
        return -max(held)[2]
    if len(said) == 1:
        return None
    holding = [(len(text), -i) for i, text in enumerate(texts) if said in text]
    if holding:
        return -max(holding)[1]
    return letters.index(said[0]) if said[1] == "\n" and said[0] in letters else None


def points_of(question: Mapping[str, Any], chosen: int | None, recognised: bool) -> float:
    """Return what a judge's choice is worth: the option's score, 0 without one.

    A description not recognised as one of its class scores 0 at most.
    """
    points = 0.0 if chosen is None else float(question["choices"][chosen][1])
    return points if recognised else min(points, 0.0)


def region_scores(
    questions: Sequence[Mapping[str, Any]], chosen: Sequence[int | None], recognised: bool
) -> tuple[float | None, float | None]:
    """Score one region of DLC-Bench.

    Args:
        questions: With ``type`` and ``choices`` of (text, score).
        chosen: The option that the judge chose for each; None for no match.
        recognised: Whether the judge took the description for one of the class.

    Returns:
        Mean score of the positive and of the negative questions, None where there are none.
    """
    points: dict[str, list[float]] = {"positive": [], "negative": []}
    for question, index in zip(questions, chosen, strict=True):
        points[question["type"]].append(points_of(question, index, recognised))
    return mean(points["positive"]), mean(points["negative"])


def is_plural(name: str) -> bool:
    """Whether DLC-Bench words its recognition question in the plural for a class.

    Names that end in s, ``bus`` aside: so the published judge was asked about "wine glass" too.
    """
    return name.endswith("s") and name != "bus"


# -- judged texts ----------------------------------------------------------------------------------


def official_verdict(reply: str) -> bool:
    """Read a verdict by GAR-Bench's published rule: exactly ``True`` counts, nothing else."""
    return reply == "True"


def read_verdict(reply: str) -> bool | None:
    """Read a verdict: true or false in any case, with quotes, stars or a dot around it.

    Returns:
        None if the reply is anything else.
    """
    plain = reply.strip().strip("\"'`*. \n").lower()
    return {"true": True, "false": False}.get(plain)


def read_dimensions(reply: str, dimensions: Sequence[str]) -> dict[str, int] | None:
    """Read whole scores of 0 to 5 for each dimension, from JSON or from lines ``name: score``.

    Returns:
        None unless every dimension has exactly one score, a whole number from 0 to 5.
    """
    found: dict[str, int] = {}
    start, end = reply.find("{"), reply.rfind("}")
    if 0 <= start < end:
        try:
            held = json.loads(reply[start : end + 1].replace("'", '"'))
        except ValueError:
            held = {}
        if isinstance(held, dict):
            plain = {str(key).strip().lower(): value for key, value in held.items()}
            for name in dimensions:
                value = plain.get(name.lower())
                if isinstance(value, int) and not isinstance(value, bool):
                    found[name] = value
    if not found:
        for name in dimensions:
            scores = re.findall(
                re.escape(name) + r"\W{0,8}?(\d+)(?![\d.]*\.\d)", reply, re.IGNORECASE
            )
            if len(set(scores)) == 1:
                found[name] = int(scores[0])
    whole = set(found) == set(dimensions) and all(0 <= value <= 5 for value in found.values())
    return found if whole else None


# -- statistics ------------------------------------------------------------------------------------


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return math.fsum(values) / len(values) if values else None


def wilson(correct: int, total: int) -> tuple[float, float] | None:
    """Return the Wilson 95 % interval of a share; None of nothing."""
    if total == 0:
        return None
    z = 1.959963984540054
    share, square = correct / total, z * z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = (z / (1 + square / total)) * math.sqrt(
        share * (1 - share) / total + square / (4 * total * total)
    )
    # Rounding must not push the end past what the share itself is.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p of McNemar's test.

    Args:
        only_a: Questions that only the first got right.
        only_b: Questions that only the second got right.
    """
    flips = only_a + only_b
    if flips == 0:
        return 1.0
    term = tail = 1
    for k in range(min(only_a, only_b)):
        term = term * (flips - k) // (k + 1)  # the binomial coefficient of k + 1
        tail += term
    # Whole numbers until the end: 2^flips is beyond what a float can hold for many flips.
    return min(1.0, (2 * tail) / (1 << flips))


def kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> tuple[float | None, float | None]:
    """Return agreement and Cohen's kappa of two judges.

    Args:
        pairs: What each said of the same thing.

    Returns:
        ``(agreement, kappa)``; kappa is None where both always say the same one thing.
    """
    if not pairs:
        return None, None
    total = len(pairs)
    agreement = sum(a == b for a, b in pairs) / total
    labels = {label for pair in pairs for label in pair}
    chance = sum(
        (sum(a == label for a, _ in pairs) / total) * (sum(b == label for _, b in pairs) / total)
        for label in labels
    )
    return agreement, None if chance >= 1 else (agreement - chance) / (1 - chance)
