"""One answer in the making: its tokens, its words as they come, where it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from gar_video.generation import GenerationSettings, Sampler


@dataclass(frozen=True)
class Wish:
    """How an answer is to be generated.

    Attributes:
        max_tokens: Most tokens of it.
        temperature: 0 for the likeliest token each time.
        top_p: Sample only from the likeliest tokens of this total probability.
        seed: Seed for sampling.
        stop: Texts that end it; they are not part of it.
        top_logprobs: How many likely tokens to tell of at each place; None for nothing of the kind.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None

    def generation(self) -> GenerationSettings:
        """Return it as the pipeline's settings.

        Raises:
            PromptError: If a value is out of its range.
        """
        return GenerationSettings(self.max_tokens, self.temperature, self.top_p, self.seed)


@dataclass(frozen=True)
class TokenChance:
    """A token and its log-probability, with the likeliest tokens at its place."""

    token_id: int
    logprob: float
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """Words of an answer that have come since the last piece."""

    text: str
    chances: tuple[TokenChance, ...] = ()


@dataclass(eq=False)
class Row:
    """An answer in the making.

    Attributes:
        suffix: Tokens of the question.
        wish: How it is to be generated.
        decode: Turns tokens into words.
        stop_ids: Tokens that end an answer.
        tell: Called with each piece, in the model's thread; None if only the whole counts.
        is_cancelled: Whether nobody waits for it any more.
        tokens: What was generated, the stop token excluded.
        finish_reason: ``"stop"`` or ``"length"``; empty while it is in the making.
    """

    suffix: Sequence[int]
    wish: Wish
    decode: Callable[[Sequence[int]], str]
    stop_ids: frozenset[int]
    tell: Callable[[Piece], None] | None = None
    is_cancelled: Callable[[], bool] = lambda: False
    tokens: list[int] = field(default_factory=list)
    chances: list[TokenChance] = field(default_factory=list)
    finish_reason: str = ""
    text: str = ""
    _told: str = ""
    _told_tokens: int = 0

    def __post_init__(self) -> None:
        self._sampler = Sampler(self.wish.generation(), 1)

    @property
    def is_done(self) -> bool:
        """Whether no further token counts."""
        return bool(self.finish_reason) or self.is_cancelled()

    @property
    def is_greedy(self) -> bool:
        """Whether it takes the likeliest tokens, and tells nothing else of them."""
        return self.wish.temperature == 0 and self.wish.top_logprobs is None

    def choose(self, logits: torch.Tensor) -> int:
        """Return the next token, given the logits ``[V]``; remembers its probability."""
        token = int(self._sampler(logits[None], [0])[0])
        if self.wish.top_logprobs is not None:
            logprobs = logits.log_softmax(-1)
            best = logprobs.topk(min(self.wish.top_logprobs, len(logprobs)))
            likeliest = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            self.chances.append(TokenChance(token, float(logprobs[token]), likeliest))
        return token

    def take(self, token: int) -> None:
        """Add a token; tell the words that are certain now."""
        if self.is_done:
            return
        if token in self.stop_ids:
            self.finish("stop")
            return
        self.tokens.append(token)
        if self.tell is not None or self.wish.stop:
            self._read()
        if not self.finish_reason and len(self.tokens) >= self.wish.max_tokens:
            self.finish("length")

    def finish(self, reason: str) -> None:
        """End the answer and tell what has not been told."""
        if self.finish_reason:
            return
        self.finish_reason = reason
        if not self.wish.stop or not self.text:
            self.text = self.decode(self.tokens)
        del self.chances[len(self.tokens) :]  # of the stop token
        self._tell(self.text)

    def _read(self) -> None:
        text = self.decode(self.tokens)
        ends = [at for at in (text.find(stop) for stop in self.wish.stop) if at >= 0]
        if ends:
            self.text = text[: min(ends)]
            self.finish_reason = "stop"
            self._tell(self.text)
            return
        self.text = text
        # Half a character, or what may become the beginning of a stop text, is not yet certain.
        certain = text.rstrip("\ufffd")
        held = max((_overlap(certain, stop) for stop in self.wish.stop), default=0)
        self._tell(certain[: len(certain) - held])

    def _tell(self, text: str) -> None:
        if self.tell is None or not text.startswith(self._told):
            return
        chances = tuple(self.chances[self._told_tokens : len(self.tokens)])
        if text != self._told or (self.finish_reason and chances):
            piece = Piece(text[len(self._told) :], chances)
            self._told, self._told_tokens = text, len(self.tokens)
            self.tell(piece)


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a stop text."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1)
                 if text.endswith(stop[:n])), 0)  # fmt: skip
