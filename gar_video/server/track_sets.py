"""Tracks that callers asked for by name: on their way, done, or failed; removed after a time."""

from __future__ import annotations

import hmac
import io
import secrets
import tempfile
import time
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gar_video import formats
from gar_video.server.clips import Clip
from gar_video.server.problems import Problem, as_problem
from gar_video.server.tracking import Following, Tracking
from gar_video.tracks import Tracks

_ENDINGS: Mapping[str, tuple[str, str]] = {
    ".json": ("tracks.json", "application/json"),
    ".csv": ("tracks.csv", "text/csv; charset=utf-8"),
    ".xml": ("tracks.xml", "application/xml"),
    ".txt": ("tracks.txt", "text/plain; charset=utf-8"),
    ".zip": ("tracks.zip", "application/zip"),
}


@dataclass(eq=False)
class TrackSet:
    """Tracks of one request.

    Attributes:
        id: What they are called by.
        owner: The caller; nobody else sees them.
        clip: The clip.
        expires: Monotonic time at which they are removed.
        following: The tracker's work; None where none was needed.
        ready: The tracks, where no tracker was needed.
    """

    id: str
    owner: str
    clip: Clip
    expires: float
    following: Following | None = None
    ready: Tracks | None = None

    @property
    def is_done(self) -> bool:
        """Whether there is a result or an error."""
        return self.following is None or self.following.done.done()

    @property
    def tracks(self) -> Tracks:
        """The tracks.

        Raises:
            Problem: 400 if they are not ready, or what following them failed of.
        """
        if self.ready is not None:
            return self.ready
        assert self.following is not None
        if not self.following.done.done():
            raise Problem(
                400, "the objects are still being followed; wait for status done",
                code="tracks_not_ready",
            )  # fmt: skip
        return self.following.done.result()

    def state(self) -> dict[str, Any]:
        """Return what a caller is told of them."""
        told: dict[str, Any] = {"id": self.id, "object": "tracks", "error": None, "objects": []}
        done, total = self.following.progress if self.following else (1, 1)
        told.update(status="running" if total else "queued", frames_done=done, frames_total=total)
        if self.is_done:
            try:
                tracks = self.tracks
            except Exception as error:
                told.update(status="failed", **as_problem(error).body())
            else:
                told.update(status="done", objects=[_summary(tracks, i) for i in tracks])
        return told


def _summary(tracks: Tracks, object_id: int) -> dict[str, Any]:
    track = tracks[object_id]
    frames = track.frames.tolist()
    return {
        "id": object_id, "label": track.label, "num_frames": len(frames),
        "first_frame": frames[0] if frames else None, "last_frame": frames[-1] if frames else None,
    }  # fmt: skip


class TrackSets:
    """The tracks of all callers; for the event loop's thread.

    Args:
        keep_s: Seconds after which unused ones are removed.
        most: How many are kept.
    """

    def __init__(self, keep_s: float, most: int) -> None:
        self._keep_s, self._most = keep_s, most
        self._kept: dict[str, TrackSet] = {}

    def add(self, owner: str, clip: Clip) -> TrackSet:
        """Make room for tracks of a clip.

        Raises:
            Problem: 429 if there are too many.
        """
        if len(self._kept) >= self._most:
            raise Problem(429, "too many tracks are kept; delete some, or wait",
                          code="storage_full", retry_after=60)  # fmt: skip
        made = TrackSet(secrets.token_urlsafe(18), owner, clip, time.monotonic() + self._keep_s)
        self._kept[made.id] = made
        return made

    def get(self, tracks_id: str, owner: str) -> TrackSet:
        """Return tracks and put their removal off.

        Raises:
            Problem: 404 if there are none of this caller's.
        """
        found = self._kept.get(tracks_id)
        if found is None or not hmac.compare_digest(found.owner, owner):
            raise Problem(404, "there are no such tracks; they may have been removed after their "
                          "time", code="tracks_not_found")  # fmt: skip
        found.expires = time.monotonic() + self._keep_s
        return found

    def remove(self, tracks: TrackSet, tracking: Tracking) -> None:
        """Remove tracks; stops following them, if nobody else waits for the same."""
        if self._kept.pop(tracks.id, None) is not None and tracks.following is not None:
            tracking.leave(tracks.following)

    def sweep(self, tracking: Tracking) -> None:
        """Remove those whose time has come."""
        now = time.monotonic()
        for tracks in [one for one in self._kept.values() if one.expires < now and one.is_done]:
            self.remove(tracks, tracking)


def as_file(tracks: Tracks, format: str) -> tuple[bytes, str, str]:
    """Return tracks as a file's bytes, its name and its media type; folders are zipped.

    Raises:
        Problem: 400 if there is no such format.
        TracksError: If the format cannot hold them.
    """
    known = formats.names(writable=True)
    if format not in known:
        raise Problem(400, f"there is no such format; expected one of {', '.join(known)}",
                      param="format")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="gar-video-") as folder:
        target = Path(folder) / "tracks"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a format cannot hold is in its documentation
            tracks.save(target, format)
        if target.is_dir():
            return _zipped(target), *_ENDINGS[".zip"]
        data = target.read_bytes()
    start = data.lstrip()[:1]
    ending = {b"{": ".json", b"[": ".json", b"<": ".xml"}.get(start, ".txt")
    return data, *_ENDINGS[".csv" if format == "csv" else ending]


def _zipped(folder: Path) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return made.getvalue()
