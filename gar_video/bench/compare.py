"""Two runs, or two judges, on the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gar_video.bench import score
from gar_video.bench.registry import Benchmark, benchmark
from gar_video.bench.store import JUDGED, Run
from gar_video.bench.summary import failure
from gar_video.bench.table import align
from gar_video.errors import GARVideoError

Row = dict[str, Any]


@dataclass(frozen=True)
class Paired:
    """How two runs did on the same things.

    Attributes:
        both: What both got right.
        only_a: What only the first got right.
        only_b: What only the second got right.
        neither: What neither got right.
    """

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def total(self) -> int:
        """All."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def p_value(self) -> float:
        """Exact two-sided p of McNemar's test."""
        return score.mcnemar(self.only_a, self.only_b)


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        overall: Over all common questions.
        per_type: By category.
        flips: ``(key, right in the first, right in the second)`` where they differ.
        only_in_a: How many things the second run does not have.
        only_in_b: How many things the first run does not have.
    """

    overall: Paired
    per_type: dict[str, Paired]
    flips: tuple[tuple[str, bool, bool], ...]
    only_in_a: int
    only_in_b: int


def compare(run_a: str | Path, run_b: str | Path) -> Comparison:
    """Compare two runs of a benchmark question by question.

    What is right or wrong is a question; in DLC-Bench it is what a judge was asked about an answer
    (right: a score above 0), in VideoRefer-BenchD a dimension (right: 3 points or more).

    Raises:
        GARVideoError: If they are of different benchmarks or questions, not finished, or not
            judged where the benchmark needs it.
    """
    runs = [Run(run_a), Run(run_b)]
    bench = _one_benchmark(runs)
    if runs[0].config["data"]["questions"] != runs[1].config["data"]["questions"]:
        raise GARVideoError(
            f"{run_a} and {run_b} are on different questions; compare runs on the same files"
        )
    a, b = (_outcomes(bench, run) for run in runs)
    common = [key for key in a if key in b]
    if not common:
        raise GARVideoError(f"{run_a} and {run_b} have no question in common")
    types = dict.fromkeys(a[key][0] for key in common)
    return Comparison(
        overall=_paired(a, b, common),
        per_type={
            kind: _paired(a, b, [key for key in common if a[key][0] == kind]) for kind in types
        },
        flips=tuple((key, a[key][1], b[key][1]) for key in common if a[key][1] != b[key][1]),
        only_in_a=len(a) - len(common),
        only_in_b=len(b) - len(common),
    )


def _one_benchmark(runs: Sequence[Run]) -> Benchmark:
    names = [run.config["benchmark"] for run in runs]
    if len(set(names)) != 1:
        raise GARVideoError(f"the runs are of different benchmarks: {' and '.join(names)}")
    return benchmark(names[0])


def _paired(a: Mapping[str, Any], b: Mapping[str, Any], keys: Sequence[str]) -> Paired:
    pairs = [(a[key][1], b[key][1]) for key in keys]
    return Paired(*(pairs.count(pair) for pair in
                    ((True, True), (True, False), (False, True), (False, False))))  # fmt: skip


def _outcomes(bench: Benchmark, run: Run) -> dict[str, tuple[str, bool]]:
    """Return ``(type, right)`` of every thing that can be right or wrong."""
    rows = sorted(run.rows().values(), key=lambda row: row["index"])
    if bench.measure == "letter":
        return {row["key"]: (row["type"], bool(row["correct"])) for row in rows}
    judged = _judgements(run)
    found: dict[str, tuple[str, bool]] = {}
    for row in rows:
        judgement = judged.get(row["key"], {})
        failed = failure(row, judged) is not None
        if bench.measure == "verdict":
            found[row["key"]] = (row["type"], not failed and judgement.get("score") == 1)
            continue
        for unit, points in (judgement.get("points") or {}).items():
            right = not failed and points >= (3 if bench.measure == "dimensions" else 1e-9)
            found[f"{row['key']} / {unit}"] = (unit.split(" ", 1)[-1], right)
    return found


def _judgements(run: Run) -> dict[str, Row]:
    if not (run.folder / JUDGED).is_file():
        raise GARVideoError(f"{run.folder} is not judged yet; run it with --judge-url first")
    return run.rows(JUDGED)


def render_comparison(found: Comparison, name_a: str, name_b: str, *, flips: int = 20) -> str:
    """Return a comparison as a table.

    Args:
        found: The comparison.
        name_a: What the first run is called.
        name_b: What the second run is called.
        flips: How many of the questions that differ are listed.
    """
    rows = [["", "of", "A %", "B %", "both", "only A", "only B", "neither", "p"]]
    for kind, pair in [*found.per_type.items(), ("overall", found.overall)]:
        rows.append(
            [
                kind,
                str(pair.total),
                f"{100 * (pair.both + pair.only_a) / pair.total:.1f}",
                f"{100 * (pair.both + pair.only_b) / pair.total:.1f}",
                *(str(n) for n in (pair.both, pair.only_a, pair.only_b, pair.neither)),
                f"{pair.p_value:.3g}",
            ]
        )
    lines = [f"A: {name_a}", f"B: {name_b}", "", *align(rows), ""]
    lines.append("p: McNemar's test, exact, two-sided")
    if found.only_in_a or found.only_in_b:
        lines.append(f"not compared: {found.only_in_a} only in A, {found.only_in_b} only in B")
    lines.append(f"{len(found.flips)} flipped")
    for key, right_a, _ in found.flips[:flips]:
        lines.append(f"  {'A' if right_a else 'B'} right: {key}")
    if len(found.flips) > flips:
        lines.append(f"  and {len(found.flips) - flips} more")
    return "\n".join(lines)


@dataclass(frozen=True)
class Agreement:
    """How far two judges agree.

    Attributes:
        total: What both judged.
        agreement: Share of it on which they say the same.
        kappa: Cohen's; None where both always say the same one thing.
        differences: ``(key / unit, what A said, what B said)``.
        other_answers: How many answers differ between the runs and were left out.
    """

    total: int
    agreement: float | None
    kappa: float | None
    differences: tuple[tuple[str, str, str], ...]
    other_answers: int


def compare_judges(run_a: str | Path, run_b: str | Path) -> Agreement:
    """Compare what two judges said of the same answers.

    Args:
        run_a: A run.
        run_b: A run with the same answers (``--answers RUN``), judged by another.

    Raises:
        GARVideoError: If the runs are of different benchmarks, not judged, or have no answer in
            common.
    """
    runs = [Run(run_a), Run(run_b)]
    bench = _one_benchmark(runs)
    if bench.measure == "letter":
        raise GARVideoError(f"{bench.name} is not judged; use compare")
    rows = [run.rows() for run in runs]
    judged = [_judgements(run) for run in runs]
    both = [key for key in judged[0] if key in judged[1]]
    same = [key for key in both if rows[0][key]["text"] == rows[1][key]["text"]]
    pairs: dict[str, tuple[Any, Any]] = {}
    for key in same:
        labels = [one[key].get("labels") or {} for one in judged]
        for unit in labels[0]:
            if unit in labels[1]:
                pairs[f"{key} / {unit}"] = (labels[0][unit], labels[1][unit])
    if not pairs:
        raise GARVideoError(
            f"{run_a} and {run_b} have no judged answer in common; judge the same answers with "
            "--answers RUN"
        )
    agreement, kappa = score.kappa(list(pairs.values()))
    return Agreement(
        total=len(pairs),
        agreement=agreement,
        kappa=kappa,
        differences=tuple((key, _said(a), _said(b)) for key, (a, b) in pairs.items() if a != b),
        other_answers=len(both) - len(same),
    )


def _said(label: Any) -> str:
    return "no option" if label is None else str(label)


def render_agreement(found: Agreement, name_a: str, name_b: str, *, most: int = 20) -> str:
    """Return an agreement as text."""
    kappa = "undefined (both say one thing only)" if found.kappa is None else f"{found.kappa:.3f}"
    lines = [
        f"A: {name_a}",
        f"B: {name_b}",
        "",
        f"judged by both: {found.total}",
        f"agreement: {100 * (found.agreement or 0):.1f} %",
        f"Cohen's kappa: {kappa}",
        f"differences: {len(found.differences)}",
    ]
    lines += [f"  {key}: A says {a}, B says {b}" for key, a, b in found.differences[:most]]
    if len(found.differences) > most:
        lines.append(f"  and {len(found.differences) - most} more")
    if found.other_answers:
        lines.append(f"left out: {found.other_answers} answers that differ between the runs")
    return "\n".join(lines)
