"""Means with intervals over seeds, tables of text, plots and the JSON of it all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gar_video.bench.score import wilson
from gar_video.errors import GARVideoError
from gar_video.files import replacing, write_text

# Two-sided 95 % of Student's t by degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)

COLORS = ("#1f4e79", "#d98032", "#4f8a4c", "#8a4c86")


def interval(
    values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)
) -> dict[str, Any]:
    """Return mean and 95 % interval of the mean over seeds (Student's t).

    Args:
        values: One number a seed.
        within: What the mean can be at all; ends beyond it are drawn in.

    Returns:
        ``mean``, ``low``, ``high`` and ``n``; the ends are None of one seed.
    """
    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return {"mean": mean, "low": None, "high": None, "n": count}
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    half = (_T[count - 2] if count - 2 < len(_T) else 1.96) * spread / math.sqrt(count)
    low, high = max(mean - half, within[0]), min(mean + half, within[1])
    return {"mean": mean, "low": low, "high": high, "n": count}


def share_of(seeds: Sequence[Sequence[bool]]) -> dict[str, Any]:
    """Return the mean share of what is so, with a 95 % interval.

    The interval is Student's t over seeds or Wilson's over all questions, whichever is wider: a few
    seeds agree by chance now and then, and questions of a seed are not all there is.

    Args:
        seeds: Whether each question's answer is so, a list a seed; none may be empty.

    Returns:
        ``mean``, ``low``, ``high`` and ``n``, the number of seeds.
    """
    found = interval([sum(one) / len(one) for one in seeds], (0.0, 1.0))
    low, high = wilson(sum(map(sum, seeds)), sum(map(len, seeds))) or (0.0, 1.0)
    if found["low"] is not None:
        low, high = min(low, found["low"]), max(high, found["high"])
    return {**found, "low": low, "high": high}


def shown(found: dict[str, Any] | None, percent: bool = True) -> str:
    """Write a mean with its interval, for a table."""
    if found is None:
        return "-"
    scale, digits = (100, 1) if percent else (1, 4)
    text = f"{found['mean'] * scale:.{digits}f}"
    if found["low"] is None:
        return text
    return f"{text} [{found['low'] * scale:.{digits}f}, {found['high'] * scale:.{digits}f}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out as a table that is Markdown too."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, *rows]
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def figure(path: Path, draw: Callable[[Any], None], size: tuple[float, float]) -> None:
    """Draw a PNG.

    Args:
        path: The file.
        draw: Draws on the matplotlib figure it is given.
        size: Inches.

    Raises:
        GARVideoError: If matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise GARVideoError(
            "the plot needs matplotlib; install it with pip install 'gar-video[train]'"
        ) from None
    made = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(made)
    draw(made)
    with replacing(path) as temporary:
        made.savefig(temporary, format="png", dpi=110)


def bars(found: dict[str, Any]) -> tuple[float, list[list[float]]]:
    """Return a mean and matplotlib's ``yerr`` of its interval, in percent."""
    mean = 100 * found["mean"]
    if found["low"] is None:
        return mean, [[0.0], [0.0]]
    return mean, [[mean - 100 * found["low"]], [100 * found["high"] - mean]]


def write(folder: Path, result: dict[str, Any], text: str) -> None:
    """Write ``result.json`` and ``table.md``."""
    write_text(folder / "result.json", json.dumps(result, indent=1) + "\n")
    write_text(folder / "table.md", text + "\n")
