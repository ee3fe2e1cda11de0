"""``Tracks`` of dense and of coded masks; ``Tracks.from_masks`` and ``from_rles`` describe them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.errors import TracksError
from gar_video.regions import check_frame
from gar_video.tracks import Tracks
from gar_video.tracks_builder import GivenMask, TracksBuilder


def tracks_of_masks(
    masks: Mapping[int, npt.ArrayLike], labels: Mapping[int, str], allow_empty: bool
) -> Tracks:
    """Make tracks from dense masks; see ``Tracks.from_masks``."""
    builder: TracksBuilder | None = None
    shape: tuple[int, ...] = ()
    for object_id, stack in masks.items():
        frames = np.asarray(stack)
        if frames.ndim != 3 or 0 in frames.shape:
            raise TracksError(
                f"masks of object {object_id} have shape {frames.shape}; "
                "expected (frames, height, width)"
            )
        if builder is None:
            shape = frames.shape
            builder = TracksBuilder((shape[2], shape[1]), shape[0])
        if frames.shape != shape:
            raise TracksError(
                f"masks of object {object_id} have shape {frames.shape}, another's {shape}; "
                "expected one (frames, height, width) for all"
            )
        builder.add_object(object_id, labels.get(object_id))
        for frame, mask in enumerate(frames):
            builder.add_mask(frame, object_id, mask)
    if builder is None:
        raise TracksError("no masks were given; expected at least one object")
    return builder.build(allow_empty=allow_empty)


def tracks_of_rles(
    rles: Mapping[int, Mapping[int, Any]],
    resolution_wh: tuple[int, int],
    num_frames: int,
    labels: Mapping[int, str],
    scores: Mapping[int, Mapping[int, float]],
    allow_empty: bool,
) -> Tracks:
    """Make tracks from coded masks; see ``Tracks.from_rles``."""
    builder = TracksBuilder(resolution_wh, num_frames)

    def given(object_id: int) -> Iterator[GivenMask]:
        own_scores = scores.get(object_id, {})
        for frame, segmentation in rles[object_id].items():
            if segmentation is None:
                check_frame(frame, num_frames)
            else:
                yield GivenMask(frame, object_id, segmentation, own_scores.get(frame))

    for object_id in rles:
        builder.add_object(object_id, labels.get(object_id))
        builder.add_masks(given(object_id))
    return builder.build(allow_empty=allow_empty)
