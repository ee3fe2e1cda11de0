"""``gar-video train CONFIG.yaml``: every field of the configuration is an option too."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from gar_video.train.recipe import config as configs
from gar_video.train.recipe.errors import TrainingError

_PANEL = "Fields of the configuration"

_EPILOG = (
    "A field of one source of data is set by its place: --set data.0.weight=2. Several GPUs: "
    "accelerate launch -m gar_video.cli train CONFIG.yaml. See docs/training.md."
)


def _train(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG.yaml", help="What to do.", show_default=False)
    ] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Set any field, by its dotted name."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only calculate the memory that a step takes.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")
    ] = False,
    **fields: Any,
) -> None:
    from gar_video.commands.console import Voice, quiet_libraries

    voice = Voice(quiet)
    overrides = _overrides(assign or [], fields)
    made = configs.from_dict({}, overrides) if config is None else configs.load(config, overrides)
    quiet_libraries(voice)
    if estimate:
        from gar_video.train.recipe.estimate import estimate as calculate

        typer.echo("\n".join(calculate(made).lines()))
        return
    from gar_video.train.recipe.loop import train as run

    with voice.progress("training") as update:
        done = run(made, resume=resume, say=voice.note, progress=update)
    if done.skipped or done.dropped:
        voice.note(
            f"{done.skipped} samples could not be used and {done.dropped} answers did not fit"
        )
    if done.stopped:
        voice.note(f"stopped after step {done.steps}; go on with --resume")
    for path in (done.model, done.adapter):
        if path is not None:
            typer.echo(str(path))


def _overrides(assigned: list[str], fields: dict[str, Any]) -> dict[str, Any]:
    """Gather what the command line sets."""
    found: dict[str, Any] = {}
    for text in assigned:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise TrainingError(f"--set {text!r}; expected FIELD=VALUE, such as lora.rank=8")
        found[name.strip()] = value
    for spec in configs.option_specs():
        given = fields.get(_name(spec))
        if given is not None:
            found[spec.dotted] = configs.as_value(spec, given)
    return found


def _name(spec: configs.OptionSpec) -> str:
    return spec.dotted.replace(".", "_")


def _with_options() -> Any:
    """Give the command an option for every field."""
    signature = inspect.signature(_train, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    more = []
    for spec in configs.option_specs():
        flag = f"{spec.flag}/--no-{spec.flag[2:]}" if spec.kind is bool else spec.flag
        default = spec.default
        if isinstance(default, tuple):
            default = ",".join(map(str, default)) or "none"
        shown = (
            ""
            if default is None
            else f" [{str(default).lower() if spec.kind is bool else default}]"
        )
        option = typer.Option(
            flag, help=spec.help + shown, show_default=False, rich_help_panel=_PANEL
        )
        single: Any = spec.kind
        annotation = Annotated[single | None, option]
        more.append(
            inspect.Parameter(
                _name(spec), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
        )

    def train(**given: Any) -> None:
        """Train or fine-tune a GAR checkpoint, nano to 8B, from one YAML file."""
        _train(**given)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + more
    train.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    train.__annotations__ = {p.name: p.annotation for p in parameters}
    return train


#: The command, to be mounted as ``app.command(epilog=EPILOG)(train)``.
train = _with_options()
EPILOG = _EPILOG

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
app.command(name="train", epilog=EPILOG)(train)
