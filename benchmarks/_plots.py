"""A picture for every result: ratios with their spread, or cost against size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#4a5568")


def draw(document: Mapping[str, Any], path: Path) -> bool:
    """Draw a result as PNG; False if it has nothing to draw."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    curves = document["settings"].get("curves") or {}
    ratios = [row for row in document["rows"] if row["ratios"]]
    if document["fits"]:
        figure = _growth(plt, document)
    elif ratios:
        figure = _ratios(plt, document, ratios)
    elif curves:
        figure = None
    else:
        figure = _values(plt, document)
    if figure is None:
        return False
    figure.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))  # room for the line below
    where = document["machine"]
    place = where["processor"] if where["device"] == "cpu" else where["device"]
    figure.text(
        0.995, 0.005, f"{place}, {where['threads']} thread(s), {document['date']}",
        ha="right", va="bottom", fontsize=7, color="#4a5568",
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, dpi=110, format="png")
    partial.replace(path)
    plt.close(figure)
    return True


def label(case: Mapping[str, Any]) -> str:
    """Return a case as a short label."""
    words = [
        f"{value}" if isinstance(value, str) else f"{key} {value}" for key, value in case.items()
    ]
    return ", ".join(words) or "all"


def _ratios(plt: Any, document: Mapping[str, Any], rows: list[Any]) -> Any:
    first = next(iter(rows[0]["seconds"]))
    others = list(dict.fromkeys(name for row in rows for name in row["ratios"]))
    figure, axes = plt.subplots(
        figsize=(8, 1.4 + 0.3 * len(rows) * max(1, len(others))), layout="constrained"
    )
    height = 0.8 / len(others)
    told: list[tuple[float, float, float]] = []  # place, ratio, where its bar's whisker ends
    for at, other in enumerate(others):
        places, middles, low, high = [], [], [], []
        for place, row in enumerate(rows):
            summary = row["ratios"].get(other)
            if summary is None:
                continue
            places.append(place + (at - (len(others) - 1) / 2) * height)
            middles.append(summary["median"])
            low.append(summary["median"] - summary["min"])
            high.append(summary["max"] - summary["median"])
        axes.barh(
            places, middles, height * 0.9, xerr=[low, high], color=_COLOURS[at % len(_COLOURS)],
            label=other, error_kw={"elinewidth": 1, "capsize": 2},
        )  # fmt: skip
        ends = [middle + more for middle, more in zip(middles, high, strict=True)]
        told += zip(places, middles, ends, strict=True)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [label(row["case"]) for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"times as long as {first} (median, least to greatest); more is better for it")
    if max(s["max"] for row in rows for s in row["ratios"].values()) > 20:
        axes.set_xscale("log")
    for place, middle, end in told:
        across = axes.transAxes.inverted().transform(axes.transData.transform((middle, place)))[0]
        if across > 0.1:
            axes.text(0.02, place, f"{middle:.2f}", transform=axes.get_yaxis_transform(),
                      va="center", ha="left", fontsize=7, color="white")  # fmt: skip
        else:  # no room in the bar
            axes.annotate(f"{middle:.2f}", (end, place), (4, 0), textcoords="offset points",
                          va="center", ha="left", fontsize=7)  # fmt: skip
    axes.set_title(f"{document['name']}: {document['what']}", fontsize=9, wrap=True)
    axes.legend(fontsize=8, loc="best")
    return figure


def _growth(plt: Any, document: Mapping[str, Any]) -> Any:
    fits = document["fits"]
    columns = min(3, len(fits))
    lines = -(-len(fits) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(3.6 * columns, 2.9 * lines + 0.4), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for axes in grid.flat[len(fits) :]:
        axes.set_axis_off()
    for at, (axes, fit) in enumerate(zip(grid.flat, fits, strict=False)):
        x, y = fit["x"], fit["y"]
        axes.plot(x, y, "o", color=_COLOURS[at % len(_COLOURS)], markersize=4)
        axes.plot(x, [y[-1] * v / x[-1] for v in x], "--", color="#a0aec0", linewidth=1,
                  label="in proportion")  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.set_xlabel(fit["x_name"], fontsize=8)
        axes.set_ylabel(fit["y_name"], fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_title(f"{fit['what']}\nexponent {fit['exponent']:.2f}", fontsize=8)
        axes.legend(fontsize=7, loc="lower right")
    figure.suptitle(f"{document['name']}: {document['what']}", fontsize=9)
    return figure


def _values(plt: Any, document: Mapping[str, Any]) -> Any:
    rows = document["rows"]
    names = [
        key for key, value in (rows[0]["values"] if rows else {}).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]  # fmt: skip
    if not names:
        return None
    figure, grid = plt.subplots(
        1, len(names), figsize=(1.5 + 3.2 * len(names), 1.2 + 0.35 * len(rows)),
        layout="constrained", squeeze=False, sharey=True,
    )  # fmt: skip
    for at, (axes, name) in enumerate(zip(grid.flat, names, strict=True)):
        values = [row["values"].get(name) or 0 for row in rows]
        axes.barh(range(len(rows)), values, color=_COLOURS[at % len(_COLOURS)])
        axes.set_yticks(range(len(rows)), [label(row["case"]) for row in rows], fontsize=8)
        axes.set_xlabel(name, fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
    grid[0, 0].invert_yaxis()
    figure.suptitle(f"{document['name']}: {document['what']}", fontsize=9)
    return figure
