"""The benchmarks by name."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gar_video.bench import dlc_bench, gar_bench_cap, gar_bench_vqa, videorefer_d, videorefer_q
from gar_video.bench.case import Case
from gar_video.errors import GARVideoError


@dataclass(frozen=True)
class Benchmark:
    """What one benchmark is.

    Attributes:
        name: As typed.
        load: Reads its files: ``(data, questions) -> cases``.
        measure: How answers count: by letter, judged true or false, judged on four dimensions of
            0 to 5, or judged by what a description says.
        video: Whether it is about videos, with modes of pointing; else about pictures.
        files: The files that it is read from, relative to the data folder.
        max_new_tokens: Longest answer by default.
    """

    name: str
    load: Callable[[Path, Path | None], list[Case]]
    measure: Literal["letter", "verdict", "dimensions", "details"]
    video: bool
    files: tuple[str, ...]
    max_new_tokens: int


BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark("videorefer-q", videorefer_q.load, "letter", True, videorefer_q.QUESTIONS, 32),
        Benchmark(
            "videorefer-d", videorefer_d.load, "dimensions", True, videorefer_d.QUESTIONS, 512
        ),
        Benchmark(
            "gar-bench-vqa", gar_bench_vqa.load, "letter", False, gar_bench_vqa.QUESTIONS, 32
        ),
        Benchmark(
            "gar-bench-cap", gar_bench_cap.load, "verdict", False, gar_bench_cap.QUESTIONS, 512
        ),
        Benchmark(
            "dlc-bench",
            dlc_bench.load,
            "details",
            False,
            (*dlc_bench.ANNOTATIONS, *dlc_bench.CLASSES, *dlc_bench.QA),
            512,
        ),
    )
}


def benchmark(name: str) -> Benchmark:
    """Return a benchmark by name.

    Raises:
        GARVideoError: If there is none of that name.
    """
    if name not in BENCHMARKS:
        raise GARVideoError(f"no benchmark {name!r}; expected one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def load(
    name: str,
    data: str | Path,
    questions: str | Path | None = None,
    *,
    types: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int | None = None,
) -> list[Case]:
    """Read a benchmark's cases.

    Args:
        name: The benchmark.
        data: Its folder.
        questions: Its JSON file; by its usual name in ``data`` if None.
        types: Only these categories; a part of a name will do where it fits one of them only.
        limit: At most so many: the first, or drawn at random if there is a ``seed``.
        seed: Seed of that draw.

    Raises:
        GARVideoError: If a file is missing or malformed, or a type is unknown.
    """
    cases = benchmark(name).load(Path(data), None if questions is None else Path(questions))
    if types:
        known = list(dict.fromkeys(case.type for case in cases))
        wanted = {_type(text, known) for text in types}
        cases = [case for case in cases if case.type in wanted]
    if limit is not None:
        if limit < 1:
            raise GARVideoError(f"limit is {limit}; expected at least 1")
        if seed is not None and limit < len(cases):
            places = sorted(random.Random(seed).sample(range(len(cases)), limit))  # noqa: S311
            cases = [cases[place] for place in places]
        cases = cases[:limit]
    return cases


def _type(text: str, known: Sequence[str]) -> str:
    exact = [name for name in known if name.lower() == text.strip().lower()]
    found = exact or [name for name in known if text.strip().lower() in name.lower()]
    if len(found) != 1 or not text.strip():
        raise GARVideoError(f"no type {text!r}; expected one of {', '.join(known)}")
    return found[0]
