"""Several sources as one stream that can be taken up again anywhere.

Which source the n-th draw comes from, and which of its samples, follow from the seed and the draws
before; the sample itself from the seed and n alone. So the position in the data is a few numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gar_video.errors import GARVideoError
from gar_video.train.recipe.config import TrainConfig
from gar_video.train.recipe.data.descriptions import Descriptions
from gar_video.train.recipe.data.examples import Example, Maker, Source
from gar_video.train.recipe.data.gar_images import GarImages
from gar_video.train.recipe.data.jsonl import JsonLines
from gar_video.train.recipe.data.rendered import Rendered
from gar_video.train.recipe.data.videorefer import VideoRefer
from gar_video.train.recipe.errors import SampleError, TrainingError
from gar_video.train.recipe.rows import Row, RowMaker

_MAKERS: dict[str, Callable[..., Source]] = {
    "rendered": Rendered,
    "jsonl": JsonLines,
    "videorefer": VideoRefer,
    "gar": GarImages,
    "descriptions": Descriptions,
}
# Streams of random numbers for different purposes.
_CHOOSE, _SHUFFLE, _SAMPLE = 1, 2, 3


def open_sources(config: TrainConfig, maker: Maker) -> list[Source]:
    """Open every source.

    Raises:
        TrainingError: If a file is missing or cannot be read.
    """
    sources = []
    for n, section in enumerate(config.data):
        name = f"data.{n} ({section.path or section.kind})"
        sources.append(_MAKERS[section.kind](section, maker, name))
    return sources


@dataclass
class Position:
    """Where a stream stands.

    Attributes:
        draws: Samples drawn so far, unusable ones included.
        taken: Of each source, how many.
        skipped: Of each source, how many could not be used.
        dropped: Answers left out because they did not fit the context.
    """

    draws: int = 0
    taken: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    dropped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "draws": self.draws, "taken": list(self.taken), "skipped": list(self.skipped),
            "dropped": self.dropped,
        }  # fmt: skip


@dataclass(frozen=True)
class _Draw:
    """One sample to make: which source, which of its samples, by which generator."""

    number: int
    source: int
    index: int
    taken: tuple[int, ...]


class Stream:
    """Rows of tokens, one after another.

    Args:
        sources: Where they come from.
        weights: How often each, relative to the others.
        rows: Turns examples into rows.
        seed: Of the run.
        rank: Of the process, where several train together; each has its own stream.
        world: How many processes there are.
        workers: Threads that prepare rows ahead; they change nothing but the speed.
        max_skipped: Unusable samples passed over before the run stops.
        say: Told about each unusable sample.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        weights: Sequence[float],
        rows: RowMaker,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        max_skipped: int = 100,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._sources = list(sources)
        self._shares = np.cumsum(np.asarray(weights, dtype=float) / sum(weights))
        self._rows, self._seed = rows, seed
        self._rank, self._world = rank, world
        self._max_skipped, self._say = max_skipped, say
        self._orders: dict[tuple[int, int], np.ndarray] = {}
        self.position = Position(0, [0] * len(sources), [0] * len(sources))
        self._pool = ThreadPoolExecutor(workers) if workers else None
        self._ahead: deque[tuple[_Draw, Future[Row]]] = deque()
        self._workers = workers

    def load(self, state: dict[str, Any]) -> None:
        """Take up the stream where a run left it."""
        self._ahead.clear()
        self.position = Position(
            int(state["draws"]), list(state["taken"]), list(state["skipped"]), int(state["dropped"])
        )

    def close(self) -> None:
        """Stop preparing rows."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def __iter__(self) -> Iterator[Row]:
        while True:
            yield self.next_row()

    def next_row(self) -> Row:
        """Return the next usable row.

        Raises:
            TrainingError: If more samples than the limit cannot be used.
        """
        while True:
            draw, made = self._next()
            self.position.draws = draw.number + 1
            self.position.taken = list(draw.taken)
            try:
                row = made()
            except GARVideoError as error:
                if isinstance(error, TrainingError):
                    raise
                self._skip(draw, error)
                continue
            self.position.dropped += row.dropped
            return row

    def _next(self) -> tuple[_Draw, Callable[[], Row]]:
        if self._pool is None:
            draw = self._draw(self.position.draws, self.position.taken)
            return draw, lambda: self._make(draw)
        while len(self._ahead) < 2 * self._workers:
            if self._ahead:
                last = self._ahead[-1][0]
                coming = self._draw(last.number + 1, last.taken)
            else:
                coming = self._draw(self.position.draws, self.position.taken)
            self._ahead.append((coming, self._pool.submit(self._make, coming)))
        draw, future = self._ahead.popleft()
        return draw, future.result

    def _draw(self, number: int, taken: Sequence[int]) -> _Draw:
        """Decide the n-th draw."""
        chance = self._generator(_CHOOSE, number).random()
        last = len(self._sources) - 1
        source = min(int(np.searchsorted(self._shares, chance, side="right")), last)
        place = taken[source] * self._world + self._rank
        after = tuple(count + (n == source) for n, count in enumerate(taken))
        size = len(self._sources[source])
        index = place if size == 0 else int(self._order(source, place // size)[place % size])
        return _Draw(number, source, index, after)

    def _order(self, source: int, epoch: int) -> np.ndarray:
        """Return the order of a source's samples in an epoch: the same for all processes."""
        key = (source, epoch)
        if key not in self._orders:
            rng = np.random.Generator(np.random.PCG64([self._seed, _SHUFFLE, source, epoch]))
            self._orders[key] = rng.permutation(len(self._sources[source]))
            for old in [k for k in self._orders if k[0] == source and k[1] < epoch - 1]:
                del self._orders[old]
        return self._orders[key]

    def _generator(self, purpose: int, number: int) -> np.random.Generator:
        seeds = [self._seed, purpose, self._rank, number]
        return np.random.Generator(np.random.PCG64(seeds))

    def _make(self, draw: _Draw) -> Row:
        source = self._sources[draw.source]
        rng = self._generator(_SAMPLE, draw.number)
        example: Example = source.example(draw.index, rng)
        return self._rows(example, source.name)

    def _skip(self, draw: _Draw, error: GARVideoError) -> None:
        self.position.skipped[draw.source] += 1
        name = self._sources[draw.source].name
        text = f"{name}, sample {draw.index}: {error}"
        total = sum(self.position.skipped)
        if total > self._max_skipped:
            raise TrainingError(
                f"{total} samples could not be used, more than max_skipped={self._max_skipped}; "
                f"the last: {text}"
            )
        self._say(f"skipped {text}")


__all__ = ["Position", "SampleError", "Stream", "open_sources"]
