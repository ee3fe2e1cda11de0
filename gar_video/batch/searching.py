"""Finding a moment of a night by words: what was answered, where and when."""

from __future__ import annotations

import difflib
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gar_video.batch.clock import read_time
from gar_video.batch.embedding import Embedder
from gar_video.batch.search_index import Index, names
from gar_video.errors import GARVideoError

Matched = Literal["all", "most", "any", "prefix", "meaning"]
_MOST_WORDS, _MOST_ROWS = 32, 50_000
_WEIGHTS = "8.0, 4.0, 1.5, 1.0"  # of answer, label, question, what is said besides
_FUSION = 60  # the usual constant of reciprocal rank fusion
# Left out of a query that has other words: answers of one word have none of these.
_SMALL = frozenset(
    (
        "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "in", "is",
        "it", "its", "of", "on", "or", "that", "the", "there", "this", "to", "was", "were",
        "which", "who", "with",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Hit:
    """A row that was found.

    Attributes:
        matched: ``"all"`` words are in it; all but one (``"most"``); ``"any"``; words that begin
            so (``"prefix"``); or only its ``"meaning"`` is near.
        unit: The row's id.
        video: Path or address of the recording.
        camera: Its camera.
        wall_start: Where the stretch begins, ISO 8601 with zone, or None.
        wall_end: Where it ends.
        start_s: The same in seconds of the video.
        end_s: The same in seconds of the video.
        objects: Ids of the object or the pair.
        labels: Their labels.
        task: The task's name.
        kind: ``"describe"``, ``"ask"`` or ``"choose"``.
        question: As it was put, or None.
        answer: The words.
        thumbnail: Its picture's path, or None.
    """

    matched: Matched
    unit: str
    video: str
    camera: str
    wall_start: str | None
    wall_end: str | None
    start_s: float
    end_s: float
    objects: tuple[int, ...]
    labels: tuple[str | None, ...]
    task: str
    kind: str
    question: str | None
    answer: str
    thumbnail: str | None


@dataclass(frozen=True)
class Only:
    """Which rows count.

    Attributes:
        cameras: Of one of these cameras; of any if there are none.
        labels: With one of these labels.
        tasks: Of one of these tasks.
        since: Not over before this time.
        until: Begun before this time. Rows whose time nobody knows do not count with either.
    """

    cameras: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


def search(
    run: str | os.PathLike[str],
    words: str,
    only: Only | None = None,
    *,
    limit: int = 20,
    embed: str | Embedder | None = None,
    by_meaning: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Hit]:
    """Find rows of a run by words.

    Words are compared by their stems (``turning`` finds ``turns``), ``"…"`` holds words together,
    ``car*`` finds what begins so. Rows with all words come first, then those with all but one, then
    those with any. A row also counts as having the words that other rows say about its object at
    that time, with less weight.

    Args:
        run: The run's folder; the run may go on meanwhile.
        words: What to look for.
        only: Which rows count; all if None.
        limit: Most hits.
        embed: A sentence model, by which rows are found that say the same in other words; see
            ``Embedder``. The first search with a model takes as long as it takes to read all rows.
        by_meaning: With ``embed``: do not look for the words at all.
        progress: Called while the index is made.

    Returns:
        Hits, the best first.

    Raises:
        GARVideoError: If there is no run or no word, a camera, label or task is not there, or
            times are the wrong way round.
    """
    only = only or Only()
    terms = read_words(words)
    if limit < 1:
        raise GARVideoError(f"limit is {limit}; expected 1 or more")
    if by_meaning and embed is None:
        raise GARVideoError("searching by meaning needs a sentence model; name one with --embed")
    with Index(run, progress) as index:
        try:
            return _found(index, terms, words, only, limit, embed, by_meaning)
        except sqlite3.DatabaseError as error:
            raise GARVideoError(
                f"cannot read or write the index {index.path}: {error}; remove the file or make "
                "room, and search again"
            ) from None


def _found(
    index: Index,
    terms: list[str],
    words: str,
    only: Only,
    limit: int,
    embed: str | Embedder | None,
    by_meaning: bool,
) -> list[Hit]:
    where, values = _filter(index.data, only)
    lists: list[list[tuple[int, Matched]]] = []
    if not by_meaning:
        lists.append(_by_words(index.data, terms, where, values, limit))
    if embed is not None:
        embedder = Embedder(embed) if isinstance(embed, str) else embed
        index.embed(embedder)
        vector = embedder.encode([words])[0]
        lists.append(_by_meaning(index.data, vector, where, values, limit))
    found = lists[0] if len(lists) == 1 else _fused(lists)
    return _hits(index.data, index.run, found[:limit])


# ---------------------------------------------------------------- what is asked


def read_words(text: str) -> list[str]:
    """Return a query's terms, quoted so that nothing in them is syntax.

    Raises:
        GARVideoError: If there are none, or too many.
    """
    terms: list[str] = []
    small: list[str] = []
    for phrase, plain in re.findall(r'"([^"]*)"|([^\s"]+)', text):
        tokens = re.findall(r"[^\W_]+", phrase or plain)
        if phrase:
            terms += ['"' + " ".join(tokens) + '"'] if tokens else []
            continue
        for place, token in enumerate(tokens):
            begins = plain.endswith("*") and place == len(tokens) - 1
            into = small if token.lower() in _SMALL and not begins else terms
            into.append(f'"{token}"' + "*" * begins)
    terms = list(dict.fromkeys(terms or small))
    if not terms:
        raise GARVideoError(
            f"there is no word in the query {text!r}; expected such as 'red car turning left'"
        )
    if len(terms) > _MOST_WORDS:
        raise GARVideoError(f"the query has {len(terms)} words; expected {_MOST_WORDS} at most")
    return terms


def read_day(text: str, zone: tzinfo, *, end: bool = False) -> datetime:
    """Read a time, or a day: its beginning, or its end.

    Args:
        text: ISO 8601, or seconds since 1970.
        zone: Zone of times that name none.
        end: Whether a day stands for its end.

    Raises:
        GARVideoError: If it is neither.
    """
    at = read_time(text, zone)
    if end and re.fullmatch(r"\d{4}-?\d\d-?\d\d", text.strip()):
        at += timedelta(days=1)
    return at


def check_names(kind: str, wanted: Iterable[str], known: Sequence[str]) -> None:
    """Refuse names that no row has, naming the nearest.

    Raises:
        GARVideoError: So.
    """
    for name in wanted:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        few = ", ".join(known[:8]) + (" …" if len(known) > 8 else "")
        hint = f"did you mean {near[0]!r}?" if near else f"there are {few or 'none'}"
        raise GARVideoError(f"there is no {kind} {name!r} in this run; {hint}")


def check_times(only: Only) -> None:
    """Refuse a stretch of time that is empty.

    Raises:
        GARVideoError: So.
    """
    if only.since is not None and only.until is not None and only.until <= only.since:
        raise GARVideoError(
            f"from {only.since.isoformat()} to {only.until.isoformat()} is no time at all; "
            "expected the earlier one first"
        )


def _filter(data: sqlite3.Connection, only: Only) -> tuple[str, list[Any]]:
    """Return conditions on the table ``facts`` and their values."""
    check_times(only)
    conditions: list[str] = []
    values: list[Any] = []
    for kind, wanted in (("camera", only.cameras), ("label", only.labels), ("task", only.tasks)):
        if not wanted:
            continue
        check_names(kind, wanted, names(data, kind))
        marks = ", ".join("?" * len(wanted))
        ids = [
            data.execute(
                "SELECT id FROM names WHERE kind = ? AND name = ?", (kind, name)
            ).fetchone()[0]
            for name in wanted
        ]
        columns = ("label", "other_label") if kind == "label" else (kind,)
        conditions.append(" OR ".join(f"facts.{column} IN ({marks})" for column in columns))
        values += ids * len(columns)
    if only.since is not None:
        conditions.append("facts.ended > ?")
        values.append(_utc(only.since))
    if only.until is not None:
        conditions.append("facts.began < ?")
        values.append(_utc(only.until))
    return "".join(f" AND ({condition})" for condition in conditions), values


def _utc(at: datetime) -> float:
    return (at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)).timestamp()


# ---------------------------------------------------------------- by words


def _by_words(
    data: sqlite3.Connection, terms: list[str], where: str, values: list[Any], limit: int
) -> list[tuple[int, Matched]]:
    found: dict[int, Matched] = {}

    def look(query: str, matched: Matched) -> None:
        for number in _ranked(data, query, where, values, limit):
            found.setdefault(number, matched)

    look(" AND ".join(terms), "all")
    if len(found) < limit and 3 <= len(terms) <= 8:
        rests = (terms[:place] + terms[place + 1 :] for place in range(len(terms)))
        look(" OR ".join(f"({' AND '.join(rest)})" for rest in rests), "most")
    if len(found) < limit and len(terms) > 1:
        look(" OR ".join(_telling(data, terms)), "any")
    if not found:
        begun = [term if term.endswith("*") else f"{term}*" for term in terms]
        look(" AND ".join(begun), "prefix")
        if not found and len(terms) > 1:
            look(" OR ".join(begun), "prefix")
    return list(found.items())


def _telling(data: sqlite3.Connection, terms: list[str]) -> list[str]:
    """Return the rarer words: what is in every row tells no row from another, and takes long."""
    counted = sorted(
        (
            data.execute(
                "SELECT COUNT(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)",
                (term, _MOST_ROWS + 1),
            ).fetchone()[0],
            term,
        )
        for term in terms
    )
    kept: list[str] = []
    total = 0
    for count, term in counted:
        total += count
        if kept and total > _MOST_ROWS:
            break
        if count:
            kept.append(term)
    return kept or terms[:1]


def _ranked(
    data: sqlite3.Connection, query: str, where: str, values: list[Any], limit: int
) -> list[int]:
    # CROSS JOIN keeps the order: words first, then whether the few rows count. No more than so many
    # are ranked, so that a word of every row takes no longer than one of every tenth.
    join = "CROSS JOIN facts ON facts.id = words.rowid" if where else ""
    found = data.execute(
        f"SELECT id FROM (SELECT words.rowid AS id, bm25(words, {_WEIGHTS}) AS score "  # noqa: S608
        f"FROM words {join} WHERE words MATCH ?{where} LIMIT {_MOST_ROWS}) "
        "ORDER BY score, id LIMIT ?",
        (query, *values, limit),
    )
    return [number for (number,) in found]


# ---------------------------------------------------------------- by meaning


def _by_meaning(
    data: sqlite3.Connection, vector: Any, where: str, values: list[Any], limit: int
) -> list[tuple[int, Matched]]:
    """Return rows by how near their texts' vectors are."""
    data.execute("CREATE TEMP TABLE IF NOT EXISTS near (id INTEGER PRIMARY KEY, score REAL)")
    data.execute("DELETE FROM near")
    told = data.execute("SELECT id, vector FROM meanings WHERE vector IS NOT NULL")
    while part := told.fetchmany(20_000):
        vectors = np.frombuffer(b"".join(blob for _, blob in part), np.float32)
        scores = vectors.reshape(len(part), -1) @ vector
        data.executemany(
            "INSERT INTO near VALUES (?, ?)",
            [(number, float(score)) for (number, _), score in zip(part, scores, strict=True)],
        )
    found = data.execute(
        "SELECT facts.id FROM facts JOIN near ON near.id = facts.meaning "  # noqa: S608
        f"WHERE 1{where} ORDER BY near.score DESC, facts.id LIMIT ?",
        (*values, limit),
    )
    return [(number, "meaning") for (number,) in found]


def _fused(lists: Sequence[Sequence[tuple[int, Matched]]]) -> list[tuple[int, Matched]]:
    """Merge rankings: what stands high in several of them stands highest."""
    worth: dict[int, float] = {}
    told: dict[int, Matched] = {}
    for ranking in lists:
        for place, (number, matched) in enumerate(ranking):
            worth[number] = worth.get(number, 0.0) + 1 / (_FUSION + place)
            told.setdefault(number, matched)
    return [(number, told[number]) for number in sorted(worth, key=lambda n: (-worth[n], n))]


def _hits(data: sqlite3.Connection, run: Path, found: Sequence[tuple[int, Matched]]) -> list[Hit]:
    hits = []
    for number, matched in found:
        answer, question, shown = data.execute(
            "SELECT answer, question, shown FROM texts WHERE id = ?", (number,)
        ).fetchone()
        known = json.loads(shown)
        picture = known.pop("thumbnail")
        known["objects"], known["labels"] = tuple(known["objects"]), tuple(known["labels"])
        path = None if picture is None else str(run / picture)
        hits.append(Hit(matched, answer=answer, question=question or None, thumbnail=path, **known))
    return hits
