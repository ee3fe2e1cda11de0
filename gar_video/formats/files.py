"""Writing files and folders that appear only when they are whole, and saying what got lost."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from gar_video.errors import TracksError


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing that replaces ``path`` when the block ends without an error."""
    if path.is_dir():
        raise TracksError(f"{path} is a folder; expected the name of a file to write")
    _check_parent(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        os.close(descriptor)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make a folder that becomes ``path`` when the block ends without an error.

    Raises:
        TracksError: If ``path`` is a file or a folder that holds something already.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise TracksError(f"{path} exists already; choose a new or empty folder to write masks to")
    _check_parent(path)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
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


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise TracksError(f"folder {path.parent} does not exist; make it first")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
