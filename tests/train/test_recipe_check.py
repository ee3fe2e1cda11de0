"""Checking a checkpoint on sources of samples, and what has changed between two."""

from __future__ import annotations

import pytest
from recipe_tiny import as_video, make_checkpoint, two_squares

from gar_video import GARVideo
from gar_video.train.recipe.check import Checked, check, difference
from gar_video.train.recipe.errors import TrainingError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_checkpoint(folder / "gar")
    two_squares(folder / "data")
    return folder


def test_what_is_right_is_what_is_said(tiny, monkeypatch):
    data = {"kind": "jsonl", "path": str(tiny / "data" / "data.jsonl"), "frames": [2]}
    found = check(tiny / "gar", data, 6, device="cpu")
    assert found == check(tiny / "gar", data, 6, device="cpu")
    assert {one.clip for one in found} == set(range(6))
    colors = {one.answer for one in found if one.answer in ("red", "blue")}
    assert colors
    assert not any(one.right for one in found)  # untrained
    gar = GARVideo.from_pretrained(tiny / "gar", device="cpu")
    said = gar.ask(*as_video(0), "What color is <1>?", frames=2, max_new_tokens=4).text
    assert said not in colors


def test_missing_files_are_told_of(tiny):
    with pytest.raises(TrainingError, match="no data file"):
        check(tiny / "gar", {"kind": "jsonl", "path": "nowhere.jsonl"}, 1, device="cpu")


def asked(*right: bool, clips: int = 1) -> list[Checked]:
    return [Checked(n // clips, "color", "red", good) for n, good in enumerate(right)]


@pytest.mark.parametrize(
    ("before", "after", "gain"),
    [
        pytest.param([True] * 8, [True] * 8, 0.0, id="the same"),
        pytest.param([True] * 8, [False] * 4 + [True] * 4, -0.5, id="half is lost"),
        pytest.param([False] * 8, [True] * 8, 1.0, id="all is won"),
    ],
)
def test_the_change_is_paired(before, after, gain):
    found, low, high = difference(asked(*before), asked(*after))
    assert found == pytest.approx(gain)
    assert low <= gain <= high
    assert (low == high) == (gain in (0.0, 1.0))


def test_questions_about_one_clip_count_together():
    right = [True] * 16 + [False] * 16
    lost = [False] * 16 + [False] * 16
    alone = difference(asked(*right), asked(*lost))
    together = difference(asked(*right, clips=16), asked(*lost, clips=16))
    assert together[2] - together[1] > 2 * (alone[2] - alone[1])
