"""What a scene is made of, as data: things, what changes them, and the camera's shaking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gar_video.synth.appearance import Rgb
from gar_video.synth.motion import Path


@dataclass(frozen=True)
class Resize:
    """A thing that grows or shrinks: its diameter goes linearly to ``scale`` times the first."""

    start_s: float
    end_s: float
    scale: float


@dataclass(frozen=True)
class Recolor:
    """A thing that changes its colour at once."""

    time_s: float
    color: str
    rgb: Rgb


@dataclass(frozen=True)
class SceneObject:
    """One thing of a scene. Lengths are units of the frame's height, times are seconds.

    Attributes:
        object_id: Its id, from 1.
        shape: Name of its shape.
        color: Name of its first colour.
        rgb: The colour drawn.
        size: Name of its size.
        diameter: Longer side of its upright box, at the start.
        angle: How far it is turned, radians.
        path: Where it is over time.
        z: Higher things hide lower ones.
        plan: What it was planned to do; ``truth`` says what can be seen.
        pattern: ``"plain"`` or what is drawn on it.
        pattern_rgb: Second colour of a pattern.
        outline_rgb: Colour of a thin edge, if it has one.
        resize: Growing or shrinking, if any.
        recolor: Change of colour, if any.
        appear_s: It is drawn from here on.
        leave_s: It is drawn until here.
    """

    object_id: int
    shape: str
    color: str
    rgb: Rgb
    size: str
    diameter: float
    angle: float
    path: Path
    z: int
    plan: str = "still"
    pattern: str = "plain"
    pattern_rgb: Rgb = (0, 0, 0)
    outline_rgb: Rgb | None = None
    resize: Resize | None = None
    recolor: Recolor | None = None
    appear_s: float = 0.0
    leave_s: float = float("inf")

    def diameters(self, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the diameter at each time."""
        if self.resize is None:
            return np.full(len(times_s), self.diameter)
        change = self.resize
        done = np.clip((times_s - change.start_s) / (change.end_s - change.start_s), 0.0, 1.0)
        return self.diameter * (1 + done * (change.scale - 1))

    def color_at(self, time_s: float) -> tuple[str, Rgb]:
        """Return name and value of the colour at a time."""
        if self.recolor is not None and time_s >= self.recolor.time_s:
            return self.recolor.color, self.recolor.rgb
        return self.color, self.rgb


@dataclass(frozen=True)
class Shake:
    """Camera jitter: two slow waves an axis.

    Attributes:
        amplitude: Largest offset, units of the frame's height; 0 for a camera that stands.
        rates_hz: Rates of the waves, x then y.
        phases: Their phases, radians.
    """

    amplitude: float = 0.0
    rates_hz: tuple[float, float, float, float] = (1.0, 2.0, 1.0, 2.0)
    phases: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def offsets(self, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return ``(T, 2)`` offsets of everything in the picture."""
        if self.amplitude == 0:
            return np.zeros((len(times_s), 2))
        angle = 2 * np.pi * np.outer(times_s, self.rates_hz) + np.asarray(self.phases)
        waves = np.sin(angle) * 0.5 * self.amplitude
        return np.stack([waves[:, 0] + waves[:, 1], waves[:, 2] + waves[:, 3]], axis=1)
