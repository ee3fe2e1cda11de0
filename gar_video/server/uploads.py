"""Videos that callers upload, in pieces that can be resumed, or refer to; removed after a time."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gar_video.server.clips import Clip, Clips
from gar_video.server.problems import Problem
from gar_video.server.settings import Limits

_STEP = 2**20


@dataclass(eq=False)
class Upload:
    """A video that a caller uploads or has uploaded.

    Attributes:
        id: What it is called by.
        owner: The caller; nobody else sees it.
        name: What answers call it.
        size: Bytes that it will have.
        sha256: What its content should digest to; None if the caller did not say.
        path: Where it is written; None for a reference.
        offset: Bytes that have come.
        clip: The clip, once it is whole and could be opened.
        expires: Monotonic time at which it is removed.
        created: Seconds since the epoch.
    """

    id: str
    owner: str
    name: str
    size: int
    sha256: str | None
    path: Path | None
    expires: float
    offset: int = 0
    clip: Clip | None = None
    created: int = field(default_factory=lambda: int(time.time()))
    digest: Any = field(default_factory=hashlib.sha256)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Uploads:
    """The uploads of all callers.

    Args:
        folder: Where they are written; what an earlier run left there is removed.
        clips: Opens them.
        limits: What they may cost.
    """

    def __init__(self, folder: Path, clips: Clips, limits: Limits) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob("upload-*"):
            left.unlink(missing_ok=True)
        self._folder, self._clips, self._limits = folder, clips, limits
        self._kept: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def begin(self, owner: str, name: str, size: int, sha256: str | None) -> Upload:
        """Begin an upload.

        Raises:
            Problem: 413 if it is larger than allowed; 429 if the caller stores too much already.
        """
        if size > self._limits.upload_bytes:
            raise Problem(
                413, f"{size} bytes; expected at most {self._limits.upload_bytes}", param="bytes"
            )
        with self._lock:
            held = sum(one.size for one in self._kept.values() if one.owner == owner)
            if held + size > self._limits.stored_bytes or len(self._kept) >= 10_000:
                raise Problem(
                    429, f"{held} bytes are stored for you already; delete videos that are no "
                    "longer needed", code="storage_full", retry_after=60,
                )  # fmt: skip
            upload = self._new(owner, name, size, sha256)
            upload.path = self._folder / f"upload-{secrets.token_hex(16)}"
            upload.path.touch(mode=0o600)
            return upload

    def refer(self, owner: str, clip: Clip) -> Upload:
        """Take a clip that lies elsewhere."""
        with self._lock:
            upload = self._new(owner, clip.video.name, 0, None)
            upload.clip = clip
            return upload

    def _new(self, owner: str, name: str, size: int, sha256: str | None) -> Upload:
        expires = time.monotonic() + self._limits.keep_s
        upload = Upload(secrets.token_urlsafe(18), owner, name, size, sha256, None, expires)
        self._kept[upload.id] = upload
        return upload

    def get(self, upload_id: str, owner: str) -> Upload:
        """Return an upload and put its removal off.

        Raises:
            Problem: 404 if there is none of this caller's.
        """
        with self._lock:
            upload = self._kept.get(upload_id)
            if upload is None or not hmac.compare_digest(upload.owner, owner):
                raise Problem(
                    404, "there is no such video; it may have been removed after its time: upload "
                    "it again", code="video_not_found",
                )  # fmt: skip
            upload.expires = time.monotonic() + self._limits.keep_s
            return upload

    def append(self, upload: Upload, offset: int, piece: bytes) -> None:
        """Write a piece; blocks. The last one opens the video.

        Raises:
            Problem: 400 if the piece does not follow what has come, or the whole is another than
                was announced; 413 if it exceeds the announced size.
            VideoError: If the whole cannot be decoded or exceeds a limit; it is removed then.
        """
        with upload.lock:
            if upload.clip is not None or upload.path is None:
                raise Problem(400, "the video is complete already", code="offset_mismatch")
            if offset != upload.offset:
                raise Problem(
                    400, f"the piece begins at {offset}, but {upload.offset} bytes have come; go "
                    f"on from {upload.offset}", param="Upload-Offset", code="offset_mismatch",
                )  # fmt: skip
            if offset + len(piece) > upload.size:
                raise Problem(
                    413, f"the piece ends at {offset + len(piece)}, behind the {upload.size} "
                    "bytes that were announced",
                )  # fmt: skip
            with upload.path.open("ab") as file:
                file.truncate(offset)  # what a broken-off piece left
                file.write(piece)
            upload.digest.update(piece)
            upload.offset += len(piece)
            if upload.offset == upload.size:
                self._finish(upload)

    def _finish(self, upload: Upload) -> None:
        assert upload.path is not None
        digest = upload.digest.hexdigest()
        try:
            if upload.sha256 is not None and not hmac.compare_digest(digest, upload.sha256.lower()):
                raise Problem(
                    400, "the content's SHA-256 is not the one announced; upload it again",
                    code="digest_mismatch",
                )  # fmt: skip
            video = self._clips.open(upload.path, upload.name)
        except BaseException:
            self.remove(upload)
            raise
        upload.clip = Clip(digest, video)

    def clip(self, upload_id: str, owner: str) -> Clip:
        """Return the clip of a complete upload.

        Raises:
            Problem: 404 if there is none of this caller's; 400 if it is not complete.
        """
        upload = self.get(upload_id, owner)
        if upload.clip is None:
            raise Problem(
                400, f"{upload.offset} of the video's {upload.size} bytes have come; send the rest",
                code="video_incomplete",
            )  # fmt: skip
        return upload.clip

    def remove(self, upload: Upload) -> None:
        """Remove an upload and its file."""
        with self._lock:
            self._kept.pop(upload.id, None)
        if upload.path is not None:
            with contextlib.suppress(OSError):
                upload.path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove uploads whose time has come."""
        now = time.monotonic()
        with self._lock:
            gone = [one for one in self._kept.values() if one.expires < now]
        for upload in gone:
            self.remove(upload)
