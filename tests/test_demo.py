from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from gar_video import CheckpointError, GARVideoError, Tracks, Video
from gar_video.cli import run
from gar_video.demo import overlap, run_demo, set_stage


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """One demonstration, and what it said."""
    folder = tmp_path_factory.mktemp("demo") / "new"
    lines: list[str] = []
    return folder, run_demo(folder, seed=1, device="cpu", say=lines.append), "\n".join(lines)


def test_demo_writes_what_it_says(shown):
    folder, result, said = shown
    assert all(path.is_file() and path.name in said for path in result.files)
    assert str(folder) in said
    drawn, clip = Video(folder / "annotated.mp4"), Video(folder / "clip.mp4")
    assert (len(drawn), drawn.resolution_wh) == (len(clip), clip.resolution_wh)
    # Words and outlines, not the encoder's noise.
    changed = np.abs(drawn[5].astype(int) - clip[5]).max(-1) > 60
    assert 0.01 < changed.mean() < 0.5
    assert Image.open(folder / "sheet.png").size[0] > 1000
    assert Tracks.load(folder / "tracks.json", video=clip).object_ids == (1, 2)


def test_demo_describes_asks_and_chooses(shown):
    folder, result, said = shown
    described, asked, (choice,) = result.answers[:2], result.answers[2:5], result.answers[5:]
    assert [answer.objects for answer in described] == [(1,), (2,)]
    assert len(asked) == 3
    assert sum(choice.probabilities) == pytest.approx(1)
    assert len(choice.options) == 4
    assert len(result.right) == 6
    listed = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    assert [entry["text"] for entry in listed] == [answer.text for answer in result.answers]
    told = [line for line in said.splitlines() if "truth" in line and "overlap" not in line]
    assert len(told) == 6
    assert said.count("answer  ") == 5
    for answer in result.answers:
        assert answer.text in said


@pytest.mark.parametrize("seed", [3, 4])
def test_what_is_pointed_at_is_the_object(tmp_path, seed):
    stage = set_stage(seed, tmp_path)
    first, second = stage.tracks.object_ids
    (x, y), *_ = stage.click.xy
    assert stage.tracks[first].mask(stage.click.frame)[int(y), int(x)]
    assert stage.box.xyxy == tuple(stage.tracks[second].box_xyxy(stage.box.frame))
    for prompt in (stage.click, stage.box):
        prompt.check(len(stage.video), stage.video.resolution_wh)
    kinds = [question.kind for question in stage.questions]
    assert len(kinds) == len(set(kinds)) or len(kinds) == 3
    assert stage.choice.kind not in kinds
    assert stage.choice.options[stage.choice.answer_index] == stage.choice.answer


def test_seeds_give_other_clips_and_the_same_seed_the_same(tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        set_stage(seed, folder)
    one, same, other = ((folder / "clip.mp4").read_bytes() for folder in folders)
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("found", "true", "share"),
    [
        pytest.param([4, 4, 4], [4, 4, 4], 1.0, id="equal"),
        pytest.param([2, 4, 4], [4, 4, 4], (0.5 + 1 + 1) / 3, id="half-in-one-frame"),
        pytest.param([4, 4, 0], [4, 4, 0], 1.0, id="gone-in-both"),
        pytest.param([4, 4, 4], [4, 4, 0], 2 / 3, id="said-to-be-there"),
        pytest.param([4, 0, 0], [4, 4, 4], 1 / 3, id="lost"),
    ],
)
def test_overlap(found, true, share):
    def track(widths):
        masks = np.zeros((3, 4, 8), bool)
        for frame, width in enumerate(widths):
            masks[frame, :, :width] = True
        return Tracks.from_masks({1: masks})[1]

    assert overlap(track(found), track(true)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        pytest.param({"model": "none"}, CheckpointError, id="no-model"),
        pytest.param({"sam2": "none"}, CheckpointError, id="no-sam2"),
        pytest.param({"seed": -1}, GARVideoError, id="negative-seed"),
    ],
)
def test_what_cannot_be_shown(tmp_path, given, error):
    with pytest.raises(error):
        run_demo(tmp_path, device="cpu", say=lambda _: None, **given)


def test_out_is_a_file(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run(["demo", "--out", str(tmp_path / "file")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: cannot make the folder")
    assert err.count("\n") == 1
