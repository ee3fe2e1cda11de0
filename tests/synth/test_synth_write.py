"""What is written: clips that decode to what was drawn, published layouts, and the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from gar_video import Tracks, Video, masks
from gar_video.cli import run
from gar_video.errors import GARVideoError
from gar_video.synth.benchmarks import (
    DESCRIPTIONS_FILE,
    QUESTIONS_FILE,
    write_videorefer_d,
    write_videorefer_q,
)
from gar_video.synth.descriptions import read
from gar_video.synth.kinds import TYPES
from gar_video.synth.render import render
from gar_video.synth.truth import sample
from gar_video.synth.write import clip_seed, write_clip

SMALL = (96, 64)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder / "a.mp4", 5, "full", resolution_wh=(160, 120))
    return folder


@pytest.fixture(scope="module")
def benchq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("q") / "bench"
    write_videorefer_q(folder, 30, 2, resolution_wh=SMALL)
    return folder


def scene_of(seed: int, index: int, level: str, size: tuple[int, int]):
    return sample(clip_seed(seed, index), level, aspect=size[0] / size[1])[0]


def test_clip_decodes_to_what_was_drawn(clip: Path) -> None:
    scene = scene_of(5, 0, "full", (160, 120))
    frames, drawn = render(scene, None, (160, 120))
    video = Video(clip / "a.mp4")
    assert len(video) == scene.num_frames
    assert video.resolution_wh == (160, 120)
    assert float(video.fps) == 15
    shown = np.stack([video[i] for i in range(len(video))])
    error = np.abs(shown.astype(float) - frames)
    assert error.mean() < 6
    tracks = Tracks.load(clip / "a.tracks.json", video=video)
    assert tracks.object_ids == tuple(t.object_id for t in scene.objects)
    for k, object_id in enumerate(tracks.object_ids):
        for t in range(0, scene.num_frames, 5):
            found = tracks[object_id].mask(t)
            expected = drawn[k, t]
            assert (found is None and not expected.any()) or (found == expected).all()
    assert tracks[1].label == (
        f"{scene.objects[0].size} {scene.objects[0].color} {scene.objects[0].shape}"
    )


def test_truth_is_written_beside_the_clip(clip: Path) -> None:
    truth = json.loads((clip / "a.truth.json").read_text())
    scene = scene_of(5, 0, "full", (160, 120))
    assert truth["seed"] == 5
    assert [t["shape"] for t in truth["scene"]["objects"]] == [t.shape for t in scene.objects]
    assert len(truth["objects"][0]["centre"]) == scene.num_frames


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        pytest.param("t.txt", "mot", id="mot"),
        pytest.param("t.json", "coco_video", id="coco"),
        pytest.param("t", "davis", id="davis folder"),
    ],
)
def test_tracks_are_written_in_the_asked_format(
    tmp_path: Path, name: str, format_name: str
) -> None:
    write_clip(
        tmp_path / "a.mp4",
        1,
        resolution_wh=SMALL,
        num_objects=2,
        tracks_path=tmp_path / name,
        tracks_format=format_name,
    )
    tracks = Tracks.load(tmp_path / name, video=Video(tmp_path / "a.mp4"), format=format_name)
    assert len(tracks) == 2


def test_same_seed_same_bytes_here_and_in_another_process(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    write_clip(tmp_path / "one" / "c.mp4", 9, resolution_wh=SMALL, duration_s=2)
    write_videorefer_q(tmp_path / "one" / "q", 5, 4, resolution_wh=SMALL)
    write_videorefer_d(tmp_path / "one" / "d", 2, 4, resolution_wh=SMALL)
    code = (
        "from gar_video.cli import run; import sys; "
        "codes = [run(line.split()) for line in sys.argv[1:]]; sys.exit(max(codes))"
    )
    lines = [
        "synth clip --seed 9 --size 96x64 --seconds 2 --out two/c.mp4",
        "synth videorefer-q --seed 4 --count 5 --size 96x64 --out two/q",
        "synth videorefer-d --seed 4 --count 2 --size 96x64 --out two/d",
    ]
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    command = [sys.executable, "-c", code, *lines]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    one, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert one == two
    assert len(one) > 60


def test_another_seed_other_bytes(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 1, resolution_wh=SMALL, duration_s=1)
    write_clip(tmp_path / "b.mp4", 2, resolution_wh=SMALL, duration_s=1)
    assert (tmp_path / "a.mp4").read_bytes() != (tmp_path / "b.mp4").read_bytes()


def test_benchq_has_the_published_layout(benchq: Path) -> None:
    items = json.loads((benchq / QUESTIONS_FILE).read_text())
    assert [item["id"] for item in items] == list(range(30))
    assert Counter(item["type"] for item in items) == dict.fromkeys(TYPES, 6)
    for item in items:
        names = re.findall(r"<object(\d)><region>", item["Question"])
        assert len(names) == len(set(names)) == len(item["annotation"])
        assert "<region>" not in "".join(item["options"])
        assert [option[:4] for option in item["options"]] == ["(A) ", "(B) ", "(C) ", "(D) "]
        assert item["Answer"] in item["options"]
        assert isinstance(item["frame_idx"], str)
        pictures = sorted((benchq / item["video"]).glob("*.jpg"))
        for regions in item["annotation"]:
            assert 28 <= len(regions) <= 32
            assert item["frame_idx"] in regions
            assert all(0 <= int(frame) < len(pictures) for frame in regions)
            assert all(set(entry) == {"segmentation"} for entry in regions.values())


def test_benchq_masks_are_the_objects_in_order_of_mention(benchq: Path) -> None:
    items = json.loads((benchq / QUESTIONS_FILE).read_text())
    out_of_order = 0
    for item in items:
        scene = scene_of(2, int(item["video"][-5:]), "basic", SMALL)
        ids = [int(n) for n in re.findall(r"<object(\d)><region>", item["Question"])]
        out_of_order += ids != sorted(ids)
        for object_id, regions in zip(ids, item["annotation"], strict=True):
            frames = [int(frame) for frame in regions]
            drawn = render(scene, frames, SMALL)[1][object_id - 1]
            for mask, entry in zip(drawn, regions.values(), strict=True):
                if entry["segmentation"] is None:
                    assert not mask.any()
                else:
                    assert (masks.decode(entry["segmentation"]) == mask).all()
    assert out_of_order > 2


def test_benchq_pictures_are_the_frames(benchq: Path) -> None:
    item = json.loads((benchq / QUESTIONS_FILE).read_text())[0]
    scene = scene_of(2, int(item["video"][-5:]), "basic", SMALL)
    frames = render(scene, None, SMALL)[0]
    pictures = sorted((benchq / item["video"]).glob("*.jpg"))
    assert len(pictures) == scene.num_frames
    for picture, frame in zip(pictures[::7], frames[::7], strict=True):
        shown = cv2.imread(str(picture))[..., ::-1].astype(float)
        assert np.abs(shown - frame).mean() < 6


def test_benchd_has_captions_and_clips(tmp_path: Path) -> None:
    write_videorefer_d(tmp_path / "d", 3, 1, resolution_wh=SMALL)
    items = json.loads((tmp_path / "d" / DESCRIPTIONS_FILE).read_text())
    assert len(items) == 3
    for item in items:
        scene = scene_of(1, item["id"], "basic", SMALL)
        facts = read(item["caption"])
        assert facts.color in {t.color for t in scene.objects}
        assert len(Video(tmp_path / "d" / item["video"])) == scene.num_frames
        assert len(item["annotation"]) == 1
        chosen = masks.decode(item["annotation"][0][item["frame_idx"]]["segmentation"])
        drawn = render(scene, [int(item["frame_idx"])], SMALL)[1][:, 0]
        mine = [t for t, mask in zip(scene.objects, drawn, strict=True) if (mask == chosen).all()]
        assert facts.shape == mine[0].shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param("clip --out a.avi", "expected a name ending in .mp4", id="ending"),
        pytest.param("clip --out no/a.mp4", "there is no folder", id="folder"),
        pytest.param("clip --out a.mp4 --size 95x64", "two even numbers", id="odd size"),
        pytest.param("clip --out a.mp4 --size big", "WIDTHxHEIGHT", id="no size"),
        pytest.param("clip --out a.mp4 --objects 10", "--objects", id="objects"),
        pytest.param("clip --out a.mp4 --seconds 900", "0.5 to 60 seconds", id="too long"),
        pytest.param("clip --out a.mp4 --seed -1", "--seed", id="seed"),
        pytest.param("clip --out a.mp4 --level hard", "basic", id="level"),
        pytest.param("clip --out a.mp4 --tracks-format jpg", "jpg", id="format"),
        pytest.param("videorefer-q --out full", "not an empty folder", id="folder in use"),
        pytest.param("videorefer-q --out q --count 0", "--count", id="count"),
        pytest.param("videorefer-d --out no/d", "there is no folder", id="no parent"),
    ],
)
def test_mistakes_end_in_one_line_and_nothing_written(
    arguments: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert run(["synth", *arguments.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert message in said.err
    assert set(digests(tmp_path)) == {"full/mine.txt"}


def test_paths_written_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["synth", "clip", "--out", "a.mp4", "--size", "64x64", "--seconds", "1"]) == 0
    assert capsys.readouterr().out.split() == ["a.mp4", "a.tracks.json", "a.truth.json"]


def test_a_stopped_folder_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_videorefer_q(tmp_path / "q", 5, 0, resolution_wh=SMALL, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range(seed: int) -> None:
    with pytest.raises(GARVideoError, match="expected a seed"):
        clip_seed(seed)
