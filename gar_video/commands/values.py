"""Values as users type them on a command line: boxes, points, times, lists of numbers."""

from __future__ import annotations

import re

from gar_video.errors import PromptError

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_TIME_HELP = (
    "expected START:END in seconds (3:9.5), or START-END with seconds, MM:SS or HH:MM:SS on either "
    "side (0:03-0:09.5)"
)


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Read ``X1,Y1,X2,Y2``.

    Raises:
        PromptError: If there are not four numbers.
    """
    values = _numbers(text, "--box", "X1,Y1,X2,Y2 in pixels, such as 10,20,110,220")
    if len(values) != 4:
        raise PromptError(
            f"--box {text} has {len(values)} values; expected X1,Y1,X2,Y2 in pixels, such as "
            "10,20,110,220"
        )
    x1, y1, x2, y2 = values
    return x1, y1, x2, y2


def parse_point(text: str) -> tuple[float, float, int]:
    """Read ``X,Y`` (on the object) or ``X,Y,0`` (off it) as ``(x, y, label)``.

    Raises:
        PromptError: If there are not two numbers and perhaps a label.
    """
    expected = "X,Y in pixels, or X,Y,0 for a point that is not on the object"
    values = _numbers(text, "--point", expected)
    if len(values) not in (2, 3):
        raise PromptError(f"--point {text} has {len(values)} values; expected {expected}")
    label = 1.0 if len(values) == 2 else values[2]
    if label not in (0.0, 1.0):
        raise PromptError(
            f"--point {text} ends in {label:g}; expected 1 (on the object) or 0 (off)"
        )
    return values[0], values[1], int(label)


def parse_whole(text: str, option: str) -> int:
    """Read a whole number of 0 or more, given to ``option``.

    Raises:
        PromptError: If it is none.
    """
    if not re.fullmatch(r"[0-9]{1,18}", text.strip()):
        raise PromptError(f"{option} {text}; expected a whole number, 0 or more")
    return int(text)


def parse_whole_list(text: str, option: str) -> list[int]:
    """Read whole numbers between commas, given to ``option``.

    Raises:
        PromptError: If one of them is none.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,18}", part) for part in parts):
        raise PromptError(f"{option} {text}; expected whole numbers between commas, such as 0,5,9")
    return [int(part) for part in parts]


def parse_time(text: str) -> tuple[float, float | None]:
    """Read a time window as ``(start_s, end_s)``; ``end_s`` is None for "to the end".

    With ``-`` or ``..`` between start and end, either side is seconds, ``MM:SS`` or ``HH:MM:SS``
    and may be left out. With colons alone, two numbers are seconds (``3:9.5``), four are two times
    of ``MM:SS`` and six are two of ``HH:MM:SS``; three or five could mean several things and are
    refused.

    Raises:
        PromptError: If the text means no window, or one that is empty or reversed.
    """
    plain = text.strip().replace("–", "-")
    separator = ".." if ".." in plain else "-"
    if separator in plain:
        sides = plain.split(separator)
        if len(sides) != 2 or not any(sides) or (separator == "-" and not sides[0]):
            raise PromptError(f"--time {text}; {_TIME_HELP}")
        first, last = sides[0].strip(), sides[1].strip()
    else:
        parts = plain.split(":")
        if len(parts) not in (2, 4, 6):
            raise PromptError(
                f"--time {text} has {len(parts)} number{'s' * (len(parts) > 1)} between colons, "
                f"which could mean several times; {_TIME_HELP}"
            )
        half = len(parts) // 2
        first, last = ":".join(parts[:half]), ":".join(parts[half:])
        if not any(parts):
            raise PromptError(f"--time {text}; {_TIME_HELP}")
    start = _clock(first, text) if first else 0.0
    end = _clock(last, text) if last else None
    if end is not None and end <= start:
        raise PromptError(
            f"--time {text} was read as {start:g} s to {end:g} s, which is empty or reversed; "
            f"{_TIME_HELP}"
        )
    return start, end


def _clock(text: str, whole: str) -> float:
    """Read seconds, ``MM:SS`` or ``HH:MM:SS``."""
    parts = [part.strip() for part in text.split(":")]
    fine = (
        len(parts) <= 3
        and all(part.isascii() and part.isdigit() for part in parts[:-1])
        and _SECONDS.fullmatch(parts[-1]) is not None
    )
    if not fine:
        raise PromptError(f"--time {whole}: {text!r} is no time; {_TIME_HELP}")
    numbers = [float(part) for part in parts]
    if any(number >= 60 for number in numbers[1:]):
        raise PromptError(
            f"--time {whole}: {text!r} has 60 or more in minutes or seconds; {_TIME_HELP}"
        )
    seconds = 0.0
    for number in numbers:
        seconds = seconds * 60 + number
    return seconds


def _numbers(text: str, option: str, expected: str) -> list[float]:
    values = []
    for part in text.split(","):
        try:
            values.append(float(part))
        except ValueError:
            raise PromptError(
                f"{option} {text}: {part.strip()!r} is no number; expected {expected}"
            ) from None
    return values
