"""What the model will see, prepared beside it: frames decoded once and shrunk at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gar_video.batch.clips import Clip, Clips
from gar_video.batch.footage import Recording
from gar_video.batch.redacting import Redactor
from gar_video.batch.results import thumbnail_name
from gar_video.batch.settings import Settings
from gar_video.batch.state import Unit
from gar_video.batch.tasks import Task
from gar_video.batch.thumbnails import best_frame, thumbnail
from gar_video.encoding import Look, look
from gar_video.errors import GARVideoError, VideoError
from gar_video.model import ModelInputs
from gar_video.processor import GARProcessor
from gar_video.prompt import RegionPrompt

Image = npt.NDArray[np.uint8]
_ROOM = 256  # tokens kept free for a question, as in GARVideo
_AT_ONCE = 64 << 20  # bytes of frames in hand


@dataclass(frozen=True, eq=False)
class Sight:
    """A stretch with an object or a pair, and all that is asked about it.

    Attributes:
        units: What is asked, with its task.
        look: The frames and regions.
        prompt: Slots, as questions are worded with; its frames are blank.
        inputs: What the model reads; None where an object is not visible.
        known: What answers say of it: labels, boxes, frames, thumbnail.
    """

    units: list[tuple[Unit, Task]]
    look: Look
    prompt: RegionPrompt
    inputs: ModelInputs | None
    known: dict[str, Any]


@dataclass(eq=False)
class Loaded:
    """A batch, ready to be answered.

    Attributes:
        sights: What can be asked about.
        failed: Unit's number -> why it cannot.
        pictures: Thumbnails by their path in the run's folder.
    """

    sights: list[Sight] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)


class Looker:
    """Prepares batches. For one thread.

    Args:
        settings: The run's.
        folder: The run's folder.
        processor: The checkpoint's processor.
        num_frames: Frames to look at where neither task nor settings say.
        clips: Where recordings are opened; its own if None.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        processor: GARProcessor,
        num_frames: int,
        clips: Clips | None = None,
    ) -> None:
        self._settings, self._processor = settings, processor
        self._num_frames = settings.frames or num_frames
        self._redactor = (
            Redactor(settings.redact, settings.redact_with) if settings.redact else None
        )
        self._tasks = {task.name: task for task in settings.tasks}
        self._clips = clips or Clips(settings, folder)

    def load(
        self,
        units: Sequence[Unit],
        recordings: Mapping[int, Recording],
        alive: Callable[[], object] | None = None,
    ) -> Loaded:
        """Decode and prepare what units look at.

        Args:
            units: A batch, recording by recording.
            recordings: Its recordings by their numbers.
            alive: Called now and then.
        """
        loaded = Loaded()
        for number, own in groupby(units, key=lambda unit: unit.recording):
            todo = list(own)
            try:
                clip = self._clips.open(recordings[number], alive)
                self._load(clip, todo, loaded)
            except GARVideoError as error:
                reason = " ".join(str(error).split())
                done = {unit.id for sight in loaded.sights for unit, _ in sight.units}
                for unit in todo:
                    if unit.id not in done:
                        loaded.failed.setdefault(unit.id, reason)
        return loaded

    def views(self, clip: Clip, units: Sequence[Unit]) -> Iterator[tuple[list[Unit], Any]]:
        """Yield units that look at the same, with that look, or why there is none."""

        def same(unit: Unit) -> tuple[Any, ...]:
            task = self._tasks[unit.task]
            return unit.start_s, unit.end_s, unit.objects, task.frames or 0, task.kind == "describe"

        for key, own in groupby(sorted(units, key=same), key=same):
            together = list(own)
            try:
                yield together, self._look(clip, together, describe=key[-1])
            except GARVideoError as error:
                yield together, " ".join(str(error).split())

    def _look(self, clip: Clip, units: Sequence[Unit], describe: bool) -> Look:
        first, tasks = units[0], [self._tasks[unit.task] for unit in units]
        words = max(
            len(self._processor.encode_plain(" ".join((task.question, *task.options)))) + 16
            for task in tasks
        )
        end_s = min(first.end_s, clip.video.duration_s)
        return look(
            clip.video, clip.tracks, first.objects, self._processor,
            frames=tasks[0].frames or self._num_frames,
            time=(first.start_s, max(end_s, np.nextafter(first.start_s, np.inf))),
            text_tokens=max(words, _ROOM) + max(task.max_new_tokens for task in tasks),
            describe=describe,
        )  # fmt: skip

    # ---------------------------------------------------------------- one recording

    def _load(self, clip: Clip, units: Sequence[Unit], loaded: Loaded) -> None:
        views: list[tuple[list[Unit], Look]] = []
        for own, view in self.views(clip, units):
            if isinstance(view, str):
                loaded.failed.update((unit.id, view) for unit in own)
            else:
                views.append((own, view))
        best = {
            place: best_frame([clip.tracks[i] for i in view.objects], view.frames)
            for place, (_, view) in enumerate(views)
            if self._settings.thumbnails and any(view.visible.values())
        }
        tiles: dict[int, torch.Tensor] = {}
        broken: dict[int, str] = {}
        made: dict[int, str] = {}
        wanted = sorted({frame for _, view in views for frame in view.frames})
        for frame, picture in self._frames(clip, wanted, broken):
            if not clip.video.is_image:
                tiles[frame] = self._processor.tiles(picture[None])
            for place, at in best.items():
                if at == frame:
                    view = views[place][1]
                    first = views[place][0][0]
                    name = thumbnail_name(
                        clip.recording.source, first.objects, first.start_s, first.end_s
                    )
                    made[place] = name
                    if name not in loaded.pictures:
                        shown = [clip.tracks[i] for i in view.objects]
                        loaded.pictures[name] = thumbnail(picture, shown, frame, self._redactor)
        for place, (own, view) in enumerate(views):
            damaged = next((broken[frame] for frame in view.frames if frame in broken), None)
            if damaged is not None:
                loaded.failed.update((unit.id, damaged) for unit in own)
                continue
            loaded.sights.append(self._sight(clip, own, view, tiles, made.get(place)))

    def _frames(
        self, clip: Clip, wanted: Sequence[int], broken: dict[int, str]
    ) -> Iterator[tuple[int, Image]]:
        """Yield frames, few in hand at a time; those that are damaged go to ``broken``."""
        width, height = clip.video.resolution_wh
        step = max(1, _AT_ONCE // (3 * width * height))
        for start in range(0, len(wanted), step):
            part = list(wanted[start : start + step])
            try:
                yield from zip(part, clip.video.frames(part), strict=True)
                continue
            except VideoError as error:
                reason = str(error)
            for frame in part:
                try:
                    yield frame, clip.video[frame]
                except VideoError as error:
                    broken[frame] = " ".join((str(error) or reason).split())

    def _sight(
        self,
        clip: Clip,
        units: Sequence[Unit],
        view: Look,
        tiles: Mapping[int, torch.Tensor],
        picture: str | None,
    ) -> Sight:
        width, height = clip.video.resolution_wh
        blank = np.broadcast_to(np.uint8(0), (len(view.frames), height, width, 3))
        prompt, inputs = view.prompt(blank), None
        if not view.hidden and clip.video.is_image:
            inputs = self._processor(view.prompt())
        elif not view.hidden:
            pixels = torch.cat([tiles[frame] for frame in view.frames])
            inputs = self._processor(prompt, pixels)
        things = [clip.tracks[i] for i in view.objects]
        inside = clip.video.window(units[0].start_s, units[0].end_s)
        known = {
            "labels": [thing.label for thing in things],
            "boxes": [box for thing in things if (box := _ends(thing, inside)) is not None],
            "frames": list(view.frames),
            "visible_share": round(min(view.visible.values()), 6),
            "thumbnail": picture,
        }
        asked = [(unit, self._tasks[unit.task]) for unit in units]
        return Sight(asked, view, prompt, inputs, known)

    def close(self) -> None:
        """End the child."""
        self._clips.close()


def _ends(track: Any, inside: range) -> dict[str, Any] | None:
    """Return an object's boxes at the beginning and the end of a stretch."""
    first, end = np.searchsorted(track.frames, [inside.start, inside.stop])
    if first >= end:
        return None
    boxes = track.boxes_xyxy[[first, end - 1]].round(2).tolist()
    return {"object": track.object_id, "first": boxes[0], "last": boxes[1]}
