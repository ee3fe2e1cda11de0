"""Where tracks come from: SAM 2, any online tracker, a live recorder.

Installed as ``gar_video.trackers``; the top-level import name ``trackers`` stays free for
Roboflow's package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

_HOME = {
    "IouTracker": "gar_video.trackers.iou",
    "MotionDetector": "gar_video.trackers.motion",
    "Sam2Tracker": "gar_video.trackers.sam2",
    "TrackRecorder": "gar_video.trackers.recorder",
    "refine_masks": "gar_video.trackers.refine",
}

__all__ = list(_HOME)

if TYPE_CHECKING:
    from gar_video.trackers.iou import IouTracker as IouTracker
    from gar_video.trackers.motion import MotionDetector as MotionDetector
    from gar_video.trackers.recorder import TrackRecorder as TrackRecorder
    from gar_video.trackers.refine import refine_masks as refine_masks
    from gar_video.trackers.sam2 import Sam2Tracker as Sam2Tracker


def __getattr__(name: str) -> object:
    """Import a tracker's module on first use."""
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'gar_video.trackers' has no attribute {name!r}")
