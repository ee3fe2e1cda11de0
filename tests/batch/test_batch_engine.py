"""Whole runs over small footage, whole and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_clips import TASKS, hangs_on_some, write_clip
from PIL import Image

from gar_video import GARVideo, Tracks, Video, batch
from gar_video.batch.answering import Answerer
from gar_video.batch.settings import Settings
from gar_video.batch.state import State
from gar_video.batch.together import ManyDecoder
from gar_video.errors import DeviceError, GARVideoError

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def nano():
    return GARVideo.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage") / "gate"
    folder.mkdir()
    for n in range(3):
        write_clip(folder / f"gate_2026-11-21_23-59-{57 + n}.mp4", 1.0 + 0.5 * n, start=8 * n)
    return folder


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    path = tmp_path_factory.mktemp("tasks") / "tasks.yaml"
    path.write_text(TASKS)
    return path


@pytest.fixture(scope="module")
def whole(footage, tasks, nano, tmp_path_factory):
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    summary = batch.run(footage, tasks, out, nano)
    assert summary.units.failed == summary.recordings.failed == 0
    return out


def tables(out: Path) -> dict[str, bytes]:
    files = [*out.rglob("*.parquet"), *out.glob("*.jsonl"), *out.rglob("*.jpg")]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_everything_is_answered_as_one_by_one(whole, footage, nano):
    rows = list(batch.read_rows(whole))
    # For each clip: two descriptions, two questions, a pair, a choice for each half second.
    assert [sum(row["task"] == name for row in rows) for name in ("what", "colour", "beside")] == [
        6,
        6,
        3,
    ]
    assert sum(row["task"] == "way" for row in rows) == 2 * (2 + 3 + 4)
    for row in rows:
        video = Video(row["video"])
        tracks = Tracks.load(row["video"].replace(".mp4", ".tracks.json"), video=video)
        window = (row["start_s"], row["end_s"])
        if row["kind"] == "describe":
            (alone,) = nano.describe(
                video, tracks, objects=row["objects"], time=window, max_new_tokens=12
            )
        elif row["kind"] == "ask":
            alone = nano.ask(video, tracks, row["question"], time=window, max_new_tokens=4)
        else:
            alone = nano.choose(video, tracks, row["question"], row["options"], time=window)
            assert row["probabilities"] == pytest.approx(alone.probabilities, abs=2e-4)
        assert (row["answer"], row["frames"]) == (alone.text, list(alone.frames))
        assert row["visible_share"] == min(alone.visible.values())
        assert row["question"] == alone.question


def test_rows_know_where_and_when(whole):
    row = next(
        row
        for row in batch.read_rows(whole)
        if row["video"].endswith("58.mp4") and row["start_s"] == 1.0
    )
    assert (row["camera"], row["wall_start"]) == ("gate", "2026-11-21T23:59:59.000+00:00")
    assert row["labels"] == [row["label"]] == ["square" if row["objects"] == [7] else "block"]
    picture = Image.open(whole / row["thumbnail"])
    assert picture.size <= (208, 156)
    assert len(row["boxes"]) == 1
    assert len(row["boxes"][0]["first"]) == 4
    days = {path.parent.parent.name for path in whole.rglob("*.parquet")}
    assert days == {"day=2026-11-21", "day=2026-11-22"}


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_run_that_was_stopped_ends_the_same(whole, footage, tasks, nano, tmp_path, after):
    asked = []

    def stop() -> bool:
        with State(tmp_path / "run", None) as state:
            asked.append(state.counts())
        return len(asked) > 1 and asked[-1].done >= 8 * after

    settings = Settings((), batch_size=8)
    with pytest.raises(KeyboardInterrupt):
        batch.run(footage, tasks, tmp_path / "run", nano, settings=settings, stop=stop)
    summary = batch.run(footage, tasks, tmp_path / "run", nano, settings=settings)
    assert summary.units.done == len(list(batch.read_rows(whole)))
    again = batch.run(footage, tasks, tmp_path / "run", nano, settings=settings)
    assert again.answered == 0
    straight = batch.run(footage, tasks, tmp_path / "straight", nano, settings=settings)
    assert straight.rows == summary.rows
    assert tables(tmp_path / "run") == tables(tmp_path / "straight")


def test_ctrl_c_finishes_what_is_being_answered(
    whole, footage, tasks, tmp_path, monkeypatch, capsys
):
    from gar_video.cli import run

    answer = Answerer.answer

    def interrupted(self, loaded):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        return answer(self, loaded)

    typed = [
        "batch",
        "run",
        str(footage),
        "--tasks",
        str(tasks),
        "--out",
        str(tmp_path / "run"),
        "--batch-size",
        "8",
        "-q",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(Answerer, "answer", interrupted)
        assert run(typed) == 130
    capsys.readouterr()
    before = list(batch.read_rows(tmp_path / "run"))
    assert 8 <= len(before) < len(list(batch.read_rows(whole)))
    assert len((tmp_path / "run/results.jsonl").read_text().splitlines()) == len(before)
    assert run([*typed, "--decoders", "2"]) == 0
    rows = [{**row, "probabilities": 0} for row in batch.read_rows(tmp_path / "run")]
    assert rows == [{**row, "probabilities": 0} for row in batch.read_rows(whole)]


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from gar_video import batch
from gar_video.batch.settings import Settings
if __name__ == "__main__":
    settings = Settings((), batch_size=8)
    batch.run(sys.argv[1], sys.argv[2], sys.argv[3], "nano", settings=settings)
"""


@pytest.mark.slow
def test_a_run_that_was_killed_ends_the_same(footage, tasks, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def command(name: str) -> list[str]:
        return [sys.executable, str(script), str(footage), str(tasks), str(tmp_path / name)]

    def count() -> int:
        try:
            with State(tmp_path / "killed", None) as state:
                return state.counts().done
        except GARVideoError:
            return -1

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command("whole"), check=True, env=environment)
    for least in (0, 9, 17):
        with subprocess.Popen(command("killed"), env=environment) as worker:
            while worker.poll() is None and count() < least:
                time.sleep(0.05)
            os.kill(worker.pid, signal.SIGKILL)
    subprocess.run(command("killed"), check=True, env=environment)
    assert tables(tmp_path / "killed") == tables(tmp_path / "whole")


def test_bad_recordings_are_named_and_the_rest_is_answered(footage, tasks, nano, tmp_path):
    place = tmp_path / "night"
    place.mkdir()
    write_clip(place / "a good\n😀 one.mp4")
    (place / "empty.mp4").touch()
    (place / "junk.mp4").write_bytes(b"junk" * 500)
    data = (footage / "gate_2026-11-21_23-59-57.mp4").read_bytes()
    (place / "cut.mp4").write_bytes(data[: len(data) // 3])
    (place / "hangs.mp4").write_bytes(data)
    (place / "bare.mp4").write_bytes(data)
    write_clip(place / "others.mp4", 2.0)
    (place / "others.mp4").write_bytes(data)
    (place / "loop").symlink_to(place, target_is_directory=True)
    settings = Settings((), open_s=8.0, opener=hangs_on_some)
    summary = batch.run(place, tasks, tmp_path / "run", nano, settings=settings)
    assert {Path(row["video"]).name for row in batch.read_rows(tmp_path / "run")} == {
        "a good\n😀 one.mp4"
    }
    told = {Path(one["video"]).name: one["error"] for one in batch.read_failures(tmp_path / "run")}
    assert set(told) == {"empty.mp4", "junk.mp4", "cut.mp4", "hangs.mp4", "bare.mp4", "others.mp4"}
    for name, said in {
        "empty.mp4": "empty", "hangs.mp4": "hangs or dies", "bare.mp4": "there are no tracks",
        "others.mp4": "frames",
    }.items():  # fmt: skip
        assert said in told[name], told[name]
    assert (summary.recordings.done, summary.recordings.failed) == (1, 6)
    lines = (tmp_path / "run/failures.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == batch.read_failures(tmp_path / "run")
    # Mended, it is done when failures are tried again.
    write_clip(place / "bare.mp4")
    assert batch.retry_failed(tmp_path / "run") == 6
    again = batch.run(place, tasks, tmp_path / "run", nano, settings=settings)
    assert (again.recordings.done, again.answered) == (2, summary.answered)


@pytest.mark.parametrize("fits", [1, 0], ids=["one at a time", "not even one"])
def test_too_little_memory_means_smaller_batches(
    whole, footage, tasks, nano, tmp_path, monkeypatch, fits
):
    encode = ManyDecoder.encode

    def small(self, inputs):
        if len(inputs) > fits:
            raise DeviceError("out of memory while encoding")
        return encode(self, inputs)

    monkeypatch.setattr(ManyDecoder, "encode", small)
    summary = batch.run(footage, tasks, tmp_path / "run", nano)
    assert summary.shrunk > 0
    rows, good = list(batch.read_rows(tmp_path / "run")), list(batch.read_rows(whole))
    if fits:
        assert [row["answer"] for row in rows] == [row["answer"] for row in good]
    else:
        assert {row["error"] for row in rows} == {"out of memory while encoding"}
        assert [row["unit"] for row in rows] == [row["unit"] for row in good]


def test_a_full_disk_stops_and_says_how_much_is_needed(
    whole, footage, tasks, nano, tmp_path, monkeypatch
):
    write = Path.write_bytes
    written = []

    def full(self, data):
        if self.suffix == ".tmp":
            written.append(self)
            if len(written) > 9:
                raise OSError(28, "No space left on device")
        return write(self, data)

    settings = Settings((), batch_size=8)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(
            GARVideoError, match=r"No space left.*about \d+ MiB more for the \d+ answers"
        ) as caught:
            batch.run(footage, tasks, tmp_path / "run", nano, settings=settings)
    assert "\n" not in str(caught.value)
    batch.run(footage, tasks, tmp_path / "run", nano, settings=settings)
    rows = [{**row, "probabilities": 0} for row in batch.read_rows(tmp_path / "run")]
    assert rows == [{**row, "probabilities": 0} for row in batch.read_rows(whole)]


def test_folders_of_others_are_refused(whole, footage, tasks, nano, tmp_path):
    from gar_video.batch.lock import FolderLock

    with pytest.raises(GARVideoError, match="belongs to another run: frames"):
        batch.run(footage, tasks, whole, nano, settings=Settings((), frames=3))
    with FolderLock(whole), pytest.raises(GARVideoError, match=r"in use by process \d+"):
        batch.run(footage, tasks, whole, nano)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(GARVideoError, match="is not empty and holds no run"):
        batch.run(footage, tasks, tmp_path, nano)


def test_what_nobody_foresaw_fails_a_batch_and_not_the_run(
    footage, tasks, nano, tmp_path, monkeypatch
):
    def broken(self, loaded):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(Answerer, "answer", broken)
    summary = batch.run(footage, tasks, tmp_path / "run", nano)
    assert summary.units.failed == summary.rows > 0
    assert "ZeroDivisionError: oops" in next(batch.read_rows(tmp_path / "run"))["error"]


def test_footage_elsewhere_is_fetched_and_let_go(footage, tasks, nano, tmp_path):
    pytest.importorskip("aiohttp")
    import functools
    import http.server
    import threading

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(footage))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        name = "gate_2026-11-21_23-59-57.mp4"
        manifest = tmp_path / "list.csv"
        tracks = footage / name.replace(".mp4", ".tracks.json")
        manifest.write_text(
            f"path,camera,tracks\n{address}/{name},yard,{tracks}\n{address}/none.mp4,,\n"
        )
        source = batch.Source((), str(manifest), remote=True)
        summary = batch.run(source, tasks, tmp_path / "run", nano)
        server.shutdown()
    assert (summary.recordings.done, summary.recordings.failed) == (1, 1)
    row = next(batch.read_rows(tmp_path / "run"))
    assert (row["video"], row["camera"]) == (f"{address}/{name}", "yard")
    assert "cannot fetch" in batch.read_failures(tmp_path / "run")[0]["error"]
    assert not list((tmp_path / "run/fetched").iterdir())


def test_photographs_are_footage(nano, tmp_path, tasks):
    place = tmp_path / "photos"
    place.mkdir()
    clip = write_clip(place / "x.mp4", 0.5)
    Image.fromarray(Video(clip)[0]).save(place / "photo.png")
    tracks = Tracks.load(place / "x.tracks.json").window(0, 1)
    masks = {i: tracks[i].mask(0)[None] for i in tracks}
    Tracks.from_masks(masks).save(place / "photo.tracks.json")
    batch.run(place / "photo.png", tasks, tmp_path / "run", nano)
    rows = list(batch.read_rows(tmp_path / "run"))
    assert {row["task"] for row in rows} == {"what", "colour", "way", "beside"}
    assert all(row["answer"] and row["frames"] == [0] for row in rows)
