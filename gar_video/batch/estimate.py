"""What a run would cost: counted where that is quick, measured on a sample where it is not."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gar_video.batch.answering import Answerer
from gar_video.batch.clips import Clips
from gar_video.batch.footage import Recording
from gar_video.batch.looking import Looker
from gar_video.batch.prompted import load_tracker
from gar_video.batch.running import Source, check, load_model
from gar_video.batch.settings import Settings
from gar_video.batch.state import Unit
from gar_video.errors import GARVideoError

if TYPE_CHECKING:
    from gar_video.pipeline import GARVideo

_SAMPLE = 5  # recordings that are looked at
_SAMPLE_S = 60.0  # seconds of each in which objects are followed
_UNITS = 48  # units that are answered


@dataclass(frozen=True)
class Estimate:
    """What a run would cost. All but ``recordings`` and ``unusable`` is extrapolated.

    Attributes:
        recordings: Recordings.
        unusable: What was named and is none.
        sampled: Recordings that were looked at.
        hours: Hours of video.
        objects: Objects.
        units: Answers.
        tokens: Tokens the model would read and write.
        tokens_per_object_minute: Of those, for each minute in which an object is followed.
        decode_s: Seconds of decoding and following, on this machine.
        model_s: Seconds of preparing frames and running the model.
        total_s: Seconds in all; the two overlap.
        failed: Sampled recordings that cannot be used, with the reason.
    """

    recordings: int
    unusable: int
    sampled: int
    hours: float
    objects: int
    units: int
    tokens: int
    tokens_per_object_minute: float
    decode_s: float
    model_s: float
    total_s: float
    failed: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


@dataclass
class _Seen:
    """What a sample came to."""

    seconds: float = 0.0
    objects: float = 0.0
    object_s: float = 0.0
    units: float = 0.0
    plan_s: float = 0.0
    answered: int = 0
    tokens: int = 0
    model_s: float = 0.0


def estimate(
    source: Source,
    settings: Settings,
    model: GARVideo | str = "nano",
    *,
    device: str = "auto",
    dtype: str = "auto",
    tokens_at_once: int | None = None,
) -> Estimate:
    """Say what a run would cost; nothing is written but to a temporary folder.

    Args:
        source: The footage.
        settings: The run's settings.
        model: The model, or a checkpoint's name.
        device: For a checkpoint's name.
        dtype: For a checkpoint's name.
        tokens_at_once: As for ``run``.

    Raises:
        GARVideoError: If something given cannot be meant, or no recording of the sample can be
            used.
    """
    check(settings)
    found = source.find()
    tracker = load_tracker(settings, device, dtype)
    gar = load_model(model, device, dtype)
    every = found.recordings
    sample = [every[at * len(every) // _SAMPLE] for at in range(_SAMPLE)]
    sample = list(dict.fromkeys(sample if len(every) > _SAMPLE else every))
    seen, failed = _Seen(), []
    with tempfile.TemporaryDirectory(prefix="gar-video-") as folder:
        clips = Clips(settings, Path(folder), most_s=_SAMPLE_S, tracker=tracker)
        looker = Looker(
            settings, Path(folder), gar.processor, gar.model.config.num_frames, clips=clips
        )
        answerer = Answerer(gar, "", tokens_at_once)
        try:
            for number, recording in enumerate(sample, 1):
                try:
                    units = _plan(seen, clips, number, recording)
                except GARVideoError as error:
                    failed.append((recording.source, " ".join(str(error).split())))
                    continue
                if seen.answered < _UNITS:
                    _answer(seen, looker, answerer, units[:_UNITS], number, recording)
        finally:
            clips.close()
    good = len(sample) - len(failed)
    if not good:
        raise GARVideoError(f"none of the sampled recordings can be used: {failed[0][1]}")
    times = len(every) / len(sample)
    answers = seen.units * times
    each = seen.model_s / seen.answered if seen.answered else 0.0
    tokens = seen.tokens / seen.answered * answers if seen.answered else 0.0
    decode_s, model_s = seen.plan_s * times, each * answers
    minutes = seen.object_s * times / 60
    return Estimate(
        len(every), len(found.unusable), len(sample), seen.seconds * times / 3600,
        round(seen.objects * times), round(answers), round(tokens),
        tokens / minutes if minutes else 0.0, decode_s, model_s, max(decode_s, model_s),
        tuple(failed),
    )  # fmt: skip


def _plan(seen: _Seen, clips: Clips, number: int, recording: Recording) -> list[Unit]:
    began = time.perf_counter()
    planned = clips.plan(number, recording)
    spent = time.perf_counter() - began
    clip = clips.open(recording)
    duration = clip.video.duration_s
    # Where objects were followed for a part only, the rest is taken to be like it.
    scale = duration / min(duration, _SAMPLE_S) if clips.follows(recording) else 1.0
    ends = clip.clock
    seen.seconds += duration
    seen.objects += len(clip.tracks) * scale
    seen.units += len(planned.units) * scale
    seen.plan_s += spent * scale
    for object_id in clip.tracks:
        frames = clip.tracks[object_id].frames
        seen.object_s += float((ends.ends(frames) - ends.times_s[frames]).sum()) * scale
    return planned.units


def _answer(
    seen: _Seen,
    looker: Looker,
    answerer: Answerer,
    units: Sequence[Unit],
    number: int,
    recording: Recording,
) -> None:
    began = time.perf_counter()
    loaded = looker.load(
        [Unit(at, *_rest(unit)) for at, unit in enumerate(units)], {number: recording}
    )
    answers, _ = answerer.answer(loaded)
    seen.model_s += time.perf_counter() - began
    seen.answered += len(answers)
    seen.tokens += answerer.take_tokens()


def _rest(unit: Unit) -> tuple[Any, ...]:
    return unit.recording, unit.task, unit.objects, unit.start_s, unit.end_s
