"""What nano SAM 2 is trained on, one part after another."""

from __future__ import annotations

from dataclasses import dataclass


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
        frozen: Leave the image encoder as it is, which saves two fifths of a step.
        singles: Share of steps on single frames, four times as many.
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
    frozen: bool = False
    singles: float = 0.0


# The single frames teach to separate things, at the smallest size that still shows them: sizes can
# be changed at any time, and masks are finer at 192 pixels without further training. Then the
# encoder is left as it is and memory is taught on top of it.
NANO_STAGES = (
    Stage(250, num_frames=1, clips=16, image_size=128, lr=1e-3, lr_end=1e-3, encoder_only=True),
    Stage(900, num_frames=1, clips=14, image_size=128, lr=1e-3, lr_end=5e-4, corrected=0.1),
    Stage(
        1250, num_frames=6, clips=3, image_size=160, lr=7e-4, lr_end=2e-4, corrected=0.1,
        frozen=True, singles=0.1,
    ),
    Stage(
        400, num_frames=6, clips=3, image_size=192, lr=2e-4, lr_end=3e-5, corrected=0.1,
        frozen=True, singles=0.1,
    ),
)  # fmt: skip
