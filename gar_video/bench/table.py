"""A run's figures on screen, the published ones beside them. Plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gar_video.bench.published import PUBLISHED, Published
from gar_video.bench.registry import Benchmark


def render(bench: Benchmark, summary: Mapping[str, Any]) -> str:
    """Return the table of a summary."""
    published = PUBLISHED.get(bench.name, ())
    if bench.measure in ("letter", "verdict"):
        lines = _shares(summary, published)
    else:
        lines = _points(bench, summary, published)
    notes = _notes(bench, summary)
    return "\n".join([*align(lines), *([""] if notes else []), *notes])


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set rows of cells in columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _shares(summary: Mapping[str, Any], published: Sequence[Published]) -> list[list[str]]:
    unjudged = summary["judged"] is False
    head = ["", "right", "of", "%", "95 %", "failed", "skipped", *(one.model for one in published)]
    rows = [head]
    parts = [*summary["per_type"].items(), ("overall", summary["overall"])]
    for name, part in parts:
        cells = ["not judged", str(part["total"]), "-", "-"]
        if not unjudged and part["total"]:
            low, high = part["wilson_95"]
            cells = [
                str(part["correct"]), str(part["total"]), _percent(part["accuracy"]),
                f"{_percent(low)}-{_percent(high)}",
            ]  # fmt: skip
        figures = [_figure(_published(one, name, summary), "{:.1f}") for one in published]
        rows.append([name, *cells, str(part["failed"]), str(part["skipped"]), *figures])
    return rows


def _published(one: Published, name: str, summary: Mapping[str, Any]) -> float | None:
    if name != "overall":
        return one.per_type.get(name)
    # A figure over all types says nothing about some of them.
    return one.overall if set(one.per_type) <= set(summary["per_type"]) else None


def _points(
    bench: Benchmark, summary: Mapping[str, Any], published: Sequence[Published]
) -> list[list[str]]:
    overall = summary["overall"]
    if bench.measure == "dimensions":
        parts = dict(overall.get("dimensions") or {})
    else:
        parts = {name: overall.get(name) for name in ("positive", "negative")}
    rows = [["", "score", "of", "failed", "skipped", *(one.model for one in published)]]
    counts = [str(overall["total"]), str(overall["failed"]), str(overall["skipped"])]
    for name, value in [*parts.items(), ("mean", overall.get("score"))]:
        figures = [
            _figure(one.overall if name == "mean" else one.per_type.get(name), "{:.3f}")
            for one in published
        ]
        rows.append([name, _figure(value, "{:.3f}"), *counts, *figures])
    return rows


def _notes(bench: Benchmark, summary: Mapping[str, Any]) -> list[str]:
    notes = []
    if not summary["complete"]:
        notes.append("not complete: run again with the same settings to go on")
    if summary["judged"] is False:
        notes.append("not judged: name a judge with --judge-url and --judge-model")
    if summary["overall"]["skipped"]:
        notes.append(
            f"{summary['overall']['skipped']} skipped, their video or picture is not there; the "
            "published figures are over all questions"
        )
    loose = summary["overall"].get("correct_by_loose_reading")
    if loose:
        notes.append(
            f"{loose} of the right ones only by the published reading of the answer, which does "
            "not clearly name a letter"
        )
    if summary.get("beyond_prompts"):
        notes.append(
            f"{summary['beyond_prompts']} with more objects than the checkpoint has prompts: those "
            "beyond were named in plain text, which the model was not trained for"
        )
    judge = summary.get("judge") or {}
    if judge.get("asked"):
        notes.append(
            f"judge: {judge['asked']} questions, {judge['cached']} of them from the cache; "
            f"{judge['prompt_tokens']} + {judge['completion_tokens']} tokens"
        )
    shown = summary["failed"][:5]
    notes += [f"failed: {one['key']}: {one['error']}" for one in shown]
    if len(summary["failed"]) > len(shown):
        notes.append(f"and {len(summary['failed']) - len(shown)} more; see summary.json")
    return notes


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
