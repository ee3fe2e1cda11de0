"""Different prompts run together: clips and objects of whichever videos in one pass of the model.

``GARVideo`` asks many questions on one prompt. A run has many prompts with few questions each, so
here prompts are encoded side by side, padded to one length, and every question is a row that meets
the keys and values of its own prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from gar_video.generation import Decoder
from gar_video.model import FeatureMap, GARModel, ModelInputs

KeysValues = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Prompts:
    """Encoded prompts.

    Attributes:
        layers: Per decoder layer keys and values ``[P, H, L, d]``, padded at their ends.
        lengths: Tokens of each prompt.
    """

    layers: tuple[KeysValues, ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of questions, each on one of some prompts.

    Attributes:
        prompts: The prompts.
        which: For each row the index of its prompt.
    """

    prompts: Prompts
    which: tuple[int, ...]

    # What Decoder asks of a prompt's cache; rows have room of their own and leave prompts alone.
    length = 0

    def rewind(self, length: int) -> None:
        """Do nothing: prompts are not written to."""


def join(inputs: Sequence[ModelInputs]) -> ModelInputs:
    """Put prompts into one batch, padded at their ends.

    Args:
        inputs: Prompts of one sequence each.
    """
    longest = max(one.input_ids.shape[1] for one in inputs)

    def padded(name: str) -> torch.Tensor:
        return torch.cat(
            [functional.pad(row := getattr(one, name), (0, longest - row.shape[1]))
             for one in inputs]
        )  # fmt: skip

    boxes, maps, masks = [], [], []
    tiles = pictures = 0
    for one in inputs:
        own = one.boxes.clone()
        own[:, 0] += pictures
        boxes.append(own)
        maps += [
            FeatureMap(place.first_tile + tiles, place.rows, place.columns)
            for place in one.feature_maps
        ]
        pictures, tiles = pictures + len(one.feature_maps), tiles + len(one.pixel_values)
        blank = torch.zeros_like(one.pixel_values)
        masks.append(blank if one.mask_values is None else one.mask_values)
    return ModelInputs(
        input_ids=padded("input_ids"),
        pixel_values=torch.cat([one.pixel_values for one in inputs]),
        mask_values=torch.cat(masks),
        image_positions=padded("image_positions"),
        region_positions=padded("region_positions"),
        boxes=torch.cat(boxes),
        feature_maps=tuple(maps),
    )


class ManyDecoder(Decoder):
    """Runs rows on prompts of their own: ``Decoder`` with ``Rows`` for a prefix."""

    @torch.inference_mode()
    def encode(self, inputs: Sequence[ModelInputs]) -> Prompts:
        """Run prompts together.

        Args:
            inputs: Prompts of one sequence each, in main memory.

        Returns:
            Their keys and values.
        """
        model: GARModel = self.model
        lengths = tuple(one.input_ids.shape[1] for one in inputs)
        batch = join(inputs).to(self._device, model.floating_dtype)
        # Padding stands behind each prompt, where causal attention does not look.
        cache = self.prefill(model.embed(batch))
        return Prompts(tuple(cache.layers_held()), lengths)

    def _run(  # type: ignore[override]
        self, prefix: Rows, suffixes: Sequence[Sequence[int]], room: int
    ) -> tuple[torch.Tensor, _OwnRows]:
        longest = max(len(suffix) for suffix in suffixes)
        rows = _OwnRows(self.model.language_model, prefix, longest + room)
        return rows.start(suffixes), rows


class _OwnRows:
    """Suffixes, each on a prompt of its own, padded at their beginnings.

    Keys stand in three parts: the prompt with its padding, the suffix after its padding, and what
    is generated. What is padding is hidden from attention.
    """

    def __init__(self, decoder: torch.nn.Module, rows: Rows, room: int) -> None:
        self._decoder = decoder
        layers = rows.prompts.layers
        device = layers[0][0].device
        which = torch.tensor(rows.which, device=device)
        self._begin = torch.tensor(rows.prompts.lengths, device=device)[which]  # [R]
        wide = int(self._begin.max())
        self._kept = [(_roomy(keys, which, wide, room), _roomy(values, which, wide, room))
                      for keys, values in layers]  # fmt: skip
        at = torch.arange(wide, device=device)
        self._seen = at < self._begin[:, None]  # [R, columns so far]
        self._padding = torch.zeros_like(self._begin)
        self._end = wide
        self._wide = wide

    def start(self, suffixes: Sequence[Sequence[int]]) -> torch.Tensor:
        """Run the suffixes; return ``[R, S, D]`` hidden states, right-aligned."""
        device = self._begin.device
        longest = max(len(suffix) for suffix in suffixes)
        padded = [[0] * (longest - len(suffix)) + list(suffix) for suffix in suffixes]
        ids = torch.tensor(padded, device=device)  # [R, S]
        self._padding = torch.tensor([longest - len(s) for s in suffixes], device=device)
        at = torch.arange(longest, device=device)
        own = (at <= at[:, None]) & (at >= self._padding[:, None])[:, None]  # [R, S, S]
        # A padding token sees itself, so that nothing is divided by zero.
        own[:, at, at] = True
        before = self._seen[:, None].expand(-1, longest, -1)
        positions = self._begin[:, None] + (at - self._padding[:, None]).clamp(min=0)
        self._seen = torch.cat([self._seen, at >= self._padding[:, None]], 1)
        return self._forward(ids, positions, torch.cat([before, own], 2))

    def go_on(self, tokens: torch.Tensor) -> torch.Tensor:
        """Run one more token of each row; return ``[R, 1, D]`` hidden states."""
        positions = (self._begin + self._end - self._wide - self._padding)[:, None]
        self._seen = functional.pad(self._seen, (0, 1), value=True)
        return self._forward(tokens[:, None], positions, self._seen[:, None])

    def select_rows(self, rows: torch.Tensor) -> None:
        """Keep only some rows."""
        self._kept = [(keys[rows], values[rows]) for keys, values in self._kept]
        self._begin, self._padding = self._begin[rows], self._padding[rows]
        self._seen = self._seen[rows]

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, seen: torch.Tensor
    ) -> torch.Tensor:
        decoder = self._decoder
        states: torch.Tensor = decoder.embed_tokens(ids)
        turns = decoder.rotary_emb(states, position_ids=positions)
        end = self._end + ids.shape[1]
        for layer, kept in zip(decoder.layers, self._kept, strict=True):
            normed = layer.input_layernorm(states)
            states = states + self._attention(layer.self_attn, kept, normed, turns, seen, end)
            states = states + layer.mlp(layer.post_attention_layernorm(states))
        self._end = end
        normed_states: torch.Tensor = decoder.norm(states)
        return normed_states

    def _attention(
        self,
        module: torch.nn.Module,
        kept: KeysValues,
        states: torch.Tensor,
        turns: KeysValues,
        seen: torch.Tensor,
        end: int,
    ) -> torch.Tensor:
        rows, count, _ = states.shape
        shape = (rows, count, -1, module.head_dim)
        query = module.q_proj(states).view(shape).transpose(1, 2)  # [R, Hq, S, d]
        new_keys = module.k_proj(states).view(shape).transpose(1, 2)  # [R, H, S, d]
        query, new_keys = apply_rotary_pos_emb(query, new_keys, *turns)
        keys, values = kept
        keys[:, :, end - count : end] = new_keys
        values[:, :, end - count : end] = module.v_proj(states).view(shape).transpose(1, 2)
        heads = keys.shape[1]
        groups = query.shape[1] // heads
        grouped = query.reshape(rows, heads, groups * count, -1)
        mixed = functional.scaled_dot_product_attention(
            grouped, keys[:, :, :end], values[:, :, :end],
            attn_mask=seen.repeat(1, groups, 1)[:, None], scale=module.scaling,
        )  # fmt: skip
        mixed = mixed.reshape(rows, heads * groups, count, -1)
        projected: torch.Tensor = module.o_proj(mixed.transpose(1, 2).flatten(2))
        return projected


def _roomy(held: torch.Tensor, which: torch.Tensor, wide: int, room: int) -> torch.Tensor:
    """Return a copy of prompts' keys or values for rows, with room behind them."""
    shape = (len(which), held.shape[1], wide + room, held.shape[3])
    roomy = held.new_zeros(shape)
    roomy[:, :, :wide] = held[which, :, :wide]
    return roomy
