"""Scenes are drawn from seeds: reproducible, complete, and inside what their level promises."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from gar_video.synth.appearance import (
    COLORS,
    NUM_BASIC_COLORS,
    NUM_BASIC_SHAPES,
    SHAPES,
    SIZES,
    lab,
)
from gar_video.synth.motion import DIRECTIONS, Segment, backwards, find_phases, legs, position
from gar_video.synth.render import render
from gar_video.synth.scene import sample_scene, scene_rng
from gar_video.synth.truth import sample

SEEDS = range(40)


def digest(seed: int, level: str) -> str:
    scene, _ = sample(seed, level)
    frames, masks = render(scene, [0, scene.num_frames // 2], (64, 64))
    data = json.dumps(scene.to_dict()).encode() + frames.tobytes() + masks.tobytes()
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("level", ["basic", "full"])
def test_same_seed_same_scene_in_any_order(level: str) -> None:
    forwards = [digest(seed, level) for seed in range(4)]
    backwards_ = [digest(seed, level) for seed in reversed(range(4))]
    assert forwards == backwards_[::-1]
    assert len(set(forwards)) == 4


def test_same_seed_same_scene_in_other_processes() -> None:
    code = (
        "from gar_video.synth.truth import sample; from gar_video.synth.questions import *; "
        "import numpy as np; s, t = sample(7, 'full'); "
        "print(s.to_dict(), sample_questions(np.random.default_rng(1), s, t))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(outputs.pop()) > 1000


@pytest.mark.parametrize(
    ("level", "colors", "shapes", "most"),
    [
        pytest.param("basic", NUM_BASIC_COLORS, NUM_BASIC_SHAPES, 3, id="basic"),
        pytest.param("full", len(COLORS), len(SHAPES), 5, id="full"),
    ],
)
def test_level_draws_from_all_it_has_and_nothing_else(
    level: str, colors: int, shapes: int, most: int
) -> None:
    things = [t for seed in range(150) for t in sample(seed, level)[0].objects]
    assert {t.color for t in things} == set(COLORS[:colors])
    assert {t.shape for t in things} == set(SHAPES[:shapes])
    assert {t.size for t in things} == set(SIZES)
    counts = {len(sample(seed, level)[0].objects) for seed in range(60)}
    assert counts == set(range(1, most + 1))
    patterned = any(t.pattern != "plain" or t.resize or t.recolor for t in things)
    assert patterned == (level == "full")


@pytest.mark.parametrize("level", ["basic", "full"])
@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_number_of_objects_can_be_asked_for(level: str, count: int) -> None:
    scene = sample_scene(scene_rng(3, level), level, num_objects=count)
    assert [t.object_id for t in scene.objects] == list(range(1, count + 1))
    assert sorted(t.z for t in scene.objects) == list(range(count))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"level": "hard"}, "basic, full", id="level"),
        pytest.param({"num_objects": 0}, "1 to 9", id="none"),
        pytest.param({"num_objects": 10}, "1 to 9", id="ten"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_scene(np.random.default_rng(0), **settings)


def test_duration_and_aspect_can_be_asked_for() -> None:
    scene = sample_scene(scene_rng(1), duration_s=4.0, aspect=16 / 9)
    assert scene.num_frames == 60
    assert scene.aspect == 16 / 9


@pytest.mark.parametrize("level", ["basic", "full"])
def test_things_stand_out_from_the_ground(level: str) -> None:
    far = []
    for seed in SEEDS:
        scene = sample(seed, level)[0]
        ground = scene.background
        for thing in scene.objects:
            grounds = lab([ground.rgb_a, ground.rgb_b])
            far.append(float(np.linalg.norm(grounds - lab([thing.rgb]), axis=1).min()))
    assert min(far) > 20
    assert np.mean(far) > 45


@pytest.mark.parametrize("plan", ["still", "line", "stop", "start", "turn", "bounce"])
def test_plans_stay_inside_the_frame(plan: str) -> None:
    found = 0
    for seed in range(120):
        scene, truth = sample(seed)
        for k, thing in enumerate(scene.objects):
            if thing.plan == plan:
                found += 1
                assert truth.visibility.inside[k].min() > 0.97, (seed, k)
    assert found > 3


def test_backwards_is_the_same_way_reversed() -> None:
    way = legs(np.array([0.2, 0.3]), [np.array([0.4, 0.1]), None], [1.0, 3.0])
    ways = [way, (Segment(0.0, "arc", 0.5, 0.5, radius=0.2, angle=0.3, omega=1.1),)]
    times = np.linspace(0.05, 2.95, 31)
    for path in ways:
        there, back = position(path, times), position(backwards(path, 3.0), 3.0 - times)
        np.testing.assert_allclose(there, back, atol=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_phases_name_directions(direction: str) -> None:
    step = np.array(DIRECTIONS[direction]) * 0.4
    path = legs(np.array([0.5, 0.5]), [None, step], [1.0, 2.0])
    times = np.arange(30) / 15
    phases = find_phases(path, times, np.ones(30), np.ones(30))
    assert [phase.act for phase in phases] == ["still", direction]
    assert phases[1].speed == pytest.approx(0.4)
    assert phases[1].start_s == pytest.approx(1.0)
