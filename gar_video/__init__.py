"""gar-video: any tracker's objects in, words about them out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0.dev0"

# Public name -> module that holds it. Loaded on first use, so that `import gar_video` costs
# milliseconds and drags in no torch.
_HOME = {
    "Answer": "gar_video.answer",
    "Choice": "gar_video.answer",
    "Box": "gar_video.visual_prompts",
    "Mask": "gar_video.visual_prompts",
    "Points": "gar_video.visual_prompts",
    "GARConfig": "gar_video.config",
    "GARModel": "gar_video.model",
    "GARVideo": "gar_video.pipeline",
    "LiveAnswer": "gar_video.live",
    "LiveDescriber": "gar_video.live",
    "Timeline": "gar_video.timeline",
    "Track": "gar_video.tracks",
    "Tracks": "gar_video.tracks",
    "Video": "gar_video.video",
    "GARVideoError": "gar_video.errors",
    "VideoError": "gar_video.errors",
    "TracksError": "gar_video.errors",
    "PromptError": "gar_video.errors",
    "CheckpointError": "gar_video.errors",
    "DeviceError": "gar_video.errors",
    "Cancelled": "gar_video.errors",
}

__all__ = [*_HOME, "__version__", "trackers"]

if TYPE_CHECKING:
    from gar_video.answer import Answer as Answer
    from gar_video.answer import Choice as Choice
    from gar_video.config import GARConfig as GARConfig
    from gar_video.errors import Cancelled as Cancelled
    from gar_video.errors import CheckpointError as CheckpointError
    from gar_video.errors import DeviceError as DeviceError
    from gar_video.errors import GARVideoError as GARVideoError
    from gar_video.errors import PromptError as PromptError
    from gar_video.errors import TracksError as TracksError
    from gar_video.errors import VideoError as VideoError
    from gar_video.live import LiveAnswer as LiveAnswer
    from gar_video.live import LiveDescriber as LiveDescriber
    from gar_video.model import GARModel as GARModel
    from gar_video.pipeline import GARVideo as GARVideo
    from gar_video.timeline import Timeline as Timeline
    from gar_video.tracks import Track as Track
    from gar_video.tracks import Tracks as Tracks
    from gar_video.video import Video as Video
    from gar_video.visual_prompts import Box as Box
    from gar_video.visual_prompts import Mask as Mask
    from gar_video.visual_prompts import Points as Points


def __getattr__(name: str) -> object:
    """Import a public name's module on first use."""
    if name == "trackers":
        return importlib.import_module("gar_video.trackers")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'gar_video' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(set(globals()) | set(__all__))
