"""SAM 2 as a tracker: boxes, clicks and masks in, tracks out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from gar_video.trackers.sam2_build import build_predictor
from gar_video.trackers.sam2_checkpoint import load_predictor, save_predictor
from gar_video.trackers.sam2_config import Config
from gar_video.trackers.sam2_constants import keep_constants
from gar_video.trackers.sam2_prompts import group_prompts
from gar_video.trackers.sam2_session import Cancel, Sam2Session

from gar_video.devices import resolve_device, resolve_dtype
from gar_video.errors import CheckpointError, PromptError
from gar_video.visual_prompts import VisualPrompt

if TYPE_CHECKING:
    import supervision as sv
    from sam2.sam2_video_predictor import SAM2VideoPredictor

    from gar_video.tracks import Tracks
    from gar_video.video import Video

Progress = Callable[[int, int], None]
Mode = Literal["exact", "fast", "faster"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Sam2Tracker:
    """Tracks what the user points at, with masks equal to sam2's own predictor's.

    In float32 on the CPU an object's masks are those of ``SAM2VideoPredictor``, bit for bit: of
    giving it the object's prompts, then ``propagate_in_video``, then
    ``propagate_in_video(reverse=True)``. Memory does not grow with the clip.

    The mode ``"fast"`` computes the objects of a frame together. Sums are then rounded in another
    order, and a pixel on an object's very edge may come out otherwise. The mode ``"faster"``
    averages memories over cells of 2x2 places as well, those of prompted frames excepted: its
    masks are others, by more than rounding.

    Args:
        predictor: A ``SAM2VideoPredictor``.
        config: Its configuration, needed to save it.
        mode: ``"exact"``, ``"fast"`` or ``"faster"``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
        dtype: ``"auto"`` (bfloat16 on CUDA, float32 elsewhere), ``"float32"``, ``"bfloat16"`` or
            ``"float16"``. Weights stay in float32; other types are used by autocast, as sam2 does.

    Raises:
        DeviceError: If the device is not there.
        PromptError: If there is no such mode.
    """

    def __init__(
        self,
        predictor: SAM2VideoPredictor,
        *,
        config: Config | None = None,
        mode: Mode = "exact",
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
    ) -> None:
        if mode not in MODES:
            raise PromptError(f"mode is {mode!r}; expected 'exact', 'fast' or 'faster'")
        self.mode = mode
        self.device = resolve_device(device)
        self.dtype = resolve_dtype(dtype, self.device)
        self.config = config
        self.predictor: Any = predictor.to(self.device).eval()
        if not _can_fill_holes(self.device):
            # sam2 would try on every frame, warn, and leave the mask as it is.
            self.predictor.fill_hole_area = 0
        keep_constants(self.predictor)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        config: Config | None = None,
        mode: Mode = "exact",
    ) -> Sam2Tracker:
        """Load a checkpoint.

        Args:
            name_or_path: ``"nano"`` (comes with the package), a hub id such as
                ``facebook/sam2.1-hiera-small``, a folder written by ``save_pretrained``, or a
                file of SAM 2's weights (``.pt`` or ``.safetensors``; its size is recognised).
            device: Where to compute.
            dtype: Number type to compute in.
            config: Architecture of a weights file that sam2 does not ship a configuration for.
            mode: ``"exact"``, ``"fast"`` or ``"faster"``.

        Raises:
            CheckpointError: If it is missing, damaged, not SAM 2's, or needs unpickling.
            DeviceError: If the device is not there.
        """
        resolve_device(device)  # before a download
        predictor, found = load_predictor(name_or_path, config)
        return cls(predictor, config=found, mode=mode, device=device, dtype=dtype)

    @classmethod
    def from_config(
        cls,
        config: Config,
        *,
        seed: int = 0,
        mode: Mode = "exact",
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
    ) -> Sam2Tracker:
        """Make a tracker with random weights, for tests and training.

        Args:
            config: Such as ``nano_config()``.
            seed: The same seed gives the same weights; torch's own random state is left alone.
            mode: ``"exact"``, ``"fast"`` or ``"faster"``.
            device: Where to compute.
            dtype: Number type to compute in.

        Raises:
            CheckpointError: If the configuration cannot be built.
            DeviceError: If the device is not there.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            predictor = build_predictor(config)
        return cls(predictor, config=config, mode=mode, device=device, dtype=dtype)

    def save_pretrained(self, folder: str | os.PathLike[str], *, half: bool = False) -> None:
        """Write ``config.yaml`` and ``model.safetensors``, which ``from_pretrained`` loads.

        Args:
            folder: Where to.
            half: Store float16; it is loaded to float32 again.

        Raises:
            CheckpointError: If the configuration is unknown or the folder cannot be written.
        """
        if self.config is None:
            raise CheckpointError(
                "this tracker was made from a predictor without its config; give config= to "
                "Sam2Tracker so that it can be saved"
            )
        save_predictor(self.predictor, self.config, Path(folder), half=half)

    def session(
        self, video: Video, *, offload_state: bool = False, cancel: Cancel | None = None
    ) -> Sam2Session:
        """Start tracking step by step: ``add`` prompts, ``propagate``, ``add`` more.

        Args:
            video: The video.
            offload_state: Keep memories in the CPU's memory instead of the accelerator's.
            cancel: Asked before every frame; True stops with ``Cancelled``.
        """
        return Sam2Session(
            self.predictor,
            video,
            dtype=self.dtype,
            offload_state=offload_state,
            cancel=cancel,
            together=self.mode != "exact",
            pooled=self.mode == "faster",
        )

    def track(
        self,
        video: Video,
        prompts: Sequence[VisualPrompt],
        *,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
        start_frame: int | None = None,
        end_frame: int | None = None,
    ) -> Tracks:
        """Track the prompted objects through the video, in both directions.

        Every prompt conditions its object on its frame. Each object is followed from its earliest
        prompted frame to the end, then from there back to the beginning.

        Args:
            video: The video.
            prompts: Boxes, points and masks on any frames, for any objects. A box and points of
                one object on one frame count together.
            progress: Called with (frames done, frames in all).
            cancel: Asked before every frame; True stops.
            start_frame: First frame to track; the video's by default.
            end_frame: One past the last frame to track; the video's end by default.

        Returns:
            The tracks. An object has no region in frames where its presence score says that it
            is not there.

        Raises:
            PromptError: If there are no prompts, one lies outside the video or the asked frames,
                or two contradict each other.
            Cancelled: If ``cancel`` said so.
            DeviceError: If memory runs out.
        """
        from gar_video.tracks_builder import TracksBuilder

        start, end = _window(len(video), start_frame, end_frame)
        flat = _checked(prompts, video, start, end)
        builder = TracksBuilder((video.width, video.height), len(video))
        for prompt in flat:
            builder.add_object(prompt.object_id)
        with self.session(video, cancel=cancel) as session:
            session.add(flat)
            firsts = session.first_prompted_frames.values()
            total = end - min(firsts) + max(firsts) - start
            forwards = session.propagate(end_frame=end)
            backwards = session.propagate(end_frame=start, reverse=True)
            for done, (frame, detections) in enumerate(chain(forwards, backwards), start=1):
                for k, object_id in enumerate(detections.tracker_id):
                    score = float(detections.confidence[k])
                    builder.add_mask(frame, int(object_id), detections.mask[k], score)
                if progress is not None:
                    progress(done, total)
        return builder.build()

    def stream(
        self,
        video: Video,
        prompts: Sequence[VisualPrompt],
        *,
        both_directions: bool = False,
        cancel: Cancel | None = None,
        start_frame: int | None = None,
        end_frame: int | None = None,
    ) -> Iterator[tuple[int, sv.Detections]]:
        """Track and hand out each frame as it is done, in order of frames.

        Args:
            video: The video.
            prompts: As for ``track``.
            both_directions: Also track each object before its earliest prompt. What has to wait to
                be handed out in order is kept run-length coded.
            cancel: Asked before every frame; True stops.
            start_frame: First frame to hand out (``both_directions``).
            end_frame: One past the last frame; the video's end by default.

        Yields:
            ``(frame_index, detections)``: ``mask`` ``(N, H, W)`` bool, ``tracker_id``,
            ``confidence`` (how sure the model is that the object is there, 0 to 1) and ``xyxy``.
            An object that is not there has no row. To prompt midway, use ``session``.

        Raises:
            PromptError: As ``track``, before the first frame.
            Cancelled: If ``cancel`` said so.
            DeviceError: If memory runs out.
        """
        start, end = _window(len(video), start_frame, end_frame)
        flat = _checked(prompts, video, start, end)
        session = self.session(video, cancel=cancel)
        return _stream(session, flat, both_directions, start, end)


def _stream(
    session: Sam2Session,
    prompts: Sequence[VisualPrompt],
    both_directions: bool,
    start: int,
    end: int,
) -> Iterator[tuple[int, sv.Detections]]:
    with session:
        session.add(prompts)
        firsts = session.first_prompted_frames.values()
        if not both_directions or max(firsts) <= start:
            yield from session.propagate(end_frame=end)
            return
        # The backward pass looks at the frames just after each first prompt, so these come first.
        turn = min(max(firsts) + session.reach + 1, end)
        waiting: dict[int, list[_Packed]] = {}
        for frame, detections in session.propagate(end_frame=turn):
            waiting[frame] = [_Packed(detections)]
        memories = session.remember()
        for frame, detections in session.propagate(end_frame=start, reverse=True):
            waiting.setdefault(frame, []).append(_Packed(detections))
        session.recall(memories)
        for frame in range(start, turn):
            yield frame, _unpack(waiting.pop(frame))
        if turn < end:
            yield from session.propagate(turn, end)


class _Packed:
    """A frame's detections with the masks run-length coded."""

    def __init__(self, detections: sv.Detections) -> None:
        from gar_video.masks import encode

        masks: Any = detections.mask
        self.shape = masks.shape[1:]
        self.codes = [encode(mask) for mask in masks]
        detections.mask = None
        self.detections = detections


def _unpack(parts: Sequence[_Packed]) -> sv.Detections:
    """Put the objects of one frame, from both passes, together again."""
    import numpy as np
    import supervision as sv

    from gar_video.masks import decode

    masks = [decode(code) for part in parts for code in part.codes]
    rows = [part.detections for part in parts]
    return sv.Detections(
        xyxy=np.concatenate([row.xyxy for row in rows]),
        mask=np.array(masks, bool).reshape(-1, *parts[0].shape),
        confidence=np.concatenate([row.confidence for row in rows]),
        tracker_id=np.concatenate([row.tracker_id for row in rows]),
    )


def _window(num_frames: int, start: int | None, end: int | None) -> tuple[int, int]:
    first = 0 if start is None else start
    last = num_frames if end is None else end
    if not 0 <= first < last <= num_frames:
        raise PromptError(
            f"frames {first} to {last} were asked for; expected 0 <= start < end <= {num_frames}, "
            "the length of the video"
        )
    return first, last


def _checked(
    prompts: Sequence[VisualPrompt], video: Video, start: int, end: int
) -> list[VisualPrompt]:
    """Return the prompts, in order of frame, if they are right and inside the asked frames."""
    groups = group_prompts(prompts, len(video), (video.width, video.height))
    for group in groups:
        if not start <= group[0].frame < end:
            raise PromptError(
                f"prompt on frame {group[0].frame}, but frames {start} to {end - 1} were asked for"
            )
    return [prompt for group in groups for prompt in group]


def _can_fill_holes(device: torch.device) -> bool:
    """Whether sam2's CUDA extension for small holes is there and can be used."""
    if device.type != "cuda":
        return False
    spec = find_spec("sam2")
    where = list(spec.submodule_search_locations or ()) if spec else []
    return PathFinder.find_spec("sam2._C", where) is not None
