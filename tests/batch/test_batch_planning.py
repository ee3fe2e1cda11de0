from __future__ import annotations

import numpy as np
import pytest

from gar_video import Tracks
from gar_video.batch.planning import Clock, box_gaps, plan_units, visible_s
from gar_video.batch.tasks import Pairs, Task, Where

WIDTH, HEIGHT, FRAMES = 100, 50, 40  # at 10 frames a second
CLOCK = Clock(np.arange(FRAMES) / 10, FRAMES / 10)


def _tracks() -> Tracks:
    """1 stands left all the time; 2 comes near it after 2 s; 3 is far away and short-lived."""
    regions: dict[int, dict[int, dict]] = {1: {}, 2: {}, 3: {}}
    from gar_video import masks

    def box(x: int) -> dict:
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[20:30, x : x + 10] = True
        return masks.encode(mask)

    for t in range(FRAMES):
        regions[1][t] = box(10)
        if t >= 20:
            regions[2][t] = box(max(25, 60 - (t - 20) * 5))
        if 5 <= t < 9:
            regions[3][t] = box(90)
    return Tracks.from_rles(
        regions, (WIDTH, HEIGHT), FRAMES, labels={1: "person", 2: "Person", 3: "car"}
    )


def _told(task: Task, **more) -> list[tuple]:
    units = plan_units(7, _tracks(), CLOCK, [task], **more)
    assert all(unit.recording == 7 and unit.task == "a" for unit in units)
    return [(*unit.objects, unit.start_s, unit.end_s) for unit in units]


CASES = [
    pytest.param(Task("a", "describe"), [(1, 0.0, 4.0), (2, 2.0, 4.0), (3, 0.5, 0.9)], id="all"),
    pytest.param(Task("a", "describe", where=Where(("PERSON",))), [(1, 0.0, 4.0), (2, 2.0, 4.0)], id="label, whatever its case"),
    pytest.param(Task("a", "describe", where=Where(min_visible_s=2.0)), [(1, 0.0, 4.0), (2, 2.0, 4.0)], id="just long enough"),
    pytest.param(Task("a", "describe", where=Where(min_area=0.03)), [], id="too small"),
    pytest.param(Task("a", "describe", window_s=1.5), [(1, 0.0, 1.5), (1, 1.5, 3.0), (1, 3.0, 4.0), (2, 2.0, 3.0), (2, 3.0, 4.0), (3, 0.5, 0.9)], id="stretches"),
    pytest.param(Task("a", "ask", "Do <1> and <2> meet?", pairs=Pairs()), [(1, 2, 2.0, 4.0), (1, 3, 0.5, 0.9)], id="pairs"),
    pytest.param(Task("a", "ask", "Do <1> and <2> meet?", pairs=Pairs(0.1)), [(1, 2, 2.0, 4.0)], id="near pairs"),
    pytest.param(Task("a", "ask", "Do <1> and <2> meet?", pairs=Pairs(0.01)), [], id="nearer than any"),
    pytest.param(Task("a", "ask", "Do <1> and <2> meet?", pairs=Pairs(1.0, 1.0)), [(1, 2, 2.0, 4.0)], id="together long enough"),
    pytest.param(Task("a", "ask", "Do <1> and <2> meet?", pairs=Pairs(), window_s=1), [(1, 2, 2.0, 3.0), (1, 2, 3.0, 4.0), (1, 3, 0.5, 0.9)], id="stretches of pairs"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "expected"), CASES)
def test_units(task: Task, expected: list[tuple]) -> None:
    assert _told(task) == expected


def test_only_what_comes_into_the_region_counts() -> None:
    left = [(0, 0), (40, 0), (40, 50), (0, 50)]
    assert [row[0] for row in _told(Task("a", "describe"), region=left)] == [1, 2]


def test_uneven_clocks() -> None:
    clock = Clock(np.cumsum(np.r_[0, np.full(FRAMES - 1, 0.1)]) * 2, FRAMES * 0.2)
    assert visible_s(_tracks()[3], clock) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("other", "gap"),
    [
        pytest.param([5, 5, 8, 8], 0, id="overlapping"),
        pytest.param([13, 0, 20, 10], 3, id="beside"),
        pytest.param([13, 14, 20, 20], 5, id="at the corner"),
    ],
)
def test_gaps(other: list[float], gap: float) -> None:
    here = np.array([[0.0, 0, 10, 10]])
    assert box_gaps(here, np.array([other], float)).tolist() == [gap]
    assert box_gaps(np.array([other], float), here).tolist() == [gap]
