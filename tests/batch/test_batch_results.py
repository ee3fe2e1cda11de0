from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gar_video.batch import results
from gar_video.batch.batches import cut_batches, take_batch
from gar_video.batch.footage import Recording
from gar_video.batch.results import COLUMNS, export, read_failures, read_rows
from gar_video.batch.state import State, Unit
from gar_video.errors import GARVideoError

pq = pytest.importorskip("pyarrow.parquet")

TASKS = [
    {"name": "what", "kind": "describe", "question": ""},
    {"name": "way", "kind": "choose", "question": "Which way does <1> go?"},
]
ANSWER = {
    "labels": ["car"],
    "boxes": [{"object": 3, "first": [1.0, 2.0, 3.0, 4.0], "last": [2.0, 2.0, 4.0, 4.0]}],
    "question": "Which way does <3> go?",
    "answer": "left",
    "options": ["left", "right"],
    "probabilities": [0.75, 0.25],
    "finish": "stop",
    "frames": [0, 4, 9],
    "visible_share": 1.0,
    "model": "ab" * 32,
    "thumbnail": "thumbnails/ab/abc.jpg",
}
BERLIN = datetime(2026, 10, 25, 2, 59, 58, tzinfo=ZoneInfo("Europe/Berlin"))
LATE = datetime(2026, 11, 20, 23, 59, 58, tzinfo=timezone.utc)


def make(folder: Path, order: int = 1) -> Path:
    recordings = [
        Recording("/v/a\nb😀.mp4", "gate/1", LATE),
        Recording("/v/b.mp4", "yard", BERLIN),
        Recording("/v/c.mp4", "", None),
    ]
    with State(folder, {"tasks": TASKS}) as state:
        state.add_recordings(recordings[::order])
        state.add_failed("/v/d.mp4", "is empty")
        while (taken := state.take_recording("me", 60)) is not None:
            units = [
                Unit(0, 0, task, (3,), start, start + 1.5)
                for task in ("what", "way")
                for start in (0.5, 3.0)
            ]
            state.plan(taken[0], {}, units)
        cut_batches(state, 9)
        units = [unit for taken in iter(lambda: take_batch(state, "me", 60), []) for unit in taken]
        for unit in units[::order]:
            if unit.task == "what" and unit.start_s == 3.0:
                state.finish({}, {unit.id: "out of memory"})
            else:
                state.finish({unit.id: {**ANSWER, "answer": f"{unit.task} {unit.start_s}"}})
    return folder


def test_rows_have_the_columns(tmp_path: Path) -> None:
    rows = list(read_rows(make(tmp_path / "run")))
    assert len(rows) == 12
    assert all(list(row) == list(COLUMNS) for row in rows)
    assert len({row["unit"] for row in rows}) == 12
    good, bad = rows[0], next(row for row in rows if row["error"])
    assert (good["video"], good["label"], good["kind"]) == ("/v/a\nb😀.mp4", "car", "choose")
    assert (bad["error"], bad["answer"], bad["frames"]) == ("out of memory", None, [])


@pytest.mark.parametrize(
    ("video", "start_s", "wall", "folder"),
    [
        pytest.param("/v/a\nb😀.mp4", 0.5, "2026-11-20T23:59:58.500+00:00", "day=2026-11-20/camera=gate%2F1", id="zone"),
        pytest.param("/v/a\nb😀.mp4", 3.0, "2026-11-21T00:00:01.000+00:00", "day=2026-11-21/camera=gate%2F1", id="past midnight"),
        pytest.param("/v/b.mp4", 3.0, "2026-10-25T03:00:01.000+02:00", "day=2026-10-25/camera=yard", id="clocks put back"),
        pytest.param("/v/c.mp4", 3.0, None, "day=unknown/camera=%00", id="nobody knows"),
    ],
)  # fmt: skip
def test_rows_know_the_time_of_day(tmp_path: Path, video, start_s, wall, folder) -> None:
    rows = [row for row in read_rows(make(tmp_path / "run")) if row["video"] == video]
    (row,) = [row for row in rows if row["start_s"] == start_s and row["task"] == "way"]
    assert row["wall_start"] == wall
    assert results.partition(row) == folder


def test_tables_hold_the_rows(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    assert export(run) == 12
    rows = list(read_rows(run))
    lines = [json.loads(line) for line in (run / "results.jsonl").read_text("utf-8").splitlines()]
    assert lines == rows
    tables = [pq.read_table(path, partitioning=None) for path in sorted(run.rglob("*.parquet"))]
    assert all(table.schema.equals(results.schema()) for table in tables)
    told = [row for table in tables for row in table.to_pylist()]
    assert sorted(told, key=lambda r: r["unit"]) == sorted(rows, key=lambda r: r["unit"])
    assert read_failures(run)[-1] == {
        "video": "/v/d.mp4",
        "task": None,
        "objects": None,
        "error": "is empty",
    }


def test_tables_do_not_tell_the_order_of_work(tmp_path: Path) -> None:
    found = []
    for order in (1, -1):
        run = make(tmp_path / str(order), order)
        export(run)
        export(run)
        files = [*run.rglob("*.parquet"), *run.glob("*.jsonl")]
        found.append({path.relative_to(run): path.read_bytes() for path in files})
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_what_has_gone_leaves_the_tables(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    export(run)
    with State(run, {"tasks": TASKS}) as state, state.transaction() as data:
        data.execute("DELETE FROM recordings WHERE camera = 'yard'")
    export(run)
    assert not list(run.rglob("*yard*"))
    assert len(list(run.rglob("*.parquet"))) == 3


def test_few_tables_are_open_at_a_time(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    with results._Tables(run / "results", open_at_once=1) as tables:
        for row in sorted(read_rows(run), key=lambda row: row["start_s"]):
            tables.add(row)
        tables.finish()
    told = [row for path in run.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len(told) == 12


@pytest.mark.parametrize("call", [export, read_failures, lambda run: list(read_rows(run))])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, call) -> None:
    with pytest.raises(GARVideoError, match="holds no run"):
        call(tmp_path)
