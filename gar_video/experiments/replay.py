"""(a) Region tokens replayed from the whole frame's features, or encoded from the region's crop.

Both arms begin with the same weights, see the same samples in the same order, take the same number
of steps and read the same number of tokens. The crop is the region's box, resized to a tile, with
its own mask, through the same tower, mask embedding and projector; the frames' own tokens stand
before it in both arms.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torchvision.ops import roi_align

from gar_video.checkpoint import locate, read_config
from gar_video.experiments import report
from gar_video.experiments.folder import Folder, Settings, Update
from gar_video.experiments.questions import Plan, check_kinds, draw, rights, score
from gar_video.experiments.training import (
    Arm,
    Look,
    each_arm,
    recipe,
    restart_decoder,
    train_arm,
)  # fmt: skip
from gar_video.model import FeatureMap, GARModel
from gar_video.processor import GARProcessor

LOOKS = ("color", "shape")
CONTEXT = ("place start", "place end", "direction")
_FRAMES = 3
# Bars and curves may be anywhere below.
_ABOVE: dict[str, Any] = {
    "frameon": False, "loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2,
}  # fmt: skip
_SORTS = {"needs context": True, "needs none": False, "all": None}

#: From decoder layers drawn anew, as nano's own training does it; and on from what is there, for
#: small checkpoints and for others.
_FRESH = {
    "optimizer": "muon", "muon_rate": 0.02, "learning_rate": 2e-3, "betas": [0.9, 0.98],
    "parts": ["language_model", "projector", "vision"], "slow": ["projector", "vision"],
    "warmup": 0.05, "batch": 4,
}  # fmt: skip
_KEPT_SMALL = {
    "learning_rate": 5e-4, "parts": ["language_model", "projector", "vision"],
    "slow": ["projector", "vision"], "warmup": 0.05, "batch": 4,
}  # fmt: skip
_KEPT = {
    "learning_rate": 1e-5, "parts": ["language_model", "projector", "vision"], "batch": 1,
    "accumulate": 4, "checkpointing": True,
}  # fmt: skip


def cut(
    pictures: torch.Tensor, boxes: torch.Tensor, maps: Sequence[FeatureMap], side: int
) -> torch.Tensor:
    """Cut regions out of tiles and resize them to a tile.

    Args:
        pictures: ``[N, C, S, S]`` tiles.
        boxes: ``[R, 5]``, as in ``ModelInputs``.
        maps: The pictures that the boxes' first column counts.
        side: Pixels of a side of the result.

    Returns:
        ``[R, C, side, side]``, in the order of ``boxes``.
    """
    cuts = pictures.new_empty((len(boxes), pictures.shape[1], side, side))
    for index, place in enumerate(maps):
        rows = (boxes[:, 0] == index).nonzero().squeeze(1)
        if not len(rows):
            continue
        tiles = pictures[place.first_tile : place.first_tile + place.rows * place.columns]
        grid = tiles.unflatten(0, (place.rows, place.columns)).permute(2, 0, 3, 1, 4)
        whole = grid.flatten(3, 4).flatten(1, 2)[None].float()  # [1, C, rows * S, columns * S]
        height, width = whole.shape[-2:]
        own = boxes[rows].float() * boxes.new_tensor([0, width, height, width, height])
        # A box of one pixel has no extent, as its last pixel's own index counts.
        own[:, 3:] = torch.maximum(own[:, 3:], own[:, 1:3] + 1)
        found = roi_align(whole, own, output_size=side, sampling_ratio=2, aligned=True)
        cuts[rows] = found.to(cuts.dtype)
    return cuts


@contextlib.contextmanager
def cropped(model: GARModel) -> Iterator[None]:
    """Let region tokens come from the regions' crops instead of from the frames' features."""
    encode = model.encode_tiles
    seen: dict[str, torch.Tensor | None] = {}

    def remember(pixels: torch.Tensor, mask_values: torch.Tensor | None = None) -> torch.Tensor:
        seen.update(pixels=pixels, masks=mask_values)
        return encode(pixels, mask_values)

    def crop(
        features: torch.Tensor, boxes: torch.Tensor, maps: tuple[FeatureMap, ...]
    ) -> torch.Tensor:
        pixels, region = seen["pixels"], seen["masks"]
        assert pixels is not None
        side = pixels.shape[-1]
        own = None
        if region is not None:
            own = (cut(region, boxes, maps, side) > 0.5).to(region.dtype)
        return encode(cut(pixels, boxes, maps, side), own)

    model.encode_tiles = remember  # type: ignore[method-assign, assignment]
    model.replay = crop  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del model.encode_tiles, model.replay


def is_small(model: str) -> bool:
    """Say whether a checkpoint is of nano's kind, whose decoder can be taught in minutes."""
    return int(read_config(locate(model)).mllm_config.text_config.hidden_size) < 512


def run(
    settings: Settings,
    *,
    decoder: str = "kept",
    kinds: Sequence[str] = (*LOOKS, *CONTEXT),
    progress: Update = lambda done, total: None,
) -> dict[str, Any]:
    """Run the experiment, or go on with it.

    Args:
        settings: What to do.
        decoder: ``"kept"`` goes on from the checkpoint, which learned to read replayed tokens: the
            crop arm must first learn to read its own. How far it got shows in questions that need
            no context. ``"fresh"`` draws the decoder's layers anew, so that neither arm begins with
            knowing how to read regions; that takes many times the steps.
        kinds: Kinds of questions, about one object, that are taught and asked.
        progress: Called with (steps done, all steps).

    Returns:
        The result as plain data; ``result.json``, ``table.md`` and ``plot.png`` are written.
    """
    check_kinds(kinds, 1)
    fresh, kept = decoder == "fresh", _KEPT_SMALL if is_small(settings.model) else _KEPT
    folder = Folder("replay", settings, {"fresh": fresh, "kinds": list(kinds)})
    prepare = restart_decoder if fresh else (lambda model, seed: None)
    arms = [Arm("replay", prepare), Arm("crop", prepare, cropped)]
    side = read_config(locate(settings.model)).tile_size
    plan = Plan(tuple(kinds), _FRAMES, level=settings.level, side=side)
    data = {
        "kind": "rendered", "level": settings.level, "frames": [_FRAMES], "objects": [1],
        "kinds": list(kinds), "questions": 24, "photos": 0, "choices": 0,
    }  # fmt: skip
    if settings.by == "letter":
        data["choices"] = 1.0
    fields = {**(_FRESH if fresh else kept), "data": [data]}
    parts = each_arm(
        folder, settings, arms,
        lambda arm, seed, told: _train(arm, seed, settings, folder, plan, fields, told), progress,
    )  # fmt: skip
    return _finish(folder, parts, settings, fresh)


def _train(
    arm: Arm,
    seed: int,
    settings: Settings,
    folder: Folder,
    plan: Plan,
    fields: dict[str, Any],
    progress: Update,
) -> dict[str, Any]:
    items = draw(plan, settings.questions, seed)

    def look(model: GARModel, processor: GARProcessor) -> dict[str, Any]:
        return {"answers": score(model, processor, items, settings.by)}

    name = f"{arm.name}-{seed}"
    config = recipe(settings, fields, folder.run_of(name), seed)
    looks: dict[int, Look] = {config.steps: look, config.steps // 2: look}
    made = train_arm(arm, config, looks, progress)
    folder.forget_run(name)
    return made


def _finish(
    folder: Folder, parts: dict[str, list[dict[str, Any]]], settings: Settings, fresh: bool
) -> dict[str, Any]:
    """Write table, plot and JSON."""
    arms = {name: _summary(lines, settings.steps) for name, lines in parts.items()}
    differences = {
        sort: report.interval(
            [a - b for a, b in zip(arms["replay"]["seeds"][sort], arms["crop"]["seeds"][sort],
                                   strict=True)]
        )
        for sort in arms["replay"]["seeds"]
    }  # fmt: skip
    result = {
        **folder.identity, "arms": arms, "replay minus crop": differences, "fresh decoder": fresh,
    }  # fmt: skip
    names = [n for n in arms["replay"]["seeds"] if n in _SORTS]
    names += [n for n in arms["replay"]["seeds"] if n not in _SORTS]
    rows = [
        [name, *(report.shown(arms[arm]["share"][name]) for arm in ("replay", "crop")),
         report.shown(differences[name]), str(arms["replay"]["questions"][name])]
        for name in names
    ]  # fmt: skip
    head = ("questions", "replay, % right", "crop, % right", "replay - crop", "n a seed")
    text = report.table(head, rows)
    report.write(folder.path, result, text)
    report.figure(folder.path / "plot.png", lambda made: _plot(made, parts, arms), (10, 4.2))
    return {**result, "table": text}


def _summary(parts: Sequence[dict[str, Any]], steps: int) -> dict[str, Any]:
    """Return shares by sort and kind at the end, a number a seed and their mean."""
    answers = [part["looks"][str(steps)]["answers"] for part in parts]
    kinds = sorted({line["kind"] for lines in answers for line in lines})
    found: dict[str, list[list[bool]]] = {}
    for name in (*_SORTS, *kinds):
        chosen = [[x for x in lines if name in _SORTS or x["kind"] == name] for lines in answers]
        right = [rights(lines, _SORTS.get(name)) for lines in chosen]
        if all(right):
            found[name] = right
    return {
        "seeds": {name: [sum(one) / len(one) for one in right] for name, right in found.items()},
        "share": {name: report.share_of(right) for name, right in found.items()},
        "questions": {name: len(right[0]) for name, right in found.items()},
    }


def _plot(made: Any, parts: dict[str, list[dict[str, Any]]], arms: dict[str, Any]) -> None:
    left, right = made.subplots(1, 2)
    sorts = [name for name in ("needs context", "needs none") if name in arms["replay"]["share"]]
    for n, (arm, found) in enumerate(arms.items()):
        for m, sort in enumerate(sorts):
            mean, error = report.bars(found["share"][sort])
            at = m + (n - 0.5) * 0.36
            left.bar(at, mean, 0.34, color=report.COLORS[n], label=arm if m == 0 else None)
            left.errorbar(at, mean, yerr=error, color="black", capsize=3)
            for value in found["seeds"][sort]:
                left.plot(at, 100 * value, "o", color="white", mec="black", markersize=4)
    left.axhline(25, color="grey", linestyle=":", linewidth=1)
    left.set_xticks(range(len(sorts)), [f"question {sort}" for sort in sorts])
    left.set_ylabel("right on unseen clips, %")
    left.set_ylim(0, 100)
    left.legend(**_ABOVE)
    for n, (arm, runs) in enumerate(parts.items()):
        for m, one in enumerate(runs):
            steps = [line["step"] for line in one["curve"]]
            values = [100 * line["right"] for line in one["curve"]]
            right.plot(steps, values, color=report.COLORS[n], linewidth=1,
                       label=arm if m == 0 else None)  # fmt: skip
    right.set_xlabel("step")
    right.set_ylabel("training answers right throughout, %")
    right.set_ylim(0, 100)
    right.legend(**_ABOVE)
