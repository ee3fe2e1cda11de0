"""Packed training sees, token for token and number for number, what inference sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gar_video import masks
from gar_video.generation import Decoder
from gar_video.model import GARModel
from gar_video.processor import GARProcessor
from gar_video.prompt import RegionPrompt, RegionSlot, parse_question
from gar_video.train.architecture import NanoSizes, build_config, build_model
from gar_video.train.asking import RenderedAsker
from gar_video.train.packing import (
    answer_loss,
    embed_packed,
    lay_out,
    run_decoder,
    vision_tokens,
)
from gar_video.train.samples import Plan, Sample, draw_sample, pack
from gar_video.train.shipped import image_settings
from gar_video.train.tokenizer import build_tokenizer

SIZES = NanoSizes(vision_width=32, vision_depth=1, width=32, depth=2, heads=2, mlp=48)
TEXTS = ["There are some objects I am curious about: ", "What color is it?", "red", "left"] * 4


@pytest.fixture(scope="module")
def processor() -> GARProcessor:
    tokenizer = build_tokenizer(TEXTS, vocab_size=320)
    config = build_config(dict(tokenizer.get_vocab()), SIZES)
    return GARProcessor(config, tokenizer, image_settings(SIZES))


@pytest.fixture(scope="module")
def model(processor: GARProcessor) -> GARModel:
    return build_model(processor.config).eval()


def _samples(processor: GARProcessor, plan: Plan, count: int = 2) -> list[Sample]:
    rng = np.random.default_rng(4)
    asker = RenderedAsker(processor, per_clip=5)
    found: list[Sample] = []
    while len(found) < count:
        sample = draw_sample(rng, processor, plan)
        asker(rng, sample)
        if sample.questions:
            found.append(sample)
    return found


def _as_asked(sample: Sample) -> RegionPrompt:
    """The sample as a user's prompt: masks that fill the sample's boxes."""
    side = sample.frames.shape[1]
    boxes = iter(sample.boxes)
    slots = []
    for slot, row in enumerate(sample.visible):
        regions: list[masks.RLE | None] = []
        for seen in row:
            if not seen:
                regions.append(None)
                continue
            x0, y0, x1, y1 = (round(share * side) for share in next(boxes)[1:])
            mask = np.zeros((side, side), bool)
            mask[y0 : y1 + 1, x0 : x1 + 1] = True
            regions.append(masks.encode(mask))
        number = 1 if sample.is_image and len(sample.visible) == 1 else slot
        slots.append(RegionSlot(slot, number, tuple(regions)))
    return RegionPrompt(sample.frames, tuple(slots), sample.is_image)


PLANS = [
    pytest.param(Plan(4, 2), id="two objects in four frames"),
    pytest.param(Plan(3, 1), id="one object"),
    pytest.param(Plan(1, 1, is_image=True), id="photograph"),
]


@pytest.mark.parametrize("plan", PLANS)
def test_prompts_are_the_processors(processor: GARProcessor, plan: Plan) -> None:
    (sample,) = _samples(processor, plan, 1)
    inputs = processor(_as_asked(sample))
    assert inputs.input_ids[0].tolist() == sample.prompt.ids
    batch = pack([sample])
    assert torch.allclose(inputs.boxes[:, 1:], batch.boxes[:, 1:])
    tiles = 2 if plan.is_image else plan.num_frames
    assert inputs.pixel_values.shape[0] == len(batch.frames) == tiles


@pytest.mark.parametrize("plan", PLANS)
def test_packed_losses_are_those_of_each_question_alone(
    processor: GARProcessor, model: GARModel, plan: Plan
) -> None:
    samples = _samples(processor, plan)
    batch = pack(samples)
    per_tile = processor.config.tokens_per_tile
    layout = lay_out(batch, per_tile)
    decoder = Decoder(model, processor.stop_ids)
    with torch.no_grad():
        tiles, regions = vision_tokens(model, batch)
        hidden, _ = run_decoder(model, embed_packed(model, layout, tiles, regions), layout)
        packed, _ = answer_loss(model, hidden, layout)
    alone = []
    first = 0
    for sample in samples:
        # The masks' own union, which boxes cannot give.
        inputs = processor(_as_asked(sample))
        count = len(inputs.pixel_values)
        union = torch.from_numpy(batch.unions[first : first + count]).float()
        first += count
        object.__setattr__(inputs, "mask_values", union[:, None].expand(-1, 3, -1, -1))
        with torch.inference_mode():
            cache = decoder.prefill(model.embed(inputs))
        for question in sample.questions:
            score = decoder.log_likelihoods(cache, [question.ids], [question.answer])[0]
            share = question.weight * min(1.0, 4 / len(question.answer))
            alone.append((-score * share, len(question.answer) * share))
    total, weight = np.sum(alone, axis=0)
    assert float(packed) == pytest.approx(total / weight, rel=1e-4)


def test_questions_are_tokens_of_the_pipelines(processor: GARProcessor) -> None:
    (sample,) = _samples(processor, Plan(4, 2), 1)
    prompt = _as_asked(sample)
    asker = RenderedAsker(processor)
    text = "Where is <1> from <0>?"
    question = asker._question(sample, text, "left of <0>", "where start", (1, 0))
    assert question.ids == processor.question_ids(parse_question(text), prompt)
    assert question.answer == processor.answer_ids(parse_question("left of <0>"), prompt)


def test_tokenizer_keeps_every_text(processor: GARProcessor) -> None:
    for text in ("What colour is <1>, 37 or 4?", "Ünïcode ✓", "a  b\n\nc"):
        assert processor.decode(processor.encode_plain(text)) == text
    digits = processor.encode_plain("37")
    assert len(digits) == 2
    assert len(set(processor.letter_ids(4))) == 4
