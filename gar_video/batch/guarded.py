"""Videos decoded in a child process, watched: a native decoder can hang and hold the interpreter.

What hangs, dies or eats memory is the child. It is killed, another one tries with the other
decoder, and if that fails too a ``VideoError`` says so; the run goes on. A child that has done well
serves the next video.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.errors import GARVideoError, TracksError, VideoError
from gar_video.video import Backend, Video

Image = npt.NDArray[np.uint8]
Opener = Callable[[str, Backend], Video]

#: Decoders in the order in which they are tried; the first may have failed by bad luck alone.
_BACKENDS: tuple[Backend, ...] = ("auto", "decord", "pyav")


def open_plainly(source: str, backend: Backend) -> Video:
    """Open a video; the opener of all that is not for a test."""
    return Video(source, backend=backend)


# ---------------------------------------------------------------- the child


def _serve(pipe: Connection, opener: Opener, memory: int | None) -> None:
    """Do what is asked for until the other end is closed."""
    # Ctrl-C is for the parent, which lets work come to its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if memory is not None and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    video: Video | None = None
    while True:
        try:
            doing, *given = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if doing == "open":
                if video is not None:
                    video.close()
                video = opener(*given)
                pipe.send(("facts", _facts(video)))
                continue
            assert video is not None
            if doing == "read":
                # One at a time: the watchdog waits for frames, not for lists of them.
                for index in given[0]:
                    pipe.send(("item", video[index]))
                continue
            function, *told = given
            for item in function(video, *told):
                pipe.send(("item", item))
            pipe.send(("end", None))
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:
            kind = "tracks" if isinstance(error, TracksError) else "error"
            pipe.send((kind, _said(error)))


def _facts(video: Video) -> dict[str, Any]:
    return {
        "name": video.name, "is_image": video.is_image, "fps": str(video.fps),
        "resolution_wh": video.resolution_wh, "duration_s": video.duration_s,
        "times_s": np.array(video.times_s), "backend": video.backend,
    }  # fmt: skip


def _said(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "decoding it takes more memory than allowed"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, GARVideoError) else f"{type(error).__name__}: {text}"


# ---------------------------------------------------------------- the parent


_starting = threading.Lock()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep a child that is started from importing the caller's script, which it does not need.

    That would cost seconds where the script imports torch, and start everything once more where it
    has no ``if __name__ == "__main__"``.
    """
    with _starting:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


class _Hung(Exception):  # noqa: N818 - control flow inside this module
    pass


class _Child:
    """A process that decodes, and the pipe to it."""

    def __init__(self, opener: Opener, memory: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, opener, memory), daemon=True)
        with _without_main():
            self._process.start()
        theirs.close()
        self.settings = (opener, memory)
        self._busy = False

    @property
    def is_idle(self) -> bool:
        """Whether it is alive and nothing stands in the pipe."""
        return not self._busy and self._process.is_alive()

    def open(self, source: str, backend: Backend, seconds: float) -> dict[str, Any]:
        self._send("open", source, backend)
        _, facts = self._receive(seconds)
        self._busy = False
        found: dict[str, Any] = facts
        return found

    def frames(self, seconds: float, indices: tuple[int, ...]) -> Iterator[Image]:
        self._send("read", indices)
        for left in range(len(indices), 0, -1):
            _, image = self._receive(seconds)
            # Whoever takes the last one does not come back to hear that there are no more.
            self._busy = left > 1
            yield image

    def run(self, seconds: float, *given: Any) -> Iterator[Any]:
        self._send("run", *given)
        while True:
            said, value = self._receive(seconds)
            if said == "end":
                self._busy = False
                return
            yield value

    def _send(self, *told: Any) -> None:
        assert not self._busy
        self._busy = True
        try:
            self._pipe.send(told)
        except OSError:
            raise _Hung(f"died with exit code {self._process.exitcode}") from None

    def _receive(self, seconds: float) -> tuple[str, Any]:
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
        if said in ("error", "tracks"):
            self._busy = False
            raise (TracksError if said == "tracks" else VideoError)(value)
        return said, value

    def kill(self) -> None:
        self._pipe.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()


class Keeper:
    """Keeps a child between videos, so that not each one has to start a process.

    For one thread. Close it at the end.
    """

    def __init__(self) -> None:
        self._idle: _Child | None = None

    def take(self, opener: Opener, memory: int | None) -> _Child:
        """Return the child that is kept, or a new one."""
        child, self._idle = self._idle, None
        if child is not None:
            if child.is_idle and child.settings == (opener, memory):
                return child
            child.kill()
        return _Child(opener, memory)

    def give(self, child: _Child) -> None:
        """Take a child back; one that is busy or dead, or one too many, is ended."""
        if self._idle is None and child.is_idle:
            self._idle = child
        else:
            child.kill()

    def close(self) -> None:
        """End the child."""
        if self._idle is not None:
            self._idle.kill()
            self._idle = None


class GuardedReader:
    """Gives out frames that a child decodes; a ``Video``'s reader.

    Args:
        source: Path of a video, a picture or a folder of pictures.
        open_s: Seconds that opening may take.
        frame_s: Seconds that a frame may take.
        memory: Bytes of address space that decoding may take; None for no limit.
        opener: Opens the video, in the child; a module's function.
        keeper: Where a child comes from and goes to; None for one of its own.

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
        opener: Opener = open_plainly,
        keeper: Keeper | None = None,
    ) -> None:
        self._source, self._open_s, self._frame_s = source, open_s, frame_s
        self._opener, self._memory = opener, memory
        self._keeper = keeper
        self._left = list(_BACKENDS)
        self._troubles: list[str] = []
        self._child: _Child | None = None
        self.facts: dict[str, Any] = {}
        self.resolution_wh = (0, 0)
        self._next_child()

    def _next_child(self) -> _Child:
        """Have a child open the video with the next decoder; the last trouble has been noted."""
        while self._left:
            backend = self._left.pop(0)
            keeper = self._keeper or Keeper()
            child = keeper.take(self._opener, self._memory)
            try:
                self.facts = child.open(self._source, backend, self._open_s)
            except _Hung as trouble:
                child.kill()
                self._troubles.append(f"{backend} {trouble}")
                continue
            except VideoError:
                self._give(child)
                if not self._troubles:
                    raise
                # Refused by a decoder that was only a second choice: the first trouble counts.
                continue
            except BaseException:
                child.kill()
                raise
            self._child = child
            width, height = self.facts["resolution_wh"]
            self.resolution_wh = (width, height)
            return child
        raise VideoError(
            f"the decoder of {Path(self._source).name} hangs or dies ({'; '.join(self._troubles)})"
        )

    def _give(self, child: _Child) -> None:
        if self._keeper is None:
            child.kill()
        else:
            self._keeper.give(child)

    def _lost(self, trouble: object) -> None:
        self._troubles.append(f"{self.facts['backend']} {trouble}")
        if self._child is not None:
            self._child.kill()
            self._child = None

    def read(self, indices: Sequence[int]) -> Iterator[Image]:
        """Yield frames; a child that hangs is replaced, and the rest is asked of the next one."""
        wanted = [int(index) for index in indices]
        while wanted:
            child = self._child or self._next_child()
            try:
                for image in child.frames(self._frame_s, tuple(wanted)):
                    wanted.pop(0)
                    yield image
            except _Hung as trouble:
                self._lost(trouble)
            except GeneratorExit:
                if wanted:
                    self._drop(child)
                raise

    def run(self, function: Callable[..., Iterator[Any]], *given: Any) -> Iterator[Any]:
        """Yield what ``function(video, *given)`` yields in the child, where it runs.

        If the child hangs (gives nothing for as long as a frame may take) or dies, all is begun
        anew with the next decoder: what comes then, comes instead of what came before.

        Args:
            function: A module's function. It should yield something for every frame or two.
            given: What it is given; has to fit through a pipe, as what it yields.
        """
        while True:
            child = self._child or self._next_child()
            try:
                yield from child.run(self._frame_s, function, *given)
                return
            except _Hung as trouble:
                self._lost(trouble)
            except GeneratorExit:
                self._drop(child)
                raise

    def _drop(self, child: _Child) -> None:
        """End a child in whose pipe something unread stands; it has done nothing wrong."""
        child.kill()
        self._child = None
        self._left.insert(0, "auto")

    def close(self) -> None:
        """End the child, or give it back."""
        if self._child is not None:
            self._give(self._child)
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
        self._reader: GuardedReader = reader
        self.path = Path(source)
        self.name = reader.facts["name"]
        self.is_image = reader.facts["is_image"]
        self._times_s = reader.facts["times_s"]
        self._last_s = reader.facts["duration_s"] - float(self._times_s[-1])
        self._times_s.setflags(write=False)
        # Else who finds the path (SAM 2's frames) would have decord open it in this process.
        self._doubts = ("it is decoded in another process",)

    def run(self, function: Callable[..., Iterator[Any]], *given: Any) -> Iterator[Any]:
        """Run a function on the video in its child; see ``GuardedReader.run``."""
        return self._reader.run(function, *given)
