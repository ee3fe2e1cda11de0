"""YAML whose values know the lines they stand in, so that mistakes are found at once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gar_video.errors import GARVideoError

# A list of questions is a page or two; more is something else.
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A value of a YAML file.

    Attributes:
        value: A scalar, ``dict[str, Entry]`` or ``list[Entry]``.
        path: The file.
        line: Where it stands, from 1.
        name: How it is reached, for messages: ``"tasks[2].where"``.
    """

    value: Any
    path: Path
    line: int
    name: str

    def error(self, text: str) -> GARVideoError:
        """Return an error that names file and line."""
        return GARVideoError(f"{self.path}, line {self.line}: {text}")

    # ------------------------------------------------------------ reading

    def mapping(self, known: Sequence[str], required: Sequence[str] = ()) -> dict[str, Entry]:
        """Return the fields of a mapping.

        Args:
            known: Fields that it may have.
            required: Fields that it must have.

        Raises:
            GARVideoError: If it is none, or a field is unknown or missing; names the nearest.
        """
        if not isinstance(self.value, dict):
            raise self.error(f"{self.name} is {_told(self.value)}; expected fields")
        for name, entry in self.value.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(known)}"
                raise entry.error(f"{self.name} has no field {name!r}; {hint}")
        for name in required:
            if name not in self.value:
                raise self.error(f"{self.name} lacks the field {name!r}")
        return dict(self.value)

    def items(self, least: int = 0) -> list[Entry]:
        """Return the entries of a list.

        Raises:
            GARVideoError: If it is none, or shorter than ``least``.
        """
        if not isinstance(self.value, list) or len(self.value) < least:
            wanted = f"a list of {least} or more" if least > 1 else "a list"
            raise self.error(f"{self.name} is {_told(self.value)}; expected {wanted}")
        return list(self.value)

    def text(self) -> str:
        """Return a text that is not empty.

        Raises:
            GARVideoError: If it is none. A number has to be put in quotes: ``1e3`` and ``no`` are
                no texts in YAML.
        """
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.error(f"{self.name} is {_told(self.value)}; expected a text")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """Return one text or a list of them."""
        if isinstance(self.value, list):
            return tuple(entry.text() for entry in self.items(1))
        return (self.text(),)

    def number(self, least: float = 0.0, most: float | None = None) -> float:
        """Return a number.

        Raises:
            GARVideoError: If it is none, or out of bounds.
        """
        value = self.value
        fits = isinstance(value, int | float) and not isinstance(value, bool) and value >= least
        if not fits or (most is not None and value > most):
            bound = f"of {least:g} or more" if most is None else f"from {least:g} to {most:g}"
            raise self.error(f"{self.name} is {_told(value)}; expected a number {bound}")
        return float(value)

    def whole(self, least: int = 1) -> int:
        """Return a whole number; raises GARVideoError if it is none or less than ``least``."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < least:
            raise self.error(
                f"{self.name} is {_told(self.value)}; expected a whole number of {least} or more"
            )
        return self.value

    def flag(self) -> bool:
        """Return yes or no; raises GARVideoError if it is neither."""
        if not isinstance(self.value, bool):
            raise self.error(f"{self.name} is {_told(self.value)}; expected true or false")
        return self.value

    def walk(self) -> Iterator[Entry]:
        """Yield this entry and all below it."""
        yield self
        below = self.value.values() if isinstance(self.value, dict) else self.value
        if isinstance(self.value, dict | list):
            for entry in below:
                yield from entry.walk()


def read_yaml(path: str | os.PathLike[str]) -> Entry:
    """Read a YAML file.

    Raises:
        GARVideoError: If it is missing, too large, no UTF-8, no YAML, empty, or names a field
            twice; aliases are refused, since a few of them can stand for gigabytes.
    """
    source = Path(path)
    try:
        if source.stat().st_size > _MOST_BYTES:
            raise GARVideoError(f"{source} is larger than {_MOST_BYTES >> 20} MiB; expected YAML")
        text = source.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise GARVideoError(f"{source} is no text; expected YAML in UTF-8") from None
    except OSError as error:
        raise GARVideoError(f"cannot read {source}: {error.strerror}") from None
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken):
                line = token.start_mark.line + 1
                raise GARVideoError(f"{source}, line {line}: aliases are not taken; write it out")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise GARVideoError(f"{source}, line {line}: no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise GARVideoError(f"{source}: no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise GARVideoError(f"{source} is nested too deeply; expected a list of tasks") from None
    if node is None:
        raise GARVideoError(f"{source} is empty")
    return _entry(node, source, "the file")


def _entry(node: yaml.Node, path: Path, name: str) -> Entry:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        fields: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            at = Entry(key_node.value, path, key_node.start_mark.line + 1, name)
            if not isinstance(key_node, yaml.ScalarNode):
                raise at.error(f"{name} has a field that is no word")
            key = str(key_node.value)
            if key in fields:
                raise at.error(f"{name} has {key!r} twice, also in line {fields[key].line}")
            below = key if name == "the file" else f"{name}.{key}"
            fields[key] = _entry(value_node, path, below)
        return Entry(fields, path, line, name)
    if isinstance(node, yaml.SequenceNode):
        found = [_entry(item, path, f"{name}[{n}]") for n, item in enumerate(node.value, 1)]
        return Entry(found, path, line, name)
    loader = yaml.SafeLoader("")
    try:
        value = loader.construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise Entry(None, path, line, name).error(f"{name} cannot be read: {error}") from None
    finally:
        loader.dispose()
    return Entry(value, path, line, name)


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "nothing" if value is None else repr(value)
