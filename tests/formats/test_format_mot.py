"""MOTChallenge text as benchmarks and trackers write it."""

import itertools
import random

import numpy as np
import pytest
from format_samples import Clip

from gar_video.errors import TracksError
from gar_video.tracks import Tracks

GROUND_TRUTH = """\
1,1,912,484,97,109,0,7,1
2,1,912,484,97,109,0,7,1
1,2,1338,418,167,379,1,1,1
2,2,1342,417,168,380,1,1,0.98
4,2,1350,414,169,385,1,1,0.9
1,5,1,1,10,20,1,3,0.5
"""
RESULTS = """\
1,3,794.27,247.59,71.245,174.88,-1,-1,-1,-1
1,6,648.1,119.61,66.504,163.24,0.75,-1,-1,-1
3,3,800.5,250,71,175,0.5,-1,-1,-1
"""
CLIP = Clip(1920, 1080, 5)


def test_ground_truth(tmp_path):
    (tmp_path / "gt.txt").write_text(GROUND_TRUTH)
    tracks = Tracks.load(tmp_path / "gt.txt", CLIP)
    assert tracks.source_format == "mot"
    assert tracks.object_ids == (2, 5)
    assert tracks[2].label == "pedestrian"
    assert tracks[2].frames.tolist() == [0, 1, 3]
    assert tracks[2].box_xyxy(0).tolist() == [1337, 417, 1504, 796]
    assert tracks[2].score(0) is None
    assert tracks[5].label == "car"
    assert tracks[5].box_xyxy(0).tolist() == [0, 0, 10, 20]
    assert tracks.boxes_only
    assert tracks.num_frames == 5
    assert tracks.ignored.object_ids == (1,)
    assert tracks.ignored[1].label == "static person"
    assert tracks.ignored[1].frames.tolist() == [0, 1]


def test_results_with_sub_pixel_boxes_and_scores(tmp_path):
    (tmp_path / "MOT17-02.txt").write_text(RESULTS)
    tracks = Tracks.load(tmp_path / "MOT17-02.txt", CLIP)
    assert tracks.object_ids == (3, 6)
    assert tracks[3].frames.tolist() == [0, 2]
    assert tracks[3].box_xyxy(0).tolist() == [793.27, 246.59, 864.515, 421.47]
    assert tracks[3].score(0) is None
    assert tracks[3].score(2) == 0.5
    assert tracks[6].score(0) == 0.75
    assert tracks.ignored is None
    assert tracks[3].label is None


def test_order_of_rows_and_spaces_do_not_matter(tmp_path):
    lines = RESULTS.splitlines()
    expected = None
    for index, order in enumerate(itertools.permutations(lines)):
        path = tmp_path / f"{index}.txt"
        path.write_text("\r\n".join(line.replace(",", ", ") for line in order) + "\n\n")
        tracks = Tracks.load(path, CLIP).subset([3, 6])
        expected = expected or tracks
        assert tracks == expected
        loaded = Tracks.load(path, CLIP)
        loaded.save(tmp_path / "again.txt", "mot")
        assert Tracks.load(tmp_path / "again.txt", CLIP) == loaded


def test_written_as_the_benchmark_wants_it(tmp_path):
    (tmp_path / "gt.txt").write_text(GROUND_TRUTH)
    (tmp_path / "res.txt").write_text(RESULTS)
    for name in ("gt", "res"):
        Tracks.load(tmp_path / f"{name}.txt", CLIP).save(tmp_path / f"{name}_2.txt")
    rows = [line.split(",") for line in (tmp_path / "gt_2.txt").read_text().splitlines()]
    assert sorted(row[:8] for row in rows) == sorted(
        line.split(",")[:8] for line in GROUND_TRUTH.splitlines()
    )
    assert sorted((tmp_path / "res_2.txt").read_text().splitlines()) == sorted(RESULTS.splitlines())


def test_confidences_that_are_no_flags_make_results_of_nine_columns(tmp_path):
    # As BoxMOT writes them: confidence, its own class number and -1.
    (tmp_path / "a.txt").write_text("1,1,10,10,5,5,0.83,2,-1\n1,2,30,30,5,5,1,0,-1\n")
    tracks = Tracks.load(tmp_path / "a.txt", CLIP)
    assert tracks[1].score(0) == 0.83
    assert tracks[2].score(0) == 1
    assert tracks[1].label is None
    assert tracks.ignored is None


def test_ground_truth_of_the_2015_benchmark(tmp_path):
    (tmp_path / "gt").mkdir()
    text = "1,1,10,10,5,5,1,3.5,1.2,0\n1,2,10,20,5,5,0,3.5,1.2,0\n"
    (tmp_path / "gt" / "gt.txt").write_text(text)
    tracks = Tracks.load(tmp_path / "gt" / "gt.txt", CLIP)
    assert tracks.object_ids == (1,)
    assert tracks.ignored.object_ids == (2,)
    (tmp_path / "results.txt").write_text(text)
    tracks = Tracks.load(tmp_path / "results.txt", CLIP)
    assert [tracks[i].score(0) for i in (1, 2)] == [1.0, 0.0]


def test_size_and_length_from_seqinfo(tmp_path):
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "gt.txt").write_text(GROUND_TRUTH)
    info = "[Sequence]\nname=MOT17-02\nimDir=img1\nframeRate=30\nseqLength=6\nimWidth=1920\nimHeight=1080\n"
    (tmp_path / "seqinfo.ini").write_text(info)
    for path in (tmp_path, tmp_path / "gt" / "gt.txt"):
        tracks = Tracks.load(path)
        assert (tracks.resolution_wh, tracks.num_frames) == ((1920, 1080), 6)
    with pytest.raises(TracksError, match="made for 6 frames, but the video has 5"):
        Tracks.load(tmp_path, CLIP)
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nimWidth=a\n")
    with pytest.raises(TracksError, match=r"seqinfo.ini beside it is damaged"):
        Tracks.load(tmp_path)


def test_boxes_over_the_edge_are_cut_or_refused(tmp_path):
    (tmp_path / "a.txt").write_text("1,1,-30.5,5,50,50,1,1,1\n")
    tracks = Tracks.load(tmp_path / "a.txt", CLIP)
    assert tracks[1].box_xyxy(0).tolist() == [0, 4, 18.5, 54]
    with pytest.raises(TracksError, match=r"line 1: box \(-31.5, 4, 18.5, 54\) of object 1"):
        Tracks.load(tmp_path / "a.txt", CLIP, bad_boxes="refuse")


BAD = {
    "two_rows_for_one_id": ("1,1,1,1,5,5,1,-1,-1,-1\n" * 2, "object 1 stands twice in frame 0"),
    "frame_0": ("0,1,1,1,5,5,1,-1,-1,-1", "line 1: frame 0; MOTChallenge counts frames from 1"),
    "negative_frame": ("-1,1,1,1,5,5,1,-1,-1,-1", "frame -1"),
    "half_frame": ("1.5,1,1,1,5,5,1,-1,-1,-1", "frame is 1.5; expected a whole number"),
    "past_the_end": ("6,1,1,1,5,5,1,-1,-1,-1", "frame 5, but the tracks have frames 0 to 4"),
    "nan": ("1,1,nan,1,5,5,1,-1,-1,-1", "line 1: box .* holds NaN"),
    "infinite": ("1,1,1,1,inf,5,1,-1,-1,-1", "holds NaN or infinity"),
    "negative_width": ("1,1,9,9,-5,5,1,-1,-1,-1", "is inverted or has no area"),
    "no_height": ("1,1,9,9,5,0,1,-1,-1,-1", "is inverted or has no area"),
    "outside": ("1,1,5000,1,5,5,1,-1,-1,-1", "lies outside the 1920x1080 frame"),
    "detections": ("1,-1,1,1,5,5,0.5,-1,-1,-1\n" * 3, "3 rows have id -1: detections, not tracks"),
    "half_id": ("1,1.5,1,1,5,5,1,-1,-1,-1", "object id is 1.5"),
    "cut_off": ("1,1,1,1,5,5,1,-1,-1,-1\n1,2,1,1", "line 2 has 4 values"),
    "no_number": ("1,1,1,1,5,5,1,-1,-1,-1\n1,2,x,1,5,5,1,-1,-1,-1", "line 2: 'x' is no number"),
    "huge_number": ("1,1,1e999,1,5,5,1,-1,-1,-1", "NaN or infinity|outside"),
    "huge_frame": ("1e300,1,1,1,5,5,1,-1,-1,-1", "frame"),
    "infinite_frame": ("inf,1,1,1,5,5,1,-1,-1,-1", "frame|OverflowError"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_rows_are_refused(tmp_path, text, message):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(TracksError, match=message) as caught:
        Tracks.load(tmp_path / "a.txt", CLIP)
    assert "\n" not in str(caught.value)
    assert "a.txt" in str(caught.value)


@pytest.mark.parametrize("name", ["nan", "negative_width", "outside"])
def test_bad_boxes_can_be_left_out(tmp_path, name):
    (tmp_path / "a.txt").write_text(BAD[name][0] + "\n2,1,1,1,5,5,1,-1,-1,-1\n")
    with pytest.warns(UserWarning, match="1 boxes were left out"):
        tracks = Tracks.load(tmp_path / "a.txt", CLIP, bad_boxes="drop")
    assert tracks[1].frames.tolist() == [1]


def test_without_a_video_the_size_is_asked_for(tmp_path):
    (tmp_path / "a.txt").write_text(RESULTS)
    with pytest.raises(TracksError, match="pass video= or resolution_wh="):
        Tracks.load(tmp_path / "a.txt")


def test_any_box_comes_back_exactly(tmp_path):
    """One million-th of a pixel or binary fractions: saved and loaded, boxes are equal."""
    from gar_video.tracks_builder import TracksBuilder

    numbers = random.Random(0)
    builder = TracksBuilder((1920, 1080), 300)
    for frame in range(300):
        x, y = numbers.uniform(0, 1800), numbers.uniform(0, 1000)
        box = (x, y, x + numbers.uniform(1e-9, 100), y + numbers.random() + 1e-12)
        builder.add_box(
            frame, 1, [round(v, 1 + frame % 16) for v in box[:3]] + [1079.5] if frame % 3 else box
        )
    builder_tracks = builder.build()
    builder_tracks.save(tmp_path / "a.txt")
    loaded = Tracks.load(tmp_path / "a.txt", Clip(1920, 1080, 300))
    assert np.array_equal(loaded[1].boxes_xyxy, builder_tracks[1].boxes_xyxy)
