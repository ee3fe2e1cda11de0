"""Tracking 1, 5 and 20 objects: what a further object costs, in each mode."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import _sam2
from benchmarks._results import Options, Result, power_law
from benchmarks._timing import paired
from benchmarks.questions import synchronizer


def run(options: Options) -> Result:
    """Compare our modes and sam2's predictor over numbers of objects."""
    cuda = options.device != "cpu"
    kind = "nano-64" if options.quick else "hiera-t-1024" if cuda else "nano"
    length = 3 if options.quick else 50 if cuda else 6
    counts = (1, 2) if options.quick else (1, 5, 20)
    result = Result(
        "objects", "tracking many objects: our three modes and sam2's predictor",
        "wall" if cuda else "process", {"model": kind, "frames": length, "frame": "320x240 JPEG"},
    )  # fmt: skip
    tracker = _sam2.tracker_of(kind, options.device)
    middles: dict[str, list[float]] = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = _sam2.write_folder(Path(name), length, count)
            timed = paired(
                {
                    "exact": lambda f=folder, n=count: _sam2.track_ours(tracker, f, n),
                    "sam2": lambda f=folder, n=count: _sam2.track_official(tracker, f, n),
                    "fast": lambda f=folder, n=count: _sam2.track_ours(tracker, f, n, "fast"),
                    "faster": lambda f=folder, n=count: _sam2.track_ours(tracker, f, n, "faster"),
                },
                repeats=options.rounds(2), clock=result.clock,
                synchronize=synchronizer(options.device),
            )  # fmt: skip
        times = {who: summary.median / length for who, summary in timed.times().items()}
        for who, seconds in times.items():
            middles.setdefault(who, []).append(1000 * seconds)
        overlaps = {
            f"J of {mode}": _sam2.mean_overlap(timed.outputs["exact"], timed.outputs[mode])
            for mode in ("fast", "faster")
        }
        result.add({"objects": count}, timed, **overlaps)
    for who, milliseconds in middles.items():
        result.fits.append(
            {
                "what": f"{who}: CPU time a frame" if not cuda else f"{who}: time a frame",
                "x_name": "objects", "y_name": "ms a frame",
                "x": list(counts), "y": milliseconds, **power_law(counts, milliseconds),
                "why": "the image encoder is shared, memory and mask of each object are its own",
            }
        )  # fmt: skip
    return result
