"""CVAT for video XML, by its documented schema."""

import numpy as np
import pytest
from format_samples import Clip, H, T, W, blob

from gar_video.errors import TracksError
from gar_video.masks import as_rle, decode
from gar_video.tracks import Tracks


def document(
    tracks: str, size: int | None = T, start: int = 0, wh: tuple[int, int] = (W, H)
) -> str:
    length = "" if size is None else f"<size>{size}</size>"
    return f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>5</id><name>a &amp; b</name>{length}<mode>interpolation</mode><overlap>5</overlap>
      <start_frame>{start}</start_frame><stop_frame>{start + (size or 1) - 1}</stop_frame>
      <labels><label><name>car</name><type>any</type>
        <attributes><attribute><name>size</name><values>9</values></attribute></attributes>
      </label></labels>
      <segments><segment><id>1</id><start>0</start><stop>{T - 1}</stop></segment></segments>
      <original_size><width>{wh[0]}</width><height>{wh[1]}</height></original_size>
    </task>
    <dumped>2024-01-01</dumped>
  </meta>
  {tracks}
</annotations>
"""


def box(frame, x=2.0, y=3.0, w=10.0, h=5.0, outside=0, keyframe=1, **more) -> str:
    extra = "".join(f' {key}="{value}"' for key, value in more.items())
    return (
        f'<box frame="{frame}" outside="{outside}" occluded="0" keyframe="{keyframe}" '
        f'xtl="{x:.2f}" ytl="{y:.2f}" xbr="{x + w:.2f}" ybr="{y + h:.2f}" z_order="0"{extra}>'
        '<attribute name="size">3</attribute></box>'
    )


def polygon(frame, points, outside=0, keyframe=1) -> str:
    text = ";".join(f"{x},{y}" for x, y in points)
    return (
        f'<polygon frame="{frame}" outside="{outside}" occluded="1" keyframe="{keyframe}" '
        f'points="{text}" z_order="0"></polygon>'
    )


def mask(frame, full: np.ndarray, outside=0, keyframe=1) -> str:
    """Row by row inside the tight rectangle, empty run first."""
    rows, columns = np.nonzero(full)
    top, left = rows.min(), columns.min()
    part = full[top : rows.max() + 1, left : columns.max() + 1]
    runs, value, length = [], False, 0
    for pixel in part.ravel():
        if pixel != value:
            runs.append(length)
            value, length = pixel, 0
        length += 1
    runs.append(length)
    return (
        f'<mask frame="{frame}" outside="{outside}" occluded="0" keyframe="{keyframe}" '
        f'rle="{", ".join(map(str, runs))}" left="{left}" top="{top}" '
        f'width="{part.shape[1]}" height="{part.shape[0]}" z_order="0"></mask>'
    )


def track(number, shapes, label="car") -> str:
    return f'<track id="{number}" label="{label}" source="manual">{"".join(shapes)}</track>'


def load(tmp_path, text, clip=None, **more) -> Tracks:
    path = tmp_path / "annotations.xml"
    path.write_text(text if text.lstrip().startswith("<?xml") else document(text))
    return Tracks.load(path, clip, **more)


def spans(tracks: Tracks) -> dict[int, list[int]]:
    return {object_id: tracks[object_id].frames.tolist() for object_id in tracks}


def test_export_with_every_frame(tmp_path):
    shapes = [
        box(0),
        box(1, x=3, keyframe=0),
        box(2, x=4),
        box(3, outside=1),
        box(5, x=-2.5),
        box(6, outside=1),
    ]
    tracks = load(tmp_path, track(0, shapes) + track(3, [mask(4, blob(9, 3))], "bus"), Clip())
    assert tracks.source_format == "cvat"
    assert tracks.resolution_wh == (W, H)
    assert tracks.num_frames == T
    assert spans(tracks) == {0: [0, 1, 2, 5], 3: [4]}
    assert [tracks[i].label for i in tracks] == ["car", "bus"]
    assert tracks[0].box_xyxy(1).tolist() == [3, 3, 13, 8]
    assert tracks[0].box_xyxy(5).tolist() == [0, 3, 7.5, 8]
    assert np.array_equal(tracks[3].mask(4), blob(9, 3))
    assert load(tmp_path, document(track(0, shapes))) == tracks.subset([0])


def test_boxes_move_between_keyframes(tmp_path):
    shapes = [box(0, x=2), box(4, x=10, w=14), box(6, outside=1)]
    tracks = load(tmp_path, track(0, shapes))
    assert spans(tracks) == {0: [0, 1, 2, 3, 4, 5]}
    assert tracks[0].box_xyxy(1).tolist() == [4, 3, 15, 8]
    assert tracks[0].box_xyxy(3).tolist() == [8, 3, 21, 8]
    assert tracks[0].box_xyxy(5).tolist() == tracks[0].box_xyxy(4).tolist()


@pytest.mark.parametrize(
    ("shapes", "size", "expected"),
    [
        ([box(1), box(3)], T, [1, 2, 3, 4, 5, 6]),
        ([box(1)], T, [1, 2, 3, 4, 5, 6]),
        ([box(1), box(2), box(3)], T, [1, 2, 3]),
        ([box(1), box(3)], None, [1, 2, 3]),
        ([box(1), box(3), box(4, outside=1), box(6)], T, [1, 2, 3, 6]),
        ([box(2, outside=1)], T, []),
        ([box(3), box(1)], None, [1, 2, 3]),
    ],
    ids=["open_end", "one_keyframe", "every_frame_listed", "length_unknown", "comes_back",
         "never_inside", "shuffled"],
)  # fmt: skip
def test_where_tracks_end(tmp_path, shapes, size, expected):
    tracks = load(tmp_path, document(track(0, shapes), size))
    assert spans(tracks) == {0: expected}


def test_polygons_move_corner_by_corner_or_stand(tmp_path):
    first = [(2, 2), (10, 2), (10, 10), (2, 10)]
    later = [(x + 8, y + 4) for x, y in first]
    tracks = load(tmp_path, track(0, [polygon(0, first), polygon(2, later), polygon(3, [], 1)]))
    assert spans(tracks) == {0: [0, 1, 2]}
    assert tracks[0].box_xyxy(1).tolist() == [6, 4, 14, 12]
    tracks = load(tmp_path, track(0, [polygon(0, first), polygon(2, later[:3])]))
    assert tracks[0].box_xyxy(1).tolist() == [2, 2, 10, 10]
    expected = decode(as_rle([[v for p in later[:3] for v in p]], (W, H)))
    assert np.array_equal(tracks[0].mask(2), expected)


def test_masks_stand_until_the_next(tmp_path):
    tracks = load(
        tmp_path, track(0, [mask(0, blob(3, 3)), mask(2, blob(9, 9)), mask(4, blob(9, 9), 1)])
    )
    assert spans(tracks) == {0: [0, 1, 2, 3]}
    assert np.array_equal(tracks[0].mask(1), blob(3, 3))
    assert np.array_equal(tracks[0].mask(3), blob(9, 9))


def test_turned_boxes_become_masks(tmp_path):
    shapes = [box(0, x=10, y=8, w=12, h=4, rotation=90.0), box(1, outside=1)]
    tracks = load(tmp_path, track(0, shapes))
    assert not tracks[0].is_box(0)
    assert tracks[0].box_xyxy(0).tolist() == [14, 4, 18, 16]
    shapes = [box(0, x=10, y=8, w=8, h=4, rotation=350), box(2, x=10, y=8, w=8, h=4, rotation=10)]
    assert load(tmp_path, track(0, shapes))[0].is_box(1)  # half way it is not turned


def test_job_of_a_task_that_starts_later_keeps_the_videos_frames(tmp_path):
    text = document(track(0, [box(4), box(5, outside=1)]), size=3, start=4)
    assert load(tmp_path, text, Clip())[0].frames.tolist() == [4]


ENTITIES = """<?xml version="1.0"?>
<!DOCTYPE annotations [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotations><version>&b;</version></annotations>
"""
OUTSIDE_FILE = """<?xml version="1.0"?>
<!DOCTYPE annotations SYSTEM "file:///etc/passwd"><annotations></annotations>
"""
BAD = {
    "entity_bomb": (ENTITIES, "document type or entities is refused"),
    "external_entity": (OUTSIDE_FILE, "document type or entities is refused"),
    "unknown_entity": (document("&bomb;"), "not well-formed|undefined"),
    "cut_off": (document(track(0, [box(0)]))[:-40], "not well-formed XML"),
    "nested": (document("<a>" * 5000 + "</a>" * 5000), "nested deeper"),
    "images": (document('<image id="0" name="a.png" width="4" height="4"></image>'), "no tracks"),
    "points": (document(track(0, [polygon(0, [(1, 1)]).replace("polygon", "points")])), "has a points"),
    "unknown_shape": (document(track(0, [box(0).replace("box", "ball")])), "frame 0, ball: no 'ball'"),
    "id_twice": (document(track(0, [box(0)]) * 2), "track id 0 stands twice"),
    "frame_twice": (document(track(0, [box(0), box(0)])), "frame 0 stands twice"),
    "frame_twice_in_full": (
        document(track(0, [box(0), box(0, keyframe=0), box(1)])),
        "frame 0 stands twice",
    ),
    "negative_frame": (document(track(0, [box(-1)])), "frame -1"),
    "no_frame": (document(track(0, ["<box xtl='1'/>"])), "frame is ''; expected a whole number"),
    "past_the_end": (document(track(0, [box(99)])), "frame 99"),
    "no_corner": (document(track(0, ['<box frame="1" xtl="1"/>'])), "track 0, frame 1, box: no 'ytl'"),
    "no_number": (document(track(0, [box(1).replace("2.00", "x")])), "'x' is no number"),
    "nan": (document(track(0, [box(1, x=float("nan"))])), "holds NaN"),
    "outside_frame": (document(track(0, [box(1, x=500)])), "lies outside the 40x24 frame"),
    "two_corners": (document(track(0, [polygon(1, [(1, 1), (2, 2)])])), "three or more"),
    "no_comma": (document(track(0, [polygon(1, [(1, 1)]).replace(",", "")])), "no number"),
    "mask_sum": (document(track(0, [mask(1, blob(3, 3)).replace("1, ", "7, ", 1)])), "add up to"),
    "mask_negative": (
        document(track(0, [mask(1, blob(3, 3)).replace('rle="', 'rle="-5, 5, ')])),
        "add up to",
    ),
    "mask_outside": (
        document(track(0, [mask(1, blob(3, 3)).replace('left="3"', 'left="38"')])),
        "reaches outside the frame of 40x24",
    ),
    "mask_bomb": (
        document(track(0, ['<mask frame="0" rle="1" left="0" top="0" width="99999" height="99999"/>'])),
        "claims 9,999,800,001 pixels",
    ),
    "other_size": (document("", wh=(9, 9)), "frames of 9x9 pixels, but the video has 40x24"),
    "other_length": (document("", size=99), "made for 99 frames, but the video has 7"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_refused(tmp_path, text, message):
    with pytest.raises(TracksError, match=message) as caught:
        load(tmp_path, text, Clip())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shapes", [[box(0)], [box(0), box(9_999_999)]], ids=["open", "far"])
def test_keyframes_that_claim_too_much_are_refused(tmp_path, shapes, monkeypatch):
    monkeypatch.setattr("gar_video.formats.keyframes.MAX_FILLED", 1000)
    with pytest.raises(TracksError, match="grow into more than 1,000 regions"):
        load(tmp_path, document(track(0, shapes), size=10_000_000))
    with pytest.raises(TracksError, match="num_frames is 99999999999; expected 1 to 10,000,000"):
        load(tmp_path, document(track(0, shapes), size=99_999_999_999))


def test_a_large_file_is_streamed(tmp_path):
    """Memory does not grow with the length of the XML, only with the shapes that it has."""
    import tracemalloc

    path = tmp_path / "annotations.xml"
    filler = "<!-- " + "x" * 1000 + " -->\n"
    path.write_text(document(track(0, [box(0)]) + filler * 8000))
    assert path.stat().st_size > 8_000_000
    tracemalloc.start()
    try:
        tracks = Tracks.load(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tracks[0].frames.tolist() == list(range(T))
    assert peak < 3_000_000
