"""COCO video, TAO and YouTube-VIS JSON as other tools write them."""

import contextlib
import io
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


def counts(mask: np.ndarray) -> dict:
    """COCO's uncompressed form, counted plainly."""
    runs, value, length = [], False, 0
    for pixel in mask.T.ravel():
        if pixel != value:
            runs.append(length)
            value, length = pixel, 0
        length += 1
    return {"size": list(mask.shape), "counts": [*runs, length]}


def cocovid(first: int = 0, **video) -> dict:
    """As MMTracking describes CocoVID, two videos in one file."""
    return {
        "videos": [{"id": 1, "name": "other"}, {"id": 2, "name": "train/clip", **video}],
        "images": [
            {
                "id": 100 * video_id + frame,
                "video_id": video_id,
                "frame_id": frame + first,
                "file_name": f"{video_id}/{frame:06d}.jpg",
                "width": W,
                "height": H,
            }
            for video_id in (1, 2)
            for frame in reversed(range(T))
        ],
        "categories": [{"id": 3, "name": "car"}, {"id": 8, "name": "bus"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 200 + 4,
                "video_id": 2,
                "instance_id": 17,
                "category_id": 8,
                "bbox": [1.5, 2.0, 10.25, 5.0],
                "area": 51.25,
                "iscrowd": 0,
            },
            {
                "id": 2,
                "image_id": 200,
                "video_id": 2,
                "instance_id": 17,
                "category_id": 8,
                "bbox": [3, 3, 5, 5],
                "segmentation": rle(blob(3, 3)),
                "score": 0.5,
            },
            {
                "id": 3,
                "image_id": 201,
                "video_id": 2,
                "instance_id": 4,
                "category_id": 3,
                "bbox": [3, 3, 5, 5],
                "segmentation": [[3, 3, 12, 3, 12, 10, 3, 10]],
            },
            {
                "id": 4,
                "image_id": 202,
                "video_id": 2,
                "instance_id": 5,
                "category_id": 3,
                "bbox": [3, 3, 5, 5],
                "iscrowd": 1,
                "segmentation": counts(blob(5, 5)),
            },
            {"id": 5, "image_id": 100, "video_id": 1, "instance_id": 4, "bbox": [0, 0, 1, 1]},
        ],
    }


def load(path, data, clip=None, **more) -> Tracks:
    path.write_text(json.dumps(data))
    return Tracks.load(path, clip or Clip(), **more)


@pytest.mark.parametrize("first", [0, 1], ids=["from_0", "from_1"])
def test_cocovid(tmp_path, first):
    tracks = load(tmp_path / "a.json", cocovid(first))
    assert tracks.source_format == "coco_video"
    assert tracks.object_ids == (17, 4)
    assert [tracks[i].label for i in tracks] == ["bus", "car"]
    assert tracks[17].frames.tolist() == [0, 4]
    assert np.array_equal(tracks[17].mask(0), blob(3, 3))
    assert tracks[17].score(0) == 0.5
    assert tracks[17].is_box(4)
    assert tracks[17].box_xyxy(4).tolist() == [1.5, 2, 11.75, 7]
    assert tracks[4].box_xyxy(1).tolist() == [3, 3, 12, 10]
    assert np.array_equal(tracks.ignored[5].mask(2), blob(5, 5))


def test_a_video_is_chosen_by_sequence_or_name(tmp_path):
    assert load(tmp_path / "a.json", cocovid(), sequence="other").object_ids == (4,)
    assert load(tmp_path / "a.json", cocovid(), sequence="2").object_ids == (17, 4)
    assert load(tmp_path / "a.json", cocovid(), Clip(name="other.mp4")).object_ids == (4,)
    with pytest.raises(
        TracksError, match=r"holds 2 videos, none named 'xyz'; .* other, train/clip"
    ):
        load(tmp_path / "a.json", cocovid(), Clip(name="xyz"))


def test_tao_and_plain_images(tmp_path):
    data = cocovid()
    data["tracks"] = [{"id": 9, "category_id": 3, "video_id": 2}]
    for image in data["images"]:
        image["frame_index"] = image.pop("frame_id") * 2
    for annotation in data["annotations"]:
        annotation["track_id"] = annotation.pop("instance_id")
    tracks = load(tmp_path / "a.json", data, Clip(num_frames=20))
    assert tracks.object_ids == (9, 17, 4)
    assert tracks[9].label == "car"
    assert len(tracks[9]) == 0
    assert tracks[17].frames.tolist() == [0, 8]
    for image in data["images"]:
        del image["frame_index"]
    assert load(tmp_path / "b.json", data)[17].frames.tolist() == [0, 4]


def test_our_file_is_read_by_pycocotools(tmp_path):
    from pycocotools.coco import COCO

    masks = np.stack([blob(3 + frame, 3) for frame in range(T)])
    tracks = Tracks.from_masks({6: masks}, {6: "dog"})
    tracks.save(tmp_path / "a.json", "coco_video")
    with contextlib.redirect_stdout(io.StringIO()):
        reader = COCO(str(tmp_path / "a.json"))
    annotations = reader.loadAnns(reader.getAnnIds(imgIds=[3]))
    assert np.array_equal(reader.annToMask(annotations[0]), masks[2])
    assert reader.loadCats(annotations[0]["category_id"])[0]["name"] == "dog"
    assert annotations[0]["bbox"] == [5, 3, 5, 5]


def youtube(**more) -> dict:
    masks = [None] * T
    masks[1], masks[3] = counts(blob(3, 3)), rle(blob(9, 3))
    other = [None] * T
    other[0] = rle(blob(20, 3))
    return {
        "info": {},
        "videos": [
            {
                "id": 5,
                "width": W,
                "height": H,
                "length": T,
                "file_names": [f"abc/{frame * 5:05d}.jpg" for frame in range(T)],
            }
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 40, "name": "zebra"}],
        "annotations": [
            {
                "id": 31,
                "video_id": 5,
                "category_id": 40,
                "segmentations": masks,
                "bboxes": [None if m is None else [0, 0, 1, 1] for m in masks],
                "iscrowd": 0,
            },
            {"id": 8, "video_id": 5, "category_id": 1, "segmentations": other, "iscrowd": 1},
        ],
        **more,
    }


def test_youtube_vis(tmp_path):
    tracks = load(tmp_path / "a.json", youtube())
    assert tracks.source_format == "youtube_vis"
    assert tracks.object_ids == (31,)
    assert tracks[31].label == "zebra"
    assert tracks[31].frames.tolist() == [1, 3]
    assert np.array_equal(tracks[31].mask(1), blob(3, 3))
    assert tracks.ignored[8].label == "person"
    assert load(tmp_path / "a.json", youtube(), sequence="abc") == tracks


def test_youtube_vis_submission(tmp_path):
    masks = [None] * T
    masks[2] = rle(blob(3, 3))
    entry = {"video_id": 5, "category_id": 1, "score": 0.875, "segmentations": masks}
    tracks = load(tmp_path / "a.json", [entry, entry])
    assert tracks.source_format == "youtube_vis"
    assert tracks.object_ids == (1, 2)
    assert tracks[2].score(2) == 0.875
    assert tracks[1].label is None
    tracks.save(tmp_path / "b.json", "youtube_vis")
    assert Tracks.load(tmp_path / "b.json", Clip()) == tracks


def edit(data: dict, change) -> dict:
    change(data)
    return data


BAD = {
    "detections": (
        lambda: edit(cocovid(), lambda d: [a.pop("instance_id") for a in d["annotations"]]),
        "neither instance_id nor track_id",
    ),
    "two_rows": (
        lambda: edit(cocovid(), lambda d: d["annotations"].append(d["annotations"][0])),
        "object 17 stands twice in frame 4",
    ),
    "unknown_image": (
        lambda: edit(cocovid(), lambda d: d["annotations"][0].update(image_id=999)),
        "annotation of image 999",
    ),
    "image_twice": (
        lambda: edit(cocovid(), lambda d: d["images"].append(d["images"][-1])),
        "two images have the same id",
    ),
    "frame_twice": (
        lambda: edit(cocovid(), lambda d: d["images"][-1].update(frame_id=1)),
        "same frame_id",
    ),
    "mixed_sizes": (
        lambda: edit(cocovid(), lambda d: d["images"][-1].update(width=9)),
        "frames of different sizes",
    ),
    "box_of_three": (
        lambda: edit(cocovid(), lambda d: d["annotations"][0].update(bbox=[1, 2, 3])),
        "expected \\[x, y, width, height\\]",
    ),
    "box_of_nan": (
        lambda: edit(cocovid(), lambda d: d["annotations"][0].update(bbox=[float("nan"), 2, 3, 4])),
        "holds NaN",
    ),
    "box_of_text": (
        lambda: edit(cocovid(), lambda d: d["annotations"][0].update(bbox=["a", 2, 3, 4])),
        "no number",
    ),
    "malformed_mask": (
        lambda: edit(
            cocovid(), lambda d: d["annotations"][1].update(segmentation={"size": [H, W], "counts": "x"})
        ),
        "RLE counts are malformed",
    ),
    "annotation_without_image": (
        lambda: edit(cocovid(), lambda d: d["annotations"].append({"id": 6, "video_id": 2})),
        "annotation of image None",
    ),
    "annotation_of_text": (
        lambda: edit(cocovid(), lambda d: d["annotations"].append("x")),
        "damaged or of another format",
    ),
    "negative_frame": (
        lambda: edit(cocovid(), lambda d: d["images"][-1].update(frame_id=-3)),
        "frame -3",
    ),
    "youtube_too_few_masks": (
        lambda: edit(youtube(), lambda d: d["annotations"][0]["segmentations"].pop()),
        "object 31 has 6 masks for 7 frames",
    ),
    "youtube_id_twice": (
        lambda: edit(youtube(), lambda d: d["annotations"][1].update(id=31)),
        "object id 31 stands twice",
    ),
    "youtube_other_size": (
        lambda: edit(youtube(), lambda d: d["videos"][0].update(width=99)),
        "made for frames of 99x24 pixels, but the video has 40x24",
    ),
    "youtube_no_video": (lambda: youtube(videos=[]), "no video in it"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_refused(tmp_path, make, message):
    with pytest.raises(TracksError, match=message) as caught:
        load(tmp_path / "a.json", make())
    assert "\n" not in str(caught.value)
