"""How a run goes: metrics as JSON lines, a plot, TensorBoard, and words on stderr."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gar_video.files import replacing
from gar_video.train.recipe.errors import TrainingError


@dataclass
class Window:
    """What happened since the last line of metrics.

    Attributes:
        loss: Sum of weighted losses.
        weight: Sum of weights.
        answers: How many answers were learned from.
        right: How many of them were right throughout, given the true tokens before.
        tokens: Tokens run.
        steps: Steps taken.
        kinds: Per kind of question, how many were right, of how many.
    """

    loss: float = 0.0
    weight: float = 0.0
    answers: int = 0
    right: int = 0
    tokens: int = 0
    steps: int = 0
    kinds: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def add(self, kinds: Sequence[str], right: Sequence[bool], tokens: int) -> None:
        """Count a batch."""
        self.answers += len(right)
        self.right += sum(right)
        self.tokens += tokens
        for kind, was in zip(kinds, right, strict=True):
            if kind:
                self.kinds[kind][0] += int(was)
                self.kinds[kind][1] += 1


class Report:
    """Writes how a run goes.

    Args:
        output: Folder of the run.
        steps: Steps of the whole run.
        after: Steps already taken; lines of later ones, written before a crash, are removed.
        tensorboard: Write TensorBoard events too.
        say: Told a line for people.
    """

    def __init__(
        self,
        output: Path,
        steps: int,
        *,
        after: int = 0,
        tensorboard: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.path = output / "metrics.jsonl"
        self._steps, self._say = steps, say
        self._began, self._after = time.monotonic(), after
        kept = [line for line in read_metrics(self.path) if line.get("step", 0) <= after]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._events = _events(output, after) if tensorboard else None

    def line(self, step: int, **values: Any) -> None:
        """Write a line of metrics.

        Raises:
            TrainingError: If the disk is full.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise TrainingError(
                f"cannot write {self.path}: {error.strerror}; make room and go on with --resume"
            ) from error
        if self._events is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._events.add_scalar(name, value, step)
        self._say(f"step {step} of {self._steps}: {_told(values)}, {self._left(step)} left")

    def _left(self, step: int) -> str:
        taken = step - self._after
        seconds = (time.monotonic() - self._began) / max(1, taken) * (self._steps - step)
        if seconds < 100:
            return f"{seconds:.0f} s"
        return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

    def close(self) -> None:
        """Finish writing."""
        if self._events is not None:
            self._events.close()


def _told(values: dict[str, Any]) -> str:
    shown = [
        f"{name} {value if isinstance(value, str) else format(value, '.4g')}"
        for name in ("loss", "right", "grad_norm")
        if (value := values.get(name)) is not None
    ]
    return ", ".join(shown)


def _events(output: Path, after: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError(
            "tensorboard: true needs tensorboard; install it with pip install 'gar-video[train]'"
        ) from None
    return SummaryWriter(str(output / "tensorboard"), purge_step=after + 1)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a run's metrics; a line cut short by a crash is left out."""
    lines = []
    if path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                continue
            if isinstance(line, dict):
                lines.append(line)
    return lines


def plot(metrics: Sequence[dict[str, Any]], path: Path) -> bool:
    """Draw loss and share of right answers over the steps as a PNG.

    Returns:
        Whether it was drawn: not without matplotlib, nor of nothing.
    """
    rows = [row for row in metrics if isinstance(row.get("loss"), (int, float))]
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    if not rows:
        return False
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot()
    steps = [row["step"] for row in rows]
    losses = [row["loss"] for row in rows]
    left.plot(steps, losses, color="#9bb7d4", linewidth=1, label="loss")
    left.plot(steps, smooth(losses), color="#1f4e79", linewidth=2, label="loss, smoothed")
    left.set_xlabel("step")
    left.set_ylabel("loss")
    left.set_ylim(bottom=0)
    right = left.twinx()
    right.plot(steps, [row["right"] for row in rows], color="#d98032", linewidth=1, label="right")
    right.set_ylabel("answers right throughout")
    right.set_ylim(0, 1)
    lines = [*left.get_lines(), *right.get_lines()]
    names = [str(line.get_label()) for line in lines]
    figure.legend(lines, names, loc="outside upper center", ncols=len(lines), frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    return True


def smooth(values: Sequence[float], keep: float = 0.9) -> list[float]:
    """Return the running mean of values, the older the less they count."""
    total = weight = 0.0
    means = []
    for value in values:
        total, weight = total * keep + value, weight * keep + 1
        means.append(total / weight)
    return means
