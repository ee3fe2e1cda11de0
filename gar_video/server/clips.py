"""Clips by content: what was sent is written to a file of the server's own and decoded in a child.

The same bytes are one clip, whoever sends them and however often.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from gar_video.errors import VideoError
from gar_video.server.decoding import ClipVideo, Decoders
from gar_video.server.problems import Problem
from gar_video.video import Video


@dataclass(eq=False)
class Clip:
    """A video or picture that can be asked about.

    Attributes:
        digest: Of its content; equal contents have equal digests.
        video: The video.
        path: The server's own file of it, to be removed with it; None for somebody else's file.
        num_bytes: Of that file.
        used: Monotonic time of its last use.
    """

    digest: str
    video: Video
    path: Path | None = None
    num_bytes: int = 0
    used: float = field(default_factory=time.monotonic)


class Clips:
    """The clips used last.

    Args:
        folder: Where files are put; made if it is missing, emptied of an earlier run's.
        decoders: Decode them.
        capacity: How many clips are kept.
        num_bytes: How many bytes of files are kept.
    """

    def __init__(self, folder: Path, decoders: Decoders, capacity: int, num_bytes: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob("clip-*"):
            left.unlink(missing_ok=True)
        self._folder, self._decoders = folder, decoders
        self._capacity, self._num_bytes = capacity, num_bytes
        self._kept: OrderedDict[str, Clip] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def of_bytes(self, data: bytes, name: str) -> Clip:
        """Return the clip of some bytes; blocks while it is opened.

        Args:
            data: A video's or picture's file.
            name: What messages and answers call it.

        Raises:
            VideoError: If it cannot be decoded or exceeds a limit.
        """
        digest = hashlib.sha256(data).hexdigest()
        kept = self._find(digest)
        if kept is not None:
            return kept
        path = self._folder / f"clip-{digest}.{os.urandom(4).hex()}"
        path.write_bytes(data)
        try:
            clip = Clip(digest, self.open(path, name), path, len(data))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return self._keep(clip)

    def of_file(self, path: Path, name: str) -> Clip:
        """Return the clip of a file that is not the server's own; blocks while it is opened.

        Raises:
            VideoError: As ``of_bytes``.
        """
        info = path.stat()
        facts = repr((str(path), info.st_size, info.st_mtime_ns, info.st_ino))
        digest = "file-" + hashlib.sha256(facts.encode()).hexdigest()
        kept = self._find(digest)
        return kept or self._keep(Clip(digest, self.open(path, name)))

    def open(self, path: Path, name: str) -> Video:
        """Open a file in a child.

        Raises:
            VideoError: If it cannot be decoded or exceeds a limit.
        """
        try:
            video = ClipVideo(path, self._decoders)
        except VideoError as error:
            said = str(error).replace(str(path), name).replace(path.name, name)
            raise type(error)(said) from None
        video.name = name
        return video

    def _find(self, digest: str) -> Clip | None:
        with self._lock:
            clip = self._kept.get(digest)
            if clip is not None:
                self._kept.move_to_end(digest)
                clip.used = time.monotonic()
            return clip

    def _keep(self, clip: Clip) -> Clip:
        with self._lock:
            there = self._kept.setdefault(clip.digest, clip)
            if there is not clip:  # somebody else was faster
                _remove(clip)
            self._kept.move_to_end(clip.digest)
            while len(self._kept) > 1 and (
                len(self._kept) > self._capacity
                or sum(one.num_bytes for one in self._kept.values()) > self._num_bytes
            ):
                _remove(self._kept.popitem(last=False)[1])
            return there

    def sweep(self, keep_s: float) -> None:
        """Forget clips that were not used for some time, and remove their files."""
        now = time.monotonic()
        with self._lock:
            for digest, clip in list(self._kept.items()):
                if now - clip.used > keep_s:
                    _remove(self._kept.pop(digest))


def _remove(clip: Clip) -> None:
    if clip.path is not None:
        with contextlib.suppress(OSError):
            clip.path.unlink(missing_ok=True)


def find_in_folders(name: str, folders: tuple[Path, ...]) -> Path:
    """Return the file that a caller refers to, if it lies in a folder that is allowed.

    Args:
        name: Path relative to one of the folders.
        folders: Those that are allowed.

    Raises:
        Problem: 404 if there is no such file there; whether it exists elsewhere is not told.
    """
    if not folders:
        raise Problem(
            404, "no folder is open to references; upload the video, or start the server with "
            "--allow-folder", param="path",
        )  # fmt: skip
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            root = folder.resolve(strict=True)
            # Links are followed first, so that one that leads out is seen to.
            path = (root / name).resolve(strict=True)
            if path.is_relative_to(root) and path.is_file():
                return path
    raise Problem(
        404, "there is no such file in the allowed folders; expected a path relative to one of "
        "them", param="path",
    )  # fmt: skip
