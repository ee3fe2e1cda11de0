"""Heads on the decoder's hidden states at replayed regions: time, taught directly.

Through answers alone a small decoder needs hundreds of steps to find out that a region's tokens in
one frame are to be compared with those in the frame before. Linear heads that read a middle layer
at every region and are asked how far it has come make that comparison the first thing it learns.
Thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gar_video.synth import events
from gar_video.synth.answers import TABLES
from gar_video.synth.appearance import COLORS, SHAPES, SIZE_NAMES
from gar_video.synth.kinds import KINDS
from gar_video.synth.motion import DIRECTION_NAMES, compass
from gar_video.train.packing import Layout
from gar_video.train.samples import Sample

_ACTS = ("still", *DIRECTION_NAMES, "circle")
_SIGHTS = ("always", "start", "end", "start and end", "middle")
_RELATIONS = ("left", "right", "above", "below")
_ENCOUNTERS = ("behind", "front", "touch", "follow", "lead", "apart")
_TRENDS = ("closer", "farther", "same", "closer then farther")
_NUMBERS = 9
#: Kinds of questions whose answers are read off an object's last region: of the object, and of it
#: with the prompt's first object and with the one before it.
_OF_ONE = (
    "place start", "place end", "enter side", "leave side", "seen when", "why unseen", "why stop",
    "next edge",
)  # fmt: skip
_OF_PAIRS = (
    "where start", "where end", "meet", "distance", "in common", "moving start", "moving end",
    "same way",
)  # fmt: skip
#: Of those, what one picture tells.
_AT_ONCE = ("in common",)


def _answers(kind: str) -> tuple[str, ...]:
    return tuple(TABLES[KINDS[kind].family])


#: Head -> how many answers it knows.
CLASSES = {
    "color": len(COLORS),
    "shape": len(SHAPES),
    "size": len(SIZE_NAMES),
    "slot": 9,
    "frame": 8,
    "step": 1 + len(DIRECTION_NAMES),
    "first": len(_ACTS),
    "last": len(_ACTS),
    "sight": len(_SIGHTS),
    "relation": len(_RELATIONS),
    "meet": len(_ENCOUNTERS),
    "trend": len(_TRENDS),
    **{f"its {kind}": len(_answers(kind)) for kind in _OF_ONE},
    **{f"lead {kind}": len(_answers(kind)) for kind in _OF_PAIRS},
    **{f"prev {kind}": len(_answers(kind)) for kind in _OF_PAIRS},
}


@dataclass
class RegionTruth:
    """What is true of each region of a batch, in order; NaN and -100 where nothing is asked.

    Attributes:
        classes: Name of head -> ``[R]`` int64.
        numbers: ``[R, 9]`` float32: centre, way since the last region of the object, way since
            its first, offset from the first slot's object in this frame, visible share.
    """

    classes: dict[str, torch.Tensor]
    numbers: torch.Tensor


def region_truth(samples: Sequence[Sample]) -> RegionTruth:
    """Read what the heads are to say off the samples' truth."""
    classes: dict[str, list[int]] = {name: [] for name in CLASSES}
    numbers: list[list[float]] = []
    for sample in samples:
        truth, labels = sample.truth, sample.truth.labels
        at = sample.frame_indices
        centre = labels.centre[:, at]
        for slot, k in enumerate(sample.objects):
            own = np.flatnonzero(sample.visible[slot])
            for n, t in enumerate(own):
                row = dict.fromkeys(CLASSES, -100)
                here, lead = centre[k, t], sample.objects[0]
                before = centre[k, own[n - 1]] if n else None
                values = [*here, *([np.nan] * 6), labels.visible[k, at[t]]]
                row["color"], row["shape"] = int(labels.color[k, at[t]]), int(labels.shape[k])
                row["slot"] = slot if not sample.is_image else -100
                if sample.scene.objects[k].resize is None:
                    row["size"] = int(labels.size[k])
                if len(at) in (4, 6, 8):
                    row["frame"] = int(t)
                if before is not None:
                    values[2:4] = (here - before).tolist()
                    values[4:6] = (here - centre[k, own[0]]).tolist()
                    row["step"] = _step(here - before, sample.scene.aspect)
                if slot and sample.visible[0, t]:
                    values[6:8] = (here - centre[lead, t]).tolist()
                    row["relation"] = _class(_RELATIONS, events.relation(truth, k, lead, at[t]))
                if n == len(own) - 1:
                    row |= _final(sample, slot, len(at) >= 3)
                if n == len(own) - 1 and len(at) >= 3:
                    row["first"] = _class(_ACTS, events.first_act(truth, k))
                    row["last"] = _class(_ACTS, events.last_act(truth, k))
                    row["sight"] = _class(_SIGHTS, events.sight(truth, k))
                    if slot:
                        row["meet"] = _class(_ENCOUNTERS, events.encounter(truth, k, lead))
                        row["trend"] = _class(_TRENDS, events.trend(truth, k, lead))
                numbers.append(values)
                for name, value in row.items():
                    classes[name].append(value)
    return RegionTruth(
        {name: torch.tensor(values) for name, values in classes.items()},
        torch.tensor(np.array(numbers), dtype=torch.float32),
    )


def _final(sample: Sample, slot: int, moving: bool) -> dict[str, int]:
    """Return the answers to be read off an object's last region, as classes."""
    k, row = sample.objects[slot], {}
    pairs = [("lead", 0)] * (slot > 0) + [("prev", slot - 1)] * (slot > 1)
    for name in _OF_ONE if moving else ():
        row[f"its {name}"] = _class(_answers(name), KINDS[name].answer(sample.truth, (k,), ""))
    for which, other in pairs:
        for name in _OF_PAIRS if moving else _AT_ONCE:
            key = KINDS[name].answer(sample.truth, (k, sample.objects[other]), "")
            row[f"{which} {name}"] = _class(_answers(name), key)
    return row


def _class(names: tuple[str, ...], value: str | None) -> int:
    return names.index(value) if value in names else -100


def _step(way: np.ndarray, aspect: float) -> int:
    dx, dy = way[0] * aspect, way[1]
    length = float(np.hypot(dx, dy))
    if length < 0.012:
        return 0
    return 1 + DIRECTION_NAMES.index(compass(dx, dy)) if length > 0.03 else -100


class RegionHeads(nn.Module):
    """Linear readers of the decoder's hidden states at regions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.classes = nn.ModuleDict({name: nn.Linear(width, n) for name, n in CLASSES.items()})
        self.numbers = nn.Linear(width, _NUMBERS)

    def loss(
        self, hidden: torch.Tensor, layout: Layout, truth: RegionTruth, per_tile: int
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss and how right each head is.

        Args:
            hidden: ``[B, L, D]`` of a middle layer.
            layout: Of the batch.
            truth: Of its regions.
            per_tile: Tokens of a region.
        """
        tokens = hidden.flatten(0, 1)[layout.regions].unflatten(0, (-1, per_tile))  # [R, g*g, D]
        read = self.norm(tokens[:, per_tile // 2 :].mean(1))  # [R, D]
        total, right = read.new_zeros(()), {}
        for name, head in self.classes.items():
            target = truth.classes[name]
            known = target >= 0
            if not known.any():
                continue
            logits = head(read[known])
            # Which object a region belongs to is what every question about several hangs on.
            weight = 4.0 if name == "slot" else 1.0
            total = total + weight * F.cross_entropy(logits, target[known])
            right[name] = float((logits.detach().argmax(1) == target[known]).float().mean())
        numbers = self.numbers(read)
        known = ~truth.numbers.isnan()
        error = F.smooth_l1_loss(numbers[known], truth.numbers[known], beta=0.05)
        off = (numbers.detach() - truth.numbers).abs()
        right["way"] = float(off[:, 2:4][known[:, 2:4]].mean()) if known[:, 2].any() else 0.0
        right["xy"] = float(off[:, :2].mean())
        return total / 12 + 5.0 * error, right
