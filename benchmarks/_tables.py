"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CLOCK_WORDS = {
    "process": "CPU time of the process",
    "wall": "wall time",
    "work": "counted work",
    "memory": "peak memory of a process of its own",
}


def seconds(value: float) -> str:
    """Write a duration with a unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def number(value: Any) -> str:
    """Write a table's cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _ratio(summary: Mapping[str, float]) -> str:
    if summary["n"] == 1:
        return f"{summary['median']:.2f}×"
    return f"{summary['median']:.2f}× ({summary['min']:.2f}–{summary['max']:.2f})"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table: case, median seconds, ratios (least to greatest), values."""
    columns: dict[tuple[str, str], None] = {}
    for part in ("case", "seconds", "ratios", "values"):
        for row in rows:
            columns.update(dict.fromkeys((part, key) for key in row[part]))
    first = next((next(iter(row["seconds"])) for row in rows if row["seconds"]), "")
    heads = {"ratios": f"÷ {first}"}
    head = [f"{key} {heads[part]}" if part in heads else str(key) for part, key in columns]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = []
        for part, key in columns:
            value = row[part].get(key)
            if value is None:
                cells.append("")
            elif part == "seconds":
                cells.append(seconds(value["median"]))
            elif part == "ratios":
                cells.append(_ratio(value))
            else:
                cells.append(number(value))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def section(document: Mapping[str, Any]) -> str:
    """Return a result as Markdown: what, table, targets, fits, notes."""
    here = document["machine"]
    parts = [f"### `{document['name']}`: {document['what']}", ""]
    settings = ", ".join(f"{key} {number(value)}" for key, value in document["settings"].items())
    counts = sorted({s["n"] for row in document["rows"] for s in row["seconds"].values()})
    rounds = f", {' or '.join(map(str, counts))} paired rounds" if counts else ""
    where = here["processor"] if here["device"] == "cpu" else here["device"]
    parts.append(
        f"{CLOCK_WORDS.get(document['clock'], document['clock'])}{rounds}; {where}, "
        f"{here['threads']} thread{'s' if here['threads'] != 1 else ''}, {document['date']}"
        + (f"; {settings}" if settings else "")
        + "."
    )
    if document["quick"]:
        parts.append("Run with --quick: the figures mean nothing.")
    parts += ["", table(document["rows"]), ""]
    for target in document["targets"]:
        sign = "met" if target["met"] else "**missed**"
        parts.append(
            f"- {target['what']}: wanted {target['wanted']}, seen {target['seen']}: {sign}"
        )
    for fit in document["fits"]:
        parts.append(
            f"- {fit['what']}: exponent {fit['exponent']:.2f} over all sizes, "
            f"{fit['last_exponent']:.2f} between the largest; {fit['why']}"
        )
    parts += [f"- {note}" for note in document["notes"]]
    return "\n".join(parts).rstrip() + "\n"
