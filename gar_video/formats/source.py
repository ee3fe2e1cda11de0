"""What a format's reader gets to read, and what the caller knows about the video already."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gar_video.errors import TracksError
from gar_video.regions import BadBoxes, whole
from gar_video.runs import check_resolution
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder

MAX_JSON_BYTES = 512 * 2**20  # parsed as a whole; text, CSV and XML are streamed instead
_HEAD_BYTES = 65_536


@dataclass(frozen=True)
class Format:
    """One format: how to know, read and write it.

    Attributes:
        name: What users pass as ``format=``.
        title: What messages call it.
        sniff: Whether a source looks like it; never raises TracksError for other formats' files.
        read: Reads a source.
        write: Writes tracks to a path; None where the format is only read.
    """

    name: str
    title: str
    sniff: Callable[[Source], bool]
    read: Callable[[Source], Tracks]
    write: Callable[[Tracks, Path], None] | None = None


@dataclass(frozen=True)
class Source:
    """A file or folder to read.

    Attributes:
        path: The file or folder.
        resolution_wh: Frame size, if the caller knows it.
        num_frames: Number of frames, if the caller knows it.
        bad_boxes: What to do with boxes that do not fit.
        sequence: Which video's tracks, if the caller says so.
        video_name: The video's name, to choose among several videos in one file.
    """

    path: Path
    resolution_wh: tuple[int, int] | None = None
    num_frames: int | None = None
    bad_boxes: BadBoxes = "clip"
    sequence: str | None = None
    video_name: str | None = None

    @property
    def names(self) -> list[str]:
        """What the wanted video may be called in a file that holds several."""
        if self.sequence is not None:
            return [self.sequence]
        if self.video_name is None:
            return []
        return [self.video_name, Path(self.video_name).stem]

    @cached_property
    def is_folder(self) -> bool:
        """Whether this is a folder."""
        return self.path.is_dir()

    @cached_property
    def head(self) -> str:
        """Beginning of the file as text; empty for a folder."""
        if self.is_folder:
            return ""
        with self.path.open("rb") as file:
            return file.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace")

    @property
    def looks_like_json(self) -> bool:
        """Whether the first character that is not a space begins an object or list."""
        return self.head.lstrip()[:1] in ("{", "[")

    @cached_property
    def json(self) -> Any:
        """The file parsed as JSON.

        Raises:
            TracksError: If it is too large, cut off or not JSON.
        """
        size = self.path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise TracksError(
                f"{self.path.name} has {size / 2**20:.0f} MiB; JSON is read whole, up to "
                f"{MAX_JSON_BYTES / 2**20:.0f} MiB; split it by video"
            )
        try:
            text = self.path.read_bytes().decode("utf-8-sig")
            return json.loads(text, object_pairs_hook=_each_once)
        except (ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TracksError(f"not valid JSON ({reason}); the file is damaged") from None

    def size(self, stated: Any = None) -> tuple[int, int]:
        """Frame size: what the file states (must equal the caller's), or else the caller's.

        Raises:
            TracksError: If they differ or neither is known.
        """
        if stated is None:
            if self.resolution_wh is None:
                raise TracksError(
                    "this does not say how large the frames are; pass video= or "
                    "resolution_wh=(width, height)"
                )
            return self.resolution_wh
        stated = check_resolution(stated)
        if self.resolution_wh not in (None, stated):
            assert self.resolution_wh is not None
            raise TracksError(
                f"made for frames of {stated[0]}x{stated[1]} pixels, but the video has "
                f"{self.resolution_wh[0]}x{self.resolution_wh[1]}; expected the video's size"
            )
        return stated

    def length(self, stated: Any = None) -> int | None:
        """Number of frames: what the file states (must equal the caller's), or the caller's.

        Raises:
            TracksError: If they differ, or the stated one is no positive whole number.
        """
        if stated is None:
            return self.num_frames
        number = whole(stated, "number of frames")
        if self.num_frames not in (None, number):
            raise TracksError(
                f"made for {number} frames, but the video has {self.num_frames}; expected as many"
            )
        return number

    def builder(self, stated_wh: Any = None, stated_length: Any = None) -> TracksBuilder:
        """Return a builder for this file's tracks, with size and length checked."""
        return TracksBuilder(
            self.size(stated_wh), self.length(stated_length), bad_boxes=self.bad_boxes
        )


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary of JSON's pairs; a key that stands twice would hide one of its values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise TracksError(f"{key!r:.40} stands twice in one place; expected once")
            seen.add(key)
    return found
