"""The command line, ``gar-video``: what is known to it, and how it ends.

Results go to stdout, everything else to stderr. A mistake in what was given ends in one line
``error: …`` and status 2, Ctrl-C in status 130; a traceback is a bug of this package. Nothing heavy
is imported before a command needs it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gar_video.commands import annotate, demo, live, page, questions, timeline, track, trackers
from gar_video.commands.console import own_warnings, say_error
from gar_video.commands.options import POINTING_HELP
from gar_video.commands.pointing import PointingCommand
from gar_video.errors import GARVideoError

USAGE, INTERRUPTED, NOBODY_READS = 2, 130, 141

# Commands whose modules, with an `app` each, are imported when they are used: name -> module, help.
_LAZY = {
    "synth": ("gar_video.synth.cli", "Render clips whose truth is known."),
    "train": ("gar_video.train.recipe.cli", "Train or fine-tune a GAR checkpoint, nano to 8B."),
    "bench": ("gar_video.bench.cli", "Run the benchmarks of the field and compare runs."),
    "serve": ("gar_video.server.cli", "Answer over HTTP: OpenAI's chat interface and our own."),
    "export-llm": ("gar_video.llm_export", "Write the language model as a plain Llama."),
    "experiment": ("gar_video.experiments.cli", "Run the paper's three experiments."),
    "batch": ("gar_video.commands.batch", "Go through footage of many cameras; tables out."),
}

# What typer raises for options that cannot be meant, whichever click it stands on.
_UsageProblem: Any = typer.BadParameter.__mro__[2]


class _Group(TyperGroup):
    """The top of the command line; some of what hangs there is imported on use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *(name for name in _LAZY if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _LAZY and cmd_name not in self.commands:
            return TyperGroup(name=cmd_name, help=_LAZY[cmd_name][1])
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in _LAZY and args[0] not in self.commands:
            hung: typer.Typer = importlib.import_module(_LAZY[args[0]][0]).app
            alone = len(hung.registered_commands) == 1 and hung.registered_callback is None
            made = typer.main.get_command if alone else typer.main.get_group
            self.commands[args[0]] = made(hung)
            if not alone and len(args) == 1:
                args = [*args, "--help"]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="gar-video",
    cls=_Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Point at objects in a video or photograph, follow them, and have them put into words.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from gar_video import __version__

        print(f"gar-video {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


for _command in (track.track, questions.describe, questions.ask, questions.choose):
    app.command(cls=PointingCommand, epilog=POINTING_HELP)(_command)
for _plain in (
    timeline.timeline, annotate.annotate, annotate.sheet, live.live, trackers.trackers, demo.demo,
):  # fmt: skip
    app.command()(_plain)
app.command()(page.app)


def run(argv: Sequence[str]) -> int:
    """Run a command line and return its exit status.

    Args:
        argv: The arguments, without the program's name.

    Returns:
        0 if all went well; 2 after a mistake in what was given; 130 after Ctrl-C; 141 if nobody
        reads the output any more.
    """
    with own_warnings():
        try:
            status = _invoke(list(argv) or ["--help"])
            sys.stdout.flush()
            return status
        except _UsageProblem as problem:
            say_error(_usage_text(problem))
            return USAGE
        except GARVideoError as error:
            say_error(str(error))
            return USAGE
        except (KeyboardInterrupt, typer.Abort):
            say_error("interrupted; no file was left half-written")
            return INTERRUPTED
        except BrokenPipeError:
            # Python would complain once more when it flushes at the end.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return NOBODY_READS


def _invoke(argv: list[str]) -> int:
    """Run a command and let every exception through: typer's own way out has its own messages."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("gar-video", argv) as context:
            command.invoke(context)
    except typer.Exit as end:
        return int(end.exit_code)
    return 0


def _usage_text(problem: Any) -> str:
    text = problem.format_message().strip().rstrip(".")
    context = getattr(problem, "ctx", None)
    command = context.command_path if context is not None else "gar-video"
    return f"{text}; see {command} --help"


def main() -> None:
    """Run the command line of this process and exit."""
    # Ended by its supervisor, it tidies up after itself as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
