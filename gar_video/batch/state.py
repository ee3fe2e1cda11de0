"""What is done and what is left: one SQLite file that survives being killed at any moment.

A recording is first looked at as a whole (its tracks say what there is to ask), which yields units
of work: one task about one object or pair in one stretch of time. An answer is written in the same
transaction that marks its unit as done, so that it is there exactly once or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gar_video.batch.footage import Recording
from gar_video.errors import GARVideoError

_VERSION = 1
NAME, LOCK = "state.sqlite", "lock"
# Digests of recordings that were removed for good and are not to be taken up again.
FORGOTTEN = "CREATE TABLE IF NOT EXISTS forgotten (digest TEXT PRIMARY KEY) WITHOUT ROWID"
_TABLES = """
CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recordings (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL UNIQUE,
    camera TEXT NOT NULL,
    start TEXT,
    tracks TEXT,
    region TEXT,
    facts TEXT,
    status TEXT NOT NULL DEFAULT 'pending',
    reason TEXT,
    tries INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    until REAL
);
CREATE TABLE IF NOT EXISTS units (
    id INTEGER PRIMARY KEY,
    recording INTEGER NOT NULL REFERENCES recordings (id) ON DELETE CASCADE,
    task TEXT NOT NULL,
    objects TEXT NOT NULL,
    start_s REAL NOT NULL,
    end_s REAL NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending',
    reason TEXT,
    tries INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    until REAL,
    answer TEXT,
    batch INTEGER,
    UNIQUE (recording, task, objects, start_s)
);
CREATE INDEX IF NOT EXISTS units_by_status ON units (status, batch);
CREATE INDEX IF NOT EXISTS units_by_batch ON units (batch, recording);
"""


class DiskFullError(GARVideoError):
    """There is no space left where a run is kept."""


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes:
        id: Its number in the run.
        recording: Number of its recording.
        task: Name of its task.
        objects: Ids of the object, or of the pair, in the order in which the question names them.
        start_s: Where its stretch of the video begins, in seconds.
        end_s: Where it ends.
        tries: How often it was begun, this time included.
    """

    id: int
    recording: int
    task: str
    objects: tuple[int, ...]
    start_s: float
    end_s: float
    tries: int = 0


@dataclass(frozen=True)
class Counts:
    """How many recordings or units are in which state."""

    pending: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.pending + self.running + self.done + self.failed


class State:
    """A run's state, in its folder.

    Args:
        folder: The run's folder; made if it is missing.
        settings: All that answers depend on. A folder that belongs to another run is refused. None
            for a run that is there already, whatever its settings are.

    Raises:
        GARVideoError: If the folder belongs to a run with other settings, holds something else, or
            cannot be written.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any] | None) -> None:
        self.folder = Path(folder)
        self.path = self.folder / NAME
        if settings is None and not self.path.is_file():
            raise GARVideoError(f"{folder} holds no run; expected a folder that batch run wrote")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self.path.is_file() and any(path.name != LOCK for path in self.folder.iterdir()):
                raise GARVideoError(
                    f"{self.folder} is not empty and holds no run; expected a new folder"
                )
            self._data = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            self._data.execute("PRAGMA journal_mode = WAL")
            # With WAL, a power cut can lose the last answers, which are then worked out again; it
            # cannot leave half of one.
            self._data.execute("PRAGMA synchronous = NORMAL")
            self._data.execute("PRAGMA foreign_keys = ON")
            self._data.executescript(_TABLES + FORGOTTEN)
        except OSError as error:
            raise GARVideoError(f"cannot write to {self.folder}: {error.strerror}") from None
        except sqlite3.DatabaseError as error:
            raise GARVideoError(f"{self.path} is no state of a run: {error}") from None
        try:
            if settings is not None:
                self._check(settings)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._data.close()

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, settings: Mapping[str, Any]) -> None:
        wanted = {"version": _VERSION, **settings}
        with self.transaction() as data:
            row = data.execute("SELECT value FROM run WHERE key = 'settings'").fetchone()
            if row is None:
                text = json.dumps(wanted, sort_keys=True, ensure_ascii=False)
                data.execute("INSERT INTO run VALUES ('settings', ?)", (text,))
                return
        known = json.loads(row[0])
        wanted = json.loads(json.dumps(wanted))
        differing = [key for key in {**known, **wanted} if known.get(key) != wanted.get(key)]
        if differing:
            told = "; ".join(
                f"{key} was {_short(known.get(key))} and is {_short(wanted.get(key))}"
                for key in sorted(differing)
            )
            raise GARVideoError(
                f"{self.folder} belongs to another run: {told}; choose another folder for this one"
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Have everything inside happen, or nothing.

        Raises:
            GARVideoError: If the disk is full or the file cannot be written.
        """
        try:
            self._data.execute("BEGIN IMMEDIATE")
            yield self._data
            self._data.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._undo()
            if "full" in str(error) or "disk I/O" in str(error):
                free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize
                raise DiskFullError(
                    f"no space left for {self.path} ({free >> 20} MiB free); free some and start "
                    "the same command again"
                ) from None
            raise GARVideoError(f"cannot write {self.path}: {error}") from None
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._data.in_transaction:
            self._data.execute("ROLLBACK")

    # ---------------------------------------------------------------- recordings

    def add_recordings(self, recordings: Sequence[Recording]) -> int:
        """Add those that are not there yet; returns how many they were."""
        before = self._data.total_changes
        with self.transaction() as data:
            gone = {digest for (digest,) in data.execute("SELECT digest FROM forgotten")}
            data.executemany(
                "INSERT OR IGNORE INTO recordings (source, camera, start, tracks, region) "
                "VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        one.source,
                        one.camera,
                        None if one.start is None else one.start.isoformat(),
                        one.tracks,
                        None if one.region is None else json.dumps(one.region),
                    )
                    for one in recordings
                    if not gone or source_digest(one.source) not in gone
                ],
            )
        return self._data.total_changes - before

    def add_failed(self, source: str, reason: str) -> None:
        """Name something that cannot be used at all."""
        with self.transaction() as data:
            data.execute(
                "INSERT OR IGNORE INTO recordings (source, camera, status, reason) "
                "VALUES (?, '', 'failed', ?)",
                (source, reason),
            )

    def take_recording(self, owner: str, lease_s: float) -> tuple[int, Recording] | None:
        """Take the next recording to look at.

        Args:
            owner: Who takes it.
            lease_s: For how long; after that somebody else may.

        Returns:
            Its number and itself; None if there is none.
        """
        with self.transaction() as data:
            row = data.execute(
                "SELECT id, source, camera, start, tracks, region FROM recordings "
                "WHERE status = 'pending' OR (status = 'running' AND until < ?) "
                "ORDER BY id LIMIT 1",
                (time.time(),),
            ).fetchone()
            if row is None:
                return None
            data.execute(
                "UPDATE recordings SET status = 'running', tries = tries + 1, owner = ?, "
                "until = ? WHERE id = ?",
                (owner, time.time() + lease_s, row[0]),
            )
        return row[0], _recording(row[1:])

    def recording(self, number: int) -> Recording:
        """Return a recording by its number."""
        row = self._data.execute(
            "SELECT source, camera, start, tracks, region FROM recordings WHERE id = ?", (number,)
        ).fetchone()
        return _recording(row)

    def plan(self, recording: int, facts: Mapping[str, Any], units: Sequence[Unit]) -> None:
        """Note what a recording is and what there is to do in it; it is looked at now.

        Args:
            recording: Its number.
            facts: Its length, size and the like.
            units: What is to be done; those known already stay as they are.
        """
        with self.transaction() as data:
            data.executemany(
                "INSERT OR IGNORE INTO units (recording, task, objects, start_s, end_s) "
                "VALUES (?, ?, ?, ?, ?)",
                [
                    (recording, unit.task, _ids(unit.objects), unit.start_s, unit.end_s)
                    for unit in units
                ],
            )
            data.execute(
                "UPDATE recordings SET status = 'done', reason = NULL, owner = NULL, "
                "until = NULL, facts = ? WHERE id = ?",
                (json.dumps(facts, sort_keys=True), recording),
            )

    def fail_recording(self, recording: int, reason: str, *, again: bool = False) -> None:
        """Note that a recording could not be looked at; ``again`` leaves it to be tried anew."""
        with self.transaction() as data:
            data.execute(
                "UPDATE recordings SET status = ?, reason = ?, owner = NULL, until = NULL "
                "WHERE id = ?",
                ("pending" if again else "failed", reason, recording),
            )

    # ---------------------------------------------------------------- units

    def finish(
        self, answers: Mapping[int, Mapping[str, Any]], failed: Mapping[int, str] | None = None
    ) -> None:
        """Write answers and mark their units as done, all or none.

        Args:
            answers: Unit's number -> its row. A unit that somebody else has finished since its
                lease ran out keeps the answer it has.
            failed: Unit's number -> why there is no answer, noted together with the answers.
        """
        with self.transaction() as data:
            data.executemany(
                "UPDATE units SET status = 'done', reason = NULL, owner = NULL, until = NULL, "
                "answer = ? WHERE id = ? AND status != 'done'",
                [
                    (json.dumps(row, sort_keys=True, ensure_ascii=False), unit)
                    for unit, row in answers.items()
                ],
            )
            data.executemany(
                "UPDATE units SET status = 'failed', reason = ?, owner = NULL, until = NULL "
                "WHERE id = ? AND status != 'done'",
                [(reason, unit) for unit, reason in (failed or {}).items()],
            )

    def renew(self, owner: str, lease_s: float) -> None:
        """Keep what an owner has taken."""
        with self.transaction() as data:
            for table in ("recordings", "units"):
                data.execute(
                    f"UPDATE {table} SET until = ? WHERE owner = ?",  # noqa: S608
                    (time.time() + lease_s, owner),
                )

    def release(self, owner: str | None = None) -> None:
        """Give back what an owner has taken and not finished; what all have, if None."""
        with self.transaction() as data:
            for table in ("recordings", "units"):
                data.execute(
                    f"UPDATE {table} SET status = 'pending', owner = NULL, until = NULL "  # noqa: S608
                    "WHERE status = 'running' AND (?1 IS NULL OR owner = ?1)",
                    (owner,),
                )

    def retry_failed(self) -> int:
        """Let everything that failed be tried anew; returns how much that is."""
        before = self._data.total_changes
        with self.transaction() as data:
            for table in ("recordings", "units"):
                data.execute(
                    f"UPDATE {table} SET status = 'pending', reason = NULL, tries = 0 "  # noqa: S608
                    "WHERE status = 'failed'"
                )
        return self._data.total_changes - before

    # ---------------------------------------------------------------- looking

    def waiting(self, most: int) -> int:
        """Return how many units wait to be answered, counted no further than ``most``."""
        (count,) = self._data.execute(
            "SELECT COUNT(*) FROM (SELECT 1 FROM units WHERE status = 'pending' LIMIT ?)", (most,)
        ).fetchone()
        return int(count)

    def counts(self, table: str = "units") -> Counts:
        """Return how many units, or recordings, are in which state."""
        if table not in ("units", "recordings"):
            raise ValueError(f"table is {table!r}; expected units or recordings")
        rows = self._data.execute(
            f"SELECT status, COUNT(*) FROM {table} GROUP BY status"  # noqa: S608
        )
        return Counts(**dict(rows))


def _ids(objects: Sequence[int]) -> str:
    return ",".join(str(object_id) for object_id in objects)


def source_digest(source: str) -> str:
    """Return what stands for a recording that was removed."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def unit_of(row: Sequence[Any]) -> Unit:
    """Return the unit of a row ``(id, recording, task, objects, start_s, end_s, tries)``."""
    number, recording, task, objects, start_s, end_s, tries = row
    ids = tuple(int(text) for text in objects.split(","))
    return Unit(number, recording, task, ids, start_s, end_s, tries)


def _recording(row: Sequence[Any]) -> Recording:
    source, camera, start, tracks, region = row
    return Recording(
        source,
        camera,
        None if start is None else datetime.fromisoformat(start),
        tracks,
        None if region is None else tuple((x, y) for x, y in json.loads(region)),
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
