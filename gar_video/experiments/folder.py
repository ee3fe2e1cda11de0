"""What an experiment has done so far: a file per arm and seed, so that it can be gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gar_video.checkpoint import locate
from gar_video.errors import GARVideoError
from gar_video.files import write_text

Say = Callable[[str], None]
Update = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """What all experiments are given.

    Attributes:
        model: Checkpoint: ``nano``, a folder, or a hub id.
        out: Folder of the results.
        seeds: How many seeds; each has its own training samples and its own questions.
        questions: Questions asked a seed.
        device: Where to compute.
        steps: Optimiser steps of an arm; 0 where nothing is trained.
        assign: Fields of the training recipe set otherwise, by dotted name.
        level: The rendered world.
        by: How choices are scored, ``"text"`` or ``"letter"``.
    """

    model: str
    out: Path
    seeds: int = 3
    questions: int = 200
    device: str = "auto"
    steps: int = 0
    assign: tuple[tuple[str, str], ...] = ()
    level: str = "basic"
    by: str = "text"

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("questions", 1), ("steps", 0)):
            if getattr(self, name) < least:
                raise GARVideoError(f"--{name} {getattr(self, name)}; expected {least} or more")
        if self.level not in ("basic", "full"):
            raise GARVideoError(f"--level {self.level!r}; expected basic or full")
        if self.by not in ("text", "letter"):
            raise GARVideoError(f"--by {self.by!r}; expected text or letter")


# What may change between a run and its continuation.
_FREE = ("out", "seeds", "device")


class Folder:
    """The results of one experiment.

    Args:
        name: The experiment.
        settings: What it was given.
        more: What else the results depend on.

    Raises:
        GARVideoError: If the folder holds another experiment, or cannot be written.
        CheckpointError: If there is no such checkpoint.
    """

    def __init__(self, name: str, settings: Settings, more: Mapping[str, Any]) -> None:
        self.path = settings.out
        given = {key: value for key, value in asdict(settings).items() if key not in _FREE}
        given["weights"] = weights_of(locate(settings.model))
        self.identity = json.loads(json.dumps({"experiment": name, **given, **more}, default=str))
        try:
            (self.path / "parts").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GARVideoError(f"cannot make {self.path}: {error.strerror}") from None
        if not os.access(self.path, os.W_OK):
            raise GARVideoError(f"cannot write to {self.path}: no permission")
        self._claim()

    def _claim(self) -> None:
        path = self.path / "experiment.json"
        if not path.is_file():
            write_text(path, json.dumps(self.identity, indent=1) + "\n")
            return
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise GARVideoError(f"{path} is damaged; give another --out") from None
        names = [name for name in {**before, **self.identity}
                 if before.get(name) != self.identity.get(name)]  # fmt: skip
        if names:
            told = "; ".join(
                f"{name} was {before.get(name)} and is {self.identity.get(name)}" for name in names
            )
            raise GARVideoError(f"{self.path} holds another experiment: {told}; give another --out")

    def part(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a part's result: read if it is there, else made and kept."""
        path = self.path / "parts" / f"{name}.json"
        if path.is_file():
            try:
                found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return found
            except ValueError:
                pass  # cut short by a crash of the machine; made anew
        made = make()
        write_text(path, json.dumps(made) + "\n")
        return made

    def run_of(self, name: str) -> Path:
        """Return the folder of a part's training."""
        return self.path / "runs" / name

    def forget_run(self, name: str) -> None:
        """Remove a finished training's checkpoints; its metrics stay."""
        shutil.rmtree(self.run_of(name) / "checkpoints", ignore_errors=True)


def weights_of(folder: Path) -> str:
    """Return a short name of a checkpoint's weights, which changes when they do."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name} {path.stat().st_size}".encode())
        with path.open("rb") as file:
            # Each file's beginning and end: whole files of 8B would take a minute to read.
            digest.update(file.read(1 << 20))
            file.seek(max(0, path.stat().st_size - (1 << 20)))
            digest.update(file.read())
    return digest.hexdigest()[:12]
