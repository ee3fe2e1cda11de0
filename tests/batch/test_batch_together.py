"""Prompts run together give what they give alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gar_video import Tracks, Video
from gar_video.batch.together import ManyDecoder, Rows
from gar_video.encoding import encode, look
from gar_video.generation import Decoder, GenerationSettings
from gar_video.prompt import DESCRIBE, parse_question

QUESTIONS = ["What is <{0}>?", "Which way does <{0}> go, and why would it do that?"]


@pytest.fixture
def prompts(gar, squares):
    video, tracks = squares
    photo = Video(np.random.default_rng(1).integers(0, 255, (40, 90, 3), dtype=np.uint8))
    square = np.zeros((1, 40, 90), bool)
    square[0, 5:20, 50:70] = True
    shots = [
        (video, tracks, 1, 2),
        (video, tracks, 3, 6),
        (photo, Tracks.from_masks({4: square}), 4, 1),
    ]
    found = []
    for clip, there, object_id, frames in shots:
        view = look(
            clip, there, (object_id,), gar.processor, frames=frames, time=None, text_tokens=40
        )
        found.append((object_id, view.prompt()))
    return found


@pytest.fixture
def asked(gar, prompts):
    """Rows ``(prompt, suffix)``: one question on the first, two on the others."""
    rows = []
    for at, (object_id, prompt) in enumerate(prompts):
        for question in QUESTIONS[: 1 + (at > 0)]:
            parts = parse_question(question.format(object_id))
            rows.append((at, gar.processor.question_ids(parts, prompt)))
    return rows


def _alone(gar, prompts):
    decoder = Decoder(gar.model, gar.processor.stop_ids)
    return decoder, [encode(decoder, gar.processor, prompt).cache for _, prompt in prompts]


def test_rows_score_as_alone(gar, prompts, asked):
    decoder, caches = _alone(gar, prompts)
    many = ManyDecoder(gar.model, gar.processor.stop_ids)
    encoded = many.encode([gar.processor(prompt) for _, prompt in prompts])
    assert encoded.lengths == tuple(cache.length for cache in caches)
    rows = Rows(encoded, tuple(at for at, _ in asked))
    suffixes = [suffix for _, suffix in asked]
    together = many.next_token_logits(rows, suffixes)
    alone = torch.cat([decoder.next_token_logits(caches[at], [suffix]) for at, suffix in asked])
    torch.testing.assert_close(together, alone, atol=2e-4, rtol=1e-4)
    answers = [suffix[:3] for suffix in suffixes]
    likely = many.log_likelihoods(rows, suffixes, answers)
    single = [
        decoder.log_likelihoods(caches[at], [suffix], [suffix[:3]])[0] for at, suffix in asked
    ]
    assert likely == pytest.approx(single, abs=1e-3)


def test_rows_go_on_as_alone(gar, prompts, asked):
    decoder, caches = _alone(gar, prompts)
    many = ManyDecoder(gar.model, gar.processor.stop_ids)
    encoded = many.encode([gar.processor(prompt) for _, prompt in prompts])
    settings = GenerationSettings(max_new_tokens=8)
    rows = Rows(encoded, tuple(at for at, _ in asked))
    done = many.generate(rows, [suffix for _, suffix in asked], settings)
    alone = [decoder.generate(caches[at], [suffix], settings)[0] for at, suffix in asked]
    assert done == alone


def test_rows_leave_when_they_end(gar, prompts, asked):
    decoder, caches = _alone(gar, prompts)
    settings = GenerationSettings(max_new_tokens=6)
    first = decoder.generate(caches[asked[0][0]], [asked[0][1]], settings)[0].token_ids
    # A token that the first row says in the middle ends it there.
    stops = [*gar.processor.stop_ids, first[2]]
    many = ManyDecoder(gar.model, stops)
    encoded = many.encode([gar.processor(prompt) for _, prompt in prompts])
    rows = Rows(encoded, tuple(at for at, _ in asked))
    done = many.generate(rows, [suffix for _, suffix in asked], settings)
    single = Decoder(gar.model, stops)
    assert done == [single.generate(caches[at], [suffix], settings)[0] for at, suffix in asked]
    assert len(done[0].token_ids) < 6


def test_a_description_needs_no_mention(gar, prompts):
    many = ManyDecoder(gar.model, gar.processor.stop_ids)
    encoded = many.encode([gar.processor(prompts[0][1])])
    suffix = gar.processor.question_ids([DESCRIBE], prompts[0][1])
    (done,) = many.generate(Rows(encoded, (0,)), [suffix], GenerationSettings(max_new_tokens=2))
    assert len(done.token_ids) <= 2
