"""The mode that pools memories: the same attention where places are alike, masks that are close."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gar_video.trackers import sam2_pooling, sam2_session
from gar_video.trackers.sam2 import Sam2Tracker
from gar_video.trackers.sam2_attention import attend
from gar_video.trackers.sam2_config import nano_config
from gar_video.trackers.sam2_pooling import cell_turns, log_counts, pooled_map

from gar_video.train.sam2_eval import prompt_for, rendered_test_clip
from gar_video.video import Video
from gar_video.visual_prompts import Box, Points

LENGTH, POINTERS, CLIP = 14, 8, 960002
LEFT, RIGHT = Box(0, (8, 28, 52, 72), 1), Box(0, (90, 20, 130, 60), 2)
LOW = Box(0, (60, 80, 90, 110), 3)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tracker():
    return Sam2Tracker.from_config(nano_config(64), seed=0, mode="faster", device="cpu")


@pytest.fixture(scope="module")
def video():
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 200, (1, 120, 160, 3), dtype=np.uint8), LENGTH, 0)
    for t in range(LENGTH):
        frames[t, 30:70, 10 + 2 * t : 50 + 2 * t] = (220, 40, 30)
        frames[t, 20:60, 90:130] = (30, 90, 220)
    return Video(frames)


# -- attention -------------------------------------------------------------------------------------


def spread(cells, side):
    """Give each place of a square its cell's value: ``[p, ...]`` to ``[P, ...]``."""
    small = math.ceil(side / 2)
    y, x = torch.meshgrid(torch.arange(side) // 2, torch.arange(side) // 2, indexing="ij")
    return cells[(y * small + x).flatten()]


def alike(side, maps, num_whole):
    """Return memories that are alike in each cell, whole and pooled, as ``attend`` takes them."""
    random = torch.Generator().manual_seed(side)

    def draw(*shape):
        return torch.randn(shape, generator=random)

    frame, place = draw(side**2, 1, 64), draw(side**2, 1, 64)
    both = {}
    for name in ("memory", "memory_pos"):
        cells = [draw(math.ceil(side / 2) ** 2, 2, 16) for _ in range(maps)]
        pointers = draw(POINTERS, 2, 16)
        wide = [spread(cell, side) for cell in cells]
        mixed = wide[:num_whole] + cells[num_whole:]
        both[name] = torch.cat([*wide, pointers]), torch.cat([*mixed, pointers])
    whole, pooled = (
        {
            "curr": frame.expand(-1, 2, -1), "curr_pos": place.expand(-1, 2, -1),
            "num_obj_ptr_tokens": POINTERS, **{name: pair[k] for name, pair in both.items()},
        }
        for k in (0, 1)
    )  # fmt: skip
    return whole, pooled


@pytest.mark.parametrize("scores", [2**21, 64], ids=["at once", "in parts"])
@pytest.mark.parametrize("num_whole", [0, 1, 3])
@pytest.mark.parametrize("side", [4, 5, 1], ids=["even", "odd", "one place"])
def test_where_places_are_alike_nothing_changes(tracker, monkeypatch, side, num_whole, scores):
    attention = tracker.predictor.memory_attention
    monkeypatch.setattr("gar_video.trackers.sam2_attention._SCORES", scores)
    monkeypatch.setattr("gar_video.trackers.sam2_attention._FEWEST_ROWS", 5)
    angles = torch.rand(math.ceil(side / 2) ** 2, 32, generator=torch.Generator().manual_seed(9))
    turns = spread(torch.polar(torch.ones_like(angles), angles), side)
    for layer in attention.layers:  # places of a cell are one place to keys
        monkeypatch.setattr(layer.cross_attn_image, "freqs_cis", turns)
    whole, pooled = alike(side, 3, num_whole)
    with torch.inference_mode():
        own = attend(attention, **whole)
        found = attend(attention, **pooled, num_whole=num_whole)
        torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-5)
        if side > 1 and num_whole < 3:
            monkeypatch.setattr(sam2_pooling, "log_counts", lambda *a: 0 * log_counts(*a))
            light = attend(attention, **pooled, num_whole=num_whole)
            assert not torch.allclose(light, own, atol=1e-3)


@pytest.mark.parametrize("side", [2, 5, 12])
def test_cells_are_turned_at_their_centres(tracker, side):
    attention = tracker.predictor.memory_attention.layers[0].cross_attn_image
    turns = attention.compute_cis(end_x=side, end_y=side)
    centres = torch.tensor([min(k + 0.5, side - 1) for k in range(0, side, 2)])
    angles = attention.compute_cis(end_x=2, end_y=1)[1].angle()  # of one step to the right
    half = len(angles) // 2
    x = torch.outer(centres, angles[:half]).repeat(len(centres), 1)
    y = torch.outer(centres, angles[:half]).repeat_interleave(len(centres), 0)
    wanted = torch.cat([x, y], 1)
    expected = torch.polar(torch.ones_like(wanted), wanted)
    torch.testing.assert_close(cell_turns(turns), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("side", "counts"),
    [(1, [1]), (2, [4]), (3, [4, 2, 2, 1]), (4, [4] * 4), (5, [4, 4, 2, 4, 4, 2, 2, 2, 1])],
)
def test_cells_count_their_places(side, counts):
    found = log_counts(side, torch.device("cpu"))
    torch.testing.assert_close(found.exp(), torch.tensor(counts, dtype=torch.float32))


def test_a_cell_is_the_mean_of_its_places():
    values = torch.arange(15.0).reshape(1, 1, 3, 5)
    expected = torch.tensor([[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]])
    torch.testing.assert_close(pooled_map(values)[0, 0], expected)


# -- tracking --------------------------------------------------------------------------------------


def sizes(session):
    """Return sides of the memories that the first object has, by kind."""
    return {
        kind: {
            output["maskmem_features"].shape[-1]
            for output in kept.values()
            if output["maskmem_features"] is not None
        }
        for kind, kept in session._outputs()[0].items()
    }


def test_streamed_is_tracked(tracker, video):
    prompts = [Box(6, LEFT.xyxy, 1), Box(3, RIGHT.xyxy, 2)]
    tracks = tracker.track(video, prompts)
    for frame, found in tracker.stream(video, prompts, both_directions=True):
        masks = dict(zip(found.tracker_id.tolist(), found.mask, strict=True))
        for object_id in (1, 2):
            mask = tracks[object_id].mask(frame)
            assert np.array_equal(masks[object_id], mask) if mask is not None else (
                object_id not in masks
            )  # fmt: skip


def test_together_is_alone(tracker, video):
    together = tracker.track(video, [LEFT, RIGHT, LOW])
    for prompt in (LEFT, RIGHT, LOW):
        alone = tracker.track(video, [prompt])
        for frame in range(LENGTH):
            off = together.masks(frame, [prompt.object_id]) != alone.masks(frame)
            assert off.sum() <= 0.001 * off.size


def test_memories_are_kept_pooled_and_no_more_of_them(tracker):
    longer = Video(np.random.default_rng(1).integers(0, 200, (20, 120, 160, 3), dtype=np.uint8))
    with tracker.session(longer) as session:
        session.add([LEFT, RIGHT])
        held = []
        for frame, _ in session.propagate():
            if frame:
                whole = 4 if sam2_pooling.PROMPTED_WHOLE else 2
                assert sizes(session) == {
                    "cond_frame_outputs": {whole},
                    "non_cond_frame_outputs": {2},
                }
            kept = [
                o for outputs in session._outputs() for k in outputs.values() for o in k.values()
            ]
            maps = [o["maskmem_features"] for o in kept if o["maskmem_features"] is not None]
            held.append(sum(m.untyped_storage().nbytes() for m in maps))
    assert held[14] == held[-1] == max(held)


@pytest.mark.parametrize("most", [-1, 2], ids=["all prompted frames read", "some read"])
def test_prompts_midway(tracker, video, monkeypatch, most):
    """Prompts where memories are pooled already: a correction, a new frame, a new object."""
    monkeypatch.setattr(tracker.predictor, "max_cond_frames_in_attn", most)
    with tracker.session(video) as session:
        session.add([LEFT])
        frames = session.propagate()
        for _ in range(6):
            next(frames)
        session.add([Points(5, [(30, 50)], object_id=1)])
        session.add([Box(5, RIGHT.xyxy, 2), Box(9, LEFT.xyxy, 1), Box(11, LEFT.xyxy, 1)])
        rest = [frame for frame, _ in frames]
        assert rest == list(range(6, LENGTH))
        assert sizes(session)["non_cond_frame_outputs"] == {2}


def test_other_kinds_of_attention_keep_whole_memories(tracker, video, monkeypatch):
    monkeypatch.setattr(sam2_session, "as_expected", lambda module: False)
    with tracker.session(video) as session:
        session.add([LEFT])
        list(session.propagate())
        assert sizes(session)["non_cond_frame_outputs"] == {4}


def test_masks_are_close_to_the_exact_ones(monkeypatch):
    nano = Sam2Tracker.from_pretrained("nano", device="cpu")
    frames, truth = rendered_test_clip(CLIP)
    ids = [k for k in range(len(truth)) if truth[k, 0].sum() >= 30]
    prompts = [prompt_for(truth[k, 0], "box", k) for k in ids]
    clip = Video(frames[:16])
    exact = nano.track(clip, prompts)
    monkeypatch.setattr(nano, "mode", "faster")
    faster = nano.track(clip, prompts)
    shares = []
    for frame in range(1, 16):
        for a, b in zip(exact.masks(frame, ids), faster.masks(frame, ids), strict=True):
            union = (a | b).sum()
            shares.append((a & b).sum() / union if union else 1.0)
    assert np.mean(shares) > 0.8
    assert np.mean(shares) < 1.0  # it is another mode
