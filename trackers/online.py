"""Online trackers and detectors by name: built in, installed beside us, or anybody's plug-in.

A tracker is anything with ``update(sv.Detections) -> sv.Detections``; a detector is called with a
frame and gives detections in any form that ``Tracks.from_results`` reads. Packages register their
own under the entry-point groups ``gar_video.trackers`` and ``gar_video.detectors``. Nothing of
another package is imported before somebody asks for it by name.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from gar_video.errors import TracksError

if TYPE_CHECKING:
    import supervision as sv

Kind = Literal["tracker", "detector"]
GROUPS: dict[Kind, str] = {"tracker": "gar_video.trackers", "detector": "gar_video.detectors"}

# Names in Roboflow's package `trackers`, and whether they look at the frame as well.
_ROBOFLOW = {
    "bytetrack": ("ByteTrackTracker", False),
    "sort": ("SORTTracker", False),
    "ocsort": ("OCSORTTracker", False),
    "botsort": ("BoTSORTTracker", True),
}
# Seen, not imported: their licence (AGPL) is their users' choice.
_OTHERS = {
    "ultralytics": "detector: --detector 'ultralytics:YOLO(yolo11n.pt)'; AGPL-3.0",
    "boxmot": "its arrays are read by LiveDescriber and Tracks.from_results; AGPL-3.0",
}
_WANT_BGR = ("ultralytics", "boxmot")
_SPEC = re.compile(r"^([A-Za-z_][\w.]*):([A-Za-z_]\w*)(?:\((.*)\))?$")


class OnlineTracker(Protocol):
    """What counts as a tracker."""

    def update(self, detections: sv.Detections) -> sv.Detections:
        """Return one frame's detections with ``tracker_id``."""


@dataclass(frozen=True)
class Part:
    """A tracker or detector that was found.

    Attributes:
        name: What it is asked for by; empty if it can only be seen here.
        kind: ``"tracker"`` or ``"detector"``.
        origin: Where it comes from.
        note: What to know about it.
    """

    name: str
    kind: Kind
    origin: str
    note: str = ""


def found_parts() -> list[Part]:
    """Return what can be had here; importing none of it."""
    parts = [
        Part("iou", "tracker", "built in", "overlap and speed alone"),
        Part("motion", "detector", "built in", "what moves before a camera that stands still"),
    ]
    if _is_roboflow():
        origin = f"trackers {_version('trackers')} (Roboflow)"
        parts += [Part(name, "tracker", origin) for name in _ROBOFLOW]
    for kind, group in GROUPS.items():
        for point in entry_points(group=group):
            package = point.dist.name if point.dist is not None else "?"
            parts.append(Part(point.name, kind, f"entry point of {package}", point.value))
    for package, note in _OTHERS.items():
        if find_spec(package) is not None:
            parts.append(Part("", "detector", f"{package} {_version(package)}", note))
    return parts


def make_tracker(name: str, frame_rate: float = 30.0) -> Callable[..., sv.Detections]:
    """Make a tracker by name.

    Args:
        name: A name that ``found_parts`` lists, or ``MODULE:NAME``.
        frame_rate: Frames per second, for trackers that ask for it.

    Returns:
        A function of (detections, frame) that gives detections with ``tracker_id``.

    Raises:
        TracksError: If there is no such tracker or it cannot be made.
    """
    wants_frame = False
    if name == "iou":
        from gar_video.trackers.iou import IouTracker

        tracker: Any = IouTracker()
    elif name in _ROBOFLOW and _is_roboflow():
        attribute, wants_frame = _ROBOFLOW[name]
        tracker = _made(getattr(importlib.import_module("trackers"), attribute), name, frame_rate)
    else:
        tracker = _made(_plugged(name, "tracker"), name, frame_rate)
    if not callable(getattr(tracker, "update", None)):
        raise TracksError(f"tracker {name} has no update(detections); expected one that does")

    def update(detections: sv.Detections, frame: npt.NDArray[np.uint8]) -> sv.Detections:
        return tracker.update(detections, frame) if wants_frame else tracker.update(detections)

    return update


def make_detector(name: str) -> Callable[[npt.NDArray[np.uint8]], sv.Detections]:
    """Make a detector by name.

    Args:
        name: A name that ``found_parts`` lists, or ``MODULE:NAME`` or ``MODULE:NAME(ARGUMENT)``,
            where the argument is text, such as a file of weights.

    Returns:
        A function of a frame ``(H, W, 3)`` uint8 RGB that gives detections. Ultralytics' and
        BoxMOT's models are given BGR, which they expect.

    Raises:
        TracksError: If there is no such detector or it cannot be made.
    """
    from gar_video.live.reading import as_detections

    if name == "motion":
        from gar_video.trackers.motion import MotionDetector

        return MotionDetector()
    detector = _made(_plugged(name, "detector"), name, None)
    if not callable(detector):
        raise TracksError(f"detector {name} cannot be called with a frame; expected one that can")
    bgr = type(detector).__module__.split(".")[0] in _WANT_BGR

    def detect(frame: npt.NDArray[np.uint8]) -> sv.Detections:
        return as_detections(detector(np.ascontiguousarray(frame[..., ::-1]) if bgr else frame))

    return detect


def _plugged(name: str, kind: Kind) -> Callable[..., Any]:
    """Return the factory behind an entry point or ``MODULE:NAME``."""
    points = {point.name: point for point in entry_points(group=GROUPS[kind])}
    if name in points:
        try:
            return points[name].load()
        except (ImportError, AttributeError) as error:
            raise TracksError(
                f"{kind} {name} cannot be loaded: {error}; mend its package"
            ) from None
    spec = _SPEC.match(name)
    if spec is None:
        known = ", ".join(part.name for part in found_parts() if part.kind == kind and part.name)
        raise TracksError(
            f"there is no {kind} {name!r}; known here: {known}; or give MODULE:NAME "
            "(gar-video trackers lists them)"
        )
    module, attribute, argument = spec.groups()
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise TracksError(f"{kind} {name}: {error}; install it first") from None
    except AttributeError:
        raise TracksError(f"{kind} {name}: module {module} has no {attribute}") from None
    if argument is None:
        return factory
    return lambda: factory(argument.strip("'\""))


def _made(factory: Callable[..., Any], name: str, frame_rate: float | None) -> Any:
    try:
        takes_rate = "frame_rate" in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        takes_rate = False
    try:
        return factory(frame_rate=frame_rate) if takes_rate and frame_rate else factory()
    except Exception as error:  # whatever somebody else's code raises
        text = " ".join(str(error).split()) or type(error).__name__
        raise TracksError(f"{name} cannot be made: {text}") from error


def _is_roboflow() -> bool:
    """Whether the import name ``trackers`` is Roboflow's package, not a folder of that name."""
    try:
        version("trackers")
        return find_spec("trackers.core") is not None
    except (PackageNotFoundError, ImportError, ValueError):
        return False


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
