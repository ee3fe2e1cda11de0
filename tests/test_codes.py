"""Codes in batches give what codes one by one give: the same tracks, or the same refusal."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_masks import BAD, SHAPES
from test_masks import WH as SMALL

from gar_video import Tracks, masks, runs
from gar_video.codes import measure
from gar_video.errors import TracksError
from gar_video.tracks_builder import GivenMask, TracksBuilder

WH = (9, 7)
PLAIN = {"size": [7, 9], "counts": masks.encode(np.eye(7, 9, dtype=bool))["counts"]}
EMPTY = masks.encode(np.zeros((7, 9), bool))


def one_by_one(codes, resolution_wh):
    """Areas and boxes of codes; None where one is malformed or not what we would write."""
    found = []
    for code in codes:
        rle = {"size": [*reversed(resolution_wh)], "counts": code}
        try:
            if masks.as_rle(rle, resolution_wh)["counts"].encode() != code:
                return None
        except TracksError:
            return None
        box = masks.box_xyxy(rle)
        found.append((masks.area(rle), [0, 0, 0, 0] if box is None else box.tolist()))
    return found


def at_once(codes, resolution_wh):
    measured = measure(codes, resolution_wh)
    if measured is None:
        return None
    areas, boxes = measured
    assert areas.shape == (len(codes),)
    assert boxes.shape == (len(codes), 4)
    return list(zip(areas.tolist(), boxes.tolist(), strict=True))


# -- measuring -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [[name] for name in SHAPES] + [list(SHAPES)[:7]], ids=str)
def test_shapes(shapes):
    codes = [masks.encode(SHAPES[name])["counts"].encode() for name in shapes]
    resolution_wh = SHAPES[shapes[0]].shape[::-1]
    expected = one_by_one(codes, resolution_wh)
    assert expected is not None
    assert at_once(codes, resolution_wh) == expected


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 30), st.integers(1, 30)).flatmap(
        lambda shape: arrays(np.bool_, shape)
    )
)
def test_any_masks(stack):
    codes = [masks.encode(mask)["counts"].encode() for mask in stack]
    expected = one_by_one(codes, stack.shape[:0:-1])
    assert expected is not None
    assert at_once(codes, stack.shape[:0:-1]) == expected


def test_big_frames_and_many_characters():
    """Runs of five characters, sums beyond 32 bits, batches that are halved."""
    shape = (2160, 3840)
    some = np.zeros((3, *shape), bool)
    some[0, 700:1500, 900:3000] = True
    some[1] = True
    some[2, ::3, 100:3700:7] = True
    codes = [masks.encode(mask)["counts"].encode() for mask in some]
    codes = (codes[:2] * 200) + codes
    assert len(codes) * shape[0] * shape[1] > 2**31
    assert sum(map(len, codes)) > 2**18
    of_three = one_by_one(codes[-3:], shape[::-1])
    assert at_once(codes, shape[::-1]) == of_three[:2] * 200 + of_three


good = st.builds(
    lambda mask: masks.encode(mask)["counts"].encode(),
    arrays(np.bool_, WH[::-1], fill=st.nothing()),
)
changed = st.builds(
    lambda code, at, char: code[: at % len(code)] + char + code[at % len(code) + 1 :],
    good,
    st.integers(0, 99),
    st.binary(max_size=2),
)
written = st.lists(st.integers(-9, 70), max_size=9).map(
    lambda counts: runs.pack(np.array([*counts, 63 - sum(counts)]))
)
padded = st.builds(
    lambda code: b"".join(  # a character more than a number needs
        bytes([char + 32]) + (b"O" if char & 16 else b"0") if 48 <= char < 80 else bytes([char])
        for char in code
    ),
    good,
)
anything = st.one_of(good, changed, written, padded, st.binary(max_size=8))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(good, anything), min_size=1, max_size=4))
def test_any_codes_are_measured_as_one_by_one_or_left_to_it(codes):
    assert at_once(codes, WH) == one_by_one(codes, WH)


LARGEST = 2**14, 2**14


@pytest.mark.parametrize(
    "counts",
    [
        [2**28] * 17,
        [2**28, 2**28] * 9,
        [0, 2**28, 0, *[2**28 + 2**29 * k for k in range(1, 9)], 2**28],
        [2**28 - 1, 2**31 + 1],
        [2**28 - 1, 2**32 + 1],
        [-1, 2**28 + 1],
        [1, 2**28 - 2**29, 2**29 - 1],
    ],
    ids=str,
)
def test_sums_that_would_wrap_are_seen(counts):
    assert at_once([runs.pack(np.array([2**28]))], LARGEST) == [(0, [0, 0, 0, 0])]
    code = runs.pack(np.array(counts, np.int64))
    assert one_by_one([code], LARGEST) is None
    assert at_once([code], LARGEST) is None
    assert at_once([code, runs.pack(np.array([2**28]))], LARGEST) is None


# -- building --------------------------------------------------------------------------------------


class OneByOne(TracksBuilder):
    """Takes masks as they came before there were batches."""

    def add_masks(self, masks):
        for one in masks:
            try:
                self.add_mask(*one[:-1])
            except TracksError as error:
                raise TracksError(f"{one.where}{error}") from None

    def add_codes(self, object_id, frames, counts, scores):
        for frame, own, score in zip(frames, counts, scores, strict=True):
            rle = {"size": [*reversed(self.resolution_wh)], "counts": own}
            self.add_mask(frame, object_id, rle, score)


def outcome(work):
    """What a piece of work gives: the tracks and all that ``==`` leaves out, or its error."""
    try:
        tracks = work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    rest = [
        (track.codes(), track.areas.tolist(), track.boxes_xyxy.tolist())
        for track in map(tracks.__getitem__, tracks)
    ]
    return tracks, tracks.source_ids, rest


def built(kind, given, num_frames=None):
    builder = kind(WH, num_frames)
    builder.add_masks(given)
    return builder.build(allow_empty=True)


plain_rles = st.builds(
    lambda code, as_text: {"size": [7, 9], "counts": code.decode("latin-1") if as_text else code},
    st.one_of(good, good, good, anything),
    st.booleans(),
)
rles = st.one_of(
    plain_rles,
    plain_rles,
    plain_rles,
    st.sampled_from(
        [
            EMPTY,
            {"size": (7, 9), "counts": [63]},
            {"size": [7.0, 9], "counts": PLAIN["counts"]},
            {"size": [9, 7], "counts": PLAIN["counts"]},
            [[1, 1, 8, 1, 8, 6]],
            np.eye(7, 9),
            None,
        ]
    ),
)
rows = st.builds(
    GivenMask,
    st.one_of(st.integers(0, 40), st.sampled_from([-1, 41, 3.0, 2.5, True, None, np.int64(5)])),
    st.one_of(st.integers(1, 3), st.sampled_from(["1", "2", "dog", "", -1, 2**63, None])),
    rles,
    st.sampled_from([None, 0.5, 1, float("nan"), float("inf")]),
    st.sampled_from([None, None, "cat", "dog"]),
    st.sampled_from(["", "line 7: "]),
)
plain_rows = st.builds(
    GivenMask,
    st.integers(0, 40),
    st.integers(1, 3),
    plain_rles,
    st.sampled_from([None, 0.5]),
    st.sampled_from([None, "cat"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(plain_rows, max_size=9), st.lists(rows, max_size=2), st.sampled_from([None, 41]))
def test_builder_takes_masks_as_one_by_one(first, then, num_frames):
    given = [*first, *then]
    expected = outcome(lambda: built(OneByOne, given, num_frames))
    assert outcome(lambda: built(TracksBuilder, given, num_frames)) == expected


@pytest.mark.parametrize("name_and_bad", BAD, ids=[case[0] for case in BAD])
def test_refusals_name_object_and_frame_as_before(name_and_bad):
    _, bad, message = name_and_bad
    fine = masks.encode(SHAPES["ring"])
    given = [GivenMask(frame, 5, fine) for frame in range(600)]
    given[590] = GivenMask(590, 5, bad, where="line 591: ")
    builder = TracksBuilder(SMALL)
    with pytest.raises(TracksError, match=message) as caught:
        builder.add_masks(given)
    assert str(caught.value).startswith("line 591: object 5 in frame 590: ")
    with pytest.raises(TracksError) as expected:
        OneByOne(SMALL).add_masks(given)
    assert str(caught.value) == str(expected.value)


def test_an_earlier_mask_is_refused_before_the_source_fails():
    def source():
        yield GivenMask(0, 1, PLAIN)
        yield GivenMask(1, 1, {**PLAIN, "counts": "07"})
        raise TracksError("line 3 is damaged")

    with pytest.raises(TracksError, match="object 1 in frame 1: RLE counts add up to"):
        TracksBuilder(WH).add_masks(source())


def test_codes_of_one_object():
    code = PLAIN["counts"]
    for kind in (TracksBuilder, OneByOne):
        builder = kind(WH)
        builder.add_codes(4, range(600), [code] * 599 + [EMPTY["counts"]], [None, 0.5] * 300)
        tracks = builder.build()
        assert tracks[4].frames.tolist() == list(range(599))
        assert tracks[4].codes() == [code] * 599
        assert tracks[4].score(1) == 0.5
        assert tracks.num_frames == 600
        with pytest.raises(TracksError, match=r"^object 4 in frame 601: RLE counts add up to 10"):
            builder.add_codes(4, [600, 601], [code, ":"], [None, None])


def test_codes_are_kept_as_they_came_and_masks_deflated():
    mask = np.zeros((200, 300), bool)
    mask[20:150, 30:250:2] = True
    code = masks.encode(mask)["counts"]
    coded, dense = TracksBuilder((300, 200)), TracksBuilder((300, 200))
    coded.add_codes(1, [0], [code], [None])
    dense.add_mask(0, 1, mask)
    first, second = coded.build(), dense.build()
    assert first == second
    assert first[1].codes() == second[1].codes() == [code]
    assert first[1].rle(0) == second[1].rle(0) == masks.encode(mask)
    held = [len(tracks[1]._columns.blob) for tracks in (first, second)]
    assert held[0] == len(code) > held[1]


# -- files -----------------------------------------------------------------------------------------


def written_as(format, folder, codes):
    """Write a file by hand, so that its codes may be anything: object 1 in all frames, 2 in one."""
    rles = [{"size": [7, 9], "counts": code} for code in codes]
    if format == "json":
        head = {"format": "gar-video-tracks", "version": 1, "resolution_wh": [9, 7]}
        objects = [
            {"id": 1, "frames": list(range(len(codes))), "rles": codes},
            {"id": 2, "frames": [1], "rles": [PLAIN["counts"]]},
        ]
        text = json.dumps({**head, "num_frames": len(codes), "objects": objects})
    elif format == "kitti_mots":
        lines = [f"{frame} 1001 1 7 9 {code}" for frame, code in enumerate(codes)]
        text = "\n".join([*lines[:2], f"1 10000 10 7 9 {codes[0]}", *lines[2:]])
    elif format == "coco_video":
        images = [
            {"id": frame, "frame_id": frame, "width": 9, "height": 7} for frame in range(len(codes))
        ]
        annotations = [
            {"image_id": frame, "instance_id": 1, "segmentation": rle, "category_id": 1}
            for frame, rle in enumerate(rles)
        ]
        annotations.insert(2, {"image_id": 1, "instance_id": 2, "bbox": [1, 1, 3, 4]})
        categories = [{"id": 1, "name": "dog"}]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        text = json.dumps({"videos": [{"id": 1}], **whole})
    elif format == "youtube_vis":
        video = {"id": 1, "width": 9, "height": 7, "length": len(codes)}
        entry = {"id": 1, "video_id": 1, "category_id": 1, "segmentations": rles}
        whole = {"videos": [video], "categories": [{"id": 1, "name": "dog"}]}
        text = json.dumps({**whole, "annotations": [entry]})
    elif format == "mevis":
        text = json.dumps({"17": rles, "4": [None, *rles[1:]]})
    else:
        text = json.dumps([{str(frame): {"segmentation": rle} for frame, rle in enumerate(rles)}])
    path = folder / ("mask_dict.json" if format == "mevis" else "tracks.json")
    path.write_text(text, encoding="utf-8")
    return path


CODES = {
    "good": PLAIN["counts"],
    "empty": EMPTY["counts"],
    "cut_off": PLAIN["counts"][:-1] + "X",
    "too_short": "07",
    "no_characters_of_it": "!!",
    "not_canonical": ":0:3n0",
    "a_character_too_many": "oQ0",
    "endless": "o" * 12 + "0",
}
REFUSED = [CODES[name] for name in ("cut_off", "too_short", "no_characters_of_it", "endless")]


@pytest.mark.parametrize(
    "format", ["json", "kitti_mots", "coco_video", "youtube_vis", "mevis", "videorefer"]
)
@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_files_are_read_as_one_by_one(format, code, tmp_path, monkeypatch):
    path = written_as(format, tmp_path, [PLAIN["counts"]] * 3 + [code] + [PLAIN["counts"]] * 3)
    found = outcome(lambda: Tracks.load(path, format=format, resolution_wh=WH))
    for name in ("add_masks", "add_codes"):
        monkeypatch.setattr(TracksBuilder, name, getattr(OneByOne, name))
    assert found == outcome(lambda: Tracks.load(path, format=format, resolution_wh=WH))
    assert isinstance(found, str) == (code in REFUSED)
    if isinstance(found, str):
        assert "in frame 3: " in found
