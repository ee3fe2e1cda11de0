"""A running server, rendered clips and messages, for the tests of this folder."""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from gar_video.server.running import Server, bind, load_service
from gar_video.server.settings import Settings


@dataclass
class House:
    """A running server."""

    url: str
    service: object
    server: Server
    folder: Path


@dataclass
class Rendered:
    """A rendered clip: its file, its true tracks, and what may be asked."""

    path: Path
    tracks: object
    scene: object
    truth: object

    @property
    def url(self) -> str:
        return data_url(self.path.read_bytes(), "video/mp4")

    def regions(self, *ids: int) -> list[dict]:
        """The true masks of some frames, as a request gives them."""
        chosen = ids or tuple(self.tracks)
        return [
            {
                "id": i,
                "masks": {
                    str(frame): dict(self.tracks[i].rle(frame))
                    for frame in self.tracks[i].frames.tolist()
                },
            }
            for i in chosen
        ]


def data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def run_server(settings: Settings, service=None) -> tuple[House, threading.Thread]:
    service = service or load_service(settings)
    sock = bind(settings.host, 0)
    server = Server(service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    until = time.monotonic() + 120
    while not server.started:
        assert thread.is_alive(), "the server ended"
        assert time.monotonic() < until, "the server does not start"
        time.sleep(0.02)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    return House(url, service, server, None), thread


def said(url: str, text: str, kind: str = "video_url") -> list[dict]:
    """Messages of one question."""
    return [
        {
            "role": "user",
            "content": [{"type": kind, kind: {"url": url}}, {"type": "text", "text": text}],
        }
    ]
