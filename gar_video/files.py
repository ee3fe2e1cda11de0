"""Files that appear only when they are whole.

Everything is written under a temporary name beside its target and then renamed, so that an error,
Ctrl-C or a full disk leaves what was there before.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gar_video.errors import GARVideoError


def check_writable(path: str | os.PathLike[str], *, suffixes: tuple[str, ...] = ()) -> Path:
    """Check, before long work, that a file can be written later.

    Args:
        path: The file.
        suffixes: Endings that it may have, with their dots; none for any.

    Returns:
        The path.

    Raises:
        GARVideoError: If it is a folder, its folder is missing or read-only, or its ending is none
            of those.
    """
    target = Path(path)
    if target.is_dir():
        raise GARVideoError(f"{target} is a folder; expected the name of a file to write")
    if not target.parent.is_dir():
        raise GARVideoError(
            f"cannot write {target}: there is no folder {target.parent}; make it first"
        )
    if not os.access(target.parent, os.W_OK):
        raise GARVideoError(f"cannot write {target}: no permission to write to {target.parent}")
    if suffixes and target.suffix.lower() not in suffixes:
        raise GARVideoError(f"cannot write {target}: expected a name ending in {_either(suffixes)}")
    return target


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name to write to, and rename it to ``path`` when the block ends well.

    Args:
        path: The file to write; replaced if it exists.

    Yields:
        The temporary file, of the same ending and in the same folder.

    Raises:
        GARVideoError: As ``check_writable``, and if the file system refuses, a full disk included.
    """
    target = check_writable(path)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem[:40]}.", suffix=target.suffix, dir=target.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
        temporary = None
    except OSError as error:
        raise GARVideoError(
            f"cannot write {target}: {error.strerror or error}; choose another place"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8), whole or not at all.

    Raises:
        GARVideoError: As ``replacing``.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(names)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
