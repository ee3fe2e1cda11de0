"""SAM 2's spatial memories in cells of 2x2 places, a key and a value for each cell.

Memories change slowly from place to place, and every place of a frame reads all of them: with a
quarter of the keys attention to memory costs about a quarter. A cell's memory is the mean of its
places'; at the grid's right and lower edge, where its side is odd, cells have two places or one.

A softmax over keys that are alike in fours gives each four a quarter of the weight it gives one of
them alone. So a cell's score is raised by the logarithm of how many places it stands for: where
these are alike, attention is what it was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

CELL = 2  # places a side
PROMPTED_WHOLE = True  # whether memories of prompted frames stay as they are


def pooled_map(values: torch.Tensor) -> torch.Tensor:
    """Average ``[B, C, H, W]`` over cells.

    Returns:
        ``[B, C, ceil(H / 2), ceil(W / 2)]`` of the same dtype.
    """
    return functional.avg_pool2d(values, CELL, ceil_mode=True, count_include_pad=False)


def cell_turns(turns: torch.Tensor) -> torch.Tensor:
    """Return the turns at the centres of cells.

    A turn's angles are linear in x and y, so that the mean of a cell's turns points where its
    centre's does.

    Args:
        turns: ``[P, d]`` complex, of P places on a square.

    Returns:
        ``[p, d]`` complex, of length 1.
    """
    mean = torch.complex(*(_pooled(part) for part in (turns.real, turns.imag)))
    return mean / mean.abs()


def log_counts(side: int, device: torch.device) -> torch.Tensor:
    """Return the logarithm of the number of places in each cell, ``[p]``, of a square."""
    along = torch.full((-(-side // CELL),), float(CELL), device=device)
    along[-1] = side - CELL * ((side - 1) // CELL)
    return torch.outer(along, along).log().flatten()


def places_of(
    turns: torch.Tensor, num_whole: int, num_turned: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return turns and logarithms of counts of memories, the first ones whole, the others pooled.

    Args:
        turns: ``[P, d]`` complex, of a frame's places.
        num_whole: How many memories are whole.
        num_turned: Tokens of all.

    Returns:
        ``[num_turned, d]`` complex and ``[num_turned]``.
    """
    small = cell_turns(turns)
    num_pooled, rest = divmod(num_turned - num_whole * len(turns), len(small))
    assert not rest, "memories of unknown sizes"
    counts = log_counts(_side(len(turns)), turns.device)
    return (
        torch.cat([turns] * num_whole + [small] * num_pooled),
        functional.pad(counts.repeat(num_pooled), (num_whole * len(turns), 0)),
    )


class PooledBank:
    """Pools the memories that a session keeps, each once.

    Args:
        predictor: sam2's.
    """

    def __init__(self, predictor: Any) -> None:
        self._side = predictor.sam_image_embedding_size
        # Where sam2 chooses among prompted frames, some are read in between the others.
        self._keeps_prompted = PROMPTED_WHOLE and predictor.max_cond_frames_in_attn == -1
        self._places: list[torch.Tensor] | None = None

    def num_whole(self, outputs: dict[str, dict[int, Any]]) -> int:
        """Return how many memories of an object are whole; sam2 reads these first."""
        return len(outputs["cond_frame_outputs"]) if self._keeps_prompted else 0

    def pool(self, outputs: dict[str, dict[int, Any]]) -> None:
        """Pool an object's memories, as far as they are not yet."""
        for kind, kept in outputs.items():
            if kind == "cond_frame_outputs" and self._keeps_prompted:
                continue
            for frame, output in kept.items():
                memory = output["maskmem_features"]
                if memory is not None and memory.shape[-1] == self._side > 1:
                    kept[frame] = self._pooled(output)

    def _pooled(self, output: dict[str, Any]) -> dict[str, Any]:
        memory = output["maskmem_features"]
        if self._places is None:  # the same on all frames
            self._places = [pooled_map(place[:1]) for place in output["maskmem_pos_enc"]]
        return {
            **output,
            "maskmem_features": pooled_map(memory.float()).to(memory.dtype),
            "maskmem_pos_enc": self._places,
        }


def _pooled(values: torch.Tensor) -> torch.Tensor:
    """Average ``[P, d]`` over the cells of a square: ``[p, d]``."""
    side = _side(len(values))
    return pooled_map(values.T.reshape(1, -1, side, side))[0].flatten(1).T


def _side(count: int) -> int:
    return round(count**0.5)
