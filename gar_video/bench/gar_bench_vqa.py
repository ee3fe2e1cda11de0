"""GAR-Bench-VQA: multiple choice about regions of pictures, from colour to relations."""

from __future__ import annotations

from pathlib import Path

from gar_video.bench.case import Case
from gar_video.bench.gar_bench import key_of, mentions, read_masks
from gar_video.bench.reading import (
    Item,
    answer_letter,
    as_options,
    load_items,
    option_texts,
    safe_media,
)

QUESTIONS = ("GAR-Bench-VQA.json",)


def load(data: Path, questions: Path | None = None) -> list[Case]:
    """Read the questions.

    Args:
        data: Folder that the pictures' paths are relative to.
        questions: The JSON file; by its usual name in ``data`` if None.

    Raises:
        GARVideoError: If an item is malformed; the message says which, and which field.
    """
    return load_items(data, questions, QUESTIONS, _case)


def _case(item: Item) -> Case:
    regions = read_masks(item)
    given = option_texts(item, "choices")
    parts = [mentions(item, "choices", text, len(regions)) for text in given]
    options = as_options(item, "choices", parts)
    return Case(
        key=key_of(item),
        index=item.index,
        media=safe_media(item, "image"),
        kind="choice",
        type=item.text("type", "questions"),
        question=tuple(mentions(item, "question", item.text("question"), len(regions))),
        options=options,
        answer=answer_letter(item, "answer", options, given),
        objects=regions,
    )
