"""The child process that decodes: ``python -m gar_video.server.decoding_child FD LIMITS``."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from gar_video.errors import GARVideoError, VideoError
from gar_video.video import Video

_OPENED = 2  # files that a child keeps open


class TooLargeError(VideoError):
    """A file has more frames, pixels or seconds than are allowed."""


@dataclass(frozen=True)
class DecodingLimits:
    """What decoding may cost; see ``settings.Limits``."""

    frames: int
    pixels: int
    duration_s: float
    memory: int
    open_s: float
    frame_s: float


def work(pipe: Connection, limits: DecodingLimits) -> None:
    """Open files and hand out frames until the other end is closed."""
    if sys.platform != "win32":
        import resource
        import signal

        resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Stopping is the parent's business, also where signals go to the whole group.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    from PIL import Image as Pillow

    Pillow.MAX_IMAGE_PIXELS = None  # checked by our own limit, before anything is decoded
    opened: dict[str, Video] = {}
    while True:
        try:
            asked = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        with contextlib.suppress(BrokenPipeError):
            try:
                _reply(pipe, asked, opened, limits)
            except Exception as error:
                opened.pop(asked["path"], None)
                kind = "too_large" if isinstance(error, TooLargeError) else "error"
                pipe.send_bytes(json.dumps({kind: _said(error)}).encode())


def _reply(
    pipe: Connection, asked: dict[str, Any], opened: dict[str, Video], limits: DecodingLimits
) -> None:
    path = asked["path"]
    video = opened.pop(path, None) or _open(Path(path), limits)
    opened[path] = video  # the last one used stands last
    while len(opened) > _OPENED:
        opened.pop(next(iter(opened))).close()
    if "frames" not in asked:
        facts = {
            "name": video.name, "is_image": video.is_image, "fps": str(video.fps),
            "resolution_wh": video.resolution_wh, "duration_s": video.duration_s,
        }  # fmt: skip
        pipe.send_bytes(json.dumps({"facts": facts}).encode())
        pipe.send_bytes(np.asarray(video.times_s, dtype="<f8").tobytes())
        return
    for index in asked["frames"]:
        image = video[index]
        pipe.send_bytes(json.dumps({"frame": image.shape}).encode())
        pipe.send_bytes(image.tobytes())


def _open(path: Path, limits: DecodingLimits) -> Video:
    from gar_video.decoding import containers, pictures

    containers.check_file(path)
    size = _picture_size(path)
    if size is not None:
        _check_pixels(*size, limits)
    if size is None or not pictures.is_picture(path):
        container, stream = containers.open_container(path)
        with container:
            _check_pixels(stream.width, stream.height, limits)
            # Packets are not decoded here; a file that claims frames it has not costs nothing.
    video = Video(path)
    _check_pixels(*video.resolution_wh, limits)
    if len(video) > limits.frames:
        raise TooLargeError(f"{len(video)} frames; expected at most {limits.frames}: cut the video")
    if video.duration_s > limits.duration_s:
        raise TooLargeError(
            f"{video.duration_s:.0f} s long; expected at most {limits.duration_s:.0f} s: cut it"
        )
    return video


def _picture_size(path: Path) -> tuple[int, int] | None:
    """Return what a picture's header claims, decoding nothing; None if it is no picture."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as picture:
            return picture.size
    except Exception:  # Pillow's readers raise whatever comes to their minds
        return None


def _check_pixels(width: int, height: int, limits: DecodingLimits) -> None:
    if width * height > limits.pixels:
        raise TooLargeError(
            f"{width}x{height} pixels; expected at most {limits.pixels} in all: scale it down"
        )


def _said(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "decoding it takes more memory than allowed"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, GARVideoError) else f"it cannot be decoded ({text[:120]})"


if __name__ == "__main__":
    work(Connection(int(sys.argv[1])), DecodingLimits(**json.loads(sys.argv[2])))
