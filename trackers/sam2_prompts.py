"""What may be prompted together, and in which order SAM 2 is given it."""

from __future__ import annotations

from collections.abc import Sequence

from gar_video.errors import PromptError
from gar_video.visual_prompts import Box, Mask, Points, VisualPrompt


def group_prompts(
    prompts: Sequence[VisualPrompt], num_frames: int, resolution_wh: tuple[int, int]
) -> list[list[VisualPrompt]]:
    """Check prompts and put together what one call of SAM 2 takes: same object, same frame.

    Returns:
        Groups in order of frame; within a frame in the given order. In a group a box comes first.

    Raises:
        PromptError: If there are none, one lies outside the video, or one object has on one frame
            two boxes, two masks, or a mask beside a box or points.
    """
    if isinstance(prompts, (Box, Points, Mask)):
        prompts = [prompts]
    groups: dict[tuple[int, int], list[VisualPrompt]] = {}
    for prompt in prompts:
        if not isinstance(prompt, (Box, Points, Mask)):
            raise PromptError(
                f"a prompt of type {type(prompt).__name__}; expected Box, Points or Mask"
            )
        prompt.check(num_frames, resolution_wh)
        groups.setdefault((prompt.frame, prompt.object_id), []).append(prompt)
    if not groups:
        raise PromptError("no prompts; give at least one Box, Points or Mask")
    for (frame, object_id), group in groups.items():
        boxes = sum(isinstance(prompt, Box) for prompt in group)
        masks = sum(isinstance(prompt, Mask) for prompt in group)
        where = f"object {object_id} has on frame {frame}"
        if boxes > 1 or masks > 1:
            kind = "boxes" if boxes > 1 else "masks"
            raise PromptError(
                f"{where} {max(boxes, masks)} {kind}; expected one (points may be added to a box, "
                "and other objects need another object_id)"
            )
        if masks and len(group) > 1:
            raise PromptError(f"{where} a mask and other prompts; expected the mask alone")
        group.sort(key=lambda prompt: not isinstance(prompt, Box))
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]
