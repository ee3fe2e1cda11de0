"""``gar-video batch`` as it is typed."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "batch"))

from batch_clips import TASKS, write_clip

from gar_video.batch.engine import Progress
from gar_video.batch.running import Source
from gar_video.batch.state import Counts
from gar_video.batch.watching import MetricsServer, Watcher
from gar_video.cli import run

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("typed")
    (folder / "cam").mkdir()
    write_clip(folder / "cam/a.mp4")
    (folder / "cam/bad\n.mp4").write_bytes(b"junk" * 100)
    (folder / "tasks.yaml").write_text(TASKS)
    assert (
        run(
            [
                "batch",
                "run",
                "--footage",
                str(folder / "cam"),
                "--tasks",
                str(folder / "tasks.yaml"),
                "--out",
                str(folder / "run"),
                "-q",
            ]
        )
        == 0
    )
    return folder


def test_a_run_and_its_state(place, capsys):
    assert run(["batch", "status", str(place / "run")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "recordings: 2 (1 done, 1 failed)"
    assert told[1] == "answers: 9 (9 done)"
    assert told[2].startswith("failed: ")
    assert "bad\\n.mp4: " in told[2]
    assert run(["batch", "status", str(place / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["units"]["done"] == 9
    assert run(["batch", "export", str(place / "run")]) == 0
    assert capsys.readouterr().out.startswith("9 rows")
    assert run(["batch", "retry-failed", str(place / "run")]) == 0
    assert capsys.readouterr().out.startswith("1 will be tried anew")


def test_a_dry_run_says_what_it_would_cost(place, capsys):
    command = [
        "batch",
        "run",
        str(place / "cam"),
        "--tasks",
        str(place / "tasks.yaml"),
        "--out",
        str(place / "none"),
        "--dry-run",
        "--json",
    ]
    assert run(command) == 0
    told = json.loads(capsys.readouterr().out)
    # One of two recordings can be used: 1 s and 2 objects of the sample.
    assert told["recordings"] == told["sampled"] == 2
    assert told["hours"] == pytest.approx(1 / 3600)
    assert (told["objects"], told["units"]) == (2, 9)
    assert told["tokens"] > 9 * 100
    assert told["total_s"] == max(told["decode_s"], told["model_s"]) > 0
    assert [Path(name).name for name, _ in told["failed"]] == ["bad\n.mp4"]
    assert not (place / "none").exists()


MISTAKES = [
    pytest.param(["--tasks", "none.yaml", "cam"], "cannot read none.yaml", id="no tasks file"),
    pytest.param(["--tasks", "typo.yaml", "cam"], "line 3: tasks[1] has no field 'descibe'; did you mean 'describe'?", id="typo in tasks"),
    pytest.param(["--tasks", "twice.yaml", "cam"], "there are two tasks named 'a'", id="a name twice"),
    pytest.param(["--tasks", "tasks.yaml"], "there is no footage", id="no footage"),
    pytest.param(["--tasks", "tasks.yaml", "nowhere"], "there is no nowhere", id="footage missing"),
    pytest.param(["--tasks", "tasks.yaml", "https://example.org/a.mp4"], "allow fetching with --allow-remote", id="remote without consent"),
    pytest.param(["--tasks", "tasks.yaml", "cam", "--tracks", "nonsense"], "tracks are to come from 'nonsense'", id="tracks from nowhere"),
    pytest.param(["--tasks", "tasks.yaml", "cam", "--tracks", "auto", "--tracker", "x"], "no tracker 'x'", id="no such tracker"),
    pytest.param(["--tasks", "tasks.yaml", "cam", "--zone", "Mars/Base"], "no time zone 'Mars/Base'", id="no such zone"),
    pytest.param(["--tasks", "tasks.yaml", "cam", "--model", "nothing-here"], "nothing-here", id="no such model"),
    pytest.param(["--tasks", "tasks.yaml", "cam", "--out", "cam"], "is not empty and holds no run", id="a folder of something else"),
    pytest.param(["--tasks", "tasks.yaml", "empty"], "there are no recordings in empty", id="an empty folder"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said"), MISTAKES)
def test_mistakes_are_one_line(place, capsys, monkeypatch, typed, said):
    monkeypatch.chdir(place)
    Path("typo.yaml").write_text("tasks:\n  - name: a\n    descibe: true\n")
    Path("twice.yaml").write_text(
        "tasks:\n  - {name: a, describe: true}\n  - {name: a, describe: true}\n"
    )
    Path("empty").mkdir(exist_ok=True)
    out = [] if "--out" in typed else ["--out", "other"]
    assert run(["batch", "run", *typed, *out]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["status", "export", "retry-failed"])
def test_a_folder_without_a_run(command, tmp_path, capsys):
    assert run(["batch", command, str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_named(place, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes((place / "cam/a.mp4").read_bytes())
    (tmp_path / "a.mp4").chmod(0)
    assert (
        run(
            [
                "batch",
                "run",
                str(tmp_path),
                "--tasks",
                str(place / "tasks.yaml"),
                "--out",
                str(place / "unread"),
            ]
        )
        == 0
    )
    assert run(["batch", "status", str(place / "unread")]) == 0
    assert "Permission denied" in capsys.readouterr().out


def test_a_watcher_waits_until_a_file_is_closed(tmp_path):
    now = [0.0]
    watch = Watcher(Source((str(tmp_path),)), every_s=1, settled_s=5, clock=lambda: now[0])

    def found() -> list[str] | None:
        footage = watch()
        return None if footage is None else [Path(one.source).name for one in footage.recordings]

    assert found() is None  # nothing there yet
    (tmp_path / "a.mp4").write_bytes(b"1")
    seen = []
    for second in range(1, 13):
        now[0] = second
        if second == 4:
            (tmp_path / "a.mp4").write_bytes(b"12")
        seen.append(found())
        assert found() is None  # it is not time to look again
    assert seen == [[]] * 8 + [["a.mp4"]] * 4


def test_counts_are_served():
    server = MetricsServer(0)
    server(Progress(Counts(done=2), Counts(pending=3, done=5, failed=1), 10.0, 5))
    address = f"http://127.0.0.1:{server.port}/metrics"
    text = urllib.request.urlopen(address).read().decode()
    server.close()
    assert 'gar_video_units{status="done"} 5' in text
    assert "gar_video_left_seconds 6.0" in text
