from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from gar_video.batch.batches import cut_batches, take_batch
from gar_video.batch.footage import Recording
from gar_video.batch.results import read_failures
from gar_video.batch.state import Counts, State, Unit
from gar_video.errors import GARVideoError

SETTINGS = {"model": "nano", "tasks": ["a", "b"]}
ONE = Recording(
    "/a.mp4", "gate", datetime(2026, 11, 21, tzinfo=timezone.utc), None, ((0.0, 1.0),) * 3
)
TWO = Recording("/b.mp4", "yard")
UNITS = [Unit(0, 0, task, (object_id,), 0.0, 4.0) for task in "ab" for object_id in (1, 2, 3)]


@pytest.fixture
def state(tmp_path: Path) -> State:
    with State(tmp_path / "run", SETTINGS) as made:
        made.add_recordings([ONE, TWO])
        yield made


def _take(state: State, owner: str, most: int, lease_s: float) -> list[Unit]:
    cut_batches(state, most, block=1)
    return take_batch(state, owner, lease_s)


def _answers(state: State) -> list:
    return state._data.execute(
        "SELECT source, task, objects, answer FROM units JOIN recordings "
        "ON recordings.id = recording WHERE units.status = 'done' ORDER BY source, task, objects"
    ).fetchall()


def _planned(state: State) -> None:
    while (taken := state.take_recording("me", 60)) is not None:
        state.plan(taken[0], {"seconds": 4.0}, UNITS)


def test_recordings_are_added_once_and_taken_in_order(state: State) -> None:
    assert state.add_recordings([TWO, ONE]) == 0
    assert state.take_recording("me", 60) == (1, ONE)
    assert state.take_recording("you", 60) == (2, TWO)
    assert state.take_recording("you", 60) is None
    assert state.counts("recordings") == Counts(running=2)


def test_units_come_from_one_recording_at_a_time(state: State) -> None:
    _planned(state)
    taken = _take(state, "me", 4, 60)
    rest = _take(state, "you", 4, 60)
    assert {unit.recording for unit in [*taken, *rest]} == {1}
    assert [len(taken), len(rest)] == [4, 2]
    assert not {unit.id for unit in taken} & {unit.id for unit in rest}
    assert {unit.recording for unit in _take(state, "me", 9, 60)} == {2}


def test_a_lease_that_ran_out_is_taken_over(state: State) -> None:
    _planned(state)
    lost = _take(state, "gone", 12, -1)
    again = _take(state, "me", 12, 60)
    assert [unit.id for unit in again] == [unit.id for unit in lost]
    assert {unit.tries for unit in again} == {2}


def test_the_first_answer_stays(state: State) -> None:
    _planned(state)
    unit, *_ = _take(state, "me", 1, 60)
    state.finish({unit.id: {"text": "first"}})
    state.finish({unit.id: {"text": "late"}})
    state.finish({}, {unit.id: "late, too"})
    assert [json.loads(row[-1]) for row in _answers(state)] == [{"text": "first"}]


def test_answers_come_in_an_order_of_their_own(tmp_path: Path) -> None:
    told = []
    for turn, order in enumerate(([ONE, TWO], [TWO, ONE])):
        with State(tmp_path / str(turn), SETTINGS) as state:
            state.add_recordings(order)
            _planned(state)
            units = []
            while taken := _take(state, "me", 5, 60):
                units += taken
            for unit in units if turn else reversed(units):
                state.finish({unit.id: {"text": f"{unit.task} {unit.objects}"}})
            told.append(_answers(state))
    assert told[0] == told[1]
    assert len(told[0]) == 12


def test_failures_are_named_and_tried_again(state: State) -> None:
    taken = state.take_recording("me", 60)
    state.fail_recording(taken[0], "no video stream")
    state.add_failed("/c.txt", "is empty")
    _planned(state)
    unit, *_ = _take(state, "me", 1, 60)
    state.finish({}, {unit.id: "out of memory"})
    assert [
        (one["video"], one["task"], one["objects"], one["error"])
        for one in read_failures(state.folder)
    ] == [
        ("/a.mp4", None, None, "no video stream"),
        ("/b.mp4", "a", [1], "out of memory"),
        ("/c.txt", None, None, "is empty"),
    ]
    assert state.retry_failed() == 3
    assert not read_failures(state.folder)


def test_what_is_given_back_is_pending(state: State) -> None:
    _planned(state)
    _take(state, "me", 2, 60)
    _take(state, "you", 2, 60)
    state.release("me")
    assert state.counts() == Counts(pending=10, running=2)
    state.release()
    assert state.counts() == Counts(pending=12)


def test_leases_can_be_renewed(state: State) -> None:
    _planned(state)
    _take(state, "me", 12, -1)
    state.renew("me", 60)
    assert {unit.recording for unit in _take(state, "you", 12, 60)} == {2}


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 2, 0, 3, 1)], ids=["in order", "shuffled"])
def test_batches_do_not_depend_on_when_recordings_are_known(tmp_path: Path, order) -> None:
    counts = [1, 0, 5, 2, 2]
    with State(tmp_path / "run", SETTINGS) as state:
        state.add_recordings([Recording(f"/{n}.mp4", "") for n in range(5)])
        for _ in order:
            state.take_recording("me", 60)
        for at in order:
            if at == 1:
                state.fail_recording(2, "is empty")
            else:
                state.plan(at + 1, {}, [Unit(0, 0, "a", (n,), 0.0, 1.0) for n in range(counts[at])])
            cut_batches(state, 3, block=4)
        cut = []
        while units := take_batch(state, "me", 60):
            cut.append([(unit.recording, *unit.objects) for unit in units])
    assert sorted(cut) == [
        [(1, 0), (3, 0), (3, 1)],
        [(3, 2), (3, 3), (3, 4)],
        [(4, 0), (4, 1)],
        [(5, 0), (5, 1)],
    ]


def test_a_stretch_stays_together(state: State) -> None:
    state.take_recording("me", 60)
    state.plan(1, {}, [Unit(0, 0, task, (n,), 0.0, 1.0) for n in (1, 2) for task in "abc"])
    cut_batches(state, 4, block=1)
    assert [unit.objects for unit in take_batch(state, "me", 60)] == [(1,)] * 3


BAD = [
    pytest.param(lambda run: None, {"model": "GAR-1B", "tasks": ["a", "b"]}, 'model was "nano" and is "GAR-1B"', id="another run"),
    pytest.param(lambda run: (run / "state.sqlite").write_bytes(b"junk" * 1000), SETTINGS, "is no state of a run", id="junk"),
    pytest.param(lambda run: ((run / "state.sqlite").unlink(), (run / "x").touch()), SETTINGS, "holds no run", id="something else"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "settings", "said"), BAD)
def test_folders_of_others_are_refused(tmp_path: Path, change, settings, said: str) -> None:
    State(tmp_path / "run", SETTINGS).close()
    for extra in (tmp_path / "run").glob("state.sqlite-*"):
        extra.unlink()
    change(tmp_path / "run")
    with pytest.raises(GARVideoError) as caught:
        State(tmp_path / "run", settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_everything_as_it_was(state: State) -> None:
    _planned(state)
    unit, *_ = _take(state, "me", 1, 60)
    pages = state._data.execute("PRAGMA page_count").fetchone()[0]
    state._data.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(GARVideoError, match="no space left"):
        state.finish({unit.id: {"text": "x" * 100_000}})
    state._data.execute("PRAGMA max_page_count = 1000000")
    assert state.counts().done == 0
    state.finish({unit.id: {"text": "x" * 100_000}})
    assert state.counts().done == 1


WORKER = """
import sys
from gar_video.batch.batches import cut_batches, take_batch
from gar_video.batch.state import State
with State(sys.argv[1], {"model": "nano", "tasks": ["a", "b"]}) as state:
    state.release()
    cut_batches(state, 3)
    while units := take_batch(state, "me", 60):
        for unit in units:
            state.finish({unit.id: {"text": f"{unit.recording} {unit.task} {unit.objects}"}})
            print(unit.id, flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    def prepared(folder: Path) -> None:
        with State(folder, SETTINGS) as state:
            state.add_recordings([Recording(f"/{n}.mp4", "gate") for n in range(20)])
            _planned(state)

    def told(folder: Path) -> str:
        with State(folder, SETTINGS) as state:
            return json.dumps(_answers(state))

    prepared(tmp_path / "whole")
    subprocess.run([sys.executable, "-c", WORKER, tmp_path / "whole"], check=True, stdout=-3)
    prepared(tmp_path / "killed")
    for turn in range(8):
        command = [sys.executable, "-c", WORKER, str(tmp_path / "killed")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
            for _ in range(1 + 5 * turn):
                worker.stdout.readline()
            time.sleep(0.001 * turn)
            os.kill(worker.pid, signal.SIGKILL)
    subprocess.run([sys.executable, "-c", WORKER, tmp_path / "killed"], check=True, stdout=-3)
    assert told(tmp_path / "killed") == told(tmp_path / "whole")
    assert sqlite3.connect(tmp_path / "killed/state.sqlite").execute(
        "SELECT COUNT(*), COUNT(DISTINCT id) FROM units WHERE status = 'done'"
    ).fetchone() == (120, 120)
