"""How a case is put into words."""

from __future__ import annotations

from collections.abc import Sequence

from gar_video.bench.case import Case
from gar_video.bench.settings import Settings
from gar_video.bench.videorefer_d import OFFICIAL
from gar_video.prompt import DESCRIBE, QuestionPart


def wording(case: Case, settings: Settings, *, official: bool) -> list[QuestionPart]:
    """Return what the model is asked.

    Args:
        case: The case.
        settings: The run's settings.
        official: Whether the benchmark has a wording of its own and it is asked for.
    """
    if case.kind == "describe":
        if case.question:
            return list(case.question)
        return list(OFFICIAL) if official else [DESCRIBE]
    if settings.score == "text":
        return list(case.question)
    if official:
        parts: list[QuestionPart] = [*case.question, " "]
        for place, option in enumerate(case.options):
            parts += [f"{' ' if place else ''}({option.letter}) ", *option.words]
        return joined(
            [*parts, ". Answer with the option's letter from the given choices directly."]
        )
    parts = ["Question: ", *_stripped(case.question), "\nOptions:"]
    for option in case.options:
        parts += [f"\n{option.letter}. ", *_stripped(option.words)]
    return joined([*parts, "\nAnswer with the correct option's letter directly."])


def _stripped(parts: Sequence[QuestionPart]) -> list[QuestionPart]:
    """Cut white space off both ends, as ``prompt.multiple_choice`` does."""
    cut = list(parts)
    if cut and isinstance(cut[0], str):
        cut[0] = cut[0].lstrip()
    if cut and isinstance(cut[-1], str):
        cut[-1] = cut[-1].rstrip()
    return cut


def joined(parts: Sequence[QuestionPart]) -> list[QuestionPart]:
    """Join neighbouring words into one, as tokenisers see them."""
    out: list[QuestionPart] = []
    for part in parts:
        if isinstance(part, str) and out and isinstance(out[-1], str):
            out[-1] += part
        elif part != "":
            out.append(part)
    return out
