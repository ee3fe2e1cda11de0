"""Tracks made on the way: a detector, a tracker, and a gate for stretches where all is still.

``follow`` runs where the video is decoded, in the guarded child, so that frames cross no pipe and a
detector that hangs is ended like a decoder that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.batch.settings import Following
from gar_video.errors import TracksError
from gar_video.tracks_builder import TracksBuilder
from gar_video.video import Video

if TYPE_CHECKING:
    import supervision as sv

Image = npt.NDArray[np.uint8]

_WIDE = 640  # motion is found in pictures of at most this width
_GATE_WIDE = 96
_CHANGE = 12  # levels of a colour that count as change
_LINGER_S = 1.0  # the detector goes on for so long after the last change
_GROUND_S, _GROUND_FRAMES = 60.0, 15
_HUB = "transformers:"


class Gate:
    """Tells whether anything moves, from small pictures: far cheaper than a detector.

    Each picture is compared with the last one and with one that lags behind by about a second, so
    that what creeps is seen, too.

    Args:
        share: Share of the pixels that have to change.
        fps: Frames per second.
    """

    def __init__(self, share: float, fps: float) -> None:
        self._share = share
        self._linger = max(1, round(_LINGER_S * fps))
        self._lag = max(2, round(fps))
        self._still = 0
        self._last: npt.NDArray[np.uint8] | None = None
        self._behind: npt.NDArray[np.uint8] | None = None
        self._count = 0

    def __call__(self, frame: Image) -> bool:
        """Return whether the detector has to see a frame ``(H, W, 3)`` uint8 RGB."""
        if self._share <= 0:
            return True
        tall = max(1, round(frame.shape[0] * _GATE_WIDE / frame.shape[1]))
        small = cv2.resize(frame, (_GATE_WIDE, tall), interpolation=cv2.INTER_AREA)
        moved = self._last is None or any(
            float((cv2.absdiff(small, other) > _CHANGE).any(-1).mean()) >= self._share
            for other in (self._last, self._behind)
            if other is not None
        )
        self._still = 0 if moved else self._still + 1
        if self._count % self._lag == 0:
            self._behind = small
        self._last, self._count = small, self._count + 1
        return self._still <= self._linger


def follow(
    video: Video, following: Following, target: str, most_s: float | None = None
) -> Iterator[bool]:
    """Make tracks of what moves in a video and write them to a file.

    Args:
        video: The video.
        following: How.
        target: The file, as our own JSON.
        most_s: Stop after so many seconds of the video.

    Yields:
        For each frame whether the detector had to look at it.

    Raises:
        TracksError: If there is no such detector or tracker.
    """
    detect, track = make_detector(following.detector), _tracker(following.tracker, video)
    if following.detector == "motion" and not video.is_image:
        # The first picture a motion detector sees is all ground to it: here one without what moves.
        detect(_ground(video))
    gate = Gate(0.0 if video.is_image else following.gate, float(video.fps))
    builder = TracksBuilder(video.resolution_wh, len(video))
    from gar_video.formats.results import add_output

    for index, frame in enumerate(video):
        if most_s is not None and video.times_s[index] >= most_s:
            break
        looked = gate(frame)
        if looked:
            found = track(detect(frame), frame)
            if found.tracker_id is not None and len(found):
                add_output(builder, index, found[found.tracker_id >= 0])
        yield looked
    tracks = builder.build(allow_empty=True)
    ends = np.append(video.times_s[1:], video.duration_s)
    long = [
        object_id
        for object_id in tracks
        if float((ends - video.times_s)[tracks[object_id].frames].sum())
        >= min(following.min_track_s, video.duration_s) - 1e-6
    ]
    tracks.subset(long).save(Path(target), "json")


def _ground(video: Video) -> Image:
    """Return the median of frames spread over a video's first minute: what stays there."""
    end = int(np.searchsorted(video.times_s, _GROUND_S))
    places = np.linspace(0, end - 1, min(_GROUND_FRAMES, end)).round().astype(int)
    width, height = video.resolution_wh
    scale = min(1.0, _WIDE / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = [cv2.resize(video[int(at)], size, interpolation=cv2.INTER_AREA)
             for at in dict.fromkeys(places.tolist())]  # fmt: skip
    median = np.median(np.stack(small), axis=0).astype(np.uint8)
    return np.asarray(cv2.resize(median, (width, height), interpolation=cv2.INTER_LINEAR))


def make_detector(name: str) -> Callable[[Image], sv.Detections]:
    """Return a detector by name; see ``Following``.

    Raises:
        TracksError: If there is none, or it cannot be made.
    """
    from gar_video.trackers import online

    if name.startswith(_HUB):
        return _hub_detector(name.removeprefix(_HUB))
    detector = online.make_detector(name)
    return _small(detector) if name == "motion" else detector


def check_following(following: Following) -> None:
    """Refuse detectors and trackers that are not there, before a run begins.

    Raises:
        TracksError: If one is not.
    """
    from gar_video.trackers import online

    if following.tracker == "bytetrack" and not _has_roboflow():
        raise TracksError(
            "tracker bytetrack needs Roboflow's trackers; install it with pip install "
            "'gar-video[batch]', or take the built-in one with --tracker iou"
        )
    online.make_tracker(following.tracker)
    if not following.detector.startswith(_HUB):
        online.make_detector(following.detector)


def _has_roboflow() -> bool:
    try:
        version("trackers")
    except PackageNotFoundError:
        return False
    return True


def _tracker(name: str, video: Video) -> Callable[[sv.Detections, Image], sv.Detections]:
    from gar_video.trackers.online import make_tracker

    return make_tracker(name, float(video.fps))


def _small(detect: Callable[[Image], sv.Detections]) -> Callable[[Image], sv.Detections]:
    """Have large pictures looked at in a smaller size."""

    def found(frame: Image) -> sv.Detections:
        height, width = frame.shape[:2]
        if width <= _WIDE:
            return detect(frame)
        scale = width / _WIDE
        small = cv2.resize(frame, (_WIDE, max(1, round(height / scale))),
                           interpolation=cv2.INTER_AREA)  # fmt: skip
        seen = detect(small)
        if not len(seen):
            return seen
        ratio = np.array([width / small.shape[1], height / small.shape[0]] * 2)
        seen.xyxy = seen.xyxy * ratio
        assert seen.mask is not None
        seen.mask = np.stack(
            [cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
             for mask in seen.mask]
        ).astype(bool)  # fmt: skip
        return seen

    return found


def _hub_detector(name: str) -> Callable[[Image], sv.Detections]:
    """Return an object detector of transformers: DETR, RT-DETR, YOLOS and their like."""
    import supervision as sv
    import torch
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    try:
        processor: Any = AutoImageProcessor.from_pretrained(name, use_safetensors=True)
        model: Any = AutoModelForObjectDetection.from_pretrained(name, use_safetensors=True)
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise TracksError(f"detector {_HUB}{name} cannot be loaded: {text}") from None
    model = model.eval()

    def found(frame: Image) -> sv.Detections:
        with torch.inference_mode():
            output = model(**processor(images=frame, return_tensors="pt"))
        sizes = [frame.shape[:2]]
        result = processor.post_process_object_detection(output, 0.5, target_sizes=sizes)[0]
        return sv.Detections.from_transformers(result, id2label=model.config.id2label)

    return found
