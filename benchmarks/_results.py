"""What a benchmark leaves behind: rows, targets, and the machine they were measured on."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks._timing import Paired, Summary

SCHEMA = 1
PACKAGES = (
    "gar-video", "torch", "torchvision", "transformers", "timm", "sam2", "decord", "av",
    "opencv-python", "supervision", "pycocotools", "numpy",
)  # fmt: skip


class BenchmarkError(Exception):
    """What the user can mend; printed as one line."""


@dataclass(frozen=True)
class Options:
    """How a benchmark is run.

    Attributes:
        quick: Tiny sizes, to see that it works; its figures mean nothing.
        device: ``"cpu"`` or ``"cuda"``.
        repeats: Rounds per case; the benchmark's own number if None.
        threads: CPU threads of torch.
    """

    quick: bool = False
    device: str = "cpu"
    repeats: int | None = None
    threads: int = 1

    def rounds(self, usual: int) -> int:
        """Return how many rounds to run."""
        return self.repeats or (1 if self.quick else usual)


@dataclass(frozen=True)
class Target:
    """Something a benchmark must show, and what was seen."""

    what: str
    wanted: str
    seen: str
    met: bool


@dataclass
class Result:
    """A benchmark's result.

    Attributes:
        name: The benchmark's.
        what: One line on what is compared.
        clock: What its times are in: ``"process"``, ``"wall"``, or ``"work"`` for counts.
        settings: Sizes and the like, equal for all rows.
        rows: One per case: ``case``, ``seconds``, ``ratios`` and ``values``.
        targets: What it must show.
        fits: How cost grows, see ``power_law``.
        notes: Sentences that belong under the table.
    """

    name: str
    what: str
    clock: str
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    fits: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self, case: Mapping[str, Any], timed: Paired | None = None, **values: Any
    ) -> dict[str, Any]:
        """Append a case and return its row."""
        row: dict[str, Any] = {"case": dict(case), "seconds": {}, "ratios": {}, "values": values}
        if timed is not None:
            row["seconds"] = {name: s.as_dict() for name, s in timed.times().items()}
            row["ratios"] = {name: s.as_dict() for name, s in timed.ratios().items()}
        self.rows.append(row)
        middles = {name: round(s["median"], 3) for name, s in row["ratios"].items()}
        print(f"{self.name}: {row['case']} {middles or values}", file=sys.stderr, flush=True)
        return row

    def at_least(self, what: str, wanted: float, seen: Summary | float) -> None:
        """Record a ratio that must reach ``wanted``, judged by its median."""
        self.targets.append(_judged(what, wanted, seen, ">="))

    def at_most(self, what: str, wanted: float, seen: Summary | float) -> None:
        """Record a ratio that must not exceed ``wanted``, judged by its median."""
        self.targets.append(_judged(what, wanted, seen, "<="))


def _judged(what: str, wanted: float, seen: Summary | float, sign: str) -> Target:
    if isinstance(seen, Summary):
        middle = seen.median
        shown = f"{seen.median:.3g} ({seen.min:.3g} to {seen.max:.3g}, n={seen.n})"
    else:
        middle, shown = float(seen), f"{seen:.3g}"
    met = middle >= wanted if sign == ">=" else middle <= wanted
    return Target(what, f"{sign} {wanted:g}", shown, bool(met))


def power_law(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Fit ``y = a + b * x`` and ``y = c * x**p``; the exponent tells how fast cost grows.

    Returns:
        ``fixed`` (a), ``per_unit`` (b), ``exponent`` (p) and ``last_exponent``, the slope between
        the two largest sizes on logarithmic axes.

    Raises:
        ValueError: If there are fewer than two sizes.
    """
    import numpy as np

    if len(x) < 2 or len(x) != len(y):
        raise ValueError(f"{len(x)} sizes and {len(y)} costs; expected two or more of both")
    per_unit, fixed = np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)
    exponent, _ = np.polyfit(np.log(x), np.log(y), 1)
    last = math.log(y[-1] / y[-2]) / math.log(x[-1] / x[-2])
    return {
        "fixed": float(fixed), "per_unit": float(per_unit), "exponent": float(exponent),
        "last_exponent": last,
    }  # fmt: skip


# -- the machine -----------------------------------------------------------------------------------


def machine(device: str, threads: int) -> dict[str, Any]:
    """Describe the machine; results are comparable where this is equal."""
    described: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": threads,
        "device": "cpu",
    }
    if device.startswith("cuda"):
        import torch

        described["device"] = torch.cuda.get_device_name(device)
    return described


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (ValueError, OSError, AttributeError):
        return None


def versions() -> dict[str, str]:
    """Return the installed packages' versions."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_device(device: str) -> None:
    """Raise BenchmarkError unless the device is here."""
    if device == "cpu":
        return
    if not device.startswith("cuda"):
        raise BenchmarkError(f"--device {device}: expected cpu or cuda")
    import torch

    if not torch.cuda.is_available():
        raise BenchmarkError(
            f"--device {device}: there is no CUDA device here; run on a machine with one, "
            "or use --device cpu"
        )


# -- files -----------------------------------------------------------------------------------------


def as_document(result: Result, options: Options) -> dict[str, Any]:
    """Return a result with machine, versions and date, ready for JSON."""
    return {
        "schema": SCHEMA,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(options.device, options.threads),
        "versions": versions(),
        "quick": options.quick,
        **asdict(result),
    }


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document as JSON, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Read a result.

    Raises:
        BenchmarkError: If the file is missing or no result of this schema.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BenchmarkError(f"{path}: not a benchmark's result ({error})") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise BenchmarkError(f"{path}: not a benchmark's result of schema {SCHEMA}; make it anew")
    return document


def of_one_machine(documents: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the documents if all were measured on one machine in one way.

    Raises:
        BenchmarkError: If they were not; figures of different machines make no table.
    """
    listed = list(documents)
    for document in listed[1:]:
        for key, value in listed[0]["machine"].items():
            other = document["machine"].get(key)
            if other != value:
                raise BenchmarkError(
                    f"{listed[0]['name']} was measured with {key} {value!r} and "
                    f"{document['name']} with {other!r}; results of different machines are not "
                    "put in one table: measure them again on one"
                )
    return listed
