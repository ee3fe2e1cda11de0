"""What a budget of tokens saves and costs: right answers of nano on rendered BenchQ, and work.

Choosing by text, with the objects pointed at on all frames that a question looks at. A budget
leaves out frames until what is left costs no more.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks._results import BenchmarkError, Options, Result
from benchmarks.growth import flops

BUDGETS = (None, 192, 128, 96, 64)
SEED = 880_002  # questions that no training uses


def run(options: Options) -> Result:
    """Answer the same questions under falling budgets."""
    from gar_video import GARVideo, bench
    from gar_video.bench import Settings
    from gar_video.synth.benchmarks import write_videorefer_q

    if options.device != "cpu":
        raise BenchmarkError("token_budget: counts work on the CPU; use --device cpu")
    count = 4 if options.quick else 200
    gar = GARVideo.from_pretrained("nano", device="cpu")
    result = Result(
        "token_budget", "a budget of tokens for frames and regions: right answers and work", "work",
        {"model": "nano", "questions": count, "seed": SEED, "choosing": "by text"},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "questions"
        write_videorefer_q(data, count, SEED)
        work: dict[int | None, float] = {}
        for budget in BUDGETS[:2] if options.quick else BUDGETS:
            gar.processor.token_budget = budget
            done: list[bench.Run] = []

            def answer(folder: Path = Path(name) / f"run-{budget}", done: list = done) -> None:
                settings = Settings(mode="multi", score="text")
                done.append(bench.run("videorefer-q", data, folder, gar, settings=settings))

            work[budget] = flops(answer) / 1e9
            overall = done[0].summary["overall"]
            low, high = overall["wilson_95"]
            result.add(
                {"most tokens": "any" if budget is None else budget}, None,
                **{
                    "right": f"{overall['correct']} of {overall['total']}",
                    "%": 100 * overall["accuracy"],
                    "95 %": f"{100 * low:.1f} to {100 * high:.1f}",
                    "not answered": overall["failed"],
                    "GFLOP a question": work[budget] / count,
                    "of all work": work[budget] / work[None],
                },
            )  # fmt: skip
    return result
