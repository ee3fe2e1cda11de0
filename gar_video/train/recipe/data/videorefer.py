"""VideoRefer-700K: conversations about regions of videos and pictures, descriptions and questions.

A JSON list; an item has ``video`` or ``image`` (a name in the media folder), ``conversations`` in
the ``from``/``value`` manner and ``annotation``: per object, frame (as text) to ``{"segmentation":
RLE or polygon}``. In the text the k-th ``<region>`` is the k-th object; a name written before it,
``<object3><region>``, means that object from then on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gar_video.tracks import Tracks
from gar_video.train.recipe.config import DataSection
from gar_video.train.recipe.data.examples import (
    Example,
    Kept,
    Maker,
    Thread,
    Turn,
    choose_group,
    frames_in_memory,
    inside,
    media_folder,
    num_frames,
    plain,
    read_records,
)
from gar_video.train.recipe.errors import SampleError
from gar_video.video import Video

_REGION = re.compile(r"(<object\d+>)?\s?<region>|<object\d+>")
_MEDIA = re.compile(r"<(?:video|image)>\s*")


class VideoRefer:
    """Samples of VideoRefer-700K's files."""

    def __init__(self, section: DataSection, maker: Maker, name: str) -> None:
        self.name = name
        self._section, self._maker = section, maker
        self._folder = media_folder(section)
        self._records = read_records(Path(section.path), name)
        self._kept = Kept(section.cache)

    def __len__(self) -> int:
        return len(self._records)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Make the sample of an item; see ``Source``."""
        record = self._records[index]
        video, tracks = self._kept.get(index, lambda: self._open(record))
        everyone = () if tracks is None else tracks.object_ids
        threads = threads_of(record.get("conversations"), len(everyone))
        objects, chosen = choose_group(threads, everyone, rng, self._section.questions)
        count = num_frames(self._section, self._maker, rng)
        looked: int | list[int] = count
        if tracks is not None and not video.is_image:
            looked = _frames(tracks, objects, count)
        return self._maker.see(video, tracks, objects, chosen, looked)

    def _open(self, record: Mapping[str, Any]) -> tuple[Video, Tracks | None]:
        video = Video(inside(self._folder, record.get("video") or record.get("image")))
        annotation = record.get("annotation")
        if not annotation:
            return video, None
        if not isinstance(annotation, list) or not all(isinstance(o, dict) for o in annotation):
            raise SampleError("has an annotation that is no list of {frame: segmentation}")
        regions = {
            number: {int(frame): _segmentation(value) for frame, value in one.items()}
            for number, one in enumerate(annotation, 1)
        }
        if video.is_image:
            # A picture's annotation names the frame it was cut from; there is but one here.
            regions = {key: {0: next(iter(one.values()))} for key, one in regions.items()}
        tracks = Tracks.from_rles(regions, video.resolution_wh, len(video), allow_empty=True)
        return (frames_in_memory(video) if self._section.cache else video), tracks


def _segmentation(value: Any) -> Any:
    return value.get("segmentation") if isinstance(value, Mapping) else value


def _frames(tracks: Tracks, objects: tuple[int, ...], count: int) -> list[int]:
    """Choose among the annotated frames: in the others, whether an object is there is unknown."""
    annotated = sorted({int(frame) for i in objects for frame in tracks[i].frames})
    if not annotated:
        raise SampleError("has only empty masks")
    places = np.linspace(0, len(annotated) - 1, min(count, len(annotated)))
    return [annotated[int(place)] for place in np.floor(places + 0.5)]


def threads_of(conversations: Any, num_objects: int) -> list[Thread]:
    """Read a conversation; its turns see each other.

    Args:
        conversations: ``[{"from": "human" | "gpt", "value": …}]``.
        num_objects: How many objects the annotation has.

    Raises:
        SampleError: If it is malformed or names more regions than there are.
    """
    if not isinstance(conversations, list) or len(conversations) < 2:
        raise SampleError("has no conversation")
    names: dict[str, int] = {}
    bound = 0

    def mention(match: re.Match[str]) -> str:
        nonlocal bound
        name = match.group(1) or (match.group() if "region" not in match.group() else "")
        if name in names:
            return f"<{names[name]}>"
        bound += 1
        if bound > num_objects:
            raise SampleError(f"names {bound} regions, but {num_objects} are annotated")
        if name:
            names[name] = bound
        return f"<{bound}>"

    said = []
    for place, entry in enumerate(conversations):
        speaker = "human" if place % 2 == 0 else "gpt"
        if not isinstance(entry, Mapping) or entry.get("from") != speaker:
            raise SampleError(f"has a conversation whose entry {place} is not the {speaker}'s")
        value = entry.get("value")
        if not isinstance(value, str) or not value.strip():
            raise SampleError(f"says nothing in entry {place} of its conversation")
        words = _MEDIA.sub("", value)
        # Numbers in angle brackets are no mentions here; only regions are.
        escaped = re.sub(r"<(?=\d+>)", r"\\<", words)
        said.append(_escape_rest(_REGION.sub(mention, escaped)))
    pairs = zip(said[::2], said[1::2], strict=False)
    return [Thread(tuple(Turn(question, answer) for question, answer in pairs))]


def _escape_rest(text: str) -> str:
    return plain(text.replace("\\<", "\ue001")).replace("\ue001", "\\<")
