"""What a run's rows add up to: counts, shares with their intervals, means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gar_video.bench import score
from gar_video.bench.registry import Benchmark
from gar_video.bench.videorefer_d import DIMENSIONS

Row = Mapping[str, Any]


def summarize(
    bench: Benchmark,
    rows: Iterable[Row],
    judged: Mapping[str, Row] | None = None,
    *,
    skipped: Sequence[Sequence[str]] = (),
    expected: int | None = None,
    num_prompts: int | None = None,
) -> dict[str, Any]:
    """Count a run.

    Failed questions count as wrong (score 0) and are listed; skipped ones do not count.

    Args:
        bench: The benchmark.
        rows: The rows, one a question.
        judged: Judgements by key, for benchmarks that are judged; None if there are none yet.
        skipped: ``(key, type)`` of questions whose video or picture is missing.
        expected: How many rows a complete run has.
        num_prompts: How many objects the checkpoint has names for; None if it is not known.

    Returns:
        ``overall`` and ``per_type``, each with ``correct``, ``total``, ``accuracy``,
        ``wilson_95``, ``failed`` and ``skipped`` (benchmarks judged by points have ``score`` in
        place of ``correct`` and ``accuracy``), lists of the failed and skipped keys, and
        ``beyond_prompts``: how many questions have more objects than the checkpoint has names for.
    """
    ordered = sorted(rows, key=lambda row: (row["index"], row["key"]))
    types = list(dict.fromkeys([row["type"] for row in ordered] + [kind for _, kind in skipped]))
    count = {
        "letter": _letters, "verdict": _verdicts, "dimensions": _dimensions, "details": _details
    }[bench.measure]  # fmt: skip

    def part(kind: str | None) -> dict[str, Any]:
        own = [row for row in ordered if kind is None or row["type"] == kind]
        counted = count(own, judged) if bench.measure == "letter" or judged is not None else {}
        return {
            **({"total": len(own)} | counted),
            "failed": len(_failed(own, judged)),
            "skipped": sum(kind is None or kind == one for _, one in skipped),
        }

    seconds = [row["seconds"] for row in ordered if row.get("seconds") is not None]
    return {
        "benchmark": bench.name,
        "complete": expected is None or len(ordered) == expected,
        "judged": None if bench.measure == "letter" else judged is not None,
        "overall": part(None),
        "per_type": {kind: part(kind) for kind in types},
        "failed": [
            {"key": row["key"], "error": reason} for row, reason in _failed(ordered, judged)
        ],
        "skipped": [key for key, _ in skipped],
        "beyond_prompts": sum(row.get("objects", 0) > num_prompts for row in ordered)
        if num_prompts is not None
        else None,
        "seconds": round(sum(seconds), 2),
        **({"judge": _tokens(judged)} if judged is not None else {}),
    }


def failure(row: Row, judged: Mapping[str, Row] | None) -> str | None:
    """Return why a row failed, in answering or in judging; None if it did not."""
    if row.get("error"):
        return str(row["error"])
    if judged is None:
        return None
    judgement = judged.get(row["key"])
    if judgement is None:
        return "not judged yet"
    return str(judgement["error"]) if judgement.get("error") else None


def _failed(rows: Sequence[Row], judged: Mapping[str, Row] | None) -> list[tuple[Row, str]]:
    reasons = ((row, failure(row, judged)) for row in rows)
    return [(row, reason) for row, reason in reasons if reason is not None]


def _tokens(judged: Mapping[str, Row]) -> dict[str, int]:
    names = ("asked", "cached", "prompt_tokens", "completion_tokens", "unmatched")
    return {name: sum(int(one.get(name) or 0) for one in judged.values()) for name in names}


def _share(correct: int, total: int) -> dict[str, Any]:
    interval = score.wilson(correct, total)
    return {
        "correct": correct,
        "total": total,
        "accuracy": None if total == 0 else round(correct / total, 6),
        "wilson_95": None if interval is None else [round(end, 6) for end in interval],
    }


def _letters(rows: Sequence[Row], judged: Mapping[str, Row] | None) -> dict[str, Any]:
    shares = _share(sum(bool(row["correct"]) for row in rows), len(rows))
    # What the published rule reads from an answer that names no letter, or several, apart.
    strict = sum(row.get("strict") == row["answer"] for row in rows if row["strict"])
    lucky = sum(bool(row["correct"]) and row["strict"] != row["answer"] for row in rows)
    return {**shares, "strict_correct": strict, "correct_by_loose_reading": lucky}


def _verdicts(rows: Sequence[Row], judged: Mapping[str, Row] | None) -> dict[str, Any]:
    judged = judged or {}
    return _share(sum(judged.get(row["key"], {}).get("score") == 1 for row in rows), len(rows))


def _dimensions(rows: Sequence[Row], judged: Mapping[str, Row] | None) -> dict[str, Any]:
    judged = judged or {}
    means: dict[str, float | None] = {}
    for name in DIMENSIONS:
        points = [(judged.get(row["key"], {}).get("scores") or {}).get(name, 0) for row in rows]
        means[name] = _rounded(score.mean(points))
    held = [value for value in means.values() if value is not None]
    return {"total": len(rows), "dimensions": means, "score": _rounded(score.mean(held))}


def _details(rows: Sequence[Row], judged: Mapping[str, Row] | None) -> dict[str, Any]:
    judged = judged or {}
    scores = [judged.get(row["key"], {}).get("scores") or {"positive": 0.0, "negative": 0.0}
              for row in rows]  # fmt: skip
    positive = score.mean([one["positive"] for one in scores if one["positive"] is not None])
    negative = score.mean([one["negative"] for one in scores if one["negative"] is not None])
    held = [value for value in (positive, negative) if value is not None]
    return {
        "total": len(rows),
        "positive": _rounded(positive),
        "negative": _rounded(negative),
        "score": _rounded(score.mean(held)),
        "recognised": sum(bool(judged.get(row["key"], {}).get("recognised")) for row in rows),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
