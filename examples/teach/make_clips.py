"""Draw clips for teaching nano GAR a shape and a motion that it has no words for yet.

`python examples/teach/make_clips.py teach/train --count 400 --seed 1` writes mp4 files and
`data.jsonl`: half of the things are hourglasses (new), half of them zigzag (new), the others have
shapes and directions that nano knows, and are called by the words that nano uses. Replace it by
whatever writes such lines about your own clips.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from gar_video import masks

SIDE, FRAMES, FPS, FINE = 160, 30, 15, 2
NEW_SHAPE, NEW_MOTION = "hourglass", "zigzag"
# Corners in order, degrees on a circle; an hourglass crosses itself.
CORNERS = {
    "triangle": (-90, 30, 150), "square": (45, 135, 225, 315), "circle": tuple(range(0, 360, 6)),
    "hourglass": (55, 125, 305, 235),
}  # fmt: skip
COLORS = {
    "red": (220, 30, 35), "green": (40, 165, 60), "blue": (35, 80, 220), "yellow": (250, 220, 40),
    "cyan": (40, 205, 225), "orange": (250, 140, 20), "purple": (150, 50, 200),
}  # fmt: skip
WAYS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
ASKED = {
    "shape": ("What shape is <1>?", "Which shape does <1> have?", "Shape of <1>?"),
    "motion": ("How does <1> move?", "Which way does <1> move?", "What does <1> do?"),
    "color": ("What color is <1>?",),
}


def path_of(rng: np.random.Generator, way: str, zigzag: bool, radius: float) -> np.ndarray:
    """Return ``(FRAMES, 2)`` centres as shares of the side."""
    t = np.linspace(0, 1, FRAMES)
    along = (t - 0.5) * rng.uniform(0.4, 0.98 - 2 * radius)
    across = np.full(FRAMES, rng.uniform(-0.45, 0.45) * (1 - 2.4 * radius))
    if zigzag:
        legs, first = int(rng.integers(3, 5)), rng.choice([-1, 1])
        wave = 2 * np.abs((t * legs) % 2 - 1) - 1  # 1 … -1 … 1
        across = first * wave * rng.uniform(0.2, 0.46 - radius)
    step = np.array(WAYS[way])
    return 0.5 + along[:, None] * step + across[:, None] * step[::-1]


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Return frames ``(T, S, S, 3)``, masks ``(T, S, S)`` and what is true."""
    shape = NEW_SHAPE if rng.random() < 0.5 else str(rng.choice(["triangle", "square", "circle"]))
    zigzag = bool(rng.random() < 0.5)
    color, way = str(rng.choice(list(COLORS))), str(rng.choice(list(WAYS)))
    radius = rng.uniform(0.1, 0.17)
    angles = np.radians(CORNERS[shape]) + rng.uniform(-0.2, 0.2)
    corners = np.stack([np.cos(angles), np.sin(angles)], 1)
    ground = rng.integers(30, 226, 3) if rng.random() < 0.5 else rng.integers(30, 226, 1).repeat(3)
    while np.abs(ground - COLORS[color]).sum() < 150:
        ground = rng.integers(30, 226, 3)
    frames, regions = [], []
    for centre in path_of(rng, way, zigzag, radius):
        points = np.rint((centre + radius * corners) * SIDE * FINE).astype(np.int32)
        picture = np.full((SIDE * FINE, SIDE * FINE, 3), ground, np.uint8)
        region = np.zeros((SIDE * FINE, SIDE * FINE), np.uint8)
        cv2.fillPoly(picture, [points], COLORS[color])
        cv2.fillPoly(region, [points], 1)
        frames.append(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
        regions.append(cv2.resize(region, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0)
    truth = {"shape": shape, "motion": NEW_MOTION if zigzag else way, "color": color}
    return np.stack(frames), np.stack(regions), truth


def write_video(path: Path, frames: np.ndarray) -> None:
    """Write frames as H.264."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "veryfast"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())


def main(folder: Path, count: int, seed: int) -> Path:
    """Write clips and what is asked about them; returns the file of lines."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for n in range(count):
        frames, regions, truth = draw(rng)
        write_video(folder / f"{n:04d}.mp4", frames)
        record: dict[str, Any] = {
            "video": f"{n:04d}.mp4",
            "objects": {"1": {str(t): masks.encode(region) for t, region in enumerate(regions)}},
            "questions": [
                {"question": text, "answer": truth[kind], "kind": kind}
                for kind, texts in ASKED.items()
                for text in texts
            ],
        }
        lines.append(json.dumps(record))
    path = folder / "data.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"wrote {main(args.folder, args.count, args.seed)}")
