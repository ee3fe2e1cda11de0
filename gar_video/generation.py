"""Decoding on top of an encoded prefix: many questions, one prompt's KV cache.

A suffix (a question's tokens) is run on a prefix's cache. One suffix is appended in place and taken
off again; several run as one batch that shares the prefix. Rows that have ended leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from transformers.cache_utils import Cache, DynamicLayer
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from gar_video.branching import branched
from gar_video.errors import PromptError
from gar_video.model import GARModel
from gar_video.shared_prefix import SharedPrefixBatch

# Given the logits [B, V] of those rows of a batch that go on, and which rows these are, returns the
# next tokens [B]. A stop token ends its row.
Picker: TypeAlias = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]

# Kinds of attention that are causal of themselves where they are given no mask.
_CAUSAL_WITHOUT_MASK = ("sdpa", "flash_attention_2", "flash_attention_3")


@dataclass(frozen=True)
class GenerationSettings:
    """How answers are generated.

    Attributes:
        max_new_tokens: Most tokens of an answer.
        temperature: 0 for the likeliest token each time; above, sampling.
        top_p: Sample only from the likeliest tokens of this total probability.
        seed: Seed for sampling; None draws one.

    Raises:
        PromptError: If a value is out of its range.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.max_new_tokens, bool) or int(self.max_new_tokens) < 1:
            raise PromptError(f"max_new_tokens is {self.max_new_tokens}; expected at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise PromptError(f"temperature is {self.temperature}; expected 0 or more")
        if not 0 < self.top_p <= 1:
            raise PromptError(f"top_p is {self.top_p}; expected more than 0 and at most 1")


@dataclass(frozen=True)
class Generated:
    """One generated answer: its tokens without the stop token, and why it ended."""

    token_ids: tuple[int, ...]
    finish_reason: str


class _RoomyLayer(DynamicLayer):
    """A cache layer that writes into room it has, where the stock one copies all at each token."""

    keys: torch.Tensor
    values: torch.Tensor
    is_initialized: bool

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def make_room(self, keys: torch.Tensor, room: int) -> None:
        batch, heads, _, width = keys.shape
        old = (self.keys, self.values) if self.is_initialized else None
        self.keys = keys.new_empty((batch, heads, self.length + room, width))
        self.values = torch.empty_like(self.keys)
        if old is not None:
            self.keys[:, :, : self.length] = old[0][:, :, : self.length]
            self.values[:, :, : self.length] = old[1][:, :, : self.length]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end = self.length + key_states.shape[2]
        if not self.is_initialized or end > self.keys.shape[2]:
            self.make_room(key_states, key_states.shape[2] + 256)
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.length


class PrefixCache(Cache):
    """Keys and values of a prompt that questions are asked on.

    Args:
        num_layers: Decoder layers.
    """

    def __init__(self, num_layers: int) -> None:
        super().__init__(layers=[_RoomyLayer() for _ in range(num_layers)])

    @property
    def length(self) -> int:
        """Tokens held."""
        return int(self.layers[0].length)

    @property
    def num_bytes(self) -> int:
        """Bytes of keys and values, the free room included."""
        return sum(2 * layer.keys.nbytes for layer in self.layers if layer.is_initialized)

    def rewind(self, length: int) -> None:
        """Forget what was appended after ``length`` tokens."""
        for layer in self.layers:
            layer.length = length

    def layers_held(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return each layer's keys and values, ``[1, H, length, d]``; views, nothing is copied."""
        return [
            (layer.keys[:, :, : layer.length], layer.values[:, :, : layer.length])
            for layer in self.layers
        ]


class _Row:
    """One suffix, appended to the prefix in place."""

    def __init__(self, decoder: torch.nn.Module, prefix: PrefixCache) -> None:
        self._decoder, self._prefix = decoder, prefix

    def start(self, suffix: Sequence[int]) -> torch.Tensor:
        """Run the suffix; return ``[1, S, D]`` hidden states."""
        ids = torch.tensor([list(suffix)], device=self._prefix.layers[0].keys.device)
        return self.go_on(ids[0])

    def go_on(self, tokens: torch.Tensor) -> torch.Tensor:
        """Run one more token; return its ``[1, 1, D]`` hidden state."""
        hidden: torch.Tensor = self._decoder(
            input_ids=tokens[None], past_key_values=self._prefix, use_cache=True
        ).last_hidden_state
        return hidden

    def select_rows(self, _: torch.Tensor) -> None:
        """Do nothing: the one row stays."""


class _Rows:
    """Several suffixes on one prefix, padded at their beginnings."""

    def __init__(
        self, decoder: torch.nn.Module, prefix: PrefixCache, batch: int, room: int
    ) -> None:
        self._run = SharedPrefixBatch(decoder, prefix.layers_held(), batch, room)
        self._start = prefix.length
        self._device = prefix.layers[0].keys.device
        self._padding = torch.zeros(0)  # [B] int64
        self._length = 0

    def start(self, suffixes: Sequence[Sequence[int]]) -> torch.Tensor:
        """Run the suffixes; return ``[B, S, D]`` hidden states, right-aligned."""
        longest = max(len(suffix) for suffix in suffixes)
        padded = [[0] * (longest - len(suffix)) + list(suffix) for suffix in suffixes]
        ids = torch.tensor(padded, device=self._device)  # [B, S]
        padding = torch.tensor([longest - len(suffix) for suffix in suffixes])
        self._padding, self._length = padding.to(self._device), longest
        at = torch.arange(longest, device=self._device)
        later = at > at[:, None]  # [S, S]
        hidden_from = later | (at < self._padding[:, None])[:, None]  # [B, S, S]
        # A padding token sees itself, so that nothing is divided by zero.
        hidden_from[:, at, at] = False
        positions = self._start + (at - self._padding[:, None]).clamp(min=0)
        return self._run.forward(ids, positions, hidden_from)

    def go_on(self, tokens: torch.Tensor) -> torch.Tensor:
        """Run one more token of each row; return ``[B, 1, D]`` hidden states."""
        at = torch.arange(self._length + 1, device=self._device)
        hidden_from = (at < self._padding[:, None])[:, None]  # [B, 1, T]
        positions = (self._start + self._length - self._padding)[:, None]
        self._length += 1
        return self._run.forward(tokens[:, None], positions, hidden_from)

    def select_rows(self, rows: torch.Tensor) -> None:
        """Keep only some rows."""
        self._run.select_rows(rows)
        self._padding = self._padding[rows]


def _fill(decoder: torch.nn.Module, embeds: torch.Tensor, cache: PrefixCache) -> None:
    """Fill an empty cache: all of a forward pass but what only the prompt's next token needs.

    Nobody asks for that token, so that the last layer need only make its keys and values.
    """
    positions = torch.arange(embeds.shape[1], device=embeds.device)[None]
    turns = decoder.rotary_emb(embeds, position_ids=positions)
    *layers, last = decoder.layers
    hidden = embeds
    for layer in layers:
        hidden = layer(
            hidden, attention_mask=None, position_embeddings=turns, position_ids=positions,
            past_key_values=cache, use_cache=True,
        )  # fmt: skip
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    module, normed = last.self_attn, last.input_layernorm(hidden)
    shape = (*normed.shape[:2], -1, module.head_dim)
    keys = module.k_proj(normed).view(shape).transpose(1, 2)  # [1, H, L, d]
    values = module.v_proj(normed).view(shape).transpose(1, 2)
    _, keys = apply_rotary_pos_emb(keys, keys, *turns)
    cache.update(keys, values, module.layer_idx)


class Decoder:
    """Runs the language model of a GARModel on prefixes and suffixes.

    Args:
        model: The model, in evaluation mode.
        stop_ids: Tokens that end an answer.
    """

    def __init__(self, model: GARModel, stop_ids: Sequence[int]) -> None:
        self.model = model
        self.stop_ids = frozenset(stop_ids)

    @property
    def _device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    @torch.inference_mode()
    def prefill(self, embeds: torch.Tensor) -> PrefixCache:
        """Run a prompt.

        Args:
            embeds: ``[1, L, D]`` from ``GARModel.embed``.
        """
        decoder = self.model.language_model
        cache = PrefixCache(self.model.config.mllm_config.text_config.num_hidden_layers)
        if decoder.config._attn_implementation in _CAUSAL_WITHOUT_MASK:
            _fill(decoder, embeds, cache)
        else:
            decoder(inputs_embeds=embeds, past_key_values=cache, use_cache=True)
        return cache

    def _run(
        self, prefix: PrefixCache, suffixes: Sequence[Sequence[int]], room: int
    ) -> tuple[torch.Tensor, _Row | _Rows]:
        """Run suffixes; return ``[B, S, D]`` hidden states, right-aligned, and what goes on."""
        decoder = self.model.language_model
        if len(suffixes) == 1:
            row = _Row(decoder, prefix)
            return row.start(suffixes[0]), row
        longest = max(len(suffix) for suffix in suffixes)
        rows = _Rows(decoder, prefix, len(suffixes), longest + room)
        return rows.start(suffixes), rows

    @torch.inference_mode()
    def steps(
        self,
        prefix: PrefixCache,
        suffixes: Sequence[Sequence[int]],
        settings: GenerationSettings,
        pick: Picker | None = None,
    ) -> Iterator[list[tuple[int, int]]]:
        """Generate for all suffixes at once; yield each step's ``(row, token id)``.

        A row's last token is a stop token, unless it reaches ``max_new_tokens``. With one suffix
        the prefix itself grows; whoever calls rewinds it. ``pick`` chooses the tokens; by default
        the settings say how.
        """
        sampler = pick or Sampler(settings, len(suffixes))
        hidden, state = self._run(prefix, suffixes, settings.max_new_tokens)
        rows = list(range(len(suffixes)))
        for count in range(settings.max_new_tokens):
            tokens = sampler(self.model.mllm.lm_head(hidden[:, -1]).float(), rows)  # [B]
            chosen = tokens.tolist()
            yield list(zip(rows, chosen, strict=True))
            going = [at for at, token in enumerate(chosen) if token not in self.stop_ids]
            if not going or count + 1 == settings.max_new_tokens:
                return
            if len(going) < len(rows):
                keep = torch.tensor(going, device=self._device)
                rows, tokens = [rows[at] for at in going], tokens[keep]
                state.select_rows(keep)
            hidden = state.go_on(tokens)

    def generate(
        self,
        prefix: PrefixCache,
        suffixes: Sequence[Sequence[int]],
        settings: GenerationSettings,
    ) -> list[Generated]:
        """Generate an answer to every suffix; the prefix is left as it was."""
        tokens: list[list[int]] = [[] for _ in suffixes]
        start = prefix.length
        try:
            for step in self.steps(prefix, suffixes, settings):
                for row, token in step:
                    tokens[row].append(token)
        finally:
            prefix.rewind(start)
        return [self.finished(row) for row in tokens]

    def finished(self, tokens: Sequence[int]) -> Generated:
        """Tell an answer's tokens from its stop token."""
        if tokens and tokens[-1] in self.stop_ids:
            return Generated(tuple(tokens[:-1]), "stop")
        return Generated(tuple(tokens), "length")

    @torch.inference_mode()
    def next_token_logits(
        self, prefix: PrefixCache, suffixes: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Return ``[B, V]`` float32 logits of the token after each suffix; one forward pass."""
        start = prefix.length
        try:
            hidden, _ = self._run(prefix, suffixes, 0)
        finally:
            prefix.rewind(start)
        logits: torch.Tensor = self.model.mllm.lm_head(hidden[:, -1]).float()
        return logits

    @torch.inference_mode()
    def log_likelihoods(
        self,
        prefix: PrefixCache,
        suffixes: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[int]],
    ) -> list[float]:
        """Return the log-likelihood of each continuation after its suffix; one forward pass.

        Neighbouring rows with the same suffix share it.

        Args:
            prefix: The prompt.
            suffixes: Per row, the question.
            continuations: Per row, the answer's tokens, its stop token included.
        """
        told = self._telling_states(prefix, suffixes, continuations)
        scores = []
        for states, answer in zip(told, continuations, strict=True):
            logits = self.model.mllm.lm_head(states).float()  # [A, V]
            wanted = torch.tensor(list(answer), device=logits.device)[:, None]
            scores.append(logits.log_softmax(-1).gather(1, wanted).sum())
        return [float(score) for score in torch.stack(scores).cpu()]

    def _telling_states(
        self,
        prefix: PrefixCache,
        suffixes: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[int]],
    ) -> list[torch.Tensor]:
        """Return for each continuation the ``[A, D]`` hidden states that its A tokens follow."""
        branches = branched(suffixes, continuations)
        if isinstance(prefix, PrefixCache) and len(branches.ids) < len(suffixes):
            decoder, kept = self.model.language_model, branches.to(self._device)
            rows, room = kept.ids.shape
            run = SharedPrefixBatch(decoder, prefix.layers_held(), rows, room)
            hidden = run.forward(kept.ids, prefix.length + kept.offsets, kept.hidden_from)
            return [hidden[row, list(places)] for row, places in branches.sources]
        start = prefix.length
        whole = [
            [*suffix, *answer[:-1]] for suffix, answer in zip(suffixes, continuations, strict=True)
        ]
        try:
            hidden, _ = self._run(prefix, whole, 0)
        finally:
            prefix.rewind(start)
        return [hidden[row, -len(answer) :] for row, answer in enumerate(continuations)]


class Sampler:
    """Picks the next tokens: the likeliest, or drawn, each row from a stream of its own."""

    def __init__(self, settings: GenerationSettings, num_rows: int) -> None:
        self._settings = settings
        self._generators: list[torch.Generator] = []
        if settings.temperature > 0:
            seed = settings.seed if settings.seed is not None else torch.seed()
            # One stream a row, all alike: a question's answer does not depend on its neighbours.
            self._generators = [torch.Generator().manual_seed(seed) for _ in range(num_rows)]

    def __call__(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Return the next tokens ``[B]`` of rows, given their logits ``[B, V]``."""
        if not self._generators:
            return logits.argmax(-1)
        shares = (logits / self._settings.temperature).softmax(-1).cpu()  # [B, V]
        if self._settings.top_p < 1:
            ordered, order = shares.sort(descending=True)
            ordered[ordered.cumsum(-1) - ordered >= self._settings.top_p] = 0
            shares = torch.zeros_like(shares).scatter(1, order, ordered)
        drawn = [
            torch.multinomial(share, 1, generator=self._generators[row])
            for share, row in zip(shares, rows, strict=True)
        ]
        return torch.cat(drawn).to(logits.device)
