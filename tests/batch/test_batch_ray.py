"""Ray's workers do the same work; the lost one's is taken over."""

from __future__ import annotations

import os
import signal
import sys

import pytest
import torch
from batch_clips import TASKS, write_clip

from gar_video import GARVideoError, batch
from gar_video.batch.settings import Settings

pytest.importorskip("pyarrow")


def test_without_ray_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    write_clip(tmp_path / "a.mp4")
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(TASKS)
    with pytest.raises(GARVideoError, match=r"pip install 'gar-video\[ray\]'"):
        batch.run(tmp_path / "a.mp4", tasks, tmp_path / "run", "nano", engine="ray")


@pytest.mark.slow
def test_rays_workers_leave_the_same_tables(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    from gar_video.batch.ray_engine import worker_pids

    place = tmp_path / "cam"
    place.mkdir()
    for n in range(3):
        write_clip(place / f"{n}.mp4", start=5 * n)
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(TASKS)
    settings = Settings((), batch_size=5)
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    batch.run(place, tasks, tmp_path / "here", "nano", settings=settings, device="cpu")
    lost = []

    def kill(progress) -> None:
        if not lost and progress.units.total:
            lost.append(worker_pids()[0])
            os.kill(lost[0], signal.SIGKILL)

    summary = batch.run(
        place, tasks, tmp_path / "there", "nano", settings=settings, engine="ray", workers=2,
        device="cpu", progress=kill,
    )  # fmt: skip
    assert lost
    assert summary.units.failed == summary.recordings.failed == 0

    def tables(run) -> dict:
        files = [*run.rglob("*.parquet"), *run.glob("*.jsonl"), *run.rglob("*.jpg")]
        return {path.relative_to(run): path.read_bytes() for path in files}

    assert tables(tmp_path / "there") == tables(tmp_path / "here")
