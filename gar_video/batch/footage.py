"""Which recordings there are, in files, folders, patterns and manifests; and what is none."""

from __future__ import annotations

import csv
import glob
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from typing import Any

from gar_video.batch.clock import from_name, read_time
from gar_video.errors import GARVideoError

VIDEOS = frozenset(
    (
        ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg",
        ".flv", ".wmv", ".3gp", ".ogv", ".h264", ".h265", ".hevc", ".mjpeg", ".mjpg", ".dav",
    )
)  # fmt: skip
PICTURES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp"])
# Lies beside videos without being one: tracks, captions, notes of recorders.
_BESIDE = frozenset(
    (
        ".json", ".jsonl", ".txt", ".csv", ".xml", ".srt", ".vtt", ".md", ".parquet", ".yaml",
        ".yml", ".log",
    )
)  # fmt: skip
_REMOTE = re.compile(r"(s3|gs|gcs|az|abfs|http|https|ftp|sftp)://", re.IGNORECASE)
_COLUMNS = ("path", "camera", "start", "tracks", "region")


@dataclass(frozen=True)
class Recording:
    """One piece of footage.

    Attributes:
        source: Absolute path, or the address of remote footage.
        camera: Which camera it is from.
        start: When its first frame was taken, with its zone; None if nobody says.
        tracks: File or folder of its tracks; None for what the run's settings say.
        region: Corners ``(x, y)`` in pixels of the part of the picture that counts; None for all.
    """

    source: str
    camera: str
    start: datetime | None = None
    tracks: str | None = None
    region: tuple[tuple[float, float], ...] | None = None

    @property
    def is_remote(self) -> bool:
        """Whether it has to be fetched first."""
        return bool(_REMOTE.match(self.source))


@dataclass(frozen=True)
class Unusable:
    """Something that was named or found and is no recording.

    Attributes:
        source: What it is.
        reason: Why it cannot be used.
    """

    source: str
    reason: str


@dataclass(frozen=True)
class Footage:
    """What there is.

    Attributes:
        recordings: By source; each once.
        unusable: By source.
    """

    recordings: tuple[Recording, ...]
    unusable: tuple[Unusable, ...]


def find_footage(
    named: Sequence[str | os.PathLike[str]] = (),
    *,
    manifest: str | os.PathLike[str] | None = None,
    zone: tzinfo = timezone.utc,
    pattern: str | None = None,
    remote: bool = False,
) -> Footage:
    """List recordings.

    Args:
        named: Files, folders (searched through, links between folders not followed), shell
            patterns, and addresses.
        manifest: CSV, JSON lines or Parquet with a column ``path`` and, where they are known,
            ``camera``, ``start``, ``tracks`` and ``region`` (corners as JSON).
        zone: Zone of times that name none.
        pattern: How file names are made; see ``clock.from_name``.
        remote: Whether addresses may be fetched from.

    Raises:
        GARVideoError: If a name leads nowhere, an address is named without consent, or the
            manifest cannot be read.
    """
    found: dict[str, Recording] = {}
    unusable: dict[str, str] = {}
    for name in named:
        text = os.fspath(name)
        if _REMOTE.match(text):
            _check_consent(text, remote)
            says = from_name(Path(text.rsplit("://", 1)[1]), zone, pattern)
            found.setdefault(text, Recording(text, says.camera or "", says.start))
            continue
        for path, reason in _named(Path(text).expanduser()):
            if reason:
                unusable.setdefault(str(path), reason)
                continue
            says = from_name(path, zone, pattern)
            found.setdefault(str(path), Recording(str(path), says.camera or "", says.start))
    if manifest is not None:
        for recording in _manifest(Path(manifest), zone, pattern, remote):
            found[recording.source] = recording
    for source in found:
        unusable.pop(source, None)
    return Footage(
        tuple(found[source] for source in sorted(found)),
        tuple(Unusable(source, unusable[source]) for source in sorted(unusable)),
    )


def _check_consent(address: str, remote: bool) -> None:
    if not remote:
        raise GARVideoError(f"{address} is not on this machine; allow fetching with --allow-remote")


# ---------------------------------------------------------------- paths


def _named(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield what a name leads to, with the reason why it cannot be used, or none."""
    text = str(path)
    if not os.path.lexists(path) and glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - absolute patterns
        if not matches:
            raise GARVideoError(f"nothing matches {text}; expected videos or folders")
        for match in matches:
            yield from _found(Path(match), Path(match).is_file())
        return
    if not os.path.lexists(path):
        raise GARVideoError(f"there is no {text}; expected a video, a folder or a pattern")
    yield from _found(path, True)


def _found(path: Path, itself: bool) -> Iterator[tuple[Path, str]]:
    path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
    if path.is_dir():
        yield from _folder(path)
        return
    if reason := _reason(path, itself):
        if reason != "beside":
            yield path, reason
        return
    yield path, ""


def _folder(folder: Path) -> Iterator[tuple[Path, str]]:
    denied: list[OSError] = []
    for root, folders, files in os.walk(folder, onerror=denied.append):
        folders.sort()
        for name in list(folders):
            # Hidden folders are recorders' and systems' own; links can lead round in circles.
            if name.startswith("."):
                folders.remove(name)
        for name in sorted(files):
            if not name.startswith("."):
                yield from _found(Path(root) / name, False)
    for error in denied:
        yield Path(str(error.filename)), f"cannot be listed: {error.strerror}"


def _reason(path: Path, itself: bool) -> str:
    """Return why a file is no recording; ``"beside"`` for what is silently left alone."""
    suffix = path.suffix.lower()
    try:
        info = path.stat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not path.is_file():
        return "is no file"
    if suffix in _BESIDE and not itself:
        return "beside"
    if suffix not in VIDEOS | PICTURES and not itself:
        return f"is no video by its name ({suffix or 'no ending'}); name it itself to have it tried"
    if info.st_size == 0:
        return "is empty"
    if not os.access(path, os.R_OK):
        return "cannot be read: Permission denied"
    return ""


# ---------------------------------------------------------------- manifests


def _manifest(path: Path, zone: tzinfo, pattern: str | None, remote: bool) -> Iterator[Recording]:
    for number, row in _rows(path):
        place = f"{path}, row {number}"
        unknown = [name for name in row if name not in _COLUMNS]
        if unknown and number == 1:
            raise GARVideoError(
                f"{place}: unknown column {unknown[0]!r}; expected {', '.join(_COLUMNS)}"
            )
        name = _cell(row, "path")
        if not name:
            raise GARVideoError(f"{place}: no path; expected the name of a video")
        yield _recording(path, place, name, row, zone, pattern, remote)


def _recording(
    manifest: Path,
    place: str,
    name: str,
    row: Mapping[str, Any],
    zone: tzinfo,
    pattern: str | None,
    remote: bool,
) -> Recording:
    is_remote = bool(_REMOTE.match(name))
    if is_remote:
        _check_consent(name, remote)
        source, says = name, from_name(Path(name.rsplit("://", 1)[1]), zone, pattern)
    else:
        source = os.path.abspath(manifest.parent / Path(name).expanduser())  # noqa: PTH100
        says = from_name(Path(source), zone, pattern)
    known = Recording(source, _cell(row, "camera") or says.camera or "", says.start)
    start, tracks, region = (_cell(row, column) for column in ("start", "tracks", "region"))
    try:
        if start:
            known = replace(known, start=read_time(start, zone))
        if region:
            known = replace(known, region=_corners(region))
    except GARVideoError as error:
        raise GARVideoError(f"{place}: {error}") from None
    if tracks:
        beside = os.path.abspath(manifest.parent / Path(tracks).expanduser())  # noqa: PTH100
        known = replace(known, tracks=beside)
    return known


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                yield from enumerate(csv.DictReader(file), 1)
        elif suffix in (".jsonl", ".ndjson"):
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield number, _json_row(path, number, line)
        elif suffix == ".parquet":
            yield from enumerate(_parquet_rows(path), 1)
        else:
            raise GARVideoError(f"{path} is no manifest; expected .csv, .jsonl or .parquet")
    except OSError as error:
        raise GARVideoError(f"cannot read the manifest {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise GARVideoError(f"cannot read the manifest {path}: {error}") from None


def _json_row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise GARVideoError(f"{path}, row {number}: expected a JSON object with a path")
    return row


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise GARVideoError(
            f"reading {path} needs pyarrow; install it with pip install 'gar-video[batch]'"
        ) from None
    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise GARVideoError(f"cannot read the manifest {path}: {error}") from None
    return rows


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return value.strip() if isinstance(value, str) else json.dumps(value)


def _corners(text: str) -> tuple[tuple[float, float], ...]:
    try:
        corners = tuple((float(x), float(y)) for x, y in json.loads(text))
    except (ValueError, TypeError, RecursionError):
        corners = ()
    if len(corners) < 3:
        raise GARVideoError(
            f"region is {text[:60]!r}; expected three or more corners, such as "
            "[[0, 0], [640, 0], [640, 200]]"
        )
    return corners
