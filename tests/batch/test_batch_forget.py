"""What was removed is nowhere in a run's files."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from batch_runs import NIGHT, go_on, make_run

from gar_video import batch
from gar_video.batch.clips import made_tracks
from gar_video.batch.footage import Recording
from gar_video.batch.forgetting import days_ago, forget, forget_old, now_and_then
from gar_video.batch.lock import FolderLock
from gar_video.batch.searching import search
from gar_video.batch.state import State
from gar_video.cli import run as cli
from gar_video.errors import GARVideoError

pytest.importorskip("pyarrow")

MIDNIGHT = datetime(2026, 11, 20, 23, 0, tzinfo=timezone.utc)  # of Berlin
# Only in what began before midnight; and what has to stay.
GONE, STAYS = [b"suitcase", b"turns left at the gate"], [b"green car", b"white van", b"kite"]


def full_run(folder: Path) -> Path:
    """A run with everything that may lie in it."""
    run = make_run(folder)
    batch.export(run)
    search(run, "suitcase")
    batch.write_report(run)
    for video in ("/v/gate_1.mp4", "/v/gate_2.mp4"):
        tracks = made_tracks(run, Recording(video, ""))
        tracks.parent.mkdir(exist_ok=True)
        tracks.write_text(json.dumps({"of": video, "said": "suitcase" if "1" in video else ""}))
    (run / ".results.abc.jsonl").write_text("suitcase, half-written")
    return run


def everything(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()
    }


def holding(run: Path, word: bytes) -> list[str]:
    """Names of files in which a word stands; tables are read, since they are compressed."""
    import pyarrow.parquet as pq

    found = [name for name, data in everything(run).items() if word in data]
    for path in run.rglob("*.parquet"):
        if word.decode() in json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False):
            found.append(str(path.relative_to(run)))
    return found


def test_words_are_gone_from_every_file(tmp_path):
    run = full_run(tmp_path / "run")
    for word in GONE:
        assert {"state.sqlite", "results.jsonl", "search.sqlite", "report.html"} <= set(
            holding(run, word)
        )
    before = everything(run)
    gone = forget(run, MIDNIGHT)
    assert (gone.rows, gone.recordings, gone.timeless) == (4, 0, 1)
    for word in GONE:
        assert holding(run, word) == []
    assert "report.html" not in everything(run)
    for word in STAYS:
        assert "state.sqlite" in holding(run, word)
        assert "results.jsonl" in holding(run, word)
    # Two objects' pictures, one of which has another for its first half; and the tracks.
    lost = set(before) - set(everything(run))
    assert sum(name.startswith("thumbnails") for name in lost) == 3
    assert sum(name.startswith("tracks") for name in lost) == 1
    assert not search(run, "suitcase")
    assert search(run, "green car")[0].answer == "A green car waits."
    assert {row["thumbnail"] for row in batch.read_rows(run) if row["thumbnail"]} == {
        name for name in everything(run) if name.startswith("thumbnails")
    }


def test_whole_recordings_go_and_are_not_taken_up_again(tmp_path):
    run = full_run(tmp_path / "run")
    gone = forget(run, datetime(2026, 11, 21, 12, tzinfo=timezone.utc), ["gate"])
    assert gone.videos == ("/v/gate_1.mp4", "/v/gate_2.mp4")
    assert holding(run, b"gate_1") == []
    assert holding(run, b"gate_2") == []
    assert "results.jsonl" in holding(run, b"white van")
    with State(run, None) as state:
        assert state.counts().failed == 1  # the other camera's
        again = state.add_recordings(
            [Recording(video, "gate", None) for video in ("/v/gate_1.mp4", "/v/gate_9.mp4")]
        )
        assert again == 1
        assert state.counts("recordings").pending == 1


def test_work_that_was_still_to_be_done_goes_too(tmp_path):
    run = make_run(tmp_path / "run", most=0)
    gone = forget(run, datetime(2026, 11, 21, 6, tzinfo=timezone.utc))
    assert gone.videos == ("/v/gate_1.mp4",)
    go_on(run)
    assert {row["camera"] for row in batch.read_rows(run)} == {"gate", "yard", "roof"}
    assert holding(run, b"gate_1") == []


def test_asked_first_nothing_goes(tmp_path, capsys):
    run = full_run(tmp_path / "run")
    before = everything(run)
    assert (
        cli(["batch", "forget", str(run), "--before", "2026-11-21", "--zone", "Europe/Berlin"]) == 0
    )
    said = capsys.readouterr().out
    assert "4 rows and 0 whole recordings would go; 8 rows would be left" in said
    assert "add --yes" in said
    assert everything(run) == before


def test_the_command_says_what_went(tmp_path, capsys):
    run = full_run(tmp_path / "run")
    line = ["batch", "forget", str(run), "--before", "2026-11-22", "--camera", "gate", "--yes"]
    assert cli(line) == 0
    said = capsys.readouterr().out
    assert "7 rows and 2 whole recordings went for good" in said
    assert "    /v/gate_2.mp4" in said
    assert cli([*line, "--json"]) == 2  # that camera is no more
    assert "no camera 'gate'" in capsys.readouterr().err


def test_days(tmp_path, capsys):
    run = full_run(tmp_path / "run")
    assert cli(["batch", "forget", str(run), "--retention-days", "100000", "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["left"], told["done"]) == (0, 12, True)
    assert len(list(batch.read_rows(run))) == 12


def test_killed_half_way_the_same_call_ends_it(tmp_path, monkeypatch):
    run = full_run(tmp_path / "run")

    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gar_video.batch.forgetting.export", killed)
        with pytest.raises(KeyboardInterrupt):
            forget(run, MIDNIGHT)
    assert "results.jsonl" in holding(run, b"suitcase")
    gone = forget(run, MIDNIGHT)
    assert gone.rows == 0
    # Tracks of a recording that is partly left are no longer known to be meant.
    assert [name for name in holding(run, b"suitcase") if not name.startswith("tracks")] == []


def test_a_run_that_watches_forgets_what_nobody_works_on(tmp_path):
    run = make_run(tmp_path / "run", most=1)
    with State(run, None) as state:
        number, recording = state.take_recording("me", 60)
        assert recording.source == "/v/gate_2.mp4"
        asked = []
        watch = now_and_then(lambda: asked.append(1), run, 1e-6)
        watch()
        watch()
        assert len(asked) == 2
        left = {row[0] for row in state._data.execute("SELECT source FROM recordings")}
        # What is being worked on stays for now, and what has no time.
        assert left == {"/v/gate_2.mp4", "/v/roof.mp4"}
        state.plan(number, {}, [])
        assert forget_old(run, 1e-6).videos == ("/v/gate_2.mp4",)


def test_a_run_in_use_is_left_alone(tmp_path, capsys):
    run = full_run(tmp_path / "run")
    before = everything(run)
    with FolderLock(run):
        assert cli(["batch", "forget", str(run), "--before", "2026-11-22", "--yes"]) == 2
        assert "is in use by" in capsys.readouterr().err
    assert {name: data for name, data in everything(run).items() if name != "lock"} == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(["--yes"], "expected either --before TIME or --retention-days N", id="neither"),
        pytest.param(["--before", "2026-11-21", "--retention-days", "3"], "expected either", id="both"),
        pytest.param(["--before", "yesterday"], "'yesterday' is no time", id="no time"),
        pytest.param(["--retention-days", "1e12"], "is no time; expected fewer", id="too long ago"),
        pytest.param(["--before", "2026-11-21", "--camera", "yrad"], "did you mean 'yard'?", id="camera"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(tmp_path_factory, line, said, capsys):
    run = make_run(tmp_path_factory.mktemp("run") / "run", NIGHT[2:3])
    assert cli(["batch", "forget", str(run), *line]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("days", [-1.0, float("nan")])
def test_days_that_are_not_over(days):
    with pytest.raises(GARVideoError, match="not over yet"):
        days_ago(days)


def test_no_run(tmp_path):
    with pytest.raises(GARVideoError, match="holds no run"):
        forget(tmp_path, MIDNIGHT)
