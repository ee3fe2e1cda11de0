"""Small footage for the tests of runs, and openers that misbehave; imported by children, too."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from gar_video import Tracks, Video
from gar_video.synth.write import ClipWriter

TASKS = """
tasks:
  - name: what
    describe: true
    max_new_tokens: 12
  - name: colour
    ask: "What colour is <1>?"
    max_new_tokens: 4
  - name: way
    choose: "Which way does <1> move?"
    options: [left, right, up, down]
    window_s: 0.5
  - name: beside
    choose: "Is <1> left or right of <2>?"
    options: [left, right]
    pairs: {min_overlap_s: 0.5}
"""
COLOURS = ((220, 30, 30), (30, 60, 220))
W, H, FPS = 160, 128, 10


def draw(seconds: float, moving: bool = True, start: int = 0):
    """Frames of a red square that goes right and a blue one that stays, and their masks."""
    count = round(seconds * FPS)
    frames = np.full((count, H, W, 3), 90, np.uint8)
    masks = np.zeros((2, count, H, W), bool)
    for t in range(count):
        x = 10 + start + (3 * t if moving else 0)
        masks[0, t, 20:50, x : x + 30] = True
        masks[1, t, 70:100, 100:125] = True
        for mask, colour in zip(masks, COLOURS, strict=True):
            frames[t][mask[t]] = colour
    return frames, {7: masks[0], 9: masks[1]}


def write_clip(path: Path, seconds: float = 1.0, **how) -> Path:
    """Write a clip and its tracks beside it."""
    frames, masks = draw(seconds, **how)
    with ClipWriter(path, (W, H), FPS) as writer:
        for frame in frames:
            writer.write(frame)
    tracks = Tracks.from_masks(masks, labels={7: "square", 9: "block"})
    tracks.save(path.with_name(path.name.removesuffix(path.suffix) + ".tracks.json"))
    return path


def hangs_on_some(source: str, backend: str) -> Video:
    """Never opens what is named so, as a native decoder that spins."""
    if "hangs" in Path(source).name:
        time.sleep(600)
    return Video(source, backend=backend)
