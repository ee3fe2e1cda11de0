"""Runs from one call: what the command line does, and Python may."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timezone, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gar_video.batch import forgetting, results
from gar_video.batch.autotrack import check_following
from gar_video.batch.clips import check_tracks
from gar_video.batch.engine import Engine, Progress, finish
from gar_video.batch.footage import Footage, find_footage
from gar_video.batch.lock import FolderLock
from gar_video.batch.prompted import check_prompts, load_tracker
from gar_video.batch.redacting import Redactor
from gar_video.batch.settings import AUTO, Following, Settings
from gar_video.batch.state import Counts, State
from gar_video.batch.tasks import Task, load_tasks
from gar_video.errors import GARVideoError

if TYPE_CHECKING:
    from gar_video.batch.crew import Crew
    from gar_video.pipeline import GARVideo

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Source:
    """Where footage is.

    Attributes:
        named: Files, folders, patterns, addresses.
        manifest: A list of recordings; see ``footage.find_footage``.
        zone: Zone of times that name none.
        pattern: How file names are made; see ``clock.from_name``.
        remote: Whether addresses may be fetched from.
    """

    named: tuple[str, ...] = ()
    manifest: str | None = None
    zone: tzinfo = timezone.utc
    pattern: str | None = None
    remote: bool = False

    def find(self) -> Footage:
        """List the recordings.

        Raises:
            GARVideoError: As ``find_footage``; also if there is nothing at all.
        """
        found = find_footage(
            self.named, manifest=self.manifest, zone=self.zone, pattern=self.pattern,
            remote=self.remote,
        )  # fmt: skip
        if not found.recordings and not found.unusable:
            told = ", ".join((*self.named, *filter(None, [self.manifest]))) or "nothing"
            raise GARVideoError(f"there are no recordings in {told}; expected videos or pictures")
        return found


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        folder: The run's folder.
        recordings: Recordings by state.
        units: Units by state.
        rows: Rows in the tables.
        seconds: How long it took, this time.
        answered: Units answered this time.
        shrunk: How often memory did not suffice for a batch as it was.
    """

    folder: Path
    recordings: Counts
    units: Counts
    rows: int
    seconds: float
    answered: int
    shrunk: int


def run(
    footage: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Source,
    tasks: str | os.PathLike[str] | Sequence[Task],
    out: str | os.PathLike[str],
    model: GARVideo | str = "nano",
    *,
    tracks: str = "beside",
    following: Following | None = None,
    sam2: str | os.PathLike[str] | None = None,
    prompts: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    engine: EngineName = "local",
    workers: int = 2,
    device: str = "auto",
    dtype: str = "auto",
    tokens_at_once: int | None = None,
    decoders: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    watch_s: float | None = None,
    retention_days: float | None = None,
) -> Summary:
    """Go through footage and put tasks about every object; go on where a run was stopped.

    Args:
        footage: Files, folders, patterns; or a ``Source`` with manifest, zone and the like.
        tasks: ``tasks.yaml``, or tasks.
        out: The run's folder.
        model: The model, or a checkpoint's name; with Ray a name.
        tracks: ``"beside"``, ``"auto"``, ``"prompts"``, a folder, or a format's name; see
            ``Settings``.
        following: How objects are followed with ``"auto"``.
        sam2: Checkpoint of SAM 2 for ``"prompts"``; nano by default.
        prompts: Where prompts are: ``"beside"`` each video, the default, or a folder.
        settings: Further settings; what is given above wins.
        engine: ``"local"`` for this process, or ``"ray"``.
        workers: With Ray, how many processes run a model.
        device: For a checkpoint's name.
        dtype: For a checkpoint's name.
        tokens_at_once: Most tokens the model holds at a time; by the device if None.
        decoders: Without Ray, how many recordings are looked at at a time; by the processors if
            None.
        progress: Called about once a second.
        stop: Asked now and then; True ends the run as Ctrl-C does.
        watch_s: Look for new recordings every so many seconds, until the run is stopped.
        retention_days: Remove for good what began so many days ago: at the end, and with
            ``watch_s`` now and then.

    Returns:
        How it ended; the tables are written.

    Raises:
        GARVideoError: If something given cannot be meant, the folder belongs to another run or is
            in use, or the disk is full. What was done is kept.
        KeyboardInterrupt: If it was stopped.
    """
    source = footage if isinstance(footage, Source) else Source(_names(footage))
    known = load_tasks(tasks) if isinstance(tasks, str | os.PathLike) else tuple(tasks)
    settings = settings or Settings(known)
    settings = replace(
        settings, tasks=known, tracks=tracks, following=following or settings.following,
        sam2=settings.sam2 if sam2 is None else os.fspath(sam2),
        prompts=settings.prompts if prompts is None else os.fspath(prompts),
    )  # fmt: skip
    check(settings)
    # What a recorder may still be writing is left to the watcher.
    found = source.find() if watch_s is None else None
    folder = Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow links
    with FolderLock(folder):
        crew = _crew(
            engine, settings, folder, model, device=device, dtype=dtype, workers=workers,
            tokens_at_once=tokens_at_once, decoders=decoders,
        )  # fmt: skip
        try:
            state = State(folder, settings.identity(crew.model, crew.sam2))
        except BaseException:
            crew.close()
            raise
        with state:
            watch = None if watch_s is None else _watcher(source, watch_s)
            if watch is not None and retention_days is not None:
                watch = forgetting.now_and_then(watch, folder, retention_days)
            worker = Engine(state, crew, settings, progress, stop, watch)
            if found is not None:
                worker.add(found)
            try:
                worker.work()
            except KeyboardInterrupt:
                # What is there is shown by the tables, too.
                finish(state)
                raise
            rows = finish(state)
            if retention_days is not None:
                rows -= forgetting.forget_old(folder, retention_days).done
            end = worker.progress()
            if progress is not None:
                progress(end)
            return Summary(
                folder, end.recordings, end.units, rows, end.seconds, end.answered, worker.shrunk
            )


def _watcher(source: Source, every_s: float) -> Callable[[], Footage | None]:
    from gar_video.batch.watching import Watcher

    return Watcher(source, every_s)


def check(settings: Settings) -> None:
    """Refuse what cannot work, before anything is loaded.

    Raises:
        GARVideoError: So.
    """
    if not settings.tasks:
        raise GARVideoError("there are no tasks; expected at least one")
    check_tracks(settings.tracks)
    check_prompts(settings)
    if settings.redact is not None:
        Redactor(settings.redact, settings.redact_with)
    if settings.tracks == AUTO:
        check_following(settings.following)
    results.arrow()


def _names(
    footage: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> tuple[str, ...]:
    if isinstance(footage, str | os.PathLike):
        return (os.fspath(footage),)
    return tuple(os.fspath(name) for name in footage)


def _crew(
    engine: str,
    settings: Settings,
    folder: Path,
    model: GARVideo | str,
    *,
    device: str,
    dtype: str,
    workers: int,
    tokens_at_once: int | None,
    decoders: int | None,
) -> Crew:
    if engine == "ray":
        from gar_video.batch.ray_engine import RayCrew

        if not isinstance(model, str):
            raise GARVideoError("the engine ray needs a checkpoint's name; expected a text")
        return RayCrew(
            settings, folder, model, device=device, dtype=dtype, workers=workers,
            tokens_at_once=tokens_at_once,
        )  # fmt: skip
    if engine != "local":
        raise GARVideoError(f"engine is {engine!r}; expected local or ray")
    from gar_video.batch.crew import LocalCrew

    tracker = load_tracker(settings, device, dtype)
    gar = load_model(model, device, dtype)
    # One processor is left to the model, and one video after the other is read from a disk.
    usual = min(8, max(1, (os.cpu_count() or 1) - 1))
    return LocalCrew(settings, folder, gar, identify(gar), tokens_at_once, decoders or usual,
                     tracker)  # fmt: skip


def load_model(model: GARVideo | str, device: str, dtype: str) -> GARVideo:
    """Return a model, loaded if it is given by name."""
    from gar_video.pipeline import GARVideo

    if isinstance(model, GARVideo):
        return model
    # Prompts are encoded here many at a time; none is kept for later.
    return GARVideo.from_pretrained(model, device=device, dtype=dtype, keep=0)


def identify(gar: GARVideo) -> dict[str, Any]:
    """Return what tells a checkpoint from others."""
    from gar_video.bench.identity import hash_weights

    dtype = str(gar.model.floating_dtype).removeprefix("torch.")
    return {"sha256": hash_weights(gar.model), "dtype": dtype}


def retry_failed(out: str | os.PathLike[str]) -> int:
    """Let everything that failed in a run be tried anew, when it is gone on with.

    Returns:
        How many recordings and units that is.

    Raises:
        GARVideoError: If there is no run, or it is in use.
    """
    folder = Path(out)
    with State(folder, None) as state, FolderLock(folder):
        return state.retry_failed()
