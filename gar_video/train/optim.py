"""Optimisers for training from scratch: Muon for the matrices, AdamW for everything else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def orthogonalise(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Push the singular values of a stack of matrices towards 1, by a quintic iteration.

    Args:
        matrices: ``[K, m, n]``.
        steps: Iterations; five bring everything into about 0.7 … 1.2.

    Returns:
        ``[K, m, n]``.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        # Coefficients of Muon's published iteration: steep at zero, flat around one.
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, for weight matrices.

    Args:
        params: Matrices ``[m, n]``.
        lr: Length of a step: the update's root mean square is about ``0.2 * lr * 5``, whatever
            the matrix's shape.
        momentum: Nesterov momentum.
        weight_decay: Decoupled decay.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            list(params), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take one step; matrices of one shape are treated in one batch."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, members in shapes.items():
                updates = []
                for parameter in members:
                    state = self.state[parameter]
                    if not state:
                        state["momentum"] = torch.zeros_like(parameter)
                    momentum = state["momentum"]
                    momentum.lerp_(parameter.grad, 1 - group["momentum"])
                    updates.append(parameter.grad.lerp(momentum, group["momentum"]))
                steps = orthogonalise(torch.stack(updates))
                scale = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
                for parameter, update in zip(members, steps, strict=True):
                    if group["weight_decay"]:
                        parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-scale)


class Both:
    """Muon and AdamW as one, with a common multiplier on both learning rates.

    Args:
        matrices: For Muon.
        others: For AdamW.
        lr_matrices: Muon's rate.
        lr_others: AdamW's rate.
        slow: For AdamW at a tenth of its rate: weights that start where they should stay near.
        weight_decay: Muon's.
    """

    def __init__(
        self,
        matrices: list[nn.Parameter],
        others: list[nn.Parameter],
        lr_matrices: float,
        lr_others: float,
        slow: list[nn.Parameter] | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        self.muon = Muon(matrices, lr=lr_matrices, weight_decay=weight_decay) if matrices else None
        self.adamw = torch.optim.AdamW(
            [{"params": others, "share": 1.0}, {"params": slow or [], "share": 0.1}],
            lr=lr_others,
            betas=(0.9, 0.98),
            weight_decay=0.0,
        )
        self._base = (lr_matrices, lr_others)

    def step(self, multiplier: float) -> None:
        """Step both at their rates times ``multiplier``, and clear the gradients."""
        if self.muon is not None:
            for group in self.muon.param_groups:
                group["lr"] = self._base[0] * multiplier
            self.muon.step()
            self.muon.zero_grad(set_to_none=True)
        for group in self.adamw.param_groups:
            group["lr"] = self._base[1] * group["share"] * multiplier
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return both optimisers' states."""
        return {
            "muon": self.muon.state_dict() if self.muon is not None else None,
            "adamw": self.adamw.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take both optimisers' states."""
        if self.muon is not None:
            self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


def schedule(done: float, warmup: float = 0.02, floor: float = 0.03, hold: float = 0.3) -> float:
    """Return the rate multiplier at a share ``done`` of a run: warm-up, flat, long decay.

    Args:
        done: 0 … 1.
        warmup: Share of the run that warms up.
        floor: Where the decay ends.
        hold: Where the decay begins.
    """
    if done < warmup:
        return max(done / warmup, 0.02)
    if done < hold:
        return 1.0
    share = min(1.0, (done - hold) / (1 - hold))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))


class Average:
    """Running mean of a model's weights: nearly as good as a decayed rate, at any time.

    Args:
        model: The model.
        keep: Share of the mean kept each step, once it has seen enough steps.
    """

    def __init__(self, model: nn.Module, keep: float = 0.997) -> None:
        self.keep = keep
        self.steps = 0
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in a step's weights."""
        self.steps += 1
        # At first over the last tenth of the steps: the very first weights are worth nothing.
        share = max(1 - self.keep, 10 / (self.steps + 10))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.weights[name].lerp_(parameter, share)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights with the mean; a second call undoes it."""
        for name, parameter in model.named_parameters():
            kept = parameter.detach().clone()
            parameter.copy_(self.weights[name])
            self.weights[name] = kept
