"""First stage: the vision tower, the mask embedding and the projector, taught by small heads.

Through the language model's answers alone a tower this small takes many times as long to tell a
star from a cross. Here linear heads read the replayed tokens of every region and are told what it
is and where; the heads are thrown away afterwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gar_video.model import FeatureMap, GARModel
from gar_video.synth.appearance import (
    COLORS,
    PATTERNS,
    SHAPES,
    SIZE_NAMES,
    SIZES,
    color_names,
    sample_background,
    sample_rgb,
    shape_names,
    to_rgb,
)
from gar_video.synth.motion import Segment
from gar_video.synth.scene import Scene
from gar_video.synth.things import SceneObject
from gar_video.synth.truth import Labels, frame_labels
from gar_video.train.background import in_background
from gar_video.train.clips import (
    Clip,
    box_shares,
    disturb,
    disturb_mask,
    draw_clip,
    draw_scene,
    flat_ground,
)
from gar_video.train.optim import Both, schedule
from gar_video.train.packing import to_masks, to_pixels

_BINS = 14
_WEIGHTS = {
    "color": 1.0, "shape": 2.0, "size": 0.5, "pattern": 0.4,
    "prompted": 0.3, "column": 0.5, "row": 0.5,
}  # fmt: skip


@dataclass
class VisionBatch:
    """Single frames and what is true of the regions in them.

    Attributes:
        frames: ``(N, S, S, 3)`` uint8.
        unions: ``(N, S, S)`` bool, the unions of prompted regions.
        boxes: ``[R, 5]`` frame index and box in shares.
        classes: Name of head -> ``[R]`` int64 class ids.
        numbers: ``[R, 5]`` centre x, y, width, height, visible share.
    """

    frames: np.ndarray
    unions: np.ndarray
    boxes: torch.Tensor
    classes: dict[str, torch.Tensor]
    numbers: torch.Tensor


class VisionHeads(nn.Module):
    """Linear readers of a region's mean token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        sizes = {
            "color": len(COLORS),
            "shape": len(SHAPES),
            "size": len(SIZE_NAMES),
            "pattern": len(PATTERNS),
            "prompted": 2,
            "column": _BINS,
            "row": _BINS,
        }
        self.classes = nn.ModuleDict({name: nn.Linear(width, n) for name, n in sizes.items()})
        self.numbers = nn.Linear(width, 5)

    def forward(self, tokens: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Read ``[R, g*g, D]`` tokens; returns logits by head and ``[R, 5]`` numbers."""
        mean = self.norm(tokens.mean(1))
        return {name: head(mean) for name, head in self.classes.items()}, self.numbers(mean)


def scattered(rng: np.random.Generator, level: str) -> Scene:
    """Strew things over a ground: many regions to learn from for one picture's work."""
    shapes, colors = shape_names(level), color_names(level)
    count = int(rng.integers(3, 9))
    aspect = float(rng.choice([1.0, 1.0, 4 / 3, 16 / 9, 3 / 4]))
    things: list[SceneObject] = []
    for _ in range(4 * count):
        size = SIZE_NAMES[int(rng.choice(3, p=[0.4, 0.38, 0.22]))]
        diameter = SIZES[size] * float(rng.uniform(0.93, 1.07))
        # Some cut by the frame's edge, some a little behind others, most of them whole.
        rim = diameter * (0.5 if rng.random() < 0.85 else 0.1)
        place = rng.uniform([rim, rim], [max(rim, aspect - rim) + 1e-6, 1 - rim])
        free = all(
            np.hypot(place[0] - other.path[0].x, place[1] - other.path[0].y)
            > 0.5 * (diameter + other.diameter) * (0.95 if rng.random() < 0.9 else 0.5)
            for other in things
        )
        if not free:
            continue
        color = colors[int(rng.integers(len(colors)))]
        rgb = sample_rgb(rng, color)
        pattern = (
            PATTERNS[int(rng.integers(4))] if level == "full" and rng.random() < 0.5 else "plain"
        )
        shift = np.full(3, (-1 if sum(rgb) > 420 else 1) * rng.uniform(55, 85))
        things.append(
            SceneObject(
                object_id=len(things) + 1,
                shape=shapes[int(rng.integers(len(shapes)))],
                color=color,
                rgb=rgb,
                size=size,
                diameter=diameter,
                angle=round(float(np.radians(rng.uniform(-9, 9))), 2),
                path=(Segment(0.0, "still", float(place[0]), float(place[1])),),
                z=len(things),
                pattern=pattern,
                pattern_rgb=to_rgb(np.asarray(rgb) + shift),
                outline_rgb=to_rgb(np.asarray(rgb) * 0.5) if rng.random() < 0.2 else None,
            )
        )
        if len(things) == count:
            break
    ground = sample_background(rng, level, [thing.rgb for thing in things[:3]])
    return Scene(level, tuple(things), ground, 1.0, aspect=aspect)


def _pictures(
    rng: np.random.Generator, level_share: float, side: int
) -> Iterator[tuple[Clip, Labels, bool]]:
    """Yield pictures with their truth: things strewn about, or frames of scenes.

    Drawing costs as much as learning, so each picture comes about three times, differently
    disturbed.
    """
    kept: list[tuple[Clip, Labels, bool]] = []
    while True:
        if len(kept) > 500 and rng.random() < 0.66:
            clip, truth, plain = kept[int(rng.integers(len(kept)))]
            yield replace(clip, frames=disturb(rng, clip.frames)), truth, plain
            continue
        level = "full" if rng.random() < level_share else "basic"
        if rng.random() < 0.85:
            scene, times = scattered(rng, level), np.zeros(1)
            plain = bool(rng.random() < 0.3)
            if plain:
                ground = flat_ground(rng, scene, [thing.rgb for thing in scene.objects])
                scene = replace(scene, background=ground)
        else:
            scene, plain = draw_scene(rng, level, int(rng.integers(2, 5)))
            times = np.sort(rng.uniform(0, scene.duration_s - 1e-3, 4))
        clip = draw_clip(rng, scene, times, plain, side, disturbed=False)
        whole = np.ones((len(scene.objects), 1)) if len(times) == 1 else None
        truth = frame_labels(scene, times_s=times, visible=whole)
        if len(kept) < 3000:
            kept.append((clip, truth, plain))
        else:
            kept[int(rng.integers(len(kept)))] = (clip, truth, plain)
        yield replace(clip, frames=disturb(rng, clip.frames)), truth, plain


def vision_batches(
    seed: tuple[int, ...], frames_per_batch: int, level_share: float = 0.06, side: int = 112
) -> Iterator[VisionBatch]:
    """Yield batches for ever.

    Args:
        seed: Seed.
        frames_per_batch: Frames in each, at least.
        level_share: Share of scenes of the full level.
        side: Side of a frame in pixels.
    """
    rng = np.random.Generator(np.random.PCG64(list(seed)))
    pictures = _pictures(rng, level_share, side)
    while True:
        frames: list[np.ndarray] = []
        unions: list[np.ndarray] = []
        regions = _Regions()
        while len(frames) < frames_per_batch:
            clip, truth, plain = next(pictures)
            count = len(clip.scene.objects)
            prompted = rng.random(count) < rng.choice([0.5, 0.8, 1.0])
            prompted[int(rng.integers(count))] = True
            for t, picture in enumerate(clip.frames):
                union = np.zeros((side, side), bool)
                for k in range(count):
                    mask = clip.labels[t] == k + 1
                    if mask.sum() < 14:
                        continue
                    mask = disturb_mask(rng, mask)
                    if prompted[k]:
                        union |= mask
                    regions.add(len(frames), mask, clip.scene, truth, (k, t), plain, prompted[k])
                frames.append(picture)
                unions.append(union)
        yield regions.batch(np.stack(frames), np.stack(unions))


class _Regions:
    """Collects what is true of a batch's regions."""

    def __init__(self) -> None:
        self.boxes: list[tuple[float, ...]] = []
        self.numbers: list[tuple[float, ...]] = []
        self.classes: dict[str, list[int]] = {name: [] for name in _WEIGHTS}

    def add(
        self,
        frame: int,
        mask: np.ndarray,
        scene: Scene,
        truth: Labels,
        which: tuple[int, int],
        plain: bool,
        prompted: bool,
    ) -> None:
        k, t = which
        x, y = truth.centre[k, t]
        values = {
            "color": truth.color[k, t],
            "shape": truth.shape[k],
            "size": truth.size[k] if scene.objects[k].resize is None else -100,
            "pattern": truth.pattern[k] if not plain else -100,
            "prompted": prompted,
            "column": np.clip(x * _BINS, 0, _BINS - 1),
            "row": np.clip(y * _BINS, 0, _BINS - 1),
        }
        for name, value in values.items():
            self.classes[name].append(int(value))
        self.boxes.append((frame, *box_shares(mask)))
        self.numbers.append((x, y, *truth.extent[k, t], truth.visible[k, t]))

    def batch(self, frames: np.ndarray, unions: np.ndarray) -> VisionBatch:
        return VisionBatch(
            frames=frames,
            unions=unions,
            boxes=torch.tensor(self.boxes, dtype=torch.float32),
            classes={name: torch.tensor(values) for name, values in self.classes.items()},
            numbers=torch.tensor(np.array(self.numbers), dtype=torch.float32),
        )


def read_regions(model: GARModel, batch: VisionBatch) -> torch.Tensor:
    """Encode a batch and replay its regions, ``[R, g*g, D]``."""
    features = model.encode_tiles(to_pixels(batch.frames), to_masks(batch.unions))
    maps = tuple(FeatureMap(first_tile=t) for t in range(len(features)))
    return model.replay(features, batch.boxes, maps)


def vision_loss(
    heads: VisionHeads, tokens: torch.Tensor, batch: VisionBatch
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss and how right each head is."""
    logits, numbers = heads(tokens)
    seen = batch.numbers[:, 4]
    prompted = batch.classes["prompted"] == 1
    # What is nearly hidden teaches little about its shape.
    weight = 0.2 + 0.8 * (seen > 0.45).float()
    # Questions are about prompted things; of the others the decoder needs to know little.
    weight = weight * (0.25 + 0.75 * prompted.float())
    total = tokens.new_zeros(())
    right: dict[str, float] = {}
    for name, logit in logits.items():
        target = batch.classes[name]
        loss = F.cross_entropy(logit, target, reduction="none", ignore_index=-100)
        total = total + _WEIGHTS[name] * (loss * weight).sum() / weight.sum()
        known = (target >= 0) & (seen > 0.45) & (prompted if name != "prompted" else True)
        right[name] = float((logit.argmax(1) == target)[known].float().mean())
    error = F.smooth_l1_loss(numbers, batch.numbers, reduction="none", beta=0.05).mean(1)
    total = total + 15.0 * (error * weight).sum() / weight.sum()
    off = (numbers.detach() - batch.numbers).abs()[seen > 0.45]
    right["xy_px"] = float(off[:, :2].mean()) * 112
    # Tokens as large as the words' embeddings are made, so that the decoder hears both.
    size = tokens.square().mean(-1).clamp_min(1e-6).sqrt()
    total = total + 0.02 * (size.log() - torch.tensor(0.5).log()).square().mean()
    right["rms"] = float(size.detach().mean())
    return total, right


def split_parameters(
    model: nn.Module, prefixes: tuple[str, ...]
) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Sort trainable parameters into matrices for Muon, the rest for AdamW, and slow ones.

    Muon gets the blocks' own matrices; embeddings, the projector, position tables and vectors
    are AdamW's; the filters of patches and mask are slow.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    slow: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        block = any(prefix in name for prefix in prefixes) and parameter.ndim == 2
        filters = "patch_embed" in name
        (matrices if block else slow if filters else others).append(parameter)
    return matrices, others, slow


VISION_PARTS = ("mllm.model.vision_tower", "mllm.model.multi_modal_projector", "mask_patch")


def train_vision(
    model: GARModel,
    *,
    seconds: float,
    seed: int,
    folder: Path,
    frames_per_batch: int = 96,
    lr: tuple[float, float] = (0.02, 2e-3),
) -> VisionHeads:
    """Train the parts before the decoder for some seconds, resuming what the folder holds.

    Args:
        model: The model; its decoder stays as it is.
        seconds: CPU wall time to train for, over all runs that resumed each other.
        seed: Of the clips.
        folder: Where the curve (``vision.jsonl``) and the state (``vision.pt``) go.
        frames_per_batch: Frames a step.
        lr: Rates of Muon and AdamW.

    Returns:
        The trained heads.
    """
    heads = VisionHeads(model.get_input_embeddings().weight.shape[1])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(VISION_PARTS))
    matrices, others, slow = split_parameters(model, ("vision_tower.timm_model.blocks",))
    optimiser = Both(matrices, [*others, *heads.parameters()], *lr, slow)
    state_path, spent, step = folder / "vision.pt", 0.0, 0
    if state_path.is_file():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"], strict=False)
        heads.load_state_dict(state["heads"])
        optimiser.load_state_dict(state["optimiser"])
        spent, step = state["spent"], state["step"]
    batches = in_background(vision_batches, (seed, step), frames_per_batch)
    curve: dict[str, float] = {}
    model.train()
    saved = started = time.monotonic()
    before = spent
    while spent < seconds:
        batch = next(batches)
        loss, right = vision_loss(heads, read_regions(model, batch), batch)
        loss.backward()
        optimiser.step(schedule(spent / seconds))
        step += 1
        spent = before + time.monotonic() - started
        for name, value in {"loss": float(loss.detach()), **right}.items():
            curve[name] = 0.95 * curve.get(name, value) + 0.05 * value
        if step % 20 == 0:
            with (folder / "vision.jsonl").open("a") as file:
                row = {"step": step, "seconds": round(spent, 1)}
                row |= {name: round(value, 4) for name, value in curve.items()}
                file.write(json.dumps(row) + "\n")
        if time.monotonic() - saved > 120 or spent >= seconds:
            saved = time.monotonic()
            kept = {n: p for n, p in model.state_dict().items() if n.startswith(VISION_PARTS)}
            state = {"model": kept, "heads": heads.state_dict(), "spent": spent, "step": step}
            torch.save(state | {"optimiser": optimiser.state_dict()}, f"{state_path}.new")
            Path(f"{state_path}.new").replace(state_path)
    return heads
