"""What ``gar-video batch search`` takes and finds, shown by hand.

    python -m benchmarks._batch_search rows [--rows N] [--out FOLDER]
    python -m benchmarks._batch_search planted [--clips N] [--out FOLDER]

Each prints one JSON line. ``rows`` writes rows straight into an index and times queries (targets:
a million rows in less than a second); ``planted`` renders clips, lets nano describe what is in them
(labels removed) and looks for every thing by its true look and way (target: 90 % among five hits).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from gar_video.batch.results import COLUMNS
from gar_video.batch.search_index import INDEX, Index
from gar_video.batch.searching import Only, search
from gar_video.batch.state import State

QUERIES = (
    "red car turning left", "purple bicycle near the gate", "person with a suitcase", "car",
    '"turns left" van', "a zebra behind the wall", "bicyc*",
)  # fmt: skip
COLOURS = ["red", "green", "blue", "white", "black", "grey", "yellow", "purple", "orange", "silver"]
THINGS = ["car", "van", "person", "dog", "bicycle", "truck", "bus", "child"]
DOINGS = (
    "turns left", "turns right", "stops", "waits", "goes straight on", "parks", "backs up",
    "carries a suitcase", "carries nothing", "disappears behind a wall",
)  # fmt: skip
PLACES = ["gate", "yard", "door", "corner", "fence", "bridge", "street", "roof"]
CAMERAS = 40
BEGIN = datetime(2026, 11, 1, tzinfo=timezone.utc)
TASKS = ("what", "way", "bag")


def rows(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Make up rows as a run would have them: 60 a recording, three tasks for each object."""
    dice = random.Random(seed)
    for number in range(count):
        video, inside = divmod(number, 60)
        camera, hour = video % CAMERAS, video // CAMERAS
        thing, colour = dice.choice(THINGS), dice.choice(COLOURS)
        doing, place, task = dice.choice(DOINGS), dice.choice(PLACES), TASKS[inside % 3]
        start_s = 10.0 * (inside // 3)
        begin = BEGIN + timedelta(hours=hour, seconds=start_s)
        answer = {
            "what": f"A {colour} {thing} {doing} near the {place}, then {dice.choice(DOINGS)}; "
            f"a {dice.choice(COLOURS)} {dice.choice(THINGS)} is behind it.",
            "way": doing,
            "bag": dice.choice(("No.", "Yes, a suitcase.", f"A {colour} bag.")),
        }[task]
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row.update(
            unit=f"{number:024x}", video=f"/footage/cam{camera:02d}/{hour:05d}.mp4",
            camera=f"cam{camera:02d}", wall_start=begin.isoformat(timespec="milliseconds"),
            wall_end=(begin + timedelta(seconds=10)).isoformat(timespec="milliseconds"),
            start_s=start_s, end_s=start_s + 10.0, objects=[inside // 3], labels=[thing],
            task=task, kind={"what": "describe", "way": "choose", "bag": "ask"}[task],
            question={"what": None, "way": "What does <1> do?", "bag": "Has <1> a bag?"}[task],
            answer=answer, thumbnail=f"thumbnails/{number % 256:02x}/{number:024x}.jpg",
        )  # fmt: skip
        yield row


def fill(run: Path, count: int) -> None:
    """Make a run with nothing in its state and so many rows in its index."""
    State(run, {"tasks": []}).close()
    with Index(run) as index:
        index.add(rows(count))


def time_rows(run: Path, count: int) -> dict[str, Any]:
    """Time queries over a filled index, each in a connection of its own as the command has it."""
    began = time.process_time()
    if not (run / INDEX).is_file():
        fill(run, count)
    built = time.process_time() - began
    day = BEGIN + timedelta(days=3)
    filters = {
        "": Only(),
        " (one camera)": Only(cameras=("cam07",)),
        " (one camera, one day)": Only(("cam07",), since=day, until=day + timedelta(days=1)),
    }
    took = {}
    for query in QUERIES:
        for name, only in filters.items():
            times, used = [], []
            for _ in range(3):
                began, cpu = time.perf_counter(), time.process_time()
                hits = search(run, query, only)
                times.append(time.perf_counter() - began)
                used.append(time.process_time() - cpu)
            figures = (statistics.median(times), statistics.median(used))
            took[query + name] = [*(round(one, 3) for one in figures), len(hits)]
    size = sum(path.stat().st_size for path in run.glob("search.sqlite*"))
    return {
        "rows": count, "built_cpu_s": round(built, 1), "index_mib": size >> 20,
        "slowest_s": max(value[0] for value in took.values()),
        "slowest_cpu_s": max(value[1] for value in took.values()), "queries": took,
    }  # fmt: skip


# ---------------------------------------------------------------- planted events


def plant(folder: Path, clips: int) -> list[tuple[str, int, str]]:
    """Render clips; return video, object and true words of everything in them."""
    from gar_video.synth.answers import moves
    from gar_video.synth.write import write_clip

    folder.mkdir(parents=True)
    planted = []
    for number in range(clips):
        path, tracks, truth = write_clip(
            folder / f"cam{number:02d}.mp4", 400 + number, num_objects=2, duration_s=2.0
        )
        known = json.loads(tracks.read_text())
        for thing in known["objects"]:
            thing["label"] = None  # or the label alone would be found
        tracks.write_text(json.dumps(known))
        told = json.loads(truth.read_text())
        truth.unlink()
        for thing, doing in zip(told["scene"]["objects"], told["objects"], strict=True):
            way = moves(doing["phases"][0]["act"]) if doing["phases"] else ""
            words = f"{thing['size']} {thing['color']} {thing['shape']} {way}"
            planted.append((str(path), thing["object_id"], words.strip()))
    return planted


def find_planted(
    folder: Path, planted: list[tuple[str, int, str]], among: int = 5
) -> tuple[float, list[str]]:
    """Describe all that is in clips and look for it; return the share found, and what was not."""
    from gar_video import batch

    tasks = folder / "tasks.yaml"
    tasks.write_text("tasks:\n  - {name: what, describe: true, max_new_tokens: 24}\n")
    batch.run(folder / "footage", tasks, folder / "run", "nano")
    missed = []
    for video, thing, words in planted:
        hits = search(folder / "run", words, limit=among)
        if (video, (thing,)) not in [(hit.video, hit.objects) for hit in hits]:
            missed.append(f"{words} ({Path(video).name} <{thing}>)")
    return 1 - len(missed) / len(planted), missed


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("what", choices=["rows", "planted"])
    command.add_argument("--rows", type=int, default=1_000_000)
    command.add_argument("--clips", type=int, default=25)
    command.add_argument("--out", type=Path)
    given = command.parse_args()
    with tempfile.TemporaryDirectory() as room:
        out = given.out or Path(room)
        if given.what == "rows":
            told = time_rows(out / "run", given.rows)
        else:
            planted = plant(out / "footage", given.clips)
            share, missed = find_planted(out, planted)
            told = {"things": len(planted), "found": round(share, 4), "missed": missed}
    json.dump(told, sys.stdout)
    print()


if __name__ == "__main__":
    main()
