"""Encoded clips that are kept, by content, so that a second question costs no encoding."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from gar_video.encoding import Encoded


class Prefixes:
    """The encoded clips used last, within a limit of bytes. For one thread.

    Args:
        capacity: Bytes that may be held. One clip may exceed them while it is in use.
        size: Returns an encoded clip's bytes.
    """

    def __init__(self, capacity: int, size: Callable[[Encoded], int]) -> None:
        self._capacity = capacity
        self._size = size
        self._kept: OrderedDict[str, Encoded] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def num_bytes(self) -> int:
        """Bytes held. A clip's own grow a little while questions are asked on it."""
        return sum(self._size(encoded) for encoded in self._kept.values())

    def get(self, key: str, encode: Callable[[], Encoded]) -> tuple[Encoded, bool]:
        """Return an encoded clip, and whether it was there already."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            self.hits += 1
            return kept, True
        self.misses += 1
        encoded = encode()
        self._kept[key] = encoded
        self.trim()
        return encoded, False

    def trim(self) -> None:
        """Forget the clips used longest ago until the rest fits."""
        while self._kept and self.num_bytes > self._capacity:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
