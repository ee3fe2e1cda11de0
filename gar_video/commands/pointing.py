"""What ``--frame``, ``--object``, ``--box``, ``--point`` and ``--mask`` mean together.

Their order matters, and option parsers collect repeated options each on their own. So the command
class here keeps the order in which they were written; what it means is decided by a plain function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from gar_video.commands.values import parse_box, parse_point, parse_whole
from gar_video.errors import PromptError

if TYPE_CHECKING:
    from gar_video.visual_prompts import VisualPrompt

_KEY = "gar_video.pointing"
_POINTING = ("frame", "object", "box", "point", "mask")

Event = tuple[str, str]


class PointingCommand(TyperCommand):
    """A command that remembers the order of its pointing options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and note the pointing options in the order in which they were written."""
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        waiting = {name: list(values.get(name) or ()) for name in _POINTING}
        ctx.meta[_KEY] = [
            (parameter.name, str(waiting[parameter.name].pop(0)))
            for parameter in order
            if waiting.get(parameter.name)
        ]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


def pointing_events(ctx: Any) -> list[Event]:
    """Return ``(option, value)`` of the pointing options in the order they were written."""
    events: list[Event] = ctx.meta.get(_KEY, [])
    return events


@dataclass
class Pointed:
    """One object on one frame, as pointed at; a mask is still a file's name.

    Attributes:
        object_id: The object.
        frame: 0-based frame.
        boxes: ``(x1, y1, x2, y2)`` each.
        points: ``(x, y, label)`` each.
        masks: Files.
    """

    object_id: int
    frame: int
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    points: list[tuple[float, float, int]] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)


def group_events(events: Sequence[Event]) -> list[Pointed]:
    """Say which object and frame every box, point and mask belongs to.

    Each belongs to the last ``--frame`` before it (frame 0 if there is none) and to the last
    ``--object`` before it. Where there is none, each box, mask and point on an object begins a new
    object, numbered from 1, and a point off the object (``X,Y,0``) belongs to the object before it.
    A ``--frame`` or ``--object`` that is the only one may also stand after all of them.

    Raises:
        PromptError: If a value is malformed, or a ``--frame`` or ``--object`` belongs to nothing.
    """
    frame, object_id, automatic = 0, 0, True
    events = [*_trailing_to_front(events)]
    groups: dict[tuple[int, int], Pointed] = {}
    for name, text in events:
        if name == "frame":
            frame = parse_whole(text, "--frame")
            continue
        if name == "object":
            object_id, automatic = parse_whole(text, "--object"), False
            continue
        point = parse_point(text) if name == "point" else None
        if automatic:
            if point is None or point[2] == 1:
                object_id += 1
            elif object_id == 0:
                raise PromptError(
                    f"--point {text} is off an object, but no object was pointed at before it; "
                    "give a --box or a --point X,Y on the object first"
                )
        group = groups.setdefault((object_id, frame), Pointed(object_id, frame))
        if point is not None:
            group.points.append(point)
        elif name == "box":
            group.boxes.append(parse_box(text))
        else:
            group.masks.append(text)
    return list(groups.values())


def _trailing_to_front(events: Sequence[Event]) -> list[Event]:
    """Move the only ``--frame`` and the only ``--object`` to the front if they stand at the end."""
    names = [name for name, _ in events]
    last = max(
        (at for at, name in enumerate(names) if name in ("box", "point", "mask")), default=-1
    )
    front, kept = [], list(events[: last + 1])
    for name, text in events[last + 1 :]:
        if last < 0:
            raise PromptError(
                f"--{name} {text} belongs to no --box, --point or --mask; give one after it"
            )
        if names.count(name) > 1:
            raise PromptError(
                f"--{name} {text} stands after the last --box, --point and --mask; write each "
                f"--{name} before what it belongs to"
            )
        front.append((name, text))
    return front + kept


def make_prompts(groups: Sequence[Pointed], resolution_wh: tuple[int, int]) -> list[VisualPrompt]:
    """Turn what was pointed at into prompts, reading the mask files.

    Args:
        groups: What was pointed at.
        resolution_wh: The video's size, which masks must have.

    Raises:
        PromptError: If a value cannot be meant or a mask file cannot be read.
    """
    from gar_video.visual_prompts import Box, Mask, Points  # brings numpy: not for --help

    prompts: list[VisualPrompt] = []
    for group in groups:
        prompts += [Box(group.frame, box, group.object_id) for box in group.boxes]
        if group.points:
            labels = [label for *_, label in group.points]
            if not any(labels) and not group.boxes:
                raise PromptError(
                    f"object {group.object_id} has only points off it on frame {group.frame}; "
                    "expected at least one --point X,Y on it, or a --box"
                )
            places = [(x, y) for x, y, _ in group.points]
            prompts.append(Points(group.frame, places, labels, group.object_id))
        prompts += [
            Mask(group.frame, _read_mask(file, resolution_wh), group.object_id)
            for file in group.masks
        ]
    return prompts


def _read_mask(file: str, resolution_wh: tuple[int, int]) -> Any:
    from gar_video.errors import TracksError
    from gar_video.formats.pictures import read_binary

    path = Path(file)
    if not path.is_file():
        what = "is a folder; use --masks for a folder" if path.is_dir() else "does not exist"
        raise PromptError(f"--mask {file} {what}; expected a PNG, its object's pixels not black")
    try:
        mask = read_binary(path, resolution_wh)
    except TracksError as error:
        raise PromptError(f"--mask {file}: {error}") from None
    if not mask.any():
        raise PromptError(f"--mask {file} is empty; expected at least one pixel of the object")
    return mask
