"""Windowed attention of SAM 2's image encoder without computing what pads its windows.

Where a map's side is no multiple of a window's, the last windows are filled up with zeros, which
sam2 takes through all products: at 256 pixels hiera-t makes 28x28 places of 16x16. All zeros give
the same key and value (the projection's bias), so one of them is enough, its score raised by the
logarithm of how many there are. The same sums, rounded otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional


@contextmanager
def unpadded_windows(trunk: Any) -> Iterator[None]:
    """Let the blocks of a trunk leave out padding, on the CPU and where they are as expected.

    Elsewhere padding is cheap and further launches are not.

    Args:
        trunk: sam2's ``Hiera``, in evaluation mode.
    """
    changed = [block for block in getattr(trunk, "blocks", ()) if _as_expected(block)]
    for block in changed:
        block.forward = _Unpadded(block)
    try:
        yield
    finally:
        for block in changed:
            del block.forward


def _as_expected(block: Any) -> bool:
    from sam2.modeling.backbones.hieradet import MultiScaleAttention, MultiScaleBlock

    return (
        type(block) is MultiScaleBlock
        and type(block.attn) is MultiScaleAttention
        and block.window_size > 0
        and "forward" not in vars(block)
        and block.attn.qkv.bias is not None
        and block.attn.qkv.weight.device.type == "cpu"
    )


class _Unpadded:
    """A block's forward."""

    def __init__(self, block: Any) -> None:
        self._block = block

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Take ``[B, H, W, C]`` to what sam2's block makes of it."""
        block = self._block
        size, stride = block.window_size, block.q_stride or (1, 1)
        height, width = states.shape[1:3]
        padded = height % size or width % size
        # A pool's cell must lie in the map or beside it.
        if not padded or any(side % s for side in (height, width, size) for s in stride):
            own: torch.Tensor = type(block).forward(block, states)
            return own
        normed = block.norm1(states)
        kept = states
        if block.dim != block.dim_out:
            kept = block.proj(normed)
            if block.pool is not None:
                kept = block.pool(kept.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        states = kept + attend_in_windows(block.attn, normed, size, stride)
        done: torch.Tensor = states + block.mlp(block.norm2(states))
        return done


def attend_in_windows(
    attention: Any, values: torch.Tensor, size: int, stride: tuple[int, int] = (1, 1)
) -> torch.Tensor:
    """Run an attention in windows, the last ones filled up with zeros.

    Args:
        attention: sam2's ``MultiScaleAttention``.
        values: ``[B, H, W, C]``, sides being multiples of the stride's.
        size: Places a side of a window.
        stride: Of the queries' pooling.

    Returns:
        ``[B, H / stride, W / stride, C']``.
    """
    batch, height, width, _ = values.shape
    heads = attention.num_heads
    made = attention.qkv(values).unflatten(-1, (3, heads, -1))  # [B, H, W, 3, heads, c]
    zero = attention.qkv.bias.to(made.dtype).view(3, heads, 1, -1)  # what a zero becomes
    down, right = stride
    mixed = made.new_empty((batch, height // down, width // right, heads * made.shape[-1]))
    for top, bottom, high in _spans(height, size):
        for left, end, wide in _spans(width, size):
            part = made[:, top:bottom, left:end]
            part = part.unflatten(2, (-1, wide)).unflatten(1, (-1, high))
            # [B, rows, high, columns, wide, 3, heads, c] -> [3, B, rows, columns, heads, ...]
            query, key, value = part.permute(5, 0, 1, 3, 6, 2, 4, 7)
            windows = query.shape[:3]
            query, key, value = (part.flatten(0, 2) for part in (query, key, value))
            if stride != (1, 1):
                query = query.unflatten(2, (-1, down)).unflatten(4, (-1, right)).amax((3, 5))
            found = _attend(query, key, value, zero, size**2 - high * wide)
            found = found.unflatten(2, (high // down, wide // right)).unflatten(0, windows)
            # [B, rows, columns, heads, high, wide, c] -> [B, rows, high, columns, wide, heads, c]
            found = found.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)
            mixed[:, top // down : bottom // down, left // right : end // right] = found
    projected: torch.Tensor = attention.proj(mixed)
    return projected


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, zero: torch.Tensor, count: int
) -> torch.Tensor:
    """Attend in ``[n, heads, high, wide, c]`` and to ``count`` zeros besides.

    Returns:
        ``[n, heads, places, c]``.
    """
    query, key, value = (part.flatten(2, 3) for part in (query, key, value))
    if not count:
        return functional.scaled_dot_product_attention(query, key, value)
    key, value = (
        torch.cat([part, one.expand(len(part), -1, -1, -1)], 2)
        for part, one in ((key, zero[1]), (value, zero[2]))
    )
    extra = key.new_zeros(key.shape[2])
    extra[-1] = math.log(count)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=extra.expand(1, -1))


def _spans(side: int, size: int) -> list[tuple[int, int, int]]:
    """Return start, end and window's side of the whole windows, and of what is left."""
    whole = side - side % size
    spans = [(0, whole, size), (whole, side, side - whole)]
    return [span for span in spans if span[0] < span[1]]
