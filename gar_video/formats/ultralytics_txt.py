"""Label files that Ultralytics' ``model.track(..., save_txt=True)`` saves, read only.

One file a frame, ``NAME_12.txt``, counted from 1 (files named from 0 are taken so), none for frames
in which nothing was found. A line is the class, then the box's centre and size or the corners of an
outline as shares of the frame, the confidence if it was saved, and the track's id. Frames in which
the tracker had confirmed nothing yet have lines without an id; those are left out and said.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from gar_video.errors import TracksError
from gar_video.formats.pictures import natural_key, number_of
from gar_video.formats.source import Format, Source
from gar_video.regions import whole
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder

_LINE = re.compile(r"^\s*\d+(\s+[-+.\deE]+){4,}\s*$")


def _files(folder: Path) -> list[Path]:
    inner = folder / "labels"
    where = inner if inner.is_dir() else folder
    files = [path for path in where.glob("*.txt") if path.stem[-1:].isdecimal()]
    return sorted(files, key=lambda path: natural_key(path.name))


def sniff(source: Source) -> bool:
    """Tell by a folder of text files, one of which begins with a class and four numbers."""
    if not source.is_folder:
        return False
    for path in _files(source.path)[:20]:
        with path.open(encoding="utf-8", errors="replace") as file:
            line = file.readline(100_000)
        if line.strip():
            return bool(_LINE.match(line))
    return False


def read(source: Source) -> Tracks:
    """Read a folder of label files, or the run's folder with ``labels`` in it."""
    files = _files(source.path) if source.is_folder else []
    if not files:
        raise TracksError("no label files such as NAME_1.txt in it; expected a folder of them")
    numbers = [number_of(path) for path in files]
    first = 0 if 0 in numbers else 1
    builder = source.builder()
    with_id, without_id = 0, 0
    for path, number in zip(files, numbers, strict=True):
        for index, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                if _add_line(builder, number - first, line.split()):
                    with_id += 1
                else:
                    without_id += 1
            except (TracksError, ValueError) as error:
                raise TracksError(f"{path.name}, line {index}: {error}") from None
    if without_id and not with_id:
        raise TracksError("no line ends in a track id; save them with model.track, not predict")
    if without_id:
        warnings.warn(f"{without_id} lines without a track id are left out", stacklevel=4)
    return builder.build()


def _add_line(builder: TracksBuilder, frame: int, fields: list[str]) -> bool:
    """Add a line's region; False if it has no track id."""
    values = [float(field) for field in fields]
    with_score = len(values) % 2 == 1  # class and id leave an even number of coordinates
    num_coordinates = len(values) - 2 - with_score
    if len(values) < 5:
        raise TracksError(f"{len(values)} values; expected class, box or outline, and track id")
    if num_coordinates < 4 or not values[-1].is_integer():
        return False
    object_id = whole(values[-1], "track id")
    score = values[-2] if with_score else None
    width, height = builder.resolution_wh
    shares = values[1 : 1 + num_coordinates]
    if num_coordinates == 4:
        x, y, w, h = shares
        box = ((x - w / 2) * width, (y - h / 2) * height)
        corner = ((x + w / 2) * width, (y + h / 2) * height)
        builder.add_box(frame, object_id, (*box, *corner), score)
    else:
        outline = [s * (width, height)[i % 2] for i, s in enumerate(shares)]
        builder.add_mask(frame, object_id, [outline], score)
    return True


FORMAT = Format("ultralytics", "Ultralytics label files", sniff, read)
