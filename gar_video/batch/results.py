"""What a run has found out, as rows: read from its state, written as Parquet and JSON lines.

The state (SQLite) is the truth; the files are made from it, sorted, so that they do not tell in
which order, in how many pieces or on how many machines a run was worked off. ``docs/batch.md``
describes the columns.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gar_video.batch.state import NAME
from gar_video.errors import GARVideoError
from gar_video.files import replacing

#: Rises when a column changes its meaning, its type or its name, or goes; new ones may come.
SCHEMA_VERSION = 1

TABLES, LINES, FAILURES, THUMBNAILS = "results", "results.jsonl", "failures.jsonl", "thumbnails"

#: Columns in order, and their types as Arrow names them (``boxes`` is a list of structs).
COLUMNS: dict[str, str] = {
    "schema_version": "int64",
    "unit": "string",
    "video": "string",
    "camera": "string",
    "wall_start": "string",
    "wall_end": "string",
    "start_s": "double",
    "end_s": "double",
    "objects": "list<int64>",
    "label": "string",
    "labels": "list<string>",
    "boxes": "boxes",
    "task": "string",
    "kind": "string",
    "question": "string",
    "answer": "string",
    "options": "list<string>",
    "probabilities": "list<double>",
    "finish": "string",
    "frames": "list<int64>",
    "visible_share": "double",
    "model": "string",
    "thumbnail": "string",
    "error": "string",
}
#: What an answer brings; the other columns come from its unit, its recording and its task.
ANSWERED = (
    "labels", "boxes", "question", "answer", "options", "probabilities", "finish", "frames",
    "visible_share", "model", "thumbnail",
)  # fmt: skip
_LISTS = ("labels", "boxes", "options", "probabilities", "frames")

Row = dict[str, Any]
_AT_ONCE = 4096


def unit_name(source: str, task: str, objects: Sequence[int], start_s: float) -> str:
    """Return a unit's id: the same text in every run over the same footage."""
    told = json.dumps([source, task, list(objects), round(start_s, 6)], ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()[:24]


def thumbnail_name(source: str, objects: Sequence[int], start_s: float, end_s: float) -> str:
    """Return the path of a stretch's thumbnail, relative to the run's folder."""
    told = json.dumps([source, list(objects), round(start_s, 6), round(end_s, 6)])
    digest = hashlib.sha256(told.encode()).hexdigest()[:24]
    return f"{THUMBNAILS}/{digest[:2]}/{digest}.jpg"


# ---------------------------------------------------------------- reading


def open_state(run: str | os.PathLike[str]) -> sqlite3.Connection:
    """Open a run's state for reading; the run may go on meanwhile.

    Raises:
        GARVideoError: If the folder holds no run.
    """
    path = Path(run) / NAME
    if not path.is_file():
        raise GARVideoError(f"{run} holds no run; expected a folder that batch run wrote")
    try:
        data = sqlite3.connect(path, timeout=30, isolation_level=None)
        data.execute("PRAGMA query_only = ON")
        data.execute("SELECT value FROM run WHERE key = 'settings'").fetchone()
    except sqlite3.DatabaseError as error:
        raise GARVideoError(f"{path} is no state of a run: {error}") from None
    return data


def read_settings(run: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a run's answers depend on: its tasks, its model, its tracks.

    Raises:
        GARVideoError: If the folder holds no run.
    """
    with contextlib.closing(open_state(run)) as data:
        row = data.execute("SELECT value FROM run WHERE key = 'settings'").fetchone()
    return {} if row is None else dict(json.loads(row[0]))


def read_rows(run: str | os.PathLike[str], videos: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield a run's rows, by video, time, task and objects; one per answered or failed unit.

    Args:
        run: The run's folder.
        videos: Only rows of these, in this order; of all if None.

    Yields:
        Dictionaries with exactly the keys of ``COLUMNS``; lists are empty, not None, where there
        is nothing to say.

    Raises:
        GARVideoError: If the folder holds no run.
    """
    tasks = {task["name"]: task for task in read_settings(run).get("tasks", ())}
    with contextlib.closing(open_state(run)) as data:
        for video in (None,) if videos is None else videos:
            one = "" if video is None else "AND source = ? "
            found = data.execute(
                "SELECT source, camera, start, task, objects, start_s, end_s, "  # noqa: S608
                "units.reason, answer FROM units JOIN recordings ON recordings.id = recording "
                f"WHERE units.status IN ('done', 'failed') {one}"
                "ORDER BY source, start_s, task, objects",
                () if video is None else (video,),
            )
            for record in found:
                yield _row(record, tasks)


def read_failures(run: str | os.PathLike[str]) -> list[Row]:
    """Return what failed.

    Returns:
        Rows of ``video``, ``task`` and ``objects`` (None where the whole video failed), ``error``.

    Raises:
        GARVideoError: If the folder holds no run.
    """
    with contextlib.closing(open_state(run)) as data:
        rows = data.execute(
            "SELECT source, NULL, NULL, reason FROM recordings WHERE status = 'failed' "
            "UNION ALL SELECT source, task, objects, units.reason FROM units "
            "JOIN recordings ON recordings.id = recording WHERE units.status = 'failed' "
            "ORDER BY 1, 2, 3"
        ).fetchall()
    names = ("video", "task", "objects", "error")
    failures = [dict(zip(names, row, strict=True)) for row in rows]
    for failure in failures:
        if failure["objects"] is not None:
            failure["objects"] = _ids(failure["objects"])
    return failures


def _row(record: Sequence[Any], tasks: Mapping[str, Mapping[str, Any]]) -> Row:
    source, camera, start, task, objects, start_s, end_s, reason, answer = record
    ids = _ids(objects)
    about = tasks.get(task, {})
    row: Row = dict.fromkeys(COLUMNS)
    row.update({name: [] for name in _LISTS})
    if answer is not None:
        given = json.loads(answer)
        row.update({name: given[name] for name in ANSWERED if given.get(name) is not None})
    row.update(
        schema_version=SCHEMA_VERSION,
        unit=unit_name(source, task, ids, start_s),
        video=source,
        camera=camera,
        wall_start=wall_clock(start, start_s),
        wall_end=wall_clock(start, end_s),
        start_s=start_s,
        end_s=end_s,
        objects=ids,
        label=row["labels"][0] if row["labels"] else None,
        task=task,
        kind=about.get("kind"),
        error=reason if answer is None else None,
    )
    if row["question"] is None:
        row["question"] = about.get("question") or None
    return row


def _ids(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def wall_clock(start: str | None, at_s: float) -> str | None:
    """Return the time of day, ISO 8601 with its zone, ``at_s`` after a recording's start."""
    if start is None:
        return None
    # What is stored has a fixed offset from UTC, so that seconds go on evenly.
    at = datetime.fromisoformat(start) + timedelta(seconds=round(at_s, 3))
    return at.isoformat(timespec="milliseconds")


# ---------------------------------------------------------------- writing


def schema() -> Any:
    """Return the rows' Arrow schema.

    Raises:
        GARVideoError: If pyarrow is not installed.
    """
    pa = arrow()
    box = pa.struct(
        [
            ("object", pa.int64()),
            ("first", pa.list_(pa.float64())),
            ("last", pa.list_(pa.float64())),
        ]
    )
    kinds = {
        "int64": pa.int64(), "string": pa.string(), "double": pa.float64(),
        "list<int64>": pa.list_(pa.int64()), "list<double>": pa.list_(pa.float64()),
        "list<string>": pa.list_(pa.string()), "boxes": pa.list_(box),
    }  # fmt: skip
    fields = [pa.field(name, kinds[kind]) for name, kind in COLUMNS.items()]
    return pa.schema(fields, metadata={"gar_video_schema_version": str(SCHEMA_VERSION)})


def arrow() -> Any:
    """Return the module ``pyarrow``.

    Raises:
        GARVideoError: If it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise GARVideoError(
            "results are written with pyarrow; install it with pip install 'gar-video[batch]'"
        ) from None
    return pyarrow


def partition(row: Row) -> str:
    """Return the folder of a row's table below ``results``: ``day=2026-11-21/camera=gate``."""
    day = (row["wall_start"] or "unknown")[:10]
    # A camera may be named anything; a folder may not.
    camera = quote(row["camera"], safe=" ").replace(".", "%2E")
    return f"day={day if row['wall_start'] else 'unknown'}/camera={camera[:200] or '%00'}"


def export(run: str | os.PathLike[str]) -> int:
    """Write a run's tables anew from its state: Parquet by day and camera, JSON lines, failures.

    A table that would not change is left alone, one whose rows have gone is removed.

    Returns:
        How many rows there are.

    Raises:
        GARVideoError: If the folder holds no run, pyarrow is missing, or the disk is full.
    """
    folder = Path(run)
    count = 0
    with _Tables(folder / TABLES) as tables, replacing(folder / LINES) as temporary:
        with temporary.open("w", encoding="utf-8") as lines:
            for row in read_rows(run):
                count += 1
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")
                tables.add(row)
        tables.finish()
    _write_lines(folder / FAILURES, read_failures(run))
    return count


def _write_lines(path: Path, rows: Iterable[Row]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


class _Tables:
    """Writes a folder of Parquet files beside the old one and puts it in its place.

    Rows come in order of their videos, of which neighbours share day and camera: few tables are
    written to at a time, and those that rest are closed and gone on with in a further part.
    """

    def __init__(self, folder: Path, open_at_once: int = 64) -> None:
        self._folder, self._most = folder, open_at_once
        self._new = folder.with_name(f".{folder.name}.new")
        self._pa, self._schema = arrow(), schema()
        self._writers: dict[str, Any] = {}
        self._rows: dict[str, list[Row]] = {}
        self._parts: dict[str, int] = {}

    def __enter__(self) -> _Tables:
        shutil.rmtree(self._new, ignore_errors=True)
        return self

    def add(self, row: Row) -> None:
        name = partition(row)
        rows = self._rows.setdefault(name, [])
        rows.append(row)
        if len(rows) >= _AT_ONCE:
            self._flush(name)

    def _flush(self, name: str) -> None:
        rows = self._rows.pop(name, [])
        if name not in self._writers:
            if len(self._writers) >= self._most:
                # The one opened first: videos of its day and camera are most likely through.
                self._writers.pop(next(iter(self._writers))).close()
            part = self._parts.get(name, 0)
            self._parts[name] = part + 1
            path = self._new / name / f"part-{part:04d}.parquet"
            with _full(self._folder):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._writers[name] = self._pa.parquet.ParquetWriter(
                    path, self._schema, compression="zstd"
                )
        table = self._pa.Table.from_pylist(rows, schema=self._schema)
        with _full(self._folder):
            self._writers[name].write_table(table)

    def finish(self) -> None:
        for name in sorted(self._rows):
            self._flush(name)
        self._close()
        with _full(self._folder):
            self._new.mkdir(exist_ok=True)
            _replace_below(self._new, self._folder)

    def _close(self) -> None:
        with _full(self._folder):
            while self._writers:
                self._writers.popitem()[1].close()

    def __exit__(self, *problem: object) -> None:
        if problem[0] is not None:
            with contextlib.suppress(GARVideoError):
                self._close()
        shutil.rmtree(self._new, ignore_errors=True)


@contextlib.contextmanager
def _full(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GARVideoError(
            f"cannot write {folder}: {error.strerror or error}; free some space and start the same "
            "command again"
        ) from error


def _replace_below(new: Path, old: Path) -> None:
    """Move files into a folder and remove what was there before and has no successor."""
    old.mkdir(parents=True, exist_ok=True)
    coming = {path.relative_to(new) for path in new.rglob("*.parquet")}
    for path in sorted(coming):
        target = old / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.is_file() and target.read_bytes() == (new / path).read_bytes()):
            (new / path).replace(target)
    for path in sorted(old.rglob("*.parquet")):
        if path.relative_to(old) not in coming:
            path.unlink()
    for path in sorted((path for path in old.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir()
