"""What all tests share: offline, one thread, small clips of known content, a random checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tests run side by side: threads that wait for each other would waste whole time slices.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(autouse=True)
def own_pillow():
    """Put Pillow's opener back: ultralytics replaces it by one that would install packages."""
    from PIL import Image

    opener = Image.open
    yield
    Image.open = opener


DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """The parity material: a random checkpoint in the published format, inputs, answers."""
    return DATA / "parity"


@pytest.fixture(scope="session")
def loaded_gar(parity_dir):
    """One random checkpoint for the whole session; use `gar`, which forgets clips between tests."""
    from gar_video import GARVideo

    return GARVideo.from_pretrained(parity_dir / "checkpoint", device="cpu")


@pytest.fixture
def gar(loaded_gar):
    """A random GAR checkpoint of the published format on the CPU."""
    loaded_gar.forget()
    yield loaded_gar
    loaded_gar.forget()


@pytest.fixture(scope="session")
def squares():
    """24 frames of 96x64 with three squares: 1 stays, 2 leaves after frame 11, 3 comes at 18."""
    from gar_video import Tracks, Video

    rng = np.random.default_rng(0)
    frames = rng.integers(90, 110, (24, 64, 96, 3), dtype=np.uint8)
    masks = {i: np.zeros((24, 64, 96), dtype=bool) for i in (1, 2, 3)}
    for t in range(24):
        masks[1][t, 8:24, 4 + 2 * t : 20 + 2 * t] = True
        if t < 12:
            masks[2][t, 40:60, 30:44] = True
        if t >= 18:
            masks[3][t, 30:50, 70:90] = True
    colours = {1: (220, 30, 30), 2: (30, 60, 220), 3: (40, 200, 60)}
    for i, mask in masks.items():
        frames[mask] = colours[i]
    return Video(frames, fps=8), Tracks.from_masks(masks)
