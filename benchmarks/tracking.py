"""Sam2Tracker against sam2's own predictor: CPU time at several lengths, and equal masks.

Both read the same folder of JPEG files and run the same weights: nano SAM 2's shipped ones, or
hiera-t's architecture with random ones; they take turns of ten frames, or of one in short clips.
Memory is ``tracking_memory``'s.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import _sam2
from benchmarks._results import BenchmarkError, Options, Result
from benchmarks._timing import Paired, Summary, paired_steps, summarise
from benchmarks.questions import synchronizer

# kind, frames, objects, rounds
CASES = (
    ("nano", 10, 5, 4), ("nano", 100, 1, 2), ("nano", 300, 1, 1), ("nano", 600, 1, 1),
    ("nano", 3000, 1, 1), ("hiera-t-256", 30, 1, 1), ("hiera-t-256", 8, 5, 2),
    ("hiera-t-512", 10, 5, 1),
)  # fmt: skip
ON_CUDA = (
    ("hiera-t-1024", 100, 1, 3), ("hiera-t-1024", 300, 1, 1), ("hiera-t-1024", 100, 5, 2),
)  # fmt: skip
MODES = ("fast", "faster")  # those that compute objects together
QUICK = (("nano-64", 4, 1, 1), ("nano-64", 4, 2, 1))


def run(options: Options) -> Result:
    """Compare time per frame, and masks."""
    cuda = options.device != "cpu"
    result = Result(
        "tracking", "Sam2Tracker against sam2's own predictor on the same folder of frames",
        "wall" if cuda else "process", {"frame": "320x240 JPEG"},
    )  # fmt: skip
    for kind, length, objects, rounds in QUICK if options.quick else ON_CUDA if cuda else CASES:
        tracker = _sam2.tracker_of(kind, options.device)
        with tempfile.TemporaryDirectory() as name:
            folder = _sam2.write_folder(Path(name), length, objects)
            # Garbage is collected before each turn, which takes as long as a frame of nano's.
            block = 10 if length >= 50 else 1
            contenders = {
                "ours": lambda t=tracker, f=folder, n=objects: _sam2.follow_ours(t, f, n),
                "sam2": lambda t=tracker, f=folder, n=objects: _sam2.follow_official(t, f, n),
            }
            for mode in MODES if objects > 1 else ():
                contenders[f"ours, {mode} mode"] = lambda t=tracker, f=folder, n=objects, m=mode: (
                    _sam2.follow_ours(t, f, n, m)
                )
            timed = paired_steps(
                contenders, block=block, repeats=options.rounds(rounds), clock=result.clock,
                # Imports and caches; what comes later finds them, and the long ones spread little.
                warm=int(length < 50 and kind.startswith("nano")),
                synchronize=synchronizer(options.device),
            )  # fmt: skip
        masks = timed.outputs
        off = _sam2.different_pixels(masks["ours"], masks["sam2"])
        if off and not cuda:
            raise BenchmarkError(f"tracking: {off} pixels differ from sam2's in the exact mode")
        case = {"model": kind, "frames": length, "objects": objects}
        values = {"ms a frame": 1000 * timed.times()["ours"].median / length, "pixels off": off}
        if objects > 1:
            for mode in MODES:
                other = masks[f"ours, {mode} mode"]
                values[f"J of {mode}"] = _sam2.mean_overlap(masks["ours"], other)
        result.add(case, timed, **values)
        ratios = timed.ratios()
        what = f"{kind}, {length} frames, {objects} object{'s' if objects > 1 else ''}"
        result.at_least(f"{what}: sam2 against ours", 1.0, ratios["sam2"])
        if objects > 1:
            saved = {mode: _against_sam2(timed, f"ours, {mode} mode") for mode in MODES}
            best = max(MODES, key=lambda mode: saved[mode].median)
            result.at_least(f"{what}: sam2 against our {best} mode, the better", 1.5, saved[best])
    return result


def _against_sam2(timed: Paired, ours: str) -> Summary:
    """How many times as long as ours sam2 took, of the same rounds."""
    pairs = zip(timed.seconds["sam2"], timed.seconds[ours], strict=True)
    return summarise([theirs / own for theirs, own in pairs])
