"""A few steps of nano GAR's own training, as ``python -m gar_video.train.nano`` takes them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from gar_video import GARVideo, Tracks
from gar_video.processor import GARProcessor
from gar_video.train.architecture import build_model
from gar_video.train.asking import RenderedAsker
from gar_video.train.fact_heads import FactHeads
from gar_video.train.guiding import MentionHeads
from gar_video.train.language import Curve, Learner, Stage, draw_steps
from gar_video.train.nano import ship, train
from gar_video.train.optim import Both
from gar_video.train.region_heads import RegionHeads
from gar_video.train.samples import Plan, draw_sample
from gar_video.train.shipped import nano_processor
from gar_video.train.vision import split_parameters

_STAGE = Stage(
    "answers", 1, frames={1: 0.5, 2: 0.5}, objects={1: 0.5, 2: 0.5}, full=0.0, tokens=700
)


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> GARProcessor:
    return nano_processor(tmp_path_factory.mktemp("tokenizer"))


@pytest.mark.slow
def test_training_lowers_the_loss(processor: GARProcessor) -> None:
    torch.manual_seed(0)
    model = build_model(processor.config)
    width = model.get_input_embeddings().weight.shape[1]
    learner = Learner(model, processor, RegionHeads(width), FactHeads(width), MentionHeads(width))
    matrices, others, slow = split_parameters(model, ("language_model.layers",))
    optimiser = Both(
        matrices,
        [
            *others,
            *learner.heads.parameters(),
            *learner.facts.parameters(),
            *learner.mentions.parameters(),
        ],
        0.02,
        2e-3,
        slow,
    )
    losses, answers = [], []
    steps = draw_steps((3, 0), processor, _STAGE, RenderedAsker(processor))
    for number, step in zip(range(30), steps, strict=False):
        curve = Curve(Path("unused"))
        loss = learner.loss(step, _STAGE, curve)
        loss.backward()
        optimiser.step(min(1.0, (number + 1) / 5))
        losses.append(float(loss.detach()))
        answers.append(curve.values["loss"])
    assert np.isfinite(losses).all()
    # The answers', from ln(1000) a token; words' frequencies alone would not bring it so low.
    first, last = np.mean(answers[:3]), np.mean(answers[-5:])
    assert last < 0.45 * first, (first, last)
    # With all the heads', which ask for more than a few steps teach.
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3]), losses


def test_rare_kinds_are_asked_as_often_as_their_scenes_allow(processor: GARProcessor) -> None:
    rng = np.random.default_rng(5)
    asker, offered = RenderedAsker(processor), Counter[str]()
    for _ in range(40):
        sample = draw_sample(rng, processor, Plan(4, 2))
        offered.update(kind.name for kind, _, _, _ in asker._cases(rng, sample))
        asker(rng, sample)
        asker.note(sample)
    asked = asker.asked
    rare = [kind for kind, count in offered.items() if 5 <= count <= 25]
    common = [kind for kind, count in offered.items() if count >= 60]
    assert rare
    assert common

    def share(kinds: list[str]) -> float:
        return sum(asked[kind] for kind in kinds) / sum(offered[kind] for kind in kinds)

    assert share(rare) > 2 * share(common)


def test_a_clip_that_offers_what_was_seldom_asked_is_worth_more(processor: GARProcessor) -> None:
    rng = np.random.default_rng(6)
    asker = RenderedAsker(processor)
    sample = draw_sample(rng, processor, Plan(6, 2))
    asker(rng, sample)
    before = asker.worth(sample)
    asker.note(sample)
    assert 0 < asker.worth(sample) < before


@pytest.mark.slow
def test_the_whole_recipe_runs_and_can_be_taken_up(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        for speed in (20_000, 10_000):  # the second time it goes on where the first ended
            model, processor = train(tmp_path / "work", threads=1, speed=speed)
    finally:
        torch.set_num_threads(threads)
    for stage in ("time", "finding", "answers"):
        state = torch.load(tmp_path / "work" / f"{stage}.pt", weights_only=True)
        assert state["step"] >= 1, stage
    gar = GARVideo.from_pretrained(ship(tmp_path / "out", model, processor), device="cpu")
    frames = np.zeros((6, 64, 64, 3), np.uint8)
    masks = np.zeros((6, 64, 64), bool)
    masks[:, 10:30, 10:30] = True
    answer = gar.ask(frames, Tracks.from_masks({1: masks}), "What color is <1>?", max_new_tokens=3)
    assert answer.token_ids
