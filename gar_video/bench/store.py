"""Run: a folder with a configuration, a row per question and a summary. Killed, it can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gar_video.errors import GARVideoError
from gar_video.files import write_text

CONFIG, ROWS, SUMMARY = "config.json", "predictions.jsonl", "summary.json"
JUDGE, JUDGED = "judge.json", "judgements.jsonl"
TRACKS = "tracks"  # of mode track, a file a group
# Where things lay when a run was made; another place is no other run.
_INCIDENTAL = "where"


class Run:
    """A run's folder.

    Args:
        folder: Where it is, or is to be.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    # -- configuration -----------------------------------------------------------------------------

    @property
    def config(self) -> dict[str, Any]:
        """The run's configuration.

        Raises:
            GARVideoError: If the folder holds no run.
        """
        if not (self.folder / CONFIG).is_file():
            raise GARVideoError(f"{self.folder} holds no run: there is no {CONFIG} in it")
        return _read_object(self.folder / CONFIG)

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return (self.folder / CONFIG).is_file()

    def begin(self, config: Mapping[str, Any], *, name: str = CONFIG) -> None:
        """Write the configuration, or check that the one in the folder is the same.

        Args:
            config: The configuration; what stands under ``where`` may differ.
            name: Its file.

        Raises:
            GARVideoError: If the folder holds a run with another configuration (the message names
                the differences), or other files, or cannot be written.
        """
        path = self.folder / name
        if path.is_file():
            found = differences(_read_object(path), config)
            if found:
                raise GARVideoError(
                    f"{self.folder} holds a run with another configuration: {'; '.join(found)}; "
                    "give another --out, or the same settings"
                )
            return
        if name == CONFIG and self.folder.is_dir() and any(self.folder.iterdir()):
            raise GARVideoError(f"{self.folder} holds other files; give a new folder as --out")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GARVideoError(
                f"cannot make {self.folder}: {error.strerror or error}; choose another --out"
            ) from None
        lines = (f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in config.items())
        write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")

    # -- rows --------------------------------------------------------------------------------------

    def rows(self, name: str = ROWS) -> dict[str, dict[str, Any]]:
        """Return the rows by key; a last line that was cut off is left out.

        Raises:
            GARVideoError: If another line is damaged.
        """
        path = self.folder / name
        if not path.is_file():
            return {}
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        rows: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(whole.split(b"\n")[:-1], 1):
            try:
                row = json.loads(line)
                rows[row["key"]] = row
            except (ValueError, KeyError, TypeError):
                raise GARVideoError(
                    f"{path}, line {number} is damaged; delete that line and run again"
                ) from None
        return rows

    @contextmanager
    def appending(self, name: str = ROWS) -> Iterator[Appender]:
        """Open the rows for adding to them; a last line that was cut off is cut away first.

        Raises:
            GARVideoError: If another process is adding to them, or they cannot be written.
        """
        path = self.folder / name
        try:
            with path.open("a+b") as file:
                _lock(file, path)
                file.seek(0)
                text = file.read()
                if not text.endswith(b"\n"):
                    file.truncate(text.rfind(b"\n") + 1)
                yield Appender(file, path)
        except OSError as error:
            raise _cannot_write(path, error) from error

    # -- results -----------------------------------------------------------------------------------

    @property
    def summary(self) -> dict[str, Any]:
        """The summary.

        Raises:
            GARVideoError: If there is none yet.
        """
        if not (self.folder / SUMMARY).is_file():
            raise GARVideoError(f"{self.folder} has no {SUMMARY}; finish the run first")
        return _read_object(self.folder / SUMMARY)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, whole or not at all."""
        write_text(self.folder / SUMMARY, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


class Appender:
    """Adds rows to an open file."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path = file, path

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows, each whole.

        Raises:
            GARVideoError: If the file system refuses, a full disk included; rows before stay.
        """
        for row in rows:
            line = json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
            try:
                self._file.write(line)
                self._file.flush()
            except OSError as error:
                raise _cannot_write(self._path, error) from error


def _cannot_write(path: Path, error: OSError) -> GARVideoError:
    return GARVideoError(
        f"cannot write {path}: {error.strerror or error}; what was done is kept: make room or give "
        "permission, and run again"
    )


def _lock(file: Any, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise GARVideoError(
            f"another process is adding to {path}; wait for it, or give another --out"
        ) from None
    except OSError:
        return  # a file system without locks


def _read_object(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GARVideoError(f"cannot read {path}: {error}; the run is damaged") from None
    if not isinstance(held, dict):
        raise GARVideoError(f"{path} holds no configuration; the run is damaged")
    return held


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return what differs between two configurations, ``name: old -> new`` each."""
    found = []
    for name in dict.fromkeys([*old, *new]):
        if name == _INCIDENTAL:
            continue
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{name}.")
        elif json.dumps(a, sort_keys=True) != json.dumps(b, sort_keys=True):
            found.append(f"{prefix}{name}: {_short(a)} -> {_short(b)}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:24]}…{text[-12:]}"
