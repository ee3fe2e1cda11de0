"""Zipped folders of visitors, unpacked with limits."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from gar_video.errors import TracksError

_MOST_ENTRIES = 50_000
_MOST_BYTES = 2 << 30


@contextmanager
def unzipped(path: Path, room: Path) -> Iterator[Path]:
    """Give a file as it is, or the folder that a zip holds for as long as the block takes.

    Args:
        path: The file.
        room: A folder to unpack into.

    Yields:
        The file; or the unpacked folder, or what alone is in it.

    Raises:
        TracksError: If it is a damaged zip, too large, or reaches outside itself.
    """
    if path.suffix.lower() != ".zip":
        yield path
        return
    room.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="unzipped-", dir=room))
    try:
        _unpack(path, folder)
        inside = folder
        while len(entries := list(inside.iterdir())) == 1:
            inside = entries[0]
            if not inside.is_dir():
                break
        yield inside
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if len(entries) > _MOST_ENTRIES or size > _MOST_BYTES:
                raise TracksError(
                    f"{path.name} holds {len(entries)} files of {size / 2**20:.0f} MiB; expected "
                    f"at most {_MOST_ENTRIES} and {_MOST_BYTES / 2**20:.0f} MiB"
                )
            for entry in entries:
                name = PurePosixPath(entry.filename.replace("\\", "/"))
                linked = stat.S_ISLNK(entry.external_attr >> 16)
                if name.is_absolute() or ".." in name.parts or linked:
                    raise TracksError(f"{path.name} reaches outside itself; zip the folder anew")
                # What a file claims to hold is what is read of it, and not a byte more.
                if not entry.is_dir():
                    target = folder.joinpath(*name.parts)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(entry) as source, target.open("wb") as sink:
                        _copy(source, sink, entry.file_size, path.name)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise TracksError(f"{path.name} cannot be unzipped ({type(error).__name__})") from None


def _copy(source: IO[bytes], sink: IO[bytes], size: int, name: str) -> None:
    left = size
    while left > 0:
        block = source.read(min(left, 1 << 20))
        if not block:
            raise TracksError(f"{name} is cut off; zip the folder anew")
        sink.write(block)
        left -= len(block)
