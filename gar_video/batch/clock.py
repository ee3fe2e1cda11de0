"""When and where footage was recorded: camera and wall clock from file names and containers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gar_video.errors import GARVideoError

# 20261121_110240, 2026-11-21T11-02-40, 2026.11.21 11:02:40.5, with Z or +0100 after it.
_STAMP = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)[-._]?(?P<month>\d\d)[-._]?(?P<day>\d\d)"
    r"[T _.-]?(?P<hour>\d\d)[-:._h]?(?P<minute>\d\d)[-:._m]?(?P<second>\d\d)"
    r"(?P<part>[.,]\d{1,6})?(?!\d)(?P<zone>Z|[+]\d\d:?\d\d)?"
)
_EDGES = " -_.,@#"


@dataclass(frozen=True)
class NameSays:
    """What a file's name says.

    Attributes:
        camera: The camera, or None.
        start: When recording began, with its zone, or None.
    """

    camera: str | None = None
    start: datetime | None = None


def zone_named(name: str) -> tzinfo:
    """Return a time zone by its name: ``"Europe/Berlin"``, ``"UTC"``, ``"+05:30"``.

    Raises:
        GARVideoError: If there is none.
    """
    if match := re.fullmatch(r"([+-])(\d\d):?(\d\d)", name):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if offset < timedelta(hours=24) and int(match[3]) < 60:
            return timezone(-offset if match[1] == "-" else offset)
    if name.upper() in ("UTC", "Z"):
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise GARVideoError(
            f"there is no time zone {name!r}; expected a name such as Europe/Berlin or +05:30"
        ) from None


def read_time(text: str, zone: tzinfo) -> datetime:
    """Read an ISO 8601 time, or seconds since 1970; without a zone it is in ``zone``.

    Raises:
        GARVideoError: If it is neither.
    """
    text = text.strip()
    if re.fullmatch(r"\d{9,11}(\.\d+)?", text):
        return datetime.fromtimestamp(float(text), timezone.utc)
    try:
        found = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    except ValueError:
        raise GARVideoError(
            f"{text!r} is no time; expected ISO 8601, such as 2026-11-21T11:02:40+01:00"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


def from_name(path: Path, zone: tzinfo, pattern: str | None = None) -> NameSays:
    """Read camera and start off a file's name.

    Args:
        path: The file.
        zone: Zone of times that name none.
        pattern: How names are made, with ``{camera}`` and ``{start:%Y%m%d_%H%M%S}``; by default a
            time is looked for anywhere in the name and the rest is the camera's name, or else the
            folder is.

    Raises:
        GARVideoError: If the pattern cannot be meant.
    """
    if pattern is not None:
        return _by_pattern(path, zone, pattern)
    stem = path.name.removesuffix(path.suffix) if path.suffix else path.name
    for match in _STAMP.finditer(stem):
        start = _stamped(match, zone)
        if start is None:
            continue
        rest = (stem[: match.start()] + " " + stem[match.end() :]).strip(_EDGES)
        return NameSays(rest or path.parent.name or None, start)
    return NameSays(path.parent.name or None, None)


def _stamped(match: re.Match[str], zone: tzinfo) -> datetime | None:
    parts = ("year", "month", "day", "hour", "minute", "second")
    fraction = float((match["part"] or ".0").replace(",", "."))
    try:
        at = datetime(*(int(match[part]) for part in parts), tzinfo=zone)  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    if match["zone"]:
        at = at.replace(tzinfo=zone_named(match["zone"]))
    return at + timedelta(seconds=fraction)


def _by_pattern(path: Path, zone: tzinfo, pattern: str) -> NameSays:
    expression, stamp = _expression(pattern)
    match = expression.fullmatch(path.name.removesuffix(path.suffix))
    if match is None:
        return NameSays(path.parent.name or None, None)
    found = match.groupdict()
    start = None
    if stamp is not None:
        try:
            start = datetime.strptime(found["start"], stamp)
        except ValueError:
            return NameSays(found.get("camera") or path.parent.name or None, None)
        start = start if start.tzinfo is not None else start.replace(tzinfo=zone)
    return NameSays(found.get("camera") or path.parent.name or None, start)


def _expression(pattern: str) -> tuple[re.Pattern[str], str | None]:
    """Turn a pattern of names into a regular expression, and say how its time is written."""
    stamp, pieces, seen = None, [], set()
    for literal, field in re.findall(r"([^{}]*)(?:\{([^{}]*)\})?", pattern):
        pieces.append(re.escape(literal))
        if not field:
            continue
        name, _, form = field.partition(":")
        if name not in ("camera", "start", "any") or (name in seen and name != "any"):
            raise GARVideoError(
                f"the pattern {pattern!r} has the field {{{field}}}; expected {{camera}}, "
                "{start:%Y%m%d_%H%M%S} and {any}"
            )
        if name == "start":
            if "%" not in form:
                raise GARVideoError(
                    f"{{start}} in the pattern {pattern!r} lacks its form; expected such as "
                    "{start:%Y%m%d_%H%M%S}"
                )
            stamp = form
        seen.add(name)
        pieces.append(".*" if name == "any" else f"(?P<{name}>.+?)")
    if "{" in re.sub(r"\{[^{}]*\}", "", pattern) or not seen & {"camera", "start"}:
        raise GARVideoError(
            f"the pattern {pattern!r} names nothing; expected {{camera}} or {{start:…}} in it"
        )
    return re.compile("".join(pieces)), stamp
