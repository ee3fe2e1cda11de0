"""The memory that a step takes, calculated and measured."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from recipe_tiny import make_config, make_tokenizer
from torch.profiler import ProfilerActivity, profile

from gar_video.model import GARModel
from gar_video.train.recipe import parts
from gar_video.train.recipe.config import from_dict
from gar_video.train.recipe.estimate import MARGIN, Shape, _batch, estimate, published_config
from gar_video.train.recipe.step import TrainingStep

SHAPE = Shape(rows=1, tiles=8, regions=8, threads=4, thread_tokens=64, answer_tokens=32)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small lose more by sharing work than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scaled_down():
    """A GAR of four layers: 256 wide, 128-wide vision at 112 pixels, 16 tokens a tile."""
    vocabulary = make_tokenizer().get_vocab()
    return make_config(vocabulary, width=256, depth=4, vision=128, tile=224, context=4096)


def run_config(**more):
    fields = {
        "model": "scaled",
        "output": "o",
        "data": [{"kind": "rendered"}],
        "device": "cpu",
        "precision": "float32",
    }
    return from_dict({**fields, **more})


def measured_peak(gar, config, shape) -> int:
    """Run two steps on the CPU; returns the most bytes that its allocator had given at once."""
    torch.manual_seed(0)
    model = GARModel(gar)
    parts.prepare(model, config, torch.float32)
    model.train()
    step = TrainingStep(model, config.checkpointing)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    batch = _batch(gar, shape, torch.float32)
    batch = dataclasses.replace(
        batch, mask=None if batch.mask is None else torch.ones_like(batch.mask).tril()
    )
    weights = sum(p.numel() * 4 for p in model.parameters())

    def once():
        loss, _ = step(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    once()  # the moments are there from the second step on
    held = weights + 2 * 4 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        once()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return held + peak


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"method": "lora", "checkpointing": True}, id="lora, checkpointing"),
        pytest.param({"method": "lora"}, id="lora"),
        pytest.param({"checkpointing": True}, id="full, checkpointing"),
    ],
)
def test_the_estimate_is_what_a_step_takes(more):
    gar, config = scaled_down(), run_config(**more)
    calculated = estimate(config, gar, SHAPE).total
    measured = measured_peak(gar, config, SHAPE)
    assert calculated == pytest.approx(measured, rel=MARGIN)


def test_checkpointing_and_adapters_save_what_they_should():
    gar = scaled_down()
    full = estimate(run_config(), gar, SHAPE)
    saved = estimate(run_config(checkpointing=True), gar, SHAPE)
    lora = estimate(run_config(method="lora", checkpointing=True), gar, SHAPE)
    assert saved.activations < 0.7 * full.activations
    assert lora.trained_parameters < 0.2 * lora.parameters
    assert lora.optimizer < 0.2 * saved.optimizer
    assert saved.parameters == full.parameters == full.trained_parameters
    assert any("GiB" in line or "MiB" in line for line in lora.lines())


@pytest.mark.slow
def test_one_step_of_the_1b_with_adapters_and_checkpointing():
    config = run_config(
        model="HaochenWang/GAR-1B", method="lora", checkpointing=True, precision="bfloat16",
        data=[{"kind": "rendered", "frames": [16]}],
    )  # fmt: skip
    found = estimate(config, published_config("1b"))
    assert found.parameters == pytest.approx(1.8e9, rel=0.1)
    assert found.tokens > 11_000
    assert 5 * 2**30 < found.total < 12 * 2**30
