"""One video being tracked by SAM 2: prompts go in, masks come out, memory stays flat.

The computing is sam2's own, frame by frame and object by object, which is what makes the masks
equal. What differs is what is kept: an output is dropped as soon as memory attention can no longer
reach it, frames are decoded when they are needed, and prompted frames stay.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from gar_video.trackers.sam2_attention import as_expected, shared_frame
from gar_video.trackers.sam2_frames import LazyImages
from gar_video.trackers.sam2_pooling import PooledBank
from gar_video.trackers.sam2_prompts import group_prompts
from gar_video.trackers.sam2_together import in_step, track_together
from gar_video.trackers.sam2_windows import unpadded_windows

from gar_video.devices import memory_guard
from gar_video.errors import Cancelled, PromptError
from gar_video.visual_prompts import Box, Mask, Points, VisualPrompt

if TYPE_CHECKING:
    import supervision as sv
    from sam2.sam2_video_predictor import SAM2VideoPredictor

    from gar_video.video import Video

Cancel = Callable[[], bool]
_FORWARDS, _BACKWARDS = {"reverse": False}, {"reverse": True}


class Sam2Session:
    """Tracking in one video, step by step; made by ``Sam2Tracker.session``.

    ``add`` takes prompts at any time, also between two frames of ``propagate``. A prompt on a
    frame not tracked yet, or left behind already, makes it a conditioning frame, as in SAM 2. On
    the frame handed out last it corrects that frame's masks with SAM 2's memory of the object.

    Attributes:
        video: The video.
        reach: How many frames back memory attention looks at most.
    """

    def __init__(
        self,
        predictor: SAM2VideoPredictor,
        video: Video,
        *,
        dtype: torch.dtype = torch.float32,
        offload_state: bool = False,
        cancel: Cancel | None = None,
        together: bool = False,
        pooled: bool = False,
    ) -> None:
        self.video = video
        self.resolution_wh: tuple[int, int] = (int(video.width), int(video.height))
        self._predictor: Any = predictor
        self._dtype = dtype
        self._cancel = cancel
        # Where objects compete for pixels, sam2 one by one and a batch are not the same thing.
        self._together = together and not predictor.non_overlap_masks_for_mem_enc
        pooled = pooled and self._together and as_expected(predictor.memory_attention)
        self._bank = PooledBank(predictor) if pooled else None
        self._last: int | None = None
        self._images = LazyImages(video, predictor.image_size)
        self._state = self._new_state(offload_state)
        self.memory_reach, self.reach = _reaches(predictor, len(video))

    def _new_state(self, offload_state: bool) -> dict[str, Any]:
        """Return what ``init_state`` of sam2 would, with frames that are decoded on demand."""
        device = self._predictor.device
        width, height = self.resolution_wh
        empty: tuple[str, ...] = (
            "point_inputs_per_obj",
            "mask_inputs_per_obj",
            "cached_features",
            "constants",
            "output_dict_per_obj",
            "temp_output_dict_per_obj",
            "frames_tracked_per_obj",
        )
        return {
            **{name: {} for name in empty},
            "images": self._images,
            "num_frames": len(self._images),
            "offload_video_to_cpu": True,
            "offload_state_to_cpu": offload_state,
            "video_height": height,
            "video_width": width,
            "device": device,
            "storage_device": torch.device("cpu") if offload_state else device,
            "obj_id_to_idx": OrderedDict(),
            "obj_idx_to_id": OrderedDict(),
            "obj_ids": [],
        }

    # -- what is there ---------------------------------------------------------------------------

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the objects prompted so far, in the order they came."""
        return tuple(self._state["obj_ids"])

    @property
    def first_prompted_frames(self) -> dict[int, int]:
        """Object id to the earliest frame that conditions it."""
        return {
            object_id: min(outputs["cond_frame_outputs"])
            for object_id, outputs in zip(self.object_ids, self._outputs(), strict=True)
        }

    @property
    def num_kept_outputs(self) -> int:
        """Frame outputs held for memory attention, prompted frames included, over all objects."""
        return sum(len(kind) for outputs in self._outputs() for kind in outputs.values())

    @property
    def num_held_frames(self) -> int:
        """Decoded frames held."""
        return self._images.held

    def _outputs(self) -> list[dict[str, dict[int, Any]]]:
        return list(self._state.get("output_dict_per_obj", {}).values())

    # -- prompts ---------------------------------------------------------------------------------

    def add(self, prompts: Sequence[VisualPrompt]) -> dict[int, sv.Detections]:
        """Take prompts and return the masks of the prompted frames.

        Box and points of one object on one frame count as one prompt. Further points on a frame
        that has been prompted before are added to its points; a box or a mask replaces them.

        Args:
            prompts: Boxes, points and masks on any frames, for any objects.

        Returns:
            Frame index to the prompted objects' masks there.

        Raises:
            PromptError: If a prompt lies outside the video or contradicts another.
        """
        groups = group_prompts(prompts, len(self._images), self.resolution_wh)
        found: dict[int, dict[int, tuple[npt.NDArray[np.bool_], float]]] = {}
        for number, group in enumerate(groups):
            frame, object_id = group[0].frame, group[0].object_id
            self._images.backwards = False
            found.setdefault(frame, {})[object_id] = self._add_group(group)
            is_last = number + 1 == len(groups) or groups[number + 1][0].frame != frame
            if is_last:
                # Encoding the memory now finds the frame's features still at hand.
                self._preflight()
        return {frame: self._detections(masks) for frame, masks in found.items()}

    @torch.inference_mode()
    def _add_group(self, group: list[VisualPrompt]) -> tuple[npt.NDArray[np.bool_], float]:
        frame, object_id = group[0].frame, group[0].object_id
        self._forget_if_left_behind(frame, object_id)
        with memory_guard(f"taking a prompt on frame {frame}"), self._computing(object_id):
            if isinstance(group[0], Mask):
                _, ids, logits = self._predictor.add_new_mask(
                    self._state, frame, object_id, group[0].mask
                )
            else:
                box = group[0].xyxy if isinstance(group[0], Box) else None
                points = [prompt for prompt in group if isinstance(prompt, Points)]
                xy = [point for prompt in points for point in prompt.xy]
                labels = [label for prompt in points for label in prompt.labels or ()]
                _, ids, logits = self._predictor.add_new_points_or_box(
                    self._state,
                    frame,
                    object_id,
                    points=np.asarray(xy, np.float32) if xy else None,
                    labels=np.asarray(labels, np.int32) if xy else None,
                    clear_old_points=box is not None,
                    box=None if box is None else np.asarray(box, np.float32),
                )
        index = ids.index(object_id)
        temporary = self._state["temp_output_dict_per_obj"][index]
        outputs = {**temporary["non_cond_frame_outputs"], **temporary["cond_frame_outputs"]}
        score = float(outputs[frame]["object_score_logits"].float().sigmoid())
        return (logits[index, 0] > 0).cpu().numpy(), score

    def _forget_if_left_behind(self, frame: int, object_id: int) -> None:
        """Let a prompt on a frame whose memories are gone condition it afresh."""
        index = self._state["obj_id_to_idx"].get(object_id)
        if index is None or frame == self._last:
            return
        self._state["frames_tracked_per_obj"][index].pop(frame, None)
        self._state["output_dict_per_obj"][index]["non_cond_frame_outputs"].pop(frame, None)

    def _preflight(self) -> None:
        with torch.inference_mode(), self._computing():
            self._predictor.propagate_in_video_preflight(self._state)
            if self._bank is not None:
                for outputs in self._outputs():
                    self._bank.pool(outputs)

    # -- tracking --------------------------------------------------------------------------------

    def propagate(
        self,
        start_frame: int | None = None,
        end_frame: int | None = None,
        *,
        reverse: bool = False,
    ) -> Iterator[tuple[int, sv.Detections]]:
        """Track frame by frame.

        Each object is followed forwards from its earliest prompted frame and backwards from it,
        as SAM 2's predictor does for that object alone.

        Args:
            start_frame: First frame to handle. By default the earliest prompted frame, and with
                ``reverse`` the frame before the latest of the objects' earliest prompted frames.
            end_frame: Where to stop: one past the last frame (``reverse``: the last frame). By
                default the end (``reverse``: the beginning) of the video.
            reverse: Go towards the beginning. With a ``start_frame`` of its own, objects are
                followed back from their latest prompted frame, for after a correction.

        Yields:
            ``(frame_index, detections)``; an object that is not there has no row.

        Raises:
            Cancelled: If the session's ``cancel`` hook said so.
            PromptError: If nothing was prompted yet, or the range lies outside the video.
            DeviceError: If memory runs out.
        """
        count = len(self._images)
        if start_frame is None:
            firsts = self.first_prompted_frames.values()
            start = max(firsts, default=0) - 1 if reverse else min(firsts, default=0)
        else:
            start = start_frame
        end = (0 if reverse else count) if end_frame is None else end_frame
        if not self.object_ids:
            raise PromptError("no prompts; call add with at least one Box, Points or Mask")
        if not -1 <= start < count or not 0 <= end <= count:
            raise PromptError(
                f"frames {start_frame} to {end_frame} of a video with frames 0 to {count - 1}"
            )
        for frame in range(start, end - 1, -1) if reverse else range(start, end):
            if self._cancel is not None and self._cancel():
                self.close()
                raise Cancelled(f"tracking was cancelled at frame {frame}")
            self._images.backwards = reverse
            again = reverse and start_frame is not None
            yield frame, self._detections(self._track_frame(frame, reverse, again))

    def _takes_part(self, prompted: dict[int, Any], frame: int, reverse: bool, again: bool) -> bool:
        """Whether an object with these prompted frames is followed on this frame."""
        if not reverse:
            return min(prompted) <= frame
        return frame <= max(prompted) if again else frame < min(prompted)

    @torch.inference_mode()
    def _track_frame(
        self, frame: int, reverse: bool, again: bool
    ) -> dict[int, tuple[npt.NDArray[np.bool_], float]]:
        """Run the objects on one frame; return id to mask and presence, and forget what it may."""
        state = self._state
        with memory_guard(f"tracking on frame {frame}"), self._computing():
            self._preflight()
            taking = {
                index: outputs
                for index, outputs in state["output_dict_per_obj"].items()
                if self._takes_part(outputs["cond_frame_outputs"], frame, reverse, again)
            }
            found = self._run_objects(taking, frame, reverse)
            scores = []
            for index, (output, _) in found.items():
                self._drop_unreachable(taking[index], frame, reverse)
                tracked = state["frames_tracked_per_obj"][index]
                tracked.clear()
                tracked[frame] = _BACKWARDS if reverse else _FORWARDS
                scores.append(output["object_score_logits"].float().sigmoid().flatten())
            masks = self._full_size([logits for _, logits in found.values()])
        self._last = frame
        presence = torch.cat(scores).tolist() if scores else []
        ids = [state["obj_idx_to_id"][index] for index in found]
        return dict(zip(ids, zip(masks, presence, strict=True), strict=True))

    def _run_objects(
        self, taking: dict[int, dict[str, dict[int, Any]]], frame: int, reverse: bool
    ) -> dict[int, tuple[Any, torch.Tensor]]:
        """Return each object's output and low-resolution logits on a frame, in given order."""
        found: dict[int, tuple[Any, torch.Tensor]] = {}
        new = []
        for index, outputs in taking.items():
            output = outputs["cond_frame_outputs"].get(frame)
            if output is None:
                new.append((index, outputs))
            else:
                found[index] = output, output["pred_masks"].to(self._predictor.device)
        groups = in_step(new) if self._together else [[index] for index, _ in new]
        for group in groups:
            objects = [taking[index] for index in group]
            made = self._run_group(objects, frame, reverse)
            for index, outputs, (output, logits) in zip(group, objects, made, strict=True):
                outputs["non_cond_frame_outputs"][frame] = output
                if self._bank is not None:
                    self._bank.pool(outputs)
                found[index] = output, logits
        return {index: found[index] for index in taking}

    def _run_group(
        self, objects: list[dict[str, dict[int, Any]]], frame: int, reverse: bool
    ) -> list[tuple[Any, torch.Tensor]]:
        if self._together:
            whole = None if self._bank is None else self._bank.num_whole(objects[0])
            return track_together(self._predictor, self._state, objects, frame, reverse, whole)
        return [
            self._predictor._run_single_frame_inference(
                inference_state=self._state,
                output_dict=objects[0],
                frame_idx=frame,
                batch_size=1,
                is_init_cond_frame=False,
                point_inputs=None,
                mask_inputs=None,
                reverse=reverse,
                run_mem_encoder=True,
            )
        ]

    def _full_size(self, logits: list[torch.Tensor]) -> list[npt.NDArray[np.bool_]]:
        """Bring low-resolution logits to the video's size and threshold them at 0."""
        # One by one, as the float maps are large; together where objects compete for each pixel.
        together = self._predictor.non_overlap_masks and logits
        batches = [torch.cat(logits)] if together else logits
        masks: list[npt.NDArray[np.bool_]] = []
        for batch in batches:
            _, full = self._predictor._get_orig_video_res_output(self._state, batch)
            masks.extend((full[:, 0] > 0).cpu().numpy())
        return masks

    def _drop_unreachable(
        self, outputs: dict[str, dict[int, Any]], frame: int, reverse: bool
    ) -> None:
        """Drop what neither this pass nor one back from the object's first prompt can look at.

        Of outputs that only object pointers are read from, the large maps are dropped.
        """
        kept = outputs["non_cond_frame_outputs"]
        turn = min(outputs["cond_frame_outputs"])
        for t in [t for t in kept if t != frame]:
            behind = t - frame if reverse else frame - t
            # What lies ahead was left by an earlier pass and is about to be made anew.
            from_here = behind if behind > 0 else self.reach
            from_turn = t - turn if t > turn else self.reach + 1
            distance = min(from_here, from_turn)
            if distance > self.reach:
                del kept[t]
            elif distance > self.memory_reach and kept[t]["maskmem_features"] is not None:
                kept[t] = {**kept[t], "maskmem_features": None, "pred_masks": None}

    def remember(self) -> list[dict[int, Any]]:
        """Return the memories of unprompted frames, for ``recall``."""
        return [dict(outputs["non_cond_frame_outputs"]) for outputs in self._outputs()]

    def recall(self, memories: list[dict[int, Any]]) -> None:
        """Go back to remembered memories."""
        for outputs, memory in zip(self._outputs(), memories, strict=True):
            outputs["non_cond_frame_outputs"].clear()
            outputs["non_cond_frame_outputs"].update(memory)

    def _detections(self, masks: dict[int, tuple[npt.NDArray[np.bool_], float]]) -> sv.Detections:
        import supervision as sv

        from gar_video.masks import box_xyxy

        seen = {key: value for key, value in masks.items() if value[0].any()}
        width, height = self.resolution_wh
        return sv.Detections(
            xyxy=np.array([box_xyxy(mask) for mask, _ in seen.values()], float).reshape(-1, 4),
            mask=np.array([mask for mask, _ in seen.values()], bool).reshape(-1, height, width),
            confidence=np.array([score for _, score in seen.values()], float),
            tracker_id=np.array(list(seen), int),
        )

    # -- the end ---------------------------------------------------------------------------------

    def _computing(self, object_id: int | None = None) -> ExitStack:
        """Return what everything is computed in: number types, and the mode's own ways.

        Args:
            object_id: The object being prompted: sam2 itself then reads its memories.
        """
        stack = ExitStack()
        device = self._predictor.device.type
        enabled = self._dtype != torch.float32
        stack.enter_context(torch.autocast(device, dtype=self._dtype, enabled=enabled))
        if self._together:
            stack.enter_context(unpadded_windows(self._predictor.image_encoder.trunk))
        index = self._state["obj_id_to_idx"].get(object_id)
        if self._bank is not None and index is not None:
            whole = self._bank.num_whole(self._state["output_dict_per_obj"][index])
            stack.enter_context(shared_frame(self._predictor.memory_attention, whole))
        return stack

    def close(self) -> None:
        """Let go of frames and memories."""
        self._state = self._new_state(False)
        self._images._frames.clear()
        self._last = None

    def __enter__(self) -> Sam2Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _reaches(predictor: SAM2VideoPredictor, num_frames: int) -> tuple[int, int]:
    """Return how far back memory maps, and anything at all, are read by memory attention."""
    stride = predictor.memory_temporal_stride_for_eval
    # The last frame, then every stride-th of those before.
    memory = 0 if predictor.num_maskmem <= 1 else 1 + stride * (predictor.num_maskmem - 2)
    memory += stride - 1 if predictor.num_maskmem > 2 else 0
    pointers = 0
    if predictor.use_obj_ptrs_in_encoder:
        pointers = min(num_frames, predictor.max_obj_ptrs_in_encoder) - 1
    return memory, max(memory, pointers)
