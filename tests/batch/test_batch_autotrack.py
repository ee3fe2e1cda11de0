from __future__ import annotations

import numpy as np
import pytest
from batch_clips import COLOURS, FPS, H, W, draw, write_clip

from gar_video import Tracks, Video
from gar_video.batch import autotrack
from gar_video.batch.autotrack import Gate, follow
from gar_video.batch.settings import Following
from gar_video.errors import TracksError


def passing(seconds: float = 6.0, come: float = 2.0, go: float = 4.0) -> tuple[Video, np.ndarray]:
    """A red square crosses the picture from second ``come`` to ``go``; otherwise nothing moves."""
    count = round(seconds * FPS)
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(80, 100, (1, H, W, 3), dtype=np.uint8), count, 0)
    mask = np.zeros((count, H, W), bool)
    for t in range(round(come * FPS), round(go * FPS)):
        x = 5 + 6 * (t - round(come * FPS))
        mask[t, 40:75, x : x + 30] = True
    frames[mask] = COLOURS[0]
    return Video(frames, fps=FPS), mask


@pytest.mark.parametrize("tracker", ["bytetrack", "iou"])
def test_what_crosses_is_followed(tmp_path, tracker):
    if tracker == "bytetrack":
        pytest.importorskip("trackers")
    video, truth = passing()
    looked = list(follow(video, Following(tracker=tracker), str(tmp_path / "t.json")))
    tracks = Tracks.load(tmp_path / "t.json", video=video)
    (object_id,) = tracks
    seen = tracks[object_id].frames
    assert seen[0] in range(20, 25)
    assert seen[-1] in range(37, 42)
    overlaps = []
    for frame in seen[1:-2]:
        mask = tracks[object_id].mask(frame)
        overlaps.append((mask & truth[frame]).sum() / (mask | truth[frame]).sum())
    assert np.mean(overlaps) > 0.75
    # A second after the last change, and before the first, the detector is not asked.
    assert not any(looked[11:20])
    assert all(looked[21:40])
    assert not any(looked[53:])


def test_nothing_there_is_nobody(tmp_path):
    video, _ = passing(come=0, go=0)
    assert sum(follow(video, Following(), str(tmp_path / "t.json"))) <= FPS + 2
    assert len(Tracks.load(tmp_path / "t.json", video=video)) == 0


def test_what_is_seen_for_a_moment_is_dropped(tmp_path):
    video, _ = passing(come=2.0, go=2.3)
    list(follow(video, Following(min_track_s=0.5), str(tmp_path / "t.json")))
    assert len(Tracks.load(tmp_path / "t.json", video=video)) == 0


def test_what_was_there_first_leaves_no_ghost(tmp_path):
    frames, masks = draw(4.0)
    video = Video(frames, fps=FPS)
    list(follow(video, Following(), str(tmp_path / "t.json")))
    tracks = Tracks.load(tmp_path / "t.json", video=video)
    late = range(15, 30)
    for object_id in tracks:
        for frame in late:
            mask = tracks[object_id].mask(frame)
            if mask is not None:
                assert (mask & masks[7][frame]).sum() > 0.5 * mask.sum()


@pytest.mark.parametrize(
    ("share", "noise", "moves", "wanted"),
    [
        pytest.param(0.0005, 0, False, False, id="still"),
        pytest.param(0.0005, 6, False, False, id="sensor noise"),
        pytest.param(0.0005, 6, True, True, id="moves"),
        pytest.param(0.0, 0, False, True, id="gate off"),
    ],
)
def test_the_gate(share, noise, moves, wanted):
    gate, rng = Gate(share, FPS), np.random.default_rng(0)
    for t in range(40):
        frame = np.full((480, 640, 3), 120, np.int16)
        if moves:
            frame[100:160, 10 + 4 * t : 50 + 4 * t] = 200
        frame = frame + rng.integers(-noise, noise + 1, frame.shape)
        told = gate(frame.astype(np.uint8))
    assert told is wanted


def test_what_creeps_is_seen():
    gate = Gate(0.0005, FPS)
    told = []
    for t in range(60):
        frame = np.full((480, 640, 3), 60, np.uint8)
        frame[100:300, 10 : 100 + t] = 160
        told.append(gate(frame))
    assert all(told[12:])


def test_large_pictures_are_looked_at_small(tmp_path):
    video, truth = passing()
    big = np.stack(
        [np.kron(frame, np.ones((10, 10, 1), np.uint8)) for frame in video.frames(range(18, 34))]
    )
    large = Video(big, fps=FPS)
    list(follow(large, Following(min_track_s=0.3), str(tmp_path / "t.json")))
    tracks = Tracks.load(tmp_path / "t.json", video=large)
    assert tracks.resolution_wh == (10 * W, 10 * H)
    mask = tracks[tracks.object_ids[0]].mask(10)
    wide = np.kron(truth[28], np.ones((10, 10), bool))
    assert (mask & wide).sum() / (mask | wide).sum() > 0.8


@pytest.mark.parametrize(
    ("following", "said"),
    [
        pytest.param(Following(tracker="sortof"), "no tracker 'sortof'", id="tracker"),
        pytest.param(Following(detector="nope"), "no detector 'nope'", id="detector"),
        pytest.param(Following(detector="gar_video:nope(x)"), "has no nope", id="plug-in"),
    ],
)
def test_what_is_not_there_is_refused_at_once(following, said):
    with pytest.raises(TracksError, match=said):
        autotrack.check_following(following)


def test_a_run_follows_what_moves(tmp_path):
    pytest.importorskip("pyarrow")
    from gar_video import GARVideo, batch
    from gar_video.batch.tasks import Task

    (tmp_path / "cam").mkdir()
    clip = write_clip(tmp_path / "cam/clip.mp4", 2.0)
    clip.with_name("clip.tracks.json").unlink()
    gar = GARVideo.from_pretrained("nano", device="cpu")
    tasks = [Task("what", "describe", max_new_tokens=4)]
    summary = batch.run(tmp_path / "cam", tasks, tmp_path / "run", gar, tracks="auto")
    assert summary.units.done == summary.rows >= 1
    assert len(list((tmp_path / "run/tracks").glob("*.json"))) == 1
