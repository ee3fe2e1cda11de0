"""Files written by supervision's own sinks."""

import numpy as np
import pytest
import supervision as sv
from format_samples import Clip, T

from gar_video.errors import TracksError
from gar_video.tracks import Tracks


def detections(frame: int) -> sv.Detections:
    if frame == 2:
        return sv.Detections.empty()
    ids = [4, 9, -1] if frame % 2 else [4]
    return sv.Detections(
        xyxy=np.array([[1.5 + frame, 2, 9, 10], [20, 3, 30.25, 9], [0, 0, 1, 1]])[: len(ids)],
        confidence=np.array([0.5, 0.75, 0.1])[: len(ids)],
        class_id=np.array([0, 2, 2])[: len(ids)],
        tracker_id=np.array(ids),
        data={"class_name": np.array(["person", "car", "car"])[: len(ids)]},
    )


def write(path, sink, column="frame_index", change=lambda found: found, frames=range(T)):
    with sink(str(path)) as out:
        for frame in frames:
            out.append(change(detections(frame)), {column: frame} if column else None)


@pytest.mark.parametrize(
    ("sink", "name"), [(sv.JSONSink, "supervision_json"), (sv.CSVSink, "supervision_csv")]
)
@pytest.mark.parametrize("column", ["frame_index", "frame", "frame_number"])
def test_sinks(tmp_path, sink, name, column):
    path = tmp_path / "out"
    write(path, sink, column)
    tracks = Tracks.load(path, Clip())
    assert tracks.source_format == name
    assert tracks.object_ids == (4, 9)
    assert [tracks[i].label for i in tracks] == ["person", "car"]
    assert tracks[4].frames.tolist() == [0, 1, 3, 4, 5, 6]
    assert tracks[9].frames.tolist() == [1, 3, 5]
    assert tracks[4].box_xyxy(3).tolist() == [4.5, 2, 9, 10]
    assert tracks[9].score(1) == 0.75
    assert tracks.boxes_only
    assert tracks.num_frames == T


def without(attribute):
    def change(found):
        setattr(found, attribute, None)
        return found

    return change


@pytest.mark.parametrize("sink", [sv.JSONSink, sv.CSVSink])
def test_without_scores(tmp_path, sink):
    write(tmp_path / "out", sink, change=without("confidence"))
    assert Tracks.load(tmp_path / "out", Clip())[4].score(0) is None


@pytest.mark.parametrize("sink", [sv.JSONSink, sv.CSVSink])
@pytest.mark.parametrize(
    ("column", "change", "frames", "message"),
    [
        (None, lambda found: found, range(T), "no column says which frame"),
        ("frame", without("tracker_id"), range(T), "row 1: it has no tracker_id; run a tracker"),
        ("frame", lambda found: found, [0, 0], "object 4 stands twice in frame 0"),
        ("frame", lambda found: found, [99], "frame 99"),
        ("frame", lambda found: found, [-3], "frame -3"),
        ("frame", lambda found: sv.Detections.merge([found, found]), [0], "stands twice"),
    ],
    ids=["no_frame", "no_ids", "twice", "past_the_end", "negative", "id_twice_in_frame"],
)
def test_bad_sink_files_are_refused(tmp_path, sink, column, change, frames, message):
    write(tmp_path / "out", sink, column, change, frames)
    with pytest.raises(TracksError, match=message) as caught:
        Tracks.load(tmp_path / "out", Clip())
    assert "\n" not in str(caught.value)


HEAD = "x_min,y_min,x_max,y_max,class_id,confidence,tracker_id,frame\n"
ROWS = {
    "cut_off": ("1,2,3,4,0,0.5,1,0\n1,2,3", "row 2: no y_max in it; the file is cut off"),
    "nan": ("nan,2,3,4,0,0.5,1,0\n", "NaN"),
    "negative": ("-9,2,-3,4,0,0.5,1,0\n", "lies outside"),
    "text": ("a,2,3,4,0,0.5,1,0\n", "row 1: 'a' is no number"),
    "half_frame": ("1,2,3,4,0,0.5,1,0.5\n", "frame is 0.5"),
    "half_id": ("1,2,3,4,0,0.5,1.5,0\n", "object id is 1.5|'1.5'"),
    "quotes": ('"' * 3 + "\n" + "1" * 200_000, "CSV|row 1"),
}


@pytest.mark.parametrize(("rows", "message"), ROWS.values(), ids=ROWS)
def test_bad_rows_are_refused(tmp_path, rows, message):
    (tmp_path / "a.csv").write_text(HEAD + rows)
    with pytest.raises(TracksError, match=message) as caught:
        Tracks.load(tmp_path / "a.csv", Clip())
    assert "\n" not in str(caught.value)


def test_names_as_ids_are_mapped(tmp_path):
    (tmp_path / "a.csv").write_text(HEAD + "1,2,3,4,0,0.5,red car,0\n1,2,3,4,0,0.5,red car,1\n")
    tracks = Tracks.load(tmp_path / "a.csv", Clip())
    assert tracks.source_ids == {1: "red car"}
    assert tracks[1].frames.tolist() == [0, 1]


@pytest.mark.parametrize("sink", [sv.JSONSink, sv.CSVSink])
def test_a_run_that_found_nothing(tmp_path, sink):
    with sink(str(tmp_path / "out")) as out:
        out.append(sv.Detections.empty(), {"frame": 0})
    name = "supervision_json" if sink is sv.JSONSink else "supervision_csv"
    assert len(Tracks.load(tmp_path / "out", Clip(), name)) == 0
