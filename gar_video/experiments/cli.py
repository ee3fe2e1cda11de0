"""``gar-video experiment replay|init|prompts``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from gar_video.commands.console import Voice, quiet_libraries
from gar_video.errors import GARVideoError
from gar_video.experiments.folder import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Run the paper's three experiments on rendered clips: table, plot and JSON each.",
)

_Model = Annotated[str, typer.Option("--model", help="Checkpoint: nano, a folder or a hub id.")]
_Out = Annotated[
    Path, typer.Option("--out", help="Folder of the results; the same again goes on with it.")
]
_Seeds = Annotated[int, typer.Option("--seeds", help="How many seeds; more can be added later.")]
_Questions = Annotated[int, typer.Option("--questions", help="Questions asked with each seed.")]
_Steps = Annotated[int, typer.Option("--steps", help="Optimiser steps of each arm.")]
_Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
_Level = Annotated[str, typer.Option("--level", help="Rendered world: basic or full.")]
_By = Annotated[str, typer.Option("--by", help="Score choices by their text or by letter.")]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Set a field of the recipe: method=lora."),
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


@app.command()
def replay(
    out: _Out,
    model: _Model = "nano",
    seeds: _Seeds = 3,
    steps: _Steps = 120,
    questions: _Questions = 200,
    decoder: Annotated[
        str, typer.Option("--decoder", help="kept, or fresh: layers drawn anew, for many steps.")
    ] = "kept",
    device: _Device = "auto",
    level: _Level = "basic",
    by: _By = "text",
    assign: _Set = None,
    quiet: _Quiet = False,
) -> None:
    """Compare region tokens replayed from the whole frame with those of the region's crop."""
    if decoder not in ("fresh", "kept"):
        raise GARVideoError(f"--decoder {decoder!r}; expected kept or fresh")
    settings = _settings(model, out, seeds, questions, device, steps, assign, level, by)

    def work(progress: Any) -> dict[str, Any]:
        from gar_video.experiments import replay as experiment

        return experiment.run(settings, decoder=decoder, progress=progress)

    _show("replay or crop", work, settings, quiet)


@app.command()
def init(
    out: _Out,
    model: _Model = "nano",
    seeds: _Seeds = 3,
    steps: _Steps = 60,
    questions: _Questions = 120,
    device: _Device = "auto",
    level: _Level = "basic",
    by: _By = "text",
    assign: _Set = None,
    quiet: _Quiet = False,
) -> None:
    """Compare a mask embedding of zeros with a random one, added to a trained base."""
    settings = _settings(model, out, seeds, questions, device, steps, assign, level, by)

    def work(progress: Any) -> dict[str, Any]:
        from gar_video.experiments import init as experiment

        return experiment.run(settings, progress=progress)

    _show("zero or random", work, settings, quiet)


@app.command()
def prompts(
    out: _Out,
    model: _Model = "nano",
    seeds: _Seeds = 3,
    questions: _Questions = 80,
    counts: Annotated[
        str, typer.Option("--counts", help="Numbers of prompted objects, with commas.")
    ] = "1,2,5,9",
    device: _Device = "auto",
    level: _Level = "basic",
    by: _By = "text",
    quiet: _Quiet = False,
) -> None:
    """Measure accuracy as more objects are prompted at once; nothing is trained."""
    try:
        numbers = [int(part) for part in counts.split(",")]
    except ValueError:
        raise GARVideoError(f"--counts {counts!r}; expected numbers such as 1,2,5,9") from None
    settings = _settings(model, out, seeds, questions, device, 0, None, level, by)

    def work(progress: Any) -> dict[str, Any]:
        from gar_video.experiments import prompts as experiment

        return experiment.run(settings, counts=numbers, progress=progress)

    _show("prompts", work, settings, quiet)


def _settings(
    model: str, out: Path, seeds: int, questions: int, device: str, steps: int,
    assign: list[str] | None, level: str, by: str,
) -> Settings:  # fmt: skip
    pairs = []
    for text in assign or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise GARVideoError(f"--set {text!r}; expected FIELD=VALUE, such as method=lora")
        if name.strip() in ("model", "output", "steps", "seed", "device"):
            raise GARVideoError(f"--set {text!r}; the experiment sets {name.strip()} itself")
        pairs.append((name.strip(), value))
    return Settings(model, out, seeds, questions, device, steps, tuple(pairs), level, by)


def _show(doing: str, work: Callable[[Any], dict[str, Any]], settings: Settings, quiet: bool
          ) -> None:  # fmt: skip
    voice = Voice(quiet)
    quiet_libraries(voice)
    with voice.progress(doing) as update:
        result = work(update)
    print(result["table"])
    print(f"\n{settings.out / 'plot.png'}\n{settings.out / 'result.json'}")
