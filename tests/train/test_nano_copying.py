from __future__ import annotations

from itertools import islice

import pytest
import torch

from gar_video.model import GARModel
from gar_video.processor import GARProcessor
from gar_video.train import copying
from gar_video.train.architecture import build_model
from gar_video.train.asking import RenderedAsker
from gar_video.train.guiding import ANSWERS, MENTIONS, PAIRS, WHEN, Watch
from gar_video.train.language import Stage, Step, draw_steps
from gar_video.train.packing import answer_begins, embed_packed, run_decoder, vision_tokens
from gar_video.train.region_heads import CLASSES
from gar_video.train.shipped import nano_processor


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> GARProcessor:
    return nano_processor(tmp_path_factory.mktemp("tokenizer"))


def _right(states: torch.Tensor, classes: torch.Tensor) -> float:
    """How often least squares on the first half tells the second half's classes."""
    target = torch.nn.functional.one_hot(classes).float()
    half = len(states) // 2
    told = states[half:] @ torch.linalg.lstsq(states[:half], target[:half]).solution
    return float((told.argmax(1) == classes[half:]).float().mean())


@pytest.mark.parametrize("rank", [8, 12])
def test_the_loudest_directions_keep_what_is_to_be_told(rank: int) -> None:
    torch.manual_seed(rank)
    colors = torch.randint(CLASSES["color"], (4000,))
    shapes = torch.randint(CLASSES["shape"], (4000,))
    where = torch.randn(CLASSES["color"] + CLASSES["shape"], 64)
    # The facts are quiet beside all else that the states hold.
    noise = 3 * torch.randn(4000, 40) @ torch.randn(40, 64)
    states = where[colors] + where[CLASSES["color"] + shapes] + noise
    directions = copying.loudest(states, {"color": colors, "shape": shapes}, rank)
    assert directions.shape == (64, rank)
    kept = (states - states.mean(0)) @ directions
    assert torch.allclose(kept.std(0), torch.ones(rank), atol=1e-3)
    random = torch.randn(64, rank)
    ours, chance = _right(kept, colors), _right(states @ random, colors)
    assert ours > 0.6
    assert ours > chance + 0.3


def test_facts_known_of_few_are_left_out() -> None:
    states, few = torch.randn(300, 16), torch.full((300,), -100)
    few[:20] = 1
    sizes = (states[:, 0] > 0).long()
    both = copying.loudest(states, {"size": sizes, "color": few}, 2)
    assert torch.equal(both, copying.loudest(states, {"size": sizes}, 2))


def test_guided_heads_pass_on_what_their_goals_hold(processor: GARProcessor) -> None:
    model = build_model(processor.config)
    before = {name: p.clone() for name, p in model.named_parameters()}
    stage = Stage("x", 1, frames={2: 1.0}, objects={2: 1.0}, tokens=2500)
    steps = list(islice(draw_steps((5,), processor, stage, RenderedAsker(processor, 4)), 3))
    copying.copy_facts(model, steps)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    decoder = "mllm.model.language_model.layers"
    assert changed - {f"{decoder}.{PAIRS}.mlp.{part}_proj.weight" for part in ("gate", "up")} == {
        *(
            f"{decoder}.{layer}.self_attn.{part}_proj.weight"
            for layer in (MENTIONS, ANSWERS, PAIRS)
            for part in "vo"
        ),
        f"{decoder}.{PAIRS}.mlp.down_proj.weight",
    }
    for layer, heads in ((MENTIONS, 3), (ANSWERS, 3)):
        attention = model.language_model.layers[layer].self_attn
        old = before[f"mllm.model.language_model.layers.{layer}.self_attn.v_proj.weight"]
        # The last head is its own.
        assert torch.equal(attention.v_proj.weight[heads * 32 :], old[heads * 32 :])
        # What is written goes to directions of its own, all as loud.
        old = before[f"mllm.model.language_model.layers.{layer}.self_attn.o_proj.weight"]
        weight = attention.o_proj.weight.detach()
        written = weight[:, (weight != old).any(0)]
        assert written.shape[1] > 2 * 16
        gram = written.T @ written
        loud = float(gram[0, 0])
        assert torch.allclose(gram, loud * torch.eye(len(gram)), atol=1e-3 * loud)


def test_answers_find_out_whether_start_or_end_is_asked_for(processor: GARProcessor) -> None:
    """Without training: the head looks at words of time, and what it brings tells them apart."""
    model = build_model(processor.config, 3)
    stage = Stage("x", 1, frames={1: 0.5, 4: 0.5}, objects={2: 1.0}, tokens=2500)
    drawn = draw_steps((9,), processor, stage, RenderedAsker(processor, 16))
    copied, fresh = list(islice(drawn, 6)), list(islice(drawn, 4))
    copying.copy_times(model, copied, processor.tokenizer)
    attention = model.language_model.layers[MENTIONS].self_attn
    way = attention.o_proj.weight[:, WHEN * int(attention.head_dim)].detach()
    weights, brought, early = [], [], []
    with torch.no_grad():
        for step in fresh:
            watch = Watch(step.guide, step.layout)
            tiles, regions = vision_tokens(model, step.batch)
            embeds = embed_packed(model, step.layout, tiles, regions)
            taps = (MENTIONS, MENTIONS + 1)
            before, after = run_decoder(model, embeds, step.layout, taps, MENTIONS + 1, watch)[1]
            weights.append(watch.weights[f"{MENTIONS}.{WHEN}"])
            answers = answer_begins(step.layout)
            added = (after - before).flatten(0, 1)[answers] @ way
            asked = {"start": True, "first": True, "end": False, "last": False}
            for kind, far in zip(step.kinds, added.tolist(), strict=True):
                if (when := kind.split()[-1]) in asked and kind != "color end":
                    brought.append(far)
                    early.append(asked[when])
    assert min(weights) > 0.7
    told, right = torch.tensor(brought), torch.tensor(early)
    assert min(int(right.sum()), int((~right).sum())) > 20
    middle = (told[right].mean() + told[~right].mean()) / 2
    assert float(((told > middle) == right).float().mean()) > 0.9


def test_alike_is_told_of_two_things_that_are_read_unsurely() -> None:
    torch.manual_seed(1)
    one, other = torch.randint(6, (2, 6000))
    codes = torch.randn(12, 96)
    states = codes[one] + codes[6 + other] + 1.5 * torch.randn(6000, 96)
    states = states / states.pow(2).mean(1, keepdim=True).sqrt()
    taught, asked = slice(0, 4500), slice(4500, 6000)
    gate, up, down = copying._fit_alike(states[taught], one[taught], other[taught], range(6))
    assert gate.shape == up.shape == (6, 96)
    assert down.shape == (6,)
    said = (torch.nn.functional.silu(states @ gate.T) * (states @ up.T)) @ down
    middle = (said[taught][one[taught] == other[taught]].mean() + said[taught].mean()) / 2
    told = (said[asked] > middle) == (one == other)[asked]
    # Saying "no" to all is right in five of six cases; half of those that are alike are found too.
    assert float(told.float().mean()) > 0.88
    assert float(told[(one == other)[asked]].float().mean()) > 0.5


def test_units_of_the_comparing_layer_tell_whether_two_are_alike(processor: GARProcessor) -> None:
    """Where the mentions say the facts plainly, the answers' states tell what is the same."""
    torch.manual_seed(0)
    model = build_model(processor.config)
    stage = Stage("x", 1, frames={1: 1.0}, objects={2: 1.0}, tokens=3000)
    steps = list(islice(draw_steps((6,), processor, stage, RenderedAsker(processor, 6)), 16))
    width = model.get_input_embeddings().weight.shape[1]
    codes = {n: torch.randn(CLASSES[n], width) for n in ("color", "shape")}

    def told(model: GARModel, step: Step, layers: int) -> torch.Tensor:
        """Hidden states as they would be if the layers before had done their work."""
        hidden = 0.3 * torch.randn(step.layout.ids.numel(), width)
        for name, code in codes.items():
            classes = step.truth.classes[name]
            hidden[step.guide.mentions] += code[classes[step.guide.rows]]
            if layers > PAIRS:
                # What the layer's heads bring: both things' facts, in halves of their own.
                for half, n in ((slice(0, width // 2), 1), (slice(width // 2, width), 2)):
                    rows = step.guide.pairs[:, n]
                    hidden[step.guide.pairs[:, 0], half] += code[classes[rows], half]
        return hidden

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "_run", told)
        copying.copy_pairs(model, steps)
        mlp = model.language_model.layers[PAIRS].mlp
        norm = model.language_model.layers[PAIRS].post_attention_layernorm
        added, alike = [], []
        for step in steps:
            states = norm(told(model, step, PAIRS + 1)[step.guide.pairs[:, 0]])
            added.append(mlp(states).detach())
            color = step.truth.classes["color"]
            alike.append(color[step.guide.pairs[:, 1]] == color[step.guide.pairs[:, 2]])
    said, true = torch.cat(added), torch.cat(alike)
    assert 20 < int(true.sum()) < len(true) - 20
    way = said[true].mean(0) - said[~true].mean(0)
    scores = said @ way
    middle = (scores[true].mean() + scores[~true].mean()) / 2
    assert float(((scores > middle) == true).float().mean()) > 0.85
