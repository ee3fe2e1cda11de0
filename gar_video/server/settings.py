"""What the server may be asked for, and how it is run."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from gar_video.errors import GARVideoError

_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
        body_bytes: Longest JSON body; pictures and videos in data URLs count.
        upload_bytes: Largest uploaded video.
        stored_bytes: All uploads of one caller together.
        frames: Most frames of a video.
        pixels: Most pixels of a frame or picture.
        duration_s: Longest video.
        objects: Most regions in one request.
        regions: Most masks in one request, over all objects and frames.
        prompt_chars: Longest text of a conversation, all turns together.
        messages: Most turns of a conversation.
        new_tokens: Longest answer.
        questions: Most questions in one native request.
        per_minute: Requests of one caller in a minute; 0 for no limit.
        queue: Requests that may wait for the model, or for the tracker.
        batch: Questions about one clip that are answered at once.
        deadline_s: Seconds after which a request that still waits or runs is given up.
        track_s: Seconds that following objects may take.
        grace_s: Seconds that running answers get when the server is asked to stop.
        keep_s: Seconds after which an upload or its tracks are removed, from their last use.
        prefix_bytes: Keys and values of encoded clips that are kept.
        clips: Opened clips whose facts are kept.
        tracks: Tracks that are kept.
        pictures: Clips whose frames may wait, decoded, for the model.
        decoders: Decoding child processes.
        decoder_bytes: Address space of each.
        open_s: Seconds that opening a file may take.
        frame_s: Seconds that decoding a frame may take.
        fetch_s: Seconds that fetching from an address may take.
        redirects: Redirects that are followed when fetching.
    """

    body_bytes: int = 64 * _MIB
    upload_bytes: int = 2048 * _MIB
    stored_bytes: int = 8192 * _MIB
    frames: int = 100_000
    pixels: int = 2**25
    duration_s: float = 4 * 3600.0
    objects: int = 32
    regions: int = 20_000
    prompt_chars: int = 16_000
    messages: int = 64
    new_tokens: int = 1024
    questions: int = 64
    per_minute: int = 1200
    queue: int = 64
    batch: int = 32
    deadline_s: float = 120.0
    track_s: float = 1800.0
    grace_s: float = 20.0
    keep_s: float = 3600.0
    prefix_bytes: int = 1024 * _MIB
    clips: int = 256
    tracks: int = 256
    pictures: int = 4
    decoders: int = 2
    decoder_bytes: int = 4096 * _MIB
    open_s: float = 20.0
    frame_s: float = 10.0
    fetch_s: float = 30.0
    redirects: int = 3


@dataclass(frozen=True)
class Settings:
    """How the server is run.

    Attributes:
        model: GAR's checkpoint.
        sam2: SAM 2's checkpoint.
        device: Where to compute.
        dtype: Number type to compute in.
        engine: ``"local"``, or ``"vllm"`` for the language model.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        tokens: Those who know one may ask; empty only on loopback.
        folders: Folders that videos may be referred to in.
        fetch: Whether pictures and videos may be named by http(s) addresses.
        store: Folder for what is uploaded; a temporary one if None.
        limits: What a request may cost.
    """

    model: str = "nano"
    sam2: str = "nano"
    device: str = "auto"
    dtype: str = "auto"
    engine: str = "local"
    host: str = "127.0.0.1"
    port: int = 8000
    tokens: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    fetch: bool = False
    store: Path | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.tokens and not is_loopback(self.host):
            raise GARVideoError(
                f"--host {self.host} can be reached from other machines, and no token is set; give "
                "one in a file (--token-file) or in GAR_VIDEO_TOKEN, or listen on 127.0.0.1"
            )
        if any(len(token) < 16 for token in self.tokens):
            raise GARVideoError(
                "a token is shorter than 16 characters; make one with: openssl rand -hex 32"
            )
        if any(not token.isascii() or not token.isprintable() for token in self.tokens):
            raise GARVideoError("a token has characters other than printable ASCII")
        if self.engine not in ("local", "vllm"):
            raise GARVideoError(f"--engine {self.engine}; expected local or vllm")
        if self.store is not None:
            try:
                self.store.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise GARVideoError(
                    f"--store {self.store} cannot be made: {error.strerror or error}"
                ) from None
            if not os.access(self.store, os.W_OK | os.X_OK):
                raise GARVideoError(f"--store {self.store}: no permission to write there")
        for folder in self.folders:
            if not folder.is_dir():
                raise GARVideoError(f"--allow-folder {folder} is no folder; make it first")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
