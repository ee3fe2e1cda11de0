"""The optimisers of the recipe: AdamW, or Muon for the matrices inside blocks beside AdamW."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from gar_video.train.optim import Muon
from gar_video.train.recipe.config import TrainConfig
from gar_video.train.recipe.parts import part_of, with_inner

# Matrices inside the blocks of decoder and vision tower, adapters' included. The embedding, the
# head and the projector are no maps within one space: under Muon their scale runs away.
_INSIDE = re.compile(
    r"(language_model\.layers|vision_tower\.timm_model\.blocks)\.\d+\..*\bweight$"
    r"|(language_model\.layers|vision_tower\.timm_model\.blocks)\.\d+\..*\blora_[AB]\."
)


def build(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser of what is trained in a model.

    Every group holds its own highest rate under ``peak``; the loop scales it by the schedule.

    Args:
        model: The model, prepared: what needs gradients is trained.
        config: The run's configuration.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    betas, peak = (config.betas[0], config.betas[1]), config.learning_rate
    matrices: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    slow = with_inner(config.slow)
    for share in (1.0, 0.1):
        own = [(name, p) for name, p in named if (_part(name) in slow) == (share < 1)]
        to_muon = [
            p for name, p in own
            if config.optimizer == "muon" and p.ndim == 2 and _INSIDE.search(name)
        ]  # fmt: skip
        apart = {id(p) for p in to_muon}
        rest = [p for _, p in own if id(p) not in apart]
        decay = {"weight_decay": config.weight_decay}
        matrices.append({"params": to_muon, **decay, "peak": config.muon_rate * share})
        others += [
            {"params": [p for p in rest if p.ndim >= 2], **decay, "peak": peak * share},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "peak": peak * share},
        ]
    matrices = [group for group in matrices if group["params"]]
    others = [group for group in others if group["params"]]
    if not matrices:
        return torch.optim.AdamW(others, lr=peak, betas=betas)
    return MuonBesideAdamW(matrices, others, peak, betas)


def _part(name: str) -> str | None:
    return part_of(name.replace("base_layer.", ""))


class MuonBesideAdamW(torch.optim.Optimizer):
    """Muon and AdamW as one optimiser with one state, so that it is kept and resumed like any.

    Args:
        matrices: Muon's groups.
        others: AdamW's groups; may be none.
        learning_rate: AdamW's rate.
        betas: AdamW's.
    """

    def __init__(
        self,
        matrices: list[dict[str, Any]],
        others: list[dict[str, Any]],
        learning_rate: float,
        betas: tuple[float, float],
    ) -> None:
        super().__init__([*matrices, *others], {"lr": learning_rate})
        plain = [dict(group) for group in matrices]
        self._parts: list[torch.optim.Optimizer] = [Muon(plain)]
        if others:
            plain = [dict(group) for group in others]
            self._parts.append(torch.optim.AdamW(plain, lr=learning_rate, betas=betas))
        for part in self._parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take one step of both, at the rates that the groups hold."""
        own = [group for part in self._parts for group in part.param_groups]
        for inner, outer in zip(own, self.param_groups, strict=True):
            inner["lr"] = outer["lr"]
        for part in self._parts:
            part.step()
