"""Label Studio's video JSON, by its documented schema."""

import json

import pytest
from format_samples import Clip, H, T, W

from gar_video.errors import TracksError
from gar_video.tracks import Tracks


def key(frame, x=10.0, y=25.0, width=50.0, height=50.0, enabled=True, rotation=0) -> dict:
    return {
        "frame": frame,
        "enabled": enabled,
        "rotation": rotation,
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "time": frame / 25,
    }


def region(name, sequence, labels=("Man",), frames_count=T) -> dict:
    return {
        "id": name,
        "type": "videorectangle",
        "from_name": "box",
        "to_name": "video",
        "origin": "manual",
        "value": {
            "framesCount": frames_count,
            "duration": 5.4,
            "sequence": sequence,
            "labels": list(labels),
        },
    }


def task(*regions, number=1, **more) -> dict:
    return {
        "id": number,
        "data": {"video": f"/data/upload/{number}/clip{number}.mp4"},
        "annotations": [{"id": 7, "was_cancelled": False, "result": list(regions)}],
        **more,
    }


def load(tmp_path, data, clip=None, **more) -> Tracks:
    (tmp_path / "a.json").write_text(json.dumps(data))
    return Tracks.load(tmp_path / "a.json", clip or Clip(), **more)


def test_percent_boxes_keyframes_and_lifespans(tmp_path):
    regions = (
        region("aXb3", [key(1), key(3, x=30, enabled=False), key(6, x=0)]),
        region("q_Z", [key(2, enabled=False)], ()),
        {"id": "t", "type": "choices", "value": {"choices": ["indoor"]}},
    )
    tracks = load(tmp_path, [task(*regions)])
    assert tracks.source_format == "label_studio"
    assert tracks.source_ids == {1: "aXb3", 2: "q_Z"}
    assert [tracks[i].label for i in tracks] == ["Man", None]
    assert tracks[1].frames.tolist() == [0, 1, 2, 5, 6]
    assert tracks[1].box_xyxy(0).tolist() == [0.1 * W, 0.25 * H, 0.6 * W, 0.75 * H]
    assert tracks[1].box_xyxy(1).tolist() == pytest.approx([0.2 * W, 0.25 * H, 0.7 * W, 0.75 * H])
    assert tracks[1].box_xyxy(6).tolist() == tracks[1].box_xyxy(5).tolist()
    assert tracks[2].frames.tolist() == [1]
    assert load(tmp_path, task(*regions)) == tracks
    assert load(tmp_path, {"result": list(regions)}) == tracks
    assert load(tmp_path, [{**task(), "predictions": [{"result": list(regions)}]}]) == tracks


def test_boxes_turn_about_their_first_corner(tmp_path):
    square = key(1, x=50, y=50, width=20, height=100 * 4 / H, rotation=90, enabled=False)
    tracks = load(tmp_path, [task(region("a", [square]))])
    # 8 x 4 pixels with the corner at (20, 12): turned clockwise it hangs to the left and below.
    assert tracks[1].box_xyxy(0).tolist() == [16, 12, 20, 20]


def test_one_of_several_tasks(tmp_path):
    data = [task(region("a", [key(1)]), number=1), task(region("b", [key(2)]), number=2)]
    assert load(tmp_path, data, sequence="2").source_ids == {1: "b"}
    assert load(tmp_path, data, Clip(name="clip2.mp4")).source_ids == {1: "b"}
    with pytest.raises(
        TracksError, match=r"0 of its tasks fit; pass sequence=, the id of one task \(1, 2\)"
    ):
        load(tmp_path, data)


BAD = {
    "frame_0": ([key(0)], "frame 0; Label Studio counts frames from 1"),
    "past_the_end": ([key(99)], "frame 98"),
    "frame_twice": ([key(1), key(1)], "frame 0 stands twice"),
    "nan": ([key(1, x=float("nan"))], "NaN"),
    "no_width": ([key(1, width=0)], "no area"),
    "outside": ([key(1, x=150)], "outside the 40x24 frame"),
    "missing": ([{"frame": 1}], "KeyError"),
    "text": (["x"], "damaged or of another format"),
}


@pytest.mark.parametrize(("sequence", "message"), BAD.values(), ids=BAD)
def test_bad_regions_are_refused(tmp_path, sequence, message):
    with pytest.raises(TracksError, match=message) as caught:
        load(tmp_path, [task(region("a", sequence))])
    assert "\n" not in str(caught.value)


def test_another_length_or_none_at_all(tmp_path):
    with pytest.raises(TracksError, match="made for 99 frames, but the video has 7"):
        load(tmp_path, [task(region("a", [key(1)], frames_count=99))])
    with pytest.raises(TracksError, match="different framesCount"):
        load(tmp_path, [task(region("a", [key(1)]), region("b", [key(1)], frames_count=9))])
    (tmp_path / "b.json").write_text(json.dumps([task(region("a", [key(1)]))]))
    with pytest.raises(TracksError, match="pass video="):
        Tracks.load(tmp_path / "b.json")
    with pytest.raises(TracksError, match="no id"):
        load(tmp_path, [task({**region("a", [key(1)]), "id": None})])
