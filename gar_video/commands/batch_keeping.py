"""``gar-video batch report`` and ``forget``: what is shown of a run, and what is kept of it."""

from __future__ import annotations

import json as json_
from enum import Enum
from typing import Annotated

import typer

from gar_video.commands import batch_search as of
from gar_video.commands import options as opt
from gar_video.commands.console import Voice, quiet_libraries
from gar_video.errors import GARVideoError

PRIVACY = "Privacy"


class What(str, Enum):
    """What is made unrecognisable."""

    faces = "faces"
    people = "people"


RedactOption = Annotated[
    What | None,
    typer.Option("--redact", rich_help_panel=PRIVACY,
                 help="Make faces or people unrecognisable in pictures, for good."),
]  # fmt: skip
RedactWith = Annotated[
    str | None,
    typer.Option(
        "--redact-with", metavar="DETECTOR", rich_help_panel=PRIVACY,
        help="What finds them, named as for batch run --detector; by default what OpenCV 4 brings. "
        "Where there is nothing, whole pictures are made unrecognisable.",
    ),
]  # fmt: skip
PageOut = Annotated[
    str | None,
    typer.Option("--out", metavar="FILE.html", help="The page; RUN/report.html by default.",
                 rich_help_panel=opt.OUTPUT),
]  # fmt: skip
EmbedMib = Annotated[
    float,
    typer.Option("--embed-mib", metavar="MIB", min=0, rich_help_panel=opt.OUTPUT,
                 help="So much of pictures inside the page; further ones are shown from RUN."),
]  # fmt: skip
Most = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, help="Most answers.",
                      rich_help_panel=opt.OUTPUT)
]  # fmt: skip
Before = Annotated[
    str | None,
    typer.Option("--before", metavar="TIME", help="What began before this: ISO 8601, or a day."),
]
RetentionDays = Annotated[
    float | None,
    typer.Option("--retention-days", metavar="N", min=0, help="What began so many days ago."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; otherwise only say what would go.")]


def report(
    run: of.Run,
    out: PageOut = None,
    camera: of.Cameras = None,
    since: of.Since = None,
    until: of.Until = None,
    zone: of.ZoneOption = "UTC",
    label: of.Labels = None,
    task: of.TaskNames = None,
    redact: RedactOption = None,
    redact_with: RedactWith = None,
    embed_mib: EmbedMib = 16.0,
    limit: Most = 100_000,
    quiet: opt.Quiet = False,
) -> None:
    """Write one HTML page that shows a run: counts, pictures, filters; it needs no network."""
    from gar_video.batch.reporting import write_report

    only = of.only_of(camera, label, task, since, until, zone)
    if redact_with is not None and redact is None:
        raise GARVideoError("--redact-with says how, but not what; add --redact faces or people")
    voice = Voice(quiet)
    if redact_with is not None:
        quiet_libraries(voice)
    with voice.progress("reading what was answered") as progress:
        done = write_report(
            run, out, only, redact=None if redact is None else redact.value,
            redact_with=redact_with, embed_mib=embed_mib, most=limit, progress=progress,
        )  # fmt: skip
    print(
        f"{done.rows} answers in {done.path} ({done.bytes / (1 << 20):.1f} MiB): {done.embedded} "
        f"pictures inside, {done.linked} shown from the run's folder, {done.dropped} left out"
    )
    if done.left_out:
        voice.note(
            f"{done.left_out} further answers are too many for one page; narrow it by --camera, "
            "--from and --to, or raise --limit"
        )
    if redact is not None and not done.looked:
        voice.note(
            "this OpenCV finds nobody, so whole pictures were made unrecognisable; name a detector "
            "with --redact-with"
        )


def forget(
    run: of.Run,
    before: Before = None,
    retention_days: RetentionDays = None,
    camera: of.Cameras = None,
    zone: of.ZoneOption = "UTC",
    yes: Yes = False,
    json: of.Json = False,
) -> None:
    """Remove old rows, pictures, tracks and indexes from a run, for good."""
    from gar_video.batch.clock import zone_named
    from gar_video.batch.forgetting import days_ago
    from gar_video.batch.forgetting import forget as remove
    from gar_video.batch.searching import read_day

    if (before is None) == (retention_days is None):
        raise GARVideoError("expected either --before TIME or --retention-days N")
    at = zone_named(zone)
    limit = days_ago(retention_days or 0.0) if before is None else read_day(before, at)
    gone = remove(run, limit, tuple(camera or ()), really=yes)
    if json:
        told = {**vars(gone), "before": limit.isoformat(), "done": yes}
        print(json_.dumps(told, ensure_ascii=False))
        return
    did = "went for good" if yes else "would go"
    print(
        f"before {limit.isoformat(timespec='seconds')}: {gone.rows} rows and {gone.recordings} "
        f"whole recordings {did}" + (f", with {gone.files} files" if yes else "")
        + f"; {gone.left} rows {'are left' if yes else 'would be left'}"
    )  # fmt: skip
    for video in gone.videos:
        print(f"    {of.one_line(video)}")
    if gone.timeless:
        print(f"{gone.timeless} recordings stay, since nobody knows their time")
    if not yes:
        print("nothing was removed; add --yes to do it")


def mount(app: typer.Typer) -> None:
    """Hang these commands below ``gar-video batch``."""
    app.command()(report)
    app.command()(forget)
