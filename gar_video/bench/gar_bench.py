"""What GAR-Bench's three files have in common: a picture, masks, and text that names prompts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gar_video.bench.case import Regions
from gar_video.bench.reading import Item, check_segmentation
from gar_video.prompt import ObjectMention, QuestionPart

_PROMPT = re.compile(r"<Prompt(\d{1,3})>")


def read_masks(item: Item) -> tuple[Regions, ...]:
    """Return the regions: mask N belongs to ``<PromptN>``.

    Raises:
        GARVideoError: If a mask is missing or malformed.
    """
    regions = []
    for place, mask in enumerate(item.items("mask_rles")):
        where = f"mask_rles[{place}]"
        segmentation = check_segmentation(item, where, mask)
        if segmentation is None:
            raise item.wrong(where, "is empty; expected an RLE or polygons")
        regions.append({0: segmentation})
    return tuple(regions)


def mentions(item: Item, name: str, text: str, num_masks: int) -> list[QuestionPart]:
    """Turn ``<PromptN>`` into mentions of object N + 1.

    Raises:
        GARVideoError: If there is no mask N.
    """
    parts: list[QuestionPart] = []
    end = 0
    for match in _PROMPT.finditer(text):
        number = int(match.group(1))
        if number >= num_masks:
            raise item.wrong(name, f"names {match.group()}, but there are {num_masks} masks")
        parts += [text[end : match.start()]] if match.start() > end else []
        parts.append(ObjectMention(number + 1))
        end = match.end()
    parts += [text[end:]] if text[end:] else []
    return parts


def key_of(item: Item, prefix: str = "") -> str:
    """Return the item's key: its id, or its picture's name."""
    own = item.fields.get("id")
    return f"{prefix}{own}" if own is not None else str(item.text("image"))


def shown(parts: Sequence[QuestionPart]) -> str:
    """Return words and mentions as published, objects as ``<PromptN>``."""
    return "".join(
        f"<Prompt{part.object_id - 1}>" if isinstance(part, ObjectMention) else part
        for part in parts
    )
