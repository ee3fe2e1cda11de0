"""The commands under ``gar-video bench``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gar_video.bench.cli_options import command_for
from gar_video.bench.registry import BENCHMARKS, Benchmark
from gar_video.commands.console import Voice, quiet_libraries
from gar_video.errors import GARVideoError

if TYPE_CHECKING:
    from gar_video.bench.judging import Judging
    from gar_video.bench.store import Run

app = typer.Typer(
    no_args_is_help=True,
    help="Run the benchmarks of the field, compare runs and look at what went wrong.",
)

_ABOUT = {
    "videorefer-q": "VideoRefer-BenchQ: multiple choice about objects in videos.",
    "videorefer-d": "VideoRefer-BenchD: descriptions of objects in videos, judged 0 to 5.",
    "gar-bench-vqa": "GAR-Bench-VQA: multiple choice about regions of pictures.",
    "gar-bench-cap": "GAR-Bench: captions of relations between regions, judged true or false.",
    "dlc-bench": "DLC-Bench: detailed captions of regions, judged on what they say.",
}


def _run(bench: Benchmark, **given: Any) -> None:
    from gar_video.bench.run import Selection, run, score_answers
    from gar_video.bench.settings import Settings

    selection = Selection(
        given["data"], given["questions"], given["types"], given["limit"], given["shard"],
        bool(given["skip_missing"]),
    )  # fmt: skip
    if given["generate"] and given["score"] is not None:
        raise GARVideoError("--generate and --score exclude each other; give one")
    voice = Voice(bool(given["quiet"]))
    judging = _judging(bench, given)
    if given["answers"]:
        if given["model"] is not None or given["shard"] is not None:
            raise GARVideoError("--answers runs no model; leave out --model and --shard")
        with voice.progress("judging") as update:
            done = score_answers(
                bench.name, selection, given["out"], given["answers"],
                judging=judging, progress=update,
            )  # fmt: skip
        _print(bench, done)
        return
    if given["model"] is None:
        raise GARVideoError("no model; name one with --model, or answers with --answers")
    settings = Settings(
        mode=given["mode"].value if given["mode"] else "multi",
        prompt_style=given["prompt_style"].value if given["prompt_style"] else "gar",
        score=given["score"].value if given["score"] else "generate",
        num_frames=given["num_frames"],
        max_new_tokens=given["max_new_tokens"],
        blind=bool(given["blind"]),
        swap_masks=bool(given["swap_masks"]),
        seed=given["seed"],
        batch_size=given["batch_size"],
    )
    quiet_libraries(voice)
    with voice.progress(bench.name) as update:
        done = run(
            bench.name, selection, given["out"], given["model"],
            settings=settings, tracker=given["sam2"], judging=judging,
            device=given["device"], dtype=given["dtype"], progress=update,
            tracks=given["tracks"],
        )  # fmt: skip
    _print(bench, done)


def _judging(bench: Benchmark, given: dict[str, Any]) -> Judging | None:
    url, local = given["judge_url"], given["judge_local"]
    if url is None and local is None:
        asked = [name for name in ("judge_model", "judge_sees", "judge_prompts") if given[name]]
        if asked:
            option = "--" + asked[0].replace("_", "-")
            raise GARVideoError(f"{option} needs a judge; name one with --judge-url")
        return None
    from gar_video.bench.judge import CachedJudge, LocalJudge, ServerJudge, default_cache
    from gar_video.bench.judge_prompts import Prompts
    from gar_video.bench.judging import Judging

    if url is not None and local is not None:
        raise GARVideoError("--judge-url and --judge-local exclude each other; give one")
    if url is not None and given["judge_model"] is None:
        raise GARVideoError("--judge-url needs the judge's name there: --judge-model")
    if local is not None and given["judge_sees"]:
        raise GARVideoError("a local judge reads text only; leave out --judge-sees")
    judge: Any
    if url is not None:
        judge = ServerJudge(url, given["judge_model"], timeout_s=given["judge_timeout"])
    else:
        judge = LocalJudge(local, device=given["device"])
    return Judging(
        bench,
        CachedJudge(judge, given["judge_cache"] or default_cache()),
        Prompts(given["judge_prompts"]),
        data=given["data"] if given["judge_sees"] else None,
        workers=given["judge_workers"],
    )


def _print(bench: Benchmark, done: Run) -> None:
    from gar_video.bench.table import render

    print(render(bench, done.summary))
    print(f"\n{done.folder}")


for _bench in BENCHMARKS.values():
    app.command(_bench.name, help=_ABOUT[_bench.name])(command_for(_bench, _run))

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run's folder.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another's.")],
    flips: Annotated[int, typer.Option(min=0, help="How many questions that differ to list.")] = 20,
) -> None:
    """Compare two runs question by question: paired table, McNemar's test, what flipped."""
    from gar_video.bench.compare import compare as compare_runs
    from gar_video.bench.compare import render_comparison

    print(render_comparison(compare_runs(run_a, run_b), str(run_a), str(run_b), flips=flips))


@app.command()
def judges(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A judged run's folder.")],
    run_b: Annotated[
        Path, typer.Argument(metavar="RUN_B", help="The same answers, judged by another.")
    ],
    most: Annotated[
        int, typer.Option("--differences", min=0, help="How many differences to list.")
    ] = 20,
) -> None:
    """Compare two judges on the same answers: agreement, Cohen's kappa, where they differ."""
    from gar_video.bench.compare import compare_judges, render_agreement

    found = compare_judges(run_a, run_b)
    print(render_agreement(found, str(run_a), str(run_b), most=most))


@app.command()
def show(
    run: RunFolder,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only what is wrong or failed.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many questions.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page; report.html in the run's folder by default.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The benchmark's folder, if it has moved.")
    ] = None,
    opening: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open it; on a terminal by default.")
    ] = None,
) -> None:
    """Write a page to browse a run: contact sheet, question, answer, truth."""
    from gar_video.bench.report import write_report

    page = write_report(run, out, wrong=wrong, limit=limit, data=data)
    print(page)
    if sys.stdout.isatty() if opening is None else opening:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


@app.command()
def merge(
    out: Annotated[Path, typer.Argument(metavar="RUN", help="The whole run's folder.")],
    shards: Annotated[list[Path], typer.Argument(metavar="SHARD…", help="All shards' folders.")],
) -> None:
    """Put the shards of a run together."""
    from gar_video.bench.merge import merge as merge_runs
    from gar_video.bench.registry import benchmark

    done = merge_runs(out, shards)
    _print(benchmark(done.config["benchmark"]), done)
