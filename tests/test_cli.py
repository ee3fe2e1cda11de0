from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gar_video import Tracks, Video
from gar_video.answer import Answer, Choice
from gar_video.cli import run

SIZE = (96, 64)


@pytest.fixture(scope="module")
def place(tmp_path_factory, squares, parity_dir):
    """A folder as a user might have it: clip, photograph, masks, tracks, checkpoints, junk."""
    from gar_video.trackers.sam2 import Sam2Tracker
    from gar_video.trackers.sam2_config import nano_config

    from gar_video.visuals import write_annotated_video

    folder = tmp_path_factory.mktemp("place")
    video, tracks = squares
    nobody = Tracks.from_masks({1: np.zeros((24, 64, 96), bool)}, allow_empty=True)
    write_annotated_video(folder / "clip.mp4", video, nobody)  # nothing drawn: the frames alone
    Image.fromarray(video[0]).save(folder / "photo.png")
    tracks.save(folder / "tracks.json")
    Tracks.from_masks({1: np.ones((24, 32, 32), bool)}).save(folder / "small.json")
    Tracks.from_masks({1: np.ones((30, 64, 96), bool)}).save(folder / "long.json")
    (folder / "masks").mkdir()
    for frame in range(24):
        picture = Image.fromarray(tracks[1].mask(frame).astype(np.uint8) * 255)
        picture.save(folder / "masks" / f"{frame:05d}.png")
    Image.fromarray(tracks[1].mask(0).astype(np.uint8) * 255).save(folder / "mask.png")
    Image.fromarray(np.zeros((64, 96), np.uint8)).save(folder / "nothing.png")
    Image.fromarray(np.ones((9, 9), np.uint8)).save(folder / "tiny.png")
    (folder / "junk.mp4").write_bytes(b"this is no video " * 100)
    (folder / "empty.mp4").touch()
    whole = (folder / "clip.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (folder / "junk.json").write_text("{")
    (folder / "no pictures").mkdir()
    (folder / "uneven").mkdir()
    for name, side in (("1.png", 32), ("2.png", 48)):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(folder / "uneven" / name)
    (folder / "gar").symlink_to(parity_dir / "checkpoint")
    shutil.copytree(parity_dir / "checkpoint", folder / "cut gar")
    weights = folder / "cut gar" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    shutil.copytree(parity_dir / "checkpoint", folder / "other kind")
    (folder / "other kind" / "config.json").write_text('{"model_type": "llama"}')
    shutil.copytree(parity_dir / "checkpoint", folder / "pickled")
    (folder / "pickled" / "model.safetensors").rename(folder / "pickled" / "pytorch_model.bin")
    Sam2Tracker.from_config(nano_config(), device="cpu").save_pretrained(folder / "sam2")
    return folder


@pytest.fixture(autouse=True)
def _there(place, monkeypatch):
    monkeypatch.chdir(place)
    before = set(place.rglob("*"))
    yield
    for path in set(place.rglob("*")) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _loaded_once(request, monkeypatch):
    """Load the checkpoint `gar` once, except where loading is what is tested."""
    from gar_video.pipeline import GARVideo

    load = GARVideo.from_pretrained

    def from_pretrained(name, *, device="auto", dtype="auto", token_budget=None):
        if (name, device, dtype, token_budget) == ("gar", "cpu", "auto", None):
            return request.getfixturevalue("gar")
        return load(name, device=device, dtype=dtype, token_budget=token_budget)

    if not request.node.name.startswith("test_answers_are_those_of_python"):
        monkeypatch.setattr(GARVideo, "from_pretrained", staticmethod(from_pretrained))


def call(capsys, *argv: str) -> tuple[int, str, str]:
    status = run(argv)
    out, err = capsys.readouterr()
    return status, out, err


LOADED = ("--model", "gar", "--device", "cpu")
CHOOSE = (*LOADED, "--num-frames", "2")
GAR = (*CHOOSE, "--max-new-tokens", "3")
SAM = ("--sam2", "sam2")
BOX = ("--box", "4,8,20,24")
TRACKS = ("--tracks", "tracks.json")

NEEDED = {"text", "objects", "frames", "times_s", "visible"}


# ------------------------------------------------------------------------------ what it gives


def test_describe_all_objects(capsys):
    status, out, err = call(capsys, "describe", "clip.mp4", *TRACKS, *GAR)
    assert status == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["<1>", "<2>", "<3>"]
    assert re.search(r"looked at \d+ frames, 0\.00 to \d\.\d\d s; seen: <2> in \d+%", err)


@pytest.mark.parametrize(
    ("argv", "objects"),
    [
        pytest.param(["describe", "clip.mp4", *TRACKS, *GAR], [[1], [2], [3]], id="describe"),
        pytest.param(
            ["describe", "clip.mp4", *TRACKS, *GAR, "--only", "3,1"], [[3], [1]], id="only"
        ),
        pytest.param(["ask", "clip.mp4", "Is <2> by <1>?", *TRACKS, *GAR], [[2, 1]], id="ask"),
        pytest.param(
            ["ask", "clip.mp4", "What is <1>?", "And <3>?", *TRACKS, *GAR], [[1], [3]], id="ask-two"
        ),
        pytest.param(["ask", "clip.mp4", "What is this?", *GAR], [[]], id="ask-without-objects"),
        pytest.param(
            ["ask", "photo.png", "What is <1>?", "--mask", "mask.png", *GAR], [[1]], id="photo"
        ),
        pytest.param(
            [
                "choose",
                "clip.mp4",
                "Is <1> red?",
                "--option",
                "yes",
                "--option",
                "no",
                *TRACKS,
                *CHOOSE,
            ],
            [[1]],
            id="choose",
        ),
        pytest.param(
            ["ask", "clip.mp4", "What is <1>?", "--masks", "masks", *GAR], [[1]], id="masks"
        ),
        pytest.param(
            ["ask", "clip.mp4", "What is <1>?", *BOX, *SAM, *GAR], [[1]], id="box-tracked"
        ),
    ],
)
def test_json_is_a_list_of_answers(capsys, argv, objects):
    status, out, err = call(capsys, *argv, "--json")
    assert status == 0, err
    listed = json.loads(out)
    assert [entry["objects"] for entry in listed] == objects
    for entry in listed:
        assert set(entry) >= NEEDED
        assert isinstance(entry["text"], str)
        assert len(entry["frames"]) == len(entry["times_s"]) > 0
        assert {int(key) for key in entry["visible"]} == set(entry["objects"])
        assert (Choice if argv[0] == "choose" else Answer).from_dict(entry)


def test_answers_are_those_of_python(capsys, squares, loaded_gar, place):
    """The shell adds nothing and takes nothing away."""
    questions = ["What is <1>?", "Where is <2>?"]
    _, out, _ = call(capsys, "ask", "clip.mp4", *questions, *TRACKS, *GAR, "--json")
    tracks = Tracks.load("tracks.json")
    direct = loaded_gar.ask_many("clip.mp4", tracks, questions, frames=2, max_new_tokens=3)
    assert [entry["token_ids"] for entry in json.loads(out)] == [list(a.token_ids) for a in direct]


@pytest.mark.parametrize(
    ("argv", "frames"),
    [
        pytest.param(["--frames", "0,5,9"], [0, 5, 9], id="listed"),
        pytest.param(["--num-frames", "2"], [0, 23], id="two"),
        pytest.param(["--time", "1:2", "--num-frames", "3"], [8, 12, 15], id="seconds"),
        pytest.param(["--time", "0:01-0:02", "--num-frames", "3"], [8, 12, 15], id="mm-ss"),
        pytest.param(["--time", "2:", "--num-frames", "2"], [16, 23], id="to-the-end"),
    ],
)
def test_where_it_looks(capsys, argv, frames):
    status, out, err = call(
        capsys,
        "ask",
        "clip.mp4",
        "What is <1>?",
        *TRACKS,
        *LOADED,
        "--max-new-tokens",
        "3",
        "--json",
        *argv,
    )
    assert status == 0, err
    assert json.loads(out)[0]["frames"] == frames


def test_one_answer_is_bare_and_several_have_their_questions(capsys):
    _, one, _ = call(capsys, "ask", "clip.mp4", "What is <1>?", *TRACKS, *GAR)
    _, two, _ = call(capsys, "ask", "clip.mp4", "What is <1>?", "Why is <1>?", *TRACKS, *GAR)
    assert "?" not in one
    assert [line for line in two.splitlines() if line.endswith("?")] == [
        "What is <1>?",
        "Why is <1>?",
    ]


@pytest.mark.parametrize("by", ["letter", "text", None])
def test_choose_shows_odds(capsys, by):
    options = ["red", "green", "blue"]
    argv = [part for option in options for part in ("--option", option)]
    argv += ["--by", by] if by else []
    status, out, _ = call(capsys, "choose", "clip.mp4", "Color of <1>?", *argv, *TRACKS, *CHOOSE)
    lines = out.splitlines()
    assert status == 0
    assert lines[0] in options
    assert [line.split()[-2] for line in lines[1:]] == options
    assert sum(float(line.split()[-1].rstrip("%")) for line in lines[1:]) == pytest.approx(
        100, abs=0.2
    )
    assert next(line for line in lines[1:] if "*" in line).split()[-2] == lines[0]


def test_an_object_out_of_sight_is_said_to_be(capsys):
    status, out, _ = call(capsys, "ask", "clip.mp4", "What is <2>?", *TRACKS, *GAR, "--time", "2:3")
    assert (status, out) == (0, "<2> is not visible between 2.00 s and 3.00 s.\n")


def test_track_writes_tracks_that_load(capsys, place):
    argv = ["track", "clip.mp4", "--object", "7", *BOX, "--frame", "3", *SAM, "--device", "cpu"]
    status, out, err = call(capsys, *argv, "--out", "found.json")
    assert status == 0, err
    tracks = Tracks.load("found.json", video="clip.mp4")
    assert tracks.object_ids == (7,)
    assert out.startswith("<7>: ")
    assert "wrote found.json" in err


@pytest.mark.parametrize("mode", ["exact", "fast", "faster"])
def test_the_mode_reaches_sam2(capsys, monkeypatch, mode):
    from gar_video.trackers.sam2 import Sam2Tracker

    made = []
    begin = Sam2Tracker.session
    monkeypatch.setattr(
        Sam2Tracker, "session", lambda self, *a, **k: made.append(self.mode) or begin(self, *a, **k)
    )
    argv = ["track", "clip.mp4", *BOX, *SAM, "--device", "cpu", "--sam2-mode", mode]
    status, _, err = call(capsys, *argv)
    assert (status, made) == (0, [mode]), err


def test_track_alone_prints_tracks(capsys, place):
    status, out, _ = call(capsys, "track", "clip.mp4", *BOX, *SAM, "--device", "cpu")
    assert status == 0
    (place / "printed.json").write_text(out)
    assert Tracks.load("printed.json", video="clip.mp4").object_ids == (1,)


def test_track_as_json_says_where_objects_are(capsys):
    status, out, _ = call(capsys, "track", "clip.mp4", *TRACKS, "--json")
    entries = json.loads(out)
    assert status == 0
    assert [entry["objects"] for entry in entries] == [[1], [2], [3]]
    assert all(set(entry) >= NEEDED for entry in entries)
    assert entries[1]["text"] == "in 12 of 24 frames, 0.00 to 1.38 s"
    assert entries[1]["visible"] == {"2": 0.5}
    assert entries[1]["boxes_xyxy"][0] == [30.0, 40.0, 44.0, 60.0]


def test_pictures_are_written(capsys):
    argv = ["describe", "clip.mp4", *TRACKS, *GAR, "--video-out", "a.mp4", "--sheet", "s.png"]
    status, _, err = call(capsys, *argv)
    assert status == 0, err
    drawn = Video("a.mp4")
    assert len(drawn) == 24
    assert drawn.resolution_wh == SIZE
    assert Image.open("s.png").size[0] > 500


@pytest.mark.parametrize(
    ("out", "file"),
    [
        pytest.param("a.json", "a.json", id="json"),
        pytest.param("a.txt", "a.txt", id="words"),
        pytest.param("new/", "new/answers.json", id="new-folder"),
        pytest.param("masks", "masks/answers.json", id="folder-that-is-there"),
    ],
)
def test_answers_in_a_file(capsys, place, out, file):
    argv = ["ask", "clip.mp4", "What is <1>?", *TRACKS, *GAR, "--out", out]
    status, said, err = call(capsys, *argv)
    assert status == 0, err
    written = (place / file).read_text(encoding="utf-8")
    if file.endswith(".json"):
        assert json.loads(written)[0]["text"] == said.rstrip("\n")
    else:
        assert written == said
    assert f"wrote {Path(file)}" in err


def test_quiet_says_nothing_but_results(capsys):
    argv = ["ask", "clip.mp4", "What is <1>?", *BOX, *SAM, *GAR, "--quiet", "--out", "a.json"]
    status, out, err = call(capsys, *argv)
    assert (status, err) == (0, "")
    assert out


def test_more_objects_warns_in_one_line(capsys, place):
    many = {i: np.zeros((24, 64, 96), bool) for i in range(1, 8)}
    for i, mask in many.items():
        mask[:, 8 * i : 8 * i + 6, 5:20] = True
    Tracks.from_masks(many).save("many.json")
    question = "Which of " + " ".join(f"<{i}>" for i in many) + " is left?"
    argv = ["ask", "clip.mp4", question, "--tracks", "many.json", *GAR]
    status, _, err = call(capsys, *argv, "--more-objects", "--quiet")
    assert status == 0, err
    assert err.startswith("warning: 7 objects with a checkpoint of 5 prompts")
    assert err.count("\n") == 1
    status, _, err = call(capsys, *argv)
    assert status == 2
    assert "--more-objects" in err


def test_version_and_help(capsys):
    from gar_video import __version__

    assert call(capsys, "--version") == (0, f"gar-video {__version__}\n", "")
    status, out, err = call(capsys)
    assert (status, err) == (0, "")
    for command in ("track", "describe", "ask", "choose", "demo", "synth", "train", "bench"):
        assert command in out
        assert call(capsys, command, "--help")[0] == 0


# -------------------------------------------------------------------------------- bad input

ASK = ["ask", "clip.mp4", "What is <1>?"]
OUT = ["--out", "result.json"]

BAD = {
    # videos
    "video-missing": (["describe", "none.mp4", *BOX], "none.mp4"),
    "video-empty": (["describe", "empty.mp4", *BOX], "empty.mp4"),
    "video-junk": (["describe", "junk.mp4", *BOX], "junk.mp4"),
    "video-cut": (["describe", "cut.mp4", *BOX], "cut.mp4"),
    "video-folder-without-pictures": (["describe", "no pictures", *BOX], "no pictures"),
    "video-folder-of-uneven-pictures": (["describe", "uneven", *BOX], "2.png"),
    "video-is-a-checkpoint": (["describe", "gar", *BOX], "pictures"),
    "video-is-tracks": (["describe", "tracks.json", *BOX], "tracks.json"),
    # tracks
    "tracks-missing": ([*ASK, "--tracks", "none.json"], "does not exist"),
    "tracks-junk": ([*ASK, "--tracks", "junk.json"], "junk.json"),
    "tracks-of-another-size": ([*ASK, "--tracks", "small.json"], "96x64"),
    "tracks-of-another-length": ([*ASK, "--tracks", "long.json"], "24"),
    "tracks-are-a-video": ([*ASK, "--tracks", "clip.mp4"], "clip.mp4"),
    "masks-folder-missing": ([*ASK, "--masks", "none"], "does not exist"),
    "masks-folder-empty": ([*ASK, "--masks", "no pictures"], "no pictures"),
    "mask-missing": ([*ASK, "--mask", "none.png"], "does not exist"),
    "mask-of-another-size": ([*ASK, "--mask", "tiny.png"], "96x64"),
    "mask-empty": ([*ASK, "--mask", "nothing.png"], "is empty"),
    "mask-junk": ([*ASK, "--mask", "junk.mp4"], "no PNG"),
    "mask-is-a-folder": ([*ASK, "--mask", "masks"], "--masks"),
    "two-ways": ([*ASK, *TRACKS, *BOX], "one way"),
    "no-objects": (["describe", "clip.mp4"], "--box"),
    # prompts
    "box-outside": ([*ASK, "--box", "10,10,200,20"], "outside"),
    "box-inverted": ([*ASK, "--box", "20,10,10,20"], "inverted"),
    "box-of-no-area": ([*ASK, "--box", "10,10,10,20"], "no area"),
    "box-nan": ([*ASK, "--box", "nan,10,20,20"], "NaN"),
    "box-of-three": ([*ASK, "--box", "1,2,3"], "3 values"),
    "box-of-words": ([*ASK, "--box", "a,b,c,d"], "no number"),
    "point-outside": ([*ASK, "--point", "96,3"], "outside"),
    "point-negative": ([*ASK, "--point", "-1,3"], "outside"),
    "point-only-off": ([*ASK, "--point", "1,3,0"], "off an object"),
    "frame-beyond": ([*ASK, "--frame", "24", *BOX], "0 to 23"),
    "frame-negative": ([*ASK, "--frame", "-1", *BOX], "--frame -1"),
    "object-twice": ([*ASK, "--object", "1", *BOX, "--object", "1", *BOX], "2 box"),
    # questions
    "object-unknown": (["ask", "clip.mp4", "Who is <9>?", *TRACKS], "no object <9>"),
    "object-unknown-when-pointing": (["ask", "clip.mp4", "Who is <2>?", *BOX], "no object <2>"),
    "object-unknown-in-option": (
        ["choose", "clip.mp4", "Who?", "--option", "<1>", "--option", "<8>", *TRACKS],
        "no object <8>",
    ),
    "only-unknown": (["describe", "clip.mp4", "--only", "1,7", *TRACKS], "no object <7>"),
    "only-twice": (["describe", "clip.mp4", "--only", "1,1", *TRACKS, *GAR], "repeat"),
    "question-unclosed": (["ask", "clip.mp4", "Who is <1?", *TRACKS], "malformed"),
    "question-malformed": (["ask", "clip.mp4", "Who is <one>?", *TRACKS], "malformed"),
    "question-empty": (["ask", "clip.mp4", " ", *TRACKS], "empty"),
    "option-alone": (["choose", "clip.mp4", "Who?", "--option", "a", *TRACKS], "2 to 26"),
    "options-none": (["choose", "clip.mp4", "Who?", *TRACKS], "2 to 26"),
    "options-equal": (
        ["choose", "clip.mp4", "Who?", "--option", "a", "--option", "a", *TRACKS],
        "twice",
    ),
    "by-unknown": (["choose", "clip.mp4", "Who?", "--by", "luck", *TRACKS], "--by"),
    # where to look
    "time-reversed": ([*ASK, *TRACKS, "--time", "2:1"], "2 s to 1 s"),
    "time-empty": ([*ASK, *TRACKS, "--time", "1:1"], "1 s to 1 s"),
    "time-after-the-end": ([*ASK, *TRACKS, "--time", "60:61"], "ends at 3.00 s"),
    "time-of-words": ([*ASK, *TRACKS, "--time", "soon:later"], "no time"),
    "frames-beyond": ([*ASK, *TRACKS, "--frames", "0,24"], "0 to 23"),
    "frames-twice": ([*ASK, *TRACKS, "--frames", "3,3"], "twice"),
    "frames-of-words": ([*ASK, *TRACKS, "--frames", "a"], "--frames"),
    "frames-and-num-frames": ([*ASK, *TRACKS, "--frames", "1", "--num-frames", "2"], "one of them"),
    "num-frames-zero": ([*ASK, *TRACKS, "--num-frames", "0"], "--num-frames"),
    "max-new-tokens-zero": ([*ASK, *TRACKS, "--max-new-tokens", "0"], "--max-new-tokens"),
    "max-new-tokens-beyond-the-context": (
        [*ASK, *TRACKS, *CHOOSE, "--max-new-tokens", "999999"],
        "--max-new-tokens",
    ),
    # checkpoints and devices
    "model-missing": ([*ASK, *TRACKS, "--model", "none"], "no checkpoint folder at none"),
    "model-of-another-kind": ([*ASK, *TRACKS, "--model", "other kind"], "expected GAR"),
    "model-cut": ([*ASK, *TRACKS, "--model", "cut gar"], "damaged or cut short"),
    "model-pickled": ([*ASK, *TRACKS, "--model", "pickled"], "pickle"),
    "model-not-in-the-cache": (
        [*ASK, *TRACKS, "--model", "nobody/nothing"],
        "hub cannot be reached",
    ),
    "sam2-missing": (["track", "clip.mp4", *BOX, "--sam2", "none"], "no SAM 2 checkpoint"),
    "sam2-is-gar": (["track", "clip.mp4", *BOX, "--sam2", "gar"], "gar"),
    "sam2-mode-unknown": (
        ["track", "clip.mp4", *BOX, *SAM, "--sam2-mode", "quick"],
        "'exact', 'fast', 'faster'",
    ),
    "device-unknown": ([*ASK, *TRACKS, "--model", "gar", "--device", "tpu"], "tpu"),
    "dtype-unknown": ([*ASK, *TRACKS, "--model", "gar", "--dtype", "int3"], "int3"),
    # places to write
    "out-without-folder": ([*ASK, *TRACKS, "--out", "none/a.json"], "no folder none"),
    "video-out-of-another-kind": (
        ["track", "clip.mp4", *TRACKS, "--video-out", "a.gif"],
        "ending in .mp4",
    ),
    "sheet-of-another-kind": (["track", "clip.mp4", *TRACKS, "--sheet", "a.txt"], "ending in .png"),
    "tracks-out-of-another-kind": (["track", "clip.mp4", *TRACKS, "--out", "a.csv"], "FILE.json"),
    "video-out-is-a-folder": (
        ["track", "clip.mp4", *TRACKS, "--video-out", "masks"],
        "is a folder",
    ),
    # usage
    "command-unknown": (["trak"], "No such command"),
    "option-unknown": ([*ASK, "--fast"], "--fast"),
    "video-not-given": (["track"], "VIDEO"),
    "question-not-given": (["ask", "clip.mp4"], "QUESTION"),
    "value-not-given": ([*ASK, "--box"], "--box"),
    "synth-unknown": (["synth", "nonsense"], "nonsense"),
}


@pytest.mark.parametrize(("argv", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input(capfd, place, argv, says):
    """One line on stderr, status 2, nothing on stdout, nothing left behind."""
    takes_out = argv[0] in ("ask", "choose", "describe") and "--out" not in argv
    before = sorted(place.rglob("*"))
    status = run([*argv, *OUT] if takes_out else argv)
    out, err = capfd.readouterr()
    assert status == 2, err
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert says in err
    assert "Traceback" not in err
    assert out == ""
    assert sorted(place.rglob("*")) == before


def test_cuda_where_there_is_none(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, _, err = call(capsys, *ASK, *TRACKS, "--model", "gar", "--device", "cuda")
    assert status == 2
    assert err.startswith("error: device 'cuda' was asked for but this machine offers no CUDA")


def test_out_of_memory_names_the_lever(capsys, monkeypatch):
    import torch

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("gar_video.model.GARModel.encode_tiles", full)
    status, _, err = call(capsys, *ASK, *TRACKS, *GAR)
    assert status == 2
    assert err.startswith("error: out of memory while")
    assert "--num-frames" in err
    assert "--dtype" in err


def test_a_full_disk_leaves_what_was_there(capsys, monkeypatch, place):
    (place / "result.json").write_text("before")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    status, _, err = call(capsys, *ASK, *TRACKS, *GAR, *OUT)
    assert status == 2
    assert "No space left on device" in err
    assert (place / "result.json").read_bytes() == b"before"
    assert not list(place.glob(".result*"))


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("gar_video.commands.questions.read_looking", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run([*ASK, *TRACKS])


def test_libraries_stay_silent_and_own_warnings_speak(capsys):
    import logging
    import warnings

    from gar_video.commands.console import own_warnings

    with own_warnings():
        warnings.warn("a library's", UserWarning, stacklevel=1)
        logging.getLogger("somebody").warning("a library's log")
        warnings.warn_explicit("ours\nin lines", UserWarning, _file_of("gar_video"), 1)
        warnings.warn_explicit("a tracker's", UserWarning, _file_of("gar_video.trackers"), 1)
        warnings.warn_explicit("a tracker's", UserWarning, _file_of("gar_video.trackers"), 2)
        logging.getLogger("gar_video.video").warning("our log")
    err = capsys.readouterr().err
    assert err.splitlines() == [
        "warning: ours in lines",
        "warning: a tracker's",
        "warning: our log",
    ]


def _file_of(package: str) -> str:
    import importlib

    return str(Path(importlib.import_module(package).__file__).parent / "some.py")


# ---------------------------------------------------------------------- ends of a real process

_SLOW = """
import sys, time
from gar_video import cli, visuals
real = visuals.draw_objects
def slow(*args, **kwargs):
    print("drawing", flush=True)
    time.sleep(60)
    return real(*args, **kwargs)
visuals.draw_objects = slow
sys.argv = ["gar-video", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are of another kind there")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(signal.SIGINT, 130, id="ctrl-c"),
        pytest.param(signal.SIGTERM, 128 + 15, id="terminated"),
    ],
)
def test_interrupted_while_writing(place, sent, status):
    before = sorted(place.rglob("*"))
    argv = ["track", "clip.mp4", *TRACKS, "--video-out", "a.mp4"]
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What a background job of a shell inherits is to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        cwd=place,
    ) as process:
        assert process.stdout.readline() == "drawing\n"
        assert len(sorted(place.rglob("*"))) == len(before) + 1  # half-written, under another name
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in err
    if sent == signal.SIGINT:
        assert err == "error: interrupted; no file was left half-written\n"
    assert sorted(place.rglob("*")) == before


@pytest.mark.skipif(os.name == "nt", reason="pipes end in another way there")
def test_nobody_reads(place):
    with subprocess.Popen(
        [sys.executable, "-m", "gar_video.cli", "track", "clip.mp4", *TRACKS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place,
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 141
    assert err == ""
