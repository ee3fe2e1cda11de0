"""A benchmark from its files to its summary, in a folder that can be gone on with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gar_video.bench import identity
from gar_video.bench.case import Case
from gar_video.bench.groups import Group, group_cases, shard_groups, swap_masks
from gar_video.bench.registry import Benchmark, benchmark, load
from gar_video.bench.rows import Row
from gar_video.bench.settings import Settings
from gar_video.bench.store import JUDGE, JUDGED, TRACKS, Run
from gar_video.bench.summary import summarize
from gar_video.errors import GARVideoError

if TYPE_CHECKING:
    from gar_video.bench.answering import Answerer
    from gar_video.bench.judging import Judging
    from gar_video.encoding import Encoded
    from gar_video.pipeline import GARVideo

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Selection:
    """Which questions of which files.

    Attributes:
        data: The benchmark's folder.
        questions: Its JSON file; by its usual name if None.
        types: Only these categories.
        limit: At most so many.
        shard: ``"i/n"``: one part of them.
        skip_missing: Leave out questions whose video or picture is not there; they are counted.
    """

    data: Path
    questions: Path | None = None
    types: Sequence[str] | None = None
    limit: int | None = None
    shard: str | None = None
    skip_missing: bool = False


def run(
    name: str,
    selection: Selection | str | Path,
    out: str | Path,
    model: GARVideo | str,
    *,
    settings: Settings | None = None,
    tracker: Any = None,
    judging: Judging | None = None,
    device: str = "auto",
    dtype: str = "auto",
    progress: Progress | None = None,
    encoded: dict[str, Encoded] | None = None,
    tracks: str | Path | None = None,
) -> Run:
    """Run a model on a benchmark; called again with the same arguments, only what is missing.

    Args:
        name: The benchmark.
        selection: Which questions; a folder for all of it.
        out: The run's folder.
        model: The model, or a checkpoint's name.
        settings: How questions are put.
        tracker: For mode ``"track"``: a tracker, or a SAM 2 checkpoint's name.
        judging: Who judges, for benchmarks that are judged; without it answers are kept unjudged.
        device: For a checkpoint's name.
        dtype: For a checkpoint's name.
        progress: Called with questions done and in all.
        encoded: Give several runs of one model on the same files the same dictionary, and clips
            are encoded once for all of them. It grows by each one's keys and values.
        tracks: For mode ``"track"``: the folder where tracks are kept, and looked for first; the
            run's own if None. Runs that put the same questions otherwise need not track again.

    Returns:
        The run, its summary written.

    Raises:
        GARVideoError: If files are malformed or missing, the folder holds another run, or the judge
            cannot be reached. What was done is kept.
        DeviceError: If memory runs out.
    """
    from gar_video.bench.answering import Answerer
    from gar_video.bench.looking import Sights

    bench = benchmark(name)
    if not isinstance(selection, Selection):
        selection = Selection(Path(selection))
    settings = settings or Settings()
    if not bench.video:
        settings = replace(settings, mode="multi", prompt_style="gar")
    chosen = _choose(bench, selection, settings)
    gar = _loaded(model, device, dtype)
    room = max(1, gar.model.config.context_length // 8)
    settings = replace(
        settings,
        num_frames=settings.num_frames or (gar.model.config.num_frames if bench.video else 1),
        max_new_tokens=settings.max_new_tokens or min(bench.max_new_tokens, room),
    )
    if settings.mode == "track" and not settings.blind:
        tracker = _tracker(tracker, device)
    folder = Run(out)
    config = _config(bench, selection, settings, chosen, gar, tracker)
    config["where"]["tracks"] = None if tracks is None else str(tracks)
    folder.begin(config)
    kept = folder.folder / TRACKS if tracks is None else Path(tracks)
    sights = Sights(
        selection.data,
        gar.processor,
        settings,
        tracker,
        lambda group: kept / identity.name_tracks(group.first, selection.data, config["tracker"]),
    )
    answerer = Answerer(
        gar,
        sights,
        official=bench.video and settings.prompt_style == "official",
        whole=bench.name == "gar-bench-vqa",
        encoded=encoded,
    )
    _warn_of_crowds(chosen.own, gar.processor.num_prompts)
    _answer(answerer, folder, chosen, progress)
    gar.forget()
    return finish(bench, folder, chosen.own, chosen.skipped, judging=judging, progress=progress)


@dataclass(frozen=True)
class _Chosen:
    """The cases of a run.

    Attributes:
        every: All that were selected.
        own: Those of this shard that can be answered.
        skipped: Those of this shard that cannot.
        groups: The shard's groups.
    """

    every: list[Case]
    own: list[Case]
    skipped: list[Case]
    groups: list[Group]


def _choose(bench: Benchmark, selection: Selection, settings: Settings) -> _Chosen:
    every = load(
        bench.name,
        selection.data,
        selection.questions,
        types=selection.types,
        limit=selection.limit,
        seed=settings.seed,
    )
    missing = [] if settings.blind else identity.missing_media(every, selection.data)
    if missing and not selection.skip_missing:
        more = f" and {len(missing) - 1} more questions'" if len(missing) > 1 else ""
        raise GARVideoError(
            f"{selection.data / missing[0].media} is not there{more}; put it there, or leave such "
            "questions out with --skip-missing"
        )
    if len(missing) == len(every):
        raise GARVideoError(f"none of the videos and pictures is in {selection.data}")
    gone = {case.key for case in missing}
    there = [case for case in every if case.key not in gone]
    if settings.swap_masks:
        there = swap_masks(there, settings.seed)
    groups = shard_groups(group_cases(there, settings, video=bench.video), selection.shard)
    # The first shard reports what is missing; all together report it once.
    first = selection.shard is None or selection.shard.startswith("1/")
    return _Chosen(
        every, [case for group in groups for case in group.cases], missing if first else [], groups
    )


def _loaded(model: GARVideo | str, device: str, dtype: str) -> GARVideo:
    from gar_video.pipeline import GARVideo

    if isinstance(model, GARVideo):
        return model
    return GARVideo.from_pretrained(model, device=device, dtype=dtype)


def _tracker(tracker: Any, device: str) -> Any:
    if tracker is None:
        raise GARVideoError("mode track needs a tracker; name a SAM 2 checkpoint with --sam2")
    if not isinstance(tracker, (str, Path)):
        return tracker
    from gar_video.trackers import Sam2Tracker

    return Sam2Tracker.from_pretrained(tracker, device=device)


def _files(bench: Benchmark, selection: Selection) -> list[Path]:
    """Return the files that the questions come from."""
    data, given = selection.data, selection.questions
    named = [data / name for name in bench.files if (data / name).is_file()]
    if given is None:
        return named
    own = given if given.is_file() else data / given
    return [own, *(path for path in named if bench.measure == "details")]


def _config(
    bench: Benchmark,
    selection: Selection,
    settings: Settings,
    chosen: _Chosen,
    gar: GARVideo,
    tracker: Any,
) -> dict[str, Any]:
    return {
        "benchmark": bench.name,
        "version": identity.code_version(),
        "data": {
            "questions": identity.hash_files(_files(bench, selection)),
            "media": None if settings.blind else identity.hash_media(chosen.every, selection.data),
            "cases": len(chosen.every),
        },
        "model": {
            "sha256": identity.hash_weights(gar.model),
            "dtype": str(gar.model.floating_dtype).removeprefix("torch."),
            "prompts": gar.processor.num_prompts,
        },
        "tracker": identity.describe_tracker(tracker)
        if settings.mode == "track" and not settings.blind
        else None,
        "settings": settings.to_dict(),
        "types": sorted({case.type for case in chosen.every}) if selection.types else None,
        "limit": selection.limit,
        "shard": selection.shard,
        "expected": len(chosen.own),
        "skipped": [[case.key, case.type] for case in chosen.skipped],
        "where": {
            "data": str(selection.data),
            "questions": None if selection.questions is None else str(selection.questions),
            "model": gar.name,
        },
    }


def _warn_of_crowds(cases: Sequence[Case], num_prompts: int) -> None:
    crowded = sum(len(case.objects) > num_prompts for case in cases)
    if crowded:
        warnings.warn(
            f"{crowded} questions have more objects than the checkpoint's {num_prompts} prompts: "
            "those beyond are named in plain text, which the model was not trained for",
            stacklevel=3,
        )


def _answer(answerer: Answerer, folder: Run, chosen: _Chosen, progress: Progress | None) -> None:
    """Add the rows that are missing."""
    done = set(folder.rows())
    with folder.appending() as rows:
        count = len(done)
        if progress is not None:
            progress(count, len(chosen.own))
        for _, answered in answerer.run(chosen.groups, lambda case: case.key not in done):
            rows.add(answered)
            count += len(answered)
            if progress is not None:
                progress(count, len(chosen.own))


def finish(
    bench: Benchmark,
    folder: Run,
    cases: Sequence[Case],
    skipped: Sequence[Case],
    *,
    judging: Judging | None = None,
    progress: Progress | None = None,
) -> Run:
    """Have what is not judged yet judged, and write the summary.

    Args:
        bench: The benchmark.
        folder: The run.
        cases: Its cases.
        skipped: Those left out for want of a video or picture.
        judging: Who judges; None to leave things as they are.
        progress: Called with answers judged and in all.

    Raises:
        GARVideoError: If another judge judged in this folder, or this one cannot be reached.
    """
    rows = folder.rows()
    judged = None
    if bench.measure != "letter":
        if judging is not None:
            _judge(folder, cases, rows, judging, progress)
        if (folder.folder / JUDGED).is_file():
            judged = folder.rows(JUDGED)
    summary = summarize(
        bench, rows.values(), judged, skipped=[(case.key, case.type) for case in skipped],
        expected=len(cases), num_prompts=(folder.config.get("model") or {}).get("prompts"),
    )  # fmt: skip
    folder.write_summary(summary)
    return folder


def _judge(
    folder: Run,
    cases: Sequence[Case],
    rows: dict[str, Row],
    judging: Judging,
    progress: Progress | None,
) -> None:
    folder.begin(judging.identity, name=JUDGE)
    done = set(folder.rows(JUDGED))
    due = [
        case
        for case in cases
        if case.key in rows and not rows[case.key]["error"] and case.key not in done
    ]
    with folder.appending(JUDGED) as file:
        coming = judging.run(due, lambda case: str(rows[case.key]["text"]))
        for count, judgement in enumerate(coming, 1):
            file.add([judgement])
            if progress is not None:
                progress(count, len(due))


def score_answers(
    name: str,
    selection: Selection | str | Path,
    out: str | Path,
    answers: Sequence[str | Path],
    *,
    judging: Judging | None = None,
    progress: Progress | None = None,
) -> Run:
    """Score answers made elsewhere, or in another run; no model is run.

    Args:
        name: The benchmark.
        selection: Which questions; a folder for all of it. Videos and pictures need not be there.
            Types of which the files answer nothing are left out.
        out: The run's folder.
        answers: Published answer files or folders of runs. Judges' replies in them are scored.
        judging: Who judges, where the files hold no replies.
        progress: Called with answers judged and in all.

    Raises:
        GARVideoError: If a file is malformed, or the folder holds another run.
    """
    from gar_video.bench.judging import recorded_judgement
    from gar_video.bench.recorded import merged_answers, recorded_rows

    bench = benchmark(name)
    if not isinstance(selection, Selection):
        selection = Selection(Path(selection))
    cases = load(
        bench.name, selection.data, selection.questions, types=selection.types,
        limit=selection.limit,
    )  # fmt: skip
    held = merged_answers([Path(path) for path in answers], cases)
    answered = {case.type for case in cases if case.key in held.named}
    cases = [case for case in cases if case.type in answered]
    folder = Run(out)
    folder.begin(
        {
            "benchmark": bench.name,
            "version": identity.code_version(),
            "data": {
                "questions": identity.hash_files(_files(bench, selection)),
                "media": None,
                "cases": len(cases),
            },
            "answers": held.sha256,
            "types": sorted(answered) if selection.types else None,
            "limit": selection.limit,
            "shard": None,
            "expected": len(cases),
            "skipped": [],
            "where": {
                "data": str(selection.data),
                "questions": None if selection.questions is None else str(selection.questions),
                "model": ", ".join(str(path) for path in answers),
            },
        }
    )
    done = set(folder.rows())
    with folder.appending() as file:
        file.add(row for row in recorded_rows(bench, cases, held) if row["key"] not in done)
    recorded = [case for case in cases if case.key in held.replies]
    if recorded and bench.measure != "letter" and judging is None:
        folder.begin({"judge": {"recorded": held.sha256}, "prompts": None}, name=JUDGE)
        done = set(folder.rows(JUDGED))
        with folder.appending(JUDGED) as file:
            file.add(
                recorded_judgement(bench, case, held.replies[case.key])
                for case in recorded
                if case.key not in done
            )
    return finish(bench, folder, cases, [], judging=judging, progress=progress)
