"""Options of the benchmarks' commands, each described once, and which command has which."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from gar_video.bench.registry import Benchmark
from gar_video.commands.options import MODELS, Device, Dtype, MaxNewTokens

WHICH, HOW, JUDGING = "Which questions", "How they are put", "Judging"


class Mode(str, Enum):
    """How a question points at objects."""

    single = "single"
    multi = "multi"
    track = "track"


class Style(str, Enum):
    """Whose wording."""

    official = "official"
    gar = "gar"


class Scoring(str, Enum):
    """How options are scored in one pass."""

    letter = "letter"
    text = "text"


_Option = tuple[str, Any, Any]
_REQUIRED = inspect.Parameter.empty


def _say(panel: str, help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=panel, **more)


_ALL: tuple[_Option, ...] = (
    ("data", Annotated[Path, _say(WHICH, "The benchmark's folder.", "--data", metavar="DIR")],
     _REQUIRED),
    ("out", Annotated[Path, _say(WHICH, "The run's folder; an unfinished one is gone on with.",
                                 "--out", metavar="RUN")], _REQUIRED),
    ("questions", Annotated[Path | None, _say(
        WHICH, "Its JSON file, if it is not called as published.", "--questions",
        metavar="FILE")], None),
    ("types", Annotated[list[str] | None, _say(
        WHICH, "Only this category; may be given several times.", "--types", metavar="TYPE")],
     None),
    ("limit", Annotated[int | None, _say(
        WHICH, "At most so many questions: the first, or with --seed drawn at random.",
        "--limit", metavar="N", min=1)], None),
    ("shard", Annotated[str | None, _say(
        WHICH, "One part of them: 1/4 to 4/4; put together with bench merge.", "--shard",
        metavar="I/N")], None),
    ("skip_missing", Annotated[bool, _say(
        WHICH, "Leave out questions whose video or picture is not there; they are counted.",
        "--skip-missing")], False),
    ("answers", Annotated[list[Path] | None, _say(
        WHICH, "Score these answers, a published file or another run, and run no model.",
        "--answers", metavar="PATH")], None),
    ("model", Annotated[str | None, _say(
        MODELS, "GAR checkpoint: nano, a folder, or a hub id such as HaochenWang/GAR-1B.",
        "--model", metavar="NAME")], None),
    ("device", Device, "auto"),
    ("dtype", Dtype, "auto"),
    ("max_new_tokens", MaxNewTokens, None),
    ("batch_size", Annotated[int, _say(
        MODELS, "Rows in one forward pass; answers do not depend on it.", "--batch-size",
        min=1)], 8),
    ("seed", Annotated[int | None, _say(
        WHICH, "Seed for --limit and --swap-masks.", "--seed", metavar="N")], None),
    ("blind", Annotated[bool, _say(
        HOW, "Show neither pictures nor masks: what the words alone give away.", "--blind")],
     False),
    ("swap_masks", Annotated[bool, _say(
        HOW, "Point at other objects than those meant.", "--swap-masks")], False),
    ("quiet", Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")], False),
)  # fmt: skip

_VIDEO: tuple[_Option, ...] = (
    ("mode", Annotated[Mode, _say(
        HOW, "single: the mask on one frame; multi: all annotated frames; track: SAM 2 follows "
        "the single mask.", "--mode")], Mode.multi),
    ("prompt_style", Annotated[Style, _say(
        HOW, "The benchmark's own wording, or that of GAR's training.", "--prompt-style")],
     Style.gar),
    ("num_frames", Annotated[int | None, _say(
        HOW, "Frames to look at; the checkpoint's own number by default.", "--num-frames",
        metavar="N", min=1)], None),
    ("sam2", Annotated[str | None, _say(
        MODELS, "For --mode track: nano, a folder, or such as facebook/sam2.1-hiera-small.",
        "--sam2", metavar="NAME")], None),
    ("tracks", Annotated[Path | None, _say(
        HOW, "For --mode track: where tracks are kept and looked for first, for several runs; "
        "the run's own folder by default.", "--tracks", metavar="DIR")], None),
)  # fmt: skip

_CHOICE: tuple[_Option, ...] = (
    ("score", Annotated[Scoring | None, _say(
        HOW, "Compare the options in one pass, by letter or by text, instead of generating.",
        "--score")], None),
    ("generate", Annotated[bool, _say(
        HOW, "Generate an answer and read its letter by the published rule (the default).",
        "--generate")], False),
)  # fmt: skip

_JUDGED: tuple[_Option, ...] = (
    ("judge_url", Annotated[str | None, _say(
        JUDGING, "A server that speaks OpenAI's protocol, such as http://localhost:8000/v1; the "
        "key is taken from GAR_VIDEO_JUDGE_KEY.", "--judge-url", metavar="URL")], None),
    ("judge_model", Annotated[str | None, _say(
        JUDGING, "The judge's name there.", "--judge-model", metavar="NAME")], None),
    ("judge_local", Annotated[str | None, _say(
        JUDGING, "Judge with a chat model that transformers runs here.", "--judge-local",
        metavar="NAME")], None),
    ("judge_sees", Annotated[bool, _say(
        JUDGING, "Send the picture with its regions drawn along with the text.",
        "--judge-sees")], False),
    ("judge_prompts", Annotated[Path | None, _say(
        JUDGING, "JSON file of prompts to judge with, in place of this project's wordings.",
        "--judge-prompts", metavar="FILE")], None),
    ("judge_cache", Annotated[Path | None, _say(
        JUDGING, "Where its replies are kept, so that asking again costs nothing.",
        "--judge-cache", metavar="DIR")], None),
    ("judge_workers", Annotated[int, _say(
        JUDGING, "How many answers are judged at once.", "--judge-workers", min=1)], 8),
    ("judge_timeout", Annotated[float, _say(
        JUDGING, "Seconds to wait for a reply.", "--judge-timeout", min=1)], 120.0),
)  # fmt: skip


def command_for(bench: Benchmark, handle: Callable[..., None]) -> Callable[..., None]:
    """Return a function that typer reads as the benchmark's command.

    Args:
        bench: The benchmark.
        handle: Called with the benchmark and all options, those that it lacks as None.
    """
    letter = bench.measure == "letter"
    own = [*_ALL, *(_VIDEO if bench.video else ())]
    own += [option for option in _CHOICE if letter] + [option for option in _JUDGED if not letter]
    every = [name for name, _, _ in (*_ALL, *_VIDEO, *_CHOICE, *_JUDGED)]

    def command(**given: Any) -> None:
        handle(bench, **{**dict.fromkeys(every), **given})

    command.__annotations__ = {name: kind for name, kind, _ in own}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
            )
            for name, kind, default in own
        ]
    )
    return command
