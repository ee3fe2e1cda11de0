"""Our own JSON lines: a clip, its tracks, and questions, conversations or descriptions.

One object a line, paths from the ``media`` folder::

    {"video": "a.mp4", "tracks": "a.json", "questions": [{"question": "What is <1>?", "answer": "a
     mug"}, {"question": "Which?", "options": ["a", "b"], "answer": "b"}]}
    {"image": "b.jpg", "objects": {"1": RLE}, "descriptions": {"1": "A red mug."}}
    {"video": "c.mp4", "objects": {"1": {"0": RLE, "5": RLE}}, "frames": 8, "time": [0, 2.5],
     "conversations": [[{"question": "…", "answer": "…"}, {"question": "…", "answer": "…"}]]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gar_video.prompt import LETTERS, multiple_choice, parse_question
from gar_video.tracks import Tracks
from gar_video.train.recipe.config import DataSection
from gar_video.train.recipe.data.examples import (
    Example,
    Kept,
    Maker,
    Thread,
    Turn,
    choose_group,
    description,
    frames_in_memory,
    inside,
    media_folder,
    num_frames,
    read_records,
)
from gar_video.train.recipe.errors import SampleError
from gar_video.video import Video

_FIELDS = (
    "video", "image", "tracks", "objects", "questions", "descriptions", "conversations", "frames",
    "time", "id",
)  # fmt: skip


class JsonLines:
    """Samples of our own format."""

    def __init__(self, section: DataSection, maker: Maker, name: str) -> None:
        self.name = name
        self._section, self._maker = section, maker
        self._folder = media_folder(section)
        self._records = read_records(Path(section.path), name)
        self._kept = Kept(section.cache)

    def __len__(self) -> int:
        return len(self._records)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Make the sample of a line; see ``Source``."""
        record = self._records[index]
        odd = [key for key in record if key not in _FIELDS]
        if odd:
            raise SampleError(f"has an unknown field {odd[0]!r}; known are {', '.join(_FIELDS)}")
        video, tracks = self._kept.get(index, lambda: self._open(record))
        everyone = () if tracks is None else tracks.object_ids
        threads = threads_of(record)
        objects, chosen = choose_group(threads, everyone, rng, self._section.questions)
        frames = record.get("frames") or num_frames(self._section, self._maker, rng)
        time = record.get("time")
        window = tuple(time) if time else None
        return self._maker.see(video, tracks, objects, chosen, frames, window)

    def _open(self, record: Mapping[str, Any]) -> tuple[Video, Tracks | None]:
        video = Video(inside(self._folder, record.get("video") or record.get("image")))
        tracks: Tracks | None = None
        if record.get("tracks"):
            tracks = Tracks.load(inside(self._folder, record["tracks"]), video=video)
        elif record.get("objects"):
            regions = {int(key): _frames(value) for key, value in record["objects"].items()}
            tracks = Tracks.from_rles(regions, video.resolution_wh, len(video))
        if tracks is not None:
            tracks.check_fits(video)
        return (frames_in_memory(video) if self._section.cache else video), tracks


def _frames(value: Any) -> dict[int, Any]:
    """Read one object's regions: frame to segmentation, or one segmentation of a picture."""
    if isinstance(value, Mapping) and "counts" not in value:
        return {int(frame): segmentation for frame, segmentation in value.items()}
    return {0: value}


def threads_of(record: Mapping[str, Any]) -> list[Thread]:
    """Read what is asked and told in a sample.

    Raises:
        SampleError: If a question or answer is missing or malformed.
    """
    threads = [Thread((_turn(one),)) for one in record.get("questions", ())]
    for conversation in record.get("conversations", ()):
        turns = tuple(_turn(one) for one in conversation)
        threads += [Thread(turns)] if turns else []
    for object_id, text in record.get("descriptions", {}).items():
        threads.append(description(int(object_id), _words(text)))
    return threads


def _turn(one: Any) -> Turn:
    if not isinstance(one, Mapping) or "question" not in one or "answer" not in one:
        raise SampleError(f"has {one!r} where a question with its answer was expected")
    question, answer = _words(one["question"]), _words(one["answer"])
    options: Sequence[str] | None = one.get("options")
    if options:
        listed = [str(option) for option in options]
        place = listed.index(answer) if answer in listed else LETTERS.find(answer)
        if not 0 <= place < len(listed) or (len(answer) > 1 and answer not in listed):
            raise SampleError(f"answers {answer!r}, which is none of the options {listed}")
        question, answer = multiple_choice(question, listed), LETTERS[place]
    parse_question(question)
    return Turn(question, answer, str(one.get("kind", "")))


def _words(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SampleError(f"has {value!r} where words were expected")
    return value
