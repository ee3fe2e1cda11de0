"""VideoRefer-BenchQ: multiple choice about objects in videos.

Each ``<objectN>`` is bound to the annotation's entries in order of first mention, whatever N is.
"""

from __future__ import annotations

import re
from pathlib import Path

from gar_video.bench.case import Case
from gar_video.bench.reading import (
    Item,
    answer_letter,
    as_options,
    bind,
    load_items,
    option_texts,
)
from gar_video.bench.videorefer import common_fields, read_objects

QUESTIONS = ("VideoRefer-Bench-Q.json",)
TYPES = (
    "Basic Questions",
    "Sequential Questions",
    "Relationship Questions",
    "Reasoning Questions",
    "Future Predictions",
)
# <object3><region>, <object3>, [<region>] or <region> alone, which is another object each time.
TAG = re.compile(r"<object(\d+)>(?:\s*\[?<region>\]?)?|\[?<region>\]?()")


def load(data: Path, questions: Path | None = None) -> list[Case]:
    """Read the questions.

    Args:
        data: Folder that the videos' paths are relative to.
        questions: The JSON file; by its usual name in ``data`` if None.

    Raises:
        GARVideoError: If an item is malformed; the message says which, and which field.
    """
    return load_items(data, questions, QUESTIONS, _case)


def _case(item: Item) -> Case:
    objects = read_objects(item)
    given = option_texts(item, "options")
    texts = [item.text("Question"), *given]
    parts, named = bind(TAG, texts, most=len(objects))
    _, asked = bind(TAG, texts[:1])
    if asked > len(objects):
        raise item.wrong("annotation", f"has {len(objects)} objects, but Question names {asked}")
    options = as_options(item, "options", parts[1:])
    return Case(
        **common_fields(item, "questions"),
        kind="choice",
        question=tuple(parts[0]),
        options=options,
        answer=answer_letter(item, "Answer", options, given),
        objects=objects[:named] if named else objects,
    )
