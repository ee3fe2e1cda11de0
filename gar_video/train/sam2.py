"""Training of nano SAM 2 with sam2's own training model and losses, on clips drawn in memory.

First single frames (box or click to mask), then short clips with memory, then longer ones; each
stage is a line of :data:`NANO_STAGES`. A run continues from its last checkpoint, to the step.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from gar_video.errors import CheckpointError
from gar_video.trackers.sam2_build import import_sam2, instantiate
from gar_video.trackers.sam2_config import nano_config
from gar_video.train.optim import Muon
from gar_video.train.sam2_data import Clip

if TYPE_CHECKING:
    from gar_video.trackers.sam2 import Sam2Tracker

# Weights whose updates Muon makes orthogonal, at so many times AdamW's learning rate.
_BLOCKS = re.compile(r"trunk\.blocks|memory_attention\.layers|sam_mask_decoder\.transformer")
_MUON_SHARE = 15.0

# How frames are normalised: sam2's loader uses ImageNet's mean and deviation.
_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@dataclass(frozen=True)
class Stage:
    """One part of the training.

    Attributes:
        steps: Optimiser steps.
        num_frames: Frames a clip.
        clips: Clips a step; up to ``max_objects`` objects of each are trained on.
        image_size: Side of the input in pixels.
        lr: Learning rate at its beginning.
        lr_end: Learning rate at its end; a cosine lies between.
        corrected: Share of steps with a correcting click after the prompt.
        max_objects: Objects of a clip at most.
        grouping: Weight of the losses that teach what belongs together and what prompts mean.
        encoder_only: Train the image encoder with the first of them alone.
    """

    steps: int
    num_frames: int
    clips: int
    image_size: int
    lr: float
    lr_end: float
    corrected: float = 0.3
    max_objects: int = 3
    grouping: float = 0.5
    encoder_only: bool = False


NANO_STAGES = (
    Stage(250, num_frames=1, clips=16, image_size=128, lr=1e-3, lr_end=1e-3, encoder_only=True),
    Stage(500, num_frames=1, clips=12, image_size=128, lr=1e-3, lr_end=8e-4),
    Stage(350, num_frames=3, clips=5, image_size=128, lr=8e-4, lr_end=5e-4),
    Stage(250, num_frames=6, clips=3, image_size=128, lr=6e-4, lr_end=5e-5),
)


@dataclass
class RunState:
    """Where a run stands; everything beside tensors that a resumed run needs."""

    step: int = 0
    seconds: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    prompt_rng: dict[str, Any] | None = None


def training_model(image_size: int, **changes: Any) -> torch.nn.Module:
    """Return a ``SAM2Train`` of the nano configuration, freshly initialised.

    Args:
        image_size: Side of the input in pixels.
        **changes: Further arguments of ``SAM2Train``.
    """
    config = {
        **nano_config(image_size),
        "_target_": "training.model.sam2.SAM2Train",
        "prob_to_use_pt_input_for_train": 0.8,
        "prob_to_use_box_input_for_train": 0.5,
        "prob_to_sample_from_gt_for_train": 0.1,
        "num_frames_to_correct_for_train": 2,
        "rand_frames_to_correct_for_train": True,
        "num_init_cond_frames_for_train": 1,
        "add_all_frames_to_correct_as_cond": True,
        "num_correction_pt_per_frame": 1,
        **changes,
    }
    model = instantiate(config)
    start_by_place(model)
    return model


@torch.no_grad()
def start_by_place(model: Any) -> None:
    """Let prompts look at their own place in the picture from the first step.

    With sam2's own initial weights a model of this size ignores the prompt for thousands of steps:
    position codes are drowned by image features and projected at random. Here each head of the
    attention between tokens and image starts by comparing two waves of the position code that
    run across each other, so that a prompt meets its own place, and what would drown them starts
    small.
    """
    decoder = model.sam_mask_decoder.transformer
    waves = model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix  # [2, C // 2]
    for attention in [
        decoder.final_attn_token_to_image,
        *(layer.cross_attn_token_to_image for layer in decoder.layers),
        *(layer.cross_attn_image_to_token for layer in decoder.layers),
    ]:
        weight = torch.randn_like(attention.q_proj.weight) * 0.02
        per_head = attention.internal_dim // attention.num_heads
        for head, pair in enumerate(_crossing_waves(waves, attention.num_heads)):
            for number, wave in enumerate(pair):
                row = head * per_head + 2 * number
                weight[row, wave] = weight[row + 1, wave + waves.shape[1]] = 2.5
        attention.q_proj.weight.copy_(weight)
        attention.k_proj.weight.copy_(weight)
        attention.q_proj.bias.zero_()
        attention.k_proj.bias.zero_()
    for layer in decoder.layers:
        for norm in (layer.norm1, layer.norm2, layer.norm3):
            norm.weight.fill_(0.3)
    for embedding in model.sam_prompt_encoder.point_embeddings:
        embedding.weight.mul_(0.1)
    for lateral in model.image_encoder.neck.convs[:2]:  # what the decoder gets is their sum
        lateral.conv.weight.mul_(0.1)
        lateral.conv.bias.mul_(0.1)
    # The trunk's own position code starts as low waves instead of zeros.
    place = model.image_encoder.trunk.pos_embed
    height, width = place.shape[-2:]
    y, x = torch.meshgrid(
        torch.linspace(-1.5, 1.5, height), torch.linspace(-1.5, 1.5, width), indexing="ij"
    )
    for channel in range(place.shape[1]):
        along = x if channel % 4 < 2 else y
        wave_of = torch.sin if channel % 2 == 0 else torch.cos
        place[0, channel] = 0.3 * wave_of(along * (1 + channel // 4))


def _crossing_waves(waves: torch.Tensor, count: int) -> list[tuple[int, int]]:
    """Return pairs of waves ``[2, N]``, about a picture long and as square as can be."""
    length = waves.norm(dim=0)
    pairs = []
    for a in range(waves.shape[1]):
        for b in range(a):
            cosine = float((waves[:, a] * waves[:, b]).sum().abs() / (length[a] * length[b]))
            odd = float((length[a] - 0.5).abs() + (length[b] - 0.5).abs())
            pairs.append((cosine + odd, a, b))
    return [(a, b) for _, a, b in sorted(pairs)[:count]]


class Grouping(torch.nn.Module):
    """Teaches directly what belongs together, and what a prompt means, each by itself.

    Used in training only. Every pixel gets a code from the encoder's feature maps; pixels of one
    object are to have one code, and the decoder's object pointer is to name the code of the
    prompted object. Through the masks alone both are learned far more slowly.

    Args:
        channels: Of the three feature maps together.
        pointer: Width of an object pointer.
        width: Of the code that each pixel gets.
    """

    def __init__(self, channels: int, pointer: int, width: int = 16) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 64, 1), torch.nn.GELU(), torch.nn.Conv2d(64, width, 1)
        )
        self.point = torch.nn.Linear(pointer, width)
        self.bias = torch.nn.Parameter(torch.tensor(2.0))
        self.scale = torch.nn.Parameter(torch.tensor(0.5))

    def codes(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return codes ``[B, width, h, w]`` of feature maps ``[B, C, h, w]``, the largest first."""
        size = maps[0].shape[-2:]
        # Normalised, or the maps would grow without end to put codes further apart.
        even = [functional.layer_norm(m, m.shape[1:]) for m in maps]
        resized = [functional.interpolate(m, size=size, mode="bilinear") for m in even[1:]]
        return self.net(torch.cat([even[0], *resized], dim=1))

    def forward(
        self,
        codes: torch.Tensor,
        index: torch.Tensor,
        masks: torch.Tensor,
        pointers: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both losses: of codes (dice and cross entropy) and of pointers (1 - cosine).

        Args:
            codes: Of the images, ``[B, width, h, w]``.
            index: Image of each object in each frame, ``[T, O]``.
            masks: ``[T, O, S, S]`` bool.
            pointers: Object pointers ``[T, O, C]``; without them their loss is 0.
        """
        codes = codes[index.flatten()]
        share = functional.adaptive_avg_pool2d(
            masks.flatten(0, 1)[:, None].float(), codes.shape[-2:]
        )[:, 0]
        seen = share.flatten(1).sum(1) > 2
        codes, share = codes[seen], share[seen]
        pointing = codes.new_zeros(())
        if len(codes) == 0:
            return codes.sum(), pointing
        weight = share / share.flatten(1).sum(1)[:, None, None]
        middle = (codes * weight[:, None]).flatten(2).sum(2)
        if pointers is not None:
            # The codes are the goal here, not to be moved towards what pointers name so far; and
            # only their direction counts, which keeps the loss bounded.
            goal = middle.detach() - middle.detach().mean(dim=0)
            named = self.point(pointers.flatten(0, 1)[seen])
            pointing = (1 - functional.cosine_similarity(named, goal)).mean()
        return _near_the_middle(codes, share, middle, self.bias, 1.3), pointing

    def apart(self, pixels: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return the loss of the decoder's own pixel embeddings, one map an object.

        A mask is the product of these with what the decoder makes of the prompt. Neither learns
        while the other does not tell things apart, so this one is taught to.

        Args:
            pixels: ``[O, C, h, w]``.
            masks: ``[O, S, S]`` bool.
        """
        share = functional.adaptive_avg_pool2d(masks[:, None].float(), pixels.shape[-2:])[:, 0]
        seen = share.flatten(1).sum(1) > 2
        pixels, share = pixels[seen], share[seen]
        if len(pixels) == 0:
            return pixels.sum()
        weight = share / share.flatten(1).sum(1)[:, None, None]
        middle = (pixels * weight[:, None]).flatten(2).sum(2)
        scale = functional.softplus(self.scale)
        return _near_the_middle(pixels, share, middle, self.bias, scale)


def _near_the_middle(
    codes: torch.Tensor,
    share: torch.Tensor,
    middle: torch.Tensor,
    bias: torch.Tensor,
    scale: float | torch.Tensor,
) -> torch.Tensor:
    """Return dice and cross entropy of "this pixel's code is near the object's middle one"."""
    logits = bias - scale * (codes - middle[..., None, None]).square().sum(1)
    guess = logits.sigmoid()
    overlap = 2 * (guess * share).flatten(1).sum(1) + 1
    dice = 1 - overlap / ((guess + share).flatten(1).sum(1) + 1)
    return dice.mean() + 5 * functional.binary_cross_entropy_with_logits(logits, share)


def batch_of(clips: Sequence[Clip], max_objects: int, rng: np.random.Generator) -> SimpleNamespace:
    """Put clips of one length and size together as ``SAM2Train`` takes them.

    Returns:
        ``flat_img_batch`` ``[B*T, 3, S, S]`` float32, ``masks`` ``[T, O, S, S]`` bool,
        ``flat_obj_to_img_idx`` ``[T, O]`` and ``num_frames``.
    """
    num_frames = len(clips[0][0])
    images, masks, index = [], [], []
    for number, (frames, clip_masks) in enumerate(clips):
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
        images.append((pixels - _MEAN) / _STD)
        count = clip_masks.shape[1]
        for k in rng.permutation(count)[:max_objects]:
            masks.append(torch.from_numpy(clip_masks[:, k]))
            index.append(torch.arange(num_frames) + number * num_frames)
    return SimpleNamespace(
        flat_img_batch=torch.cat(images),
        masks=torch.stack(masks, dim=1),
        flat_obj_to_img_idx=torch.stack(index, dim=1),
        num_frames=num_frames,
    )


def first_guess_j(outputs: Sequence[dict[str, Any]], masks: torch.Tensor) -> list[float]:
    """Return mean J (intersection over union) per frame, before any correcting click.

    Args:
        outputs: What ``SAM2Train`` returns, one entry a frame.
        masks: True masks ``[T, O, S, S]``.
    """
    means = []
    for output, truth in zip(outputs, masks, strict=True):
        logits = output["multistep_pred_multimasks_high_res"][0]  # [O, M, S, S]
        best = output["multistep_pred_ious"][0].argmax(dim=1)
        guess = logits[torch.arange(len(best)), best] > 0
        union = (guess | truth).flatten(1).sum(1)
        j = (guess & truth).flatten(1).sum(1) / union.clamp(min=1)
        j[union == 0] = 1.0
        means.append(float(j.mean()))
    return means


def _clips(source: Callable[..., Clip], stage: Stage, step: int, seed: int) -> Iterator[Clip]:
    for number in range(stage.clips):
        yield source(
            seed + step * 1000 + number, size=stage.image_size, num_frames=stage.num_frames
        )


class Sam2Training:
    """A run: model, averaged weights, optimiser and random states, in one folder.

    Args:
        out: Folder for ``checkpoint.safetensors`` and ``metrics.jsonl``.
        stages: What to do, one after another.
        source: Draws a clip from ``(seed, size=, num_frames=)``.
        seed: Of initial weights, prompts and clips. Clip seeds start at ``seed * 10**9``; keep
            seeds below 10**9 for evaluation and start training at seed 1.
    """

    def __init__(
        self,
        out: str | Path,
        source: Callable[..., Clip],
        *,
        stages: Sequence[Stage] = NANO_STAGES,
        seed: int = 1,
        average: float = 0.985,
    ) -> None:
        self.out = Path(out)
        self.source = source
        self.stages = tuple(stages)
        self.seed = seed
        self.average = average
        self.state = RunState(settings={"seed": seed})
        torch.manual_seed(seed)
        self.model: Any = training_model(self.stages[0].image_size).train()
        channels = self.model.hidden_dim * (64 + 16 + 8) // 64
        self.grouping = Grouping(channels, self.model.hidden_dim)
        self.averaged = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimizers = self._make_optimizers()
        self.loss = self._make_loss()

    def _make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return Muon for the matrices of attention and MLP blocks, AdamW for everything else."""
        named = self._parameters()
        matrices = [p for name, p in named if p.ndim == 2 and _BLOCKS.search(name)]
        taken = {id(p) for p in matrices}
        others = [p for _, p in named if id(p) not in taken]
        return [
            torch.optim.AdamW(others, lr=1.0, betas=(0.9, 0.98), weight_decay=0.01),
            Muon(matrices, lr=1.0),
        ]

    def _state_of(self, parameter: torch.nn.Parameter) -> dict[str, Any]:
        """Return what the optimisers remember about a parameter."""
        for optimizer in self.optimizers:
            if parameter in optimizer.state:
                return optimizer.state[parameter]
        return {}

    def _set_state_of(self, parameter: torch.nn.Parameter, state: dict[str, Any]) -> None:
        for optimizer, needed in zip(self.optimizers, ("exp_avg", "momentum"), strict=True):
            for group in optimizer.param_groups:
                if needed in state and any(parameter is member for member in group["params"]):
                    optimizer.state[parameter] = state

    def _parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [
            *self.model.named_parameters(),
            *(("grouping." + name, p) for name, p in self.grouping.named_parameters()),
        ]

    def _make_loss(self) -> Any:
        losses = import_sam2("training.loss_fns")
        return losses.MultiStepMultiMasksAndIous(
            weight_dict={"loss_mask": 20, "loss_dice": 1, "loss_iou": 1, "loss_class": 1},
            supervise_all_iou=True,
            iou_use_l1_loss=True,
            pred_obj_scores=True,
        )

    def stage_at(self, step: int) -> tuple[Stage, float]:
        """Return the stage that a step belongs to and how far through it the step is."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step / stage.steps
            step -= stage.steps
        return self.stages[-1], 1.0

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def _learning_rate(self, step: int) -> float:
        stage, share = self.stage_at(step)
        rate = stage.lr_end + (stage.lr - stage.lr_end) * 0.5 * (1 + math.cos(math.pi * share))
        return rate * min(1.0, (step + 1) / 100)

    def step(self) -> dict[str, Any]:
        """Do one optimiser step and return its metrics.

        Raises:
            FloatingPointError: If the loss is not finite; the last checkpoint stays as it is.
        """
        began = time.perf_counter()
        number = self.state.step
        stage, _ = self.stage_at(number)
        self._fit_to(stage)
        rng = np.random.default_rng((self.seed, number))
        clips = list(_clips(self.source, stage, number, self.seed * 10**9))
        batch = batch_of(clips, stage.max_objects, rng)
        rate = self._learning_rate(number)
        for optimizer, share in zip(self.optimizers, (1.0, _MUON_SHARE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
        total, metrics = self._losses(stage, batch)
        if not torch.isfinite(total):
            raise FloatingPointError(f"loss is {float(total.detach())} at step {number}")
        self.model.zero_grad(set_to_none=True)
        self.grouping.zero_grad(set_to_none=True)
        total.backward()
        every = [parameter for _, parameter in self._parameters()]
        norm = torch.nn.utils.clip_grad_norm_(every, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self._average()
        self.state.step += 1
        self.state.seconds += time.perf_counter() - began
        return {
            "step": self.state.step,
            "seconds": round(self.state.seconds, 1),
            "frames": stage.num_frames,
            "lr": rate,
            "loss": float(total.detach()),
            "grad_norm": float(norm),
            **metrics,
        }

    def _losses(self, stage: Stage, batch: SimpleNamespace) -> tuple[torch.Tensor, dict[str, Any]]:
        """Return the loss to minimise and what to write down."""
        images, index = batch.flat_img_batch, batch.flat_obj_to_img_idx
        maps = self.model.forward_image(images)
        codes = self.grouping.codes(maps["backbone_fpn"])
        if stage.encoder_only:
            together, _ = self.grouping(codes, index, batch.masks)
            return together, {"grouping": float(together.detach())}
        prepared = self.model.prepare_prompt_inputs(maps, batch)
        if float(torch.rand(())) >= stage.corrected:
            prepared["frames_to_add_correction_pt"] = []
        embeddings: list[torch.Tensor] = []
        upscaled = self.model.sam_mask_decoder.output_upscaling[-1]
        hook = upscaled.register_forward_hook(lambda *call: embeddings.append(call[2]))
        try:
            found = self.model.forward_tracking(prepared, batch, return_dict=True)
        finally:
            hook.remove()
        apart = self.grouping.apart(embeddings[0], batch.masks[0])
        by_frame = {**found["cond_frame_outputs"], **found["non_cond_frame_outputs"]}
        outputs = [by_frame[t] for t in range(batch.num_frames)]
        pointers = torch.stack([output["obj_ptr"] for output in outputs])
        together, pointing = self.grouping(codes, index, batch.masks, pointers)
        losses = self.loss(outputs, batch.masks)
        metrics: dict[str, Any] = {
            "grouping": float(together.detach()),
            "pointing": float(pointing.detach()),
            "apart": float(apart.detach()),
        }
        metrics["j"] = [round(j, 4) for j in first_guess_j(outputs, batch.masks)]
        for name, value in losses.items():
            if name != "core_loss":
                metrics[name] = float(torch.as_tensor(value).detach()) / batch.num_frames
        # Features much larger than prompts and tokens drown them in the decoder's attention.
        scales = torch.stack([m.square().mean().sqrt() for m in maps["backbone_fpn"]])
        metrics["feature_scale"] = float(scales[-1].detach())
        extra = stage.grouping * (together + pointing + apart + (scales - 1).relu().sum())
        return losses["core_loss"] / batch.num_frames + extra, metrics

    def _fit_to(self, stage: Stage) -> None:
        """Give the model the stage's input size; no weight depends on it."""
        # A clip of one frame has no second frame to prompt.
        self.model.num_frames_to_correct_for_train = min(2, stage.num_frames)
        self.model.num_maskmem = 7 if stage.num_frames > 1 else 0  # no memory to encode, or read
        if self.model.image_size == stage.image_size:
            return
        resized: Any = training_model(stage.image_size).train()
        resized.load_state_dict(self.model.state_dict())
        state = {name: self._state_of(parameter) for name, parameter in self._parameters()}
        resized.rng.bit_generator.state = self.model.rng.bit_generator.state
        resized.num_frames_to_correct_for_train = self.model.num_frames_to_correct_for_train
        resized.num_maskmem = self.model.num_maskmem
        self.model = resized
        self.optimizers = self._make_optimizers()
        for name, parameter in self._parameters():
            self._set_state_of(parameter, state[name])

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards the model's; quickly at first."""
        keep = min(self.average, (self.state.step + 1) / (self.state.step + 20))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value, 1 - keep)
            else:
                self.averaged[name].copy_(value)

    def save(self) -> Path:
        """Write everything a resumed run needs into one file; the former one stays till then."""
        from safetensors.torch import save_file

        self.out.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"grouping.{k}": v for k, v in self.grouping.state_dict().items()}
        tensors |= {f"averaged.{k}": v for k, v in self.averaged.items()}
        tensors["torch_rng"] = torch.get_rng_state()
        for name, parameter in self._parameters():
            for key, value in self._state_of(parameter).items():
                tensors[f"optimizer.{key}.{name}"] = torch.as_tensor(value)
        self.state.prompt_rng = self.model.rng.bit_generator.state
        target = self.out / "checkpoint.safetensors"
        partial = target.with_suffix(".partial")
        tensors = {k: v.detach().contiguous() for k, v in tensors.items()}
        save_file(tensors, partial, metadata={"state": json.dumps(asdict(self.state))})
        partial.replace(target)
        return target

    def resume(self) -> bool:
        """Continue from the folder's checkpoint; False if there is none.

        Raises:
            CheckpointError: If the checkpoint is of a run with other settings, or damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = self.out / "checkpoint.safetensors"
        if not path.exists():
            return False
        try:
            with safe_open(path, "pt") as file:
                state = RunState(**json.loads(file.metadata()["state"]))
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            raise CheckpointError(f"{path}: not a checkpoint of SAM 2 training") from None
        if state.settings != self.state.settings:
            raise CheckpointError(
                f"{path}: made with {state.settings}, this run has {self.state.settings}; "
                "use another folder"
            )
        self.state = state
        self._fit_to(self.stage_at(max(0, state.step - 1))[0])
        self.model.load_state_dict(_below(tensors, "model."))
        self.grouping.load_state_dict(_below(tensors, "grouping."))
        self.averaged = _below(tensors, "averaged.")
        self.model.rng.bit_generator.state = state.prompt_rng
        for name, parameter in self._parameters():
            keys = ("step", "exp_avg", "exp_avg_sq", "momentum")
            found = {key: tensors.get(f"optimizer.{key}.{name}") for key in keys}
            self._set_state_of(parameter, {k: v for k, v in found.items() if v is not None})
        torch.set_rng_state(tensors["torch_rng"])
        return True

    def run(
        self,
        *,
        save_every: int = 200,
        progress: Callable[[int, int], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        """Train to the end, or until ``stop()``; saves every so many steps and at the end."""
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as log:
            while self.state.step < self.total_steps and not (stop and stop()):
                metrics = self.step()
                log.write(json.dumps(metrics) + "\n")
                log.flush()
                if self.state.step % save_every == 0:
                    self.save()
                if progress:
                    progress(self.state.step, self.total_steps)
        self.save()


def tracker_of(checkpoint: str | Path, image_size: int) -> Sam2Tracker:
    """Return the tracker that a run's averaged weights make.

    Args:
        checkpoint: A run's ``checkpoint.safetensors``.
        image_size: Side of the tracker's input, as in the run's last stage.

    Raises:
        CheckpointError: If the file is missing, or no checkpoint of a run.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from gar_video.trackers.sam2 import Sam2Tracker

    try:
        weights = _below(load_file(checkpoint), "averaged.")
    except (SafetensorError, OSError):
        raise CheckpointError(f"{checkpoint}: not a checkpoint of SAM 2 training") from None
    tracker = Sam2Tracker.from_config(nano_config(image_size), device="cpu")
    if weights.keys() != tracker.predictor.state_dict().keys():
        raise CheckpointError(f"{checkpoint}: no averaged weights of nano SAM 2 in it")
    tracker.predictor.load_state_dict(weights)
    return tracker


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
