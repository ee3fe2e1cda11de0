import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gar_video import masks, runs
from gar_video.errors import TracksError

coco = pytest.importorskip("pycocotools.mask")

WH = (6, 4)  # width, height


def grid(*rows: str) -> np.ndarray:
    return np.array([[char == "#" for char in row] for row in rows])


SHAPES = {
    "empty": grid("......", "......", "......", "......"),
    "full": grid("######", "######", "######", "######"),
    "first_pixel": grid("#.....", "......", "......", "......"),
    "last_pixel": grid("......", "......", "......", ".....#"),
    "over_a_column_end": grid("..#...", "......", "......", ".#...."),
    "whole_columns": grid(".##...", ".##...", ".##...", ".##..."),
    "row": grid("......", "######", "......", "......"),
    "ring": grid(".####.", ".#..#.", ".####.", "......"),
    "one_column": grid("#", "#", ".", "#"),
    "one_row": grid("#.##"),
}


@pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES)
def test_encode_equals_pycocotools_and_comes_back(mask):
    rle = masks.encode(mask)
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle == {"size": list(mask.shape), "counts": expected["counts"].decode()}
    assert np.array_equal(masks.decode(rle), mask)
    assert masks.decode(rle).dtype == np.bool_
    assert masks.decode(rle).flags.c_contiguous
    assert masks.area(rle) == mask.sum()
    box = masks.box_xyxy(rle)
    if mask.any():
        x, y, w, h = coco.toBbox(expected)
        assert box.tolist() == [x, y, x + w, y + h]
        assert masks.box_xyxy(mask).tolist() == box.tolist()
    else:
        assert box is None


@settings(max_examples=300, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_mask_equals_pycocotools(mask):
    rle = masks.encode(mask)
    assert rle["counts"].encode() == coco.encode(np.asfortranarray(mask.view(np.uint8)))["counts"]
    assert np.array_equal(masks.decode(rle), mask)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.integers(1, 9), st.integers(1, 9))
def test_any_bytes_are_a_mask_or_refused(junk, height, width):
    try:
        mask = masks.decode({"size": [height, width], "counts": junk})
    except TracksError:
        return
    assert mask.shape == (height, width)


def test_big_runs_equal_pycocotools():
    mask = np.zeros((2160, 3840), bool)
    mask[700:1500, 900:3000] = True
    mask[3, 3] = True
    expected = coco.encode(np.asfortranarray(mask.view(np.uint8)))["counts"].decode()
    assert masks.encode(mask)["counts"] == expected
    assert np.array_equal(masks.decode(masks.encode(mask)), mask)


def test_layout_and_dtype_of_the_mask_do_not_matter():
    mask = SHAPES["ring"]
    expected = masks.encode(mask)
    for other in (
        np.asfortranarray(mask),
        mask.astype(np.uint8) * 255,
        mask.astype(float),
        np.repeat(mask, 2, axis=1)[:, ::2],
    ):
        assert masks.encode(other) == expected
    assert masks.encode_many(np.stack([mask, ~mask])) == [expected, masks.encode(~mask)]


RING = masks.encode(SHAPES["ring"])
SEGMENTATIONS = {
    "compressed_str": RING,
    "compressed_bytes": {**RING, "counts": RING["counts"].encode()},
    "uncompressed": {"size": [4, 6], "counts": [4, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 5]},
    "uncompressed_with_empty_runs": {
        "size": [4, 6],
        "counts": [0, 0, 4, 1, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 5, 0],
    },
    "uncompressed_array": {
        "size": (4, 6),
        "counts": np.array([4, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 5], np.uint32),
    },
    "mask": SHAPES["ring"],
    "mask_of_ints": SHAPES["ring"].astype(np.uint8),
}


@pytest.mark.parametrize("segmentation", SEGMENTATIONS.values(), ids=SEGMENTATIONS)
def test_as_rle_brings_every_form_to_one(segmentation):
    assert masks.as_rle(segmentation, WH) == RING


@pytest.mark.parametrize(
    "polygons",
    [
        [[1, 1, 20, 2, 15, 17, 3, 12]],
        [[1, 1, 8, 1, 8, 8, 1, 8], [10.5, 10.5, 25, 10, 25, 18]],
        [[-5, -5, 10, -5, 10, 10, -5, 10]],
    ],
    ids=["one", "union_of_two", "partly_outside"],
)
def test_polygons_are_drawn_as_pycocotools_does(polygons):
    expected = coco.merge(coco.frPyObjects(polygons, 20, 30))["counts"].decode()
    assert masks.as_rle(polygons, (30, 20))["counts"] == expected
    if len(polygons) == 1:
        assert masks.as_rle(polygons[0], (30, 20))["counts"] == expected


BAD = [
    ("sum_too_small", {"size": [4, 6], "counts": [3, 2]}, "add up to 5 pixels"),
    ("sum_too_large", {"size": [4, 6], "counts": [30]}, "out of range"),
    ("negative_run", {"size": [4, 6], "counts": [30, -6]}, "out of range"),
    ("float_runs", {"size": [4, 6], "counts": [23.5, 0.5]}, "whole numbers"),
    ("nested_runs", {"size": [4, 6], "counts": [[24]]}, "whole numbers"),
    ("huge_ints", {"size": [4, 6], "counts": [10**30]}, "whole numbers"),
    ("no_runs", {"size": [4, 6], "counts": []}, "out of range|whole numbers"),
    ("text_runs", {"size": [4, 6], "counts": ["a"]}, "whole numbers"),
    ("other_size", {"size": [6, 4], "counts": [24]}, "mask of 4x6 pixels for frames of 6x4"),
    ("no_size", {"counts": [24]}, "expected {'size'"),
    ("three_sizes", {"size": [4, 6, 1], "counts": [24]}, r"expected \[height, width\]"),
    ("size_of_text", {"size": ["a", "b"], "counts": [24]}, "whole pixels"),
    ("negative_size", {"size": [-4, -6], "counts": [24]}, "whole pixels"),
    ("bomb", {"size": [10**6, 10**6], "counts": [10**12]}, "claims 1,000,000,000,000 pixels"),
    ("bomb_by_text", {"size": [4, 6], "counts": "0" * 10**6}, "malformed"),
    ("empty_text", {"size": [4, 6], "counts": ""}, "malformed"),
    ("cut_off", {"size": [4, 6], "counts": RING["counts"][:-1] + "X"}, "malformed|add up|range"),
    ("not_its_alphabet", {"size": [4, 6], "counts": "hello world"}, "malformed"),
    ("not_ascii", {"size": [4, 6], "counts": "é"}, "not ASCII"),
    ("endless_number", {"size": [4, 6], "counts": "o" * 12 + "0"}, "out of range"),
    ("counts_of_none", {"size": [4, 6], "counts": None}, "a string or a list"),
    ("none", None, "expected an RLE, polygons or a mask"),
    ("text", "mask.png", "expected an RLE, polygons or a mask"),
    ("short_polygon", [[1, 2, 3, 4]], "three or more"),
    ("odd_polygon", [[1, 2, 3, 4, 5, 6, 7]], "three or more"),
    ("nan_polygon", [[1, 2, float("nan"), 4, 5, 6]], "NaN"),
    ("far_polygon", [[0, 0, 1e9, 0, 1e9, 1e9]], "far outside"),
    ("polygon_of_text", [["a", "b", "c", "d", "e", "f"]], "polygon"),
    ("mask_of_other_size", np.ones((6, 4), bool), "mask of 4x6 pixels"),
    ("mask_3d", np.ones((1, 4, 6), bool), "expected .height, width"),
]


@pytest.mark.parametrize(
    ("segmentation", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_malformed_segmentations_are_refused(segmentation, message):
    with pytest.raises(TracksError, match=message) as caught:
        masks.as_rle(segmentation, WH)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((1, 1, 3, 2), (1, 1, 3, 2)),
        ((1.4, 0.6, 3.4, 2.4), (1, 1, 3, 2)),
        ((2.1, 1.1, 2.3, 1.2), (2, 1, 3, 2)),
        ((5.9, 3.9, 6, 4), (5, 3, 6, 4)),
        ((-10, -10, 100, 100), (0, 0, 6, 4)),
        ((-10, 1, -5, 2), None),
        ((6, 0, 9, 4), None),
        ((3, 3, 1, 1), None),
        ((2, 2, 2, 3), None),
    ],
    ids=["whole", "sub_pixel", "thin", "thin_at_the_end", "cut", "left_of", "right_of", "inverted",
         "no_area"],
)  # fmt: skip
def test_from_box(box, expected):
    mask = masks.from_box(box, WH)
    assert mask.shape == (4, 6)
    found = masks.box_xyxy(mask)
    assert (None if found is None else tuple(found)) == expected
    if expected is not None:
        x_0, y_0, x_1, y_1 = expected
        assert mask.sum() == (x_1 - x_0) * (y_1 - y_0)
        counts = runs.counts_of_rectangle(expected, WH)
        assert runs.pack(counts).decode() == masks.encode(mask)["counts"]


@pytest.mark.parametrize("box", [(0, 0, float("nan"), 1), (0, 0, 1), (0, float("inf"), 1, 1)])
def test_from_box_refuses_what_is_no_box(box):
    with pytest.raises(TracksError, match="four finite numbers"):
        masks.from_box(box, WH)


def test_resize_takes_the_nearest_pixel():
    mask = grid("#..#", "....")
    assert np.array_equal(masks.resize(mask, (8, 4)), np.kron(mask, np.ones((2, 2))) > 0)
    assert np.array_equal(masks.resize(masks.resize(mask, (12, 6)), (4, 2)), mask)
    cv2 = pytest.importorskip("cv2")
    big = np.random.default_rng(0).random((37, 53)) < 0.5
    for size in ((20, 11), (106, 74), (53, 37), (100, 90)):
        expected = cv2.resize(big.view(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
        assert np.array_equal(masks.resize(big, size), expected > 0), size


@pytest.mark.parametrize(
    ("mask", "size", "message"),
    [
        (np.ones((2, 2, 2)), (4, 4), "expected \\(height, width\\)"),
        (np.ones((2, 2)), (0, 4), "whole pixels"),
        (np.ones((2, 2)), (2.5, 4), "whole pixels"),
        (np.ones((0, 2)), (4, 4), "expected \\(height, width\\)"),
    ],
    ids=["three_dimensions", "no_width", "half_a_pixel", "no_pixels"],
)
def test_resize_refuses(mask, size, message):
    with pytest.raises(TracksError, match=message):
        masks.resize(mask, size)


def test_importing_masks_and_tracks_is_light():
    import subprocess

    code = (
        "import sys, gar_video.masks, gar_video.tracks, gar_video.formats; "
        "print([m for m in ('torch', 'supervision', 'cv2', 'pycocotools', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
