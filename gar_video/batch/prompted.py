"""Tracks made of what a user points at: prompts beside a recording, followed by SAM 2.

Prompts are JSON in the shape of the server's ``regions``. SAM 2 runs in this process, on frames
that the guarded child decodes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gar_video import masks
from gar_video.batch.settings import BESIDE, PROMPTS, Settings
from gar_video.errors import GARVideoError, PromptError, TracksError
from gar_video.tracks_builder import TracksBuilder
from gar_video.video import Video
from gar_video.visual_prompts import Box, Mask, Points, VisualPrompt

ENDING = ".prompts.json"
_SHAPE = '{"regions": [{"id": 1, "frame": 0, "box": [X1, Y1, X2, Y2]}]}'
_WAYS = ("box", "points", "rle")
_FIELDS = ("id", "frame", *_WAYS, "label")
_LABEL = 100  # characters, as the server has it
_MOST = 2**31


@dataclass(frozen=True, eq=False)
class Pointed:
    """What was pointed at in a recording.

    Attributes:
        prompts: Boxes, points and masks.
        labels: Object to its word, or None; all objects, in the order given.
    """

    prompts: list[VisualPrompt] = field(default_factory=list)
    labels: dict[int, str | None] = field(default_factory=dict)


class PromptTracker:
    """SAM 2, following what prompts point at. For all threads; one video after the other.

    Args:
        name: The checkpoint, as for ``Sam2Tracker.from_pretrained``.
        device: Where to compute.
        dtype: Number type to compute in.

    Attributes:
        identity: What tells the checkpoint from others: a digest of weights and configuration, and
            the number type.

    Raises:
        CheckpointError: If there is no such checkpoint, or it cannot be loaded.
        DeviceError: If the device is not there.
    """

    def __init__(self, name: str, *, device: str = "auto", dtype: str = "auto") -> None:
        from gar_video.bench.identity import hash_weights
        from gar_video.trackers import Sam2Tracker

        self._tracker = Sam2Tracker.from_pretrained(name, device=device, dtype=dtype)
        config = json.dumps(self._tracker.config, sort_keys=True, default=str)
        digest = hashlib.sha256(f"{hash_weights(self._tracker.predictor)} {config}".encode())
        self.identity: dict[str, Any] = {
            "sha256": digest.hexdigest(),
            "dtype": str(self._tracker.dtype).removeprefix("torch."),
        }
        self._lock = threading.Lock()

    def follow(
        self,
        video: Video,
        prompts: Path,
        target: Path,
        most_s: float | None = None,
        alive: Callable[[], object] | None = None,
    ) -> None:
        """Follow what a file points at through a video and write the tracks as our own JSON.

        Args:
            video: The video.
            prompts: The file of prompts; no regions in it mean no objects.
            target: Where the tracks go.
            most_s: Stop after so many seconds of the video, but not before the last prompt.
            alive: Called for every frame; what it raises ends the work.

        Raises:
            PromptError: If the prompts cannot be meant.
            VideoError: If the video cannot be decoded.
            DeviceError: If memory runs out.
        """
        asked = read_prompts(prompts, video)
        builder = TracksBuilder(video.resolution_wh, len(video))
        for object_id, label in asked.labels.items():
            builder.add_object(object_id, label)
        if asked.prompts:
            end = len(video)
            if most_s is not None and most_s < video.duration_s:
                last = max(prompt.frame for prompt in asked.prompts)
                end = max(video.index_at(most_s), last + 1)

            def progress(*_: int) -> None:
                if alive is not None:
                    alive()

            with self._lock:
                progress()
                found = self._tracker.track(video, asked.prompts, progress=progress, end_frame=end)
            for object_id in found:
                track = found[object_id]
                for frame in track.frames.tolist():
                    builder.add_mask(frame, object_id, track.rle(frame), track.score(frame))
        builder.build(allow_empty=True).save(target, "json")


def load_tracker(settings: Settings, device: str, dtype: str) -> PromptTracker | None:
    """Return what follows prompts, or None if a run has none.

    Raises:
        GARVideoError: As ``PromptTracker``.
    """
    if settings.tracks != PROMPTS:
        return None
    return PromptTracker(settings.sam2, device=device, dtype=dtype)


def check_prompts(settings: Settings) -> None:
    """Refuse a place of prompts that cannot be meant, before a run begins.

    Raises:
        GARVideoError: If it is no folder, or nobody would look there.
    """
    if settings.prompts == BESIDE:
        return
    if settings.tracks != PROMPTS:
        raise GARVideoError(
            f"prompts are given ({settings.prompts}), but tracks come from {settings.tracks!r}; "
            "expected --tracks prompts with them"
        )
    if not Path(settings.prompts).is_dir():
        raise GARVideoError(
            f"prompts are to come from {settings.prompts!r}, which is no folder; expected beside "
            "or a folder"
        )


def find_prompts(source: str, place: str) -> Path:
    """Return the file of prompts that belongs to a recording.

    Args:
        source: The recording's path or address.
        place: ``"beside"``, or a folder.

    Raises:
        PromptError: If there is none.
    """
    name = Path(source).name
    folder = Path(source).parent if place == BESIDE else Path(place)
    path = folder / f"{name.removesuffix(Path(source).suffix)}{ENDING}"
    if not path.is_file():
        raise PromptError(
            f"there are no prompts of {name} in {folder}; expected {path.name}: {_SHAPE}"
        )
    return path


def read_prompts(path: Path, video: Video) -> Pointed:
    """Read a file of prompts and check it against its video.

    Args:
        path: The file.
        video: The video.

    Raises:
        PromptError: If it cannot be read or meant; says where in the file.
    """
    from gar_video.trackers.sam2_prompts import group_prompts

    pointed = Pointed()
    for at, region in enumerate(_regions(path)):
        try:
            prompt, label = _prompt(region, video)
            prompt.check(len(video), video.resolution_wh)
        except (PromptError, TracksError) as error:
            raise PromptError(f"{path.name}: regions[{at}]: {error}") from None
        pointed.prompts.append(prompt)
        pointed.labels[prompt.object_id] = label or pointed.labels.get(prompt.object_id)
    if pointed.prompts:
        try:
            group_prompts(pointed.prompts, len(video), video.resolution_wh)
        except PromptError as error:
            raise PromptError(f"{path.name}: {error}") from None
    return pointed


def _regions(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise PromptError(
            f"{path.name}, line {error.lineno}, column {error.colno}: no JSON ({error.msg}); "
            f"expected {_SHAPE}"
        ) from None
    except OSError as error:
        raise PromptError(f"{path.name} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise PromptError(f"{path.name} is no JSON in UTF-8; expected {_SHAPE}") from None
    if not isinstance(found, dict) or list(found) != ["regions"]:
        held = f"fields {', '.join(found)}" if isinstance(found, dict) else _shown(found)
        raise PromptError(f"{path.name} holds {held or 'nothing'}; expected {_SHAPE}")
    regions = found["regions"]
    if not isinstance(regions, list):
        raise PromptError(f"{path.name}: regions is {_shown(regions)}; expected a list: {_SHAPE}")
    return regions


def _prompt(region: Any, video: Video) -> tuple[VisualPrompt, str | None]:
    """Return a region's prompt and label."""
    if not isinstance(region, dict):
        raise PromptError(f"is {_shown(region)}; expected fields {', '.join(_FIELDS)}")
    if "masks" in region:
        raise PromptError(
            "masks are tracks already and not followed; expected rle on one frame, or a file of "
            "tracks with --tracks beside"
        )
    for name in region:
        if name not in _FIELDS:
            raise PromptError(f"no field {name!r}; expected {', '.join(_FIELDS)}")
    ways = [way for way in _WAYS if region.get(way) is not None]
    if len(ways) != 1:
        held = " and ".join(ways) or "none"
        raise PromptError(f"has {held} of {', '.join(_WAYS)}; expected exactly one")
    object_id = _whole(region, "id")
    frame = _whole(region, "frame", 0)
    label = region.get("label")
    if label is not None and (not isinstance(label, str) or len(label) > _LABEL):
        raise PromptError(
            f"label is {_shown(label)}; expected a text of at most {_LABEL} characters"
        )
    given = region[ways[0]]
    if ways[0] == "box":
        if not _are_numbers(given, 4, 4):
            raise PromptError(f"box is {_shown(given)}; expected [X1, Y1, X2, Y2] in pixels")
        return Box(frame, given, object_id), label
    if ways[0] == "points":
        if not isinstance(given, list) or not all(_are_numbers(one, 2, 3) for one in given):
            raise PromptError(
                f"points is {_shown(given)}; expected [[X, Y, 1 on the object or 0 off it], …]"
            )
        places = [(point[0], point[1]) for point in given]
        signs = [point[2] if len(point) > 2 else 1 for point in given]
        return Points(frame, places, signs, object_id), label
    if not isinstance(given, dict):
        raise PromptError(f'rle is {_shown(given)}; expected {{"size": [H, W], "counts": …}}')
    mask = masks.decode(masks.as_rle(given, video.resolution_wh))
    return Mask(frame, mask, object_id), label


def _whole(region: dict[str, Any], name: str, default: int | None = None) -> int:
    value = region.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        told = f"is {_shown(value)}" if name in region else "is missing"
        raise PromptError(f"{name} {told}; expected a whole number from 0")
    return value


def _are_numbers(value: Any, least: int, most: int) -> bool:
    return (
        isinstance(value, list)
        and least <= len(value) <= most
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
        and all(abs(one) < _MOST for one in value)  # no NaN, and no number that is no float
    )


def _shown(value: Any) -> str:
    """Return what was found in few characters."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}…"
