"""Objects computed together: the masks of one by one, for fewer passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gar_video.trackers import sam2_attention
from gar_video.trackers.sam2 import Sam2Tracker
from gar_video.trackers.sam2_config import nano_config
from gar_video.trackers.sam2_together import in_step

from gar_video.errors import PromptError
from gar_video.video import Video
from gar_video.visual_prompts import Box, Points

LENGTH = 14
LEFT, RIGHT, LOW = Box(0, (8, 28, 52, 72), 1), Box(0, (90, 20, 130, 60), 2), (60, 80, 90, 110)
CASES = {
    "prompted on one frame": [LEFT, RIGHT, Box(0, LOW, 3)],
    "one comes later": [LEFT, RIGHT, Box(5, LOW, 3)],
    "one is refined": [LEFT, RIGHT, Points(6, [(110, 40)], object_id=2)],
    "both directions": [Box(7, LEFT.xyxy, 1), Box(7, LOW, 2), Box(3, RIGHT.xyxy, 3)],
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tracker():
    return Sam2Tracker.from_config(nano_config(64), seed=0, device="cpu")


@pytest.fixture(scope="module")
def video():
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 200, (1, 120, 160, 3), dtype=np.uint8), LENGTH, 0)
    for t in range(LENGTH):
        frames[t, 30:70, 10 + 2 * t : 50 + 2 * t] = (220, 40, 30)
        frames[t, 20:60, 90:130] = (30, 90, 220)
    return Video(frames)


def track(tracker, mode, video, prompts, monkeypatch):
    """Return the tracks and how often memory attention ran."""
    passes = []
    attention = tracker.predictor.memory_attention
    run = attention.forward
    with monkeypatch.context() as patch:
        patch.setattr(tracker, "mode", mode)
        patch.setattr(attention, "forward", lambda *a, **k: passes.append(1) or run(*a, **k))
        shared = sam2_attention.attend
        patch.setattr(sam2_attention, "attend", lambda *a, **k: passes.append(1) or shared(*a, **k))
        return tracker.track(video, prompts), len(passes)


@pytest.mark.parametrize("prompts", CASES.values(), ids=CASES.keys())
def test_masks_are_those_of_one_by_one(tracker, video, prompts, monkeypatch):
    exact, _ = track(tracker, "exact", video, prompts, monkeypatch)
    fast, _ = track(tracker, "fast", video, prompts, monkeypatch)
    assert fast.object_ids == exact.object_ids
    for frame in range(LENGTH):
        together = fast.masks(frame)
        alone = exact.masks(frame)
        # Rounding may turn a pixel on the very edge.
        assert (together != alone).sum() <= 0.001 * alone.size


def test_objects_share_their_passes(tracker, video, monkeypatch):
    prompts = CASES["prompted on one frame"]
    _, alone = track(tracker, "exact", video, prompts, monkeypatch)
    _, together = track(tracker, "fast", video, prompts, monkeypatch)
    assert (alone, together) == (3 * (LENGTH - 1), LENGTH - 1)


def test_memory_does_not_grow(tracker, video, monkeypatch):
    monkeypatch.setattr(tracker, "mode", "fast")
    with tracker.session(video) as session:
        session.add(CASES["prompted on one frame"])
        held = []
        for _ in session.propagate():
            kept = [
                o for outputs in session._outputs() for k in outputs.values() for o in k.values()
            ]
            maps = [o["maskmem_features"] for o in kept if o["maskmem_features"] is not None]
            held.append(sum(m.untyped_storage().nbytes() for m in maps) / len(maps))
    assert max(held) == min(held)  # each holds its own object's memory and no batch


def test_objects_are_grouped_by_their_memories():
    def kept(*frames, prompted=0):
        memory = {"maskmem_features": 1}
        return {
            "cond_frame_outputs": {prompted: memory},
            "non_cond_frame_outputs": dict.fromkeys(frames, memory),
        }

    objects = [(0, kept(1, 2)), (1, kept(2)), (2, kept(1, 2)), (3, kept(1, 2, prompted=3))]
    assert in_step(objects) == [[0, 2], [1], [3]]


def test_an_unknown_mode_is_refused():
    with pytest.raises(PromptError, match="expected 'exact', 'fast' or 'faster'"):
        Sam2Tracker.from_config(nano_config(64), mode="quick", device="cpu")


def test_constants_follow_the_weights(tracker):
    """What is kept is sam2's own result, is made once, and is made anew when weights change."""
    trunk = tracker.predictor.image_encoder.trunk
    with torch.inference_mode():
        first = trunk._get_pos_embed((16, 16))
        assert trunk._get_pos_embed((16, 16)) is first
        assert torch.equal(first, type(trunk)._get_pos_embed(trunk, (16, 16)))
    with torch.no_grad():
        trunk.pos_embed.add_(1.0)
    with torch.inference_mode():
        again = trunk._get_pos_embed((16, 16))
        assert torch.equal(again, type(trunk)._get_pos_embed(trunk, (16, 16)))
        assert not torch.equal(again, first)
    with torch.no_grad():
        trunk.pos_embed.sub_(1.0)
    assert trunk._get_pos_embed((16, 16)).requires_grad  # training goes past what is kept


def test_only_the_empty_prompt_is_kept(tracker):
    prompts = tracker.predictor.sam_prompt_encoder
    with torch.inference_mode():
        empty = torch.zeros(1, 1, 2), -torch.ones(1, 1, dtype=torch.int32)
        click = torch.full((1, 1, 2), 9.0), torch.ones(1, 1, dtype=torch.int32)
        for points, kept in ((empty, True), (click, False)):
            found = prompts(points=points, boxes=None, masks=None)
            own = type(prompts).forward(prompts, points, None, None)
            assert all(torch.equal(a, b) for a, b in zip(found, own, strict=True))
            assert (prompts(points=points, boxes=None, masks=None)[0] is found[0]) == kept
