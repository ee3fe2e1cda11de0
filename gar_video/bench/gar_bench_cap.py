"""GAR-Bench captions: relations between regions, simple and detailed, judged true or false."""

from __future__ import annotations

from pathlib import Path

from gar_video.bench.case import Case
from gar_video.bench.gar_bench import key_of, mentions, read_masks
from gar_video.bench.reading import Item, check_keys, find_file, read_items, safe_media
from gar_video.prompt import ObjectMention, QuestionPart

QUESTIONS = ("GAR-Bench-Caption-Simple.json", "GAR-Bench-Caption-Detailed.json")
SIMPLE, DETAILED = "simple", "detailed"
_NAMES = ("subject_name", "object_name", "predicate_name")
#: What every detailed caption is asked for.
REQUEST: tuple[QuestionPart, ...] = (
    "Describe ",
    ObjectMention(1),
    " in detail, including the relationship with ",
    ObjectMention(2),
    ".",
)


def load(data: Path, questions: Path | None = None) -> list[Case]:
    """Read the captions to make: one file if it is given, else both where they are there.

    Args:
        data: Folder that the pictures' paths are relative to.
        questions: A JSON file of either kind, told by its fields.

    Raises:
        GARVideoError: If an item is malformed; the message says which, and which field.
    """
    if questions is not None:
        paths = [find_file(data, questions, QUESTIONS)]
    else:
        find_file(data, None, QUESTIONS)
        paths = [data / name for name in QUESTIONS if (data / name).is_file()]
    cases: list[Case] = []
    for path in paths:
        cases += [_case(item, len(cases)) for item in read_items(path)]
        check_keys(cases, path)
    return cases


def _case(item: Item, offset: int) -> Case:
    regions = read_masks(item)
    detailed = "predicate_name" in item.fields
    if detailed:
        judged = {name: item.text(name) for name in _NAMES}
        question = REQUEST
        answer = " ".join((judged[_NAMES[0]], judged[_NAMES[2]], judged[_NAMES[1]]))
        if len(regions) < 2:
            raise item.wrong("mask_rles", "holds one mask; expected subject and object")
    else:
        answer = item.text("answer")
        judged = {"answer": answer}
        question = tuple(mentions(item, "question", item.text("question"), len(regions)))
    return Case(
        key=key_of(item, DETAILED if detailed else SIMPLE),
        index=offset + item.index,
        media=safe_media(item, "image"),
        kind="describe",
        type=DETAILED if detailed else SIMPLE,
        question=question,
        options=(),
        answer=answer,
        objects=regions,
        judged=judged,
    )
