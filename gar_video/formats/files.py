"""Writing files and folders that appear only when they are whole, and saying what got lost."""

from __future__ import annotations

import secrets
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from gar_video.errors import TracksError
from gar_video.files import replacing


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing that replaces ``path`` when the block ends without an error."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        yield file


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make a folder that becomes ``path`` when the block ends without an error.

    Raises:
        TracksError: If ``path`` is a file or a folder that holds something already.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise TracksError(f"{path} exists already; choose a new or empty folder to write masks to")
    if not path.parent.is_dir():
        raise TracksError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    temporary = path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}"
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def warn_lost(title: str, lost: Sequence[str | None]) -> None:
    """Say in one warning what a format could not hold; entries that are None do not count."""
    told = [what for what in lost if what]
    if told:
        warnings.warn(f"{title} cannot hold {'; '.join(told)}", stacklevel=2)
