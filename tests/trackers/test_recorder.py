"""TrackRecorder: what goes in comes out, also through the temporary file."""

import numpy as np
import pytest
import supervision as sv
from gar_video.trackers import TrackRecorder

from gar_video import Tracks, Video
from gar_video.errors import TracksError

W, H = 48, 32


def seen(frame, masks=True, ids=(3, "car"), **more):
    boxes = np.array([(2 + frame % 20, 3, 12 + frame % 20, 13), (20, 5, 31, 25)], float)
    drawn = np.zeros((2, H, W), bool)
    for mask, (x1, y1, x2, y2) in zip(drawn, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
        mask[y1, x1] = False
    return sv.Detections(
        boxes, mask=drawn if masks else None, tracker_id=np.array(ids, object),
        confidence=np.array([0.5, 0.75]), data={"class_name": np.array(["dog", "car"])}, **more,
    )  # fmt: skip


@pytest.mark.parametrize("spill_bytes", [1, 900, 2**26], ids=["each-frame", "some", "none"])
@pytest.mark.parametrize("masks", [True, False], ids=["masks", "boxes"])
def test_equal_to_reading_the_whole_stream(spill_bytes, masks, tmp_path):
    frames = [seen(t, masks) for t in range(30)]
    with TrackRecorder((W, H), spill_bytes=spill_bytes, folder=str(tmp_path)) as recorder:
        for t, found in enumerate(frames):
            recorder.update(t, found)
        spilled = recorder.spilled_bytes
        halfway = recorder.tracks
    assert (spilled > 0) == (spill_bytes < 2**20)
    expected = Tracks.from_detections(frames, (W, H))
    assert recorder.tracks == expected == halfway
    assert recorder.tracks.source_ids == expected.source_ids
    assert list(tmp_path.iterdir()) == []


def test_more_can_be_recorded_after_a_look():
    with TrackRecorder() as recorder:
        recorder.update(0, seen(0))
        assert recorder.tracks.num_frames == 1
        recorder.update(5, sv.Detections.empty())
        recorder.update(7, seen(7))
        assert recorder.tracks.num_frames == 8
        assert recorder.tracks[3].frames.tolist() == [0, 7]
    assert recorder.tracks.resolution_wh == (W, H)


def test_frames_by_their_time():
    video = Video(np.zeros((10, H, W, 3), np.uint8), fps=5)
    with TrackRecorder(video=video) as recorder:
        for time_s in (0.0, 0.05, 0.41, 1.99):
            recorder.update(time_s, seen(0))
    recorder.tracks.check_fits(video)
    assert recorder.tracks[3].frames.tolist() == [0, 2, 9]
    with TrackRecorder((W, H), fps=10) as other:
        other.update(0.31, seen(0))
    assert other.tracks[3].frames.tolist() == [3]


def test_memory_stays_flat():
    with TrackRecorder((W, H), spill_bytes=50_000) as recorder:
        most = 0
        for t in range(3000):
            recorder.update(t, seen(t))
            most = max(most, recorder._bytes)
        assert most < 60_000
        assert recorder.spilled_bytes > 10_000
    assert len(recorder.tracks[3]) == 3000


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param((3, seen(0)), "frames that go forwards", id="same-frame"),
        pytest.param((2, seen(0)), "frames that go forwards", id="backwards"),
        pytest.param((-1, seen(0)), "go forwards", id="negative"),
        pytest.param((0.5, seen(0)), "give the recorder video=", id="time-without-video"),
        pytest.param(("4", seen(0)), "expected an index", id="text"),
        pytest.param((4, sv.Detections(np.ones((1, 4)) * (1, 1, 3, 3))), "no tracker_id", id="no-ids"),
        pytest.param((4, seen(0, ids=(1, 1))), "", id="id-twice"),
        pytest.param((4, "what"), "expected sv.Detections", id="no-detections"),
    ],
)  # fmt: skip
def test_bad_updates_leave_no_trace(given, says):
    with TrackRecorder((W, H)) as recorder:
        recorder.update(3, seen(3))
        with pytest.raises(TracksError, match=says or None) as caught:
            recorder.update(*given)
        assert "\n" not in str(caught.value)
        recorder.update(4, seen(4))
    assert recorder.tracks[3].frames.tolist() == [3, 4]
    with pytest.raises(TracksError, match="closed"):
        recorder.update(9, seen(9))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"resolution_wh": (0, 3)}, id="size"),
        pytest.param({"resolution_wh": (W, H), "bad_boxes": "mend"}, id="bad-boxes"),
        pytest.param({"spill_bytes": 0}, id="spill"),
        pytest.param({"fps": 0}, id="fps"),
    ],
)
def test_settings_that_cannot_be_meant(given):
    with pytest.raises(TracksError):
        TrackRecorder(**given)


def test_boxes_without_a_size():
    with TrackRecorder() as recorder, pytest.raises(TracksError, match="pass resolution_wh"):
        recorder.update(0, seen(0, masks=False))
    with pytest.raises(TracksError, match="nothing was"):
        _ = recorder.tracks
