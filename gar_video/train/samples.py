"""From scenes to training samples: which frames, which objects, what is true of each region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from gar_video.processor import GARProcessor
from gar_video.sampling import uniform
from gar_video.synth.scene import Scene
from gar_video.synth.truth import Truth
from gar_video.train.clips import box_shares, disturb_mask, draw_clip, draw_scene
from gar_video.train.packing import PackedBatch, PromptTokens, Question, prompt_tokens

# Share of clips whose masks are as rough as trackers' masks often are.
_COARSE = 0.5
# A mask of fewer pixels of a tile is no region.
_LEAST_PIXELS = 4


@dataclass
class Sample:
    """One clip with one set of prompted objects.

    Attributes:
        truth: What is true of the scene.
        objects: Places in ``scene.objects`` of the prompted objects, in prompt order.
        frame_indices: Which frames of the clip are looked at.
        frames: ``(F, S, S, 3)`` uint8.
        unions: ``(F, S, S)`` bool, the union of the prompted masks.
        boxes: Per region ``(frame, box in shares)``, slot by slot.
        visible: ``(K, F)`` bool.
        prompt: Its tokens.
        questions: What is asked.
        is_image: Whether it is looked at as a photograph.
    """

    truth: Truth
    objects: tuple[int, ...]
    frame_indices: list[int]
    frames: npt.NDArray[np.uint8]
    unions: npt.NDArray[np.bool_]
    boxes: list[tuple[float, ...]]
    visible: npt.NDArray[np.bool_]
    prompt: PromptTokens
    questions: list[Question] = field(default_factory=list)
    is_image: bool = False

    @property
    def scene(self) -> Scene:
        """The scene."""
        return self.truth.scene


@dataclass(frozen=True)
class Plan:
    """What kind of samples a batch has.

    Attributes:
        num_frames: Frames of each clip.
        num_objects: Prompted objects of each.
        level: ``"basic"`` or ``"full"``.
        is_image: One photograph instead of a clip.
    """

    num_frames: int
    num_objects: int
    level: str = "basic"
    is_image: bool = False


def draw_sample(
    rng: np.random.Generator, processor: GARProcessor, plan: Plan, side: int = 112
) -> Sample:
    """Draw a scene, look at some frames of it and point at some of its objects."""
    least = plan.num_objects
    while True:
        crowd = max(least, 1 + int(rng.choice(3, p=[0.2, 0.4, 0.4])))
        scene, plain = draw_scene(rng, plan.level, crowd)
        truth = Truth(scene)
        if plan.num_frames == 1:
            indices = [int(rng.integers(scene.num_frames))]
        else:
            indices = uniform(range(scene.num_frames), plan.num_frames)
        clip = draw_clip(rng, scene, truth.times_s[indices], plain, side)
        masks = clip.labels[None] == np.arange(1, crowd + 1)[:, None, None, None]
        visible = masks.sum((2, 3)) >= _LEAST_PIXELS
        able = np.flatnonzero(visible.any(1))
        if len(able) >= least:
            break
    objects = _pointed_at(rng, scene, able, plan.num_objects)
    coarse = rng.random() < _COARSE
    unions = np.zeros(clip.labels.shape, bool)
    boxes: list[tuple[float, ...]] = []
    for k in objects:
        for t in np.flatnonzero(visible[k]):
            mask = disturb_mask(rng, masks[k, t]) if coarse else masks[k, t]
            unions[t] |= mask
            boxes.append((float(t), *box_shares(mask)))
    seen = visible[list(objects)]
    numbers = (1,) if plan.is_image and len(objects) == 1 else tuple(range(len(objects)))
    prompt = prompt_tokens(processor, numbers, seen.tolist(), len(indices), plan.is_image)
    return Sample(
        truth, objects, indices, clip.frames, unions, boxes, seen, prompt, is_image=plan.is_image
    )


#: Plans of things that most questions are about; others only move, or stand.
_EVENTFUL = ("enter", "leave", "hide", "cross", "meet", "part", "stop", "follow")


def _pointed_at(
    rng: np.random.Generator, scene: Scene, able: npt.NDArray[np.int64], count: int
) -> tuple[int, ...]:
    """Choose the prompted objects, in order: what happens to something comes more often."""
    plans = [scene.objects[int(k)].plan for k in able]
    chances = np.array([3.0 if plan in _EVENTFUL else 1.0 for plan in plans])
    if count > 1:
        # Two that do something to each other.
        chances = np.array([4.0 if p in (*_EVENTFUL, "partner") else 1.0 for p in plans])
    chosen = rng.choice(able, size=count, replace=False, p=chances / chances.sum())
    return tuple(int(k) for k in rng.permutation(chosen))


def pack(samples: Sequence[Sample]) -> PackedBatch:
    """Put samples of one plan into a batch."""
    frames, unions, boxes, first = [], [], [], 0
    for sample in samples:
        if sample.is_image:
            # Thumbnail, then the tile that regions are replayed from: the same picture twice.
            frames.append(np.repeat(sample.frames, 2, axis=0))
            unions.append(np.repeat(sample.unions, 2, axis=0))
            boxes += [(first + 1, *box[1:]) for box in sample.boxes]
            first += 2
        else:
            frames.append(sample.frames)
            unions.append(sample.unions)
            boxes += [(first + box[0], *box[1:]) for box in sample.boxes]
            first += len(sample.frames)
    return PackedBatch(
        prompts=[sample.prompt for sample in samples],
        questions=[sample.questions for sample in samples],
        frames=np.concatenate(frames),
        unions=np.concatenate(unions),
        boxes=torch.tensor(boxes, dtype=torch.float32),
    )
