"""Second stage: the decoder, on packed questions and with heads that teach it time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gar_video.model import GARModel
from gar_video.processor import GARProcessor
from gar_video.train.asking import RenderedAsker
from gar_video.train.background import in_background
from gar_video.train.fact_heads import FactHeads, FactTruth, fact_truth
from gar_video.train.guiding import MENTIONS, Guide, MentionHeads, Watch, draw_guide, time_tokens
from gar_video.train.optim import Average, Both, schedule
from gar_video.train.packing import (
    Layout,
    PackedBatch,
    answer_loss,
    embed_packed,
    lay_out,
    run_decoder,
    vision_tokens,
)
from gar_video.train.region_heads import RegionHeads, RegionTruth, region_truth
from gar_video.train.samples import Plan, Sample, draw_sample, pack
from gar_video.train.vision import VISION_PARTS, split_parameters


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    Attributes:
        name: For the curves and the state file.
        seconds: How long it runs.
        frames: Frames of a clip -> how often; ``0`` is a photograph.
        objects: Prompted objects -> how often.
        full: Share of scenes of the full level.
        tokens: Tokens a step, about: sets how many clips are in it.
        region_weight: Weight of the region heads' loss.
        fact_weight: Weight of the loss of the heads at the answers.
        guide_weight: Weight of showing heads where to look, and of the heads at the mentions.
        letters: Share of choices that are asked with lettered options.
        ask: Whether questions are asked; otherwise only the heads learn.
        train_vision: Whether the vision tower learns too.
        frozen: How many of the decoder's layers, and the embeddings before them, stay as they are.
        lr: Rates of Muon and AdamW.
        warmup: Share of the stage that warms up.
        floor: Share of the rates it ends with.
        hold: Share of the stage after which the rates fall.
        weight_decay: Of Muon's matrices. Its steps are as long however large the weights are:
            left to grow, they learn ever more slowly, and new layers are drowned.
    """

    name: str
    seconds: float
    frames: dict[int, float]
    objects: dict[int, float]
    full: float = 0.15
    tokens: int = 5000
    region_weight: float = 0.3
    fact_weight: float = 0.6
    guide_weight: float = 0.5
    letters: float = 0.0
    ask: bool = True
    train_vision: bool = False
    frozen: int = 0
    lr: tuple[float, float] = (0.02, 2e-3)
    warmup: float = 0.02
    floor: float = 0.03
    hold: float = 0.3
    weight_decay: float = 0.1


@dataclass
class Curve:
    """Running means, written as JSON lines."""

    path: Path
    values: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: float, weight: float = 1.0, keep: float = 0.98) -> None:
        """Add a value to a running mean that starts as a plain mean."""
        self.values[name] = self.values.get(name, 0.0) * keep + value * weight
        self.counts[name] = self.counts.get(name, 0.0) * keep + weight

    def write(self, **row: float) -> None:
        """Append a line."""
        means = {name: round(self.values[name] / self.counts[name], 4) for name in self.values}
        with self.path.open("a") as file:
            file.write(json.dumps({**row, **dict(sorted(means.items()))}) + "\n")


def draw_plan(rng: np.random.Generator, stage: Stage) -> Plan:
    """Draw what the next batch is made of."""
    frames = int(rng.choice(list(stage.frames), p=list(stage.frames.values())))
    objects = int(rng.choice(list(stage.objects), p=list(stage.objects.values())))
    level = "full" if rng.random() < stage.full else "basic"
    return Plan(max(frames, 1), objects, level, is_image=frames == 0)


@dataclass
class Step:
    """All that a step needs, ready for the model.

    Attributes:
        batch: Frames, masks, boxes.
        layout: Where the tokens lie.
        truth: What the region heads are to say.
        facts: What the heads at the answers are to say.
        guide: Where the questions' tokens are to look.
        kinds: Kind of each question, in order.
        clips: How many clips there are.
    """

    batch: PackedBatch
    layout: Layout
    truth: RegionTruth
    facts: FactTruth
    guide: Guide
    kinds: list[str]
    clips: int


def draw_steps(
    seed: tuple[int, ...], processor: GARProcessor, stage: Stage, asker: RenderedAsker | None
) -> Iterator[Step]:
    """Yield steps for ever.

    Args:
        seed: Seed.
        processor: The checkpoint's processor.
        stage: What to draw.
        asker: Asks the questions; None for none.
    """
    rng = np.random.Generator(np.random.PCG64(list(seed)))
    names = [f"<Prompt{n}>" for n in range(processor.config.prompt_numbers)]
    prompt_ids = processor.tokenizer.convert_tokens_to_ids(names)
    time_ids, per_tile = time_tokens(processor.tokenizer), processor.config.tokens_per_tile
    while True:
        plan = draw_plan(rng, stage)
        samples: list[Sample] = []
        tokens = 0
        while tokens < stage.tokens:
            sample = _draw(rng, processor, plan, asker)
            if asker is not None and not sample.questions:
                continue
            tokens += len(sample.prompt.ids)
            tokens += sum(len(q.ids) + len(q.answer) for q in sample.questions)
            samples.append(sample)
        batch = pack(samples)
        layout = lay_out(batch, per_tile)
        kinds = [question.kind for sample in samples for question in sample.questions]
        truth = region_truth(samples)
        guide = draw_guide(samples, layout, prompt_ids, per_tile, time_ids)
        yield Step(batch, layout, truth, fact_truth(samples, truth), guide, kinds, len(samples))


def _draw(
    rng: np.random.Generator, processor: GARProcessor, plan: Plan, asker: RenderedAsker | None
) -> Sample:
    """Draw a sample; of longer clips the better of two, as much happens in few."""
    if asker is None:
        return draw_sample(rng, processor, plan)
    drawn = []
    for _ in range(2 if plan.num_frames >= 4 else 1):
        drawn.append(draw_sample(rng, processor, plan))
        asker(rng, drawn[-1])
    best = max(drawn, key=asker.worth)
    asker.note(best)
    return best


@dataclass
class Learner:
    """A model in training, with what is thrown away afterwards."""

    model: GARModel
    processor: GARProcessor
    heads: RegionHeads
    facts: FactHeads
    mentions: MentionHeads

    def loss(self, step: Step, stage: Stage, curve: Curve) -> torch.Tensor:
        """Return the loss of a step and note how it went."""
        per_tile = self.model.config.tokens_per_tile
        layout = step.layout
        tiles, regions = vision_tokens(self.model, step.batch, stage.train_vision)
        embeds = embed_packed(self.model, layout, tiles, regions)
        taps = (MENTIONS, MENTIONS + 1, len(self.model.language_model.layers) - 1)
        watch = Watch(step.guide, layout)
        hidden, middle = run_decoder(
            self.model, embeds, layout, taps, None if stage.ask else MENTIONS, watch
        )
        total = embeds.new_zeros(())
        if stage.region_weight:
            loss, right = self.heads.loss(middle[0], layout, step.truth, per_tile)
            total = total + stage.region_weight * loss
            for name, value in {"loss": float(loss.detach()), **right}.items():
                curve.add(f"r.{name}", value)
        if stage.ask:
            loss, right_answers = answer_loss(self.model, hidden, layout)
            total = total + loss
            curve.add("loss", float(loss.detach()))
            if stage.guide_weight:
                loss, right = self.mentions.loss(middle[1], step.guide, step.truth)
                total = total + stage.guide_weight * (loss + watch.loss)
                for name, value in {"loss": float(loss.detach()), **right}.items():
                    curve.add(f"m.{name}", value)
                for name, value in watch.weights.items():
                    curve.add(f"g.{name}", value)
            if stage.fact_weight:
                loss, right = self.facts.loss(middle[2], layout, step.facts)
                total = total + stage.fact_weight * loss
                for name, value in {"loss": float(loss.detach()), **right}.items():
                    curve.add(f"f.{name}", value)
            for kind, right_answer in zip(step.kinds, right_answers.tolist(), strict=True):
                curve.add(kind, float(right_answer), keep=0.995)
                curve.add("right", float(right_answer), keep=0.9995)
        return total


def learned_names(model: GARModel, stage: Stage) -> set[str]:
    """Return the names of the parameters that a stage trains."""
    decoder = "mllm.model.language_model."
    kept = [] if stage.train_vision else list(VISION_PARTS)
    if stage.frozen:
        kept += [f"{decoder}embed_tokens.", *(f"{decoder}layers.{n}." for n in range(stage.frozen))]
    return {name for name, _ in model.named_parameters() if not name.startswith(tuple(kept))}


def train_stage(
    learner: Learner,
    stage: Stage,
    asker: RenderedAsker | None,
    *,
    seed: int,
    folder: Path,
) -> None:
    """Run a stage, or what is left of it.

    Args:
        learner: What learns.
        stage: The stage.
        asker: Asks the questions.
        seed: Of the clips.
        folder: Where the curve and the state go.
    """
    model = learner.model
    heads = nn.ModuleDict(
        {"regions": learner.heads, "facts": learner.facts, "mentions": learner.mentions}
    )
    learning = learned_names(model, stage)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning)
    blocks = ("language_model.layers", "vision_tower.timm_model.blocks")
    matrices, others, slow = split_parameters(model, blocks)
    optimiser = Both(matrices, [*others, *heads.parameters()], *stage.lr, slow, stage.weight_decay)
    path, spent, step = folder / f"{stage.name}.pt", 0.0, 0
    if path.is_file():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        optimiser.load_state_dict(state["optimiser"])
        spent, step = state["spent"], state["step"]
    average = Average(model, keep=0.99)
    if path.is_file() and "average" in state:
        average.weights, average.steps = state["average"], step
    curve = Curve(folder / f"{stage.name}.jsonl")
    steps = in_background(draw_steps, (seed, step), learner.processor, stage, asker)
    saved = started = time.monotonic()
    cpu = time.process_time()
    before = spent
    waiting = 0.0
    while spent < stage.seconds:
        began = time.monotonic()
        drawn = next(steps)
        waiting += time.monotonic() - began
        loss = learner.loss(drawn, stage, curve)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {float(loss)} in step {step} of {stage.name}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in others if p.grad is not None], 1.0)
        optimiser.step(schedule(spent / stage.seconds, stage.warmup, stage.floor, stage.hold))
        average.update(model)
        step += 1
        now = time.monotonic()
        spent = before + now - started
        if step % 20 == 0:
            share = waiting / (now - started)
            curve.write(
                step=step, seconds=round(spent, 1), waiting=round(share, 3),
                cpu=round(time.process_time() - cpu, 1), clips=drawn.clips,
            )  # fmt: skip
        if now - saved > 120 or spent >= stage.seconds:
            saved = now
            state = {"model": model.state_dict(), "heads": heads.state_dict(), "step": step}
            state |= {"spent": spent, "optimiser": optimiser.state_dict()}
            state |= {"average": average.weights}
            torch.save(state, f"{path}.new")
            Path(f"{path}.new").replace(path)
    # What comes next goes on with the mean.
    average.swap(model)
