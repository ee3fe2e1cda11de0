"""Peak memory of tracking against the length of the clip: ours beside sam2's own predictor.

Both read the same folder of JPEG files frame by frame, at every length. Each case runs in a process
of its own; its peak is the kernel's high-water mark, above what the process held before tracking.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._results import BenchmarkError, Options, Result

# Its memory grows by the frame, as shorter clips show well enough.
MOST_OF_SAM2 = 100


def peak_mib() -> float:
    """Return this process's highest resident memory so far."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        raise BenchmarkError("tracking_memory: needs Linux, for the kernel's VmHWM") from None
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def child(who: str, kind: str, folder: str) -> dict[str, float]:
    """Track one box through a folder in this process."""
    import torch

    from benchmarks import _sam2

    torch.set_num_threads(1)
    tracker = _sam2.tracker_of(kind)
    with tempfile.TemporaryDirectory() as name:
        # What loading and the first frames take is there at any length.
        short = _sam2.write_folder(Path(name), 3, 1)
        _track(who, tracker, short)
    before, began = peak_mib(), time.process_time()
    frames = _track(who, tracker, Path(folder))
    seconds = time.process_time() - began
    return {"before_mib": before, "peak_mib": peak_mib(), "frames": frames, "seconds": seconds}


def _track(who: str, tracker: Any, folder: Path) -> int:
    """Track and keep no mask."""
    import numpy as np

    from benchmarks import _sam2
    from gar_video import Box, Video

    box = _sam2.boxes(1)[1]
    if who == "ours":
        with Video(folder) as video:
            return sum(1 for _ in tracker.stream(video, [Box(0, box)]))
    predictor = _sam2.official_of(tracker)
    with _sam2.quiet():
        state = predictor.init_state(str(folder))
        predictor.add_new_points_or_box(state, 0, 1, box=np.float32(box))
        return sum(1 for _ in predictor.propagate_in_video(state))


def measure(who: str, kind: str, folder: Path) -> dict[str, float]:
    """Run one case in a child process."""
    command = [sys.executable, "-m", "benchmarks.tracking_memory", who, kind, str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:]
        raise BenchmarkError(f"tracking_memory: {who} failed: {' '.join(said)}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def run(options: Options) -> Result:
    """Measure 100 and 3,000 frames."""
    from benchmarks import _sam2

    if options.device != "cpu":
        raise BenchmarkError("tracking_memory: measures the CPU's memory; use --device cpu")
    kind = "nano-64"
    lengths = (4, 8) if options.quick else (100, 3000)
    result = Result(
        "tracking_memory", "peak memory of tracking against the clip's length, ours and sam2's",
        "memory", {"model": kind, "frame": "320x240 JPEG", "objects": 1},
    )  # fmt: skip
    peaks: dict[str, list[float]] = {"ours": [], "sam2": []}
    with tempfile.TemporaryDirectory() as name:
        for length in lengths:
            folder = _sam2.write_folder(Path(name) / str(length), length, 1)
            values = {}
            for who, seen in peaks.items():
                if who == "sam2" and length > MOST_OF_SAM2:
                    continue
                measured = measure(who, kind, folder)
                seen.append(measured["peak_mib"])
                grown = measured["peak_mib"] - measured["before_mib"]
                each = 1000 * measured["seconds"] / measured["frames"]
                values |= {
                    f"{who}: peak MiB": measured["peak_mib"], f"{who}: grown MiB": grown,
                    f"{who}: CPU ms a frame": each,
                }  # fmt: skip
            result.add({"frames": length}, None, **values)
    for who, seen in peaks.items():
        if len(seen) < 2:
            continue
        each = 1024 * (seen[-1] - seen[0]) / (lengths[len(seen) - 1] - lengths[0])
        result.notes.append(f"{who}: {each:.1f} KiB more for each further frame")
    ours = peaks["ours"]
    result.at_most(
        f"our peak at {lengths[-1]:,} frames against {lengths[0]}", 1.1, ours[-1] / ours[0]
    )
    return result


if __name__ == "__main__":
    print(json.dumps(child(*sys.argv[1:4])))
