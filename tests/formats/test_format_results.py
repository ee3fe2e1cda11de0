"""Trackers' live output and Ultralytics' label files: stand-ins, and the real packages if there."""

from types import SimpleNamespace

import numpy as np
import pytest
import supervision as sv
from format_samples import WH, Clip, H, T, W, blob

from gar_video.errors import TracksError
from gar_video.formats.results import kind_of
from gar_video.masks import as_rle, decode
from gar_video.tracks import Tracks


class Tensor:
    """A tensor on some device, as far as it matters."""

    def __init__(self, values):
        self.values = np.asarray(values)
        self.shape = self.values.shape

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return Tensor(self.values[index])

    def cpu(self):
        return self

    def numpy(self):
        return self.values


class Boxes(SimpleNamespace):
    def __len__(self):
        return len(self.xyxy)


def result(ids, boxes, masks=None, names=None, turned=False):
    """What ``model.track`` gives for a frame."""
    found = Boxes(
        xyxy=Tensor(np.array(boxes, np.float32).reshape(-1, 4)),
        id=None if ids is None else Tensor(np.array(ids, np.float32)),
        cls=Tensor(np.arange(len(boxes), dtype=np.float32)),
        conf=Tensor(np.linspace(0.5, 1, max(len(boxes), 1))[: len(boxes)]),
        is_track=ids is not None,
    )
    if turned:
        found.xyxyxyxy = Tensor(
            [[(x1, y1), (x2, y1), (x2, y2), (x1, y2)] for x1, y1, x2, y2 in boxes]
        )
    return SimpleNamespace(
        orig_shape=(H, W),
        boxes=None if turned else found,
        obb=found if turned else None,
        masks=masks,
        names=names or {0: "person", 1: "car"},
    )


def test_ultralytics_boxes():
    stream = (
        result(None, [[1, 1, 5, 5]]),
        result([3, 8], [[1, 2, 9.5, 9], [20, 3, 30, 9]]),
        result(None, []),
        result([8], [[-4, 3, 30, 9]]),
        result(None, []),
    )
    with pytest.warns(UserWarning, match="1 frames have detections without ids; these are left"):
        tracks = Tracks.from_results(iter(stream))
    assert tracks.source_format == "ultralytics"
    assert tracks.resolution_wh == WH
    assert tracks.num_frames == 5
    assert tracks.object_ids == (3, 8)
    assert tracks[3].box_xyxy(1).tolist() == [1, 2, 9.5, 9]
    assert tracks[3].label == "person"
    assert tracks[8].label == "car"  # class 1 first, then 0: the first of equals
    assert tracks[8].box_xyxy(3).tolist() == [0, 3, 30, 9]
    assert tracks[8].score(1) == 1
    assert tracks.boxes_only


def test_ultralytics_masks():
    outline = np.array([(3, 3), (12, 3), (12, 10), (3, 10)], np.float32)
    small = SimpleNamespace(
        data=Tensor(np.ones((2, 6, 10))), xy=[outline, np.empty((0, 2), np.float32)]
    )
    tracks = Tracks.from_results([result([3, 8], [[1, 2, 9, 9], [20, 3, 30, 9]], small)])
    expected = decode(as_rle([outline.ravel()], WH))
    assert np.array_equal(tracks[3].mask(0), expected)
    assert tracks[8].is_box(0)
    full = SimpleNamespace(data=Tensor(np.stack([blob(3, 3)]).astype(np.float32)), xy=[outline])
    assert np.array_equal(
        Tracks.from_results([result([3], [[1, 2, 9, 9]], full)])[3].mask(0), blob(3, 3)
    )


def test_ultralytics_turned_boxes():
    tracks = Tracks.from_results([result([3], [[3, 4, 9, 9]], turned=True)])
    assert tracks[3].box_xyxy(0).tolist() == [3, 4, 9, 9]
    assert not tracks[3].is_box(0)


def test_boxmot_arrays():
    frames = [
        np.empty((0, 8)),
        np.array([[1, 2, 9.5, 9, 3, 0.5, 0, 1], [20, 3, 30, 9, 8, 0.25, 2, 0]], np.float32),
        np.array([]),
        np.array([[20, 3, 30, 9, 8, 0.25, 2, 0]]),
        np.empty((0, 8)),
    ]
    assert {kind_of(frame) for frame in frames} == {"boxmot"}
    tracks = Tracks.from_results(frames, WH, names=["person", "bicycle", "car"])
    assert tracks.source_format == "boxmot"
    assert tracks.num_frames == 5
    assert tracks[8].frames.tolist() == [1, 3]
    assert tracks[8].label == "car"
    assert tracks[8].score(1) == 0.25
    assert tracks[3].box_xyxy(1).tolist() == [1, 2, 9.5, 9]
    assert Tracks.from_results(frames, WH)[8].label is None
    assert Tracks.from_results(enumerate(frames), WH, T).num_frames == T


def test_supervision_detections_too():
    found = sv.Detections(xyxy=np.ones((1, 4)), mask=blob(3, 3)[None], tracker_id=np.array([4]))
    tracks = Tracks.from_results([found, found])
    assert tracks.source_format == "supervision"
    assert tracks[4].frames.tolist() == [0, 1]


BAD = {
    "one_array": (lambda: Tracks.from_results(np.ones((2, 8)), WH), "got one ndarray"),
    "one_result": (lambda: Tracks.from_results(result([1], [[1, 1, 2, 2]])), "got one Simple"),
    "text": (lambda: Tracks.from_results(["a"], WH), "item 0 is str"),
    "four_columns": (lambda: Tracks.from_results([np.ones((2, 4))], WH), "item 0 is ndarray"),
    "no_size": (lambda: Tracks.from_results([np.ones((1, 8))]), "pass resolution_wh"),
    "nothing": (lambda: Tracks.from_results([np.empty((0, 8))]), "nothing was detected"),
    "half_id": (
        lambda: Tracks.from_results([np.array([[1, 1, 2, 2, 1.5, 1, 1, 1]])], WH),
        "object id is .*1.5.*; expected a whole number",
    ),
    "nan_id": (
        lambda: Tracks.from_results([np.array([[1, 1, 2, 2, np.nan, 1, 1, 1]])], WH),
        "object id is .*nan",
    ),
    "nan_box": (
        lambda: Tracks.from_results([np.array([[np.nan, 1, 2, 2, 1, 1, 1, 1]])], WH),
        "holds NaN",
    ),
    "predict_instead_of_track": (
        lambda: Tracks.from_results([result(None, [[1, 1, 2, 2]])]),
        "model.track, not predict",
    ),
    "id_twice": (
        lambda: Tracks.from_results([result([3, 3], [[1, 2, 9, 9], [20, 3, 30, 9]])]),
        "object 3 stands twice in frame 0",
    ),
    "past_the_end": (
        lambda: Tracks.from_results([np.array([[1, 1, 2, 2, 1, 1, 1, 1]])] * 3, WH, 2),
        "frame 2, but the tracks have frames 0 to 1",
    ),
    "detections_only": (
        lambda: Tracks.from_detections([np.ones((1, 8))], WH),
        "expected sv.Detections one a frame",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_output_is_refused(make, message):
    with pytest.raises(TracksError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# -- Ultralytics' label files ----------------------------------------------------------------------


def labels(folder, files: dict[str, str]):
    (folder / "labels").mkdir(parents=True)
    for name, text in files.items():
        (folder / "labels" / name).write_text(text)
    return folder


def test_label_files(tmp_path):
    folder = labels(
        tmp_path / "track",
        {
            "clip_2.txt": "0 0.5 0.5 0.25 0.5 7\n2 0.1 0.1 0.3 0.1 0.3 0.5 9\n",
            "clip_1.txt": "0 0.5 0.5 0.25 0.5\n",
            "clip_10.txt": "0 0.25 0.5 0.25 0.5 0.875 7\n",
        },
    )
    with pytest.warns(UserWarning, match="1 lines without a track id are left out"):
        tracks = Tracks.load(folder, Clip(num_frames=10))
    assert tracks.source_format == "ultralytics"
    assert tracks.object_ids == (7, 9)
    assert tracks[7].frames.tolist() == [1, 9]
    assert tracks[7].box_xyxy(1).tolist() == [15, 6, 25, 18]
    assert tracks[7].score(1) is None
    assert tracks[7].score(9) == 0.875
    outline = [0.1 * W, 0.1 * H, 0.3 * W, 0.1 * H, 0.3 * W, 0.5 * H]
    assert np.array_equal(tracks[9].mask(1), decode(as_rle([outline], WH)))


LABELS = {
    "predict": ({"a_1.txt": "0 0.5 0.5 0.25 0.5\n"}, "no line ends in a track id"),
    "predict_conf": ({"a_1.txt": "0 0.5 0.5 0.25 0.5 0.93\n"}, "no line ends in a track id"),
    "cut_off": ({"a_1.txt": "0 0.5 0.5 0.2 0.2 3\n0 0.5 0.5\n"}, "a_1.txt, line 2: 3 values"),
    "text": ({"a_1.txt": "0 0.5 0.5 0.2 0.2 3\na b c d e f"}, "line 2: could not convert"),
    "nan": ({"a_1.txt": "0 nan 0.5 0.2 0.2 3\n"}, "NaN"),
    "past_the_end": ({"a_99.txt": "0 0.5 0.5 0.2 0.2 3\n"}, "a_99.txt, line 1: frame 98"),
    "twice": ({"a_1.txt": "0 0.5 0.5 0.2 0.2 3\n" * 2}, "object 3 stands twice in frame 0"),
    "outside": ({"a_1.txt": "0 5 5 0.2 0.2 3\n"}, "lies outside"),
}


@pytest.mark.parametrize(("files", "message"), LABELS.values(), ids=LABELS)
def test_bad_label_files_are_refused(tmp_path, files, message):
    with pytest.raises(TracksError, match=message) as caught:
        Tracks.load(labels(tmp_path / "track", files), Clip(), "ultralytics")
    assert "\n" not in str(caught.value)


# -- the real packages, where they are installed ---------------------------------------------------


def test_real_ultralytics_results(tmp_path):
    engine = pytest.importorskip("ultralytics.engine.results")
    torch = pytest.importorskip("torch")
    picture = np.zeros((H, W, 3), np.uint8)
    stream = []
    for frame in range(T):
        rows = [[3 + frame, 3, 12 + frame, 9.5, 4, 0.75, 0], [20, 5, 30, 15, 9, 0.5, 2]]
        data = torch.tensor(rows[: 2 - (frame == 3)])
        one = engine.Results(picture, path="a.jpg", names={0: "person", 2: "car"}, boxes=data)
        one.save_txt(tmp_path / "labels" / f"clip_{frame + 1}.txt", save_conf=True)
        stream.append(one)
    tracks = Tracks.from_results(stream)
    assert tracks.source_format == "ultralytics"
    assert tracks.object_ids == (4, 9)
    assert tracks[4].label == "person"
    assert tracks[4].box_xyxy(2).tolist() == [5, 3, 14, 9.5]
    assert tracks[9].frames.tolist() == [0, 1, 2, 4, 5, 6]
    saved = Tracks.load(tmp_path, Clip())
    assert saved.object_ids == (4, 9)
    assert saved[9].frames.tolist() == tracks[9].frames.tolist()
    assert saved[4].boxes_xyxy == pytest.approx(tracks[4].boxes_xyxy, abs=1e-3)
    assert saved[4].score(0) == 0.75


def test_real_ultralytics_masks():
    engine = pytest.importorskip("ultralytics.engine.results")
    torch = pytest.importorskip("torch")
    big = np.zeros((1, 240, 400), np.float32)
    big[0, 50:150, 100:300] = 1
    data = torch.tensor([[10.0, 5, 30, 15, 4, 0.75, 0]])
    one = engine.Results(
        np.zeros((H, W, 3), np.uint8), "a.jpg", {0: "person"}, boxes=data, masks=torch.tensor(big)
    )
    box = Tracks.from_results([one])[4].box_xyxy(0)
    assert box == pytest.approx([10, 5, 30, 15], abs=1)


def test_real_roboflow_trackers():
    trackers = pytest.importorskip("trackers")
    if not hasattr(trackers, "ByteTrackTracker"):
        pytest.skip("another package of this name")
    tracker = trackers.ByteTrackTracker()

    def stream():
        for frame in range(12):
            boxes = np.array([[2.0 + frame, 3, 12 + frame, 9], [20, 12, 30, 20]])
            yield tracker.update(
                sv.Detections(
                    xyxy=boxes, confidence=np.array([0.9, 0.8]), class_id=np.zeros(2, int)
                )
            )

    with pytest.warns(UserWarning, match="no masks"):
        tracks = Tracks.from_detections(stream(), WH)
    assert len(tracks) == 2
    assert all(len(tracks[object_id]) >= 6 for object_id in tracks)
    assert tracks.num_frames == 12
