"""Reading benchmark files: which item, which field, in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gar_video.bench.case import Case, Option, Regions
from gar_video.errors import GARVideoError
from gar_video.prompt import LETTERS, ObjectMention, QuestionPart

_LETTERED = re.compile(r"\s*(?:\(([A-Za-z])\)|([A-Za-z])[.):](?=\s|$))\s*")


def find_file(data: Path, given: Path | None, names: Sequence[str]) -> Path:
    """Return the benchmark's file: the given one, or the first of its usual names in ``data``.

    Raises:
        GARVideoError: If there is none.
    """
    if given is not None:
        for path in (given, data / given):
            if path.is_file():
                return path
        raise GARVideoError(f"no file {given}; expected the benchmark's questions (--questions)")
    if not data.is_dir():
        raise GARVideoError(f"no folder {data}; expected the benchmark's data (--data)")
    for name in names:
        if (data / name).is_file():
            return data / name
    raise GARVideoError(f"no {' or '.join(names)} in {data}; name the file with --questions")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        GARVideoError: If it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GARVideoError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise GARVideoError(f"{path} is not valid JSON: {error}") from None


class Item:
    """One entry of a benchmark file, which knows where it stands when something is wrong.

    Args:
        path: The file.
        index: Its place in it, from 0.
        fields: What it holds.
    """

    def __init__(self, path: Path, index: int, fields: Any) -> None:
        self.path, self.index = path, index
        if not isinstance(fields, dict):
            raise self.wrong("", f"is a {type(fields).__name__}; expected fields by name")
        self.fields: dict[str, Any] = fields

    def wrong(self, name: str, problem: str) -> GARVideoError:
        """Return the error that says where a problem is."""
        where = f"{self.path.name}, item {self.index}"
        own = getattr(self, "fields", {}).get("id")
        where += f" (id {own})" if own is not None else ""
        return GARVideoError(f"{where}: {name + ' ' if name else ''}{problem}")

    def text(self, name: str, default: str | None = None) -> str:
        """Return a field of text; numbers are taken as text.

        Raises:
            GARVideoError: If it is missing or empty.
        """
        value = self.fields.get(name, default)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            problem = "is missing" if name not in self.fields else f"is {_short(value)}"
            raise self.wrong(name, f"{problem}; expected some text")
        return value

    def frame(self, name: str, default: int | None = None) -> int:
        """Return a frame index, published as a number or as text.

        Raises:
            GARVideoError: If it is missing or no index.
        """
        value = self.fields.get(name, default)
        index = as_frame(value)
        if index is None:
            problem = "is missing" if name not in self.fields else f"is {_short(value)}"
            raise self.wrong(name, f"{problem}; expected a frame index")
        return index

    def items(self, name: str) -> list[Any]:
        """Return a field that is a list with something in it.

        Raises:
            GARVideoError: If it is not.
        """
        value = self.fields.get(name)
        if not isinstance(value, list) or not value:
            problem = "is missing" if name not in self.fields else f"is {_short(value)}"
            raise self.wrong(name, f"{problem}; expected a list")
        return value


def as_frame(value: Any) -> int | None:
    """Return a frame index given as a number or text; None if it is neither."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return None


def read_items(path: Path) -> list[Item]:
    """Read a file that is a list of items.

    Raises:
        GARVideoError: If it is not.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise GARVideoError(f"{path} holds {_short(entries)}; expected a list of items")
    return [Item(path, index, entry) for index, entry in enumerate(entries)]


def load_items(
    data: Path, questions: Path | None, names: Sequence[str], read: Callable[[Item], Case]
) -> list[Case]:
    """Read a file of items, each into a case.

    Args:
        data: Folder that the media's paths are relative to.
        questions: The JSON file; by its usual name in ``data`` if None.
        names: Its usual names.
        read: Reads one item.

    Raises:
        GARVideoError: If an item is malformed; the message says which, and which field.
    """
    path = find_file(data, questions, names)
    cases = [read(item) for item in read_items(path)]
    check_keys(cases, path)
    return cases


def check_keys(cases: Sequence[Case], path: Path) -> None:
    """Raise GARVideoError if two cases have one key."""
    first: dict[str, int] = {}
    for case in cases:
        if case.key in first:
            raise GARVideoError(
                f"{path.name}: items {first[case.key]} and {case.index} both have the id "
                f"{case.key}; expected each once"
            )
        first[case.key] = case.index


def split_letter(text: str) -> tuple[str | None, str]:
    """Split ``"(A) words"``, ``"A. words"`` or ``"A) words"`` into letter and words."""
    match = _LETTERED.match(text)
    if match is None:
        return None, text.strip()
    return (match.group(1) or match.group(2)).upper(), text[match.end() :].strip()


def option_texts(item: Item, name: str) -> list[str]:
    """Return the options as published.

    Raises:
        GARVideoError: If they are not two or more texts.
    """
    given = item.items(name)
    texts = all(isinstance(one, str) and one.strip() for one in given)
    if not 2 <= len(given) <= len(LETTERS) or not texts:
        raise item.wrong(name, f"are {_short(given)}; expected 2 to {len(LETTERS)} texts")
    return list(given)


def as_options(item: Item, name: str, parts_of: Sequence[list[QuestionPart]]) -> tuple[Option, ...]:
    """Tell options' letters from their words; those without letters are lettered in order.

    Args:
        item: The item.
        name: The field.
        parts_of: Each option's words and mentions.

    Raises:
        GARVideoError: If a letter stands twice.
    """
    options = []
    for parts in parts_of:
        head = parts[0] if parts and isinstance(parts[0], str) else ""
        letter, words = split_letter(head)
        rest = parts[1:] if head else parts
        # White space before a mention belongs to the words; only the letter is cut off.
        options.append((letter, [*([words + head[len(head.rstrip()) :]] if words else []), *rest]))
    letters = [letter for letter, _ in options]
    if None in letters:
        # A text such as "A. Smith" among plain ones has no option's letter.
        return tuple(Option(LETTERS[place], tuple(parts)) for place, parts in enumerate(parts_of))
    if len(set(letters)) != len(letters):
        raise item.wrong(
            name, f"have the letters {', '.join(map(str, letters))}; expected each once"
        )
    return tuple(Option(str(letter), tuple(words)) for letter, words in options)


def answer_letter(item: Item, name: str, options: Sequence[Option], texts: Sequence[str]) -> str:
    """Return the letter of the right option, published as letter, text or both.

    Raises:
        GARVideoError: If no option is the answer.
    """
    answer = item.text(name)
    letters = [option.letter for option in options]
    letter, _ = split_letter(answer)
    if letter is None and len(answer.strip(" .")) == 1:
        letter = answer.strip(" .").upper()
    if letter in letters:
        return str(letter)
    plain = [split_letter(text)[1].lower() for text in texts]
    if answer.strip().lower() in plain:
        return letters[plain.index(answer.strip().lower())]
    raise item.wrong(name, f"is {_short(answer)}, none of the options {', '.join(letters)}")


def read_regions(item: Item, name: str, entry: Any, place: int) -> Regions:
    """Read one object's masks by frame.

    Raises:
        GARVideoError: If frames or masks are malformed.
    """
    where = f"{name}[{place}]"
    if not isinstance(entry, dict):
        raise item.wrong(where, f"is {_short(entry)}; expected frames with their masks")
    regions: dict[int, Any] = {}
    for text, holder in entry.items():
        frame = as_frame(text)
        if frame is None:
            raise item.wrong(where, f"has a frame {text!r}; expected an index")
        held = isinstance(holder, dict) and "segmentation" in holder
        if not held and holder is not None:
            raise item.wrong(
                where, f"frame {text} is {_short(holder)}; expected {{'segmentation': …}} or null"
            )
        regions[frame] = check_segmentation(
            item, f"{where} frame {text}", holder["segmentation"] if held else None
        )
    return regions


def check_segmentation(item: Item, where: str, value: Any) -> Any:
    """Return a mask in any of COCO's forms, or None for no visible pixel.

    Raises:
        GARVideoError: If it is of no such form. Its pixels are read when it is drawn.
    """
    if value is None or value == []:
        return None
    rle = isinstance(value, dict) and "counts" in value and "size" in value
    if not rle and not isinstance(value, list):
        raise item.wrong(where, f"is {_short(value)}; expected an RLE, polygons or null")
    return value


def bind(
    pattern: re.Pattern[str], texts: Iterable[str], *, most: int | None = None
) -> tuple[list[list[QuestionPart]], int]:
    """Turn a benchmark's object tags into mentions, bound in order of first mention.

    Args:
        pattern: Matches a tag; its first group names the object, or is empty for a new one.
        texts: Texts in reading order.
        most: How many objects there are; tags beyond stay words. None for no limit.

    Returns:
        The texts as words and mentions of 1, 2, …, and how many different objects were named.
    """
    bound: dict[str, int] = {}
    parts_of = []
    for text in texts:
        parts: list[QuestionPart] = []
        end = 0
        for match in pattern.finditer(text):
            name = match.group(1) or f"unnamed {len(bound)}"
            number = bound.setdefault(name, len(bound) + 1)
            parts += [text[end : match.start()]] if match.start() > end else []
            known = most is None or number <= most
            parts.append(ObjectMention(number) if known else match.group().strip("[]"))
            end = match.end()
        parts += [text[end:]] if text[end:] else []
        parts_of.append(parts)
    return parts_of, len(bound)


def safe_media(item: Item, name: str) -> str:
    """Return a path inside the data folder.

    Raises:
        GARVideoError: If it is absolute or leads out of it.
    """
    media = item.text(name)
    path = Path(media)
    if path.is_absolute() or ".." in path.parts:
        raise item.wrong(name, f"is {_short(media)}; expected a path inside the data folder")
    return media


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
