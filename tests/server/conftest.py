"""One server with the nano model for all tests of this folder, on a port of its own."""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs gar-video[serve]")

from gar_video.server.running import Server, bind, load_service
from gar_video.server.settings import Limits, Settings


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


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("allowed")
    limits = Limits(per_minute=0, decoders=1, grace_s=5, body_bytes=2**23, upload_bytes=2**23)
    running, thread = run_server(Settings(limits=limits, folders=(folder,)))
    running.folder = folder
    yield running
    running.server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """Make the clip of a seed, once."""
    from gar_video import Tracks
    from gar_video.synth.truth import sample
    from gar_video.synth.write import clip_seed, write_clip

    folder, made = tmp_path_factory.mktemp("rendered"), {}

    def make(seed: int) -> Rendered:
        if seed not in made:
            path, tracks, _ = write_clip(
                folder / f"{seed}.mp4", seed, resolution_wh=(256, 256), num_objects=2,
                tracks_path=folder / f"{seed}.json",
            )  # fmt: skip
            scene, truth = sample(clip_seed(seed), num_objects=2, aspect=1.0)
            made[seed] = Rendered(path, Tracks.load(tracks), scene, truth)
        return made[seed]

    return make


@pytest.fixture(scope="session")
def picture():
    """A red square on gray, as a PNG, and a region on it."""
    import cv2

    image = np.full((224, 224, 3), 128, np.uint8)
    image[60:150, 70:160] = (220, 30, 30)
    done, png = cv2.imencode(".png", image[..., ::-1])
    assert done
    return data_url(png.tobytes(), "image/png"), {"id": 1, "box": [70, 60, 160, 150]}


@pytest.fixture(scope="session")
def short(tmp_path_factory):
    """Six frames of a red square that moves right: short, since SAM 2 goes through all of them."""
    import av

    path = tmp_path_factory.mktemp("short") / "short.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=6)
        stream.width = stream.height = 112
        stream.pix_fmt = "yuv420p"
        for t in range(6):
            image = np.full((112, 112, 3), 128, np.uint8)
            image[40:72, 8 + 10 * t : 40 + 10 * t] = (220, 30, 30)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())
    return path


def said(url: str, text: str, kind: str = "video_url") -> list[dict]:
    """Messages of one question."""
    return [
        {
            "role": "user",
            "content": [{"type": kind, kind: {"url": url}}, {"type": "text", "text": text}],
        }
    ]
