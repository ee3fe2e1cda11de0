"""Timeline: what is said about objects over time, and what their tracks show.

Words come from the model. When an object appears, leaves and turns comes from its track, without
any model. The two are kept apart: every row that is written says where it comes from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from gar_video.errors import GARVideoError

EventKind = Literal["appears", "leaves", "disappears", "turns"]
Source = Literal["model", "notes", "tracks"]

FORMAT = "gar-video timeline"
_Row = TypeVar("_Row", "Segment", "Event", "Summary")


@dataclass(frozen=True)
class Segment:
    """Words about one object in one stretch of time.

    Attributes:
        object_id: The object.
        start_s: Where the object is first seen in it, in seconds.
        end_s: Where it is last seen in it.
        text: The model's words, about frames of this stretch alone.
        frames: Indices of the frames that were looked at, rising.
    """

    object_id: int
    start_s: float
    end_s: float
    text: str
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Event:
    """Something that an object's track shows, without any model.

    Attributes:
        object_id: The object.
        time_s: When, in seconds.
        kind: ``"appears"``; ``"leaves"`` (last seen at the frame's edge); ``"disappears"`` (last
            seen elsewhere: hidden, or lost by the tracker); ``"turns"``.
        detail: At which edge, or from which direction to which in the picture; may be empty.
    """

    object_id: int
    time_s: float
    kind: EventKind
    detail: str = ""

    @property
    def text(self) -> str:
        """The event in words."""
        return f"{self.kind} {self.detail}".strip()


@dataclass(frozen=True)
class Summary:
    """All that was said about one object, in short.

    Attributes:
        object_id: The object.
        text: The words.
        by: ``"model"``: the model's words over its own notes, the pictures not looked at again;
            ``"notes"``: the notes put one after the other, because the checkpoint was not trained
            to sum up; ``"tracks"``: the object is never seen.
    """

    object_id: int
    text: str
    by: Source


@dataclass(frozen=True)
class Timeline:
    """What is said about the objects of a video over time.

    Made by ``GARVideo.timeline``.

    Attributes:
        video: The video's name.
        duration_s: Its length in seconds.
        every_s: Length of the windows that were looked at, in seconds.
        question: What was asked in every window; ``<ID>`` stands for the object.
        model: The checkpoint's name.
        object_ids: The objects, in the order given.
        labels: A word for each object that has one, by id.
        segments: Words over time, by start; an object has none while it is not seen.
        events: What the tracks show, by time.
        summaries: One for each object.
    """

    video: str
    duration_s: float
    every_s: float
    question: str
    model: str
    object_ids: tuple[int, ...]
    labels: dict[int, str]
    segments: tuple[Segment, ...]
    events: tuple[Event, ...]
    summaries: tuple[Summary, ...]

    def of(self, object_id: int) -> Timeline:
        """Return what is said about one object.

        Raises:
            GARVideoError: If the object is not in it.
        """
        if object_id not in self.object_ids:
            known = ", ".join(map(str, self.object_ids[:12])) or "none"
            raise GARVideoError(f"the timeline has no object {object_id}; it holds {known}")
        return replace(
            self,
            object_ids=(object_id,),
            labels={key: word for key, word in self.labels.items() if key == object_id},
            segments=tuple(row for row in self.segments if row.object_id == object_id),
            events=tuple(row for row in self.events if row.object_id == object_id),
            summaries=tuple(row for row in self.summaries if row.object_id == object_id),
        )

    def at(self, time_s: float) -> dict[int, str]:
        """Return the words that hold at a time, by object id."""
        return {
            row.object_id: row.text for row in self.segments if row.start_s <= time_s < row.end_s
        }

    def name(self, object_id: int) -> str:
        """Return an object's id, with its label where it has one."""
        label = self.labels.get(object_id)
        return f"{object_id} ({label})" if label else str(object_id)

    def __str__(self) -> str:
        """Return all of it as lines, object by object."""
        lines = []
        for summary in self.summaries:
            one = self.of(summary.object_id)
            lines.append(f"<{summary.object_id}>: {summary.text}")
            rows: list[tuple[float, int, str]] = [
                (row.start_s, 1, f"  {row.start_s:8.2f} to {row.end_s:8.2f} s  {row.text}")
                for row in one.segments
            ]
            rows += [(row.time_s, 0, f"  {row.time_s:8.2f} s  [{row.text}]") for row in one.events]
            lines += [line for _, _, line in sorted(rows)]
        return "\n".join(lines)

    # ---- files --------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain = asdict(self)
        plain["labels"] = {str(key): word for key, word in self.labels.items()}
        for name in ("object_ids", "segments", "events", "summaries"):
            plain[name] = list(plain[name])
        for segment in plain["segments"]:
            segment["frames"] = list(segment["frames"])
        return {"format": FORMAT, "version": 1, **plain}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Timeline:
        """Read what ``to_dict`` wrote.

        Raises:
            GARVideoError: If it is no timeline, or of a version that is not known here.
        """
        if not isinstance(plain, Mapping) or plain.get("format") != FORMAT:
            raise GARVideoError("not a timeline; expected what Timeline.save wrote as JSON")
        if plain.get("version") != 1:
            raise GARVideoError(f"a timeline of version {plain.get('version')!r}; expected 1")
        try:
            return cls(
                video=str(plain["video"]),
                duration_s=float(plain["duration_s"]),
                every_s=float(plain["every_s"]),
                question=str(plain["question"]),
                model=str(plain["model"]),
                object_ids=tuple(int(object_id) for object_id in plain["object_ids"]),
                labels={int(key): str(word) for key, word in plain["labels"].items()},
                segments=_rows(Segment, plain["segments"]),
                events=_rows(Event, plain["events"]),
                summaries=_rows(Summary, plain["summaries"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GARVideoError(f"a damaged timeline: {error!r}") from None

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write it to a file, whole or not at all.

        Args:
            path: The file.
            format: ``"srt"``, ``"vtt"``, ``"csv"``, ``"json"`` or ``"parquet"``; by the name's
                ending by default. Only JSON can be read back by ``load``.

        Raises:
            GARVideoError: If the format is unknown, its library is missing, or the file cannot be
                written.
        """
        from gar_video.timeline_files import save

        return save(self, path, format)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Timeline:
        """Read a timeline that was saved as JSON.

        Raises:
            GARVideoError: If it cannot be read or is none.
        """
        from gar_video.timeline_files import load

        return load(path)

    def _repr_html_(self) -> str:
        from gar_video.notebook import timeline_html

        return timeline_html(self)


def _rows(kind: type[_Row], plain: Iterable[Mapping[str, Any]]) -> tuple[_Row, ...]:
    made = []
    for row in plain:
        if set(row) != {field.name for field in fields(kind)}:
            raise ValueError(f"a {kind.__name__.lower()} with {sorted(row)}")
        values = dict(row)
        values["object_id"] = int(values["object_id"])
        for name in ("start_s", "end_s", "time_s"):
            if name in values:
                values[name] = float(values[name])
        if "frames" in values:
            values["frames"] = tuple(int(frame) for frame in values["frames"])
        made.append(kind(**values))
    return tuple(made)


def merge(segments: Iterable[Segment], gap_s: float) -> list[Segment]:
    """Join neighbouring segments of an object that say the same.

    Args:
        segments: Of any objects, each object's in order of time.
        gap_s: Segments further apart than so many seconds stay apart.

    Returns:
        Segments by start, then in the order in which objects first came.
    """
    runs: dict[int, list[Segment]] = {}
    for segment in segments:
        mine = runs.setdefault(segment.object_id, [])
        if mine and _same(mine[-1], segment) and segment.start_s - mine[-1].end_s <= gap_s:
            frames = tuple(sorted({*mine[-1].frames, *segment.frames}))
            mine[-1] = replace(mine[-1], end_s=segment.end_s, frames=frames)
        else:
            mine.append(segment)
    order = {object_id: at for at, object_id in enumerate(runs)}
    joined = [segment for run in runs.values() for segment in run]
    return sorted(joined, key=lambda segment: (segment.start_s, order[segment.object_id]))


def _same(one: Segment, other: Segment) -> bool:
    return content(one.text) == content(other.text)


# Texts that differ in these alone say the same: "a ring that moves", "a ring. It moves".
_LITTLE = frozenset(
    ("a", "an", "the", "it", "its", "that", "which", "who", "this", "there", "is", "are", "and",
     "then")
)  # fmt: skip


def content(text: str) -> tuple[str, ...]:
    """Return what a text says: its words in order, without case, punctuation and little words."""
    words = re.findall(r"\w+", text.lower())
    return tuple(word for word in words if word not in _LITTLE) or tuple(words)
