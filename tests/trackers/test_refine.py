"""Boxes into masks: those of prompting SAM 2 with each box, one encoding a frame."""

import numpy as np
import pytest
from gar_video.trackers import Sam2Tracker, refine_masks
from gar_video.trackers.refine import cut_to_box
from gar_video.trackers.sam2_config import nano_config

from gar_video import Box, Tracks, Video
from gar_video.errors import Cancelled, PromptError, TracksError
from gar_video.sampling import uniform
from gar_video.tracks_builder import TracksBuilder

T, W, H = 20, 96, 64


@pytest.fixture(scope="module")
def sam():
    return Sam2Tracker.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    frames = rng.integers(90, 110, (T, H, W, 3), dtype=np.uint8)
    builder = TracksBuilder((W, H), T)
    for t in range(T):
        frames[t, 10:34, 4 + 2 * t : 28 + 2 * t] = (220, 30, 30)
        builder.add_box(t, 1, (4 + 2 * t, 10, 28 + 2 * t, 34), 0.5, "red")
        if 5 <= t < 9:
            frames[t, 40:60, 60:84] = (30, 60, 220)
            builder.add_box(t, 2, (60, 40, 84, 60))
    return Video(frames, fps=8), builder.build()


def test_masks_are_those_of_the_prompts_on_frames_looked_at(sam, scene):
    video, tracks = scene
    encoded = []
    forward = sam.predictor.forward_image
    sam.predictor.forward_image = lambda image: (encoded.append(1), forward(image))[1]
    try:
        refined = refine_masks(video, tracks, sam, frames=4)
    finally:
        sam.predictor.forward_image = forward
    looked = set(uniform(range(T), 4))
    masked = {frame for frame in range(T) if not refined[1].is_box(frame)}
    assert looked <= masked
    assert len(masked) <= len(looked) + 1  # one more, in which <2> is seen
    assert len(encoded) == len(masked)
    assert any(not refined[2].is_box(frame) for frame in refined[2].frames)
    assert refined[1].frames.tolist() == tracks[1].frames.tolist()
    assert refined[1].label == "red"
    assert refined[1].score(3) == 0.5
    for frame in looked:
        prompt = Box(frame=frame, xyxy=tuple(tracks[1].box_xyxy(frame)), object_id=1)
        with sam.session(video) as session:
            alone = session.add([prompt])[frame]
        expected = cut_to_box(alone.mask[0], tracks[1].box_xyxy(frame))
        assert np.array_equal(refined[1].mask(frame), expected)


def test_masks_are_cut_near_their_boxes():
    mask = np.ones((20, 30), bool)
    assert np.argwhere(~cut_to_box(mask, np.array([0, 0, 30, 20]))).size == 0
    cut = cut_to_box(mask, np.array([10, 5, 20, 15]))
    assert np.array_equal(np.argwhere(cut)[[0, -1]], [[4, 9], [15, 20]])


def test_masks_fit_the_things(sam, scene):
    video, tracks = scene
    refined = refine_masks(video, tracks, sam, frames=[6])
    for object_id, box in ((1, (16, 10, 40, 34)), (2, (60, 40, 84, 60))):
        true = np.zeros((H, W), bool)
        true[box[1] : box[3], box[0] : box[2]] = True
        mask = refined[object_id].mask(6)
        assert (mask & true).sum() / (mask | true).sum() > 0.5
    assert tracks[1].is_box(6) is not True
    assert tracks.boxes_only


def test_masks_stay_and_objects_can_be_chosen(sam, scene):
    video, tracks = scene
    masks = Tracks.from_masks({7: np.ones((T, H, W), bool)})
    assert refine_masks(video, masks, sam) == masks
    only = refine_masks(video, tracks, sam, frames=[6], objects=[2])
    assert only[1] == tracks[1]
    assert not only[2].is_box(6)
    window = refine_masks(video, tracks, sam, frames=2, time=(0.0, 0.5), objects=[1])
    assert [t for t in range(T) if not window[1].is_box(t)] == [0, 3]


def test_a_box_stays_where_nothing_is_seen(scene):
    video, tracks = scene
    sam = Sam2Tracker.from_config(nano_config(), device="cpu")
    sam.predictor._run_single_frame_inference = lambda **given: (
        None,
        -np.inf * __import__("torch").ones(given["batch_size"], 1, 32, 32),
    )
    assert refine_masks(video, tracks, sam, frames=3) == tracks


@pytest.mark.parametrize(
    ("given", "error"),
    [
        pytest.param({"frames": 0}, PromptError, id="no-frames"),
        pytest.param({"frames": [99]}, PromptError, id="frame-past-the-end"),
        pytest.param({"time": (5.0, 2.0)}, PromptError, id="time"),
        pytest.param({"objects": [9]}, TracksError, id="unknown-object"),
        pytest.param({"cancel": lambda: True}, Cancelled, id="cancelled"),
    ],
)
def test_what_cannot_be_refined(sam, scene, given, error):
    video, tracks = scene
    with pytest.raises(error):
        refine_masks(video, tracks, sam, **given)


def test_tracks_of_another_video(sam, scene):
    with pytest.raises(TracksError):
        refine_masks(Video(np.zeros((3, 8, 8, 3), np.uint8)), scene[1], sam)
