"""Training: from a configuration to a checkpoint in the published format."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gar_video.checkpoint import load_checkpoint, locate, read_config, save_checkpoint
from gar_video.devices import memory_guard, resolve_device
from gar_video.files import write_text
from gar_video.model import GARModel
from gar_video.processor import GARProcessor
from gar_video.train.recipe import optimizers, parts, state
from gar_video.train.recipe.config import TrainConfig
from gar_video.train.recipe.data.examples import Maker
from gar_video.train.recipe.data.mixture import Stream, open_sources
from gar_video.train.recipe.engine import Engine, Together, launched_together
from gar_video.train.recipe.errors import TrainingError
from gar_video.train.recipe.report import Report, Window, plot, read_metrics
from gar_video.train.recipe.rows import Row, RowMaker, batch_rows
from gar_video.train.recipe.schedule import rate
from gar_video.train.recipe.step import TrainingStep

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finished:
    """What a run gave.

    Attributes:
        steps: Optimiser steps taken.
        model: Checkpoint in the published format; None for adapters that are not merged.
        adapter: Folder of the adapters; None without.
        metrics: The file of metrics.
        skipped: Samples that could not be used.
        dropped: Answers that did not fit the context.
        stopped: Whether it was asked to stop before its end.
    """

    steps: int
    model: Path | None
    adapter: Path | None
    metrics: Path
    skipped: int
    dropped: int
    stopped: bool = False


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    say: Say = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Finished:
    """Train as a configuration says.

    Args:
        config: What to do.
        resume: Go on from the last checkpoint in the output folder.
        say: Told lines for people.
        progress: Called with (steps done, all steps).

    Returns:
        Where the results are.

    Raises:
        TrainingError: If the output folder holds a run already (without ``resume``), or another
            run's checkpoints; data cannot be read; too many samples are unusable; the disk is
            full; or the loss is not finite. The last good checkpoint stays.
        CheckpointError: If there is no usable checkpoint to begin from.
        DeviceError: If the device is not there, or its memory does not suffice.
    """
    run = Run(config, say)
    try:
        run.begin(resume)
        with _stopping() as stop, memory_guard("training"):
            while run.step < config.steps and not stop.is_set():
                run.take_step()
                progress(run.step, config.steps)
        return run.finish(stopped=run.step < config.steps)
    finally:
        run.close()


class Run:
    """A run in progress.

    Args:
        config: What to do.
        say: Told lines for people.
    """

    def __init__(self, config: TrainConfig, say: Say) -> None:
        self.config, self.say = config, say
        self.output = Path(config.output)
        self.step = 0
        self._seconds = 0.0
        self._window = Window()
        self._stream: Stream | None = None
        self._report: Report | None = None

    # ---------------------------------------------------------------- beginning

    def begin(self, resume: bool) -> None:
        """Load everything, and take up the last checkpoint if asked to."""
        config = self.config
        found = self._claim(resume)
        device = resolve_device(config.device)
        compute = compute_type(config, device)
        self.engine = Together(device, compute) if launched_together() else Engine(device, compute)
        device = self.engine.device
        torch.manual_seed(config.seed)
        folder = locate(config.model)
        self._base = base_files(folder)
        loaded = load_checkpoint(
            config.model, device="cpu", dtype=stored_type(folder), attn_implementation="sdpa"
        )
        self.stored = stored_type(folder)
        self.processor = GARProcessor(loaded.model.config, loaded.tokenizer, loaded.image_settings)
        self.model: GARModel = loaded.model
        self.adapters = parts.prepare(self.model, config, compute)
        self.model.to(device)
        self.model.train()
        context = config.context or self.processor.context_length
        sources = open_sources(config, Maker(self.processor, context))
        self._sizes = [len(source) for source in sources]
        self._stream = Stream(
            sources, [section.weight for section in config.data],
            RowMaker(self.processor, context), seed=config.seed, rank=self.engine.rank,
            world=self.engine.world, workers=config.workers, max_skipped=config.max_skipped,
            say=self.say,
        )  # fmt: skip
        self._build_optimizer()
        if found is not None:
            self._take_up(found)
        if self.engine.is_main:
            self._report = Report(
                self.output, config.steps, after=self.step, tensorboard=config.tensorboard,
                say=self.say,
            )  # fmt: skip
        self._began = time.monotonic()

    def _claim(self, resume: bool) -> Path | None:
        """Check the output folder; returns the checkpoint to go on from."""
        found = state.checkpoints(self.output)
        if found and not resume:
            raise TrainingError(
                f"{self.output} holds a run already ({found[-1].name}); go on with it by --resume, "
                "or give another --output"
            )
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"cannot make {self.output}: {error.strerror}") from None
        if not os.access(self.output, os.W_OK):
            raise TrainingError(f"cannot write to {self.output}: no permission")
        if resume and not found:
            self.say(f"there is no checkpoint in {self.output} yet; beginning anew")
        return found[-1] if found else None

    def _build_optimizer(self) -> None:
        optimizer = optimizers.build(self.model, self.config)
        if self.engine.sharded and isinstance(optimizer, optimizers.MuonBesideAdamW):
            raise TrainingError(
                "optimizer: muon needs whole matrices, and FSDP cuts them up; take adamw"
            )
        self.module = TrainingStep(self.model, self.config.checkpointing)
        self.wrapped, self.optimizer = self.engine.prepare(self.module, optimizer)

    def _take_up(self, folder: Path) -> None:
        snapshot, trained, optimizer = state.load(folder)
        state.check_same(
            snapshot, self.config, self._sizes, self._base, self.output, self.engine.world
        )
        self.engine.load_state(self.module, self.optimizer, trained, optimizer)
        state.restore_generators(folder)
        assert self._stream is not None
        self._stream.load(snapshot.positions[self.engine.rank])
        self.step, self._seconds = snapshot.step, snapshot.seconds
        self.say(f"going on from step {self.step}")

    # ---------------------------------------------------------------- going on

    def take_step(self) -> None:
        """Take one optimiser step; log and save where they are due."""
        config, engine = self.config, self.engine
        assert self._stream is not None
        rows = [
            [self._stream.next_row() for _ in range(config.batch)] for _ in range(config.accumulate)
        ]
        batches = [batch_rows(part, config.loss_per) for part in rows]
        # Every answer (or token) of the step counts the same, wherever it was computed.
        weight = engine.total([float(sum(b.weights.sum() for b in batches))])[0]
        share = rate(self.step, config.steps, config.warmup, config.schedule, config.final_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        summed = 0.0
        for n, batch in enumerate(batches):
            moved = batch.to(engine.device, self.model.floating_dtype)
            with engine.accumulating(n == len(batches) - 1):
                with engine.autocast():
                    loss, right = self.wrapped(moved)
                engine.backward(loss / weight)
            summed += float(loss.detach())
            self._window.add(batch.kinds, right.tolist(), _tokens(rows[n]))
        trained = [p for p in self.module.parameters() if p.requires_grad]
        norm = engine.clip(trained, config.grad_norm)
        summed = engine.total([summed])[0]
        if not (math.isfinite(summed) and math.isfinite(norm)):
            self._refuse(summed / weight, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._window.loss += summed
        self._window.weight += weight
        self._window.steps += 1
        if self.step % config.log_every == 0 or self.step == config.steps:
            self._log(norm, config.learning_rate * share)
        if self.step % config.save_every == 0 or self.step == config.steps:
            self.save()

    def _refuse(self, loss: float, norm: float) -> None:
        """Stop at a loss that is no number, before it spoils the weights."""
        last = [path.name for path in state.checkpoints(self.output)][-1:]
        kept = f"{last[0]} in {self.output}" if last else "none was written yet"
        if self._report is not None:
            self._report.line(self.step + 1, loss=repr(loss), grad_norm=repr(norm))
        raise TrainingError(
            f"the loss is {loss:g} and the gradients' norm {norm:g} in step {self.step + 1}; the "
            f"weights were not changed by it. The last good checkpoint: {kept}. Lower "
            "learning_rate, or look at the samples"
        )

    def _log(self, norm: float, learning_rate: float) -> None:
        window, self._window = self._window, Window()
        assert self._stream is not None
        at = self._stream.position
        counts = [window.answers, window.right, window.tokens, sum(at.skipped), at.dropped]
        answers, right, tokens, skipped, dropped = self.engine.total([float(c) for c in counts])
        if self._report is None:
            return
        seconds = self._seconds + time.monotonic() - self._began
        values: dict[str, Any] = {
            "loss": round(window.loss / max(window.weight, 1e-9), 6),
            "right": round(right / max(answers, 1), 4),
            "grad_norm": round(norm, 5),
            "learning_rate": learning_rate,
            "answers": int(answers),
            "tokens": int(tokens),
            "skipped": int(skipped),
            "dropped": int(dropped),
            "seconds": round(seconds, 2),
        }
        if torch.cuda.is_available():
            values["gpu_bytes"] = int(torch.cuda.max_memory_allocated())
        for kind, (good, count) in sorted(window.kinds.items()):
            values[f"right/{kind}"] = round(good / count, 4)
        self._report.line(self.step, **values)

    def save(self) -> None:
        """Write a checkpoint of the run."""
        assert self._stream is not None
        engine = self.engine
        positions = engine.gather(self._stream.position.to_dict())
        trained, optimizer = engine.full_state(self.module, self.optimizer)
        if engine.is_main:
            if not state.checkpoints(self.output):
                write_text(self.output / "config.yaml", _as_yaml(self.config.to_dict()))
            snapshot = state.Snapshot(
                step=self.step,
                seconds=round(self._seconds + time.monotonic() - self._began, 2),
                config=self.config.to_dict(),
                positions=positions,
                sources=self._sizes,
                base=self._base,
            )
            state.save(self.output, snapshot, trained, optimizer, self.config.keep)
        engine.wait()

    # ---------------------------------------------------------------- ending

    def finish(self, stopped: bool) -> Finished:
        """Write the result, or a last checkpoint if the run was asked to stop."""
        assert self._stream is not None
        at = self._stream.position
        skipped, dropped = self.engine.total([float(sum(at.skipped)), float(at.dropped)])
        metrics = self.output / "metrics.jsonl"
        found = Finished(self.step, None, None, metrics, int(skipped), int(dropped), stopped)
        if stopped:
            self.save()
            return found
        model, adapter = self._write_result()
        if self.engine.is_main and self.config.plot:
            plot(read_metrics(metrics), self.output / "loss.png")
        return Finished(self.step, model, adapter, metrics, int(skipped), int(dropped))

    def _write_result(self) -> tuple[Path | None, Path | None]:
        trained, _ = self.engine.full_state(self.module, None)
        if not self.engine.is_main:
            return None, None
        try:
            if self.engine.sharded:
                # A fresh copy takes the gathered weights: those in use are in pieces.
                return self._write_sharded(trained)
            adapter = self._write_adapter() if self.adapters is not None else None
            if self.adapters is None or self.config.lora.merge:
                return self._write_model(self.model, self.adapters), adapter
            return None, adapter
        except OSError as error:
            raise TrainingError(
                f"cannot write the result to {self.output}: {error.strerror or error}; the run's "
                "last checkpoint is whole: make room and go on with --resume"
            ) from error

    def _write_adapter(self) -> Path:
        folder = self.output / "adapter"
        parts.save_adapter(self.adapters, folder)
        return folder

    def _write_model(self, model: GARModel, adapters: Any) -> Path:
        merged: GARModel = adapters.merge_and_unload() if adapters is not None else model
        merged = merged.to(device="cpu", dtype=self.stored)
        merged.config.dtype = self.stored
        return save_checkpoint(
            self.output / "model", merged, self.processor.tokenizer, self.processor.image_settings
        )

    def _write_sharded(self, trained: dict[str, torch.Tensor]) -> tuple[Path | None, Path | None]:
        loaded = load_checkpoint(self.config.model, device="cpu", dtype=self.stored)
        adapters = parts.prepare(loaded.model, self.config, self.stored)
        parts.load_trained(loaded.model, trained)
        adapter = None
        if adapters is not None:
            adapter = self.output / "adapter"
            parts.save_adapter(adapters, adapter)
        if adapters is not None and not self.config.lora.merge:
            return None, adapter
        return self._write_model(loaded.model, adapters), adapter

    def close(self) -> None:
        """Free threads and files."""
        if self._stream is not None:
            self._stream.close()
        if self._report is not None:
            self._report.close()


def _tokens(rows: list[Row]) -> int:
    return sum(row.length for row in rows)


def _as_yaml(values: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def compute_type(config: TrainConfig, device: torch.device) -> torch.dtype:
    """Return the number type that is computed in."""
    if config.precision == "float32":
        return torch.float32
    if config.precision == "bfloat16":
        return torch.bfloat16
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def stored_type(folder: Path) -> torch.dtype:
    """Return the number type of a checkpoint's weights, in which results are written too."""
    found = getattr(read_config(folder), "dtype", None)
    if isinstance(found, str):
        found = getattr(torch, found, None)
    return found if isinstance(found, torch.dtype) else torch.float32


def base_files(folder: Path) -> dict[str, int]:
    """Return names and sizes of a checkpoint's weight files, to know it again."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*.safetensors"))}


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Let Ctrl-C and SIGTERM end the run after the step in hand; a second time, at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}

    def ask(sign: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for sign in before:
        signal.signal(sign, ask)
    try:
        yield stop
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


__all__ = ["Finished", "Run", "train"]
