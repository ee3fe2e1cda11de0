"""Removing what is too old from a run, for good: surveillance footage has laws.

What goes is deleted from the state, overwritten there, and from everything that is made of it:
tables, thumbnails, tracks, fetched copies, the index of searches, pages of reports. Footage that
was given to the run is not touched.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

from gar_video.batch import search_index
from gar_video.batch.clips import TRACKS, made_tracks
from gar_video.batch.fetching import drop_copy
from gar_video.batch.footage import Recording
from gar_video.batch.lock import FolderLock
from gar_video.batch.reporting import is_report
from gar_video.batch.results import THUMBNAILS, arrow, export, open_state, read_rows
from gar_video.batch.searching import check_names
from gar_video.batch.state import FORGOTTEN, NAME, source_digest
from gar_video.errors import GARVideoError

Found = TypeVar("Found")
_EVERY_S = 3600.0
_LEFT_BEHIND = (".results.*", ".failures.*", ".report.*")  # by what was killed while it wrote


@dataclass(frozen=True)
class Forgotten:
    """What went, or would go.

    Attributes:
        before: What began before this went.
        rows: Answers and failures, and work that was still to be done.
        done: Of these, answers and failures.
        recordings: Recordings of which nothing is left.
        videos: Their paths.
        files: Thumbnails, tracks, pages and the like that went; 0 if it was only asked what would.
        timeless: Recordings whose time nobody knows, which stay.
        left: Rows that stay.
    """

    before: datetime
    rows: int
    done: int
    recordings: int
    videos: tuple[str, ...]
    files: int
    timeless: int
    left: int


def forget(
    run: str | os.PathLike[str],
    before: datetime,
    cameras: Sequence[str] = (),
    *,
    really: bool = True,
) -> Forgotten:
    """Remove what began before a time from a run.

    A row goes if its stretch began before, a recording if no row of it is left; it is not worked on
    again when the run is gone on with. Killed half-way, the same call ends it.

    Args:
        run: The run's folder.
        before: The time, with its zone.
        cameras: Only of these cameras; of all if there are none.
        really: False only counts.

    Returns:
        What went.

    Raises:
        GARVideoError: If there is no run, it is in use, or a camera is not there.
    """
    folder = Path(run)
    with contextlib.closing(open_state(folder)) as data:
        known = [name for (name,) in data.execute("SELECT DISTINCT camera FROM recordings")]
        check_names("camera", cameras, sorted(known))
        if not really:
            return _Going(data, before, cameras).told(before)
    with FolderLock(folder):
        return forget_within(folder, before, cameras)


def forget_within(
    folder: Path, before: datetime, cameras: Sequence[str] = (), *, working: bool = False
) -> Forgotten:
    """Do as ``forget``, where the caller holds the run's folder.

    Args:
        folder: The run's folder.
        before: The time.
        cameras: Only of these cameras.
        working: Leave recordings alone that are being worked on.
    """
    arrow()
    with contextlib.closing(_open(folder)) as data:
        going = _Going(data, before, cameras, working=working)
        told = going.told(before)
        going.delete(data)
        _overwrite(data, folder)
    search_index.remove(folder)
    export(folder)
    count = _sweep(folder, going)
    return replace(told, files=count)


def forget_old(folder: Path, days: float, *, working: bool = False) -> Forgotten:
    """Forget what began so many days ago, where the caller holds the run's folder."""
    return forget_within(folder, days_ago(days), working=working)


def now_and_then(look: Callable[[], Found], folder: Path, days: float) -> Callable[[], Found]:
    """Have a run that never ends forget once an hour, when it looks for new recordings."""
    last = [-math.inf]

    def watch() -> Found:
        if time.monotonic() - last[0] > _EVERY_S:
            last[0] = time.monotonic()
            forget_old(folder, days, working=True)
        return look()

    return watch


def days_ago(days: float) -> datetime:
    """Return the time so many days ago.

    Raises:
        GARVideoError: If that is none, or in the future.
    """
    if not days >= 0:
        raise GARVideoError(f"{days:g} days ago is not over yet; expected 0 or more")
    try:
        return datetime.now(timezone.utc) - timedelta(days=days)
    except (OverflowError, ValueError):
        raise GARVideoError(f"{days:g} days ago is no time; expected fewer") from None


class _Going:
    """Which recordings and units go."""

    def __init__(
        self,
        data: sqlite3.Connection,
        before: datetime,
        cameras: Sequence[str],
        *,
        working: bool = False,
    ) -> None:
        if before.tzinfo is None:
            before = before.replace(tzinfo=timezone.utc)
        self.whole: dict[int, str] = {}
        self.parts: dict[int, tuple[str, float]] = {}
        self.rows = self.done = self.timeless = 0
        (self.total,) = data.execute("SELECT COUNT(*) FROM units").fetchone()
        for number, source, camera, start in data.execute(
            "SELECT id, source, camera, start FROM recordings WHERE NOT ?1 OR (status != 'running' "
            "AND NOT EXISTS (SELECT 1 FROM units WHERE recording = recordings.id "
            "AND units.status = 'running')) ORDER BY source",
            (working,),
        ).fetchall():
            if cameras and camera not in cameras:
                continue
            if start is None:
                self.timeless += 1
                continue
            limit_s = (before - datetime.fromisoformat(start)).total_seconds()
            if limit_s <= 0:
                continue
            going, staying, done = data.execute(
                "SELECT COUNT(*) FILTER (WHERE start_s < ?1), "
                "COUNT(*) FILTER (WHERE start_s >= ?1), COUNT(*) FILTER (WHERE start_s < ?1 AND "
                "status IN ('done', 'failed')) FROM units WHERE recording = ?2",
                (limit_s, number),
            ).fetchone()
            self.rows += going
            self.done += done
            if not staying:
                self.whole[number] = source
            elif going:
                self.parts[number] = (source, limit_s)

    def told(self, before: datetime) -> Forgotten:
        """Return what goes."""
        videos = tuple(self.whole.values())
        left = self.total - self.rows
        return Forgotten(before, self.rows, self.done, len(videos), videos, 0, self.timeless, left)

    def delete(self, data: sqlite3.Connection) -> None:
        """Delete it from the state, all or nothing."""
        data.execute("BEGIN IMMEDIATE")
        try:
            for number, (_, limit_s) in self.parts.items():
                data.execute(
                    "DELETE FROM units WHERE recording = ? AND start_s < ?", (number, limit_s)
                )
            for number, source in self.whole.items():
                data.execute("DELETE FROM units WHERE recording = ?", (number,))
                data.execute("DELETE FROM recordings WHERE id = ?", (number,))
                # A digest says no word of it, and keeps the run from taking it up again.
                data.execute("INSERT OR IGNORE INTO forgotten VALUES (?)", (source_digest(source),))
        except BaseException:
            data.execute("ROLLBACK")
            raise
        data.execute("COMMIT")


def _open(folder: Path) -> sqlite3.Connection:
    data = sqlite3.connect(folder / NAME, timeout=30, isolation_level=None)
    data.execute("PRAGMA secure_delete = ON")
    data.execute(FORGOTTEN)
    return data


def _overwrite(data: sqlite3.Connection, folder: Path) -> None:
    """Leave nothing of what was deleted in the state's file, nor in its log."""
    try:
        data.execute("VACUUM")
        busy = data.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise GARVideoError(
            f"what was deleted is not yet overwritten in {folder / NAME}: {error}; start the same "
            "command again"
        ) from None
    if busy:
        raise GARVideoError(
            f"somebody reads {folder / NAME}, so that what was deleted is not yet overwritten; "
            "start the same command again"
        )


def _sweep(folder: Path, going: _Going) -> int:
    """Remove files that belong to nothing any more; returns how many."""
    wanted = {row["thumbnail"] for row in read_rows(folder) if row["thumbnail"]}
    count = 0
    for path in _files(folder / THUMBNAILS):
        if path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
            count += 1
    partly = [source for source, _ in going.parts.values()]
    for source in (*going.whole.values(), *partly):
        drop_copy(source, folder)
        tracks = made_tracks(folder, Recording(source, ""))
        # Made again, should something of the rest still need them.
        count += tracks.is_file()
        tracks.unlink(missing_ok=True)
    for path in folder.glob("*.html"):
        if path.is_file() and is_report(path):
            path.unlink()
            count += 1
    for pattern in _LEFT_BEHIND:
        for path in folder.glob(pattern):
            if path.is_file():
                path.unlink()
    for place in (folder / THUMBNAILS, folder / TRACKS):
        for inner in sorted((path for path in place.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                inner.rmdir()
    return count


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())
