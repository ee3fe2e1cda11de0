"""Other tools' tracks in and out: one module a format, found by name or by looking inside."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gar_video.errors import GARVideoError, TracksError
from gar_video.regions import BadBoxes

if TYPE_CHECKING:
    from gar_video.formats.source import Format, Source
    from gar_video.tracks import Tracks
    from gar_video.video import Video

_log = logging.getLogger(__name__)

# What reading a damaged file raises once its kind is known: all of it is the file's fault.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@cache
def _formats() -> dict[str, Format]:
    """All formats by name, in the order in which they are tried."""
    from gar_video.formats import (
        coco,
        cvat,
        davis,
        label_studio,
        mask_folders,
        mot,
        mots,
        native,
        refer,
        sinks,
        ultralytics_txt,
    )

    formats = (
        native.FORMAT,
        # text
        cvat.FORMAT,
        sinks.CSV,
        mot.FORMAT,
        mots.KITTI,
        mots.CHALLENGE,
        # other JSON
        coco.YOUTUBE_VIS,
        coco.COCO_VIDEO,
        label_studio.FORMAT,
        sinks.JSON,
        refer.VIDEOREFER,
        refer.MEVIS,
        # folders
        mask_folders.FILES,
        mots.PNG,
        davis.FORMAT,
        ultralytics_txt.FORMAT,
        mask_folders.FOLDERS,
    )
    return {format.name: format for format in formats}


def names(*, writable: bool = False) -> list[str]:
    """Names of the formats, of all or only of those that can be written."""
    return [name for name, format in _formats().items() if format.write or not writable]


def load(
    path: str | Path,
    video: Video | str | Path | None,
    format: str,
    resolution_wh: tuple[int, int] | None,
    num_frames: int | None,
    bad_boxes: BadBoxes,
    sequence: str | None,
) -> Tracks:
    """Read tracks; see ``Tracks.load``."""
    path = Path(path)
    if not path.exists():
        raise TracksError(f"{path} does not exist; expected a file or folder with tracks")
    if isinstance(video, (str, Path)):
        from gar_video.video import Video

        video = Video(video)
    source = _source(path, video, resolution_wh, num_frames, bad_boxes, sequence)
    if format != "auto" and format not in _formats():
        raise TracksError(f"format {format!r} is unknown; expected 'auto' or one of {names()}")
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise TracksError("the file is empty")
        chosen = _sniff(source) if format == "auto" else _formats()[format]
    except OSError as error:
        raise TracksError(f"{path} cannot be read ({error.strerror})") from None
    except GARVideoError as error:
        raise TracksError(f"{path}: {error}") from None
    try:
        tracks = chosen.read(source)
    except GARVideoError as error:
        raise TracksError(f"{path} (read as {chosen.title}): {error}") from None
    except OSError as error:
        raise TracksError(f"{path} cannot be read as {chosen.title} ({error})") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:120]
        raise TracksError(
            f"{path} cannot be read as {chosen.title} ({type(error).__name__}: {reason}); "
            "it is damaged or of another format"
        ) from error
    _log.info("%s read as %s", path, chosen.title)
    tracks = tracks._with_source(chosen.name)
    if video is not None:
        tracks.check_fits(video)
    return tracks


def save(tracks: Tracks, path: str | Path, format: str | None) -> None:
    """Write tracks; see ``Tracks.save``."""
    path = Path(path)
    if format is None:
        format = {".json": "json", ".txt": "mot", "": "davis"}.get(path.suffix.lower())
        if format is None:
            raise TracksError(
                f"{path.name} does not tell the format; expected format=, one of "
                f"{names(writable=True)}"
            )
    chosen = _formats().get(format)
    if chosen is None or chosen.write is None:
        problem = "is unknown" if chosen is None else "can only be read"
        raise TracksError(f"format {format!r} {problem}; expected one of {names(writable=True)}")
    try:
        chosen.write(tracks, path)
    except TracksError:
        raise
    except GARVideoError as error:
        raise TracksError(str(error)) from None
    except OSError as error:
        raise TracksError(f"{path} cannot be written ({error.strerror or error})") from None


def _source(
    path: Path,
    video: Video | None,
    resolution_wh: tuple[int, int] | None,
    num_frames: int | None,
    bad_boxes: BadBoxes,
    sequence: str | None,
) -> Source:
    from gar_video.formats.source import Source
    from gar_video.runs import check_resolution

    if resolution_wh is not None:
        resolution_wh = check_resolution(resolution_wh)
    name = None
    if video is not None:
        size, length = tuple(video.resolution_wh), len(video)
        if resolution_wh not in (None, size) or num_frames not in (None, length):
            raise TracksError(
                f"resolution_wh={resolution_wh}, num_frames={num_frames} contradict the video "
                f"({size[0]}x{size[1]}, {length} frames); pass only the video"
            )
        resolution_wh, num_frames, name = (size[0], size[1]), length, str(video.name)
    return Source(path, resolution_wh, num_frames, bad_boxes, sequence, name)


def _sniff(source: Source) -> Format:
    for format in _formats().values():
        if format.sniff(source):
            return format
    what = "folder" if source.is_folder else "file"
    raise TracksError(
        f"this {what} is of no known format; pass format=, one of {', '.join(names())}"
    )
