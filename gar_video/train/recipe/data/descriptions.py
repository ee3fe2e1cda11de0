"""Descriptions of regions, as the Describe Anything Model's data tell them.

A JSON list or JSON lines; an item has ``image`` or ``video`` (a name in the media folder) and
``annotations``: each with its mask (``segmentation``, ``mask_rle`` or ``rle``; for a video a
dictionary of frame to mask) and its words (``caption``, ``description`` or ``text``). One region
may also stand in the item itself. COCO files (``images``, and ``annotations`` with captions) are
read too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gar_video import masks
from gar_video.tracks import Tracks
from gar_video.train.recipe.config import DataSection
from gar_video.train.recipe.data.examples import (
    Example,
    Maker,
    choose_group,
    description,
    inside,
    media_folder,
    num_frames,
    plain,
    read_records,
)
from gar_video.train.recipe.errors import SampleError
from gar_video.video import Video

_MASKS = ("segmentation", "mask_rle", "rle", "mask")
_TEXTS = ("caption", "description", "text")
_MEDIA = ("video", "image", "file_name", "image_path", "video_path")


class Descriptions:
    """Samples of description files; each look describes one region."""

    def __init__(self, section: DataSection, maker: Maker, name: str) -> None:
        self.name = name
        self._section, self._maker = section, maker
        self._folder = media_folder(section)
        self._records = _coco(Path(section.path)) or read_records(Path(section.path), name)

    def __len__(self) -> int:
        return len(self._records)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Make the sample of an item; see ``Source``."""
        record = self._records[index]
        video = Video(inside(self._folder, _first(record, _MEDIA, "a picture or video")))
        regions, threads = {}, []
        told = record.get("annotations") or record.get("annotation") or [record]
        for number, one in enumerate(told if isinstance(told, list) else [told], 1):
            regions[number] = _regions(_first(one, _MASKS, "a mask"), video.resolution_wh)
            text = _first(one, _TEXTS, "a description")
            if not isinstance(text, str) or not text.strip():
                raise SampleError("has an empty description")
            threads.append(description(number, plain(text)))
        tracks = Tracks.from_rles(regions, video.resolution_wh, len(video), allow_empty=True)
        objects, chosen = choose_group(threads, tracks.object_ids, rng, 1)
        count = num_frames(self._section, self._maker, rng)
        return self._maker.see(video, tracks, objects, chosen, count)


def _first(record: Mapping[str, Any], names: tuple[str, ...], what: str) -> Any:
    for name in names:
        if record.get(name):
            return record[name]
    raise SampleError(f"has no {what}: none of {', '.join(names)}")


def _regions(value: Any, resolution_wh: tuple[int, int]) -> dict[int, Any]:
    if isinstance(value, str):
        height, width = resolution_wh[1], resolution_wh[0]
        value = {"size": [height, width], "counts": value}
    if isinstance(value, Mapping) and "counts" not in value:
        return {int(frame): mask for frame, mask in value.items()}
    return {0: masks.as_rle(value, resolution_wh)}


def _coco(path: Path) -> list[dict[str, Any]] | None:
    """Gather a COCO file's annotations by picture; None if it is no such file."""
    if not path.is_file() or path.suffix != ".json":
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        return None
    own: dict[Any, list[Any]] = defaultdict(list)
    for annotation in data.get("annotations", ()):
        own[annotation.get("image_id")].append(annotation)
    return [
        {"image": image.get("file_name"), "annotations": own[image.get("id")]}
        for image in data["images"]
        if own[image.get("id")]
    ]
