"""VideoRefer-BenchD: descriptions of objects in videos, judged 0 to 5 on four dimensions."""

from __future__ import annotations

from pathlib import Path

from gar_video.bench.case import Case
from gar_video.bench.reading import Item, load_items
from gar_video.bench.videorefer import common_fields, read_objects
from gar_video.prompt import ObjectMention, QuestionPart

QUESTIONS = ("VideoRefer-Bench-D.json",)
#: In the order of the published tables.
DIMENSIONS = (
    "Subject Correspondence",
    "Appearance Description",
    "Temporal Description",
    "Hallucination Detection",
)
#: The benchmark's own request, in place of GAR's, with ``--prompt-style official``.
OFFICIAL: tuple[QuestionPart, ...] = (
    "Please give a detailed description of the highlighted object ",
    ObjectMention(1),
    " in the video.",
)


def load(data: Path, questions: Path | None = None) -> list[Case]:
    """Read the clips to describe.

    Args:
        data: Folder that the videos' paths are relative to.
        questions: The JSON file; by its usual name in ``data`` if None.

    Raises:
        GARVideoError: If an item is malformed; the message says which, and which field.
    """
    return load_items(data, questions, QUESTIONS, _case)


def _case(item: Item) -> Case:
    objects = read_objects(item)
    if len(objects) != 1:
        raise item.wrong("annotation", f"has {len(objects)} objects; expected the one described")
    caption = item.text("caption")
    return Case(
        **common_fields(item, "descriptions"),
        kind="describe",
        question=(),
        options=(),
        answer=caption,
        objects=objects,
        judged={"caption": caption},
    )
