"""Many suffixes on one prompt, whose keys and values are held and read once for all of them.

A batch of ordinary caches would repeat the prompt's keys and values in each row, and each step
would read all of them. Here all rows' queries meet the one copy in a single product, and their own
suffixes separately; both parts are joined under one softmax, so that the result is attention over
the whole, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

# Scores against the prompt that are held at a time: about what caches hold, or memory allows.
_CPU_SCORES, _ACCELERATOR_SCORES = 2**21, 2**27

KeysValues = tuple[torch.Tensor, torch.Tensor]


class SharedPrefixBatch:
    """Rows of suffixes on one prompt, run through a Llama decoder.

    Args:
        decoder: transformers' Llama without its head.
        prefix: Per layer the prompt's keys and values, ``[1, H, L, d]``.
        batch: Rows.
        room: Tokens that a row may have in all.
    """

    def __init__(
        self, decoder: nn.Module, prefix: Sequence[KeysValues], batch: int, room: int
    ) -> None:
        self._decoder = decoder
        self._prefix = prefix
        shape = (batch, prefix[0][0].shape[1], room, prefix[0][0].shape[3])
        self._own = [(keys.new_empty(shape), keys.new_empty(shape)) for keys, _ in prefix]
        self._length = 0

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, hidden_from: torch.Tensor | None
    ) -> torch.Tensor:
        """Append tokens to the rows.

        Args:
            ids: ``[B, S]`` int64.
            positions: ``[B, S]`` their places, counted from the prompt's beginning.
            hidden_from: ``[B, S, T]`` bool, which of the rows' T tokens so far, the new ones
                included, each new token must not see; None if it sees all.

        Returns:
            ``[B, S, D]`` hidden states.
        """
        decoder = self._decoder
        states: torch.Tensor = decoder.embed_tokens(ids)
        turns = decoder.rotary_emb(states, position_ids=positions)
        end = self._length + ids.shape[1]
        for number, layer in enumerate(decoder.layers):
            normed = layer.input_layernorm(states)
            states = states + self._attention(layer.self_attn, number, normed, turns, hidden_from)
            states = states + layer.mlp(layer.post_attention_layernorm(states))
        self._length = end
        normed_states: torch.Tensor = decoder.norm(states)
        return normed_states

    def _attention(
        self,
        module: nn.Module,
        number: int,
        states: torch.Tensor,
        turns: KeysValues,
        hidden_from: torch.Tensor | None,
    ) -> torch.Tensor:
        batch, count, _ = states.shape
        shape = (batch, count, -1, module.head_dim)
        query = module.q_proj(states).view(shape).transpose(1, 2)  # [B, Hq, S, d]
        new_keys = module.k_proj(states).view(shape).transpose(1, 2)  # [B, H, S, d]
        new_values = module.v_proj(states).view(shape).transpose(1, 2)
        query, new_keys = apply_rotary_pos_emb(query, new_keys, *turns)
        keys, values = self._own[number]
        end = self._length + count
        keys[:, :, self._length : end] = new_keys
        values[:, :, self._length : end] = new_values
        own = (keys[:, :, :end], values[:, :, :end])
        mixed = attend(query, self._prefix[number], own, hidden_from, module.scaling)
        projected: torch.Tensor = module.o_proj(mixed.transpose(1, 2).flatten(2))
        return projected

    def select_rows(self, rows: torch.Tensor) -> None:
        """Keep only some rows."""
        self._own = [(keys[rows], values[rows]) for keys, values in self._own]


def attend(
    query: torch.Tensor,
    prefix: KeysValues,
    own: KeysValues,
    hidden_from: torch.Tensor | None,
    scaling: float,
) -> torch.Tensor:
    """Attend to a prompt that all rows share and to each row's own tokens.

    Args:
        query: ``[B, Hq, S, d]``; heads in groups, one group for each key head.
        prefix: Keys and values ``[1, H, L, d]``.
        own: Keys and values ``[B, H, T, d]``.
        hidden_from: ``[B, S, T]`` bool, own tokens that must not be seen, or None.
        scaling: Of the scores.

    Returns:
        ``[B, Hq, S, d]`` in the query's dtype; computed in float32.
    """
    batch, num_heads, count, width = query.shape
    heads = prefix[0].shape[1]
    grouped = (query.float() * scaling).reshape(batch, heads, -1, width)  # [B, H, g*S, d]
    near = grouped @ own[0].float().transpose(2, 3)  # [B, H, g*S, T]
    if hidden_from is not None:
        groups = num_heads // heads
        near.unflatten(2, (groups, count)).masked_fill_(hidden_from[:, None, None], -torch.inf)
    near_top = near.amax(-1, keepdim=True)

    # All rows of a head meet the prompt in one product.
    flat = grouped.transpose(0, 1).reshape(heads, -1, width)  # [H, B*g*S, d]
    far_keys, far_values = prefix[0][0].float().transpose(1, 2), prefix[1][0].float()
    limit = _CPU_SCORES if query.device.type == "cpu" else _ACCELERATOR_SCORES
    step = max(1, limit // (heads * far_keys.shape[2]))
    far, tops, totals = torch.empty_like(flat), [], []
    for first in range(0, flat.shape[1], step):
        part = slice(first, first + step)
        scores = flat[:, part] @ far_keys  # [H, n, L]
        top = scores.amax(-1, keepdim=True)
        scores.sub_(top).exp_()
        far[:, part] = scores @ far_values
        tops.append(top)
        totals.append(scores.sum(-1, keepdim=True))

    def by_row(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(1, (batch, -1)).transpose(0, 1)  # [B, H, g*S, ...]

    far_top, far_total = by_row(torch.cat(tops, 1)), by_row(torch.cat(totals, 1))
    top = torch.maximum(far_top, near_top)
    near = near.sub_(top).exp_()
    shrunk = (far_top - top).exp_()
    total = near.sum(-1, keepdim=True) + far_total * shrunk
    mixed = (near @ own[1].float() + by_row(far) * shrunk) / total
    return mixed.reshape(batch, num_heads, count, width).to(query.dtype)
