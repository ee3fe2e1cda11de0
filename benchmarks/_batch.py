"""What ``gar-video batch`` withstands and what it costs, shown by hand.

    python -m benchmarks._batch broken|killed|memory|disk|ratio|ray [--clips N] [--out FOLDER]

Each prints one JSON line. They take minutes; the test suite has small versions of most.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch

torch.set_num_threads(1)
ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "batch")]

TASKS = """
tasks:
  - {name: what, describe: true, max_new_tokens: 24}
  - {name: colour, ask: "What colour is <1>?", max_new_tokens: 6}
  - {name: shape, ask: "What shape is <1>?", max_new_tokens: 6}
  - {name: way, choose: "Which way does <1> move?", options: [left, right, up, down]}
"""


def clips(folder: Path, count: int, seconds: float = 1.0, side: tuple[int, int] = (160, 128)):
    """Render clips with their tracks."""
    from gar_video.synth.write import write_clip

    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        write_clip(
            folder / f"cam_2026-11-21_{n // 60:02d}-{n % 60:02d}-00.mp4", seed=n, num_objects=2,
            duration_s=seconds, resolution_wh=side,
        )  # fmt: skip


def tables(run: Path) -> dict[str, bytes]:
    files = [*run.rglob("*.parquet"), *run.glob("*.jsonl"), *run.rglob("*.jpg")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def spent() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def answered_in(run: Path) -> int:
    """Return how many units a run has answered so far; a run that is just beginning has none."""
    from gar_video import GARVideoError
    from gar_video.batch.results import open_state

    try:
        with contextlib.closing(open_state(run)) as data:
            query = "SELECT COUNT(*) FROM units WHERE status = 'done'"
            return data.execute(query).fetchone()[0]
    except (GARVideoError, sqlite3.Error):
        return 0


# ---------------------------------------------------------------- broken clips


def broken(place: Path, count: int) -> dict:
    """Must-show 1: many clips, a tenth of them broken, each in its own way."""
    import media
    from batch_clips import hangs_on_some

    from gar_video import batch
    from gar_video.batch.settings import Settings

    folder = place / "night"
    clips(folder, count - 20)
    good = {path.name for path in folder.glob("*.mp4")}
    first = sorted(folder.glob("*.mp4"))[0]
    data, beside = first.read_bytes(), first.with_suffix(".tracks.json").read_bytes()
    bad = set()

    def spoil(name: str, content: bytes | None, tracks: bytes | None = beside) -> Path:
        path = folder / name
        if content is not None:
            path.write_bytes(content)
        if tracks is not None:
            path.with_suffix(".tracks.json").write_bytes(tracks)
        bad.add(name)
        return path

    spoil("empty.mp4", b"")
    spoil("junk.mp4", os.urandom(20_000))
    for share in (5, 30, 60, 90):
        spoil(f"cut-{share}.mp4", data[: len(data) * share // 100])
    media.claim_more(first, spoil("claims.mp4", None), 3)
    spoil("renamed.doc", data, None)
    picture = folder.parent / "picture.jpg"
    from PIL import Image

    Image.new("RGB", (64, 64)).save(picture)
    spoil("picture.mp4", picture.read_bytes())
    media.write_sound(spoil("audio.mp4", None))
    fragments = media.write(place / "fragments.mp4", media.CLIPS["h264-fragments"]).read_bytes()
    spoil("no-frames.mp4", fragments[: fragments.index(b"moof") - 4])
    spoil("loop.mp4", None, None).symlink_to(folder / "loop.mp4")
    spoil("dangling.mp4", None, None).symlink_to(folder / "nowhere.mp4")
    spoil("hangs.mp4", data)
    media.write(spoil("others.mp4", None), media.H264)
    spoil("bare.mp4", data, None)
    spoil("bad-tracks.mp4", data, b"{junk")
    spoil("no-tracks.mp4", data, b"")
    media.damage(first, spoil("damaged.mp4", None), range(1, 12))
    denied = spoil("denied.mp4", data)
    denied.chmod(0)
    if os.geteuid() == 0:  # root reads everything
        good.add(denied.name)
        bad.discard(denied.name)
    # Odd, and good all the same: a name, a codec, a folder that contains itself.
    (folder / "new\nline 😀.mp4").write_bytes(data)
    (folder / "new\nline 😀.tracks.json").write_bytes(beside)
    av1 = media.write(folder / "av1.mp4", media.CLIPS["av1"])
    with av.open(str(av1)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    from gar_video import Tracks

    masks = np.zeros((frames, media.HEIGHT, media.WIDTH), bool)
    masks[:, 20:60, 20:70] = True
    Tracks.from_masks({1: masks}).save(folder / "av1.tracks.json")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    good |= {"new\nline 😀.mp4", "av1.mp4"}
    (place / "tasks.yaml").write_text(TASKS)
    began, cpu = time.perf_counter(), spent()
    settings = Settings((), open_s=20.0, frame_s=20.0, opener=hangs_on_some)
    summary = batch.run(folder, place / "tasks.yaml", place / "run", "nano", settings=settings)
    seconds, cpu = time.perf_counter() - began, spent() - cpu
    rows = list(batch.read_rows(place / "run"))
    answered = {Path(row["video"]).name for row in rows if row["error"] is None}
    named = {Path(one["video"]).name: one["error"] for one in batch.read_failures(place / "run")}
    return {
        "clips": len(good) + len(bad), "good": len(good), "broken": len(bad),
        "good_not_answered": sorted(good - answered), "broken_not_named": sorted(bad - set(named)),
        "good_named": sorted(set(named) - bad), "rows": summary.rows,
        "seconds": round(seconds, 1), "cpu_s": round(cpu, 1), "reasons": named,
    }  # fmt: skip


# ---------------------------------------------------------------- killed


def killed(place: Path, count: int) -> dict:
    """Must-show 2: SIGKILL at twenty random moments."""
    from gar_video import GARVideo, batch
    from gar_video.batch.settings import Settings

    clips(place / "night", count)
    (place / "tasks.yaml").write_text(TASKS)
    gar = GARVideo.from_pretrained("nano", device="cpu", keep=0)
    settings = Settings((), batch_size=3)

    def go(name: str) -> None:
        batch.run(place / "night", place / "tasks.yaml", place / name, gar, settings=settings)

    # Forked, so that each start costs no imports and the kills fall into the work itself.
    fork = multiprocessing.get_context("fork")

    def started(name: str):
        worker = fork.Process(target=go, args=(name,))
        worker.start()
        return worker

    began = time.perf_counter()
    worker = started("whole")
    worker.join()
    whole_s = time.perf_counter() - began
    draw, kills, done = random.Random(7), 0, []

    def answered() -> int:
        return answered_in(place / "killed")

    while kills < 20:
        # Anywhere from the start to a few batches on, and then up to half a second later.
        wanted = answered() + draw.choice((0, 0, 1, 3, 5, 7))
        delay = draw.uniform(0, 0.5) if wanted > answered() else draw.uniform(0, 0.2) * whole_s
        worker = started("killed")
        while worker.is_alive() and answered() < wanted:
            time.sleep(0.01)
        worker.join(delay)
        if worker.is_alive():
            os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        kills += 1
        done.append(answered())
    worker = started("killed")
    worker.join()
    whole, other = tables(place / "whole"), tables(place / "killed")
    rows = list(batch.read_rows(place / "killed"))
    return {
        "clips": count, "kills": kills, "done_after_each": done, "rows": len(rows),
        "different_ids": len({row["unit"] for row in rows}), "files": len(whole),
        "equal": whole == other, "whole_s": round(whole_s, 1),
    }  # fmt: skip


# ---------------------------------------------------------------- memory


def long_video(path: Path, minutes: float, fps: int = 5) -> None:
    """Write a video in which something crosses twice a minute."""
    w, h = 320, 240
    ground = np.random.default_rng(0).integers(80, 110, (h, w, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        stream.codec_context.gop_size = 50
        for t in range(round(minutes * 60 * fps)):
            image = ground.copy()
            at = t / fps % 30
            if at < 6:
                x = int(at / 6 * (w - 50))
                image[90:140, x : x + 50] = (200, 40, 40)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


MEMORY = """
import json, resource, sys, time
import torch
torch.set_num_threads(1)
from gar_video import batch
if __name__ == "__main__":
    began = time.perf_counter()
    summary = batch.run(sys.argv[1], sys.argv[2], sys.argv[3], "nano", tracks="auto")
    print(json.dumps({
        "rows": summary.rows, "seconds": round(time.perf_counter() - began, 1),
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "decoder_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
    }))
"""


def memory(place: Path, count: int) -> dict:
    """Must-show 4: an hour in one file against six minutes."""
    (place / "tasks.yaml").write_text(TASKS)
    (place / "script.py").write_text(MEMORY)
    found = {}
    for name, minutes in (("6", 6.0), ("60", 60.0)):
        long_video(place / f"{name}.mp4", minutes)
        command = [
            sys.executable, place / "script.py", place / f"{name}.mp4", place / "tasks.yaml",
            place / name,
        ]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[f"{name}_minutes"] = json.loads(done.stdout.splitlines()[-1])
    peaks = [found["60_minutes"][k] / found["6_minutes"][k] for k in ("mib", "decoder_mib")]
    return {**found, "ratio": round(peaks[0], 3), "decoder_ratio": round(peaks[1], 3)}


# ---------------------------------------------------------------- a full disk


def disk(place: Path, count: int) -> dict:
    """Must-show 5: a tmpfs that is too small, made a little larger each time it is full."""
    from gar_video import GARVideo, GARVideoError, batch
    from gar_video.batch.settings import Settings

    clips(place / "night", count)
    (place / "tasks.yaml").write_text(TASKS)
    gar = GARVideo.from_pretrained("nano", device="cpu", keep=0)
    settings = Settings((), batch_size=8)
    small, room, stops = place / "small", 512, []
    small.mkdir()

    def size() -> str:
        return f"size={room}k"

    def run(folder: Path):
        return batch.run(place / "night", place / "tasks.yaml", folder, gar, settings=settings)

    subprocess.run(["mount", "-t", "tmpfs", "-o", size(), "none", str(small)], check=True)
    try:
        while room < 64 << 10:
            try:
                run(small / "run")
                break
            except GARVideoError as error:
                done = answered_in(small / "run")
                stops.append({"room_kib": room, "answered": done, "said": str(error)})
            room += 96
            subprocess.run(["mount", "-o", f"remount,{size()}", str(small)], check=True)
        straight = run(place / "whole")
        equal = tables(small / "run") == tables(place / "whole")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    return {"stops": stops, "room_kib": room, "rows": straight.rows, "equal": equal}


# ---------------------------------------------------------------- against a straight loop


def ratio(place: Path, count: int) -> dict:
    """Must-show 7: the same work by a straight loop and by a run, in one process, in turn."""
    from gar_video import GARVideo

    clips(place / "night", count, seconds=3.0, side=(320, 240))
    (place / "still").mkdir()
    for n in range(max(1, count // 3)):
        long_video(place / "still" / f"{n}.mp4", 0.5, fps=10)
    gar = GARVideo.from_pretrained("nano", device="cpu", keep=0)
    described = "tasks:\n  - {name: what, describe: true, window_s: 1, max_new_tokens: 24}\n"
    return {
        "describe": _compared(place, gar, "night", "describe", described),
        "four tasks": _compared(place, gar, "night", "four", TASKS),
        "four tasks, followed": _compared(place, gar, "still", "auto", TASKS),
    }


def _compared(place: Path, gar, footage: str, name: str, tasks: str) -> dict:
    from gar_video.trackers.online import make_detector, make_tracker

    from gar_video import Tracks, Video, batch
    from gar_video.batch.clips import made_tracks
    from gar_video.batch.settings import Following

    (place / "tasks.yaml").write_text(tasks)
    auto = footage == "still"
    began, cpu = time.perf_counter(), spent()
    summary = batch.run(
        place / footage, place / "tasks.yaml", place / name, gar,
        tracks="auto" if auto else "beside", following=Following(tracker="iou"),
    )  # fmt: skip
    run_s, run_cpu = time.perf_counter() - began, spent() - cpu
    rows = list(batch.read_rows(place / name))
    began, cpu = time.perf_counter(), spent()
    same = 0
    if auto:
        # As one who has a detector and a tracker does it: every frame.
        for path in sorted((place / footage).glob("*.mp4")):
            video = Video(path)
            detect, track = make_detector("motion"), make_tracker("iou", 10.0)
            for frame in video:
                track(detect(frame), frame)
    for row in rows:
        # As somebody writes it who has a list of clips, objects and questions.
        video = Video(row["video"])
        beside = Path(row["video"]).with_suffix(".tracks.json")
        made = made_tracks(place / name, _recording(row["video"]))
        tracks = Tracks.load(made if auto else beside, video=video)
        when = (row["start_s"], row["end_s"])
        if row["kind"] == "describe":
            (one,) = gar.describe(
                video, tracks, objects=row["objects"], time=when, max_new_tokens=24
            )
        elif row["kind"] == "ask":
            one = gar.ask(video, tracks, row["question"], time=when, max_new_tokens=6)
        else:
            one = gar.choose(video, tracks, row["question"], row["options"], time=when)
        same += one.text == row["answer"]
    loop_s, loop_cpu = time.perf_counter() - began, spent() - cpu
    return {
        "rows": summary.rows, "same": same, "run_s": round(run_s, 1), "loop_s": round(loop_s, 1),
        "wall_ratio": round(loop_s / run_s, 2), "run_cpu_s": round(run_cpu, 1),
        "loop_cpu_s": round(loop_cpu, 1), "cpu_ratio": round(loop_cpu / run_cpu, 2),
    }  # fmt: skip


def _recording(source: str):
    from gar_video.batch.footage import Recording

    return Recording(source, "")


# ---------------------------------------------------------------- Ray


def ray(place: Path, count: int) -> dict:
    """Must-show 3: two workers of a local cluster, the second time one of them killed half-way."""
    import threading

    from gar_video import GARVideo, batch
    from gar_video.batch.ray_engine import worker_pids
    from gar_video.batch.settings import Settings

    clips(place / "night", count)
    (place / "tasks.yaml").write_text(TASKS)
    given = (place / "night", place / "tasks.yaml")
    settings = Settings((), batch_size=8)
    gar = GARVideo.from_pretrained("nano", device="cpu", keep=0)
    batch.run(*given, place / "local", gar, settings=settings)
    began = time.perf_counter()
    batch.run(*given, place / "ray", "nano", settings=settings, engine="ray", workers=2,
              device="cpu")  # fmt: skip
    seconds = time.perf_counter() - began
    victims: list[int] = []

    def kill(progress) -> None:
        if not victims and progress.answered >= progress.units.total // 3 > 0:
            pid = worker_pids()[0]
            victims.append(pid)
            threading.Thread(target=os.kill, args=(pid, signal.SIGKILL)).start()

    summary = batch.run(*given, place / "lost", "nano", settings=settings, engine="ray", workers=2,
                        device="cpu", progress=kill)  # fmt: skip
    local = tables(place / "local")
    return {
        "clips": count, "rows": summary.rows, "equal": tables(place / "ray") == local,
        "killed": len(victims), "equal_after_kill": tables(place / "lost") == local,
        "seconds": round(seconds, 1),
    }  # fmt: skip


SHOWS = {
    "broken": (broken, 200), "killed": (killed, 12), "memory": (memory, 0), "disk": (disk, 12),
    "ratio": (ratio, 8), "ray": (ray, 8),
}  # fmt: skip


if __name__ == "__main__":
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("show", choices=SHOWS)
    command.add_argument("--clips", type=int)
    command.add_argument("--out", type=Path, help="keep what is made here")
    asked = command.parse_args()
    show, usual = SHOWS[asked.show]
    where = asked.out or Path(tempfile.mkdtemp(prefix="gar-video-batch-"))
    where.mkdir(parents=True, exist_ok=True)
    try:
        told = show(where, asked.clips or usual)
    finally:
        if asked.out is None:
            shutil.rmtree(where, ignore_errors=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({"show": asked.show, **told, "peak_mib": peak}, ensure_ascii=False))
