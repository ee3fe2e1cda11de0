"""Drawn clips with known objects: arrays and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gar_video import Tracks, Video

COLOURS = ((220, 40, 30), (30, 80, 220), (40, 190, 70), (230, 200, 40), (170, 60, 200))


def ground(width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return a textured picture, so that codecs and resizing have something to do."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        128 + 60 * np.sin(x / (13 + 7 * k)) * np.cos(y / (17 - 3 * k)) + ((x * 7 + y * 13) % 23)
        for k in range(3)
    ]
    return np.clip(np.stack(waves, axis=-1), 0, 255).astype(np.uint8)


def box_at(which: int, frame: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Return ``(x_0, y_0, x_1, y_1)`` of an object that goes to and fro."""
    side = height // 6
    span = max(width - side, 1)
    step = (frame * (2 + which % 3) * max(width // 320, 1) + which * width // 7) % (2 * span)
    left = step if step < span else 2 * span - step
    top = (which * height // 5 + which * 3) % max(height - side, 1)
    return left, top, left + side, top + side


def draw(
    back: npt.NDArray[np.uint8], frame: int, num_objects: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return a frame and its objects' masks ``(N, H, W)``; later objects lie on top."""
    height, width = back.shape[:2]
    picture = back.copy()
    owner = np.full((height, width), -1)
    for which in range(num_objects):
        x_0, y_0, x_1, y_1 = box_at(which, frame, width, height)
        picture[y_0:y_1, x_0:x_1] = COLOURS[which % len(COLOURS)]
        owner[y_0:y_1, x_0:x_1] = which
    return picture, owner[None] == np.arange(num_objects)[:, None, None]


def clip(
    num_frames: int, num_objects: int, width: int = 320, height: int = 240
) -> tuple[Video, Tracks]:
    """Return a clip as an array and its objects' tracks, with ids from 1."""
    from gar_video import Tracks, Video

    back = ground(width, height)
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    masks = np.empty((num_objects, num_frames, height, width), bool)
    for frame in range(num_frames):
        frames[frame], masks[:, frame] = draw(back, frame, num_objects)
    return Video(frames), Tracks.from_masks({k + 1: masks[k] for k in range(num_objects)})


def write(
    path: Path,
    num_frames: int,
    *,
    num_objects: int = 1,
    width: int = 1280,
    height: int = 720,
    codec: str = "h264",
    gop: int = 60,
    b_frames: int = 0,
) -> None:
    """Write a clip as a video file.

    Args:
        path: Where to; its suffix names the container.
        num_frames: Length.
        num_objects: Things that move in it.
        width: Width in pixels.
        height: Height in pixels.
        codec: PyAV's name of the encoder.
        gop: Frames from one keyframe to the next.
        b_frames: Frames between references.
    """
    import av

    back = ground(width, height)
    preset = {"preset": "veryfast"} if codec in ("h264", "libx264") else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            codec, rate=30, options={"g": str(gop), "bf": str(b_frames), **preset}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in range(num_frames):
            picture, _ = draw(back, frame, num_objects)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
