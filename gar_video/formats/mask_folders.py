"""Folders with a PNG per object and frame: ``FRAME_mask_ID.png``, or a sub-folder per object.

Every pixel that is not black belongs to the object. A frame without a file is one in which the
object is not visible. Frame numbers count from 0 (see ``pictures.frame_indices``). Names of
sub-folders that are not numbers are mapped to ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gar_video.errors import TracksError
from gar_video.formats.common import lost_in_masks
from gar_video.formats.files import warn_lost, whole_folder
from gar_video.formats.pictures import (
    frame_indices,
    natural_key,
    number_of,
    png_files,
    read_binary,
    read_ids,
    write_gray,
)
from gar_video.formats.source import Format, Source
from gar_video.tracks import Tracks

_NAME = re.compile(r"^(\d{1,9})_mask_(.+)$")

Entry = tuple[str, int, Path]  # object's name, frame number, file


def _files_in_one_folder(folder: Path) -> list[Entry]:
    entries = []
    for path in png_files(folder):
        found = _NAME.match(path.stem)
        if found:
            entries.append((found[2], int(found[1]), path))
    return entries


def _files_in_subfolders(folder: Path) -> list[Entry]:
    folders = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return [
        (sub.name, number_of(path), path)
        for sub in sorted(folders, key=lambda p: natural_key(p.name))
        for path in png_files(sub)
    ]


def _read(source: Source, entries: list[Entry], one_folder: bool) -> Tracks:
    if not entries:
        wanted = "FRAME_mask_ID.png" if one_folder else "a sub-folder of PNGs per object"
        raise TracksError(f"no masks in {source.path}; expected {wanted}")
    frames, _ = frame_indices([n for _, n, _ in entries], source.num_frames, every_frame=False)
    size = source.resolution_wh
    if size is None:
        mask = read_binary(entries[0][2], None)
        size = (mask.shape[1], mask.shape[0])
    builder = source.builder(size)
    for name, number, path in sorted(entries, key=lambda entry: natural_key(entry[0])):
        if not one_folder:
            _check_one_object(path, size)
        builder.add_mask(frames[number], _plain(name), read_binary(path, size))
    return builder.build()


def _plain(name: str) -> str:
    """Return an id without leading zeros, if it is a number."""
    return str(int(name)) if name.isascii() and name.isdecimal() else name


def _check_one_object(path: Path, size: tuple[int, int]) -> None:
    """Refuse a sub-folder that is a whole sequence with several ids in one picture."""
    try:
        values, mode = read_ids(path, size)
    except TracksError:
        return  # colours: read_binary says what is wrong, if anything
    if mode == "P" and len(np.unique(values)) > 2:
        raise TracksError(
            f"{path.parent.name}/{path.name} holds several ids; a sub-folder stands for one object "
            f"here; to read it as a sequence, pass format='davis', sequence={path.parent.name!r}"
        )


def _write(tracks: Tracks, path: Path, file_of: Callable[[Path, int, int], Path]) -> None:
    with whole_folder(path) as folder:
        last = -1
        for object_id in tracks:
            track = tracks[object_id]
            for frame in track.frames.tolist():
                target = file_of(folder, frame, object_id)
                target.parent.mkdir(exist_ok=True)
                mask = track.mask(frame)
                assert mask is not None
                write_gray(target, mask.astype(np.uint8) * 255)
                last = max(last, frame)
        seen = [object_id for object_id in tracks if len(tracks[object_id])]
        if seen and last < tracks.num_frames - 1:  # an empty mask says how long the video is
            width, height = tracks.resolution_wh
            target = file_of(folder, tracks.num_frames - 1, seen[0])
            write_gray(target, np.zeros((height, width), np.uint8))
    warn_lost("folders of masks", lost_in_masks(tracks, ignored=False))


def _sniff_files(source: Source) -> bool:
    return source.is_folder and bool(_files_in_one_folder(source.path))


def _sniff_folders(source: Source) -> bool:
    if not source.is_folder or source.sequence is not None or png_files(source.path):
        return False
    return any(png_files(sub) for sub in source.path.iterdir() if sub.is_dir())


FILES = Format(
    name="mask_files",
    title="folder of FRAME_mask_ID.png",
    sniff=_sniff_files,
    read=lambda source: _read(source, _files_in_one_folder(source.path), True),
    write=lambda tracks, path: _write(
        tracks, path, lambda folder, frame, name: folder / f"{frame:05d}_mask_{name}.png"
    ),
)
FOLDERS = Format(
    name="mask_folders",
    title="folder with a sub-folder of PNGs per object",
    sniff=_sniff_folders,
    read=lambda source: _read(source, _files_in_subfolders(source.path), False),
    write=lambda tracks, path: _write(
        tracks, path, lambda folder, frame, name: folder / str(name) / f"{frame:05d}.png"
    ),
)
