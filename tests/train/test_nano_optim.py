"""Optimisers of nano's training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gar_video.train.optim import Average, Both, Muon, orthogonalise, schedule


@pytest.mark.parametrize(
    "shape", [(2, 8, 8), (1, 4, 16), (3, 16, 4)], ids=["square", "wide", "tall"]
)
def test_singular_values_are_brought_near_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    found = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
    assert found.min() > 0.4
    assert found.max() < 1.4


@pytest.mark.parametrize(
    ("done", "expected"),
    [(0.0, 0.02), (0.05, 0.5), (0.1, 1.0), (0.5, 1.0), (1.0, 0.1), (1.5, 0.1)],
    ids=["start", "warming", "warm", "hold", "end", "beyond"],
)
def test_schedule(done: float, expected: float) -> None:
    assert schedule(done, warmup=0.1, floor=0.1, hold=0.5) == pytest.approx(expected)


def test_both_lower_a_loss() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.randn(64, 8)
    y = x[:, :1] * x[:, 1:2]
    matrices = [model[0].weight]
    others = [p for p in model.parameters() if p is not model[0].weight]
    optimiser = Both(matrices, others, 0.02, 0.01)

    def loss() -> torch.Tensor:
        return (model(x) - y).square().mean()

    before = float(loss().detach())
    for _ in range(60):
        loss().backward()
        optimiser.step(1.0)
    assert float(loss().detach()) < 0.6 * before


def test_both_go_on_where_their_state_was_saved() -> None:
    def run(steps: int, state: dict | None, weight: torch.Tensor) -> tuple[torch.Tensor, dict]:
        first, second = nn.Parameter(weight.clone()), nn.Parameter(torch.ones(3))
        optimiser = Both([first], [second], 0.1, 0.1)
        if state is not None:
            optimiser.load_state_dict(state)
        for _ in range(steps):
            ((first * 2).sum() ** 2 + second.sum() ** 2).backward()
            optimiser.step(1.0)
        return first.detach(), optimiser.state_dict()

    start = torch.arange(6.0).reshape(2, 3)
    whole, _ = run(4, None, start)
    half, state = run(2, None, start)
    rest, _ = run(2, state, half)
    assert torch.equal(whole, rest)


def test_muon_leaves_what_has_no_gradient() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    Muon([weight]).step()
    assert torch.equal(weight, torch.ones(2, 2))


def test_average_follows_and_swaps_back() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = Average(model, keep=0.5)
    with torch.no_grad():
        model.weight.fill_(10.0)
    for _ in range(60):
        average.update(model)
    average.swap(model)
    assert float(model.weight.detach()) == pytest.approx(10.0, abs=0.01)
    average.swap(model)
    assert float(model.weight.detach()) == 10.0
