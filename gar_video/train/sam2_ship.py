"""From a run of nano SAM 2's training to a tracker, and to the checkpoint in the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gar_video.errors import CheckpointError
from gar_video.trackers.sam2_config import nano_config

if TYPE_CHECKING:
    from gar_video.trackers.sam2 import Sam2Tracker


def ship(folder: Path, checkpoint: str | Path, image_size: int) -> Path:
    """Write a run's averaged weights with 16 bits; what else the folder holds (its card) stays."""
    tracker_of(checkpoint, image_size).save_pretrained(folder, half=True)
    return folder


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
        weights = below(load_file(checkpoint), "averaged.")
    except (SafetensorError, OSError):
        raise CheckpointError(f"{checkpoint}: not a checkpoint of SAM 2 training") from None
    tracker = Sam2Tracker.from_config(nano_config(image_size), device="cpu")
    if weights.keys() != tracker.predictor.state_dict().keys():
        raise CheckpointError(f"{checkpoint}: no averaged weights of nano SAM 2 in it")
    tracker.predictor.load_state_dict(weights)
    return tracker


def below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
