from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gar_video import Tracks
from gar_video.synth.truth import sample
from gar_video.synth.write import clip_seed, rles_of
from gar_video.timeline_events import events_of

FPS = 15


def walk(points, size=12, wh=(200, 120), absent=()):
    """Tracks of a square that goes along ``(second, x, y)``, FPS frames a second."""
    seconds, x, y = np.array(points, float).T
    times = np.arange(round(seconds[-1] * FPS) + 1) / FPS
    masks = np.zeros((len(times), wh[1], wh[0]), bool)
    for frame, time_s in enumerate(times):
        if any(a <= time_s < b for a, b in absent):
            continue
        left, top = (round(float(np.interp(time_s, seconds, way))) for way in (x, y))
        masks[frame, max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = True
    return Tracks.from_masks({1: masks})[1], times


@pytest.mark.parametrize(
    ("points", "absent", "expected"),
    [
        pytest.param([(0, 20, 50), (3, 160, 50)], (), [], id="straight"),
        pytest.param([(0, 90, 50), (3, 90, 50)], (), [], id="still"),
        pytest.param([(0, 20, 20), (1, 90, 20), (2, 90, 90)], (),
                     [("turns", 1.0, "from right to down")], id="corner"),
        pytest.param([(0, 20, 50), (1, 120, 50), (2, 20, 50)], (),
                     [("turns", 1.0, "from right to left")], id="back"),
        pytest.param([(0, 20, 50), (1, 90, 50), (2, 90, 50), (3, 160, 50)], (), [], id="pause"),
        pytest.param([(0, 20, 50), (1, 90, 50), (2, 92, 51), (3, 90, 50)], (), [], id="trembling"),
        pytest.param([(0, -40, 50), (2, 100, 50)], (), [("appears", 0.4, "at the left edge")],
                     id="enters"),
        pytest.param([(0, 100, 50), (2, 260, 50)], (), [("leaves", 1.2, "at the right edge")],
                     id="leaves"),
        pytest.param([(0, 100, 50), (2, 100, -60)], (), [("leaves", 1.13, "at the top edge")],
                     id="leaves-at-the-top"),
        pytest.param([(0, 60, 50), (4, 60, 50)], [(1, 3)],
                     [("disappears", 0.93, ""), ("appears", 3.0, "")], id="hidden"),
        pytest.param([(0, 60, 50), (4, 60, 50)], [(1, 1.4)], [], id="lost-for-a-moment"),
        pytest.param([(0, 60, 50), (4, 60, 50)], [(0, 9)], [], id="never"),
    ],
)  # fmt: skip
def test_what_a_track_shows(points, absent, expected):
    masks_seen = not any(a == 0 and b > points[-1][0] for a, b in absent)
    if not masks_seen:
        empty = Tracks.from_masks({1: np.zeros((61, 120, 200), bool)}, allow_empty=True)
        assert events_of(empty[1], np.arange(61) / FPS) == []
        return
    found = events_of(*walk(points, absent=absent))
    assert [(e.kind, e.detail) for e in found] == [(kind, words) for kind, _, words in expected]
    for event, (_, time_s, _) in zip(found, expected, strict=True):
        assert event.time_s == pytest.approx(time_s, abs=0.14)


def test_a_circle_does_not_turn():
    angles = np.linspace(0, 2 * np.pi, 60)
    points = [
        (3 * at / 59, 94 + 40 * np.cos(a), 54 + 40 * np.sin(a)) for at, a in enumerate(angles)
    ]
    assert events_of(*walk(points)) == []


def test_going_behind_something_is_no_turn():
    """Its box shrinks from one side and the centre shifts; the way stays straight."""
    masks = np.zeros((46, 120, 200), bool)
    for frame in range(46):
        left = 20 + 2 * frame
        masks[frame, 40:60, left : left + 20] = True
    masks[:, 30:52, 70:120] = False
    track = Tracks.from_masks({1: masks})[1]
    assert [e.kind for e in events_of(track, np.arange(46) / FPS)] == []


def placed(level, seeds, every_s=1.0):
    """Return how many of the truth's events stand in their windows, of how many, by kind.

    Right is an event of the same kind, for the same object, in the same window.
    """
    from gar_video.synth import events
    from gar_video.synth.render import render_labels

    same = {"enters": "appears", "leaves": "leaves", "turns": "turns", "bounces": "turns"}
    right, total = Counter(), Counter()
    for seed in seeds:
        scene, truth = sample(clip_seed(seed), level)
        wanted = [event for event in events.events(truth) if event.kind in same]
        if not wanted:
            continue
        _, labels = render_labels(scene, range(scene.num_frames), (224, 224))
        regions = {thing.object_id: {} for thing in scene.objects}
        for frame, label in enumerate(labels):
            for object_id, rle in rles_of(scene, label).items():
                regions[object_id][frame] = rle
        tracks = Tracks.from_rles(regions, (224, 224), scene.num_frames)
        for event in wanted:
            window = int(event.time_s / every_s + 1e-6)
            kind = same[event.kind]
            total[kind] += 1
            right[kind] += any(
                one.kind == kind and int(one.time_s / every_s + 1e-6) == window
                for one in events_of(tracks[event.object_id], scene.times_s)
            )
    return right, total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "least"),
    [pytest.param("basic", 0.8, id="basic"), pytest.param("full", 0.8, id="full")],
)
def test_events_stand_in_their_windows(level, least):
    right, total = placed(level, range(100))
    share = sum(right.values()) / sum(total.values())
    shown = ", ".join(f"{kind} {right[kind]} of {count}" for kind, count in sorted(total.items()))
    print(f"{level}: {share:.0%} of {sum(total.values())} events in the right window: {shown}")
    assert sum(total.values()) > 30
    assert set(total) == {"appears", "leaves", "turns"}
    assert share >= least
