"""One arm of an experiment: a recipe's run whose model is changed before its first step."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gar_video.devices import memory_guard
from gar_video.experiments.folder import Folder, Settings, Update
from gar_video.model import GARModel
from gar_video.processor import GARProcessor
from gar_video.train.recipe.config import TrainConfig, from_dict
from gar_video.train.recipe.loop import Run
from gar_video.train.recipe.report import read_metrics

Look = Callable[[GARModel, GARProcessor], dict[str, Any]]


@dataclass(frozen=True)
class Arm:
    """One of the ways that are compared.

    Attributes:
        name: Its name in files and tables.
        prepare: Changes the model before the first step, given the seed. Whatever it changes must
            be trained, so that a run's checkpoints hold it.
        during: Context in which the model is trained and asked.
    """

    name: str
    prepare: Callable[[GARModel, int], None] = lambda model, seed: None
    during: Callable[[GARModel], contextlib.AbstractContextManager[None]] = lambda model: (
        contextlib.nullcontext()
    )


def recipe(settings: Settings, fields: dict[str, Any], output: Path, seed: int) -> TrainConfig:
    """Return an arm's configuration: the experiment's fields, then what the user sets otherwise.

    Raises:
        TrainingError: If a field is unknown or cannot be meant.
    """
    plain = {
        "model": settings.model, "output": str(output), "steps": settings.steps, "seed": seed,
        "device": settings.device, "loss_per": "answer", "plot": False, "keep": 1,
        "save_every": max(10, settings.steps // 4), "log_every": max(1, settings.steps // 30),
        **fields,
    }  # fmt: skip
    return from_dict(plain, dict(settings.assign))


def train_arm(
    arm: Arm,
    config: TrainConfig,
    looks: dict[int, Look],
    progress: Update = lambda done, total: None,
) -> dict[str, Any]:
    """Train an arm, or go on with it, and look at the model on the way.

    Args:
        arm: What is special about it.
        config: The recipe; the same for all arms of a seed.
        looks: Steps after which the model is looked at (0 for before the first) and how.
        progress: Called with (steps done, all steps).

    Returns:
        ``looks``: what was seen, by step; ``curve``: the recipe's metrics.

    Raises:
        TrainingError: As ``train``.
    """
    run = Run(config, lambda text: None)
    try:
        run.begin(resume=True)
        if run.step == 0:
            arm.prepare(run.model, config.seed)
        seen = _Seen(run.output / "looks.jsonl", run.step)
        with arm.during(run.model), memory_guard("training"):
            while True:
                if run.step in looks and run.step not in seen.lines:
                    run.model.eval()
                    seen.add(run.step, looks[run.step](run.model, run.processor))
                    run.model.train()
                progress(run.step, config.steps)
                if run.step == config.steps:
                    break
                run.take_step()
    finally:
        run.close()
    curve = [
        {"step": line["step"], "loss": line["loss"], "right": line["right"]}
        for line in read_metrics(run.output / "metrics.jsonl")
    ]
    return {"looks": {str(step): line for step, line in seen.lines.items()}, "curve": curve}


def each_arm(
    folder: Folder,
    settings: Settings,
    arms: Sequence[Arm],
    make: Callable[[Arm, int, Update], dict[str, Any]],
    progress: Update,
) -> dict[str, list[dict[str, Any]]]:
    """Return every arm's results, a part a seed, making those that are not there yet.

    Args:
        folder: Where they are kept.
        settings: How many seeds and steps.
        arms: The arms; taken in turn, so that an interrupted experiment has whole seeds.
        make: Makes a part, given the arm, the seed and whom to tell of steps done.
        progress: Called with (steps done, all steps).
    """
    parts: dict[str, list[dict[str, Any]]] = {arm.name: [] for arm in arms}
    whole = settings.seeds * len(arms) * settings.steps
    before = 0
    for seed in range(settings.seeds):
        for arm in arms:

            def work(arm: Arm = arm, seed: int = seed, before: int = before) -> dict[str, Any]:
                return make(arm, seed, lambda done, total: progress(before + done, whole))

            parts[arm.name].append(folder.part(f"{arm.name}-{seed}", work))
            before += settings.steps
            progress(before, whole)
    return parts


class _Seen:
    """What was seen on the way, kept beside the run; what a crash undid is seen again."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self.lines: dict[int, dict[str, Any]] = {}
        for line in read_metrics(path):
            if line["step"] <= step:
                self.lines[int(line["step"])] = line["seen"]

    def add(self, step: int, seen: dict[str, Any]) -> None:
        self.lines[step] = seen
        kept: Iterable[str] = (
            json.dumps({"step": n, "seen": line}) + "\n" for n, line in self.lines.items()
        )
        self._path.write_text("".join(kept), encoding="utf-8")


def restart_decoder(model: GARModel, seed: int) -> None:
    """Draw the decoder's layers anew; words, head, projector and vision tower stay."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.language_model.layers.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(1.0 if "norm" in name else 0.0)
                continue
            fresh = torch.empty(parameter.shape, dtype=torch.float32)
            fresh.normal_(0, 0.02, generator=generator)
            parameter.copy_(fresh)
