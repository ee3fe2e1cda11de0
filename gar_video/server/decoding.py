"""Files decoded in child processes with limits on time and memory.

A child that hangs, dies or outgrows its limits is killed and replaced; the file at hand is refused
and the server lives. Parent and child speak JSON and raw pixels: nothing is unpickled. The child
gets none of the server's environment that could be a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from fractions import Fraction
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.errors import VideoError
from gar_video.server.decoding_child import DecodingLimits, TooLargeError
from gar_video.video import Video

Image = npt.NDArray[np.uint8]
_ENVIRONMENT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")


class _Child:
    """A process that decodes, and the pipe to it."""

    def __init__(self, limits: DecodingLimits) -> None:
        self._pipe, theirs = Pipe()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        with theirs:
            # Our own module with numbers of our own; nothing of a caller's is in it.
            self.process = subprocess.Popen(  # noqa: S603
                [
                    sys.executable, "-m", "gar_video.server.decoding_child",
                    str(theirs.fileno()), json.dumps(asdict(limits)),
                ],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self.path = ""
        self.is_fresh = True

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def ask(self, **question: Any) -> None:
        """Put a question.

        Raises:
            VideoError: If the child is gone.
        """
        self.path = question["path"]
        try:
            self._pipe.send_bytes(json.dumps(question).encode())
        except OSError:
            raise self._gone() from None

    def receive(self, kind: str, seconds: float) -> tuple[Any, bytes]:
        """Return what is answered.

        Raises:
            VideoError: If it is an error, takes too long, or the child dies.
        """
        # A new child imports its libraries first.
        until = time.monotonic() + seconds + (30.0 if self.is_fresh else 0.0)
        try:
            while not self._pipe.poll(max(0.0, min(1.0, until - time.monotonic()))):
                if time.monotonic() >= until:
                    raise _DeadError(f"decoding took longer than {seconds:g} s; convert the file")
                if not self.is_alive and not self._pipe.poll(0):
                    raise self._gone()
            said = json.loads(self._pipe.recv_bytes())
            self.is_fresh = False
            if "too_large" in said:
                raise TooLargeError(said["too_large"])
            if "error" in said:
                raise VideoError(said["error"])
            return said[kind], self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise self._gone() from None

    def _gone(self) -> _DeadError:
        return _DeadError("the decoder died of this file; it is damaged or too large: convert it")

    def kill(self) -> None:
        self._pipe.close()
        self.process.kill()
        self.process.wait()


class _DeadError(VideoError):
    """The child hangs or is no more."""


class Decoders:
    """Child processes that decode, each one file at a time.

    Args:
        count: How many.
        limits: What decoding may cost.
    """

    def __init__(self, count: int, limits: DecodingLimits) -> None:
        self._limits = limits
        self._free: list[_Child | None] = [None] * max(1, count)
        self._busy: list[_Child] = []
        self._change = threading.Condition()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that run."""
        with self._change:
            children = [child for child in self._free if child is not None] + self._busy
            return [child.process.pid for child in children]

    def start(self) -> None:
        """Start the children, so that the first files need not wait for that."""
        with self._change:
            self._free = [child or _Child(self._limits) for child in self._free]

    def open(self, path: Path) -> tuple[dict[str, Any], npt.NDArray[np.float64]]:
        """Open a file; return its facts and its frames' times.

        Raises:
            TooLargeError: If it exceeds a limit.
            VideoError: If it cannot be decoded, or the child hangs or dies.
        """
        with self._child(path) as child:
            child.ask(path=str(path))
            facts, times = child.receive("facts", self._limits.open_s)
        return facts, np.frombuffer(times, dtype="<f8").copy()

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[Image]:
        """Yield frames of a file.

        Raises:
            VideoError: As ``open``.
        """
        with self._child(path) as child:
            child.ask(path=str(path), frames=[int(index) for index in indices])
            for at in range(len(indices)):
                # The file may have to be opened again first.
                seconds = self._limits.frame_s + (self._limits.open_s if at == 0 else 0.0)
                shape, pixels = child.receive("frame", seconds)
                # A copy: frames are their receiver's to draw on.
                yield np.frombuffer(pixels, dtype=np.uint8).reshape(shape).copy()

    @contextlib.contextmanager
    def _child(self, path: Path) -> Iterator[_Child]:
        child = self._take(str(path))
        sound = False
        try:
            yield child
            sound = True
        except _DeadError:
            raise
        except VideoError:
            sound = True
            raise
        finally:
            with self._change:
                self._busy.remove(child)
                # What is left in the pipe of a child that was not heard out belongs to nobody.
                if sound and not self._closed:
                    self._free.append(child)
                else:
                    self._free.append(None)
                self._change.notify()
            if not sound or self._closed:
                child.kill()

    def _take(self, path: str) -> _Child:
        with self._change:
            while not self._free:
                self._change.wait()
            if self._closed:
                raise VideoError("the server is being stopped")
            # One that died while it had nothing to do is no fault of this file.
            self._free = [c if c is not None and c.is_alive else None for c in self._free]
            found = next((c for c in self._free if c is not None and c.path == path), None)
            found = found or next((c for c in self._free if c is not None), None)
            if found is not None:
                self._free.remove(found)
            else:
                self._free.pop()
                found = _Child(self._limits)
            self._busy.append(found)
            return found

    def close(self) -> None:
        """End the children."""
        with self._change:
            self._closed = True
            free, self._free = self._free, [None] * len(self._free)
        for child in free:
            if child is not None:
                child.kill()


class ClipVideo(Video):
    """A ``Video`` whose file is opened and decoded by the children.

    Args:
        path: The file.
        decoders: The children.

    Raises:
        VideoError: As ``Decoders.open``.
    """

    def __init__(self, path: Path, decoders: Decoders) -> None:
        facts, times_s = decoders.open(path)
        # An array of one pixel stands in; what counts is taken from the child.
        super().__init__(np.zeros((1, 1, 1, 3), np.uint8), fps=Fraction(facts["fps"]))
        width, height = facts["resolution_wh"]
        self._reader = _ClipReader(path, decoders, (int(width), int(height)))
        self.path = path
        self.name = str(facts["name"])
        self.is_image = bool(facts["is_image"])
        self._times_s = times_s
        self._last_s = float(facts["duration_s"]) - float(times_s[-1])
        self._times_s.setflags(write=False)


class _ClipReader:
    def __init__(self, path: Path, decoders: Decoders, resolution_wh: tuple[int, int]) -> None:
        self._path, self._decoders, self.resolution_wh = path, decoders, resolution_wh

    def read(self, indices: Sequence[int]) -> Iterator[Image]:
        return self._decoders.read(self._path, indices)

    def close(self) -> None:
        """Do nothing: the children are everybody's."""
