"""The models that a page offers: loaded when they are first needed, shared by all visitors."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from gar_video.errors import CheckpointError

if TYPE_CHECKING:
    from gar_video.pipeline import GARVideo
    from gar_video.trackers.sam2 import Sam2Tracker

GAR_NAMES = ("nano", "HaochenWang/GAR-1B", "HaochenWang/GAR-8B")
SAM2_NAMES = (
    "nano",
    "facebook/sam2.1-hiera-tiny",
    "facebook/sam2.1-hiera-small",
    "facebook/sam2.1-hiera-base-plus",
    "facebook/sam2.1-hiera-large",
)

Model = TypeVar("Model")


class Turn:
    """A lock that is given in the order in which it was asked for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    def take(self) -> None:
        """Wait for one's turn."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def give(self) -> None:
        """Let the next one have it."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False

    def let_others(self) -> None:
        """Let those who wait go first, and take it again."""
        if self._waiting:
            self.give()
            self.take()

    def __enter__(self) -> Turn:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.give()


class Shared(Generic[Model]):
    """One loaded model and whose turn it is with it.

    Attributes:
        model: The model.
        turn: To be held while it computes.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.turn = Turn()


class _Slot(Generic[Model]):
    """Models of one kind by name; the one used longest ago goes when there are too many."""

    def __init__(self, load: Callable[[str], Model], keep: int) -> None:
        self._load, self._keep = load, keep
        self._loading = threading.Lock()
        self._held: dict[str, tuple[float, Shared[Model]]] = {}

    def get(self, name: str) -> Shared[Model]:
        with self._loading:
            held = self._held.pop(name, None)
            shared = Shared(self._load(name)) if held is None else held[1]
            self._held[name] = (time.monotonic(), shared)
            while len(self._held) > self._keep:
                del self._held[min(self._held, key=lambda other: self._held[other][0])]
        return shared

    def holds(self, name: str) -> bool:
        return name in self._held


class Models:
    """What a page's menus offer, and the loaded ones.

    Args:
        gar: Names of GAR checkpoints; the first is chosen at the start.
        sam2: Names of SAM 2 checkpoints; likewise.
        device: Where to compute.
        dtype: Number type to compute in.
        keep: How many of each kind stay loaded.
    """

    def __init__(
        self,
        gar: Sequence[str] = GAR_NAMES,
        sam2: Sequence[str] = SAM2_NAMES,
        *,
        device: str = "auto",
        dtype: str = "auto",
        keep: int = 2,
    ) -> None:
        self.gar_names, self.sam2_names = tuple(gar), tuple(sam2)
        self._device, self._dtype = device, dtype
        self._gar: _Slot[GARVideo] = _Slot(self._load_gar, keep)
        self._sam2: _Slot[Sam2Tracker] = _Slot(self._load_sam2, keep)

    def gar(self, name: str) -> Shared[GARVideo]:
        """Return a GAR checkpoint that the menu offers.

        Raises:
            CheckpointError: If it does not, or it cannot be loaded.
        """
        return self._gar.get(_offered(name, self.gar_names))

    def sam2(self, name: str) -> Shared[Sam2Tracker]:
        """Return a SAM 2 checkpoint that the menu offers.

        Raises:
            CheckpointError: If it does not, or it cannot be loaded.
        """
        return self._sam2.get(_offered(name, self.sam2_names))

    @contextmanager
    def answering(self, name: str) -> Iterator[GARVideo]:
        """Give a GAR checkpoint for as long as the block takes; nobody else uses it meanwhile."""
        shared = self.gar(name)
        with shared.turn:
            yield shared.model

    def note(self, gar: str, sam2: str) -> str:
        """Say what the chosen models cost whoever has not used them yet."""
        fetched = [name for name in (gar, sam2) if name != "nano"]
        if not fetched:
            return (
                "On nano, which comes with the package: nothing is downloaded. It knows plain "
                "moving shapes, such as the rendered clip's, and little else."
            )
        return (
            f"On {' and '.join(fetched)}: fetched once if not on this machine yet, and loaded at "
            "the first use. Both can take minutes."
        )

    def _load_gar(self, name: str) -> GARVideo:
        from gar_video.pipeline import GARVideo

        return GARVideo.from_pretrained(name, device=self._device, dtype=self._dtype)

    def _load_sam2(self, name: str) -> Sam2Tracker:
        from gar_video.trackers.sam2 import Sam2Tracker

        return Sam2Tracker.from_pretrained(name, device=self._device, dtype=self._dtype)


def _offered(name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise CheckpointError(f"model {str(name)[:80]!r} is not offered here; expected one of "
                              f"{', '.join(names)}")  # fmt: skip
    return name
