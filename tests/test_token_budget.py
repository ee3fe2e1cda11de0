"""A budget of tokens for frames and regions: fewer frames, never a broken prompt."""

from __future__ import annotations

import numpy as np
import pytest

from gar_video import GARVideo, PromptError


@pytest.fixture
def frugal(gar):
    def make(budget):
        gar.processor.token_budget = None
        return GARVideo(gar.model, gar.processor, token_budget=budget)

    yield make
    gar.processor.token_budget = None


@pytest.mark.parametrize("tiles", [2, 4, 7, 12])
def test_as_many_frames_as_the_budget_holds(frugal, squares, tiles):
    video, tracks = squares
    per_tile = frugal(None).processor.config.tokens_per_tile
    free = frugal(None).ask(video, tracks, "What is <1>?", frames=6, max_new_tokens=2)
    asked = frugal(tiles * per_tile).ask(video, tracks, "What is <1>?", frames=6, max_new_tokens=2)
    seen = tracks.visibility(frames=list(asked.frames), object_ids=[1])
    assert len(asked.frames) + int(np.sum(seen)) <= tiles
    assert 1 <= len(asked.frames) <= len(free.frames)
    assert (len(asked.frames) == len(free.frames)) == (tiles >= 12)


@pytest.mark.parametrize(
    ("budget", "frames", "words"),
    [
        (1, 6, "one frame with its objects costs"),
        (1, [0, 1], "2 listed frames costs"),
        (0, 6, "expected at least 1"),
        (-3, 6, "expected at least 1"),
        (1.5, 6, "expected at least 1"),
        (True, 6, "expected at least 1"),
    ],
)
def test_budgets_that_hold_nothing(frugal, squares, budget, frames, words):
    with pytest.raises(PromptError, match=words) as caught:
        frugal(budget).ask(*squares, "What is <1>?", frames=frames)
    assert "\n" not in str(caught.value)


def test_the_context_goes_on_setting_a_bound(frugal, squares):
    vast = frugal(10**9).ask(*squares, "What is <1>?", frames=3, max_new_tokens=2)
    assert vast == frugal(None).ask(*squares, "What is <1>?", frames=3, max_new_tokens=2)
