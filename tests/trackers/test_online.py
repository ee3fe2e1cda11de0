"""Trackers and detectors by name, our own ones, and plug-ins."""

import sys
import types

import numpy as np
import pytest
import supervision as sv
from gar_video.trackers import IouTracker, MotionDetector, online

from gar_video.cli import run
from gar_video.errors import TracksError


def found(boxes):
    return sv.Detections(np.array(boxes, float).reshape(-1, 4))


def test_iou_tracker_follows_through_a_crossing():
    tracker = IouTracker()
    seen = []
    for t in range(40):
        boxes = [(10 + 4 * t, 20, 30 + 4 * t, 40), (170 - 4 * t, 26, 190 - 4 * t, 46)]
        seen.append(tracker.update(found(boxes)).tracker_id.tolist())
    assert seen[0] == [-1, -1]
    assert all(ids == [1, 2] for ids in seen[1:]), seen


def test_iou_tracker_forgets_and_begins_anew():
    tracker = IouTracker(max_age=3)
    box = [(10, 10, 30, 30)]
    for _ in range(3):
        assert len(tracker.update(found(box)).tracker_id) == 1
    for _ in range(2):
        assert len(tracker.update(found([]))) == 0
    assert tracker.update(found(box)).tracker_id.tolist() == [1]
    for _ in range(5):
        tracker.update(found([]))
    assert tracker.update(found(box)).tracker_id.tolist() == [-1]
    assert tracker.update(found(box)).tracker_id.tolist() == [2]
    tracker.reset()
    assert IouTracker(min_hits=1).update(found(box)).tracker_id.tolist() == [1]


def test_motion_detector_finds_what_moves():
    detector = MotionDetector()
    rng = np.random.default_rng(0)
    ground = rng.integers(90, 110, (96, 128, 3), dtype=np.uint8)
    assert len(detector(ground)) == 0
    hits = 0
    for t in range(30):
        frame = ground.copy()
        frame[30:54, 5 + 3 * t : 29 + 3 * t] = (220, 30, 30)
        out = detector(frame)
        true = np.zeros((96, 128), bool)
        true[30:54, 5 + 3 * t : 29 + 3 * t] = True
        if len(out):
            assert out.mask.shape[1:] == true.shape
            shares = [(m & true).sum() / (m | true).sum() for m in out.mask]
            hits += max(shares) > 0.6
    assert hits > 20


class Point:
    dist = None

    def __init__(self, name, value):
        self.name, self.value = name, f"plug:{name}"
        self._made = value

    def load(self):
        if isinstance(self._made, Exception):
            raise self._made
        return self._made


class Plug:
    def __init__(self, frame_rate=1.0):
        self.frame_rate = frame_rate

    def update(self, detections):
        detections.tracker_id = np.full(len(detections), int(self.frame_rate))
        return detections


@pytest.fixture
def plugged(monkeypatch):
    points = {
        "gar_video.trackers": [Point("plug", Plug), Point("broken", ImportError("no lib")), Point("odd", list)],
        "gar_video.detectors": [Point("eyes", lambda: lambda frame: found([(0, 0, 2, 2)]))],
    }  # fmt: skip
    monkeypatch.setattr(online, "entry_points", lambda group: points[group])
    module = types.ModuleType("plug_module")
    module.Make = lambda text="none": lambda frame: found([(0, 0, len(text), 2)])
    monkeypatch.setitem(sys.modules, "plug_module", module)


def test_plug_ins(plugged):
    names = [(part.name, part.origin) for part in online.found_parts()]
    assert ("plug", "entry point of ?") in names
    frame = np.zeros((4, 4, 3), np.uint8)
    tracked = online.make_tracker("plug", 24)(online.make_detector("eyes")(frame), frame)
    assert tracked.tracker_id.tolist() == [24]
    made = online.make_detector("plug_module:Make(abc)")(frame)
    assert made.xyxy.tolist() == [[0, 0, 3, 2]]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("none", "there is no tracker 'none'; known here: iou", id="unknown"),
        pytest.param("broken", "no lib", id="broken"),
        pytest.param("odd", "has no update", id="no-update"),
        pytest.param("no_such_module:A", "install it first", id="no-module"),
        pytest.param("plug_module:B", "has no B", id="no-name"),
        pytest.param("os:system(ls;)x", "there is no tracker", id="no-spec"),
    ],
)
def test_trackers_that_cannot_be_had(plugged, name, says):
    with pytest.raises(TracksError, match=says) as caught:
        online.make_tracker(name)
    assert "\n" not in str(caught.value)


def test_listing_imports_nobody_elses_code(capsys):
    before = set(sys.modules)
    assert run(["trackers"]) == 0
    out = capsys.readouterr().out
    assert "iou" in out
    assert "motion" in out
    assert not {"ultralytics", "boxmot"} & (set(sys.modules) - before)
    assert run(["trackers", "--json"]) == 0
    assert '"kind": "tracker"' in capsys.readouterr().out
