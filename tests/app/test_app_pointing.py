from __future__ import annotations

import numpy as np
import pytest

from gar_video import Box, Mask, Points, PromptError
from gar_video.app.pointing import MOST_OBJECTS, Marks, Pointing


@pytest.fixture
def pointing():
    made = Pointing((96, 64), 24)
    made.add()
    return made


def test_clicks_box_and_other_frames_become_prompts_in_order(pointing):
    pointing.point(1, 5, 10, 12)
    pointing.point(1, 5, 40, 12, 0)
    pointing.box(1, 0, (30, 20, 4, 8))
    second = pointing.add(name="  the   ball ")
    pointing.point(second, 3, 50, 50)
    assert pointing.prompts([1, second]) == [
        Box(0, (4, 8, 30, 20), 1),
        Points(5, [(10, 12), (40, 12)], [1, 0], 1),
        Points(3, [(50, 50)], [1], 2),
    ]
    assert pointing.objects[second].name == "the ball"
    assert pointing.prompts([]) == []


@pytest.mark.parametrize(
    ("erase", "base", "pixels"),
    [
        pytest.param(False, None, {(10, 10), (10, 20), (10, 30)}, id="a-stroke"),
        pytest.param(False, (40, 60), {(10, 20), (40, 60)}, id="on-what-was-there"),
        pytest.param(True, (10, 20), set(), id="taken-away"),
    ],
)
def test_paint(pointing, erase, base, pixels):
    ground = None
    if base is not None:
        ground = np.zeros((64, 96), bool)
        ground[base] = True
    pointing.paint(1, 2, [(10, 10), (30, 10)], 3, erase=erase, base=ground)
    if not pixels:
        assert (1, 2) not in pointing.marks
        return
    (prompt,) = pointing.prompts([1])
    assert isinstance(prompt, Mask)
    assert all(prompt.mask[at] for at in pixels)
    assert not prompt.mask[20, 20]
    assert 100 < prompt.mask.sum() < 250


def test_paint_goes_on_where_it_was(pointing):
    pointing.paint(1, 0, [(10, 10)], 2)
    pointing.paint(1, 0, [(50, 10)], 2)
    pointing.paint(1, 0, [(10, 10)], 4, erase=True)
    paint = pointing.marks[1, 0].paint
    assert paint[10, 50]
    assert not paint[10, 10]


def test_everything_can_be_undone(pointing):
    steps = [
        lambda: pointing.point(1, 0, 5, 5),
        lambda: pointing.box(1, 1, (1, 1, 9, 9)),
        lambda: pointing.paint(1, 2, [(5, 5)], 3),
        lambda: pointing.rename(1, "cup"),
        lambda: pointing.recolor(1, "#0a0b0c"),
        lambda: pointing.hide(1, True),
        lambda: pointing.clear(1, 1),
        lambda: pointing.clear(1),
        lambda: pointing.remove(1),
    ]
    seen = []
    for step in steps:
        seen.append((dict(pointing.objects), dict(pointing.marks)))
        step()
        assert (pointing.objects, pointing.marks) != seen[-1]
    for objects, marks in reversed(seen):
        assert pointing.undo()
        assert (pointing.objects, pointing.marks) == (objects, marks)
    assert pointing.undo()  # the fixture's object
    assert not pointing.undo()


def test_points_outside_are_moved_to_the_edge(pointing):
    pointing.point(1, 0, -9, 1000)
    pointing.box(1, 1, (-5, -5, 500, 10))
    pointing.paint(1, 2, [(-50, 5), (300, 5)], 3)
    for prompt in pointing.prompts([1]):
        prompt.check(24, (96, 64))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        pytest.param(lambda p: p.point(7, 0, 1, 1), "no object <7>", id="unknown-object"),
        pytest.param(lambda p: p.point(1, 24, 1, 1), "frames 0 to 23", id="frame-after-the-end"),
        pytest.param(lambda p: p.point(1, 0, float("nan"), 1), "NaN", id="nan"),
        pytest.param(lambda p: p.box(1, 0, (5, 5, 5.2, 9)), "smaller than a pixel", id="no-area"),
        pytest.param(lambda p: p.box(1, 0, (5, 5, 9)), "expected four", id="three-numbers"),
        pytest.param(lambda p: p.paint(1, 0, [], 3), "no points", id="empty-stroke"),
        pytest.param(lambda p: p.paint(1, 0, [(1, 1)], 0), "no size", id="no-brush"),
        pytest.param(lambda p: p.recolor(1, "red"), "#rrggbb", id="color-by-name"),
        pytest.param(lambda p: p.add(1), "already", id="id-taken"),
        pytest.param(lambda p: p.remove(3), "no object <3>", id="remove-unknown"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(pointing, act, words):
    before = (dict(pointing.objects), dict(pointing.marks))
    with pytest.raises(PromptError, match=words):
        act(pointing)
    assert (pointing.objects, pointing.marks) == before


def test_paint_stands_alone(pointing):
    pointing.paint(1, 0, [(5, 5)], 3)
    with pytest.raises(PromptError, match="paint stands alone"):
        pointing.point(1, 0, 5, 5)
    pointing.clear(1, 0)
    pointing.point(1, 0, 5, 5)


def test_clicks_beside_an_object_alone_do_not_say_where_it_is(pointing):
    pointing.point(1, 4, 5, 5, 0)
    with pytest.raises(PromptError, match="frame 4"):
        pointing.prompts([1])
    pointing.point(1, 2, 5, 5, 1)
    assert len(pointing.prompts([1])) == 2


def test_fingerprints_follow_the_marks(pointing):
    pointing.point(1, 0, 5, 5)
    one = pointing.fingerprint(1)
    pointing.rename(1, "x")
    assert pointing.fingerprint(1) == one
    pointing.point(1, 0, 6, 6)
    other = pointing.fingerprint(1)
    assert other != one
    pointing.undo()
    assert pointing.fingerprint(1) == one


def test_colors_differ_and_objects_end_somewhere(pointing):
    for _ in range(9):
        pointing.add()
    assert len({named.color for named in pointing.objects.values()}) == 10
    pointing.remove(4)
    taken = {named.color for named in pointing.objects.values()}
    assert pointing.objects[pointing.add()].color not in taken
    for _ in range(MOST_OBJECTS - len(pointing.objects)):
        pointing.add()
    with pytest.raises(PromptError, match="as many as a page"):
        pointing.add()


def test_marks_without_anything_say_nothing():
    assert not Marks().says_where
    assert Marks().prompts(1, 0) == []
