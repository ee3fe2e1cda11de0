"""What runs the model for the server: clips encoded once, many different answers at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import torch

from gar_video.choosing import score_options
from gar_video.devices import memory_guard
from gar_video.encoding import Encoded, encode
from gar_video.generation import Decoder, GenerationSettings
from gar_video.pipeline import GARVideo
from gar_video.prompt import RegionPrompt
from gar_video.server.row import Row

Asked: TypeAlias = "tuple[str, Sequence[str]]"


class Engine(Protocol):
    """Runs the model; used by one thread alone."""

    gar: GARVideo

    def encode(self, prompt: RegionPrompt) -> Encoded:
        """Encode a clip with its objects."""

    def answer(self, encoded: Encoded, rows: Sequence[Row]) -> None:
        """Generate answers, telling each row its tokens."""

    def score(self, encoded: Encoded, questions: Sequence[Asked], by: str) -> list[torch.Tensor]:
        """Score options; for each question scores whose softmax is the probabilities."""

    def size(self, encoded: Encoded) -> int:
        """Return the bytes that an encoded clip holds."""

    def length(self, encoded: Encoded) -> int:
        """Return the tokens of an encoded clip."""


class LocalEngine:
    """The pipeline's own decoder.

    Args:
        gar: The model.
    """

    def __init__(self, gar: GARVideo) -> None:
        self.gar = gar
        self.decoder = Decoder(gar.model, gar.processor.stop_ids)

    def encode(self, prompt: RegionPrompt) -> Encoded:
        """Encode a clip with its objects.

        Raises:
            DeviceError: If memory runs out.
        """
        return encode(self.decoder, self.gar.processor, prompt)

    def answer(self, encoded: Encoded, rows: Sequence[Row]) -> None:
        """Generate answers in one batch, each as it wishes.

        Raises:
            DeviceError: If memory runs out.
        """
        cache = encoded.cache
        start = cache.length
        longest = GenerationSettings(max(row.wish.max_tokens for row in rows))
        suffixes = [row.suffix for row in rows]
        try:
            with memory_guard(f"answering {len(rows)} questions"):
                for step in self.decoder.steps(cache, suffixes, longest, _picker(rows)):
                    for row, token in step:
                        rows[row].take(token)
        finally:
            cache.rewind(start)
        for row in rows:
            row.finish("length")

    def score(self, encoded: Encoded, questions: Sequence[Asked], by: str) -> list[torch.Tensor]:
        """Score options.

        Raises:
            DeviceError: If memory runs out.
        """
        with memory_guard(f"choosing between options of {len(questions)} questions"):
            return score_options(
                self.decoder, self.gar.processor, encoded, questions, by, self.gar.batch_size
            )

    def size(self, encoded: Encoded) -> int:
        """Return the bytes of keys and values."""
        return encoded.cache.num_bytes

    def length(self, encoded: Encoded) -> int:
        """Return the tokens of an encoded clip."""
        return encoded.cache.length


class _picker:  # noqa: N801 - a function with a memory
    """Picks the next token of each row as the row wishes; ends rows that nobody waits for."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._greedy = all(row.is_greedy for row in rows)

    def __call__(self, logits: torch.Tensor, at: Sequence[int]) -> torch.Tensor:
        rows = [self._rows[number] for number in at]
        if self._greedy:
            tokens = logits.argmax(-1)
        else:
            # One transfer for all; sampling and log-probabilities are reckoned on the host.
            host = logits.cpu()
            chosen = [row.choose(line) for row, line in zip(rows, host, strict=True)]
            tokens = torch.tensor(chosen, device=logits.device)
        done = [place for place, row in enumerate(rows) if row.is_done]
        if done:
            tokens[done] = min(rows[0].stop_ids)
        return tokens
