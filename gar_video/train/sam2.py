"""Training of nano SAM 2 with sam2's own training model and losses, on clips drawn in memory.

First single frames (box or click to mask), then short clips with memory, then longer ones; each
stage is a line of :data:`NANO_STAGES`. A run continues from its last checkpoint, to the step.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from gar_video.errors import CheckpointError
from gar_video.trackers.sam2_build import import_sam2
from gar_video.train.optim import Muon
from gar_video.train.sam2_batch import at_loss_size, batch_of, first_guess_j
from gar_video.train.sam2_data import Clip, mixed_clip
from gar_video.train.sam2_grouping import Grouping
from gar_video.train.sam2_ship import below, ship
from gar_video.train.sam2_stages import NANO_STAGES, Stage
from gar_video.train.sam2_start import training_model

# Weights whose updates Muon makes orthogonal, at so many times AdamW's learning rate.
_BLOCKS = re.compile(r"trunk\.blocks|memory_attention\.layers|sam_mask_decoder\.transformer")
_MUON_SHARE = 15.0


@dataclass
class RunState:
    """Where a run stands; everything beside tensors that a resumed run needs."""

    step: int = 0
    seconds: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    prompt_rng: dict[str, Any] | None = None


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
        average: float = 0.99,
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
            torch.optim.AdamW(others, lr=1.0, betas=(0.9, 0.98), weight_decay=0.01, foreach=True),
            Muon(matrices, lr=1.0),
        ]

    def start_from(self, checkpoint: str | Path) -> None:
        """Take over the averaged weights of another run, and nothing else of it."""
        from safetensors.torch import load_file

        tensors = load_file(checkpoint)
        own = self.model.state_dict()
        weights = below(tensors, "averaged.")
        fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
        self.model.load_state_dict(fitting, strict=False)
        self.grouping.load_state_dict(below(tensors, "grouping."))
        self.averaged = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

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
            weight_dict={"loss_mask": 20, "loss_dice": 1, "loss_iou": 1, "loss_class": 2},
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
        rng = np.random.default_rng((self.seed, number))
        if rng.random() < stage.singles:
            stage = replace(stage, num_frames=1, clips=4 * stage.clips)
        self._fit_to(stage)
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
        with torch.set_grad_enabled(not stage.frozen):
            maps = self.model.forward_image(images)
        # Two frames of a clip are enough for the losses that teach single pictures.
        chosen = sorted({0, int(torch.randint(batch.num_frames, ()))})
        pictures, place = index[chosen].unique(return_inverse=True)
        codes = self.grouping.codes([level[pictures] for level in maps["backbone_fpn"]])
        if stage.encoder_only:
            together, _ = self.grouping(codes, place, batch.masks[chosen])
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
        pointers = torch.stack([outputs[t]["obj_ptr"] for t in chosen])
        together, pointing = self.grouping(codes, place, batch.masks[chosen], pointers)
        outputs, truth = at_loss_size(outputs, batch.masks)
        losses = self.loss(outputs, truth)
        metrics: dict[str, Any] = {
            "grouping": float(together.detach()),
            "pointing": float(pointing.detach()),
            "apart": float(apart.detach()),
        }
        metrics["j"] = [round(j, 4) for j in first_guess_j(outputs, truth > 0.5)]
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
        self.model.load_state_dict(below(tensors, "model."))
        self.grouping.load_state_dict(below(tensors, "grouping."))
        self.averaged = below(tensors, "averaged.")
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


def main() -> None:
    """Make nano SAM 2 from nothing; continues where an earlier call left off."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--work", type=Path, help="curve and states; OUT-work by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--speed", type=float, default=1.0, help="divide the steps of all stages")
    args = parser.parse_args()
    work = args.work or args.out.with_name(f"{args.out.name}-work")
    torch.set_num_threads(args.threads)
    # Vanishing gradients of masks far from their edge would be computed at a tenth of the speed.
    torch.set_flush_denormal(True)
    stages = [replace(s, steps=max(1, round(s.steps / args.speed))) for s in NANO_STAGES]
    run = Sam2Training(work, mixed_clip, stages=stages, seed=args.seed)
    run.resume()
    run.run(progress=_show)
    print(f"wrote {ship(args.out, work / 'checkpoint.safetensors', stages[-1].image_size)}")


def _show(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        print(f"step {done} of {total}", flush=True)


if __name__ == "__main__":
    main()
