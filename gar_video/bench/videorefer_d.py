"""VideoRefer-BenchD: descriptions of objects in videos, judged 0 to 5 on four dimensions."""

from __future__ import annotations

from pathlib import Path

from gar_video.bench.case import Case
from gar_video.bench.reading import (
    Item,
    check_keys,
    find_file,
    read_items,
    read_regions,
    safe_media,
)
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
    path = find_file(data, questions, QUESTIONS)
    cases = [_case(item) for item in read_items(path)]
    check_keys(cases, path)
    return cases


def _case(item: Item) -> Case:
    entries = item.items("annotation")
    if len(entries) != 1:
        raise item.wrong("annotation", f"has {len(entries)} objects; expected the one described")
    caption = item.text("caption")
    return Case(
        key=str(item.fields.get("id", item.index)),
        index=item.index,
        media=safe_media(item, "video"),
        kind="describe",
        type=item.text("type", "descriptions"),
        question=(),
        options=(),
        answer=caption,
        objects=(read_regions(item, "annotation", entries[0], 0),),
        prompt_frame=item.frame("frame_idx"),
        judged={"caption": caption},
    )
