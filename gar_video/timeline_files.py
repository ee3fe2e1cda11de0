"""Timelines as files: SRT, WebVTT, CSV, JSON and Parquet.

Subtitles have one voice: what holds at the same time stands in one cue, a line for each object, so
that no player hides one behind another. Events stand in square brackets, as subtitles write what is
not said. Tables have a row for each segment, event and summary, with where it comes from.
"""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from gar_video.errors import GARVideoError
from gar_video.files import check_writable, replacing, write_text
from gar_video.timeline import Timeline

#: How long an event stands in subtitles where its object has no words, in seconds.
EVENT_S = 1.5
COLUMNS = ("kind", "object_id", "label", "start_s", "end_s", "text", "source", "frames")
_MOST_BYTES = 256 << 20


def save(timeline: Timeline, path: str | os.PathLike[str], format: str | None = None) -> Path:
    """Write a timeline; see ``Timeline.save``."""
    target = Path(path)
    name = check_format(path) if format is None else format.lower()
    if name not in FORMATS:
        raise GARVideoError(f"format {format!r} of a timeline; expected {_either()}")
    check_writable(target)
    FORMATS[name](timeline, target)
    return target


def check_format(path: str | os.PathLike[str]) -> str:
    """Return the format that a file's name asks for.

    Raises:
        GARVideoError: If there is none, or its library is missing.
    """
    name = Path(path).suffix.lower().lstrip(".")
    if name not in FORMATS:
        raise GARVideoError(f"cannot write {path}: expected a name ending in {_either('.')}")
    if name == "parquet":
        _parquet()
    return name


def load(path: str | os.PathLike[str]) -> Timeline:
    """Read a timeline that was saved as JSON; see ``Timeline.load``."""
    file = Path(path)
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise GARVideoError(f"{file} has more than 256 MB; expected a timeline as JSON")
        plain = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise GARVideoError(f"cannot read {file}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise GARVideoError(
            f"{file} is not JSON; expected a timeline that was saved as .json"
        ) from None
    try:
        return Timeline.from_dict(plain)
    except GARVideoError as error:
        raise GARVideoError(f"{file}: {error}") from None


# ---- subtitles ------------------------------------------------------------------------------


def cues(timeline: Timeline) -> list[tuple[int, int, tuple[str, ...]]]:
    """Return what stands in subtitles: ``(start, end, lines)`` in milliseconds.

    Cues do not overlap, each lasts a millisecond at least, and neighbours differ.
    """
    spans: list[tuple[int, int, int, str]] = []  # start, end, place among the lines, line
    place = {object_id: 2 * at for at, object_id in enumerate(timeline.object_ids)}
    last = max(1, _ms(timeline.duration_s))
    for event in timeline.events:
        start = min(_ms(event.time_s), last - 1)
        end = min(start + _ms(EVENT_S), last)
        line = _line(f"[{timeline.name(event.object_id)} {event.text}]")
        spans.append((start, max(end, start + 1), place[event.object_id] + 1, line))
    for segment in timeline.segments:
        start = _ms(segment.start_s)
        line = _line(f"{timeline.name(segment.object_id)}: {segment.text}")
        end = max(_ms(segment.end_s), start + 1)
        spans.append((start, end, place[segment.object_id], line))
    edges = sorted({edge for start, end, _, _ in spans for edge in (start, end)})
    starts = sorted(spans)
    made: list[tuple[int, int, tuple[str, ...]]] = []
    running: list[tuple[int, int, int, str]] = []
    coming = 0
    for begin, end in pairwise(edges):
        while coming < len(starts) and starts[coming][0] <= begin:
            running.append(starts[coming])
            coming += 1
        running = [span for span in running if span[1] > begin]
        lines = tuple(span[3] for span in sorted(running, key=lambda span: span[2]))
        if lines and made and made[-1][1] == begin and made[-1][2] == lines:
            made[-1] = (made[-1][0], end, lines)
        elif lines:
            made.append((begin, end, lines))
    return made


def _line(text: str) -> str:
    """Return one line: a blank one would end a cue."""
    return " ".join(text.split())


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(ms: int, point: str) -> str:
    seconds, rest = divmod(ms, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}{point}{rest:03d}"


def to_srt(timeline: Timeline) -> str:
    """Return SubRip subtitles.

    SubRip cannot escape: angle brackets, which players take for tags, become guillemets, and
    braces, which some take for commands, parentheses.
    """
    table = str.maketrans("<>{}", "‹›()")
    blocks = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n"
        + "\n".join(line.translate(table) for line in lines)
        for number, (start, end, lines) in enumerate(cues(timeline), start=1)
    ]
    return "".join(block + "\n\n" for block in blocks)


def to_vtt(timeline: Timeline) -> str:
    """Return WebVTT subtitles; what would be markup is escaped."""
    blocks = [
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n"
        + "\n".join(html.escape(line, quote=False) for line in lines)
        for start, end, lines in cues(timeline)
    ]
    return "WEBVTT\n\n" + "".join(block + "\n\n" for block in blocks)


# ---- tables ---------------------------------------------------------------------------------


def rows(timeline: Timeline) -> list[dict[str, Any]]:
    """Return a row with ``COLUMNS`` for every segment, event and summary, by time."""
    made = [
        _row("words", timeline, row.object_id, row.start_s, row.end_s, row.text, "model",
             list(row.frames))
        for row in timeline.segments
    ]  # fmt: skip
    made += [
        _row("event", timeline, event.object_id, event.time_s, event.time_s, event.text, "tracks")
        for event in timeline.events
    ]
    made.sort(key=lambda row: (row["start_s"], row["kind"]))
    for summary in timeline.summaries:
        spans = [
            (s.start_s, s.end_s) for s in timeline.segments if s.object_id == summary.object_id
        ]
        start, end = (min(a for a, _ in spans), max(b for _, b in spans)) if spans else (None, None)
        made.append(
            _row("summary", timeline, summary.object_id, start, end, summary.text, summary.by)
        )
    return made


def _row(
    kind: str, timeline: Timeline, object_id: int, start_s: float | None, end_s: float | None,
    text: str, source: str, frames: list[int] | None = None,
) -> dict[str, Any]:  # fmt: skip
    label = timeline.labels.get(object_id)
    values = (kind, object_id, label, start_s, end_s, text, source, frames or [])
    return dict(zip(COLUMNS, values, strict=True))


def to_csv(timeline: Timeline) -> str:
    """Return a table with a header; frames are numbers between spaces.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for row in rows(timeline):
        plain = {key: _cell(value) for key, value in row.items()}
        writer.writerow(plain)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, str) and value[:1] in "=+-@\t\r" and value:
        return f"'{value}"
    return value


def to_json(timeline: Timeline) -> str:
    """Return JSON, one segment, event and summary a line; ``Timeline.load`` reads it."""
    lines = []
    for key, value in timeline.to_dict().items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            entries = ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in value)
            lines.append(f"{json.dumps(key)}: [\n  {entries}\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise GARVideoError(
            "Parquet needs pyarrow; install it with: pip install 'gar-video[parquet]'"
        ) from None
    return pyarrow.parquet


def _write_parquet(timeline: Timeline, path: Path) -> None:
    parquet = _parquet()
    import pyarrow as pa

    schema = pa.schema(
        [
            ("kind", pa.string()), ("object_id", pa.int64()), ("label", pa.string()),
            ("start_s", pa.float64()), ("end_s", pa.float64()), ("text", pa.string()),
            ("source", pa.string()), ("frames", pa.list_(pa.int64())),
        ],
        metadata={"video": timeline.video, "model": timeline.model, "question": timeline.question},
    )  # fmt: skip
    table = pa.Table.from_pylist(rows(timeline), schema=schema)
    with replacing(path) as temporary:
        parquet.write_table(table, temporary)


def _text_writer(make: Callable[[Timeline], str]) -> Callable[[Timeline, Path], None]:
    def write(timeline: Timeline, path: Path) -> None:
        write_text(path, make(timeline))

    return write


FORMATS: dict[str, Callable[[Timeline, Path], None]] = {
    "srt": _text_writer(to_srt),
    "vtt": _text_writer(to_vtt),
    "csv": _text_writer(to_csv),
    "json": _text_writer(to_json),
    "parquet": _write_parquet,
}


def _either(before: str = "") -> str:
    return ", ".join(before + name for name in FORMATS)
