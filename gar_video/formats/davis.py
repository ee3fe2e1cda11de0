"""DAVIS folders: one palette (or gray) PNG a frame, a pixel's value being the object's id.

Value 0 is background; 255 in a palette PNG is "void", kept apart as ignored. A folder whose only
value is 255 (DAVIS 2016, or any folder of black-and-white masks) holds one object, id 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gar_video.errors import TracksError
from gar_video.formats.common import build_both, lost_in_masks, objects_of_frames
from gar_video.formats.files import warn_lost, whole_folder
from gar_video.formats.pictures import (
    frame_indices,
    ids_in,
    number_of,
    png_files,
    read_ids,
    write_ids,
)
from gar_video.formats.source import Format, Source
from gar_video.tracks import Tracks

_TITLE = "DAVIS folder (a PNG per frame, value = id)"
_VOID = 255


def sniff(source: Source) -> bool:
    """Tell by PNGs with numbers in their names."""
    folder = _folder(source)
    return folder.is_dir() and any(path.stem[-1:].isdecimal() for path in png_files(folder))


def _folder(source: Source) -> Path:
    return source.path if source.sequence is None else source.path / source.sequence


def read(source: Source) -> Tracks:
    """Read a DAVIS folder; with ``sequence``, its sub-folder of that name."""
    folder = _folder(source)
    files = png_files(folder) if folder.is_dir() else []
    if not files:
        raise TracksError(f"no PNG in {folder}; expected one a frame, such as 00000.png")
    numbers = [number_of(path) for path in files]
    if len(set(numbers)) < len(numbers):
        raise TracksError("two files have the same frame number; expected one PNG a frame")
    frames, length_known = frame_indices(numbers, source.num_frames, every_frame=True)
    size = source.resolution_wh
    if size is None:
        first, _ = read_ids(files[0], None)
        size = (first.shape[1], first.shape[0])
    length = max(frames.values()) + 1 if length_known else None
    builder, void = source.builder(size, length), source.builder(size, length)
    binary = _is_binary(files)
    for path, number in zip(files, numbers, strict=True):
        values, mode = read_ids(path, size)
        for object_id in ids_in(values, path):
            if object_id == _VOID and mode == "P" and not binary:
                void.add_mask(frames[number], _VOID, values == object_id)
            else:
                name = 1 if binary else object_id
                builder.add_mask(frames[number], name, values == object_id)
        builder.see_frame(frames[number])
    return build_both(builder, void)


def _is_binary(files: list[Path]) -> bool:
    """Whether 255 is the only value beside 0; stops at the first other one."""
    found = False
    for path in files:
        values, _ = read_ids(path, None)
        other = values[values != 0]
        if (other != _VOID).any():
            return False
        found = found or other.size > 0
    return found


def write(tracks: Tracks, path: Path) -> None:
    """Write a palette PNG for every frame."""
    bad = [object_id for object_id in tracks if not 1 <= object_id < _VOID]
    if bad:
        raise TracksError(
            f"object id {bad[0]} does not fit a palette PNG (1 to 254); "
            "save as format='mask_files' or 'json' instead"
        )
    width, height = tracks.resolution_wh
    overlapping = 0
    hidden = {object_id for object_id in tracks if len(tracks[object_id])}
    with whole_folder(path) as folder:
        for frame, seen in objects_of_frames(tracks):
            ids = np.zeros((height, width), np.uint8)
            for void_id in tracks.ignored or ():
                mask = tracks.ignored[void_id].mask(frame)  # type: ignore[index]
                if mask is not None:
                    ids[mask] = _VOID
            overlaps = False
            for track in seen:
                mask = track.mask(frame)
                overlaps |= bool((ids[mask] != 0).any())
                ids[mask] = track.object_id
            overlapping += overlaps
            hidden -= set(np.unique(ids).tolist())
            write_ids(folder / f"{frame:05d}.png", ids)
    warn_lost(
        _TITLE,
        [
            *lost_in_masks(tracks),
            f"overlapping objects: in {overlapping} frames later ones cover earlier ones"
            if overlapping
            else None,
            f"objects covered everywhere: {sorted(hidden)} are lost" if hidden else None,
        ],
    )


FORMAT = Format("davis", _TITLE, sniff, read, write)
