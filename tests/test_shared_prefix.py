"""Attention on a shared prompt equals attention on a copy of it in every row."""

from __future__ import annotations

import pytest
import torch

from gar_video import shared_prefix
from gar_video.shared_prefix import SharedPrefixBatch, attend

SHAPES = {
    "grouped heads": (3, 8, 2, 1, 37, 5),
    "a head each": (2, 4, 4, 1, 11, 1),
    "suffixes": (4, 6, 2, 7, 23, 7),
    "further tokens at once": (2, 4, 1, 3, 9, 8),
}


def drawn(batch, heads, key_heads, count, long, own, dtype=torch.float32):
    torch.manual_seed(0)
    make = lambda *shape: torch.randn(*shape).to(dtype)  # noqa: E731
    prefix = make(1, key_heads, long, 16), make(1, key_heads, long, 16)
    rows = make(batch, key_heads, own, 16), make(batch, key_heads, own, 16)
    return make(batch, heads, count, 16), prefix, rows


def stock(query, prefix, own, hidden_from, scaling):
    """torch's own attention over keys that are repeated in every row."""
    batch, heads = query.shape[:2]
    keys, values = (
        torch.cat([far.expand(batch, -1, -1, -1), near], 2).repeat_interleave(
            heads // far.shape[1], 1
        )
        for far, near in zip(prefix, own, strict=True)
    )
    seen = torch.ones(batch, query.shape[2], prefix[0].shape[2], dtype=torch.bool)
    mask = torch.cat([seen, ~hidden_from], 2)[:, None]
    return torch.nn.functional.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, scale=scaling
    )


@pytest.mark.parametrize("scores", [2**21, 64], ids=["whole", "in pieces"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_equals_attention_over_copies(shape, scores, monkeypatch):
    monkeypatch.setattr(shared_prefix, "_CPU_SCORES", scores)
    query, prefix, own = drawn(*shape)
    hidden_from = torch.rand(shape[0], shape[3], shape[5]) < 0.4
    hidden_from[..., 0] = False
    expected = stock(query, prefix, own, hidden_from, 0.25)
    assert torch.allclose(attend(query, prefix, own, hidden_from, 0.25), expected, atol=1e-6)


def test_large_scores_do_not_overflow():
    query, prefix, own = drawn(*SHAPES["suffixes"])
    hidden_from = torch.zeros(4, 7, 7, dtype=torch.bool)
    for large in ((300 * prefix[0], own[0]), (prefix[0], 300 * own[0])):
        pair = (large[0], prefix[1]), (large[1], own[1])
        expected = stock(query, *pair, hidden_from, 1.0)
        assert torch.allclose(attend(query, *pair, None, 1.0), expected, atol=1e-5)


def test_bfloat16_is_summed_in_float32():
    query, prefix, own = drawn(*SHAPES["grouped heads"], dtype=torch.bfloat16)
    hidden_from = torch.zeros(3, 1, 5, dtype=torch.bool)
    doubled = [tuple(x.double() for x in pair) for pair in (prefix, own)]
    exact = stock(query.double(), *doubled, hidden_from, 0.25)
    got = attend(query, prefix, own, None, 0.25)
    assert got.dtype == torch.bfloat16
    assert (got.double() - exact).abs().max() < 2**-8


def test_the_prompt_is_not_copied(loaded_gar):
    """Rows hold their own tokens only, and the prompt's keys are the prefix's very own."""
    from gar_video.generation import Decoder

    decoder = Decoder(loaded_gar.model, loaded_gar.processor.stop_ids)
    with torch.no_grad():
        embeds = loaded_gar.model.get_input_embeddings()(torch.arange(50, 90)[None])
    prefix = decoder.prefill(embeds)
    rows = SharedPrefixBatch(loaded_gar.model.language_model, prefix.layers_held(), 5, 12)
    assert rows._prefix[0][0].data_ptr() == prefix.layers[0].keys.data_ptr()
    assert {tuple(keys.shape[:1] + keys.shape[2:3]) for keys, _ in rows._own} == {(5, 12)}
