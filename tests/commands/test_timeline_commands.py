"""``gar-video timeline``, ``annotate`` and ``sheet``: what they write, and one line for mistakes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from gar_video import Tracks, Video
from gar_video.cli import run
from gar_video.synth.write import ClipWriter
from gar_video.timeline import Timeline

GAR = ["--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, squares, parity_dir):
    place = tmp_path_factory.mktemp("commands")
    video, tracks = squares
    large = [np.kron(frame, np.ones((4, 4, 1), np.uint8)) for frame in video]
    with ClipWriter(place / "clip.mp4", (384, 256), 8) as writer:
        for frame in large:
            writer.write(frame)
    masks = {
        i: np.stack([np.kron(tracks.masks(t, [i])[0], np.ones((4, 4), bool)) for t in range(24)])
        for i in tracks
    }
    Tracks.from_masks(masks).save(place / "tracks.json")
    (place / "gar").symlink_to(parity_dir / "checkpoint", target_is_directory=True)
    (place / "no.json").write_text("words")
    entry = {"text": "A square.", "objects": [9]}
    (place / "other.json").write_text(json.dumps([entry]))
    return place


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def call(capsys, *argv):
    status = run(list(argv))
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_from_windows_to_pictures(capsys, folder):
    argv = ["timeline", "clip.mp4", "--tracks", "tracks.json", "--every", "1.5", "--model", "gar"]
    outs = [part for name in ("srt", "vtt", "csv", "json") for part in ("--out", f"w.{name}")]
    status, out, err = call(
        capsys, *argv, *GAR, "--max-new-tokens", "6", "--num-frames", "2", *outs
    )
    assert status == 0, err
    made = Timeline.load("w.json")
    assert out == f"{made}\n"
    assert {segment.object_id for segment in made.segments} == {1, 2, 3}
    assert "[appears]" in out
    for name in ("srt", "vtt", "csv"):
        assert (folder / f"w.{name}").stat().st_size > 50

    tail = ["--tracks", "tracks.json", "--answers", "w.json", "--out"]
    status, out, err = call(capsys, "annotate", "clip.mp4", *tail, "a.mp4", "--boxes")
    assert (status, out) == (0, ""), err
    drawn = Video("a.mp4")
    assert len(drawn) == 24
    assert drawn.resolution_wh == (384, 256)
    status, _, err = call(capsys, "annotate", "clip.mp4", *tail, "b.mp4", "--words", "below")
    assert status == 0, err
    assert Video("b.mp4").height > 256
    status, _, err = call(
        capsys, "sheet", "clip.mp4", *tail, "s.png", "--only", "2", "--views", "2"
    )
    assert status == 0, err
    one = Image.open("s.png").size
    status, _, _ = call(capsys, "sheet", "clip.mp4", *tail, "t.png", "--views", "2")
    assert status == 0
    assert Image.open("t.png").size[1] > 2 * one[1]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param(["timeline", "clip.mp4"], "no tracks", id="no-tracks"),
        pytest.param(
            ["timeline", "clip.mp4", "--tracks", "tracks.json", "--every", "0", *GAR],
            "every_s is 0", id="every-zero",
        ),
        pytest.param(
            ["timeline", "clip.mp4", "--tracks", "tracks.json", "--out", "w.txt"],
            "ending in .srt", id="ending",
        ),
        pytest.param(
            ["timeline", "clip.mp4", "--tracks", "tracks.json", "--only", "9"],
            "no object <9>", id="unknown-object",
        ),
        pytest.param(
            ["timeline", "clip.mp4", "--tracks", "none.json"], "none.json", id="tracks-missing"
        ),
        pytest.param(["annotate", "clip.mp4", "--out", "x.mp4"], "no tracks", id="annotate-what"),
        pytest.param(
            ["annotate", "clip.mp4", "--tracks", "tracks.json", "--out", "x.avi"],
            "ending in .mp4", id="not-mp4",
        ),
        pytest.param(
            ["annotate", "clip.mp4", "--tracks", "tracks.json", "--answers", "no.json", "--out",
             "x.mp4"],
            "not JSON", id="no-answers",
        ),
        pytest.param(
            ["annotate", "clip.mp4", "--tracks", "tracks.json", "--answers", "other.json", "--out",
             "x.mp4"],
            "about <9>", id="answers-about-others",
        ),
        pytest.param(
            ["sheet", "clip.mp4", "--tracks", "tracks.json", "--only", "9", "--out", "x.png"],
            "the objects here are", id="only-unknown",
        ),
        pytest.param(
            ["sheet", "clip.mp4", "--tracks", "tracks.json", "--out", "x.gif"],
            "ending in", id="picture-ending",
        ),
        pytest.param(
            ["sheet", "clip.mp4", "--tracks", "tracks.json", "--out", "none/x.png"],
            "no folder", id="no-folder",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(argv, words, capsys, folder):
    before = {path.name for path in folder.iterdir()}
    status, out, err = call(capsys, *argv)
    assert (status, out) == (2, "")
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert {path.name for path in folder.iterdir()} == before
