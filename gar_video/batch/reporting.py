"""A run as one page that opens anywhere: figures, pictures, filters, and no network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gar_video.batch.redacting import Redactor
from gar_video.batch.results import Row, open_state, read_failures, read_rows
from gar_video.batch.search_index import seconds
from gar_video.batch.searching import Only, check_names, check_times
from gar_video.errors import GARVideoError
from gar_video.files import check_writable, replacing

#: By this, pages that were written are known again.
MARK = '<meta name="generator" content="gar-video batch report">'
MOST_ROWS = 100_000


@dataclass(frozen=True)
class Reported:
    """What a page holds.

    Attributes:
        path: The page.
        rows: Answers in it.
        left_out: Answers that would belong there and were too many.
        embedded: Pictures inside the page.
        linked: Pictures that it shows from the run's folder.
        dropped: Pictures that it does without.
        failures: Failures that it names.
        bytes: Its size.
        looked: Whether pictures were looked through for whom to redact; False where they were made
            unrecognisable as a whole.
    """

    path: Path
    rows: int
    left_out: int
    embedded: int
    linked: int
    dropped: int
    failures: int
    bytes: int
    looked: bool = True


def write_report(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    only: Only | None = None,
    *,
    redact: str | None = None,
    redact_with: str | None = None,
    embed_mib: float = 16.0,
    most: int = MOST_ROWS,
    progress: Callable[[int, int], None] | None = None,
) -> Reported:
    """Write a run as one HTML page.

    Args:
        run: The run's folder; the run may go on meanwhile.
        out: The page; ``report.html`` in the run's folder if None.
        only: Which rows count; all if None.
        redact: ``"faces"`` or ``"people"``, to be made unrecognisable in pictures.
        redact_with: A detector's name; see ``Redactor``.
        embed_mib: MiB of pictures inside the page; further ones are shown from the run's folder,
            or left out where they would have to be redacted.
        most: Most rows.
        progress: Called with rows read and 0.

    Returns:
        What the page holds.

    Raises:
        GARVideoError: If there is no run, a camera, label or task is not there, or the page cannot
            be written.
    """
    folder = Path(run)
    open_state(folder).close()
    target = check_writable(folder / "report.html" if out is None else out, suffixes=(".html",))
    redactor = None if redact is None else Redactor(redact, redact_with)
    only = only or Only()
    check_times(only)
    page = _Page(folder, target.absolute().parent, redactor, round(embed_mib * (1 << 20)))
    known: dict[str, set[str]] = {"camera": set(), "label": set(), "task": set()}
    count = left_out = 0
    for row in read_rows(folder):
        known["camera"].add(row["camera"])
        known["label"].update(label for label in row["labels"] if label)
        known["task"].add(row["task"])
        if row["answer"] is None or not counts(only, row):
            continue
        count += 1
        if len(page.rows) < most:
            page.add(row)
        else:
            left_out += 1
        if progress is not None and count % 500 == 0:
            progress(count, 0)
    wanted = {"camera": only.cameras, "label": only.labels, "task": only.tasks}
    for kind, names in wanted.items():
        check_names(kind, names, sorted(known[kind]))
    failures = read_failures(folder)
    data = page.data(failures, left_out, redact)
    text = _html(data)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")
    return Reported(
        target, len(page.rows), left_out, page.embedded, page.linked, page.dropped, len(failures),
        target.stat().st_size, redactor is None or redactor.looks,
    )  # fmt: skip


def counts(only: Only, row: Row) -> bool:
    """Return whether a row is of those that count."""
    if only.cameras and row["camera"] not in only.cameras:
        return False
    if only.tasks and row["task"] not in only.tasks:
        return False
    if only.labels and not set(only.labels) & set(row["labels"]):
        return False
    began, ended = seconds(row["wall_start"]), seconds(row["wall_end"])
    for limit, at, late in ((only.since, ended, False), (only.until, began, True)):
        if limit is None:
            continue
        moment = (limit if limit.tzinfo else limit.replace(tzinfo=timezone.utc)).timestamp()
        if at is None or (at >= moment if late else at <= moment):
            return False
    return True


def is_report(path: Path) -> bool:
    """Return whether a file is a page that was written here."""
    with path.open("rb") as file:
        return MARK.encode() in file.read(1024)


@dataclass
class _Names:
    """Names by number, so that a page says each once."""

    known: dict[Any, int] = field(default_factory=dict)

    def __call__(self, name: Any) -> int:
        return self.known.setdefault(name, len(self.known))

    def __iter__(self) -> Any:
        return iter(self.known)


class _Page:
    """Gathers what a page shows."""

    def __init__(self, run: Path, beside: Path, redactor: Redactor | None, budget: int) -> None:
        self._run, self._beside, self._redactor, self._left = run, beside, redactor, budget
        self.rows: list[list[Any]] = []
        self.embedded = self.linked = self.dropped = 0
        self._cameras, self._labels, self._tasks = _Names(), _Names(), _Names()
        self._questions, self._videos = _Names(), _Names()
        self._pictures: dict[str, int] = {}
        self._shown: list[str] = []

    def add(self, row: Row) -> None:
        """Add an answer."""
        sure = None
        if row["answer"] in row["options"] and len(row["probabilities"]) == len(row["options"]):
            sure = row["probabilities"][row["options"].index(row["answer"])]
        video = self._videos((row["video"], self._cameras(row["camera"])))
        labels = [-1 if label is None else self._labels(label) for label in row["labels"]]
        self.rows.append(
            [
                video, self._tasks(row["task"]), row["objects"], labels,
                row["wall_start"] or 0, row["start_s"], row["end_s"],
                self._questions(row["question"] or ""), row["answer"],
                self._picture(row), 0 if sure is None else sure,
            ]
        )  # fmt: skip

    def _picture(self, row: Row) -> int:
        name = row["thumbnail"]
        if name is None:
            return -1
        if name not in self._pictures:
            self._pictures[name] = self._take(name, row["labels"])
        return self._pictures[name]

    def _take(self, name: str, labels: list[str | None]) -> int:
        path = self._run / name
        try:
            size = path.stat().st_size
            data = path.read_bytes() if size * 4 // 3 <= self._left else None
        except OSError:
            self.dropped += 1
            return -1
        if data is not None and self._redactor is not None:
            data = self._redactor.jpeg(data, labels)
        if data is not None:
            text = "data:image/jpeg;base64," + base64.b64encode(data).decode()
            self._left -= len(text)
            self.embedded += 1
        elif self._redactor is not None:
            # What lies in the run's folder shows everybody.
            self.dropped += 1
            return -1
        else:
            text = quote(os.path.relpath(path.absolute(), self._beside).replace(os.sep, "/"))
            self.linked += 1
        self._shown.append(text)
        return len(self._shown) - 1

    def data(self, failures: list[Row], left_out: int, redacted: str | None) -> Mapping[str, Any]:
        """Return all that a page shows, as JSON holds it."""
        return {
            "run": self._run.absolute().name,
            "made": datetime.now().astimezone().isoformat(timespec="seconds"),
            "cameras": [*self._cameras],
            "labels": [*self._labels],
            "tasks": [*self._tasks],
            "questions": [*self._questions],
            "videos": [[name, camera, _address(name)] for name, camera in self._videos],
            "rows": self.rows,
            "pictures": self._shown,
            "failures": [
                [one["video"], one["task"], one["objects"], one["error"]] for one in failures
            ],
            "left_out": left_out,
            "dropped": self.dropped,
            "redacted": redacted,
        }


def _address(video: str) -> str | None:
    """Return where a browser can open a video, if it can."""
    if video.lower().startswith(("http://", "https://")):
        return quote(video, safe=":/?&=%+,;@~!$'()*[]")
    if "://" in video:
        return None
    return Path(video).absolute().as_uri()


def embed_json(data: Any) -> str:
    """Return JSON that can stand in a page's script element: no text in it can end that."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    # Outside of texts, JSON has none of these.
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _html(data: Mapping[str, Any]) -> str:
    place = files("gar_video.batch") / "page"
    try:
        page, style, script = (
            (place / name).read_text(encoding="utf-8")
            for name in ("report.html", "report.css", "report.js")
        )
    except OSError as error:
        raise GARVideoError(f"the page's parts are missing ({error}); install anew") from None
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Only the page's own script may run, whatever gets into the rest, and nothing is fetched.
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data: 'self' file:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "MARK": MARK, "POLICY": policy, "STYLE": style, "SCRIPT": script, "DATA": embed_json(data),
    }  # fmt: skip
    for name, text in parts.items():
        page = page.replace(f"%{name}%", text, 1)
    return page
