"""``gar-video live``: words on stdout, JSON lines, a video, Ctrl-C, and mistakes in one line."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gar_video import Video
from gar_video.cli import run


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from gar_video.synth.write import write_clip

    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder / "clip.mp4", seed=0, num_objects=2, resolution_wh=(224, 224))
    return folder


@pytest.fixture(autouse=True)
def _there(clip, monkeypatch):
    monkeypatch.chdir(clip)


def test_motion_and_iou_need_nothing_else(capsys):
    given = ["live", "clip.mp4", "--patient", "--question", "What color is <1>?"]
    assert run(given) == 0
    out, err = capsys.readouterr()
    assert "(last)" in out
    assert "star" in out
    assert re.search(r"What color is <1>\? (it is )?purple", out)
    assert "59 frames" in err


def test_json_lines_and_a_video(capsys):
    given = ["live", "clip.mp4", "--tracks", "clip.tracks.json", "--patient", "--every", "1"]
    given += ["--json", "--out", "words.jsonl", "--video-out", "live.mp4", "--seconds", "2"]
    assert run([*given, "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["object_id"] for line in lines} == {1, 2}
    assert [line["is_last"] for line in lines[-2:]] == [True, True]
    with Path("words.jsonl").open(encoding="utf-8") as file:
        assert [json.loads(line) for line in file] == lines
    drawn = Video("live.mp4")
    assert len(drawn) == 30
    assert drawn.height > 224
    assert drawn.times_s[-1] == pytest.approx(29 / 15, abs=0.01)


def test_bytetrack(capsys):
    """Roboflow's, by name, where it is installed."""
    from gar_video.trackers.online import found_parts

    if "bytetrack" not in {part.name for part in found_parts()}:
        pytest.skip("Roboflow's trackers are not installed")
    given = ["live", "clip.mp4", "--tracker", "bytetrack", "--patient", "--seconds", "2.5"]
    assert run(given) == 0
    assert "star" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param(["missing.mp4"], "missing.mp4", id="no-file"),
        pytest.param(["ftp://host/a"], "expected one of rtsp", id="scheme"),
        pytest.param(["clip.mp4", "--tracker", "none"], "there is no tracker 'none'", id="tracker"),
        pytest.param(["clip.mp4", "--detector", "no_such:A"], "install it first", id="detector"),
        pytest.param(["clip.mp4", "--tracks", "missing.json"], "missing.json", id="tracks"),
        pytest.param(["clip.mp4", "--model", "none"], "none", id="model"),
        pytest.param(["clip.mp4", "--every", "0"], "every_s", id="every"),
        pytest.param(["clip.mp4", "--question", "Is <2> red?"], "standing question", id="question"),
        pytest.param(["clip.mp4", "--out", "no/words.jsonl"], "no folder", id="out"),
        pytest.param(["clip.mp4", "--video-out", "a.avi"], ".mp4", id="video-out"),
    ],
)
def test_mistakes_are_one_line(given, says, capsys):
    assert run(["live", *given]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_cleanly(clip):
    """In the middle of a stream: status 130, one line, and the video of what was seen stays."""
    code = "from gar_video.cli import main; main()"
    command = [sys.executable, "-c", code, "live", "clip.mp4", "--tracks", "clip.tracks.json"]
    command += ["--every", "0.5", "--out", "cut.jsonl", "--video-out", "cut.mp4"]
    loop = "from gar_video.live import sources as s; import time; i = s.FileSource.__iter__\n"
    loop += "s.FileSource.__iter__ = lambda self: (time.sleep(0.3) or one for one in i(self))\n"
    command[2] = loop + code  # a slower stream, so that there is a middle
    process = subprocess.Popen(
        command, cwd=clip, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # What a background job of a shell inherits is to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        first = process.stdout.readline()
        assert first.strip()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in err
    assert (clip / "cut.jsonl").read_text().strip()
    assert 3 <= len(Video(clip / "cut.mp4")) < 59
    assert not [path for path in clip.iterdir() if path.name.startswith(".cut")]
