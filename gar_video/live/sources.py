"""Where frames come from: files at their own pace, cameras, network streams, or the user."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.errors import VideoError
from gar_video.video import Video

_log = logging.getLogger("gar_video.live")
_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp")
_TIMEOUT_MS = 10_000


class LiveFrame(NamedTuple):
    """A frame of a stream.

    Attributes:
        number: Its number, from 0.
        time_s: Seconds since the first; never falls.
        image: ``(H, W, 3)`` uint8 RGB.
    """

    number: int
    time_s: float
    image: npt.NDArray[np.uint8]


class FrameSource(Protocol):
    """What is iterated over for frames, and closed at the end."""

    fps: float

    def __iter__(self) -> Iterator[LiveFrame]:
        """Yield frames until the source ends."""

    def close(self) -> None:
        """Let go of the source."""


def open_source(source: str | int | Path, *, pace: bool = True, retries: int = 8) -> FrameSource:
    """Open a source of frames.

    Args:
        source: A file, a camera's number (also as text), or an address such as
            ``rtsp://HOST/PATH``.
        pace: Give a file's frames at their own times, as a camera would.
        retries: How often in a row a camera or stream that was lost is sought again.

    Raises:
        VideoError: If it cannot be opened.
    """
    if isinstance(source, int) or (isinstance(source, str) and source.isdecimal()):
        return CaptureSource(int(source), retries=retries)
    scheme = re.match(r"^([A-Za-z][\w+.-]*)://", str(source))
    if scheme is None:
        return FileSource(Video(source), pace=pace)
    if scheme[1].lower() not in _SCHEMES:
        raise VideoError(f"{shown(str(source))}: expected one of {', '.join(_SCHEMES)}")
    return CaptureSource(str(source), retries=retries)


def shown(address: str | int) -> str:
    """Return an address fit to be shown: without its password."""
    if isinstance(address, int):
        return f"camera {address}"
    return re.sub(r"(?<=://)[^/@]*@", "***@", address)


class FileSource:
    """A video file's frames, at most as fast as they were taken.

    Args:
        video: The video.
        pace: Wait for each frame's time.
    """

    def __init__(self, video: Video, *, pace: bool = True) -> None:
        self.video, self.pace = video, pace
        self.fps = float(video.fps)

    def __iter__(self) -> Iterator[LiveFrame]:
        """Yield the frames in order."""
        began = time.monotonic()
        for index, image in enumerate(self.video):
            time_s = float(self.video.times_s[index])
            ahead = began + time_s - time.monotonic()
            if self.pace and ahead > 0:
                time.sleep(ahead)
            yield LiveFrame(index, time_s, image)

    def close(self) -> None:
        """Close the file."""
        self.video.close()


class CaptureSource:
    """A camera or network stream, read by OpenCV and sought again when it is lost.

    Between attempts it waits half a second, then twice as long each time, at most half a minute.
    Times are seconds since the first frame by this machine's clock, so that they go on rising.

    Args:
        address: A camera's number, or an address.
        retries: Attempts in a row after which it is given up; the first opening has none.
        open_capture: Opens it; OpenCV by default.
        sleep: Waits some seconds.

    Raises:
        VideoError: If it cannot be opened.
    """

    def __init__(
        self,
        address: str | int,
        *,
        retries: int = 8,
        open_capture: Callable[[str | int], Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._address, self._retries = address, retries
        self._open = open_capture or _open_capture
        self._sleep = sleep
        self._capture: Any = self._open(address)
        if not self._capture.isOpened():
            self._capture.release()
            raise VideoError(f"cannot open {shown(address)}; check that it is there and free")
        fps = float(self._capture.get(cv2.CAP_PROP_FPS) or 0.0)
        self.fps = fps if 1 <= fps <= 240 else 30.0
        self.reconnections = 0

    def __iter__(self) -> Iterator[LiveFrame]:
        """Yield frames until ``close``, or until the source is given up.

        Raises:
            VideoError: If it was lost and cannot be found again.
        """
        began: float | None = None
        index = failures = 0
        while self._capture is not None:
            there, picture = self._capture.read()
            if not there or picture is None:
                failures += 1
                self._seek_again(failures)
                continue
            if failures:
                self.reconnections, failures = self.reconnections + 1, 0
                _log.warning("%s is back", shown(self._address))
            now = time.monotonic()
            began = now if began is None else began
            image = np.ascontiguousarray(_as_bgr(picture)[..., ::-1])
            yield LiveFrame(index, now - began, image)
            index += 1

    def _seek_again(self, failures: int) -> None:
        self._capture.release()
        if failures > self._retries:
            raise VideoError(
                f"{shown(self._address)} was lost and did not come back in {self._retries} "
                "attempts; check it and start again"
            )
        wait_s = min(0.5 * 2 ** (failures - 1), 30.0)
        _log.warning("%s is lost; trying again in %g s", shown(self._address), wait_s)
        self._sleep(wait_s)
        self._capture = self._open(self._address)

    def close(self) -> None:
        """Let go of the camera or stream."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()


def _open_capture(address: str | int) -> Any:
    if isinstance(address, int):
        return cv2.VideoCapture(address)
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
    settings = [value for timeout in timeouts for value in (timeout, _TIMEOUT_MS)]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, settings)


def _as_bgr(picture: Any) -> npt.NDArray[np.uint8]:
    """Bring gray cameras' pictures to three channels."""
    if picture.ndim == 2 or picture.shape[2] == 1:
        return np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)
    return picture[..., :3]


class PushSource:
    """Frames that somebody else pushes, from any thread; the newest win.

    Args:
        queue: Frames that may wait.
        fps: About how many come in a second.

    Attributes:
        dropped: Frames pushed out by newer ones.
    """

    def __init__(self, queue: int = 2, fps: float = 30.0) -> None:
        self.fps, self.dropped = fps, 0
        self._frames: deque[LiveFrame] = deque()
        self._queue = max(1, queue)
        self._news = threading.Condition()
        self._closed = False
        self._count = 0
        self._began: float | None = None

    def push(self, image: npt.NDArray[np.uint8], time_s: float | None = None) -> None:
        """Give a frame.

        Args:
            image: ``(H, W, 3)`` uint8 RGB; copied.
            time_s: Its time in seconds; the time since the first frame by default.

        Raises:
            VideoError: If the source is closed.
        """
        with self._news:
            if self._closed:
                raise VideoError("frames are pushed after close; expected none")
            now = time.monotonic()
            self._began = now if self._began is None else self._began
            at = now - self._began if time_s is None else float(time_s)
            self._frames.append(LiveFrame(self._count, at, np.array(image)))
            self._count += 1
            if len(self._frames) > self._queue:
                self._frames.popleft()
                self.dropped += 1
            self._news.notify()

    def __iter__(self) -> Iterator[LiveFrame]:
        """Yield frames as they come, until ``close``."""
        while True:
            with self._news:
                while not self._frames and not self._closed:
                    self._news.wait()
                if not self._frames:
                    return
                frame = self._frames.popleft()
            yield frame

    def close(self) -> None:
        """End the stream, after the frames that wait."""
        with self._news:
            self._closed = True
            self._news.notify_all()
