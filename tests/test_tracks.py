import copy
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import supervision as sv

from gar_video.errors import TracksError
from gar_video.masks import encode, from_box
from gar_video.regions import RegionWriter
from gar_video.tracks import Track, Tracks
from gar_video.tracks_builder import TracksBuilder

T, H, W = 6, 20, 30
WH = (W, H)


def moving(start: int, first: int = 0, last: int = T) -> np.ndarray:
    """Masks of a blob that moves right by two pixels a frame, seen in frames [first, last)."""
    masks = np.zeros((T, H, W), bool)
    for frame in range(first, last):
        masks[frame, 4:9, start + 2 * frame : start + 2 * frame + 5] = True
        masks[frame, 6, start + 2 * frame] = False
    return masks


def two_objects() -> dict[int, np.ndarray]:
    gap = moving(10, 1)
    gap[3] = False
    return {7: moving(2, 0, 4), 3: gap}


@pytest.fixture
def tracks() -> Tracks:
    return Tracks.from_masks(two_objects(), {7: "dog"})


def video(width: int = W, height: int = H, num_frames: int = T):
    class Clip(list):
        resolution_wh = (width, height)
        name = "clip"

    return Clip([None] * num_frames)


# -- reading ---------------------------------------------------------------------------------------


def test_tracks_give_back_what_went_in(tracks):
    given = two_objects()
    assert tracks.object_ids == (7, 3) == tuple(tracks)
    assert len(tracks) == 2
    assert 3 in tracks
    assert 4 not in tracks
    assert (tracks.resolution_wh, tracks.num_frames) == (WH, T)
    assert not tracks.boxes_only
    for object_id, masks in given.items():
        track = tracks[object_id]
        assert isinstance(track, Track)
        assert track.frames.tolist() == np.flatnonzero(masks.any((1, 2))).tolist()
        for frame in range(T):
            seen = masks[frame].any()
            assert track.is_visible(frame) == seen
            assert track.area(frame) == masks[frame].sum()
            assert not track.is_box(frame)
            if seen:
                assert np.array_equal(track.mask(frame), masks[frame])
                assert track.rle(frame) == encode(masks[frame])
                rows, columns = np.nonzero(masks[frame])
                expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert track.box_xyxy(frame).tolist() == expected
                assert track.box_xyxy(frame).dtype == np.float64
            else:
                assert track.mask(frame) is None
                assert track.rle(frame) is None
                assert track.box_xyxy(frame) is None
            assert track.score(frame) is None
    assert tracks[7].label == "dog"
    assert tracks[3].label is None


def test_visibility_and_masks(tracks):
    seen = np.stack([masks.any((1, 2)) for masks in two_objects().values()])
    assert np.array_equal(tracks.visibility(), seen)
    assert np.array_equal(tracks.visibility([5, 0, 0], [3]), seen[1:, [5, 0, 0]])
    assert tracks.visibility([], []).shape == (0, 0)
    dense = tracks.masks(1, [3, 7])
    assert dense.shape == (2, H, W)
    assert np.array_equal(dense, np.stack([two_objects()[3][1], two_objects()[7][1]]))
    assert not tracks.masks(5, [7]).any()


def test_detections_of_a_frame_come_back(tracks):
    found = tracks.detections(1)
    assert found.tracker_id.tolist() == [7, 3]
    assert found.data["class_name"].tolist() == ["dog", ""]
    assert found.mask.shape == (2, H, W)
    assert found.confidence is None
    assert len(tracks.detections(5)) == 1
    again = Tracks.from_detections([tracks.detections(frame) for frame in range(T)])
    assert again == tracks


def test_subset_and_window_share_memory(tracks):
    assert tracks.subset([3]).object_ids == (3,)
    assert tracks.subset([3, 7]).object_ids == (3, 7)
    assert tracks.subset([]).object_ids == ()
    part = tracks.window(1, 4)
    assert part.num_frames == T
    assert part.object_ids == (7, 3)
    assert part[7].frames.tolist() == [1, 2, 3]
    assert part[3].frames.tolist() == [1, 2]
    assert np.array_equal(part[7].mask(2), tracks[7].mask(2))
    assert part[7]._columns.blob is tracks[7]._columns.blob
    assert np.shares_memory(part[7].frames, tracks[7].frames)
    assert tracks.window(4, 6)[7].frames.tolist() == []
    assert not tracks.window(4, 6)[7].boxes_only
    assert "never visible" in repr(tracks.window(4, 6)[7])
    assert tracks.window(0, T) == tracks
    assert part != tracks


def test_nothing_changes_tracks(tracks):
    before = copy.deepcopy(two_objects())
    with pytest.raises(AttributeError):
        tracks[7].label = "cat"
    with pytest.raises(AttributeError):
        tracks.num_frames = 3
    with pytest.raises(ValueError, match="read-only"):
        tracks[7].frames[0] = 5
    with pytest.raises(ValueError, match="read-only"):
        tracks[7].boxes_xyxy[0] = 5
    tracks[7].mask(0)[:] = True
    tracks[7].rle(0)["counts"] = ""
    tracks[7].box_xyxy(0)[:] = 0
    tracks.source_ids[1] = "x"
    tracks.detections(0).mask[:] = True
    assert np.array_equal(tracks[7].mask(0), before[7][0])
    assert tracks.source_ids == {}


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))]
)
def test_copies_are_equal_and_read_only(tracks, copied):
    again = copied(tracks)
    assert again == tracks
    assert copied(tracks[7]) == tracks[7]
    with pytest.raises(ValueError, match="read-only"):
        again[7].frames[0] = 5


def test_equality_is_by_content(tracks):
    same = Tracks.from_masks(two_objects(), {7: "dog"})
    assert tracks == same
    assert hash(tracks) == hash(same)
    assert hash(tracks[7]) == hash(same[7])
    other = two_objects()
    other[7][0, 19, 29] = True
    different = {
        "pixel": Tracks.from_masks(other, {7: "dog"}),
        "label": Tracks.from_masks(two_objects(), {7: "cat"}),
        "order": tracks.subset([3, 7]),
        "fewer": tracks.subset([7]),
        "length": Tracks.from_masks({k: v[:5] for k, v in two_objects().items()}, {7: "dog"}),
    }
    for name, one in different.items():
        assert tracks != one, name
    assert tracks != "tracks"
    assert tracks[7] != 7


def test_shows_itself(tracks):
    assert repr(tracks) == (
        "Tracks(30x20, 6 frames: 7 'dog': 4 masks in frames 0-3; 3: 4 masks in frames 1-5)"
    )
    many = Tracks.from_masks({i: moving(i) for i in range(8)})
    assert "and 3 more" in repr(many)
    page = Tracks.from_masks({1: moving(1)}, {1: "<b>"})._repr_html_()
    assert "&lt;b&gt;" in page
    assert "6 of 6" in page


# -- making ----------------------------------------------------------------------------------------


def test_from_rles_takes_any_form_and_scores():
    masks = moving(3)
    given = {
        1: {0: encode(masks[0]), 2: None, 4: encode(masks[4])},
        9: {5: [[2, 2, 12, 2, 12, 9, 2, 9]]},
        5: {},
    }
    tracks = Tracks.from_rles(given, WH, T, {5: "gone"}, {1: {4: 0.25}})
    assert tracks.object_ids == (1, 9, 5)
    assert tracks[1].frames.tolist() == [0, 4]
    assert tracks[1].score(0) is None
    assert tracks[1].score(4) == 0.25
    assert np.isnan(tracks[1].scores[0])
    assert tracks[9].box_xyxy(5).tolist() == [2, 2, 12, 9]
    assert len(tracks[5]) == 0
    assert tracks[5].label == "gone"


def boxes(ids, xyxy, **more) -> sv.Detections:
    return sv.Detections(xyxy=np.array(xyxy, float), tracker_id=np.array(ids), **more)


def test_boxes_become_box_regions_and_say_so():
    stream = [
        boxes([4], [[1.25, 2, 10.5, 9]], confidence=np.array([0.5])),
        sv.Detections.empty(),
        boxes([4, 6], [[2, 2, 11, 9], [-5, -5, 3, 3]], confidence=np.array([0.75, 1.0])),
    ]
    with pytest.warns(UserWarning, match="boxes but no masks") as caught:
        tracks = Tracks.from_detections(iter(stream), WH)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert tracks.num_frames == 3
    assert not tracks.num_frames_known
    assert tracks.boxes_only
    assert tracks[4].boxes_only
    assert tracks[4].is_box(0)
    assert tracks[4].box_xyxy(0).tolist() == [1.25, 2, 10.5, 9]
    assert np.array_equal(tracks[4].mask(0), from_box((1.25, 2, 10.5, 9), WH))
    assert tracks[4].rle(0) == encode(from_box((1.25, 2, 10.5, 9), WH))
    assert tracks[4].area(0) == from_box((1.25, 2, 10.5, 9), WH).sum()
    assert tracks[4].score(2) == 0.75
    assert tracks[6].box_xyxy(2).tolist() == [0, 0, 3, 3]
    found = tracks.detections(2)
    assert found.mask is None
    assert found.confidence.tolist() == [0.75, 1.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = Tracks.from_detections([tracks.detections(frame) for frame in range(3)], WH)
    assert again == tracks


def test_stream_may_name_frames_in_any_order_and_ids_in_text():
    masks = moving(3)
    stream = [
        (4, sv.Detections(xyxy=np.ones((1, 4)), mask=masks[4:5], tracker_id=np.array(["car-a"]))),
        (0, sv.Detections(xyxy=np.ones((1, 4)), mask=masks[:1], tracker_id=np.array(["car-a"]))),
        (2, sv.Detections(xyxy=np.ones((1, 4)), mask=masks[:1], tracker_id=np.array(["1"]))),
    ]
    tracks = Tracks.from_detections(stream, num_frames=T)
    assert tracks.object_ids == (2, 1)
    assert tracks.source_ids == {2: "car-a"}
    assert tracks[2].frames.tolist() == [0, 4]
    assert np.array_equal(tracks[2].mask(4), masks[4])
    assert np.array_equal(tracks[2].mask(0), masks[0])
    assert tracks.num_frames_known
    assert tracks.window(1, 5).subset([2]).source_ids == {2: "car-a"}


def test_compact_masks_of_supervision_are_read():
    masks = np.stack([ONE[0], ONE[3]])
    compact = sv.CompactMask.from_dense(masks, np.array([[3, 4, 8, 9], [9, 4, 14, 9]]), (H, W))
    found = sv.Detections(xyxy=np.ones((2, 4)), mask=compact, tracker_id=np.array([1, 2]))
    tracks = Tracks.from_detections([found])
    assert tracks.resolution_wh == WH
    assert np.array_equal(tracks.masks(0), masks)


def test_labels_are_the_most_frequent_and_unconfirmed_tracks_left_out():
    stream = [
        boxes([1, -1], [[1, 1, 5, 5], [2, 2, 6, 6]], data={"class_name": np.array([name, "cat"])})
        for name in ("cat", "dog", "dog")
    ]
    with pytest.warns(UserWarning, match="no masks"):
        tracks = Tracks.from_detections(stream, WH)
    assert tracks.object_ids == (1,)
    assert tracks[1].label == "dog"


def test_frames_without_ids_are_left_out_and_said():
    stream = [sv.Detections(xyxy=np.ones((1, 4))), boxes([1], [[1, 1, 5, 5]])]
    with pytest.warns(UserWarning, match="without ids|no masks") as caught:
        tracks = Tracks.from_detections(stream, WH)
    assert any("1 frames have detections without ids" in str(w.message) for w in caught)
    assert tracks[1].frames.tolist() == [1]


@pytest.mark.parametrize(
    ("bad_boxes", "box", "expected"),
    [
        ("clip", (-2, -2, 5, 5), [0, 0, 5, 5]),
        ("drop", (-2, -2, 5, 5), [0, 0, 5, 5]),
        ("refuse", (-2, -2, 5, 5), "reaches outside the 30x20 frame"),
        ("refuse", (0, 0, 30, 20), [0, 0, 30, 20]),
        ("clip", (float("nan"), 0, 5, 5), "NaN"),
        ("clip", (0, 0, float("inf"), 5), "infinity"),
        ("clip", (5, 5, 1, 1), "inverted"),
        ("clip", (5, 5, 5, 9), "no area"),
        ("clip", (40, 5, 50, 9), "outside the 30x20 frame"),
        ("refuse", (float("nan"), 0, 5, 5), "NaN"),
        ("drop", (float("nan"), 0, 5, 5), None),
        ("drop", (5, 5, 1, 1), None),
        ("drop", (40, 5, 50, 9), None),
        ("mend", (0, 0, 1, 1), "expected 'clip', 'refuse' or 'drop'"),
    ],
)
def test_boxes_that_do_not_fit(bad_boxes, box, expected):
    rows = [np.array([(*box, 8), (1, 1, 5, 5, 9)])]
    if isinstance(expected, str):
        with pytest.raises(TracksError, match=expected):
            Tracks.from_results(rows, WH, bad_boxes=bad_boxes)
    elif expected is None:
        with pytest.warns(UserWarning, match="1 boxes were left out"):
            tracks = Tracks.from_results(rows, WH, bad_boxes=bad_boxes)
        assert len(tracks[8]) == 0
        assert tracks[9].is_visible(0)
    else:
        tracks = Tracks.from_results(rows, WH, bad_boxes=bad_boxes)
        assert tracks[8].box_xyxy(0).tolist() == expected


def mask_detections(ids, masks) -> sv.Detections:
    return sv.Detections(
        xyxy=np.ones((len(ids), 4)), mask=np.stack(masks), tracker_id=np.array(ids)
    )


ONE = moving(3)
REFUSED = {
    "no_masks": (lambda: Tracks.from_masks({}), "at least one object"),
    "masks_2d": (lambda: Tracks.from_masks({1: ONE[0]}), "expected \\(frames, height, width\\)"),
    "no_frames": (lambda: Tracks.from_masks({1: ONE[:0]}), "expected \\(frames, height, width\\)"),
    "other_size": (lambda: Tracks.from_masks({1: ONE, 2: ONE[:, :10]}), "one \\(frames"),
    "other_length": (lambda: Tracks.from_masks({1: ONE, 2: ONE[:3]}), "one \\(frames"),
    "empty_mask": (lambda: Tracks.from_masks({1: ONE, 2: ONE & False}), "mask of object 2 is empty"),
    "negative_id": (lambda: Tracks.from_masks({-4: ONE}), "object id -4; expected 0 or more"),
    "half_id": (lambda: Tracks.from_masks({1.5: ONE}), "object id is 1.5; expected a whole"),
    "bool_id": (lambda: Tracks.from_masks({True: ONE}), "object id is True; expected a whole"),
    "no_id_text": (lambda: Tracks.from_masks({" ": ONE}), "empty string"),
    "rle_of_other_size": (
        lambda: Tracks.from_rles({1: {0: encode(ONE[0, :10])}}, WH, T),
        "object 1 in frame 0: mask of 30x10 pixels for frames of 30x20",
    ),
    "rle_beyond_the_end": (
        lambda: Tracks.from_rles({1: {T: encode(ONE[0])}}, WH, T),
        "frame 6, but the tracks have frames 0 to 5",
    ),
    "none_beyond_the_end": (lambda: Tracks.from_rles({1: {99: None}}, WH, T), "frame 99"),
    "rle_before_the_start": (lambda: Tracks.from_rles({1: {-1: encode(ONE[0])}}, WH, T), "frame -1"),
    "frame_of_text": (lambda: Tracks.from_rles({1: {"a": encode(ONE[0])}}, WH, T), "frame is 'a'"),
    "all_rles_empty": (
        lambda: Tracks.from_rles({1: {0: encode(ONE[0] & False)}}, WH, T),
        "mask of object 1 is empty",
    ),
    "malformed_rle": (
        lambda: Tracks.from_rles({1: {2: {"size": [H, W], "counts": "zzz"}}}, WH, T),
        "object 1 in frame 2: RLE counts are malformed",
    ),
    "no_size": (lambda: Tracks.from_rles({}, (0, 3), T), "whole pixels"),
    "no_length": (lambda: Tracks.from_rles({}, WH, 0), "expected 1 to"),
    "endless": (lambda: Tracks.from_rles({}, WH, 10**12), "expected 1 to 10,000,000"),
    "one_detections": (lambda: Tracks.from_detections(sv.Detections.empty()), "list or stream"),
    "not_detections": (lambda: Tracks.from_detections([1, 2]), "item 0 is int"),
    "not_a_stream": (lambda: Tracks.from_detections(5), "got one int"),
    "nothing_at_all": (lambda: Tracks.from_detections([]), "pass resolution_wh"),
    "no_resolution": (lambda: Tracks.from_detections([boxes([1], [[1, 1, 2, 2]])]), "pass resolution"),
    "no_ids": (
        lambda: Tracks.from_detections([sv.Detections(xyxy=np.ones((1, 4)))], WH),
        "none has ids; run a tracker",
    ),
    "id_repeated_in_a_frame": (
        lambda: Tracks.from_detections([mask_detections([2, 2], ONE[:2])]),
        "object 2 stands twice in frame 0",
    ),
    "frame_repeated": (
        lambda: Tracks.from_detections([(1, mask_detections([2], ONE[:1]))] * 2),
        "object 2 stands twice in frame 1",
    ),
    "negative_frame": (
        lambda: Tracks.from_detections([(-1, mask_detections([2], ONE[:1]))]),
        "frame -1, but at most",
    ),
    "past_the_end": (
        lambda: Tracks.from_detections([mask_detections([2], ONE[:1])] * 4, num_frames=3),
        "frame 3, but the tracks have frames 0 to 2",
    ),
    "mask_size_changes": (
        lambda: Tracks.from_detections(
            [mask_detections([2], ONE[:1]), mask_detections([2], ONE[:1, :10])]
        ),
        "object 2 in frame 1: mask of 30x10",
    ),
    "infinite_score": (
        lambda: Tracks.from_rles({1: {0: encode(ONE[0])}}, WH, T, None, {1: {0: float("inf")}}),
        "score is infinite",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.filterwarnings("ignore:detections of")
def test_bad_input_is_refused_in_one_line(make, message):
    with pytest.raises(TracksError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


ACCESS = {
    "unknown_id": (lambda t: t[99], "no object 99; the tracks hold 7, 3"),
    "unknown_kind_of_id": (lambda t: t["dog"], "no object 'dog'"),
    "unhashable_id": (lambda t: t[[7]], "no object \\[7\\]"),
    "subset": (lambda t: t.subset([7, 99]), "no object 99"),
    "subset_twice": (lambda t: t.subset([7, 7]), "repeat"),
    "masks_frame": (lambda t: t.masks(6), "frame 6, but the tracks have frames 0 to 5"),
    "masks_id": (lambda t: t.masks(0, [99]), "no object 99"),
    "mask_negative": (lambda t: t[7].mask(-1), "frame -1"),
    "detections_frame": (lambda t: t.detections(-2), "frame -2"),
    "visibility_frame": (lambda t: t.visibility([0, 6]), "frame 6"),
    "visibility_id": (lambda t: t.visibility(object_ids=[5]), "no object 5"),
    "window_empty": (lambda t: t.window(3, 3), "expected 0 <= start < end <= 6"),
    "window_reversed": (lambda t: t.window(4, 2), "expected 0 <= start < end"),
    "window_beyond": (lambda t: t.window(0, 7), "expected 0 <= start < end"),
    "window_negative": (lambda t: t.window(-1, 3), "expected 0 <= start < end"),
    "other_size": (lambda t: t.check_fits(video(width=31)), "tracks of 30x20 pixels for a video"),
    "longer_video": (lambda t: t.check_fits(video(num_frames=7)), "6 frames for a video of 7"),
    "shorter_video": (lambda t: t.check_fits(video(num_frames=5)), "6 frames for a video of 5"),
}


@pytest.mark.parametrize(("use", "message"), ACCESS.values(), ids=ACCESS)
def test_wrong_access_is_refused(tracks, use, message):
    with pytest.raises(TracksError, match=message):
        use(tracks)


def test_check_fits(tracks):
    tracks.check_fits(video())
    open_ended = Tracks.from_detections([tracks.detections(frame) for frame in range(3)])
    open_ended.check_fits(video())
    with pytest.raises(TracksError, match="3 frames for a video of 2"):
        open_ended.check_fits(video(num_frames=2))


def test_empty_masks_can_be_allowed():
    tracks = Tracks.from_masks({1: ONE & False}, allow_empty=True)
    assert len(tracks[1]) == 0
    empty = {1: {0: encode(ONE[0] & False)}}
    assert len(Tracks.from_rles(empty, WH, T, allow_empty=True)[1]) == 0


# -- building while it runs ------------------------------------------------------------------------


def test_builder_gives_tracks_that_later_additions_do_not_change():
    builder = TracksBuilder(WH)
    builder.add_mask(2, "cat", ONE[2], 0.5, "cat")
    builder.add_box(0, 5, (1, 1, 9, 9))
    first = builder.build()
    kept = builder.build()
    builder.add_mask(4, "cat", ONE[4])
    builder.add_mask(1, 77, ONE[1])
    second = builder.build()
    assert first == kept
    assert first.num_frames == 3
    assert second.num_frames == 5
    assert second.object_ids == (1, 5, 77)
    assert second.source_ids == {1: "cat"}
    assert np.array_equal(second[1].mask(4), ONE[4])
    assert np.array_equal(first[1].mask(2), ONE[2])
    assert not first[1].is_visible(1)


# -- cost ------------------------------------------------------------------------------------------


def test_memory_grows_by_coded_regions_alone():
    """10,000 frames with 20 objects at 1080p must stay under 200 MB: 1,000 bytes a region."""
    width, height, frames, objects = 1920, 1080, 40, 5
    y, x = np.mgrid[:400, :400] - 200
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    wavy = radius < 120 + 15 * np.sin(5 * angle) + 8 * np.sin(13 * angle)
    builder = TracksBuilder((width, height))
    mask = np.zeros((height, width), bool)
    builder.add_mask(0, 0, np.ones((height, width), bool))  # imports and caches, before counting
    tracemalloc.start()
    try:
        for frame in range(frames):
            for object_id in range(1, objects + 1):
                mask[:] = False
                left = 40 * object_id + 20 * frame
                mask[300:700, left : left + 400] = wavy
                builder.add_mask(frame, object_id, mask)
        tracks = builder.build()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tracks) == objects + 1
    assert held / (frames * objects) < 800  # measured: about 500 with the builder still there


def test_window_and_subset_do_not_touch_regions():
    writer = RegionWriter(WH)
    builder = TracksBuilder(WH)
    for frame in range(2000):
        builder.add_box(frame, 1, (1, 1, 9, 9))
    tracks = builder.build()
    tracemalloc.start()
    try:
        for start in range(100):
            tracks.window(start, start + 1000).subset([1])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000
    assert len(writer) == 0
