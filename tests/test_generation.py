from __future__ import annotations

import pytest
import torch
from transformers.cache_utils import DynamicCache

from gar_video import PromptError
from gar_video.generation import Decoder, GenerationSettings, PrefixCache

SUFFIXES = [[30], [31, 32, 33, 34, 35, 36, 37], [40, 41, 42]]


@pytest.fixture
def decoder(loaded_gar):
    return Decoder(loaded_gar.model, loaded_gar.processor.stop_ids)


@pytest.fixture
def embeds(loaded_gar):
    with torch.no_grad():
        ids = torch.arange(50, 90)[None]
        return loaded_gar.model.get_input_embeddings()(ids)


def greedy_without_cache(decoder, embeds, suffix, count):
    table = decoder.model.get_input_embeddings()
    tokens = []
    while len(tokens) < count:
        words = table(torch.tensor([[*suffix, *tokens]]))
        logits = decoder.model.mllm(inputs_embeds=torch.cat([embeds, words], 1), use_cache=False)
        tokens.append(int(logits.logits[0, -1].argmax()))
        if tokens[-1] in decoder.stop_ids:
            break
    return decoder.finished(tokens)


@torch.no_grad()
def test_batch_equals_single_equals_uncached(decoder, embeds):
    settings = GenerationSettings(max_new_tokens=10)
    prefix = decoder.prefill(embeds)
    together = decoder.generate(prefix, SUFFIXES, settings)
    for suffix, generated in zip(SUFFIXES, together, strict=True):
        assert decoder.generate(prefix, [suffix], settings) == [generated]
        assert greedy_without_cache(decoder, embeds, suffix, 10) == generated


@torch.no_grad()
def test_rows_that_end_leave_the_batch(decoder, embeds):
    """Make a token of one row's answer a stop token: that row ends, the others go on."""
    settings = GenerationSettings(max_new_tokens=8)
    prefix = decoder.prefill(embeds)
    free = decoder.generate(prefix, SUFFIXES, settings)
    stop = free[1].token_ids[2]
    stopping = Decoder(decoder.model, [*decoder.stop_ids, stop])
    ended = stopping.generate(prefix, SUFFIXES, settings)
    for before, after in zip(free, ended, strict=True):
        tokens = list(before.token_ids)
        cut = tokens[: tokens.index(stop)] if stop in tokens else tokens
        assert list(after.token_ids) == cut
        assert after.finish_reason == ("stop" if stop in tokens else before.finish_reason)
    sizes = [len(step) for step in stopping.steps(prefix, SUFFIXES, settings)]
    assert sizes[0] == 3
    assert sizes == sorted(sizes, reverse=True)


def test_answers_that_share_a_question_are_likely_as_each_alone(decoder, embeds):
    prefix = decoder.prefill(embeds)
    asked = [SUFFIXES[1], SUFFIXES[1], SUFFIXES[1], SUFFIXES[2], SUFFIXES[2]]
    answers = [[3, 4], [9], [5, 6, 7], [3, 4], [8, 8, 8, 8]]
    together = decoder.log_likelihoods(prefix, asked, answers)
    alone = [
        decoder.log_likelihoods(prefix, [suffix], [answer])[0]
        for suffix, answer in zip(asked, answers, strict=True)
    ]
    assert together == pytest.approx(alone, abs=1e-3)
    assert len(set(map(round, alone))) > 2


def test_prefix_is_left_as_it_was(decoder, embeds):
    prefix = decoder.prefill(embeds)
    length = prefix.length
    keys = prefix.layers[0].keys[:, :, :length].clone()
    decoder.generate(prefix, SUFFIXES[:1], GenerationSettings(max_new_tokens=5))
    decoder.next_token_logits(prefix, SUFFIXES)
    decoder.log_likelihoods(prefix, SUFFIXES[:1], [[3, 4]])
    assert prefix.length == length == embeds.shape[1]
    assert torch.equal(prefix.layers[0].keys[:, :, :length], keys)


def test_prefix_is_rewound_after_an_interruption(decoder, embeds, monkeypatch):
    prefix = decoder.prefill(embeds)
    run = decoder.model.language_model.forward
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(*args, **kwargs)

    monkeypatch.setattr(decoder.model.language_model, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decoder.generate(prefix, SUFFIXES[:1], GenerationSettings(max_new_tokens=9))
    assert prefix.length == embeds.shape[1]


@torch.no_grad()
def test_cache_equals_the_stock_one(decoder, embeds):
    stock = DynamicCache()
    decoder.model.language_model(inputs_embeds=embeds, past_key_values=stock, use_cache=True)
    prefix = decoder.prefill(embeds)
    for ours, theirs in zip(prefix.layers, stock.layers, strict=True):
        assert torch.equal(ours.keys[:, :, : ours.length], theirs.keys)
        assert torch.equal(ours.values[:, :, : ours.length], theirs.values)


def test_cache_does_not_copy_at_each_token():
    cache = PrefixCache(1)
    new = torch.ones(1, 2, 100, 8)
    cache.update(new, new, 0)
    held = cache.layers[0].keys.data_ptr()
    for _ in range(200):
        cache.update(new[:, :, :1], new[:, :, :1], 0)
    assert cache.layers[0].keys.data_ptr() == held
    assert cache.length == 300
    assert cache.num_bytes == 2 * 356 * 2 * 8 * 4


def test_sampling_follows_the_distribution_and_top_p(decoder, embeds):
    prefix = decoder.prefill(embeds)
    logits = decoder.next_token_logits(prefix, SUFFIXES[:1])[0]
    likeliest = set(logits.topk(3).indices.tolist())
    top = float(logits.softmax(-1).sort(descending=True).values[:2].sum())
    drawn = set()
    for seed in range(30):
        settings = GenerationSettings(max_new_tokens=1, temperature=1.0, top_p=top, seed=seed)
        drawn.update(next(decoder.steps(prefix, SUFFIXES[:1], settings))[0][1:])
        prefix.rewind(embeds.shape[1])
    assert 1 < len(drawn) <= 3
    assert drawn <= likeliest


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": True},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_p": 1.1},
    ],
    ids=str,
)
def test_bad_settings(settings):
    with pytest.raises(PromptError, match="expected"):
        GenerationSettings(**settings)
