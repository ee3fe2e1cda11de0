"""Where a run computes: this process alone, or several through ``accelerate``."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import torch
from torch import nn

from gar_video.train.recipe.errors import TrainingError
from gar_video.train.recipe.parts import load_trained, trained_state
from gar_video.train.recipe.state import load_optimizer, optimizer_tensors

Tensors = dict[str, torch.Tensor]


def launched_together() -> bool:
    """Say whether this process is one of several started by ``accelerate launch`` or torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


class Engine:
    """One process on one device."""

    rank, world = 0, 1

    def __init__(self, device: torch.device, compute: torch.dtype) -> None:
        self.device = device
        self._compute = compute
        self._module: nn.Module | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """Return module and optimiser as they are to be used."""
        self._module = module
        return module, optimizer

    def autocast(self) -> Any:
        """Return the context in which losses are computed."""
        if self._compute == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self._compute)

    def accumulating(self, last: bool) -> Any:
        """Return the context of one of several batches of a step."""
        return contextlib.nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Compute gradients."""
        loss.backward()

    def clip(self, parameters: list[nn.Parameter], most: float) -> float:
        """Clip gradients to a norm; returns the norm they had."""
        norm = torch.nn.utils.clip_grad_norm_(parameters, most if most > 0 else float("inf"))
        return float(norm)

    def total(self, values: list[float]) -> list[float]:
        """Sum numbers over all processes."""
        return values

    def gather(self, value: Any) -> list[Any]:
        """Return what each process has."""
        return [value]

    def wait(self) -> None:
        """Wait for all processes."""

    sharded = False

    def full_state(
        self, module: nn.Module, optimizer: torch.optim.Optimizer | None
    ) -> tuple[Tensors, Tensors]:
        """Return trained parameters and the optimiser's state by name, whole."""
        state = {} if optimizer is None else optimizer_tensors(optimizer, module)
        return trained_state(module), state

    def load_state(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        trained: Tensors,
        state: Tensors,
    ) -> None:
        """Take both back."""
        load_trained(module, trained)
        load_optimizer(optimizer, module, state)


class Together(Engine):
    """Several processes, through ``accelerate``: data parallel, or FSDP as its config file says.

    FSDP shards weights and optimiser; it has not been tried on real GPUs by this project.
    """

    def __init__(self, device: torch.device, compute: torch.dtype) -> None:
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs
        except ImportError:
            raise TrainingError(
                "several processes need accelerate; install it with pip install 'gar-video[train]'"
            ) from None
        self._accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision="bf16" if compute == torch.bfloat16 else "no",
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        super().__init__(self._accelerator.device, compute)
        self.rank = int(self._accelerator.process_index)
        self.world = int(self._accelerator.num_processes)
        self.sharded = "FSDP" in str(self._accelerator.distributed_type)

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """Wrap module and optimiser."""
        self._module, optimizer = self._accelerator.prepare(module, optimizer)
        return self._module, getattr(optimizer, "optimizer", optimizer)

    def accumulating(self, last: bool) -> Any:
        """Exchange gradients only in a step's last batch."""
        if last:
            return contextlib.nullcontext()
        return self._accelerator.no_sync(self._module)

    def backward(self, loss: torch.Tensor) -> None:
        """Compute gradients, averaged over processes: the loss is scaled up to make it a sum."""
        self._accelerator.backward(loss * self.world)

    def clip(self, parameters: list[nn.Parameter], most: float) -> float:
        """Clip gradients to a norm over all shards."""
        norm = self._accelerator.clip_grad_norm_(parameters, most if most > 0 else float("inf"))
        return float(norm) if norm is not None else float("nan")

    def total(self, values: list[float]) -> list[float]:
        """Sum numbers over all processes."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        summed: list[float] = self._accelerator.reduce(tensor, reduction="sum").tolist()
        return summed

    def gather(self, value: Any) -> list[Any]:
        """Return what each process has."""
        from accelerate.utils import gather_object

        return list(gather_object([value]))

    def wait(self) -> None:
        """Wait for all processes."""
        self._accelerator.wait_for_everyone()

    def full_state(
        self, module: nn.Module, optimizer: torch.optim.Optimizer | None
    ) -> tuple[Tensors, Tensors]:
        """Return trained parameters and the optimiser's state by name, gathered where sharded."""
        if not self.sharded:
            return super().full_state(module, optimizer)
        from torch.distributed.checkpoint.state_dict import (
            get_model_state_dict,
            get_optimizer_state_dict,
        )

        whole, options = self._module or module, _sharded_options()
        trained = get_model_state_dict(whole, options=options)
        if optimizer is None:
            return trained, {}
        state = get_optimizer_state_dict(whole, optimizer, options=options)
        tensors = {n: v for n, v in state.items() if isinstance(v, torch.Tensor)}
        return trained, tensors

    def load_state(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        trained: Tensors,
        state: Tensors,
    ) -> None:
        """Take both back, each process its shards."""
        if not self.sharded:
            super().load_state(module, optimizer, trained, state)
            return
        from torch.distributed.checkpoint.state_dict import (
            get_optimizer_state_dict,
            set_model_state_dict,
            set_optimizer_state_dict,
        )

        whole, options = self._module or module, _sharded_options()
        set_model_state_dict(whole, trained, options=options)
        # Settings that are no tensors stay as this run's configuration has them.
        own = get_optimizer_state_dict(whole, optimizer, options=options)
        set_optimizer_state_dict(whole, optimizer, {**own, **state}, options=options)


def _sharded_options() -> Any:
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(
        full_state_dict=True, cpu_offload=True, ignore_frozen_params=True,
        flatten_optimizer_state_dict=True, strict=False,
    )  # fmt: skip
