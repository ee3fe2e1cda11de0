"""``gar-video batch search``: a moment of a night, by words."""

from __future__ import annotations

import json as json_
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from gar_video.commands import options as opt
from gar_video.commands.console import Voice, quiet_libraries

if TYPE_CHECKING:
    from gar_video.batch.searching import Hit, Only

ONLY = "Which rows count"

Run = Annotated[str, typer.Argument(metavar="RUN", help="Folder that batch run wrote.")]
Words = Annotated[
    str,
    typer.Argument(metavar="WORDS", help="What to look for; \"red car\" in quotes of its own holds "
                   "words together, car* finds what begins so."),
]  # fmt: skip
Cameras = Annotated[
    list[str] | None,
    typer.Option("--camera", metavar="NAME", rich_help_panel=ONLY,
                 help="Of this camera; may be given several times."),
]  # fmt: skip
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME", rich_help_panel=ONLY,
                 help="About objects with this label; may be given several times."),
]  # fmt: skip
TaskNames = Annotated[
    list[str] | None,
    typer.Option("--task", metavar="NAME", rich_help_panel=ONLY,
                 help="Of this task; may be given several times."),
]  # fmt: skip
Since = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", rich_help_panel=ONLY,
                 help="Not over before this: ISO 8601, or a day."),
]  # fmt: skip
Until = Annotated[
    str | None,
    typer.Option("--to", metavar="TIME", rich_help_panel=ONLY,
                 help="Begun before this; a day is meant to its end."),
]  # fmt: skip
ZoneOption = Annotated[
    str,
    typer.Option("--zone", metavar="NAME", rich_help_panel=ONLY,
                 help="Time zone of times that name none, such as Europe/Berlin."),
]  # fmt: skip
Limit = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, help="Most hits.", rich_help_panel=opt.OUTPUT)
]
Embed = Annotated[
    str | None,
    typer.Option("--embed", metavar="MODEL", rich_help_panel=opt.MODELS,
                 help="Sentence model (transformers, safetensors) that also finds what is said in "
                 "other words."),
]  # fmt: skip
ByMeaning = Annotated[
    bool,
    typer.Option("--by-meaning", help="With --embed: do not look for the words themselves.",
                 rich_help_panel=opt.MODELS),
]  # fmt: skip
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout.", rich_help_panel=opt.OUTPUT)
]


def search(
    run: Run,
    words: Words,
    camera: Cameras = None,
    since: Since = None,
    until: Until = None,
    zone: ZoneOption = "UTC",
    label: Labels = None,
    task: TaskNames = None,
    limit: Limit = 20,
    embed: Embed = None,
    by_meaning: ByMeaning = False,
    json: Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Find what a run has said, by words; the run may go on meanwhile."""
    from gar_video.batch.searching import read_words
    from gar_video.batch.searching import search as find

    read_words(words)
    only = only_of(camera, label, task, since, until, zone)
    voice = Voice(quiet)
    if embed is not None:
        quiet_libraries(voice)
    with voice.progress("reading what was answered") as progress:
        hits = find(
            run, words, only, limit=limit, embed=embed, by_meaning=by_meaning, progress=progress
        )
    if json:
        print(json_.dumps([asdict(hit) for hit in hits], ensure_ascii=False))
        return
    for hit in hits:
        print(told(hit))
    if not hits:
        voice.note("nothing was found")


def only_of(
    cameras: list[str] | None,
    labels: list[str] | None,
    tasks: list[str] | None,
    since: str | None,
    until: str | None,
    zone: str,
) -> Only:
    """Return which rows count, as users say it.

    Raises:
        GARVideoError: If a time or a zone is none.
    """
    from gar_video.batch.clock import zone_named
    from gar_video.batch.searching import Only, check_times, read_day

    at = zone_named(zone)
    only = Only(
        tuple(cameras or ()), tuple(labels or ()), tuple(tasks or ()),
        None if since is None else read_day(since, at),
        None if until is None else read_day(until, at, end=True),
    )  # fmt: skip
    check_times(only)
    return only


def told(hit: Hit) -> str:
    """Return a hit as two lines: what, and where it can be seen."""
    ids = " and ".join(f"<{one}>" for one in hit.objects)
    labels = " and ".join(label for label in hit.labels if label)
    when = hit.wall_start or "time unknown"
    lines = [
        f"{when}  {hit.camera or 'no camera'}  {hit.task} of {ids}"
        f"{f' ({labels})' if labels else ''}: {hit.answer}",
        f"    {hit.video} at {hit.start_s:.1f} s" + (f"  {hit.thumbnail}" if hit.thumbnail else ""),
    ]
    return "\n".join(map(one_line, lines))


def one_line(text: str) -> str:
    """Return a text that takes one line and moves no cursor."""
    from gar_video.commands.batch import _line

    return _line(text)


def mount(app: typer.Typer) -> None:
    """Hang these commands below ``gar-video batch``."""
    app.command()(search)
