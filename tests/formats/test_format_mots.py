"""MOTS and KITTI-MOTS as their benchmarks write them, masks by pycocotools."""

import numpy as np
import pytest
from format_samples import Clip, H, T, W, blob, quietly
from PIL import Image

from gar_video.errors import TracksError
from gar_video.tracks import Tracks

coco = pytest.importorskip("pycocotools.mask")


def row(frame: int, object_id: int, mask: np.ndarray, class_id: int | None = None) -> str:
    counts = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    class_id = object_id // 1000 if class_id is None else class_id
    return f"{frame} {object_id} {class_id} {mask.shape[0]} {mask.shape[1]} {counts}"


def load(path, lines, **more) -> Tracks:
    path.write_text("\n".join(lines) + "\n")
    return Tracks.load(path, Clip(), **more)


def test_challenge_text_counts_from_1(tmp_path):
    lines = [
        row(1, 2001, blob(3, 3)),
        row(7, 2001, blob(9, 9)),
        row(1, 10_000, blob(20, 9), 10),
        row(3, 2004, blob(13, 3)),
    ]
    tracks = load(tmp_path / "a.txt", lines)
    assert tracks.source_format == "mots"
    assert tracks.object_ids == (2001, 2004)
    assert tracks[2001].label == "pedestrian"
    assert tracks[2001].frames.tolist() == [0, 6]
    assert np.array_equal(tracks[2001].mask(6), blob(9, 9))
    assert tracks.ignored.object_ids == (10_000,)
    assert np.array_equal(tracks.ignored[10_000].mask(0), blob(20, 9))


def test_kitti_text_counts_from_0(tmp_path):
    lines = [row(3, 1005, blob(3, 3)), row(4, 2001, blob(9, 9))]
    tracks = load(tmp_path / "a.txt", lines)
    assert tracks.source_format == "kitti_mots"
    assert tracks[1005].label == "car"
    assert tracks[1005].frames.tolist() == [3]
    tracks = load(tmp_path / "b.txt", [row(0, 2001, blob(9, 9))])
    assert tracks.source_format == "kitti_mots"
    assert load(tmp_path / "c.txt", lines, format="mots")[1005].frames.tolist() == [2]


def test_png(tmp_path):
    folder = tmp_path / "instances"
    folder.mkdir()
    for frame in range(T):
        values = np.zeros((H, W), np.uint16)
        values[blob(20, 12)] = 10_000
        if frame != 2:
            values[blob(3 + frame, 3)] = 1005
            values[blob(20, 3)] = 2001
        Image.fromarray(values).save(folder / f"{frame:06d}.png")
    tracks = Tracks.load(folder, Clip())
    assert tracks.source_format == "mots_png"
    assert tracks.object_ids == (1005, 2001)
    assert [tracks[i].label for i in tracks] == ["car", "pedestrian"]
    assert tracks[1005].frames.tolist() == [0, 1, 3, 4, 5, 6]
    assert np.array_equal(tracks[1005].mask(4), blob(7, 3))
    assert len(tracks.ignored[10_000]) == T
    assert Tracks.load(folder).num_frames == T


def test_numbers_without_class_are_said_to_change(tmp_path):
    tracks = Tracks.from_masks({5: np.stack([blob(3, 3)] * T)}, {5: "car"})
    with pytest.warns(UserWarning, match=r"ids apart from classes: \{5: 1005\} were renumbered"):
        tracks.save(tmp_path / "png", "mots_png")
    assert Tracks.load(tmp_path / "png", Clip()).object_ids == (1005,)


def test_text_that_would_be_misread_is_said(tmp_path):
    late = np.zeros((T, H, W), bool)
    late[3] = blob(3, 3)
    tracks = Tracks.from_masks({2001: late}, {2001: "pedestrian"})
    with pytest.warns(UserWarning, match="name the format when it is read"):
        tracks.save(tmp_path / "a.txt", "kitti_mots")
    assert Tracks.load(tmp_path / "a.txt", Clip(), "kitti_mots") == tracks
    quietly(tracks.save, tmp_path / "b.txt", "mots")
    assert Tracks.load(tmp_path / "b.txt", Clip()) == tracks


GOOD = row(1, 2001, blob(3, 3))
BAD = {
    "two_rows": ([GOOD, GOOD], "object 2001 stands twice in frame 0"),
    "past_the_end": ([GOOD, row(8, 2001, blob(3, 3))], "line 2: frame 7"),
    "cut_off": ([GOOD, GOOD[:-2]], "line 2: object 2001 in frame 0: RLE"),
    "columns": ([GOOD, "1 2001 2 24"], "line 2 has 4 values"),
    "other_size": ([GOOD, row(2, 2001, blob(3, 3).T)], "line 2: .*mask of 24x40"),
    "bomb": ([GOOD, "2 2001 2 99999999 99999999 0"], "line 2: .*claims 9,999,999,800,000,001"),
    "not_whole": ([GOOD, "1.5 2001 2 24 40 abc"], "value is 1.5"),
    "not_a_number": ([GOOD, "a b c d e f"], "line 2"),
    "empty_mask": ([row(1, 2001, blob(3, 3) & False)], "mask of object 2001 is empty"),
}


@pytest.mark.parametrize(("lines", "message"), BAD.values(), ids=BAD)
def test_bad_rows_are_refused(tmp_path, lines, message):
    with pytest.raises(TracksError, match=message) as caught:
        load(tmp_path / "a.txt", lines)
    assert "\n" not in str(caught.value)


def test_frame_0_is_refused_where_frames_count_from_1(tmp_path):
    with pytest.raises(TracksError, match="frame 0; this format counts frames from 1"):
        load(tmp_path / "a.txt", [row(0, 2001, blob(3, 3))], format="mots")
