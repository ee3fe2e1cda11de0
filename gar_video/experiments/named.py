"""Questions about things by their name, where they are not prompted: nothing is, or another is."""

from __future__ import annotations

import numpy as np

from gar_video import masks
from gar_video.errors import GARVideoError
from gar_video.experiments.questions import Asked, Item
from gar_video.prompt import RegionPrompt, RegionSlot
from gar_video.sampling import uniform
from gar_video.synth.appearance import color_names, shape_names
from gar_video.synth.render import render_labels
from gar_video.synth.scene import sample_scene

_LEAST_PIXELS = 4


def draw_named(
    rng: np.random.Generator, count: int, frames: int, level: str, side: int
) -> tuple[list[Item], list[Item]]:
    """Draw clips of two different things and ask about one by its color or by its shape.

    Args:
        rng: Source of randomness.
        count: Questions.
        frames: Frames of a clip.
        level: The rendered world.
        side: Pixels of a side.

    Returns:
        The same clips and questions twice: nothing prompted, and the other thing prompted.
    """
    nothing: list[Item] = []
    elsewhere: list[Item] = []
    for _ in range(50 * count + 200):
        if len(nothing) == count:
            return nothing, elsewhere
        scene = sample_scene(rng, level, 2)
        one, other = scene.objects
        steady = all(thing.recolor is None for thing in scene.objects)
        if one.color == other.color or one.shape == other.shape or not steady:
            continue
        indices = uniform(range(scene.num_frames), frames)
        pictures, labels = render_labels(
            scene, resolution_wh=(side, side), times_s=scene.times_s[indices]
        )
        seen = [(labels == k).sum((1, 2)) >= _LEAST_PIXELS for k in (1, 2)]
        if not seen[0].all() or not seen[1].any():
            continue
        by_shape = len(nothing) % 2 == 0
        names = color_names(level) if by_shape else shape_names(level)
        truth = one.color if by_shape else one.shape
        others = [name for name in names if name != truth]
        options = [truth, *(others[int(n)] for n in rng.permutation(len(others))[:3])]
        order = [int(n) for n in rng.permutation(4)]
        question = Asked(
            "named color" if by_shape else "named shape",
            f"What color is the {one.shape}?"
            if by_shape
            else f"What shape is the {one.color} one?",
            tuple(options[n] for n in order),
            order.index(0),
        )
        regions = tuple(
            masks.encode(labels[t] == 2) if seen[1][t] else None for t in range(len(labels))
        )
        slot = RegionSlot(other.object_id, 0, regions)
        nothing.append(Item(RegionPrompt(pictures, ()), (question,)))
        elsewhere.append(Item(RegionPrompt(pictures, (slot,)), (question,)))
    raise GARVideoError(f"{frames} frames of two different things gave too few questions")
