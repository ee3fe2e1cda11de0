"""How many answers a checkpoint gets right on sources of samples, many to a pass.

An answer is right if every token of it is the likeliest one after the true ones before it: exactly
when greedy decoding would say it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gar_video.checkpoint import load_checkpoint
from gar_video.processor import GARProcessor
from gar_video.train.recipe.config import from_dict
from gar_video.train.recipe.data.examples import Maker
from gar_video.train.recipe.data.mixture import Stream, open_sources
from gar_video.train.recipe.rows import RowMaker, batch_rows
from gar_video.train.recipe.step import TrainingStep


@dataclass(frozen=True)
class Checked:
    """A question that was asked.

    Attributes:
        clip: Which clip it is about, counted from 0.
        kind: What it asks.
        answer: The true answer.
        right: Whether it was answered so.
    """

    clip: int
    kind: str
    answer: str
    right: bool


def check(
    model: str | os.PathLike[str],
    data: dict[str, Any],
    clips: int,
    *,
    seed: int = 1_000_003,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Checked]:
    """Ask a checkpoint what a source of samples asks; the same seed asks the same.

    Args:
        model: The checkpoint.
        data: The source, as in a configuration's ``data``.
        clips: How many samples; of files, each once before any comes again.
        seed: Which samples and questions are drawn; not a training run's own.
        device: Where to compute.
        progress: Called with (clips done, all clips).

    Raises:
        TrainingError: If the source cannot be read.
        CheckpointError: If there is no such checkpoint.
    """
    config = from_dict({"model": str(model), "output": "unused", "data": [data]})
    loaded = load_checkpoint(model, device=device, dtype="float32")
    processor = GARProcessor(loaded.model.config, loaded.tokenizer, loaded.image_settings)
    maker = Maker(processor, processor.context_length)
    stream = Stream(
        open_sources(config, maker), [1.0], RowMaker(processor, maker.context), seed=seed
    )
    step = TrainingStep(loaded.model.eval())
    where = loaded.model.get_input_embeddings().weight.device
    found: list[Checked] = []
    for clip in range(clips):
        batch = batch_rows([stream.next_row()])
        with torch.inference_mode():
            _, right = step(batch.to(where, loaded.model.floating_dtype))
        for n, (kind, good) in enumerate(zip(batch.kinds, right.tolist(), strict=True)):
            answer = processor.decode(batch.labels[batch.owners == n].tolist())
            found.append(Checked(clip, kind, answer, bool(good)))
        progress(clip + 1, clips)
    return found


def difference(
    before: Sequence[Checked], after: Sequence[Checked], draws: int = 2000
) -> tuple[float, float, float]:
    """Return how much the share of right answers has changed, with a 95 % interval.

    The same questions must have been asked. Clips are drawn again with replacement (bootstrap), as
    questions about one clip are right or wrong together.

    Returns:
        The change of the share, and the ends of its interval.
    """
    clips = np.array([one.clip for one in before])
    gain = np.array(
        [int(b.right) - int(a.right) for a, b in zip(before, after, strict=True)], dtype=float
    )
    names, places = np.unique(clips, return_inverse=True)
    sums = np.bincount(places, gain, minlength=len(names))
    counts = np.bincount(places, minlength=len(names))
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(names), size=(draws, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(gain.mean()), float(low), float(high)
