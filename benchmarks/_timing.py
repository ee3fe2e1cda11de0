"""Paired timing: contenders take turns in one process, and what counts is the ratio of a turn."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CLOCKS = ("process", "wall")


@dataclass(frozen=True)
class Summary:
    """Some measurements of one thing.

    Attributes:
        n: How many.
        min: The least.
        median: The middle one.
        max: The greatest.
    """

    n: int
    min: float
    median: float
    max: float

    @property
    def spread(self) -> float:
        """Least to greatest, as a share of the median."""
        return (self.max - self.min) / abs(self.median) if self.median else 0.0

    def as_dict(self) -> dict[str, float]:
        """Return plain numbers for JSON."""
        return {
            "n": self.n, "min": self.min, "median": self.median, "max": self.max,
            "spread": self.spread,
        }  # fmt: skip


def summarise(values: Sequence[float]) -> Summary:
    """Summarise measurements.

    Raises:
        ValueError: If there are none.
    """
    if not values:
        raise ValueError("no measurements to summarise; expected at least one")
    return Summary(len(values), min(values), statistics.median(values), max(values))


@dataclass
class Paired:
    """What contenders took, turn by turn.

    Attributes:
        clock: ``"process"`` (CPU seconds of this process) or ``"wall"``.
        seconds: Contender to seconds, one a round.
        outputs: Contender to what it returned last.
    """

    clock: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def times(self) -> dict[str, Summary]:
        """Seconds per contender."""
        return {name: summarise(seconds) for name, seconds in self.seconds.items()}

    def ratios(self) -> dict[str, Summary]:
        """How many times as long as the first contender each other took, of the same rounds."""
        first, *others = self.seconds
        return {
            other: summarise(
                [b / a for a, b in zip(self.seconds[first], self.seconds[other], strict=True)]
            )
            for other in others
        }


def _reader(clock: str) -> Callable[[], float]:
    """Return what reads a clock."""
    if clock not in CLOCKS:
        raise ValueError(f"clock {clock!r}; expected one of {', '.join(CLOCKS)}")
    return time.process_time if clock == "process" else time.perf_counter


def paired(
    contenders: Mapping[str, Callable[[], Any]],
    *,
    repeats: int,
    clock: str = "process",
    warm: int = 1,
    synchronize: Callable[[], None] | None = None,
) -> Paired:
    """Let contenders take turns and time each turn.

    The order is reversed every other round, so that neither always finds the caches warm. Garbage
    is collected before each turn and not during it.

    Args:
        contenders: Name to what it does; ratios are against the first.
        repeats: Rounds that count.
        clock: ``"process"`` for CPU seconds, which other people's work on the machine disturbs
            least; ``"wall"`` where the work is on another device or in other processes.
        warm: Rounds before those.
        synchronize: Called before and after each turn, to wait for a device.

    Raises:
        ValueError: If there is nothing to compare or the clock is unknown.
    """
    if not contenders or repeats < 1:
        raise ValueError("expected at least one contender and one repeat")
    read = _reader(clock)
    wait = synchronize or (lambda: None)
    result = Paired(clock, {name: [] for name in contenders})
    for turn in range(-warm, repeats):
        names = list(contenders)
        for name in reversed(names) if turn % 2 else names:
            result.outputs.pop(name, None)
            gc.collect()
            gc.disable()
            try:
                wait()
                began = read()
                output = contenders[name]()
                wait()
                seconds = read() - began
            finally:
                gc.enable()
            result.outputs[name] = output
            if turn >= 0:
                result.seconds[name].append(seconds)
    return result


def paired_steps(
    contenders: Mapping[str, Callable[[], Iterator[Any]]],
    *,
    repeats: int,
    block: int = 10,
    clock: str = "process",
    warm: int = 1,
    synchronize: Callable[[], None] | None = None,
) -> Paired:
    """Let contenders that work step by step take turns of a few steps each.

    A minute of one against a minute of the other compares two minutes of the machine as well. Here
    all of a round go through their steps together, so that what slows one slows the others.

    Args:
        contenders: Name to what starts it and yields once a step; ratios are against the first.
        repeats: Rounds that count; of each, a contender's seconds are the sum of its turns.
        block: Steps a turn.
        clock: As for ``paired``.
        warm: Rounds before those.
        synchronize: As for ``paired``.

    Returns:
        The seconds of each round, and all that was yielded.

    Raises:
        ValueError: As for ``paired``.
    """
    if not contenders or repeats < 1 or block < 1:
        raise ValueError("expected at least one contender, one repeat and one step a turn")
    read = _reader(clock)
    wait = synchronize or (lambda: None)
    result = Paired(clock, {name: [] for name in contenders})
    for turn in range(-warm, repeats):
        seconds = dict.fromkeys(contenders, 0.0)
        outputs: dict[str, list[Any]] = {name: [] for name in contenders}
        running: dict[str, Iterator[Any]] = {}
        waiting, turns = list(contenders), 0
        while waiting:
            order = waiting[::-1] if turns % 2 else waiting
            turns += 1
            for name in list(order):
                gc.collect()
                gc.disable()
                try:
                    wait()
                    began = read()
                    if name not in running:
                        running[name] = contenders[name]()
                    found = list(itertools.islice(running[name], block))
                    wait()
                    seconds[name] += read() - began
                finally:
                    gc.enable()
                outputs[name] += found
                if len(found) < block:
                    waiting.remove(name)
        if turn >= 0:
            result.outputs = dict(outputs)
            for name in contenders:
                result.seconds[name].append(seconds[name])
    return result
