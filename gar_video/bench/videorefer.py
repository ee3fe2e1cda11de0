"""What VideoRefer-Bench's two files have in common: a video, a frame that points, annotations."""

from __future__ import annotations

from typing import Any

from gar_video.bench.case import Regions
from gar_video.bench.reading import Item, read_regions, safe_media


def read_objects(item: Item) -> tuple[Regions, ...]:
    """Return each annotated object's masks by frame.

    Raises:
        GARVideoError: If there is none, or frames or masks are malformed.
    """
    return tuple(
        read_regions(item, "annotation", entry, place)
        for place, entry in enumerate(item.items("annotation"))
    )


def common_fields(item: Item, kind: str) -> dict[str, Any]:
    """Return the fields of a case that both files have: key, place, video, type, frame.

    Args:
        item: The item.
        kind: Its type if it names none.

    Raises:
        GARVideoError: If one is missing or malformed.
    """
    return {
        "key": str(item.fields.get("id", item.index)),
        "index": item.index,
        "media": safe_media(item, "video"),
        "type": item.text("type", kind),
        "prompt_frame": item.frame("frame_idx"),
    }
