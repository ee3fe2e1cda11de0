"""VideoRefer annotations and MeViS mask dictionaries as the benchmarks write them."""

import json

import numpy as np
import pytest
from format_samples import Clip, H, T, W, blob

from gar_video.errors import TracksError
from gar_video.tracks import Tracks

coco = pytest.importorskip("pycocotools.mask")


def rle(mask: np.ndarray) -> dict:
    found = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode()}


ANNOTATION = [
    {
        "0": {"segmentation": rle(blob(3, 3))},
        "5": {"segmentation": None},
        "3": {"segmentation": {"size": [H, W], "counts": [10, 4, H * W - 14]}},
    },
    {"3": {"segmentation": [[3, 3, 12, 3, 12, 10, 3, 10]]}, "0": None, "6": {"segmentation": None}},
    {"0": {"segmentation": rle(blob(3, 3) & False)}},
    {"0": {"segmentation": None}},
]


def load(path, data, clip=None, **more) -> Tracks:
    path.write_text(json.dumps(data))
    return Tracks.load(path, clip, **more)


def check(tracks: Tracks) -> None:
    assert tracks.source_format == "videorefer"
    assert tracks.object_ids == (1, 2, 3, 4)
    assert tracks.resolution_wh == (W, H)
    assert tracks.num_frames == T
    assert tracks[1].frames.tolist() == [0, 3]
    assert np.array_equal(tracks[1].mask(0), blob(3, 3))
    assert tracks[1].area(3) == 4
    assert tracks[2].frames.tolist() == [3]
    assert len(tracks[3]) == len(tracks[4]) == 0


def test_videorefer_annotation_alone_in_an_item_and_in_the_benchmark(tmp_path):
    item = {"id": 7, "video": "DAVIS/x", "Question": "What …?", "annotation": ANNOTATION}
    check(load(tmp_path / "a.json", ANNOTATION))
    check(load(tmp_path / "a.json", ANNOTATION, Clip()))
    check(load(tmp_path / "b.json", item))
    check(load(tmp_path / "c.json", [item]))
    check(
        load(
            tmp_path / "d.json",
            [{**item, "id": 8, "annotation": [{"0": None}]}, item],
            sequence="7",
        )
    )
    with pytest.raises(
        TracksError, match=r"holds 2 items; pass sequence=, the id of one of them \(7, 8"
    ):
        load(tmp_path / "e.json", [item, {**item, "id": 8}])


def test_videorefer_without_any_size_needs_the_video(tmp_path):
    data = [{"0": {"segmentation": [[3, 3, 12, 3, 12, 10, 3, 10]]}}]
    assert load(tmp_path / "a.json", data, Clip())[1].is_visible(0)
    with pytest.raises(TracksError, match="pass video="):
        load(tmp_path / "a.json", data)


def test_videorefer_is_written_as_published(tmp_path):
    check(load(tmp_path / "a.json", ANNOTATION))
    Tracks.load(tmp_path / "a.json").save(tmp_path / "b.json", "videorefer")
    written = json.loads((tmp_path / "b.json").read_text())
    assert [sorted(one, key=int) for one in written] == [["0", "3", "6"]] * 4
    assert written[0]["0"] == {"segmentation": rle(blob(3, 3))}
    assert written[3]["3"] == {"segmentation": None}


BAD = {
    "frame_twice": (
        '[{"1": {"segmentation": null}, "1": {"segmentation": null}}]',
        "'1' stands twice",
    ),
    "past_the_end": (json.dumps([{"9": {"segmentation": rle(blob(3, 3))}}]), "frame 9"),
    "no_segmentation": (json.dumps([{"1": {}}]), "KeyError"),
    "other_size": (
        json.dumps([{"1": {"segmentation": rle(blob(3, 3).T)}}]),
        "made for frames of 24x40 pixels, but the video has 40x24",
    ),
    "mixed_sizes": (
        json.dumps([{"1": {"segmentation": rle(blob(3, 3))}, "2": {"segmentation": rle(blob(3, 3).T)}}]),
        "object 1 in frame 2: mask of 24x40",
    ),
    "size_of_one": (
        json.dumps([{"1": {"segmentation": {"size": [4], "counts": [4]}}}]),
        "ValueError|height",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_videorefer_is_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(TracksError, match=message) as caught:
        Tracks.load(tmp_path / "a.json", Clip())
    assert "\n" not in str(caught.value)


def mask_dict() -> dict:
    return {
        "11": [rle(blob(3, 3)), None, *[rle(blob(9, 3))] * (T - 2)],
        "2": [None] * T,
        "40": [rle(blob(20, 3))] + [None] * (T - 1),
        "50": [rle(blob(3, 3).T)] * 3,
    }


META = {
    "videos": {
        "clip": {
            "vid_id": 1,
            "frames": [f"{frame:05d}" for frame in range(T)],
            "expressions": {
                "0": {"exp": "the bird flying away", "obj_id": [1], "anno_id": [11]},
                "1": {"exp": "both", "obj_id": [0, 1], "anno_id": [2, 11]},
            },
        },
        "other": {"vid_id": 2, "frames": [], "expressions": {"0": {"exp": "x", "anno_id": [50]}}},
    }
}


def test_mevis_alone(tmp_path):
    data = mask_dict()
    del data["50"]
    tracks = load(tmp_path / "mask_dict.json", data)
    assert tracks.source_format == "mevis"
    assert tracks.object_ids == (11, 2, 40)
    assert tracks.num_frames == T
    assert tracks.num_frames_known
    assert tracks[11].frames.tolist() == [0, 2, 3, 4, 5, 6]
    assert len(tracks[2]) == 0


def test_mevis_of_one_video_by_its_expressions(tmp_path):
    (tmp_path / "mask_dict.json").write_text(json.dumps(mask_dict()))
    (tmp_path / "meta_expressions.json").write_text(json.dumps(META))
    for path in (tmp_path, tmp_path / "mask_dict.json"):
        assert Tracks.load(path, sequence="clip").object_ids == (2, 11)
        assert Tracks.load(path, Clip(name="clip.mp4")).object_ids == (2, 11)
    assert Tracks.load(tmp_path, sequence="other").resolution_wh == (H, W)
    with pytest.raises(
        TracksError, match="no video 'xyz' in it; pass sequence=, one of clip, other"
    ):
        Tracks.load(tmp_path, Clip(name="xyz"))


def test_mevis_of_several_videos_without_expressions_is_refused(tmp_path):
    with pytest.raises(TracksError, match="objects of different lengths"):
        load(tmp_path / "mask_dict.json", mask_dict())
    with pytest.raises(TracksError, match=r"needs meta_expressions\.json"):
        load(tmp_path / "mask_dict.json", mask_dict(), sequence="clip")
