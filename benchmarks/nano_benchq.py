"""The shipped checkpoint on rendered BenchQ: modes, scorings, wordings, and what blindness costs.

Renders the questions once, runs what is missing (a run that was stopped goes on), and prints a
Markdown table with Wilson 95 % intervals. Runs of other weights go to folders of their own. Run:
``python benchmarks/nano_benchq.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gar_video.bench import Run, Settings
    from gar_video.encoding import Encoded
    from gar_video.pipeline import GARVideo

QUESTIONS, SEED = 400, 777_001  # a seed that no training uses
MODES = ("multi", "single", "track")
# By text the wording makes no difference: options are not listed.
SCORINGS = (
    ("text", "gar"), ("letter", "gar"), ("letter", "official"), ("generate", "gar"),
    ("generate", "official"),
)  # fmt: skip
CONTROLS = ({"blind": True}, {"swap_masks": True})


@dataclass(frozen=True)
class Setup:
    """What all runs share.

    Attributes:
        data: The questions' folder.
        runs: Folder of the runs of these weights.
        gar: The model.
        tracker: The tracker.
        seconds: Collects the CPU seconds of each run by its name.
    """

    data: Path
    runs: Path
    gar: GARVideo
    tracker: Any
    seconds: dict[str, float]


def settings_by_run() -> dict[str, Settings]:
    """Return the runs: name to settings, those that look at the same next to each other."""
    from gar_video.bench import Settings

    runs = {
        f"{mode}, {score}" + ("" if score == "text" else f", {style} wording"): Settings(
            mode=mode, score=score, prompt_style=style
        )
        for mode in MODES
        for score, style in SCORINGS
    }
    for control in CONTROLS:
        name = f"multi, text, {'blind' if 'blind' in control else 'masks swapped'}"
        runs[name] = Settings(mode="multi", score="text", **control)
    return runs


def run_all(setup: Setup) -> dict[str, Run]:
    """Run what is missing; the clips of each mode are encoded once for all its runs."""
    from gar_video import bench

    done: dict[str, Run] = {}
    encoded: dict[str, Encoded] = {}
    looked_at = None
    for name, settings in settings_by_run().items():
        looks = (settings.mode, settings.blind, settings.swap_masks)
        if looks != looked_at:
            encoded, looked_at = {}, looks
        began = time.process_time()
        done[name] = bench.run(
            "videorefer-q", setup.data, setup.runs / name.replace(", ", "-").replace(" ", "-"),
            setup.gar, settings=settings, tracker=setup.tracker, encoded=encoded,
            tracks=setup.runs / "tracks",
        )  # fmt: skip
        setup.seconds[name] = time.process_time() - began
        share = done[name].summary["overall"]["accuracy"]
        print(f"{name}: {share:.1%}, {setup.seconds[name]:.0f} s CPU", file=sys.stderr, flush=True)
    return done


def table(done: dict[str, Run]) -> str:
    """Return the runs as a Markdown table, and how blindness and swapping compare."""
    from gar_video import bench
    from gar_video.bench.videorefer_q import TYPES

    summaries = {name: run.summary for name, run in done.items()}
    types = [kind for kind in TYPES if kind in next(iter(summaries.values()))["per_type"]]
    head = ["run", "right", "%", "95 %", *(kind.split()[0] for kind in types), "failed"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for name, summary in summaries.items():
        overall = summary["overall"]
        low, high = overall["wilson_95"]
        cells = [
            name, f"{overall['correct']}/{overall['total']}", f"{100 * overall['accuracy']:.1f}",
            f"{100 * low:.1f}-{100 * high:.1f}",
            *(f"{100 * summary['per_type'][kind]['accuracy']:.1f}" for kind in types),
            str(overall["failed"]),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    names = list(done)
    lines.append("")
    for other in names[-len(CONTROLS) :]:
        paired = bench.compare(done[names[0]].folder, done[other].folder).overall
        lines.append(
            f"{names[0]} against {other}: only the first right {paired.only_a}, only the second "
            f"{paired.only_b}, McNemar's exact p = {paired.p_value:.2g}."
        )
    return "\n".join(lines)


def main() -> None:
    """Render, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=QUESTIONS, help="questions")
    parser.add_argument("--seed", type=int, default=SEED, help="which questions")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--sam2", default="nano")
    parser.add_argument(
        "--out", type=Path, default=Path(tempfile.gettempdir()) / "gar-video-nano-benchq",
        help="where questions and runs are kept (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="torch's CPU threads (1)")
    parser.add_argument("--json", type=Path, help="write all summaries there, too")
    arguments = parser.parse_args()

    import torch
    from gar_video.trackers import Sam2Tracker

    from gar_video import GARVideo
    from gar_video.bench.identity import code_version, hash_weights
    from gar_video.files import write_text
    from gar_video.synth.benchmarks import write_videorefer_q

    torch.set_num_threads(arguments.threads)
    which = f"{arguments.count}-{arguments.seed}"
    data = arguments.out / f"questions-{which}"
    if not data.is_dir():
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_videorefer_q(data, arguments.count, arguments.seed)
    gar = GARVideo.from_pretrained(arguments.model, device="cpu")
    tracker = Sam2Tracker.from_pretrained(arguments.sam2, device="cpu")
    weights = {"gar": hash_weights(gar.model), "sam2": hash_weights(tracker.predictor)}
    runs = arguments.out / f"runs-{which}-{weights['gar'][:8]}-{weights['sam2'][:8]}"
    setup = Setup(data, runs, gar, tracker, {})
    done = run_all(setup)
    print(
        f"{arguments.count} rendered questions, seed {arguments.seed}; gar-video {code_version()}, "
        f"GAR {weights['gar'][:12]}, SAM 2 {weights['sam2'][:12]}\n\n{table(done)}"
    )
    if arguments.json:
        result = {
            "questions": arguments.count,
            "seed": arguments.seed,
            "version": code_version(),
            "weights": weights,
            "cpu_seconds": setup.seconds,
            "runs": {name: run.summary for name, run in done.items()},
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
