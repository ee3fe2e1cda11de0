"""What LiveDescriber costs its loop, and whether its words are right.

Cost: a loop at 30 frames a second calls ``update`` on 1280x720 frames with moving objects, while a
stand-in for a model computes (matrix products) for a tenth of a second per question: 10 a second.
What counts is the wall time of ``update`` as a share of a frame's 33.3 ms, and the processor time
of the loop's own thread. Words: rendered clips with true tracks, all live descriptions by a
checkpoint. Run: ``python benchmarks/live_describer.py [--clips N] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import supervision as sv
import torch

import gar_video as gv
from gar_video.synth.descriptions import read
from gar_video.synth.render import render
from gar_video.synth.truth import sample

FPS, WIDTH, HEIGHT = 30, 1280, 720


class TenFramesASecond:
    """Takes a tenth of a second a question, computing all the while."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(config=SimpleNamespace(num_frames=16, tile_size=448))
        self.matrix = torch.rand(400, 400)
        self.answered = 0

    def describe(self, video: gv.Video, tracks: gv.Tracks, **_: Any) -> list[gv.Answer]:
        """Answer nothing of note, after a tenth of a second."""
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            self.matrix @ self.matrix
        self.answered += 1
        return [
            gv.Answer(
                question="", objects=tracks.object_ids, frames=tuple(range(len(video))),
                times_s=tuple(video.times_s.tolist()), visible={}, model="", text="words",
                token_ids=(), finish_reason="stop",
            )
        ]  # fmt: skip


def cost(seconds: float, objects: int, masks: bool) -> dict[str, float]:
    """Run the loop and return the shares of a frame's time, in percent."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (8, HEIGHT, WIDTH, 3), dtype=np.uint8)
    speed = rng.uniform(-3, 3, (objects, 2))
    start = np.stack([rng.uniform(0, WIDTH - 90, objects), rng.uniform(0, HEIGHT - 90, objects)], 1)
    model, wall, cpu = TenFramesASecond(), [], []
    with gv.LiveDescriber(model, every_s=1.0) as describer:  # type: ignore[arg-type]
        for number in range(int(seconds * FPS)):
            began = time.monotonic()
            corner = np.clip(start + speed * number, 0, (WIDTH - 90, HEIGHT - 90))
            found = sv.Detections(
                np.concatenate([corner, corner + 80], axis=1),
                mask=filled(corner) if masks else None,
                tracker_id=np.arange(objects) + number // 150,  # objects come and go
            )
            wall_began, cpu_began = time.perf_counter(), time.thread_time()
            describer.update(frames[number % 8], found)
            wall.append(time.perf_counter() - wall_began)
            cpu.append(time.thread_time() - cpu_began)
            time.sleep(max(0.0, 1 / FPS - (time.monotonic() - began)))
        stats = describer.stats
    share = 100 * FPS
    return {
        "objects": objects,
        "masks": masks,
        "mean": float(np.mean(wall)) * share,
        "median": float(np.median(wall)) * share,
        "p95": float(np.quantile(wall, 0.95)) * share,
        "worst": float(np.max(wall)) * share,
        "mean of the loop's own processor time": float(np.mean(cpu)) * share,
        "frames taken": stats.frames_taken,
        "frames dropped": stats.frames_dropped,
        "answers per second": model.answered / seconds,
    }


def filled(corners: np.ndarray) -> np.ndarray:
    masks = np.zeros((len(corners), HEIGHT, WIDTH), bool)
    for mask, (x, y) in zip(masks, corners.astype(int), strict=True):
        mask[y : y + 80, x : x + 80] = True
    return masks


def words(clips: int, model: str, every_s: float) -> dict[str, Any]:
    """Describe rendered clips live and return how many descriptions are right."""
    gar = gv.GARVideo.from_pretrained(model)
    counts: Counter[str] = Counter()
    for seed in range(9000, 9000 + clips):
        scene, _ = sample(seed)
        images, masks = render(scene, None, (448, 448))
        tracks = gv.Tracks.from_masks(dict(enumerate(masks, 1)), allow_empty=True)
        looks = {thing.object_id: (thing.color, thing.shape) for thing in scene.objects}
        given: list[gv.LiveAnswer] = []
        with gv.LiveDescriber(gar, every_s, on_answer=given.append, max_new_tokens=32) as describer:
            for index, image in enumerate(images):
                describer.update(image, tracks.detections(index), index / scene.fps)
                describer.wait()
        for one in given:
            said = read(one.text)
            color, shape = looks[one.object_id]
            counts["n"] += 1
            counts["color"] += said.color == color
            counts["shape"] += said.shape == shape
            counts["both"] += (said.color, said.shape) == (color, shape)
            if one.is_last:
                counts["last n"] += 1
                counts["last both"] += (said.color, said.shape) == (color, shape)
    low, high = wilson(counts["both"], counts["n"])
    return {**counts, "share right": counts["both"] / counts["n"], "from": low, "to": high}


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    share = right / n
    middle = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    print(machine | {"load": os.getloadavg()[0], "torch threads": torch.get_num_threads()})
    found: dict[str, Any] = {"machine": machine, "cost": [], "words": None}
    for objects, masks in ((5, False), (20, False), (5, True)):
        found["cost"].append(cost(given.seconds, objects, masks))
        print({key: round(value, 2) for key, value in found["cost"][-1].items()})
    if given.clips:
        found["words"] = words(given.clips, given.model, 1.0)
        print(found["words"])
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
