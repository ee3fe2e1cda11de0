"""Tracks that SAM 2 makes of prompts beside recordings."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from batch_clips import H, W, draw

from gar_video import GARVideo, Tracks, Video, batch, masks
from gar_video.batch.answering import Answerer
from gar_video.batch.prompted import PromptTracker, read_prompts
from gar_video.batch.settings import Following, Settings
from gar_video.batch.tasks import Task, Where
from gar_video.cli import run as cli
from gar_video.errors import Cancelled, GARVideoError, PromptError
from gar_video.visual_prompts import Box, Mask, Points

TASKS = (
    Task("colour", "ask", "What colour is <1>?", max_new_tokens=4),
    Task("shape", "describe", max_new_tokens=4, where=Where(labels=("thing",))),
)
TASKS_YAML = """
tasks:
  - name: colour
    ask: "What colour is <1>?"
    max_new_tokens: 4
"""


@pytest.fixture(scope="module")
def nano():
    return GARVideo.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two rendered clips of a second, the truth aside, and a box around an object of each."""
    folder = tmp_path_factory.mktemp("pointed")
    (folder / "cam").mkdir()
    (folder / "truth").mkdir()
    for name, seed in (("a", 3), ("b", 4)):
        truth = folder / "truth" / f"{name}.json"
        scene = truth.with_name(f"{name}.truth.json")
        command = ["synth", "clip", "--seed", str(seed), "--objects", "2", "--seconds", "1"]
        command += ["--size", "224x224", "--out", str(folder / "cam" / f"{name}.mp4"), "-q"]
        assert cli([*command, "--tracks", str(truth), "--truth", str(scene)]) == 0
        tracks = Tracks.load(truth)
        thing = tracks[tracks.object_ids[0]]
        frame = int(thing.frames[0])
        box = np.clip(thing.box_xyxy(frame), 0, 224).tolist()
        region = {"id": 5, "frame": frame, "box": box, "label": "thing"}
        write(folder / "cam" / f"{name}.prompts.json", [region])
    return folder


def write(path: Path, regions) -> Path:
    path.write_text(json.dumps({"regions": regions}))
    return path


@pytest.fixture(scope="module")
def whole(clips, nano, tmp_path_factory):
    """A run over the clips and a recording without prompts."""
    out = tmp_path_factory.mktemp("whole") / "run"
    summary = batch.run(clips / "cam", TASKS, out, nano, tracks="prompts", sam2="nano")
    assert (summary.recordings.done, summary.recordings.failed) == (2, 0)
    return out


def test_tracks_follow_what_was_pointed_at(whole, clips):
    rows = list(batch.read_rows(whole))
    assert len(rows) == 4  # two clips, an object each, two tasks
    assert all(row["answer"] and row["error"] is None for row in rows)
    assert {(tuple(row["objects"]), row["label"]) for row in rows} == {((5,), "thing")}
    made = sorted((whole / "tracks").glob("*.json"))
    assert len(made) == 2
    from gar_video.batch.clips import made_tracks
    from gar_video.batch.footage import Recording

    for name in ("a", "b"):
        recording = Recording(str(clips / "cam" / f"{name}.mp4"), "")
        found = Tracks.load(made_tracks(whole, recording))[5]
        truth = Tracks.load(clips / "truth" / f"{name}.json")
        thing = truth[truth.object_ids[0]]
        overlaps = []
        for frame in thing.frames.tolist():
            mask, true = found.mask(frame), thing.mask(frame)
            overlaps.append(0 if mask is None else (mask & true).sum() / (mask | true).sum())
        assert np.mean(np.array(overlaps) > 0.5) > 0.6, (name, np.round(overlaps, 2))


def test_a_run_that_goes_on_keeps_its_tracks(clips, nano, tmp_path, monkeypatch):
    settings = Settings((), batch_size=1)

    def go(**how):
        return batch.run(
            clips / "cam", TASKS, tmp_path / "run", nano, tracks="prompts", settings=settings, **how
        )

    made, answering = tmp_path / "run/tracks", threading.Event()

    def once_all_is_tracked(self, loaded):
        until = time.monotonic() + 100
        while len(list(made.glob("*.json"))) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        answering.set()
        raise Cancelled("stopped before the first answer")

    with monkeypatch.context() as patched:
        patched.setattr(Answerer, "answer", once_all_is_tracked)
        with pytest.raises(KeyboardInterrupt):
            go(stop=answering.is_set)
    assert not list(batch.read_rows(tmp_path / "run"))
    before = {path.name: path.stat().st_mtime_ns for path in made.glob("*.json")}

    def never(*_, **__):
        raise AssertionError("tracks are made anew")

    monkeypatch.setattr(PromptTracker, "follow", never)
    assert go().rows == 4
    assert {path.name: path.stat().st_mtime_ns for path in made.glob("*.json")} == before


def test_another_checkpoint_is_refused(whole, clips, nano, tmp_path):
    from gar_video.trackers import Sam2Tracker

    other = Sam2Tracker.from_pretrained("nano", device="cpu")
    same = tmp_path / "same"
    other.save_pretrained(same)
    how = {"tracks": "prompts"}
    assert batch.run(clips / "cam", TASKS, whole, nano, sam2=same, **how).answered == 0
    next(other.predictor.parameters()).data.mul_(1.5)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(GARVideoError, match=r"belongs to another run: sam2 was .* and is "):
        batch.run(clips / "cam", TASKS, whole, nano, sam2=tmp_path / "other", **how)
    with pytest.raises(GARVideoError, match="belongs to another run: "):
        batch.run(
            clips / "cam", TASKS, whole, nano, tracks="auto", following=Following(tracker="iou")
        )  # fmt: skip


def test_prompts_that_are_missing_or_junk_are_named(clips, nano, tmp_path):
    cam, told = tmp_path / "cam", tmp_path / "prompts"
    cam.mkdir()
    told.mkdir()
    for name in ("good", "missing", "junk", "outside", "nobody"):
        (cam / f"{name}.mp4").symlink_to(clips / "cam/a.mp4")
    (told / "good.prompts.json").symlink_to(clips / "cam/a.prompts.json")
    (told / "junk.prompts.json").write_text('{"regions": [\n  {"id": 1,, }\n]}')
    write(told / "outside.prompts.json", [{"id": 1, "box": [0, 0, 1000, 20]}])
    write(told / "nobody.prompts.json", [])
    how = {"tracks": "prompts", "prompts": told}
    summary = batch.run(cam, TASKS[:1], tmp_path / "run", nano, **how)
    assert (summary.recordings.done, summary.recordings.failed, summary.rows) == (2, 3, 1)
    why = {Path(one["video"]).stem: one["error"] for one in batch.read_failures(tmp_path / "run")}
    assert why["missing"].startswith("there are no prompts of missing.mp4 in ")
    assert "expected missing.prompts.json" in why["missing"]
    assert why["junk"].startswith("junk.prompts.json, line 2, column 12: no JSON")
    assert why["outside"].startswith("outside.prompts.json: regions[0]: box ")
    assert "outside the 224x224 frame" in why["outside"]

    write(told / "junk.prompts.json", [{"id": 1, "points": [[112, 112]]}])
    batch.retry_failed(tmp_path / "run")
    again = batch.run(cam, TASKS[:1], tmp_path / "run", nano, **how)
    assert (again.recordings.done, again.recordings.failed) == (3, 2)


FRAMES, TRUTH = draw(0.4)
RLE = masks.encode(TRUTH[9][0])


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        pytest.param([7], r"regions\[0\]: is 7; expected fields id", id="no object"),
        pytest.param([{"box": [0, 0, 9, 9]}], "id is missing", id="no id"),
        pytest.param([{"id": True, "box": [0, 0, 9, 9]}], "id is true", id="id is a truth"),
        pytest.param([{"id": -1, "box": [0, 0, 9, 9]}], "id is -1", id="negative id"),
        pytest.param([{"id": 1}], "has none of box, points, rle", id="nothing"),
        pytest.param(
            [{"id": 1, "box": [0, 0, 9, 9], "rle": RLE}], "has box and rle of", id="two ways"
        ),
        pytest.param([{"id": 1, "bbox": [0, 0, 9, 9]}], "no field 'bbox'", id="unknown field"),
        pytest.param([{"id": 1, "masks": {"0": RLE}}], "masks are tracks already", id="masks"),
        pytest.param([{"id": 1, "box": [0, 0, 9]}], r"box is \[0, 0, 9\]", id="three numbers"),
        pytest.param([{"id": 1, "box": [0, 0, 9, float("nan")]}], "box is ", id="NaN"),
        pytest.param([{"id": 1, "box": [0, 0, 9, 10**400]}], "box is ", id="huge"),
        pytest.param([{"id": 1, "box": [9, 0, 0, 9]}], "inverted", id="inverted"),
        pytest.param([{"id": 1, "frame": 4, "box": [0, 0, 9, 9]}], "frames 0 to 3", id="frame"),
        pytest.param([{"id": 1, "points": [[1]]}], r"points is \[\[1\]\]", id="points"),
        pytest.param([{"id": 1, "points": []}], "expected one or more", id="no points"),
        pytest.param([{"id": 1, "points": [[1, 1, 2]]}], "1 .on the object", id="point's label"),
        pytest.param([{"id": 1, "points": [[W, 1]]}], "lies outside", id="point outside"),
        pytest.param([{"id": 1, "rle": "x"}], 'rle is "x"', id="rle"),
        pytest.param([{"id": 1, "rle": {"size": 3}}], r"regions\[0\]: ", id="rle without counts"),
        pytest.param(
            [{"id": 1, "rle": {**RLE, "size": [H, 9]}}], r"regions\[0\]: ", id="rle of another size"
        ),
        pytest.param([{"id": 1, "label": 3, "box": [0, 0, 9, 9]}], "label is 3", id="label"),
        pytest.param(
            [{"id": 1, "box": [0, 0, 9, 9]}, {"id": 2}], r"regions\[1\]: has none", id="second"
        ),
        pytest.param(
            [{"id": 1, "box": [0, 0, 9, 9]}, {"id": 1, "box": [0, 0, 8, 8]}],
            "object 1 has on frame 0 2 boxes",
            id="contradiction",
        ),
        pytest.param({"1": []}, "regions is ", id="regions are no list"),
    ],
)
def test_prompts_that_cannot_be_meant(regions, said, tmp_path):
    path = write(tmp_path / "a.prompts.json", regions)
    with pytest.raises(PromptError, match=said) as caught:
        read_prompts(path, Video(FRAMES, fps=10))
    assert str(caught.value).startswith("a.prompts.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "line 1, column 1: no JSON", id="empty"),
        pytest.param(b"\xff\xfe\x00", "is no JSON in UTF-8", id="bytes"),
        pytest.param(b"[" * 100_000, "JSON", id="deep"),
        pytest.param(b"[]", r"holds \[\]; expected", id="list"),
        pytest.param(b"{}", "holds .* expected", id="nothing"),
        pytest.param(b'{"regions": [], "video": 1}', "holds fields regions, video", id="more"),
    ],
)
def test_files_that_are_no_prompts(data, said, tmp_path):
    path = tmp_path / "a.prompts.json"
    path.write_bytes(data)
    with pytest.raises(PromptError, match=said) as caught:
        read_prompts(path, Video(FRAMES, fps=10))
    assert "\n" not in str(caught.value)


def test_all_kinds_of_prompts_are_read(tmp_path):
    regions = [
        {"id": 3, "frame": 1, "box": [1, 2, 30, 40.5]},
        {"id": 9, "rle": RLE, "label": "block"},
        {"id": 3, "frame": 1, "points": [[4, 5], [6.5, 7, 0]], "label": "square"},
    ]
    asked = read_prompts(write(tmp_path / "a.prompts.json", regions), Video(FRAMES, fps=10))
    assert asked.labels == {3: "square", 9: "block"}
    box, mask, points = asked.prompts
    assert box == Box(1, (1, 2, 30, 40.5), 3)
    assert points == Points(1, [(4, 5), (6.5, 7)], [1, 0], 3)
    assert isinstance(mask, Mask)
    assert (mask.frame, mask.object_id) == (0, 9)
    assert (mask.mask == TRUTH[9][0]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(["--sam2", "nana"], "no SAM 2 checkpoint at nana", id="checkpoint"),
        pytest.param(["--prompts", "nowhere"], "'nowhere', which is no folder", id="folder"),
        pytest.param(
            ["--prompts", ".", "--tracks", "auto"], "expected --tracks prompts", id="other tracks"
        ),
    ],
)
def test_options_that_cannot_be_meant(options, said, clips, tmp_path, capsys):
    (tmp_path / "tasks.yaml").write_text(TASKS_YAML)
    command = ["batch", "run", str(clips / "cam"), "--tasks", str(tmp_path / "tasks.yaml")]
    command += ["--out", str(tmp_path / "run"), "-q", "--tracks", "prompts", *options]
    assert cli(command) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert "\n" not in told


def test_as_it_is_typed(clips, tmp_path, capsys):
    (tmp_path / "tasks.yaml").write_text(TASKS_YAML)
    command = ["batch", "run", str(clips / "cam"), "--tasks", str(tmp_path / "tasks.yaml")]
    command += ["--out", str(tmp_path / "run"), "-q", "--tracks", "prompts", "--sam2", "nano"]
    assert cli([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answered"] == 2
    assert cli([*command, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objects"] == 2


def test_a_short_look_ends_behind_the_last_prompt(tmp_path):
    video = Video(draw(1.0)[0], fps=10)
    regions = [{"id": 1, "frame": 5, "box": [25, 20, 55, 50]}]
    path = write(tmp_path / "a.prompts.json", regions)
    tracker, seen = PromptTracker("nano", device="cpu"), []
    tracker.follow(video, path, tmp_path / "t.json", 0.3, lambda: seen.append(1))
    assert set(Tracks.load(tmp_path / "t.json", video=video)[1].frames) <= set(range(6))
    assert len(seen) >= 6


def test_frames_are_decoded_in_the_child_alone(clips, monkeypatch):
    """SAM 2 would have decord open an .mp4 file, where nobody ends it if it hangs."""
    from gar_video.trackers.sam2_frames import LazyImages

    from gar_video.batch.guarded import GuardedVideo
    from gar_video.decoding import decord_reader

    monkeypatch.setattr(decord_reader, "load", lambda: pytest.fail("decord is loaded here"))
    with GuardedVideo(clips / "cam/a.mp4") as video:
        assert LazyImages(video, 64)[0].shape == (3, 64, 64)
