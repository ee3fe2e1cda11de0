"""Longer runs on rendered questions: killed and resumed, in shards, in batches, tracked."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import sys
import time

import numpy as np
import pytest
import torch

from gar_video import GARVideo, Tracks, masks
from gar_video.bench import store
from gar_video.bench.merge import merge
from gar_video.bench.registry import load
from gar_video.bench.run import Selection, run
from gar_video.bench.settings import Settings
from gar_video.synth.benchmarks import write_videorefer_q

COUNT = 24


@pytest.fixture(scope="module")
def nano():
    return GARVideo.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered") / "q"
    write_videorefer_q(folder, COUNT, seed=77, resolution_wh=(112, 112))
    return folder


@pytest.fixture(scope="module")
def whole(data, nano, tmp_path_factory):
    """One run, by text, that others are held against."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return run("videorefer-q", data, out, nano, settings=Settings(score="text"))


def stable(done):
    rows = sorted(done.rows().values(), key=lambda row: (row["group"], row["index"]))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def lines(out):
    path = out / store.ROWS
    return path.read_bytes().count(b"\n") if path.is_file() else 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has run torch")
def test_a_process_killed_at_random_moments_and_resumed(whole, data, nano, tmp_path):
    out = tmp_path / "run"

    def child():
        torch.set_num_threads(1)  # another process's pool of threads is not to be counted on
        run("videorefer-q", data, out, nano, settings=Settings(score="text"))

    draw, stopped_at = random.Random(5), []
    for _ in range(4):
        enough = lines(out) + draw.randrange(1, 5)
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        while lines(out) < enough and process.is_alive():
            time.sleep(0.001)
        time.sleep(draw.random() * 0.1)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        stopped_at.append(lines(out))
        assert not (out / store.SUMMARY).exists()
    assert 0 < stopped_at[0] < stopped_at[1] < stopped_at[2] < stopped_at[3] <= COUNT
    again = run("videorefer-q", data, out, nano, settings=Settings(score="text"))
    assert lines(out) == COUNT
    assert stable(again) == stable(whole)
    assert again.summary["overall"] == whole.summary["overall"]


def test_four_shards_of_rendered_questions(whole, data, nano, tmp_path):
    folders = [tmp_path / str(part) for part in range(1, 5)]
    for part, folder in enumerate(folders, 1):
        run("videorefer-q", Selection(data, shard=f"{part}/4"), folder, nano,
            settings=Settings(score="text"))  # fmt: skip
    assert all(0 < len(store.Run(folder).rows()) < COUNT for folder in folders)
    merged = merge(tmp_path / "all", folders)
    assert stable(merged) == stable(whole)
    same = ("overall", "per_type", "failed", "skipped", "complete", "beyond_prompts")
    assert [merged.summary[name] for name in same] == [whole.summary[name] for name in same]


@pytest.mark.parametrize("score", ["text", "letter", "generate"])
def test_one_at_a_time_equals_eight(score, whole, data, nano, tmp_path):
    both = []
    encoded = {}
    for size in (8, 1):
        done = run("videorefer-q", Selection(data, limit=16), tmp_path / str(size), nano,
                   settings=Settings(score=score, batch_size=size), encoded=encoded)  # fmt: skip
        both.append(stable(done))
    for row, other in zip(*both, strict=True):
        shares = (row.pop("probabilities"), other.pop("probabilities"))
        if score != "generate":
            assert shares[0] == pytest.approx(shares[1], abs=2e-4)
        assert row == other
    if score == "text":  # what was encoded for another run gives the same answers
        assert both[0] == stable_limited(whole, both[0])


def stable_limited(done, like):
    """The rows of a run that another has as well."""
    keys = {row["key"] for row in like}
    rows = [row for row in stable(done) if row["key"] in keys]
    for row in rows:
        row.pop("probabilities")
    return rows


def test_runs_that_look_at_the_same_encode_it_once(data, nano, tmp_path, monkeypatch):
    passes = []
    tower = nano.model.mllm.model.vision_tower
    forward = tower.forward
    monkeypatch.setattr(tower, "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))
    selection, encoded = Selection(data, limit=6), {}
    for score in ("text", "letter", "generate"):
        run("videorefer-q", selection, tmp_path / score, nano, settings=Settings(score=score),
            encoded=encoded)  # fmt: skip
    cases = load("videorefer-q", data, limit=6)
    sets = {(case.media, case.region_digests) for case in cases}
    assert len(passes) == len(encoded) == len(sets)


# -- mode track ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_tracked_both_ways_by_the_real_tracker(data, nano, tmp_path):
    from gar_video.cli import run as command

    shared = tmp_path / "tracks"
    words = ["bench", "videorefer-q", "--data", data, "--limit", "4", "--mode", "track",
             "--sam2", "nano", "--model", "nano", "--device", "cpu", "--tracks", shared, "-q"]  # fmt: skip
    assert command([*map(str, words), "--score", "text", "--out", str(tmp_path / "text")]) == 0
    done = store.Run(tmp_path / "text")
    assert done.summary["overall"]["failed"] == 0
    assert done.config["tracker"]["class"] == "Sam2Tracker"
    assert len(done.config["tracker"]["sha256"]) == 64
    files = {path.name: path.stat().st_mtime_ns for path in shared.iterdir()}
    cases = load("videorefer-q", data, limit=4)
    assert len(files) == len({(case.media, case.region_digests) for case in cases})

    overlaps, before, after = [], 0, 0
    for case in cases:
        (path,) = [path for path in shared.iterdir() if is_of(path, case, done.config, data)]
        tracks = Tracks.load(path)
        for object_id, regions in enumerate(case.objects, 1):
            for frame, truth in regions.items():
                found, true = tracks[object_id].mask(frame), masks.decode(truth) if truth else None
                if found is None or true is None:
                    continue
                before += frame < case.prompt_frame
                after += frame > case.prompt_frame
                overlaps.append((found & true).sum() / max((found | true).sum(), 1))
    print(f"mean overlap with the truth {np.mean(overlaps):.3f}, {before} before, {after} after")
    assert before
    assert after
    assert np.mean(overlaps) > 0.4

    # Another scoring of the same finds the tracks there.
    assert command([*map(str, words), "--score", "letter", "--out", str(tmp_path / "l")]) == 0
    assert files == {path.name: path.stat().st_mtime_ns for path in shared.iterdir()}


def is_of(path, case, config, data):
    from gar_video.bench.identity import name_tracks

    return path.name == name_tracks(case, data, config["tracker"])


def test_tracks_that_cannot_be_kept_end_the_run(data, nano, tmp_path):
    class Still:
        """Leaves every mask where it was pointed at."""

        def track(self, video, prompts):
            return Tracks.from_masks({one.object_id: [one.mask] * len(video) for one in prompts})

    from gar_video.errors import GARVideoError

    (tmp_path / "file").write_text("x")
    with pytest.raises(GARVideoError, match="what was done is kept"):
        run("videorefer-q", Selection(data, limit=2), tmp_path / "r", nano,
            settings=Settings(mode="track", score="letter"), tracker=Still(),
            tracks=tmp_path / "file" / "tracks")  # fmt: skip
    assert json.loads((tmp_path / "r" / "config.json").read_text())["benchmark"]
    assert not store.Run(tmp_path / "r").rows()
