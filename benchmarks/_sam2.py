"""SAM 2 in two ways on the same frames: our tracker, and sam2's own predictor."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _clips

SIZE = (320, 240)


def tracker_of(kind: str, device: str = "cpu") -> Any:
    """Return a Sam2Tracker: ``"nano"`` (shipped weights), or hiera-t of a size, random weights."""
    from gar_video.trackers.sam2 import Sam2Tracker
    from gar_video.trackers.sam2_config import nano_config, shipped_config

    if kind == "nano":
        return Sam2Tracker.from_pretrained("nano", device=device)
    if kind.startswith("nano-"):
        return Sam2Tracker.from_config(nano_config(int(kind[5:])), device=device)
    config = shipped_config("sam2.1/sam2.1_hiera_t.yaml")
    config["image_size"] = int(kind.removeprefix("hiera-t-"))
    return Sam2Tracker.from_config(config, device=device)


def official_of(tracker: Any) -> Any:
    """Return sam2's own predictor with the tracker's weights, untouched by ours."""
    from gar_video.trackers.sam2_build import build_predictor

    if not hasattr(tracker, "_official"):
        predictor = build_predictor(tracker.config).to(tracker.device).eval()
        predictor.load_state_dict(tracker.predictor.state_dict())
        predictor.fill_hole_area = tracker.predictor.fill_hole_area
        tracker._official = predictor
    return tracker._official


def write_folder(folder: Path, num_frames: int, num_objects: int) -> Path:
    """Write a clip as a folder of JPEG files, which both ways read alike at any length."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    back = _clips.ground(*SIZE)
    for frame in range(num_frames):
        picture, _ = _clips.draw(back, frame, num_objects)
        Image.fromarray(picture).save(folder / f"{frame:05d}.jpg", quality=95)
    return folder


def boxes(num_objects: int) -> dict[int, tuple[float, ...]]:
    """Return object id to its box on frame 0."""
    return {k + 1: tuple(map(float, _clips.box_at(k, 0, *SIZE))) for k in range(num_objects)}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep sam2's progress bars out of the way."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
            yield
    finally:
        if before is None:
            os.environ.pop("TQDM_DISABLE", None)
        else:
            os.environ["TQDM_DISABLE"] = before


def follow_ours(
    tracker: Any, folder: Path, num_objects: int, mode: str = "exact"
) -> Iterator[list[Any]]:
    """Track with ours; yield per frame the masks' packed bits, by object."""
    from gar_video import Box, Video

    tracker = copy.copy(tracker)
    tracker.mode = mode
    prompts = [Box(0, box, object_id) for object_id, box in boxes(num_objects).items()]
    with Video(folder) as video:
        for _, found in tracker.stream(video, prompts):
            seen = dict(zip(found.tracker_id.tolist(), found.mask, strict=True))
            empty = np.zeros(SIZE[::-1], bool)
            yield [np.packbits(seen.get(k, empty)) for k in range(1, num_objects + 1)]


def track_ours(tracker: Any, folder: Path, num_objects: int, mode: str = "exact") -> list[Any]:
    """Track with ours; return per frame the masks' packed bits, by object."""
    return list(follow_ours(tracker, folder, num_objects, mode))


def follow_official(tracker: Any, folder: Path, num_objects: int) -> Iterator[list[Any]]:
    """Track with sam2's own calls on the same weights; yield the same."""
    import torch

    predictor = official_of(tracker)
    enabled = tracker.dtype != torch.float32

    def casting() -> Any:
        # Entered anew each time: another contender may run between two frames.
        return torch.autocast(tracker.device.type, tracker.dtype, enabled=enabled)

    with quiet(), casting():
        state = predictor.init_state(str(folder))
        for object_id, box in boxes(num_objects).items():
            predictor.add_new_points_or_box(state, 0, object_id, box=np.float32(box))
        frames = predictor.propagate_in_video(state)
    while True:
        with quiet(), casting():
            found = next(frames, None)
            if found is None:
                return
            seen = (found[2][:, 0] > 0).cpu().numpy()
        yield [np.packbits(mask) for mask in seen]


def track_official(tracker: Any, folder: Path, num_objects: int) -> list[Any]:
    """Track with sam2's own calls on the same weights; return the same."""
    return list(follow_official(tracker, folder, num_objects))


def different_pixels(a: Sequence[Any], b: Sequence[Any]) -> int:
    """Count pixels in which two runs differ."""
    return sum(
        int(np.unpackbits(x ^ y).sum())
        for ours, theirs in zip(a, b, strict=True)
        for x, y in zip(ours, theirs, strict=True)
    )


def mean_overlap(a: Sequence[Any], b: Sequence[Any]) -> float:
    """Return the mean J (intersection over union) of two runs' masks; both empty counts 1."""
    shares = []
    for ours, theirs in zip(a, b, strict=True):
        for x, y in zip(ours, theirs, strict=True):
            union = int(np.unpackbits(x | y).sum())
            shares.append(int(np.unpackbits(x & y).sum()) / union if union else 1.0)
    return float(np.mean(shares))
