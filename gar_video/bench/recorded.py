"""Answers made elsewhere: published answer files, and runs made here, scored without a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gar_video.bench.case import Case
from gar_video.bench.reading import read_json
from gar_video.bench.registry import Benchmark
from gar_video.bench.rows import Row, blank_row, read_choice
from gar_video.bench.store import ROWS, Run
from gar_video.errors import GARVideoError

# Names under which published files keep an answer, and a judge's verdict on it.
_TEXTS = ("model_output", "pred", "text", "prediction")
_VERDICT = "eval_result"


@dataclass(frozen=True)
class Recorded:
    """Answers, and judgements where the file has them.

    Attributes:
        texts: Answer by case key.
        replies: What a judge replied about it, by case key: one verdict, or a reply a question.
        sha256: Digest of the file.
        chosen: Letters and probabilities of a run made here, by case key.
        named: Keys of all cases that the file speaks of, those answered with null included.
    """

    texts: dict[str, str]
    replies: dict[str, list[str]]
    sha256: str
    chosen: dict[str, Row]
    named: frozenset[str]


def read_answers(path: str | Path, cases: Sequence[Case]) -> Recorded:
    """Read answers from a published file or a run's folder.

    Understood are a list of items as in the benchmark's file, each with ``model_output`` and
    perhaps ``eval_result``; JSON lines of such items; an object of id to text; an object of id to
    ``pred`` and ``response``, the judge's replies in order; and a folder of a run.

    Args:
        path: The file or folder.
        cases: The benchmark's cases, which the answers are matched to by id, else by picture or
            video, else by position where there are as many.

    Raises:
        GARVideoError: If it cannot be read or does not fit the cases.
    """
    path = Path(path)
    if path.is_dir():
        rows = Run(path).rows()
        digest = hashlib.sha256((path / ROWS).read_bytes()).hexdigest() if rows else ""
        known = {case.key for case in cases}
        texts = {key: row["text"] for key, row in rows.items() if key in known and not row["error"]}
        given = {key: text for key, text in texts.items() if text is not None}
        return Recorded(given, {}, digest, rows, frozenset(rows))
    if not path.is_file():
        raise GARVideoError(f"no file or run at {path}; expected answers (--answers)")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entries = _json_lines(path) if path.suffix == ".jsonl" else read_json(path)
    matched = _by_id(entries, cases) if isinstance(entries, dict) else _listed(path, entries, cases)
    texts, replies = {}, {}
    for key, entry in matched.items():
        text, said = _read(path, key, entry)
        if text is None:
            continue
        texts[key] = text
        if said is not None:
            replies[key] = said
    if not texts:
        raise GARVideoError(f"{path} answers none of the {len(cases)} questions")
    return Recorded(texts, replies, digest, {}, frozenset(matched))


def merged_answers(paths: Sequence[Path], cases: Sequence[Case]) -> Recorded:
    """Read several files of answers as one, such as one a type.

    Raises:
        GARVideoError: If one cannot be read, or two answer the same question.
    """
    texts: dict[str, str] = {}
    replies: dict[str, list[str]] = {}
    chosen: dict[str, Row] = {}
    named: frozenset[str] = frozenset()
    digests = []
    for path in paths:
        one = read_answers(path, cases)
        twice = (texts.keys() & one.texts.keys()) | (chosen.keys() & one.chosen.keys())
        if twice:
            raise GARVideoError(f"{path} answers {min(twice)} a second time; give it once")
        texts |= one.texts
        replies |= one.replies
        chosen |= one.chosen
        named |= one.named
        digests.append(one.sha256)
    return Recorded(texts, replies, "+".join(digests), chosen, named)


def _json_lines(path: Path) -> list[Any]:
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                entries.append(json.loads(line))
            except ValueError:
                raise GARVideoError(f"{path}, line {number} is not valid JSON") from None
    return entries


def _by_id(entries: Mapping[str, Any], cases: Sequence[Case]) -> dict[str, Any]:
    return {case.key: entries[case.key] for case in cases if case.key in entries}


def _listed(path: Path, entries: Any, cases: Sequence[Case]) -> dict[str, Any]:
    """Match items by id, else by picture or video where each stands once, else by position."""
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise GARVideoError(f"{path} holds no answers; expected a list of items, or id to answer")
    # Data loaders that fill up the last batch answer some items twice, in the same words.
    unlike = list({json.dumps(one, sort_keys=True): one for one in entries}.values())
    known = {case.key for case in cases}
    for name in ("key", "id"):
        ids = [str(one[name]) for one in unlike if name in one]
        if len(ids) == len(unlike) == len(set(ids)) and known & set(ids):
            return {key: one for key, one in zip(ids, unlike, strict=True) if key in known}
    by_media: dict[str, list[Case]] = {}
    for case in cases:
        by_media.setdefault(case.media, []).append(case)
    medias = [one.get("image", one.get("video")) for one in unlike]
    if len(set(medias)) == len(medias) and all(len(by_media.get(m, [])) <= 1 for m in medias):
        found = {
            by_media[media][0].key: one
            for media, one in zip(medias, unlike, strict=True)
            if media in by_media
        }
        if found:
            return found
    if len(entries) != len(cases):
        raise GARVideoError(
            f"{path} holds {len(entries)} answers for {len(cases)} questions and no ids to match "
            "them by"
        )
    for at, (case, entry) in enumerate(zip(cases, entries, strict=True)):
        media = entry.get("image", entry.get("video"))
        if media is not None and media != case.media:
            raise GARVideoError(
                f"{path}, item {at} is about {media}, where the benchmark has {case.media}; "
                "expected ids, or the benchmark's own order"
            )
    return {case.key: one for case, one in zip(cases, entries, strict=True)}


def _read(path: Path, key: str, entry: Any) -> tuple[str | None, list[str] | None]:
    """Return an answer, None where there is null in its place, and what a judge replied."""
    if isinstance(entry, str) or entry is None:
        return entry, None
    names = [name for name in _TEXTS if name in entry] if isinstance(entry, dict) else []
    text = entry[names[0]] if names else 0
    if text is not None and not isinstance(text, str):
        raise GARVideoError(f"{path}, {key}: expected the answer as text under {', '.join(_TEXTS)}")
    said = entry.get("response", entry.get(_VERDICT))
    if isinstance(said, (str, bool)):
        return text, [str(said)]
    if isinstance(said, list) and all(isinstance(one, str) for one in said):
        return text, said
    if said is not None:
        raise GARVideoError(f"{path}, {key}: expected the judge's reply as text, or a list of them")
    return text, None


def recorded_rows(bench: Benchmark, cases: Sequence[Case], held: Recorded) -> list[Row]:
    """Return a row for every case; one without an answer has failed."""
    rows = []
    for case in cases:
        own = held.chosen.get(case.key)
        row = blank_row(case, case.index)
        if own is not None:
            row.update({name: own.get(name) for name in row if name not in ("index", "answer")})
        elif case.key not in held.texts:
            row["error"] = "there is no answer to it in the file"
        elif case.kind == "choice":
            whole = bench.name == "gar-bench-vqa"
            row.update(read_choice(case, held.texts[case.key], whole=whole))
        else:
            row["text"] = held.texts[case.key]
        rows.append(row)
    return rows
