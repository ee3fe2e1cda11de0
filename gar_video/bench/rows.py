"""Rows: what a run keeps of each question."""

from __future__ import annotations

from typing import Any

from gar_video.bench import score
from gar_video.bench.case import Case

Row = dict[str, Any]


def blank_row(case: Case, group: int) -> Row:
    """Return the row of a question that has not been answered.

    Args:
        case: The question.
        group: Position of the clip with its objects in the run; rows are ordered by it.
    """
    return {
        "key": case.key,
        "index": case.index,
        "group": group,
        "type": case.type,
        "answer": case.answer,
        "text": None,
        "letter": None,
        "strict": None,
        "correct": False if case.kind == "choice" else None,
        "probabilities": None,
        "objects": len(case.objects),
        "hidden": [],
        "frames": [],
        "times_s": [],
        "seconds": None,
        "error": None,
    }


def read_choice(case: Case, text: str, *, whole: bool) -> Row:
    """Read a written answer to a choice by the benchmark's published rule.

    Args:
        case: The question.
        text: The answer.
        whole: Whether it counts only if it is the letter and nothing else.
    """
    letters = [option.letter for option in case.options]
    letter = score.whole_letter(text) if whole else score.official_letter(text)
    return {
        "text": text,
        "letter": letter,
        "strict": score.strict_letter(text, letters),
        "correct": letter is not None and letter.lower() == case.answer.lower(),
    }
