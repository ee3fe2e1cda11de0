"""(b) A mask embedding of zeros, or of random numbers, added to a trained base.

The base is a checkpoint whose mask embedding is taken out. Both arms train everything on the same
samples; on the way they are asked about prompted objects, and, by name, about things in clips where
nothing is prompted or where something else is: what a base could do before should not suffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gar_video.checkpoint import load_checkpoint, locate, read_config
from gar_video.devices import resolve_device
from gar_video.experiments import report
from gar_video.experiments.folder import Folder, Settings, Update
from gar_video.experiments.named import draw_named
from gar_video.experiments.questions import Item, Plan, draw, rights, score
from gar_video.experiments.replay import is_small
from gar_video.experiments.training import Arm, Look, each_arm, recipe, train_arm
from gar_video.model import GARModel
from gar_video.processor import GARProcessor

#: Steps after which the model is looked at, beside the last.
EARLY = (0, 1, 2, 4, 8, 16)
KINDS = ("color", "shape", "place start", "place end", "direction")
SETS = ("prompted", "nothing prompted", "prompted elsewhere")
_FRAMES = 4
# At six times the rate the first steps undo what either arm could do.
_SMALL = {"learning_rate": 5e-5, "warmup": 0.1, "batch": 4}
_LARGE = {"learning_rate": 1e-5, "batch": 1, "accumulate": 4, "checkpointing": True}


def zero(model: GARModel, seed: int) -> None:
    """Make the mask embedding zero: at first nothing is added."""
    with torch.no_grad():
        model.mask_patch_embedding.weight.zero_()


def random(model: GARModel, seed: int) -> None:
    """Draw the mask embedding as torch draws a new convolution."""
    weight = model.mask_patch_embedding.weight
    bound = weight[0].numel() ** -0.5
    fresh = torch.empty(weight.shape, dtype=torch.float32)
    fresh.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        weight.copy_(fresh)


def run(settings: Settings, *, progress: Update = lambda done, total: None) -> dict[str, Any]:
    """Run the experiment, or go on with it.

    Args:
        settings: What to do.
        progress: Called with (steps done, all steps).

    Returns:
        The result as plain data; ``result.json``, ``table.md`` and ``plot.png`` are written.
    """
    folder = Folder("init", settings, {"kinds": list(KINDS)})
    arms = [Arm("zero", zero), Arm("random", random)]
    side = read_config(locate(settings.model)).tile_size
    fields: dict[str, Any] = dict(_SMALL if is_small(settings.model) else _LARGE)
    fields["data"] = [{
        "kind": "rendered", "level": settings.level, "frames": [_FRAMES], "objects": [1, 2],
        "questions": 16, "photos": 0, "choices": 1.0 if settings.by == "letter" else 0,
    }]  # fmt: skip
    items = [_Items(settings, seed, side) for seed in range(settings.seeds)]
    bases = [folder.part(f"base-{seed}", one.ask_base) for seed, one in enumerate(items)]
    parts = each_arm(
        folder, settings, arms,
        lambda arm, seed, told: _train(arm, seed, settings, folder, fields, items[seed], told),
        progress,
    )  # fmt: skip
    return _finish(folder, parts, bases, settings)


class _Items:
    """What is asked with one seed, drawn when it is needed."""

    def __init__(self, settings: Settings, seed: int, side: int) -> None:
        self._settings, self._seed, self._side = settings, seed, side
        self._made: dict[str, list[Item]] | None = None

    @property
    def early(self) -> dict[str, list[Item]]:
        """The three sets, small enough to be asked often."""
        if self._made is None:
            settings, seed = self._settings, self._seed
            count = max(len(KINDS), settings.questions // 4)
            plan = Plan(KINDS, _FRAMES, level=settings.level, side=self._side)
            rng = np.random.Generator(np.random.PCG64([77, seed]))
            nothing, elsewhere = draw_named(rng, count, _FRAMES, settings.level, self._side)
            self._made = dict(
                zip(SETS, (draw(plan, count, seed), nothing, elsewhere), strict=True)
            )  # fmt: skip
        return self._made

    def ask(self, model: GARModel, processor: GARProcessor) -> dict[str, Any]:
        """Ask the small sets."""
        by = self._settings.by
        return {name: score(model, processor, items, by) for name, items in self.early.items()}

    def ask_all(self, model: GARModel, processor: GARProcessor) -> dict[str, Any]:
        """Ask the small sets, and more about prompted objects."""
        settings = self._settings
        plan = Plan(KINDS, _FRAMES, level=settings.level, side=self._side)
        items = draw(plan, settings.questions, 10_000 + self._seed)
        return {
            **self.ask(model, processor), "final": score(model, processor, items, settings.by)
        }  # fmt: skip

    def ask_base(self) -> dict[str, Any]:
        """Ask the base: the checkpoint without its mask embedding."""
        device = resolve_device(self._settings.device)
        loaded = load_checkpoint(self._settings.model, device=device)
        processor = GARProcessor(loaded.model.config, loaded.tokenizer, loaded.image_settings)
        zero(loaded.model, 0)
        return self.ask_all(loaded.model, processor)


def _train(
    arm: Arm,
    seed: int,
    settings: Settings,
    folder: Folder,
    fields: dict[str, Any],
    items: _Items,
    progress: Update,
) -> dict[str, Any]:
    name = f"{arm.name}-{seed}"
    config = recipe(settings, fields, folder.run_of(name), seed)
    looks: dict[int, Look] = {step: items.ask for step in EARLY if step < config.steps}
    looks[config.steps] = items.ask_all
    made = train_arm(arm, config, looks, progress)
    folder.forget_run(name)
    return made


def _same(lines: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> list[bool]:
    """Return which questions are answered as the base answered them."""
    return [a["chosen"] == b["chosen"] for a, b in zip(lines, base, strict=True)]


def _finish(
    folder: Folder,
    parts: dict[str, list[dict[str, Any]]],
    bases: Sequence[dict[str, Any]],
    settings: Settings,
) -> dict[str, Any]:
    """Write table, plot and JSON."""
    steps = [*(step for step in EARLY if step < settings.steps), settings.steps]
    arms: dict[str, Any] = {}
    for arm, runs in parts.items():
        looks = [run["looks"] for run in runs]
        arms[arm] = {
            "final": report.share_of([rights(look[str(steps[-1])]["final"]) for look in looks]),
            "final loss": report.interval([_last_loss(run) for run in runs]),
            **{
                name: {
                    str(step): {
                        "right": report.share_of([rights(look[str(step)][name]) for look in looks]),
                        "as the base": report.share_of(
                            [_same(look[str(step)][name], base[name])
                             for look, base in zip(looks, bases, strict=True)]
                        ),
                    }
                    for step in steps
                }
                for name in SETS
            },
        }  # fmt: skip
    base = {"final": report.share_of([rights(one["final"]) for one in bases])}
    base |= {name: report.share_of([rights(one[name]) for one in bases]) for name in SETS}
    ends = {
        arm: [rights(run["looks"][str(steps[-1])]["final"]) for run in runs]
        for arm, runs in parts.items()
    }
    gap = report.interval([
        sum(a) / len(a) - sum(b) / len(b)
        for a, b in zip(ends["zero"], ends["random"], strict=True)
    ])  # fmt: skip
    result = {**folder.identity, "base": base, "arms": arms, "zero minus random, final": gap}
    text = _table(arms, base, gap, steps)
    report.write(folder.path, result, text)
    report.figure(folder.path / "plot.png", lambda made: _plot(made, parts, arms, steps), (13, 4))
    return {**result, "table": text}


def _last_loss(run: dict[str, Any]) -> float:
    tail = [line["loss"] for line in run["curve"]][-5:]
    return float(sum(tail) / len(tail))


def _table(
    arms: dict[str, Any], base: dict[str, Any], gap: dict[str, Any], steps: Sequence[int]
) -> str:
    head = ("what", "base", "zero", "random")
    rows = [["prompted, final, % right", report.shown(base["final"]),
             *(report.shown(arms[arm]["final"]) for arm in arms)]]  # fmt: skip
    rows.append(["zero - random, final", "", report.shown(gap), ""])
    rows.append(["training loss, last lines", "",
                 *(report.shown(arms[arm]["final loss"], False) for arm in arms)])  # fmt: skip
    for name in SETS:
        for step in steps:
            for sort in ("right", "as the base"):
                shown = [report.shown(arms[arm][name][str(step)][sort]) for arm in arms]
                first = report.shown(base[name]) if sort == "right" else "100.0"
                rows.append([f"{name}, step {step}, % {sort}", first, *shown])
    return report.table(head, rows)


def _plot(
    made: Any, parts: dict[str, list[dict[str, Any]]], arms: dict[str, Any], steps: Sequence[int]
) -> None:
    places = made.subplots(1, 3)
    for n, (arm, runs) in enumerate(parts.items()):
        for m, run in enumerate(runs):
            xs = [line["step"] for line in run["curve"]]
            losses = [line["loss"] for line in run["curve"]]
            places[0].plot(xs, losses, color=report.COLORS[n], linewidth=1,
                           label=arm if m == 0 else None)  # fmt: skip
        for place, sort in ((places[1], "right"), (places[2], "as the base")):
            for name, style in zip(SETS, ("-", "--", ":"), strict=True):
                found = [arms[arm][name][str(step)][sort] for step in steps]
                means = [100 * one["mean"] for one in found]
                errors = np.concatenate([np.array(report.bars(one)[1]) for one in found], 1)
                shifted = [x + 0.06 * (2 * n - 1) for x in range(len(steps))]
                place.errorbar(shifted, means, yerr=errors, color=report.COLORS[n],
                               linestyle=style, marker="o", markersize=3, capsize=2, linewidth=1.2,
                               label=f"{arm}, {name}")  # fmt: skip
            place.set_xticks(range(len(steps)), [str(step) for step in steps])
            place.set_xlabel("step")
            place.set_ylim(0, 105)
    places[0].set_xlabel("step")
    places[0].set_ylabel("training loss")
    places[0].legend(frameon=False)
    places[1].set_ylabel("right, %")
    places[2].set_ylabel("answered as the base answers, %")
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
    places[2].legend(frameon=False, fontsize=7, **above)
