"""Videos decoded in a child process, watched: a native decoder can hang and hold the interpreter.

What hangs, dies or eats memory is the child. It is killed, another one tries with the other
decoder, and if that fails too a ``VideoError`` says so; the run goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.errors import VideoError
from gar_video.video import Backend, Video

Image = npt.NDArray[np.uint8]
Opener = Callable[[str, Backend], Video]

#: Decoders in the order in which they are tried; the first may have failed by bad luck alone.
_BACKENDS: tuple[Backend, ...] = ("auto", "decord", "pyav")


def _open(source: str, backend: Backend) -> Video:
    return Video(source, backend=backend)


def _serve(
    pipe: Connection, opener: Opener, source: str, backend: Backend, memory: int | None
) -> None:
    """Open a video and hand out frames until the other end is closed."""
    if memory is not None and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        video = opener(source, backend)
        facts = {
            "name": video.name, "is_image": video.is_image, "fps": str(video.fps),
            "resolution_wh": video.resolution_wh, "duration_s": video.duration_s,
            "times_s": np.array(video.times_s), "backend": video.backend,
        }  # fmt: skip
    except Exception as error:
        pipe.send(("error", _said(error)))
        return
    pipe.send(("facts", facts))
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        try:
            # One at a time: the watchdog waits for frames, not for lists of them.
            for index in asked:
                pipe.send(("frame", video[index]))
        except Exception as error:
            pipe.send(("error", _said(error)))


def _said(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "decoding it takes more memory than allowed"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, VideoError) else f"{type(error).__name__}: {text}"


class _Hung(Exception):  # noqa: N818 - control flow inside this module
    pass


class _Child:
    """A process that decodes, and the pipe to it."""

    def __init__(
        self,
        opener: Opener,
        source: str,
        backend: Backend,
        open_s: float,
        frame_s: float,
        memory: int | None,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._frame_s = frame_s
        self._process = context.Process(
            target=_serve, args=(theirs, opener, source, backend, memory), daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            self.facts: dict[str, Any] = self._receive("facts", open_s)
        except BaseException:
            self.kill()
            raise

    def _receive(self, kind: str, seconds: float) -> Any:
        until = time.monotonic() + seconds
        while not self._pipe.poll(max(0.0, min(1.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                raise _Hung(f"gave nothing for {seconds:g} s")
            if not self._process.is_alive() and not self._pipe.poll(0):
                raise _Hung(f"died with exit code {self._process.exitcode}")
        try:
            said, value = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(1)
            raise _Hung(f"died with exit code {self._process.exitcode}") from None
        if said == "error":
            raise VideoError(value)
        assert said == kind, said
        return value

    def frames(self, indices: Sequence[int]) -> Iterator[Image]:
        try:
            self._pipe.send([int(index) for index in indices])
        except OSError:
            raise _Hung(f"died with exit code {self._process.exitcode}") from None
        for _ in indices:
            yield self._receive("frame", self._frame_s)

    def kill(self) -> None:
        self._pipe.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()


class GuardedReader:
    """Gives out frames that a child decodes; a ``Video``'s reader.

    Args:
        source: Path of a video, a picture or a folder of pictures.
        open_s: Seconds that opening may take.
        frame_s: Seconds that a frame may take.
        memory: Bytes of address space that decoding may take; None for no limit.
        opener: Opens the video, in the child; a module's function.

    Raises:
        VideoError: If it cannot be opened, or every decoder hangs or dies.
    """

    def __init__(
        self,
        source: str,
        *,
        open_s: float = 120.0,
        frame_s: float = 60.0,
        memory: int | None = None,
        opener: Opener = _open,
    ) -> None:
        self._source = source
        self._start = lambda backend: _Child(opener, source, backend, open_s, frame_s, memory)
        self._left = list(_BACKENDS)
        self._troubles: list[str] = []
        self._child: _Child | None = None
        self.facts: dict[str, Any] = {}
        self.resolution_wh = (0, 0)
        self._next_child()

    def _next_child(self) -> _Child:
        """Start a child with the next decoder; the last one's trouble has been noted."""
        while self._left:
            backend = self._left.pop(0)
            try:
                self._child = self._start(backend)
            except _Hung as trouble:
                self._troubles.append(f"{backend} {trouble}")
                continue
            except VideoError:
                if not self._troubles:
                    raise
                # Refused by a decoder that was only a second choice: the first trouble counts.
                continue
            self.facts = self._child.facts
            width, height = self.facts["resolution_wh"]
            self.resolution_wh = (width, height)
            return self._child
        raise VideoError(
            f"the decoder of {Path(self._source).name} hangs or dies ({'; '.join(self._troubles)})"
        )

    def read(self, indices: Sequence[int]) -> Iterator[Image]:
        """Yield frames; a child that hangs is replaced, and the rest is asked of the next one."""
        wanted = list(indices)
        while wanted:
            child = self._child or self._next_child()
            try:
                for image in child.frames(tuple(wanted)):
                    wanted.pop(0)
                    yield image
            except _Hung as trouble:
                self._troubles.append(f"{self.facts['backend']} {trouble}")
                child.kill()
                self._child = None
            except (VideoError, GeneratorExit):
                # Unread frames may still stand in the pipe.
                child.kill()
                self._child = None
                self._left.insert(0, "auto")
                raise

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child = None


class GuardedVideo(Video):
    """A ``Video`` whose file is opened and decoded in a watched child process.

    Args:
        source: Path of a video, a picture or a folder of pictures.
        **limits: As ``GuardedReader``.

    Raises:
        VideoError: As ``Video``; and if every decoder hangs or dies.
    """

    def __init__(self, source: str | os.PathLike[str], **limits: Any) -> None:
        reader = GuardedReader(os.fspath(source), **limits)
        # An array of one pixel stands in; what counts is taken from the child.
        super().__init__(np.zeros((1, 1, 1, 3), np.uint8), fps=Fraction(reader.facts["fps"]))
        self._reader = reader
        self.path = Path(source)
        self.name = reader.facts["name"]
        self.is_image = reader.facts["is_image"]
        self._times_s = reader.facts["times_s"]
        self._last_s = reader.facts["duration_s"] - float(self._times_s[-1])
        self._times_s.setflags(write=False)
