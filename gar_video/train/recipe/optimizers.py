"""The optimisers of the recipe: AdamW, or Muon for the matrices inside blocks beside AdamW."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from gar_video.train.optim import Muon
from gar_video.train.recipe.config import TrainConfig

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
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = []
    if config.optimizer == "muon":
        matrices = [p for name, p in trained if p.ndim == 2 and _INSIDE.search(name)]
    apart = {id(p) for p in matrices}
    rest = [p for _, p in trained if id(p) not in apart]
    decay, peak = config.weight_decay, config.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": decay, "peak": peak},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "peak": peak},
    ]
    groups = [group for group in groups if group["params"]]
    betas = (config.betas[0], config.betas[1])
    if not matrices:
        return torch.optim.AdamW(groups, lr=peak, betas=betas)
    own = {"params": matrices, "weight_decay": decay, "peak": config.muon_rate}
    return MuonBesideAdamW(own, groups, peak, betas)


class MuonBesideAdamW(torch.optim.Optimizer):
    """Muon and AdamW as one optimiser with one state, so that it is kept and resumed like any.

    Args:
        matrices: Muon's group.
        others: AdamW's groups; may be empty.
        learning_rate: AdamW's rate.
        betas: AdamW's.
    """

    def __init__(
        self,
        matrices: dict[str, Any],
        others: list[dict[str, Any]],
        learning_rate: float,
        betas: tuple[float, float],
    ) -> None:
        super().__init__([matrices, *others], {"lr": learning_rate})
        self._muon = Muon(matrices["params"], lr=matrices["peak"])
        self._adamw: torch.optim.AdamW | None = None
        if others:
            self._adamw = torch.optim.AdamW(
                [dict(group) for group in others], lr=learning_rate, betas=betas
            )
        for optimizer in (self._muon, self._adamw):
            if optimizer is not None:
                optimizer.state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take one step of both, at the rates that the groups hold."""
        first, *rest = self.param_groups
        self._muon.param_groups[0].update(lr=first["lr"], weight_decay=first["weight_decay"])
        self._muon.step()
        if self._adamw is not None:
            for own, group in zip(self._adamw.param_groups, rest, strict=True):
                own["lr"] = group["lr"]
            self._adamw.step()
