"""What is to be found out about every object of the footage: ``tasks.yaml``."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gar_video.batch.lines import Entry, read_yaml
from gar_video.errors import GARVideoError, PromptError
from gar_video.prompt import mentioned_ids, multiple_choice, parse_question

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FIELDS = (
    "name", "describe", "ask", "choose", "options", "where", "pairs", "window_s", "frames",
    "max_new_tokens",
)  # fmt: skip
_KINDS = ("describe", "ask", "choose")


@dataclass(frozen=True)
class Where:
    """Which objects a task is about.

    Attributes:
        labels: The labels that qualify; empty for all.
        min_visible_s: How long an object must be visible, in seconds.
        min_area: Share of the frame that its largest region must cover.
    """

    labels: tuple[str, ...] = ()
    min_visible_s: float = 0.0
    min_area: float = 0.0


@dataclass(frozen=True)
class Pairs:
    """Which two objects a question about ``<1>`` and ``<2>`` is put about.

    Attributes:
        max_distance: How close their boxes must come, as a share of the frame's diagonal.
        min_overlap_s: How long both must be visible, in seconds.
    """

    max_distance: float = 1.0
    min_overlap_s: float = 0.0


@dataclass(frozen=True)
class Task:
    """One thing to find out.

    Attributes:
        name: Its name, unique in the file.
        kind: ``"describe"``, ``"ask"`` or ``"choose"``.
        question: With ``<1>`` for the object, or ``<1>`` and ``<2>`` for a pair; empty to describe.
        options: Of a choice.
        where: Which objects.
        pairs: Which pairs; None for a task about single objects.
        window_s: Length of the stretches that an object's life is cut into; None for its whole.
        frames: Frames to look at; the checkpoint's default if None.
        max_new_tokens: Longest answer, in tokens.
    """

    name: str
    kind: Literal["describe", "ask", "choose"]
    question: str = ""
    options: tuple[str, ...] = ()
    where: Where = Where()
    pairs: Pairs | None = None
    window_s: float | None = None
    frames: int | None = None
    max_new_tokens: int = 64

    @property
    def digest(self) -> str:
        """Return 16 hex digits of all that its answers depend on."""
        plain = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(plain.encode()).hexdigest()[:16]

    def worded(self, object_ids: tuple[int, ...]) -> str:
        """Return its question about certain objects: ``<1>`` becomes the first one's id."""
        return self._about(self.question, object_ids)

    def worded_options(self, object_ids: tuple[int, ...]) -> tuple[str, ...]:
        """Return its options about certain objects."""
        return tuple(self._about(option, object_ids) for option in self.options)

    def _about(self, text: str, object_ids: tuple[int, ...]) -> str:
        def named(match: re.Match[str]) -> str:
            return f"<{object_ids[int(match[1]) - 1]}>"

        return re.sub(r"(?<!\\)<(\d+)>", named, text)


def load_tasks(path: str | os.PathLike[str]) -> tuple[Task, ...]:
    """Read a list of tasks.

    Raises:
        GARVideoError: If the file cannot be read or says something that cannot be meant; names the
            line.
    """
    file = read_yaml(path)
    entries = file.mapping(("tasks",), ("tasks",))["tasks"].items(1)
    tasks: dict[str, Task] = {}
    for entry in entries:
        task = _task(entry)
        if task.name in tasks:
            raise entry.error(f"there are two tasks named {task.name!r}; name one of them anew")
        tasks[task.name] = task
    return tuple(tasks.values())


def _task(entry: Entry) -> Task:
    fields = entry.mapping(_FIELDS, ("name",))
    name = fields["name"].text()
    if not _NAME.fullmatch(name):
        raise fields["name"].error(
            f"{name!r} is no name of a task; expected up to 64 letters, digits, - _ or ."
        )
    kinds = [kind for kind in _KINDS if kind in fields]
    if len(kinds) != 1:
        raise entry.error(
            f"task {name!r} has {' and '.join(kinds) or 'nothing to do'}; expected one of "
            + ", ".join(_KINDS)
        )
    (kind,) = kinds
    pairs = _pairs(fields.get("pairs"))
    if kind == "describe" and not fields[kind].flag():
        raise fields[kind].error(f"describe of task {name!r} is false; leave the task out instead")
    question = "" if kind == "describe" else fields[kind].text()
    options = _options(fields, kind, name)
    _check_objects(fields, kind, question, options, pairs)
    if pairs is not None and kind == "describe":
        raise fields["pairs"].error("objects are described one by one; expected ask or choose")
    window = fields.get("window_s")
    frames, tokens = fields.get("frames"), fields.get("max_new_tokens")
    return Task(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        question=question,
        options=options,
        where=_where(fields.get("where")),
        pairs=pairs,
        window_s=None if window is None else window.number(0.1),
        frames=None if frames is None else frames.whole(),
        max_new_tokens=64 if tokens is None else tokens.whole(),
    )


def _options(fields: Mapping[str, Entry], kind: str, name: str) -> tuple[str, ...]:
    entry = fields.get("options")
    if entry is None:
        if kind == "choose":
            raise fields[kind].error(f"task {name!r} chooses between no options; add options")
        return ()
    if kind != "choose":
        raise entry.error(f"task {name!r} has options but nothing to choose; use choose")
    options = tuple(item.text() for item in entry.items(2))
    try:
        multiple_choice(fields[kind].text(), options)
    except PromptError as error:
        raise entry.error(str(error)) from None
    return options


def _check_objects(
    fields: Mapping[str, Entry],
    kind: str,
    question: str,
    options: tuple[str, ...],
    pairs: Pairs | None,
) -> None:
    if kind == "describe":
        return
    entry = fields[kind]
    try:
        ids = set(mentioned_ids(parse_question(question)))
        told = set().union(*(mentioned_ids(parse_question(option)) for option in options))
    except GARVideoError as error:
        raise entry.error(str(error)) from None
    expected = {1} if pairs is None else {1, 2}
    if ids != expected or not told <= expected:
        names = ", ".join(f"<{i}>" for i in sorted(ids | told)) or "no object"
        wanted = "<1>" if pairs is None else "<1> and <2>"
        hint = "; for two objects add pairs" if pairs is None and {1, 2} <= ids else ""
        raise entry.error(f"the question names {names}; expected {wanted}{hint}")


def _where(entry: Entry | None) -> Where:
    if entry is None:
        return Where()
    fields = entry.mapping(("label", "min_visible_s", "min_area"))
    values: dict[str, Any] = {}
    if "label" in fields:
        values["labels"] = fields["label"].texts()
    if "min_visible_s" in fields:
        values["min_visible_s"] = fields["min_visible_s"].number()
    if "min_area" in fields:
        values["min_area"] = fields["min_area"].number(0, 1)
    return Where(**values)


def _pairs(entry: Entry | None) -> Pairs | None:
    if entry is None:
        return None
    fields = entry.mapping(("max_distance", "min_overlap_s"))
    values = {}
    if "max_distance" in fields:
        values["max_distance"] = fields["max_distance"].number(0, 1)
    if "min_overlap_s" in fields:
        values["min_overlap_s"] = fields["min_overlap_s"].number()
    return Pairs(**values)
