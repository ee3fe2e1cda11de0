"""Windows that are not filled up: sam2's own results, for less."""

from __future__ import annotations

import pytest
import torch
from gar_video.trackers.sam2_windows import attend_in_windows, unpadded_windows
from sam2.modeling.backbones.hieradet import MultiScaleAttention, MultiScaleBlock
from sam2.modeling.backbones.utils import window_partition
from torch import nn


@pytest.fixture(autouse=True)
def _inferring():
    with torch.inference_mode():
        yield


def block_of(size, *, pooled=False, seed=0):
    torch.manual_seed(seed)
    stride = (2, 2) if pooled else None
    block = MultiScaleBlock(8, 16 if pooled else 8, 2, q_stride=stride, window_size=size).eval()
    block.attn.qkv.bias.normal_(std=2.0)  # zeros must count for something
    return block


def trunk_of(*blocks):
    trunk = nn.Module()
    trunk.blocks = nn.ModuleList(blocks)
    return trunk


@pytest.mark.parametrize(
    ("height", "width", "size", "pooled"),
    [
        pytest.param(16, 16, 14, False, id="little left over"),
        pytest.param(7, 10, 4, False, id="odd"),
        pytest.param(3, 3, 8, False, id="smaller than a window"),
        pytest.param(8, 6, 4, False, id="one side whole"),
        pytest.param(8, 8, 4, False, id="both whole"),
        pytest.param(16, 10, 14, True, id="queries pooled"),
        pytest.param(7, 7, 8, True, id="a pool over the edge"),
    ],
)
def test_it_gives_what_sam2_gives(height, width, size, pooled):
    block = block_of(size, pooled=pooled)
    states = torch.randn(2, height, width, 8)
    own = block(states)
    with unpadded_windows(trunk_of(block)):
        found = block(states)
    torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-5)
    assert "forward" not in vars(block)


def test_padding_is_not_computed(monkeypatch):
    block = block_of(14)
    seen = []
    own = block.attn.qkv.forward
    monkeypatch.setattr(
        block.attn.qkv, "forward", lambda x: seen.append(x[..., 0].numel()) or own(x)
    )
    states = torch.randn(1, 16, 16, 8)
    block(states)
    with unpadded_windows(trunk_of(block)):
        block(states)
    assert seen == [28 * 28, 16 * 16]


def test_zeros_weigh_as_many_as_they_are():
    """Without their weight the padded keys would count once."""
    attention = MultiScaleAttention(8, 8, 2).eval()
    attention.qkv.bias.normal_(std=2.0)
    values = torch.randn(1, 3, 3, 8)
    own = attention(window_partition(values, 8)[0])[:, :3, :3]
    torch.testing.assert_close(attend_in_windows(attention, values, 8), own, rtol=1e-4, atol=1e-5)
    once = attend_in_windows(attention, values, 3)
    assert not torch.allclose(once, own, atol=1e-2)


def test_other_blocks_are_left_to_sam2():
    whole, other = block_of(0), nn.Identity()
    with unpadded_windows(trunk_of(whole, other)):
        assert "forward" not in vars(whole)
        assert "forward" not in vars(other)
    with unpadded_windows(nn.Identity()):  # a trunk without blocks
        pass
