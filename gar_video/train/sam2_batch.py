"""Clips as ``SAM2Train`` takes them, and what it answers as its losses take it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from gar_video.train.sam2_data import Clip

# How frames are normalised: sam2's loader uses ImageNet's mean and deviation.
_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


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


def at_loss_size(
    outputs: Sequence[dict[str, Any]], masks: torch.Tensor
) -> tuple[list[dict[str, Any]], torch.Tensor]:
    """Bring outputs and truth to half the input's size, where losses cost a quarter.

    The masks' own grid is half as fine again, so nothing that the model can say is lost.

    Args:
        outputs: What ``SAM2Train`` returns, one entry a frame.
        masks: True masks ``[T, O, S, S]`` bool.

    Returns:
        The outputs with ``multistep_pred_multimasks_high_res`` of ``S // 2``, and the share of each
        such pixel that is the object's, ``[T, O, S // 2, S // 2]`` float32.
    """
    truth = functional.avg_pool2d(masks.float(), 2)
    size = tuple(truth.shape[-2:])
    name = "multistep_pred_multimasks"
    resized = [
        {
            **output,
            f"{name}_high_res": [
                functional.interpolate(low, size, mode="bilinear") for low in output[name]
            ],
        }
        for output in outputs
    ]
    return resized, truth


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
