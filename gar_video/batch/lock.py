"""One run in one folder at a time."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import IO

from gar_video.batch.state import LOCK
from gar_video.errors import GARVideoError


class FolderLock:
    """Holds a run's folder; let go of by the system when the process ends, however it ends.

    Args:
        folder: The run's folder; made if it is missing.

    Raises:
        GARVideoError: If another process holds it, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise GARVideoError(f"cannot write to {folder}: {error.strerror}") from None
        try:
            _take(self._file)
        except OSError:
            self._file.seek(0)
            holder = self._file.read(200).strip() or "another process"
            self._file.close()
            raise GARVideoError(
                f"{folder} is in use by {holder}; wait for it, or stop it first"
            ) from None
        with contextlib.suppress(OSError):  # a full disk: who holds it is only a courtesy
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            self._file.flush()

    def close(self) -> None:
        """Let go."""
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _take(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
