"""Memory attention of several objects at once: sam2's own results, for less."""

from __future__ import annotations

import pytest
import torch
from gar_video.trackers import sam2_attention
from gar_video.trackers.sam2 import Sam2Tracker
from gar_video.trackers.sam2_attention import attend, shared_frame
from gar_video.trackers.sam2_config import nano_config

SIDE, MAPS, POINTERS = 4, 3, 8


@pytest.fixture(scope="module")
def attention():
    tracker = Sam2Tracker.from_config(nano_config(64), seed=0, device="cpu")
    return tracker.predictor.memory_attention


@pytest.fixture(autouse=True)
def _inferring():
    with torch.inference_mode():
        yield


def inputs(objects, maps=MAPS, pointers=POINTERS):
    """Return the frame's features, the objects' memories, and the places of both."""
    random = torch.Generator().manual_seed(objects)
    shapes = [(SIDE**2, 1, 64), (maps * SIDE**2 + pointers, objects, 16)]
    made = [torch.randn(shape, generator=random) for shape in shapes * 2]
    frame, memory, place, memory_place = made
    return {
        "curr": [frame.expand(-1, objects, -1)],
        "memory": memory,
        "curr_pos": [place.expand(-1, objects, -1)],
        "memory_pos": memory_place,
        "num_obj_ptr_tokens": pointers,
    }


@pytest.mark.parametrize("scores", [2**21, 64], ids=["at once", "in parts"])
@pytest.mark.parametrize("objects", [1, 2, 5])
@pytest.mark.parametrize("pointers", [0, POINTERS])
def test_it_gives_what_sam2_gives(attention, monkeypatch, objects, pointers, scores):
    monkeypatch.setattr(sam2_attention, "_SCORES", scores)
    monkeypatch.setattr(sam2_attention, "_FEWEST_ROWS", 5)
    given = inputs(objects, pointers=pointers)
    own = attention(**given)
    found = attend(attention, **given)
    assert found.shape == own.shape == (SIDE**2, objects, 64)
    torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("flag", ["pos_enc_at_attn", "pos_enc_at_cross_attn_queries"])
def test_places_are_added_where_the_model_wants_them(attention, monkeypatch, flag):
    for layer in attention.layers:
        monkeypatch.setattr(layer, flag, True)
    given = inputs(2)
    torch.testing.assert_close(
        attend(attention, **given), attention(**given), rtol=1e-4, atol=1e-5
    )  # fmt: skip


def test_the_module_is_left_as_it_was(attention):
    before = dict(vars(attention))
    given = inputs(2)
    own = attention(**given)
    with shared_frame(attention):
        assert not torch.equal(attention(**given), own)  # rounded otherwise
    assert vars(attention) == before
    assert torch.equal(attention(**given), own)


def test_other_kinds_of_attention_are_left_to_sam2(attention, monkeypatch):
    monkeypatch.setattr(attention.layers[0].self_attn, "num_heads", 2)
    before = dict(vars(attention))
    with shared_frame(attention):
        assert vars(attention) == before
