"""Shards of a run put together: exactly what one run would have been."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gar_video.bench.registry import benchmark
from gar_video.bench.store import JUDGE, JUDGED, Run, differences
from gar_video.bench.summary import summarize
from gar_video.errors import GARVideoError


def merge(out: str | Path, shards: Sequence[str | Path]) -> Run:
    """Put shards together.

    Args:
        out: The folder of the whole run.
        shards: The folders of all its shards, in any order.

    Raises:
        GARVideoError: If they are not all the complete shards of one run, once each.
    """
    runs = [Run(folder) for folder in shards]
    if not runs:
        raise GARVideoError("no shards were given; expected the folders of all of them")
    configs = [run.config for run in runs]
    parts = _check(runs, configs)
    whole = {
        **configs[0],
        "shard": None,
        "expected": sum(config["expected"] for config in configs),
        "skipped": [one for at in parts for one in configs[at]["skipped"]],
    }
    target = Run(out)
    target.begin(whole)
    bench = benchmark(whole["benchmark"])
    rows = [row for run in runs for row in run.rows().values()]
    rows.sort(key=lambda row: (row["group"], row["index"]))
    with target.appending() as file:
        done = target.rows()
        file.add(row for row in rows if row["key"] not in done)
    judged = _judgements(runs, target)
    summary = summarize(
        bench, rows, judged, skipped=whole["skipped"], expected=whole["expected"],
        num_prompts=whole["model"]["prompts"],
    )  # fmt: skip
    target.write_summary(summary)
    return target


def _check(runs: Sequence[Run], configs: Sequence[dict[str, Any]]) -> list[int]:
    """Check that these are all shards of one run; return their places in order."""
    own = ("shard", "expected", "skipped")
    common = [{k: v for k, v in config.items() if k not in own} for config in configs]
    for run, other in zip(runs[1:], common[1:], strict=True):
        found = differences(common[0], other)
        if found:
            raise GARVideoError(
                f"{run.folder} is of another run than {runs[0].folder}: {'; '.join(found)}"
            )
    shards = [str(config["shard"]) for config in configs]
    count = shards[0].partition("/")[2]
    wanted = [f"{part}/{count}" for part in range(1, int(count or 0) + 1)]
    if sorted(shards) != sorted(wanted):
        raise GARVideoError(
            f"the folders hold the shards {', '.join(shards)}; expected each of "
            f"{', '.join(wanted) or '1/n … n/n'} once"
        )
    for run, config in zip(runs, configs, strict=True):
        there = len(run.rows())
        if there != config["expected"]:
            raise GARVideoError(
                f"{run.folder} is not complete: {there} of {config['expected']} rows; run it again "
                "first"
            )
    return [shards.index(name) for name in wanted]


def _judgements(runs: Sequence[Run], target: Run) -> dict[str, dict[str, Any]] | None:
    judged = [run for run in runs if (run.folder / JUDGED).is_file()]
    if not judged:
        return None
    if len(judged) < len(runs):
        raise GARVideoError("some shards are judged and some are not; judge all or none")
    import json

    for run in judged:
        config = json.loads((run.folder / JUDGE).read_text(encoding="utf-8"))
        target.begin(config, name=JUDGE)
    rows = [row for run in judged for row in run.rows(JUDGED).values()]
    rows.sort(key=lambda row: row["index"])
    with target.appending(JUDGED) as file:
        done = target.rows(JUDGED)
        file.add(row for row in rows if row["key"] not in done)
    return {row["key"]: row for row in rows}
