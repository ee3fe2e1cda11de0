"""The shipped nano GAR still means what it says: a small fixed set, with room for bad luck."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import gar_video
from gar_video import GARVideo
from gar_video.train.evaluate import choices, mask_swap, plain

FOLDER = Path(gar_video.__file__).parent / "weights" / "gar-nano"


@pytest.fixture(scope="module")
def gar() -> Iterator[GARVideo]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield GARVideo.from_pretrained("nano", device="cpu")
    torch.set_num_threads(threads)


def test_it_is_small_and_has_a_card() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12e6
    assert "gar_video.train.nano" in (FOLDER / "README.md").read_text()


def test_its_files_name_no_machine() -> None:
    for path in FOLDER.glob("*.json"):
        text = json.dumps(json.loads(path.read_text()))
        assert not re.search(r"/(root|home|tmp|work|Users)/", text), path.name


def test_it_reads_16_bit_weights_as_32_bit_on_cpu(gar: GARVideo) -> None:
    assert {parameter.dtype for parameter in gar.model.parameters()} == {torch.float32}


# Chance is a quarter; the whole set's figures are in the card.
def test_rendered_questions(gar: GARVideo) -> None:
    table = choices(gar, 30)["tables"]["text"]
    assert table["all"]["share"] >= 0.6


def test_the_answer_follows_the_mask(gar: GARVideo) -> None:
    assert mask_swap(gar, 16)["all"]["share"] >= 0.75


def test_clips_that_the_renderer_did_not_draw(gar: GARVideo) -> None:
    table = plain(gar, 12)
    assert {name: table[name]["share"] >= 0.65 for name in ("color", "shape", "direction")} == {
        "color": True,
        "shape": True,
        "direction": True,
    }
