"""``gar-video batch``: a night of footage, from recordings to tables."""

from __future__ import annotations

import contextlib
import json as json_
from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gar_video.commands import batch_keeping, batch_search
from gar_video.commands import options as opt
from gar_video.commands.console import Voice, quiet_libraries

if TYPE_CHECKING:
    from gar_video.batch.engine import Progress
    from gar_video.batch.estimate import Estimate
    from gar_video.batch.running import Source
    from gar_video.batch.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Go through recordings of many cameras and put questions about every object in them.",
)

FOOTAGE, OBJECTS, WORK = "Footage", "Objects", "How it is done"


class EngineName(str, Enum):
    """Who does the work."""

    local = "local"
    ray = "ray"


Run = Annotated[str, typer.Argument(metavar="RUN", help="Folder that batch run wrote.")]
Named = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PATH]…", help="Further footage, as with --footage.",
                   show_default=False),
]  # fmt: skip
FootageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--footage", metavar="PATH", rich_help_panel=FOOTAGE,
        help="File, folder (all below it), pattern or address; may be given several times.",
    ),
]  # fmt: skip
Manifest = Annotated[
    str | None,
    typer.Option(
        "--manifest", metavar="FILE", rich_help_panel=FOOTAGE,
        help="List of recordings (.csv, .jsonl, .parquet): path, camera, start, tracks, region.",
    ),
]  # fmt: skip
Zone = Annotated[
    str,
    typer.Option("--zone", metavar="NAME", rich_help_panel=FOOTAGE,
                 help="Time zone of times that name none, such as Europe/Berlin."),
]  # fmt: skip
Pattern = Annotated[
    str | None,
    typer.Option(
        "--name-pattern", metavar="TEXT", rich_help_panel=FOOTAGE,
        help="How files are named: '{camera}_{start:%Y%m%d_%H%M%S}'; guessed by default.",
    ),
]  # fmt: skip
Remote = Annotated[
    bool,
    typer.Option("--allow-remote", rich_help_panel=FOOTAGE,
                 help="Allow fetching from addresses (s3://, gs://, https://)."),
]  # fmt: skip
Watch = Annotated[
    float | None,
    typer.Option(
        "--watch", metavar="SECONDS", min=0.1, rich_help_panel=FOOTAGE,
        help="Go on for ever: look so often for recordings that were closed since.",
    ),
]  # fmt: skip
Tracks = Annotated[
    str,
    typer.Option(
        "--tracks", metavar="auto|prompts|FOLDER|FORMAT", rich_help_panel=OBJECTS,
        help="beside: a file beside each video; a folder of them; a format's name; auto: "
        "what moves is followed here; or prompts: SAM 2 follows what is pointed at.",
    ),
]  # fmt: skip
Detector = Annotated[
    str,
    typer.Option(
        "--detector", metavar="NAME", rich_help_panel=OBJECTS,
        help="For auto: motion, a plug-in, transformers:HUB-ID, or such as "
        "'ultralytics:YOLO(yolo11n.pt)'.",
    ),
]  # fmt: skip
Tracker = Annotated[
    str,
    typer.Option("--tracker", metavar="NAME", rich_help_panel=OBJECTS,
                 help="For auto: bytetrack, iou, or what gar-video trackers lists."),
]  # fmt: skip
Gate = Annotated[
    float,
    typer.Option("--gate", metavar="SHARE", min=0, max=1, rich_help_panel=OBJECTS,
                 help="For auto: share of the picture that has to change for the detector to be "
                 "asked; 0 always asks."),
]  # fmt: skip
Prompts = Annotated[
    str,
    typer.Option("--prompts", metavar="beside|FOLDER", rich_help_panel=OBJECTS,
                 help="For prompts: where NAME.prompts.json are."),
]  # fmt: skip
Tasks = Annotated[
    str, typer.Option("--tasks", metavar="FILE.yaml", help="What is to be found out.")
]
Out = Annotated[
    str, typer.Option("--out", metavar="RUN", help="Folder of results; an old run is gone on with.")
]
BatchSize = Annotated[
    int,
    typer.Option("--batch-size", metavar="N", min=1, rich_help_panel=WORK,
                 help="Answers worked out and written together."),
]  # fmt: skip
TokensAtOnce = Annotated[
    int | None,
    typer.Option("--tokens-at-once", metavar="N", min=1, rich_help_panel=WORK,
                 help="Tokens the model holds at a time; less takes less memory."),
]  # fmt: skip
Decoders = Annotated[
    int | None,
    typer.Option("--decoders", metavar="N", min=1, rich_help_panel=WORK,
                 help="Recordings looked at at a time, each in a process of its own; all but one "
                 "of the processors, at most 8, by default."),
]  # fmt: skip
FrameSeconds = Annotated[
    float,
    typer.Option("--decoder-timeout", metavar="SECONDS", min=1, rich_help_panel=WORK,
                 help="A decoder that gives nothing for so long is ended."),
]  # fmt: skip
DecoderMemory = Annotated[
    int | None,
    typer.Option("--decoder-memory", metavar="MIB", min=64, rich_help_panel=WORK,
                 help="Most memory of a decoder."),
]  # fmt: skip
Thumbnails = Annotated[
    bool, typer.Option("--thumbnails/--no-thumbnails", help="Write a small picture of each object.",
                       rich_help_panel=opt.OUTPUT)
]  # fmt: skip
Engine = Annotated[
    EngineName,
    typer.Option("--engine", rich_help_panel=WORK,
                 help="local: this process; ray: workers of a cluster (RAY_ADDRESS) or of here."),
]  # fmt: skip
Workers = Annotated[
    int,
    typer.Option("--workers", metavar="N", min=1, rich_help_panel=WORK,
                 help="With ray: processes that run a model, one a GPU."),
]  # fmt: skip
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what it would cost, from a short measurement.")
]
Metrics = Annotated[
    int | None,
    typer.Option("--metrics-port", metavar="PORT", min=0, max=65535, rich_help_panel=opt.OUTPUT,
                 help="Serve counts for Prometheus on 127.0.0.1:PORT/metrics."),
]  # fmt: skip
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout.", rich_help_panel=opt.OUTPUT)
]


@app.command()
def run(
    tasks: Tasks,
    out: Out,
    named: Named = None,
    footage: FootageOption = None,
    manifest: Manifest = None,
    zone: Zone = "UTC",
    name_pattern: Pattern = None,
    allow_remote: Remote = False,
    watch: Watch = None,
    tracks: Tracks = "beside",
    detector: Detector = "motion",
    tracker: Tracker = "bytetrack",
    gate: Gate = 0.0005,
    prompts: Prompts = "beside",
    sam2: opt.Sam2 = "nano",
    num_frames: opt.NumFrames = None,
    model: opt.Model = "nano",
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    batch_size: BatchSize = 32,
    tokens_at_once: TokensAtOnce = None,
    decoders: Decoders = None,
    decoder_timeout: FrameSeconds = 60.0,
    decoder_memory: DecoderMemory = None,
    engine: Engine = EngineName.local,
    workers: Workers = 2,
    thumbnails: Thumbnails = True,
    redact: batch_keeping.RedactOption = None,
    redact_with: batch_keeping.RedactWith = None,
    retention_days: batch_keeping.RetentionDays = None,
    dry_run: DryRun = False,
    metrics_port: Metrics = None,
    json: Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Go through recordings; started again, it goes on where it was stopped or killed."""
    from gar_video.batch.clock import zone_named
    from gar_video.batch.tasks import load_tasks
    from gar_video.errors import GARVideoError

    voice = Voice(quiet)
    everything = (*(footage or ()), *(named or ()))
    if not everything and manifest is None:
        raise GARVideoError("there is no footage; expected --footage PATH or --manifest FILE")
    quiet_libraries(voice)
    from gar_video.batch.running import Source
    from gar_video.batch.settings import Following, Settings

    source = Source(everything, manifest, zone_named(zone), name_pattern, allow_remote)
    settings = Settings(
        load_tasks(tasks), tracks, Following(detector, tracker, gate=gate), num_frames, thumbnails,
        batch_size, max(120.0, decoder_timeout), decoder_timeout, decoder_memory,
        redact=None if redact is None else redact.value, redact_with=redact_with,
        sam2=sam2, prompts=prompts,
    )  # fmt: skip
    if dry_run:
        _dry_run(voice, source, settings, json, model=model, device=device, dtype=dtype,
                 tokens_at_once=tokens_at_once)  # fmt: skip
        return
    from gar_video.batch.running import run as run_batch

    with _told(voice, metrics_port) as progress:
        summary = run_batch(
            source, settings.tasks, out, model, tracks=tracks, following=settings.following,
            settings=settings, engine=engine.value, workers=workers, device=device, dtype=dtype,
            tokens_at_once=tokens_at_once, decoders=decoders, progress=progress, watch_s=watch,
            retention_days=retention_days,
        )  # fmt: skip
    told = {
        "run": str(summary.folder), "rows": summary.rows, "answered": summary.answered,
        "failed": summary.units.failed, "recordings": summary.recordings.total,
        "recordings_failed": summary.recordings.failed, "seconds": round(summary.seconds, 1),
    }  # fmt: skip
    if json:
        print(json_.dumps(told))
        return
    print(
        f"{told['rows']} rows of {summary.recordings.done} recordings in {out}; "
        f"{told['answered']} answered in {_duration(summary.seconds)}"
    )
    if summary.units.failed or summary.recordings.failed:
        voice.note(
            f"{summary.recordings.failed} recordings and {summary.units.failed} answers failed: "
            f"gar-video batch status {out} names them"
        )


@app.command()
def status(run: Run, json: Json = False) -> None:
    """Say how far a run is and what failed; it may go on meanwhile."""
    from gar_video.batch.results import read_failures
    from gar_video.batch.state import State

    with State(run, None) as state:
        recordings, units = state.counts("recordings"), state.counts()
    failures = read_failures(run)
    if json:
        counted = {"recordings": vars(recordings), "units": vars(units), "failures": failures}
        print(json_.dumps(counted))
        return
    for name, counts in (("recordings", recordings), ("answers", units)):
        parts = ", ".join(f"{count} {word}" for word, count in vars(counts).items() if count)
        print(f"{name}: {counts.total}" + (f" ({parts})" if parts else ""))
    for failure in failures:
        what = f" ({failure['task']} of {_ids(failure['objects'])})" if failure["task"] else ""
        print(f"failed: {_line(failure['video'])}{what}: {_line(failure['error'])}")


@app.command("retry-failed")
def retry_failed(run: Run) -> None:
    """Let what failed be tried anew; start the run again afterwards."""
    from gar_video.batch.running import retry_failed as retry

    print(f"{retry(run)} will be tried anew; start the same gar-video batch run again")


@app.command()
def export(
    run: Run,
    redact: batch_keeping.RedactOption = None,
    redact_with: batch_keeping.RedactWith = None,
) -> None:
    """Write a run's tables anew, also while it goes on; with --redact its thumbnails, too."""
    from gar_video.batch.results import export as write

    if redact is not None:
        from gar_video.batch.redacting import redact_thumbnails

        done = redact_thumbnails(run, redact.value, redact_with)
        print(f"{done} thumbnails without recognisable {redact.value}")
    print(f"{write(run)} rows in {run}")


def _dry_run(voice: Voice, source: Source, settings: Settings, json: bool, **how: Any) -> None:
    with voice.progress("measuring"):
        from gar_video.batch.estimate import estimate

        found = estimate(source, settings, **how)
    print(json_.dumps(found.to_dict()) if json else _estimated(found))


def _estimated(found: Estimate) -> str:
    lines = [
        f"{found.recordings} recordings, about {found.hours:.2f} hours of video "
        f"({found.sampled} looked at, {found.unusable} unusable)",
        f"about {found.objects} objects, {found.units} answers, {found.tokens} tokens "
        f"({found.tokens_per_object_minute:.0f} for each object and minute)",
        f"about {_duration(found.total_s)} on this machine: {_duration(found.decode_s)} of "
        f"decoding and following, {_duration(found.model_s)} of the model, side by side",
    ]
    lines += [f"cannot be used: {_line(name)}: {reason}" for name, reason in found.failed]
    return "\n".join(lines)


@contextlib.contextmanager
def _told(voice: Voice, port: int | None) -> Iterator[Callable[[Progress], None]]:
    """Give what is called with a run's progress."""
    with contextlib.ExitStack() as stack:
        serve: Callable[[Progress], None] | None = None
        if port is not None:
            from gar_video.batch.watching import MetricsServer

            server = MetricsServer(port)
            stack.callback(server.close)
            serve = server
            voice.note(f"metrics on http://127.0.0.1:{server.port}/metrics")
        update = stack.enter_context(voice.progress("answering"))

        def told(progress: Progress) -> None:
            done = progress.units.done + progress.units.failed
            update(done, max(done, progress.expected))
            if serve is not None:
                serve(progress)

        yield told


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _ids(objects: list[int] | None) -> str:
    return " and ".join(f"<{one}>" for one in objects or ())


def _line(text: str | None) -> str:
    """Return a text that takes one line and moves no cursor."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text or "")


batch_search.mount(app)
batch_keeping.mount(app)
