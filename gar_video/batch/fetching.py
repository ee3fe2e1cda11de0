"""Footage that is elsewhere, fetched before it is looked at."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path, PurePosixPath

from gar_video.errors import VideoError
from gar_video.files import replacing

FETCHED = "fetched"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def local_copy(source: str, folder: Path) -> Path:
    """Return where a recording lies on this machine, fetched if it has to be.

    Consent was asked for when footage was listed.

    Args:
        source: A path or an address.
        folder: The run's folder, which keeps what was fetched until ``drop_copy``.

    Raises:
        VideoError: If it cannot be fetched.
    """
    if not _ADDRESS.match(source):
        return Path(source)
    target = _target(source, folder)
    if target.is_file():
        return target
    try:
        import fsspec
    except ImportError:
        raise VideoError(
            f"fetching {source} needs fsspec; install it with pip install 'gar-video[batch]'"
        ) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            fsspec.open(source, "rb") as coming,
            replacing(target) as temporary,
            temporary.open("wb") as file,
        ):
            shutil.copyfileobj(coming, file, 1 << 20)
    except Exception as error:  # whatever a protocol's package raises
        text = " ".join(str(error).split()) or type(error).__name__
        raise VideoError(f"cannot fetch {source}: {text}") from None
    return target


def drop_copy(source: str, folder: Path) -> None:
    """Remove what was fetched; nothing else."""
    if _ADDRESS.match(source):
        _target(source, folder).unlink(missing_ok=True)


def _target(source: str, folder: Path) -> Path:
    digest = hashlib.sha256(source.encode()).hexdigest()[:24]
    suffix = PurePosixPath(source.split("?")[0]).suffix[:8]
    return folder / FETCHED / f"{digest}{suffix}"
