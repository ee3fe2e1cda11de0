"""DLC-Bench: detailed captions of one region, judged on what they must and must not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gar_video.bench.case import Case
from gar_video.bench.reading import Item, check_segmentation, find_file, read_json
from gar_video.errors import GARVideoError

ANNOTATIONS, CLASSES, QA = ("annotations.json",), ("class_names.json",), ("qa.json",)


def load(data: Path, questions: Path | None = None) -> list[Case]:
    """Read the regions to describe, in the order of ``qa.json``.

    Args:
        data: Folder with ``annotations.json``, ``class_names.json``, ``qa.json`` and ``images/``.
        questions: Another ``qa.json``.

    Raises:
        GARVideoError: If a file or an entry is malformed; the message says which.
    """
    path = find_file(data, questions, QA)
    asked = _by_id(path)
    classes = _by_id(find_file(data, None, CLASSES))
    where = find_file(data, None, ANNOTATIONS)
    coco = read_json(where)
    if not isinstance(coco, dict) or not {"images", "annotations"} <= set(coco):
        raise GARVideoError(f"{where} is not COCO's; expected images and annotations")
    pictures = {
        one.get("id"): one
        for one in (Item(where, at, raw).fields for at, raw in enumerate(coco["images"]))
    }
    regions: dict[str, Item] = {}
    for at, raw in enumerate(coco["annotations"]):
        item = Item(where, at, raw)
        key = item.text("id")
        if key in regions:
            raise item.wrong("id", "stands twice; expected each once")
        regions[key] = item
    cases = []
    for index, (key, questions_of) in enumerate(asked.items()):
        if key not in regions or key not in classes:
            missing = where if key not in regions else data / CLASSES[0]
            raise GARVideoError(f"{path.name} asks about region {key}, which {missing} lacks")
        cases.append(
            _case(
                regions[key],
                index,
                key,
                pictures,
                str(classes[key]),
                _checked(path, key, questions_of),
            )
        )
    return cases


def _by_id(path: Path) -> dict[str, Any]:
    held = read_json(path)
    if not isinstance(held, dict) or not held:
        raise GARVideoError(f"{path} is not a list by region; expected region id to entry")
    return held


def _checked(path: Path, key: str, questions: Any) -> list[dict[str, Any]]:
    """Return a region's questions, each with options of text and score."""
    good = isinstance(questions, list) and any(
        isinstance(one, dict) and one.get("type") == "positive" for one in questions
    )
    for one in questions if good else []:
        choices = one.get("choices") if isinstance(one, dict) else None
        good = (
            good
            and isinstance(choices, list)
            and bool(choices)
            and one.get("type") in ("positive", "negative")
            and isinstance(one.get("question"), str)
            and all(
                isinstance(c, list) and len(c) == 2 and isinstance(c[0], str)
                and isinstance(c[1], (int, float)) for c in choices
            )
        )  # fmt: skip
    if not good:
        raise GARVideoError(
            f"{path.name}, region {key}: expected questions with question, type positive or "
            "negative and choices of [text, score], at least one of them positive"
        )
    return list(questions)


def _case(
    item: Item,
    index: int,
    key: str,
    pictures: dict[Any, dict[str, Any]],
    name: str,
    questions: list[dict[str, Any]],
) -> Case:
    picture = pictures.get(item.fields.get("image_id"))
    if picture is None or not isinstance(picture.get("file_name"), str):
        raise item.wrong("image_id", f"is {item.fields.get('image_id')}, which no image has")
    file_name = picture["file_name"]
    if Path(file_name).is_absolute() or ".." in Path(file_name).parts:
        raise item.wrong("image_id", f"leads to {file_name!r}, outside the data folder")
    segmentation = check_segmentation(item, "segmentation", item.fields.get("segmentation"))
    if segmentation is None:
        raise item.wrong("segmentation", "is empty; expected an RLE or polygons")
    return Case(
        key=key,
        index=index,
        media=f"images/{file_name}",
        kind="describe",
        type="descriptions",
        question=(),
        options=(),
        answer=name,
        objects=({0: segmentation},),
        first_number=1,
        judged={"class_name": name, "questions": questions},
    )
