"""(c) How accuracy changes as more objects are prompted: evaluation only.

Twice: in scenes of as many things as are prompted, and in one set of crowded scenes of which more
and more things are prompted. In the second, clips and questions are the same at every number, so
that only the prompts differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gar_video.checkpoint import load_checkpoint
from gar_video.devices import resolve_device
from gar_video.errors import GARVideoError
from gar_video.experiments import report
from gar_video.experiments.folder import Folder, Settings, Update
from gar_video.experiments.questions import Item, Plan, check_kinds, draw, rights, score
from gar_video.processor import GARProcessor
from gar_video.prompt import RegionPrompt

KINDS = ("color", "shape", "place start", "direction")
COUNTS = (1, 2, 5, 9)
SCENES = ("as many things", "the same crowd")
# Kept free of the context for words.
_ROOM = 512


def only(item: Item, count: int, rng: np.random.Generator) -> Item:
    """Prompt so many of an item's objects, among them those asked about, in a new order."""
    asked = {i for question in item.questions for i in question.object_ids}
    slots = item.prompt.slots
    others = [slot for slot in slots if slot.object_id not in asked]
    kept = [slot for slot in slots if slot.object_id in asked]
    kept += [others[int(n)] for n in rng.permutation(len(others))[: count - len(kept)]]
    ordered = [kept[int(n)] for n in rng.permutation(len(kept))]
    renumbered = tuple(replace(slot, number=number) for number, slot in enumerate(ordered))
    return Item(RegionPrompt(item.prompt.frames, renumbered), item.questions)


def run(
    settings: Settings,
    *,
    counts: Sequence[int] = COUNTS,
    kinds: Sequence[str] = KINDS,
    progress: Update = lambda done, total: None,
) -> dict[str, Any]:
    """Run the experiment, or go on with it.

    Args:
        settings: What to do.
        counts: Numbers of prompted objects; those above the checkpoint's prompts are left out.
        kinds: Kinds of questions, about one object, asked at every number.
        progress: Called with (questions asked, all questions).

    Returns:
        The result as plain data; ``result.json``, ``table.md`` and ``plot.png`` are written.
    """
    check_kinds(kinds, 1)
    if not counts or list(counts) != sorted(set(counts)) or not 1 <= counts[0] <= counts[-1] <= 9:
        raise GARVideoError(f"--counts {list(counts)}; expected rising numbers from 1 to 9")
    loaded = load_checkpoint(settings.model, device=resolve_device(settings.device))
    processor = GARProcessor(loaded.model.config, loaded.tokenizer, loaded.image_settings)
    usable = [count for count in counts if count <= processor.num_prompts]
    if not usable:
        raise GARVideoError(
            f"{settings.model} has {processor.num_prompts} prompts; expected --counts up to that"
        )
    frames = _frames(processor, usable[-1])
    folder = Folder(
        "prompts", settings, {"counts": usable, "kinds": list(kinds), "frames": frames}
    )  # fmt: skip
    plan = Plan(
        tuple(kinds), frames, per_clip=1, level=settings.level, side=processor.config.tile_size
    )
    cells = [(seed, scenes, n) for seed in range(settings.seeds) for scenes in SCENES
             for n in usable]  # fmt: skip
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    whole = len(cells) * settings.questions
    for place, (seed, scenes, count) in enumerate(cells):
        before = place * settings.questions

        def ask(seed: int = seed, scenes: str = scenes, count: int = count, before: int = before
                ) -> dict[str, Any]:  # fmt: skip
            items = _items(plan, scenes, count, usable[-1], settings.questions, seed)
            lines = score(loaded.model, processor, items, settings.by,
                          lambda done: progress(before + done, whole))  # fmt: skip
            return {"answers": lines}

        name = f"{scenes.replace(' ', '-')}-{count}-{seed}"
        found.setdefault((scenes, count), []).append(folder.part(name, ask))
        progress(before + settings.questions, whole)
    return _finish(folder, found, usable, kinds)


def _frames(processor: GARProcessor, most: int) -> int:
    """Return the most frames, up to the checkpoint's own, in which so many prompts fit."""
    frames = processor.config.num_frames
    while frames > 1 and (
        processor.tokens_for(frames, frames * most) + _ROOM > processor.context_length
    ):
        frames -= 1
    return frames


def _items(plan: Plan, scenes: str, count: int, most: int, questions: int, seed: int) -> list[Item]:
    if scenes == SCENES[0]:
        return draw(replace(plan, pointed=count, crowd=count), questions, 100 * seed + count)
    crowd = draw(replace(plan, pointed=most, crowd=most), questions, 100 * seed)
    rng = np.random.Generator(np.random.PCG64([78, seed, count]))
    return [only(item, count, rng) for item in crowd]


def _finish(
    folder: Folder,
    found: dict[tuple[str, int], list[dict[str, Any]]],
    counts: Sequence[int],
    kinds: Sequence[str],
) -> dict[str, Any]:
    """Write table, plot and JSON."""
    cells: dict[str, dict[str, Any]] = {scenes: {} for scenes in SCENES}
    for (scenes, count), parts in found.items():
        lines = [part["answers"] for part in parts]
        cells[scenes][str(count)] = {
            name: report.share_of(
                [rights([x for x in own if name in ("all", x["kind"])]) for own in lines]
            )
            for name in ("all", *kinds)
        }
    result = {**folder.identity, "accuracy": cells}
    head = ("scenes", "prompted", *("all", *kinds))
    rows = [
        [scenes, str(count), *(report.shown(cells[scenes][str(count)][n]) for n in ("all", *kinds))]
        for scenes in SCENES
        for count in counts
    ]
    text = report.table(head, rows)
    report.write(folder.path, result, text)
    report.figure(folder.path / "plot.png", lambda made: _plot(made, cells, counts, kinds), (10, 4))
    return {**result, "table": text}


def _plot(
    made: Any, cells: dict[str, dict[str, Any]], counts: Sequence[int], kinds: Sequence[str]
) -> None:
    for place, scenes in zip(made.subplots(1, 2, sharey=True), SCENES, strict=True):
        for n, name in enumerate(kinds):
            means = [100 * cells[scenes][str(count)][name]["mean"] for count in counts]
            place.plot(counts, means, color=report.COLORS[n % 4], linewidth=1, label=name)
        whole = [report.bars(cells[scenes][str(count)]["all"]) for count in counts]
        errors = np.concatenate([np.array(error) for _, error in whole], 1)
        place.errorbar(counts, [mean for mean, _ in whole], yerr=errors, color="black",
                       linewidth=2, capsize=3, marker="o", markersize=4, label="all")  # fmt: skip
        place.axhline(25, color="grey", linestyle=":", linewidth=1)
        crowd = "of as many things" if scenes == SCENES[0] else f"of {counts[-1]} things"
        place.set_title(f"scenes {crowd}", fontsize=10)
        place.set_xticks(counts)
        place.set_xlabel("objects prompted")
        place.set_ylim(0, 103)
    made.axes[0].set_ylabel("right, %")
    made.axes[0].legend(frameon=False, fontsize=8, ncols=2, loc="lower left")
