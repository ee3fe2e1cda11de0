"""Captions: what stands beside each object of a video, and from when to when."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gar_video.errors import GARVideoError
from gar_video.timeline import FORMAT, Timeline

if TYPE_CHECKING:
    from gar_video.answer import Answer, Choice

_DESCRIBE = "Describe this masked region in detail."
_FOREVER = float("inf")
_MOST_BYTES = 256 << 20

Span = tuple[float, float, str]


@dataclass(frozen=True)
class Captions:
    """Words beside objects.

    Attributes:
        spans: By object id, ``(start_s, end_s, text)`` in order of time, not overlapping.
        summaries: By object id, what is said where words do not change; may be empty.
    """

    spans: dict[int, tuple[Span, ...]]
    summaries: dict[int, str]

    @classmethod
    def always(cls, words: Mapping[int, str]) -> Captions:
        """Return words that stand from beginning to end."""
        kept = {key: text for key, text in words.items() if text.strip()}
        return cls({key: ((0.0, _FOREVER, text),) for key, text in kept.items()}, kept)

    @classmethod
    def of_answers(cls, answers: Iterable[Answer | Choice | Mapping[str, Any]]) -> Captions:
        """Return the words of answers, several about one object under each other.

        A description stands alone, another answer after its question. What is about several
        objects stands at the first it mentions.

        Raises:
            GARVideoError: If an entry has no ``text`` or no ``objects``.
        """
        said: dict[int, list[str]] = {}
        for number, answer in enumerate(answers, start=1):
            plain = answer if isinstance(answer, Mapping) else answer.to_dict()
            text, objects = plain.get("text"), plain.get("objects")
            whole = isinstance(objects, (list, tuple)) and all(type(i) is int for i in objects)
            if not isinstance(text, str) or not whole:
                raise GARVideoError(
                    f"entry {number} is no answer: expected 'text' and a list of ids, 'objects', "
                    "as describe, ask and choose write them"
                )
            asked = plain.get("question")
            if isinstance(asked, str) and asked and asked != _DESCRIBE:
                text = f"{asked} {text}"
            for object_id in (objects or ())[:1]:
                said.setdefault(object_id, []).append(text)
        return cls.always({key: "\n".join(texts) for key, texts in said.items()})

    @classmethod
    def of_timeline(cls, timeline: Timeline) -> Captions:
        """Return a timeline's words, each in its time."""
        spans: dict[int, list[Span]] = {}
        for row in timeline.segments:
            if row.text.strip():
                spans.setdefault(row.object_id, []).append((row.start_s, row.end_s, row.text))
        return cls(
            {key: tuple(sorted(rows)) for key, rows in spans.items()},
            {row.object_id: row.text for row in timeline.summaries},
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Captions:
        """Read what ``describe``, ``ask``, ``choose`` or ``timeline`` wrote as JSON or JSONL.

        Raises:
            GARVideoError: If it cannot be read or is none of these.
        """
        file = Path(path)
        plain = _read(file)
        try:
            if isinstance(plain, Mapping) and plain.get("format") == FORMAT:
                return cls.of_timeline(Timeline.from_dict(plain))
            entries = plain if isinstance(plain, list) else [plain]
            if not all(isinstance(entry, Mapping) for entry in entries):
                raise GARVideoError("expected a list of answers, or a timeline saved as JSON")
            return cls.of_answers(entries)
        except GARVideoError as error:
            raise GARVideoError(f"{file}: {error}") from None

    def at(self, object_id: int, time_s: float) -> str:
        """Return what stands beside an object at a time; empty if nothing does."""
        rows = self.spans.get(object_id, ())
        at = bisect_right(rows, time_s, key=lambda row: row[0]) - 1
        return rows[at][2] if at >= 0 and time_s < rows[at][1] else ""

    def texts(self, object_id: int) -> tuple[str, ...]:
        """Return all that is ever said beside an object."""
        return tuple(dict.fromkeys(text for _, _, text in self.spans.get(object_id, ())))

    def check_known(self, object_ids: Sequence[int], where: str) -> None:
        """Raise GARVideoError if there are words about objects that are not among those given."""
        unknown = [key for key in {**self.spans, **self.summaries} if key not in object_ids]
        if unknown:
            shown = ", ".join(f"<{key}>" for key in object_ids[:12]) or "none"
            raise GARVideoError(
                f"{where} is about <{unknown[0]}>, but the objects here are {shown}; give the "
                "tracks that the answers are about"
            )


def _read(file: Path) -> Any:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise GARVideoError(f"{file} has more than 256 MB; expected answers as JSON")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise GARVideoError(f"cannot read {file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        text = ""
    for parts in ([text], [line for line in text.splitlines() if line.strip()]):
        try:
            found = [json.loads(part) for part in parts]
        except (ValueError, RecursionError):
            continue
        if found:
            return found[0] if len(found) == 1 else found
    raise GARVideoError(
        f"{file} is not JSON; expected what describe, ask, choose or timeline wrote with --json "
        "or --out FILE.json"
    )
