"""What is drawn: masks that fit the picture, at any size, frame by frame as all at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gar_video.synth.appearance import GROUNDS, SHAPES, Background, outline
from gar_video.synth.motion import Segment
from gar_video.synth.render import ground, render, render_labels
from gar_video.synth.scene import Scene, Shake
from gar_video.synth.things import Recolor, Resize, SceneObject
from gar_video.synth.truth import frame_labels, sample

GREY = Background("flat", (90, 90, 90), (90, 90, 90))


def thing(**changes: object) -> SceneObject:
    base = SceneObject(
        object_id=1,
        shape="circle",
        color="red",
        rgb=(220, 30, 30),
        size="medium",
        diameter=0.25,
        angle=0.0,
        path=(Segment(0.0, "still", 0.5, 0.5),),
        z=0,
    )
    return replace(base, **changes)


def scene_of(*things: SceneObject, **changes: object) -> Scene:
    numbered = tuple(replace(t, object_id=i + 1) for i, t in enumerate(things))
    return Scene(level="full", objects=numbered, background=GREY, duration_s=1.0, **changes)


def test_shapes_and_types_of_what_is_returned() -> None:
    scene, _ = sample(2, num_objects=3)
    frames, masks = render(scene, [5, 0, 5], (80, 64))
    assert frames.shape == (3, 64, 80, 3)
    assert frames.dtype == np.uint8
    assert masks.shape == (3, 3, 64, 80)
    assert masks.dtype == bool
    np.testing.assert_array_equal(frames[0], frames[2])


@pytest.mark.parametrize("level", ["basic", "full"])
def test_single_frames_equal_those_of_the_whole(level: str) -> None:
    for seed in range(5):
        scene, _ = sample(seed, level)
        frames, masks = render(scene)
        t = scene.num_frames // 2
        one, mask = render(scene, [t])
        np.testing.assert_array_equal(one[0], frames[t])
        np.testing.assert_array_equal(mask[:, 0], masks[:, t])
        by_time, _ = render(scene, times_s=[t / scene.fps])
        np.testing.assert_array_equal(by_time[0], frames[t])


@pytest.mark.parametrize("level", ["basic", "full"])
def test_masks_are_the_same_at_any_resolution(level: str) -> None:
    for seed in range(8):
        scene, _ = sample(seed, level)
        _, small = render(scene, [0, 20], (112, 112))
        _, large = render(scene, [0, 20], (448, 448))
        shares = large.reshape(*large.shape[:2], 112, 4, 112, 4).mean(axis=(3, 5))
        coarse = shares > 0.5
        clear = np.abs(shares - 0.5) > 0.2
        assert (small[clear] == coarse[clear]).mean() > 0.9995


def test_upper_things_take_pixels_from_lower_ones() -> None:
    low = thing(z=0)
    high = thing(z=1, rgb=(20, 20, 240), diameter=0.15)
    for order in ((low, high), (high, low)):
        frames, masks = render(scene_of(*order), [0], (100, 100))
        assert not (masks[0] & masks[1]).any()
        upper = [t.z for t in order].index(1)
        assert masks[upper, 0, 50, 50]
        assert tuple(frames[0, 50, 50]) == (20, 20, 240)
        assert masks[1 - upper, 0].sum() == pytest.approx(np.pi * (12.5**2 - 7.5**2), rel=0.02)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_fills_its_own_box_and_area(shape: str) -> None:
    _, masks = render(scene_of(thing(shape=shape, diameter=0.5)), [0], (400, 400))
    rows, columns = np.nonzero(masks[0, 0])
    span = np.array([np.ptp(columns) + 1, np.ptp(rows) + 1])
    points = outline(shape)[0]
    np.testing.assert_allclose(span, np.ptp(points, axis=0) * 200, atol=2)
    np.testing.assert_allclose([columns.mean(), rows.mean()], [200, 200], atol=40)
    area = 0.0
    for contour, sign in zip(outline(shape), (1, -1), strict=False):
        x, y = contour[:, 0], contour[:, 1]
        area += sign * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    assert len(rows) == pytest.approx(area * 200**2, rel=0.02)


def test_no_two_shapes_look_alike() -> None:
    pictures = {}
    for shape in SHAPES:
        _, masks = render(scene_of(thing(shape=shape)), [0], (112, 112))
        pictures[shape] = masks[0, 0]
    for one in SHAPES:
        for other in SHAPES:
            if one < other:
                a, b = pictures[one], pictures[other]
                assert (a & b).sum() / (a | b).sum() < 0.85, (one, other)


def test_edges_are_smooth_and_the_mask_is_their_half() -> None:
    frames, masks = render(scene_of(thing(rgb=(250, 0, 0))), [0], (100, 100))
    share = (frames[0, ..., 0].astype(float) - 90) / 160
    edge = (share > 0.05) & (share < 0.95)
    assert edge.sum() > 30
    np.testing.assert_array_equal(masks[0, 0][~edge], share[~edge] > 0.5)
    assert (masks[0, 0][edge] == (share[edge] >= 0.5)).mean() > 0.95


def test_colour_changes_and_growing_show() -> None:
    changing = thing(recolor=Recolor(0.5, "blue", (0, 0, 255)))
    frames, _ = render(scene_of(changing), [0, 14], (64, 64))
    assert tuple(frames[0, 32, 32]) == (220, 30, 30)
    assert tuple(frames[1, 32, 32]) == (0, 0, 255)
    growing = thing(resize=Resize(0.2, 0.8, 2.0))
    _, masks = render(scene_of(growing), [0, 14], (128, 128))
    areas = masks[0].sum(axis=(1, 2))
    assert areas[1] == pytest.approx(4 * areas[0], rel=0.03)


@pytest.mark.parametrize("pattern", ["striped", "dotted", "checkered"])
def test_patterns_show_a_good_part_of_both_colours(pattern: str) -> None:
    scene = scene_of(thing(pattern=pattern, pattern_rgb=(80, 0, 0), shape="square"))
    frames, masks = render(scene, [0], (112, 112))
    second = np.abs(frames[0].astype(int) - (80, 0, 0)).sum(-1) < 60
    assert 0.15 < second[masks[0, 0]].mean() < 0.7


@pytest.mark.parametrize("kind", GROUNDS)
def test_grounds_stay_between_their_colours(kind: str) -> None:
    background = Background(kind, (60, 80, 100), (90, 110, 130), 6.0, 0.7, 5)
    picture = np.broadcast_to(ground(background, (96, 64), 1.5), (64, 96, 3))
    assert picture.min() >= 60
    assert (picture.max(axis=(0, 1)) <= (90, 110, 130)).all()
    moved = np.broadcast_to(ground(background, (96, 64), 1.5, (1.0, 0.0)), (64, 96, 3))
    np.testing.assert_array_equal(moved[:, 1:], picture[:, :-1])
    varied = np.ptp(picture.astype(int), axis=(0, 1)).max()
    assert varied == 0 if kind == "flat" else varied > 15


def test_a_shaking_camera_moves_everything_alike() -> None:
    shake = Shake(0.02, (1.0, 2.3, 1.4, 0.8), (0.1, 0.2, 0.3, 0.4))
    scene = scene_of(thing(), thing(path=(Segment(0.0, "still", 0.2, 0.2),)), shake=shake)
    centres = frame_labels(scene).centre
    moves = centres - centres[:, :1]
    assert np.abs(moves).max() > 0.005
    np.testing.assert_allclose(moves[0], moves[1], atol=1e-12)


def test_labels_match_what_is_drawn() -> None:
    checked = 0
    for seed in range(30):
        scene, _ = sample(seed)
        labels = frame_labels(scene, [0])
        _, maps = render_labels(scene, [0], (224, 224))
        for k in range(len(scene.objects)):
            if labels.visible[k, 0] < 0.999:
                continue
            rows, columns = np.nonzero(maps[0] == k + 1)
            box = np.array([columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]) / 224
            middle = np.array([box[0] + box[1], box[2] + box[3]]) / 2
            assert np.abs(middle - labels.centre[k, 0]).max() < 0.02
            span = np.array([box[1] - box[0], box[3] - box[2]])
            np.testing.assert_allclose(span, labels.extent[k, 0], atol=0.012)
            checked += 1
    assert checked > 30
