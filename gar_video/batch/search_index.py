"""What searches look into: a run's words in SQLite's own full-text index, beside the run.

The index (``search.sqlite``) is made from the run's state and holds nothing that is not there; it
may be removed at any time. It is brought up to date video by video, before each search.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timezone
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gar_video.batch.clock import read_time
from gar_video.batch.results import Row, open_state, read_rows
from gar_video.batch.state import NAME
from gar_video.errors import GARVideoError

if TYPE_CHECKING:
    from gar_video.batch.embedding import Embedder

INDEX = "search.sqlite"
_VERSION = "1"
_TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE videos (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL UNIQUE, done INTEGER NOT NULL
);
CREATE TABLE names (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (kind, name)
);
-- Narrow, so that filters read few pages.
CREATE TABLE facts (
    id INTEGER PRIMARY KEY, video INTEGER NOT NULL, camera INTEGER NOT NULL,
    label INTEGER, other_label INTEGER, task INTEGER NOT NULL, began REAL, ended REAL,
    meaning INTEGER NOT NULL
);
CREATE INDEX facts_by_video ON facts (video);
CREATE TABLE texts (
    id INTEGER PRIMARY KEY, answer TEXT NOT NULL, label TEXT NOT NULL, question TEXT NOT NULL,
    others TEXT NOT NULL, shown TEXT NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5 (
    answer, label, question, others, content = 'texts', content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TABLE meanings (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, vector BLOB);
"""
_COLUMNS = ("answer", "label", "question", "others")
#: What a hit shows besides its words.
SHOWN = (
    "unit", "video", "camera", "wall_start", "wall_end", "start_s", "end_s", "objects", "labels",
    "task", "kind", "thumbnail",
)  # fmt: skip
_AT_ONCE = 20_000
_BIN_S, _BIN_ROWS, _OTHERS = 30.0, 40, 600


class Index:
    """A run's index, open; made or brought up to date first.

    Args:
        run: The run's folder.
        progress: Called with rows written so far and 0, while the index is made.

    Raises:
        GARVideoError: If the folder holds no run, or the index cannot be written.
    """

    def __init__(
        self, run: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.run, self.path = Path(run), Path(run) / INDEX
        open_state(run).close()
        self._progress = progress or (lambda done, total: None)
        self._names: dict[tuple[str, str], int] = {}
        try:
            self.data = self._open()
            self._refresh()
        except (sqlite3.DatabaseError, OSError) as error:
            raise GARVideoError(
                f"cannot write the index {self.path}: {error}; make room or the folder writable, "
                "or remove the file"
            ) from None

    def _open(self) -> sqlite3.Connection:
        data = connect(self.path)
        if not usable(data):
            data.close()
            remove(self.run)
            data = connect(self.path)
            make_tables(data)
        data.execute("PRAGMA secure_delete = ON")
        data.execute("PRAGMA cache_size = -65536")
        return data

    def close(self) -> None:
        """Close the file."""
        self.data.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- keeping up

    def _refresh(self) -> None:
        stamp = _stamp(self.run)
        row = self.data.execute("SELECT value FROM about WHERE key = 'stamp'").fetchone()
        if row is not None and row[0] == stamp:
            return
        with closing(open_state(self.run)) as state:
            there = dict(
                state.execute(
                    "SELECT source, SUM(units.status = 'done') AS done FROM recordings "
                    "JOIN units ON recording = recordings.id GROUP BY recordings.id HAVING done > 0"
                ).fetchall()
            )
        known = dict(self.data.execute("SELECT source, done FROM videos").fetchall())
        gone = [source for source in known if known[source] != there.get(source)]
        with self._writing():
            self._drop(gone)
        coming = sorted(source for source in there if known.get(source) != there[source])
        if coming:
            everything = len(coming) == len(there)
            self.add(read_rows(self.run, videos=None if everything else coming))
        with self._writing():
            self.data.execute("INSERT OR REPLACE INTO about VALUES ('stamp', ?)", (stamp,))

    def add(self, rows: Iterable[Row]) -> int:
        """Write rows, which come video by video; returns how many have words."""
        count = written = 0
        held: list[tuple[str, list[Row]]] = []
        answered = (row for row in rows if row["answer"] is not None)
        for source, own in groupby(answered, key=lambda row: row["video"]):
            held.append((source, list(own)))
            count += len(held[-1][1])
            if count - written >= _AT_ONCE:
                self._write(held)
                held, written = [], count
                self._progress(written, 0)
        self._write(held)
        return count

    def _write(self, videos: Sequence[tuple[str, list[Row]]]) -> None:
        with self._writing():
            for source, rows in videos:
                self._write_video(source, rows)

    def _write_video(self, source: str, rows: Sequence[Row]) -> None:
        video = self.data.execute(
            "INSERT INTO videos (source, done) VALUES (?, ?)", (source, len(rows))
        ).lastrowid
        (last,) = self.data.execute("SELECT IFNULL(MAX(id), 0) FROM facts").fetchone()
        facts, texts = [], []
        for number, (row, others) in enumerate(
            zip(rows, told_besides(rows), strict=True), last + 1
        ):
            labels = [label for label in row["labels"] if label]
            ids = [self._name("label", label) for label in labels]
            meaning = self._meaning(meaning_of(row))
            facts.append(
                (
                    number, video, self._name("camera", row["camera"]), ids[0] if ids else None,
                    ids[1] if len(ids) > 1 else None, self._name("task", row["task"]),
                    seconds(row["wall_start"]), seconds(row["wall_end"]), meaning,
                )
            )  # fmt: skip
            shown = json.dumps({name: row[name] for name in SHOWN}, ensure_ascii=False)
            texts.append(
                (number, row["answer"], " ".join(labels), row["question"] or "", others, shown)
            )
        self.data.executemany("INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", facts)
        self.data.executemany("INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?)", texts)
        self.data.executemany(
            "INSERT INTO words (rowid, answer, label, question, others) VALUES (?, ?, ?, ?, ?)",
            [text[:5] for text in texts],
        )

    def _drop(self, sources: Sequence[str]) -> None:
        for source in sources:
            where = (
                "WHERE id IN (SELECT facts.id FROM facts JOIN videos ON videos.id = video "
                "WHERE source = ?)"
            )
            names = ", ".join(_COLUMNS)
            self.data.execute(
                f"INSERT INTO words (words, rowid, {names}) "  # noqa: S608
                f"SELECT 'delete', id, {names} FROM texts {where}",
                (source,),
            )
            for table in ("texts", "facts"):
                self.data.execute(f"DELETE FROM {table} {where}", (source,))  # noqa: S608
            self.data.execute("DELETE FROM videos WHERE source = ?", (source,))

    def _name(self, kind: str, name: str) -> int:
        if (kind, name) not in self._names:
            self.data.execute(
                "INSERT OR IGNORE INTO names (kind, name) VALUES (?, ?)", (kind, name)
            )
            (self._names[kind, name],) = self.data.execute(
                "SELECT id FROM names WHERE kind = ? AND name = ?", (kind, name)
            ).fetchone()
        return self._names[kind, name]

    def _meaning(self, text: str) -> int:
        self.data.execute("INSERT OR IGNORE INTO meanings (text) VALUES (?)", (text,))
        row = self.data.execute("SELECT id FROM meanings WHERE text = ?", (text,)).fetchone()
        return int(row[0])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.data.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._names.clear()
            self.data.execute("ROLLBACK")
            raise
        self.data.execute("COMMIT")

    # ---------------------------------------------------------------- meanings

    def embed(self, embedder: Embedder) -> None:
        """Have a vector for every text, by one model; those of another are replaced."""
        row = self.data.execute("SELECT value FROM about WHERE key = 'embedder'").fetchone()
        if row is None or row[0] != embedder.identity:
            with self._writing():
                self.data.execute("UPDATE meanings SET vector = NULL")
                self.data.execute(
                    "INSERT OR REPLACE INTO about VALUES ('embedder', ?)", (embedder.identity,)
                )
        done = 0
        while True:
            found = self.data.execute(
                "SELECT id, text FROM meanings WHERE vector IS NULL LIMIT 1024"
            ).fetchall()
            if not found:
                return
            vectors = embedder.encode([text for _, text in found])
            with self._writing():
                self.data.executemany(
                    "UPDATE meanings SET vector = ? WHERE id = ?",
                    [
                        (vector.tobytes(), number)
                        for vector, (number, _) in zip(vectors, found, strict=True)
                    ],
                )
            done += len(found)
            self._progress(done, 0)


# ---------------------------------------------------------------- files


def connect(path: Path) -> sqlite3.Connection:
    """Open an index's file as it is."""
    return sqlite3.connect(path, timeout=60, isolation_level=None)


def usable(data: sqlite3.Connection) -> bool:
    """Return whether an open file is an index of this version."""
    try:
        row = data.execute("SELECT value FROM about WHERE key = 'version'").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        return False
    except sqlite3.DatabaseError:
        return False
    return row is not None and row[0] == _VERSION


def make_tables(data: sqlite3.Connection) -> None:
    """Make an index's tables in an empty file."""
    data.executescript(_TABLES)
    data.execute("INSERT INTO about VALUES ('version', ?)", (_VERSION,))


def remove(run: str | os.PathLike[str]) -> bool:
    """Remove a run's index; returns whether there was one."""
    was = False
    for ending in ("", "-journal", "-wal", "-shm"):
        path = Path(run) / f"{INDEX}{ending}"
        was = was or path.is_file()
        path.unlink(missing_ok=True)
    return was


def _stamp(run: Path) -> str:
    """Return what changes whenever something is written to a run's state."""
    told = []
    for name in (NAME, f"{NAME}-wal"):
        try:
            about = (run / name).stat()
        except FileNotFoundError:
            continue
        if about.st_size:
            told.append((name, about.st_size, about.st_mtime_ns))
    return json.dumps(told)


# ---------------------------------------------------------------- rows


def seconds(wall: str | None) -> float | None:
    """Return a time of day as seconds since 1970."""
    return None if wall is None else read_time(wall, timezone.utc).timestamp()


def meaning_of(row: Row) -> str:
    """Return the text whose meaning stands for a row: short answers need their question."""
    labels = " and ".join(label for label in row["labels"] if label)
    asked = "" if row["kind"] == "describe" else f"{row['question'] or ''} "
    return f"{labels + ': ' if labels else ''}{asked}{row['answer']}"


def told_besides(rows: Sequence[Row]) -> list[str]:
    """Return, for each row of a video, what others say about the same object at that time.

    ``left`` answers a question of direction; that it is the red car which goes left stands in
    another row.
    """
    bins: dict[tuple[int, int], list[Row]] = {}
    # Descriptions first, so that they are among the few that are kept.
    for row in sorted(rows, key=lambda row: row["kind"] != "describe"):
        for key in _bins(row):
            own = bins.setdefault(key, [])
            if len(own) < _BIN_ROWS:
                own.append(row)
    return [_besides(row, bins) for row in rows]


def _besides(row: Row, bins: dict[tuple[int, int], list[Row]]) -> str:
    said: dict[str, None] = {}
    for key in _bins(row):
        for other in bins.get(key, ()):
            apart = other["start_s"] >= row["end_s"] or other["end_s"] <= row["start_s"]
            if not apart and other is not row and other["answer"] != row["answer"]:
                said[other["answer"]] = None
        if sum(map(len, said)) > _OTHERS:
            break
    return "; ".join(said)[:_OTHERS]


def _bins(row: Row) -> Iterator[tuple[int, int]]:
    first, last = int(row["start_s"] // _BIN_S), int(row["end_s"] // _BIN_S)
    for one in row["objects"]:
        for number in range(first, last + 1):
            yield one, number


def names(data: sqlite3.Connection, kind: str) -> list[str]:
    """Return the cameras, labels or tasks that rows have."""
    found: list[Any] = data.execute(
        "SELECT name FROM names WHERE kind = ? ORDER BY name", (kind,)
    ).fetchall()
    return [name for (name,) in found]
