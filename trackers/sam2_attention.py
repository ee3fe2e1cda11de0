"""SAM 2's memory attention for objects of one frame, without what the objects have in common.

The same sums as sam2's, in an order that costs less, so that results differ by rounding:

* before the first layer meets memories, all objects are the same frame: its self-attention is
  computed once for all of them;
* on the CPU attention mixes the memories themselves, whose width is a fraction of the values', and
  what was mixed becomes output at once: ``(A (M V)) W = (A M) (V W)``;
* keys are turned by their positions in place.

Memories may be pooled (``sam2_pooling``): each key then stands for a cell of places, is turned as
one in the cell's centre, and weighs as many as it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from gar_video.trackers.sam2_pooling import places_of
from torch.nn import functional

# Scores that are held at a time: about what caches hold.
_SCORES = 2**21
_FEWEST_ROWS = 64  # of queries, or products are too thin to be fast


@contextmanager
def shared_frame(module: Any, num_whole: int | None = None) -> Iterator[None]:
    """Let a memory attention share what objects have in common, where its layers are as expected.

    Args:
        module: sam2's ``MemoryAttention``.
        num_whole: As for ``attend``.
    """
    if not as_expected(module):
        yield
        return
    own = vars(module).get("forward")
    module.forward = lambda *args, **kwargs: attend(
        module, *args, **{**kwargs, "num_whole": num_whole}
    )
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def as_expected(module: Any) -> bool:
    """Whether a memory attention is of the kind that is computed here; others are sam2's."""
    from sam2.modeling.sam.transformer import RoPEAttention

    return module.batch_first and all(
        isinstance(part, RoPEAttention) and part.num_heads == 1
        for layer in module.layers
        for part in (layer.self_attn, layer.cross_attn_image)
    )


def attend(
    module: Any,
    curr: Any,
    memory: torch.Tensor,
    curr_pos: Any = None,
    memory_pos: torch.Tensor | None = None,
    num_obj_ptr_tokens: int = 0,
    num_whole: int | None = None,
) -> torch.Tensor:
    """Run a memory attention on one frame's features and the memories of several objects.

    Args:
        module: sam2's ``MemoryAttention``, in evaluation mode.
        curr: ``[P, B, C]`` features of the frame, alike for all objects, or a list of this one.
        memory: ``[L, B, M]`` memories, then the tokens of object pointers.
        curr_pos: ``[P, B, C]``, or a list of this one.
        memory_pos: ``[L, B, M]``.
        num_obj_ptr_tokens: How many of the L are pointers' tokens.
        num_whole: How many memories, the first ones, are whole where the others are pooled; all
            are if None.

    Returns:
        ``[P, B, C]``.
    """
    features = curr[0] if isinstance(curr, list) else curr
    places = curr_pos[0] if isinstance(curr_pos, list) else curr_pos
    states, place = (values[:, :1].transpose(0, 1) for values in (features, places))  # [1, P, C]
    if module.pos_enc_at_input:
        states = states + 0.1 * place
    values = memory.transpose(0, 1).contiguous()  # [B, L, M]
    placed = values if memory_pos is None else values + memory_pos.transpose(0, 1)
    num_turned = values.shape[1] - num_obj_ptr_tokens
    for layer in module.layers:
        states = states + _to_itself(layer, states, place)
        keys = placed if layer.pos_enc_at_cross_attn_keys else values
        states = states + _to_memory(layer, states, place, keys, values, num_turned, num_whole)
        hidden = layer.linear1(layer.norm3(states))
        hidden = hidden.relu_() if layer.activation is functional.relu else layer.activation(hidden)
        states = states + layer.linear2(hidden)
    normed: torch.Tensor = module.norm(states)
    return normed.transpose(0, 1)


def _to_itself(layer: Any, states: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    attention = layer.self_attn
    normed = layer.norm1(states)
    placed = normed + place if layer.pos_enc_at_attn else normed
    turns = _turns(attention, states)
    query, key = (_turned(part(placed), turns) for part in (attention.q_proj, attention.k_proj))
    count, places, width = states.shape
    # With fewer places than channels, making one projection of two costs more than it saves.
    if query.device.type == "cpu" and count * places > width:
        weight, bias = _through(attention)
        values = functional.linear(normed, weight)[:, None]
        mixed = functional.scaled_dot_product_attention(query[:, None], key[:, None], values)
        return mixed[:, 0] + bias
    mixed = functional.scaled_dot_product_attention(
        query[:, None], key[:, None], attention.v_proj(normed)[:, None]
    )
    projected: torch.Tensor = attention.out_proj(mixed[:, 0])
    return projected


def _to_memory(
    layer: Any,
    states: torch.Tensor,
    place: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    num_turned: int,
    num_whole: int | None,
) -> torch.Tensor:
    attention = layer.cross_attn_image
    normed = layer.norm2(states)
    if layer.pos_enc_at_cross_attn_queries:
        normed = normed + place
    turns = _turns(attention, states)
    query = _turned(attention.q_proj(normed), turns).expand(len(keys), -1, -1)  # [B, P, d]
    key = attention.k_proj(keys)  # [B, L, d]
    extra = None
    if num_whole is not None:
        turns, counts = places_of(turns, num_whole, num_turned)
        extra = functional.pad(counts, (0, key.shape[1] - num_turned)).to(key.dtype)
    _turned(key[:, :num_turned], turns)
    if query.device.type == "cpu":
        return functional.linear(_mix(query, key, values, extra), *_through(attention))
    added = None if extra is None else extra[None]
    mixed = functional.scaled_dot_product_attention(
        query[:, None], key[:, None], attention.v_proj(values)[:, None], attn_mask=added
    )
    projected: torch.Tensor = attention.out_proj(mixed[:, 0])
    return projected


def _through(attention: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of values' and output's projections in one.

    Attention's shares add up to 1, so that the values' bias goes through it as it is.
    """
    weight, bias = attention.out_proj.weight, attention.out_proj.bias
    value = attention.v_proj
    return weight @ value.weight, weight @ value.bias + bias


def _mix(
    query: torch.Tensor, key: torch.Tensor, values: torch.Tensor, extra: torch.Tensor | None = None
) -> torch.Tensor:
    """Return ``[B, P, M]``: attention of ``[B, P, d]`` to ``[B, L, d]`` mixing ``[B, L, M]``.

    ``extra`` ``[L]`` is added to the keys' scores.
    """
    batch, count, width = query.shape
    query = query * width**-0.5
    length = key.shape[1]
    if batch * count * length <= _SCORES:
        scores = query @ key.transpose(1, 2)
        scores = scores if extra is None else scores.add_(extra)
        return scores.softmax(-1) @ values
    mixed = query.new_empty((batch, count, values.shape[2]))
    step = max(_FEWEST_ROWS, _SCORES // length)
    for row in range(batch):
        turned = key[row].T
        for first in range(0, count, step):
            part = slice(first, first + step)
            scores = query[row, part] @ turned
            scores = scores if extra is None else scores.add_(extra)
            mixed[row, part] = scores.softmax(-1) @ values[row]
    return mixed


def _turns(attention: Any, states: torch.Tensor) -> torch.Tensor:
    """Return ``[P, d / 2]`` complex turns of P places on a square."""
    count = states.shape[1]
    if len(attention.freqs_cis) != count or attention.freqs_cis.device != states.device:
        side = round(count**0.5)
        attention.freqs_cis = attention.compute_cis(end_x=side, end_y=side).to(states.device)
    turns: torch.Tensor = attention.freqs_cis
    return turns


def _turned(values: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turn ``[B, n * P, d]`` by its places; in place where the number type allows it."""
    pairs = (len(values), values.shape[1] // len(turns), *turns.shape, 2)
    if values.dtype == torch.float32:
        torch.view_as_complex(values.view(pairs)).mul_(turns)
        return values
    turned = torch.view_as_real(torch.view_as_complex(values.float().reshape(pairs)) * turns)
    return values.copy_(turned.reshape(values.shape))
