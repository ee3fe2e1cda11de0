"""Starting up: import, ``--help`` and a first answer, in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from benchmarks._results import BenchmarkError, Options, Result
from benchmarks._timing import summarise

IMPORT = "import gar_video"
HELP = "import sys; sys.argv = ['gar-video', '--help']; from gar_video.cli import main; main()"
TORCH = "import torch, transformers, timm"
ANSWER = """
import numpy as np, gar_video as gv
mask = np.zeros((6, 60, 80), bool); mask[:, 20:40, 20:50] = True
gar = gv.GARVideo.from_pretrained('nano', device='cpu')
gar.describe(np.zeros((6, 60, 80, 3), np.uint8), gv.Tracks.from_masks({1: mask}))
"""
CASES = {"python": "pass", "import gar_video": IMPORT, "--help": HELP}


def cpu_seconds(code: str) -> float:
    """Run code in a fresh Python; return its CPU seconds, children and native threads included."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchmarkError(f"startup: a process failed: {said.strip().splitlines()[-1:]}")
    return usage.ru_utime + usage.ru_stime


def run(options: Options) -> Result:
    """Compare CPU seconds of fresh processes, taking turns."""
    result = Result(
        "startup", "CPU seconds of fresh processes: import, --help, a first answer", "process",
    )  # fmt: skip
    cases = dict(CASES)
    if not options.quick:
        cases |= {"import torch, transformers, timm": TORCH, "load nano and describe": ANSWER}
    rounds = options.rounds(5)
    measure: dict[str, Callable[[], float]] = {
        name: (lambda code=code: cpu_seconds(code)) for name, code in cases.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(-1, rounds):  # the first round fills the file cache
        for name in list(cases) if turn % 2 else list(reversed(cases)):
            slow = name not in CASES and turn >= 2  # two rounds of the slow ones suffice
            if slow:
                continue
            taken = measure[name]()
            if turn >= 0:
                seconds[name].append(taken)
    for name, taken in seconds.items():
        row = result.add({"process": name})
        row["seconds"] = {"CPU": summarise(taken).as_dict()}
        row["values"] = {"seconds": summarise(taken).median}
    over = [a - b for a, b in zip(seconds["--help"], seconds["python"], strict=True)]
    result.at_most("seconds that --help takes more than Python", 0.5, summarise(over))
    return result
