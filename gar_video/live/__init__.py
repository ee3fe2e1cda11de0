"""Words beside a running tracker: the describer, and sources of frames."""

from __future__ import annotations

from gar_video.live.describer import LiveDescriber
from gar_video.live.settings import LiveStats
from gar_video.live.subjects import LiveAnswer

__all__ = ["LiveAnswer", "LiveDescriber", "LiveStats"]
