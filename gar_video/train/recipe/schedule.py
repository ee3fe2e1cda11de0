"""The learning rate over a run."""

from __future__ import annotations

import math


def rate(step: int, steps: int, warmup: float, kind: str, final: float = 0.0) -> float:
    """Return the share of the highest rate at which a step is taken.

    Args:
        step: Steps taken before, from 0.
        steps: Steps of the run.
        warmup: Share of them that rises.
        kind: ``"cosine"`` or ``"constant"``.
        final: Where the cosine ends.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if kind == "constant":
        return 1.0
    done = (step - rising) / max(1, steps - rising)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))
