"""Box arithmetic in decimal, so that what is read, written and read again stays equal.

In binary, ``x + (x2 - x)`` need not be ``x2``, and 1-based 10.1 less one is 9.1 only in decimal.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, InvalidOperation

from gar_video.errors import TracksError

_EXACT = Context(prec=60)


def decimal(value: object) -> Decimal:
    """Return a number from a file (text, int or float) as it is written, in decimal.

    Raises:
        TracksError: If it is no number.
    """
    if not isinstance(value, bool):
        try:
            return Decimal(value.strip() if isinstance(value, str) else repr(value))
        except InvalidOperation:
            pass
    raise TracksError(f"{str(value)!r:.40} is no number")


def xyxy_of_xywh(xywh: Sequence[object], origin: int = 0) -> tuple[float, float, float, float]:
    """Corners of a box given by left, top, width and height.

    Args:
        xywh: Text or numbers, as the file has them.
        origin: What the file calls the first pixel's edge: 0, or 1 where pixels count from 1.

    Raises:
        TracksError: If it is not four numbers.
    """
    if not isinstance(xywh, (list, tuple)) or len(xywh) != 4:
        raise TracksError(f"box {xywh!r:.60}; expected [x, y, width, height]")
    left, top, width, height = (decimal(value) for value in xywh)
    if not all(value.is_finite() for value in (left, top, width, height)):
        return (float("nan"),) * 4
    left, top = _EXACT.subtract(left, origin), _EXACT.subtract(top, origin)
    right, bottom = _EXACT.add(left, width), _EXACT.add(top, height)
    return float(left), float(top), float(right), float(bottom)


def xywh_of_xyxy(xyxy: Sequence[float], origin: int = 0) -> list[str]:
    """Left, top, width and height as decimal text, from which the corners come back exactly."""
    left, top, right, bottom = (Decimal(repr(float(value))) for value in xyxy)
    numbers = (
        _EXACT.add(left, origin),
        _EXACT.add(top, origin),
        _EXACT.subtract(right, left),
        _EXACT.subtract(bottom, top),
    )
    return [_plain(number) for number in numbers]


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
