"""Objects of one frame in one batch, where sam2's predictor runs one after the other.

The same computing, on a batch: what the objects share (the frame's features) is expanded, not
copied, and what is theirs (memories, pointers) is put side by side. Sums may be rounded in another
order than one by one, so this is not the exact mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gar_video.trackers.sam2_attention import shared_frame

Outputs = dict[str, dict[int, Any]]

# What memory attention reads of an output, and what is handed out of a new one.
_READ = ("maskmem_features", "obj_ptr")
_MADE = ("maskmem_features", "pred_masks", "obj_ptr", "object_score_logits")


def in_step(objects: Sequence[tuple[int, Outputs]]) -> list[list[int]]:
    """Group objects whose memories lie on the same frames, so that they make a batch.

    Args:
        objects: Index and outputs of each.
    """
    groups: dict[Any, list[int]] = {}
    for index, outputs in objects:
        key = tuple(
            (kind, frame, output["maskmem_features"] is None)
            for kind in ("cond_frame_outputs", "non_cond_frame_outputs")
            for frame, output in sorted(outputs[kind].items())
        )
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def track_together(
    predictor: Any,
    state: dict[str, Any],
    objects: Sequence[Outputs],
    frame: int,
    reverse: bool,
    num_whole: int | None = None,
) -> list[tuple[dict[str, Any], torch.Tensor]]:
    """Run objects of one group on a frame.

    Args:
        predictor: sam2's.
        state: Its state of the video.
        objects: Outputs of each, on the same frames.
        frame: The frame.
        reverse: Whether time runs backwards.
        num_whole: As for ``sam2_attention.attend``.

    Returns:
        For each object its output, as the predictor keeps it, and its low-resolution logits
        ``(1, 1, h, w)``.
    """
    with shared_frame(predictor.memory_attention, num_whole):
        made, logits = predictor._run_single_frame_inference(
            inference_state=state,
            output_dict=_side_by_side(objects),
            frame_idx=frame,
            batch_size=len(objects),
            is_init_cond_frame=False,
            point_inputs=None,
            mask_inputs=None,
            reverse=reverse,
            run_mem_encoder=True,
        )
    rows = []
    for row in range(len(objects)):
        part = slice(row, row + 1)
        # Rows of their own: a slice would keep the whole batch alive as long as any object's.
        output = {key: None if made[key] is None else made[key][part].clone() for key in _MADE}
        places = made["maskmem_pos_enc"]
        output["maskmem_pos_enc"] = None if places is None else [place[:1] for place in places]
        rows.append((output, logits[part]))
    return rows


def _side_by_side(objects: Sequence[Outputs]) -> Outputs:
    """Return outputs of a batch from those of its objects."""
    batch: Outputs = {}
    for kind in ("cond_frame_outputs", "non_cond_frame_outputs"):
        batch[kind] = {}
        for frame, first in objects[0][kind].items():
            own = [outputs[kind][frame] for outputs in objects]
            merged: dict[str, Any] = {
                key: None if first[key] is None else torch.cat([output[key] for output in own])
                for key in _READ
            }
            places = first["maskmem_pos_enc"]
            merged["maskmem_pos_enc"] = (
                None if places is None else [p[:1].expand(len(own), -1, -1, -1) for p in places]
            )
            batch[kind][frame] = merged
    return batch
