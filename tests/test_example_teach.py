"""The teaching example is run as it stands, shortened: clips, a few steps, and the check."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from gar_video.cli import run

HOME = Path(__file__).parent.parent / "examples" / "teach"


@pytest.fixture
def example(monkeypatch):
    """Return a loader of the example's scripts, which import each other."""
    monkeypatch.syspath_prepend(str(HOME))
    for name in ("make_clips", "check"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def load(name: str):
        spec = importlib.util.spec_from_file_location(name, HOME / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    yield load
    for name in ("make_clips", "check"):
        sys.modules.pop(name, None)


def test_clips_show_what_their_lines_say(example):
    made = example("make_clips")
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        frames, regions, truth = made.draw(rng)
        seen |= {truth["shape"], truth["motion"]}
        assert frames.shape == (made.FRAMES, made.SIDE, made.SIDE, 3)
        areas = regions.sum((1, 2))
        assert areas.min() > 0.7 * areas.max()  # wholly in view throughout
        rows, columns = (regions.any(axis).argmax(1) for axis in (2, 1))
        turns = []
        for places in (rows, columns):
            moves = np.diff(places[::3])
            moves = np.sign(moves[np.abs(moves) > 1])  # drawn edges may jump by a pixel
            turns.append(int((np.diff(moves) != 0).sum()))
        if truth["motion"] == made.NEW_MOTION:
            assert max(turns) >= 2
        else:
            assert max(turns) == 0
            way = made.WAYS[truth["motion"]]
            gone = (columns[-1] - columns[0], rows[-1] - rows[0])
            assert np.sign(gone[0] * abs(way[0]) + gone[1] * abs(way[1])) == sum(way)
    assert {made.NEW_SHAPE, made.NEW_MOTION, "circle", "right", "up"} <= seen


def test_teaching_runs_from_clips_to_figures(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made, check = example("make_clips"), example("check")
    made.main(Path("teach/train"), 4, 1)
    made.main(Path("teach/test"), 4, 2)
    record = json.loads(Path("teach/test/data.jsonl").read_text().splitlines()[0])
    assert {q["kind"] for q in record["questions"]} == {"shape", "motion", "color"}
    small = ["--steps", "2", "--batch", "1", "--set", "data.1.questions=4"]
    assert run(["train", str(HOME / "teach.yaml"), *small]) == 0
    assert run(["train", str(HOME / "teach_lora.yaml"), *small]) == 0
    for name in ("teach", "teach-lora"):
        found = check.main(f"runs/{name}/model", "teach/test/data.jsonl", clips=4, old_clips=3)
        assert abs(found["lost"]) <= 1
    told = capsys.readouterr().out
    assert "change:" in told
    assert made.NEW_SHAPE in told
