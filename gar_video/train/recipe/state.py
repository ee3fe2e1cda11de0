"""A run's checkpoints: safetensors and JSON, whole or not at all, resumable to the step.

``checkpoints/step-00000200`` holds ``trained.safetensors`` (the trained weights), ``optimizer.
safetensors``, ``random.safetensors`` (torch's generators) and ``state.json`` (step, configuration,
position in the data, Python's and numpy's generators). Frozen weights are read from the checkpoint
that the run began from.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from gar_video.train.recipe.config import TrainConfig
from gar_video.train.recipe.errors import TrainingError

FORMAT = 1
_NAME = "step-"


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds beside tensors.

    Attributes:
        step: Optimiser steps taken.
        seconds: Time trained.
        config: The run's configuration.
        positions: Per process, where its data stand.
        sources: Of each source, its number of samples.
        base: What the run began from: names and sizes of its weight files.
    """

    step: int
    seconds: float
    config: dict[str, Any]
    positions: list[dict[str, Any]]
    sources: list[int]
    base: dict[str, int]


def checkpoints(output: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first."""
    found = [p for p in (output / "checkpoints").glob(f"{_NAME}*") if (p / "state.json").is_file()]
    return sorted(found, key=lambda path: path.name)


def save(
    output: Path,
    snapshot: Snapshot,
    trained: dict[str, torch.Tensor],
    optimizer: dict[str, torch.Tensor],
    keep: int,
) -> Path:
    """Write a checkpoint, then remove those before the last ``keep``.

    Raises:
        TrainingError: If the disk is full or refuses; the checkpoints before stay as they are.
    """
    home = output / "checkpoints"
    target = home / f"{_NAME}{snapshot.step:08d}"
    temporary: Path | None = None
    try:
        home.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=home))
        _write(temporary / "trained.safetensors", trained)
        _write(temporary / "optimizer.safetensors", optimizer)
        _write(temporary / "random.safetensors", _torch_generators())
        text = json.dumps({"format": FORMAT, **snapshot.__dict__, "random": _other_generators()})
        (temporary / "state.json").write_text(text + "\n", encoding="utf-8")
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
        temporary = None
    except (OSError, SafetensorError) as error:
        last = [path.name for path in checkpoints(output)][-1:]
        text = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise TrainingError(
            f"cannot write the checkpoint of step {snapshot.step} to {home}: {text}; "
            + (f"the last whole one is {last[0]}" if last else "there is none yet")
            + "; make room and go on with --resume"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    for old in checkpoints(output)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)


def load(folder: Path) -> tuple[Snapshot, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Read a checkpoint; returns its snapshot, trained weights and optimiser state.

    Raises:
        TrainingError: If it is damaged or of another format.
    """
    try:
        raw = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if raw.pop("format") != FORMAT:
            raise TrainingError(f"{folder} is of another version's format")
        raw.pop("random")
        snapshot = Snapshot(**raw)
        trained = load_file(folder / "trained.safetensors")
        optimizer = load_file(folder / "optimizer.safetensors")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        text = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"the checkpoint {folder} is damaged ({text}); remove it to go on from the one before"
        ) from None
    return snapshot, trained, optimizer


def restore_generators(folder: Path) -> None:
    """Set all random generators to where a checkpoint's run left them."""
    tensors = load_file(folder / "random.safetensors")
    torch.set_rng_state(tensors["cpu"])
    if torch.cuda.is_available():
        states = [tensors[name] for name in sorted(tensors) if name.startswith("cuda")]
        if len(states) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states)
    other = json.loads((folder / "state.json").read_text(encoding="utf-8"))["random"]
    version, numbers, gauss = other["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, at, has_gauss, cached = other["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), at, has_gauss, cached))


def _torch_generators() -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        for n, state in enumerate(torch.cuda.get_rng_state_all()):
            states[f"cuda{n:03d}"] = state
    return states


def _other_generators() -> dict[str, Any]:
    version, numbers, gauss = random.getstate()
    name, keys, at, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [str(name), np.asarray(keys).tolist(), int(at), int(has_gauss), float(cached)],
    }


# ---------------------------------------------------------------- the optimiser


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, module: nn.Module
) -> dict[str, torch.Tensor]:
    """Return the optimiser's state by parameter name; rates come from the schedule."""
    tensors = {}
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}|{key}"] = torch.as_tensor(value)
    return tensors


def load_optimizer(
    optimizer: torch.optim.Optimizer, module: nn.Module, tensors: dict[str, torch.Tensor]
) -> None:
    """Take the optimiser's state back."""
    parameters = dict(module.named_parameters())
    optimizer.state.clear()
    for name, tensor in tensors.items():
        owner, _, key = name.rpartition("|")
        parameter = parameters[owner]
        # The step count stays where torch keeps it: on the CPU, unless the optimiser is fused.
        there = tensor if key == "step" else tensor.to(parameter.device)
        optimizer.state[parameter][key] = there.clone()


# ---------------------------------------------------------------- resuming


def check_same(
    snapshot: Snapshot,
    config: TrainConfig,
    sources: list[int],
    base: dict[str, int],
    folder: Path,
    world: int,
) -> None:
    """Refuse to go on with another configuration than the run began with.

    Raises:
        TrainingError: If the weights would not be those of the uninterrupted run; says why.
    """
    problems = config.differences(snapshot.config)
    for n, (old, new) in enumerate(zip(snapshot.sources, sources, strict=False)):
        if old != new:
            problems.append(f"data.{n} had {old} samples and has {new}")
    if snapshot.base != base:
        problems.append(f"the weight files of {config.model} are not those it began from")
    if len(snapshot.positions) != world:
        problems.append(f"{len(snapshot.positions)} processes trained and now there are {world}")
    if problems:
        raise TrainingError(
            f"{folder} belongs to another run: {'; '.join(problems)}; go on with the configuration "
            "it began with (config.yaml beside it), or give another output folder"
        )
