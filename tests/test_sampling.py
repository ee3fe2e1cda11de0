from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gar_video import PromptError, Video
from gar_video.sampling import TokenBudget, choose_frames, frame_window, uniform

PLENTY = TokenBudget(available=10**6, per_tile=256, context=10**6)


def seen(rows, num_frames):
    """Visibility of objects given as ranges."""
    visible = np.zeros((len(rows), num_frames), bool)
    for row, span in zip(visible, rows, strict=True):
        row[span.start : span.stop] = True
    return visible


@pytest.mark.parametrize(
    ("window", "count", "frames"),
    [
        pytest.param(range(10), 1, [5], id="middle"),
        pytest.param(range(10), 2, [0, 9], id="ends"),
        pytest.param(range(9), 3, [0, 4, 8], id="ends and middle"),
        pytest.param(range(3), 16, [0, 1, 2], id="fewer than asked"),
        pytest.param(range(100, 105), 3, [100, 102, 104], id="window"),
    ],
)
def test_uniform(window, count, frames):
    assert uniform(window, count) == frames


@given(length=st.integers(1, 500), count=st.integers(1, 64))
def test_uniform_is_rising_and_inside(length, count):
    frames = uniform(range(length), count)
    assert frames == sorted(set(frames))
    assert len(frames) == min(count, length)
    assert frames[0] >= 0
    assert frames[-1] < length


@pytest.mark.parametrize(
    ("objects", "expected_frames"),
    [(1, 16), (2, 14), (3, 10), (5, 7)],
    ids=["one object", "two", "three", "five"],
)
def test_budget_of_the_published_checkpoints(objects, expected_frames):
    """11,520 tokens, 256 a frame and a region: more objects, fewer frames."""
    budget = TokenBudget(available=11_520 - 512 - 150, per_tile=256, context=11_520)
    visible = np.ones((objects, 100), bool)
    chosen = choose_frames(range(100), visible, 16, budget, num_frames=100)
    assert len(chosen) == expected_frames
    assert budget.cost(visible[:, chosen]) <= budget.available


def test_invisible_frames_leave_room_for_more():
    budget = TokenBudget(available=256 * 20, per_tile=256, context=0)
    always = choose_frames(range(64), seen([range(64)], 64), 16, budget, num_frames=64)
    rarely = choose_frames(range(64), seen([range(8)], 64), 16, budget, num_frames=64)
    assert len(always) == 10
    assert len(rarely) == 16


@settings(deadline=None)
@given(
    spans=st.lists(
        st.tuples(st.integers(0, 79), st.integers(1, 80)).map(
            lambda p: range(p[0], min(80, sum(p)))
        ),
        min_size=1,
        max_size=4,
    ),
    count=st.integers(4, 16),
    available=st.integers(256 * 9, 256 * 80),
)
def test_every_visible_object_is_seen_within_the_budget(spans, count, available):
    visible = seen(spans, 80)
    budget = TokenBudget(available=available, per_tile=256, context=0)
    chosen = choose_frames(range(80), visible, count, budget, num_frames=80)
    assert budget.cost(visible[:, chosen]) <= available
    assert chosen == sorted(set(chosen))
    if len(chosen) > len(spans):
        assert visible[:, chosen].any(axis=1).all()


def test_brief_object_is_looked_at():
    visible = seen([range(64), range(30, 31)], 64)
    chosen = choose_frames(range(64), visible, 4, PLENTY, num_frames=64)
    assert 30 in chosen
    assert len(chosen) == 4


def test_listed_frames_are_exactly_those():
    visible = seen([range(4)], 20)
    assert choose_frames(range(20), visible, [9, 2], PLENTY, num_frames=20) == [2, 9]


@pytest.mark.parametrize(
    ("frames", "budget", "match"),
    [
        pytest.param(0, PLENTY, "at least 1", id="zero frames"),
        pytest.param(-3, PLENTY, "at least 1", id="negative count"),
        pytest.param([], PLENTY, "empty", id="empty list"),
        pytest.param([20], PLENTY, "frames 0 to 19", id="past the end"),
        pytest.param([-1], PLENTY, "frames 0 to 19", id="negative index"),
        pytest.param([3, 3], PLENTY, "twice", id="repeated"),
        pytest.param([1.5], PLENTY, "list of frame indices", id="fraction"),
        pytest.param(True, PLENTY, "list of frame indices", id="a truth value"),
        pytest.param([0, 1, 2], TokenBudget(512, 256, 1000), "cost 1536", id="list over budget"),
        pytest.param(4, TokenBudget(300, 256, 1000), "does not fit", id="nothing fits"),
    ],
)
def test_bad_frames(frames, budget, match):
    with pytest.raises(PromptError, match=match):
        choose_frames(range(20), seen([range(20)], 20), frames, budget, num_frames=20)


@pytest.fixture(scope="module")
def clip():
    return Video(np.zeros((40, 8, 8, 3), np.uint8), fps=10)


@pytest.mark.parametrize(
    ("time", "first", "last"),
    [
        pytest.param(None, 0, 39, id="whole"),
        pytest.param((1.0, 2.0), 10, 19, id="inside"),
        pytest.param((3.5, 99.0), 35, 39, id="to the end"),
        pytest.param((1.01, 1.02), 10, 10, id="shorter than a frame"),
    ],
)
def test_window(clip, time, first, last):
    window = frame_window(clip, time)
    assert (window[0], window[-1]) == (first, last)


@pytest.mark.parametrize(
    ("time", "match"),
    [
        pytest.param((2, 1), "reversed", id="reversed"),
        pytest.param((1, 1), "empty", id="empty"),
        pytest.param((-1, 1), "0 or later", id="negative"),
        pytest.param((5, 6), "ends at 4.00", id="after the end"),
        pytest.param((float("nan"), 1), "finite", id="nan"),
        pytest.param((0, float("inf")), "finite", id="infinite"),
        pytest.param(3.0, "expected", id="one number"),
        pytest.param(("a", "b"), "expected", id="words"),
    ],
)
def test_bad_window(clip, time, match):
    with pytest.raises(PromptError, match=match):
        frame_window(clip, time)
