"""One server with the nano model for all tests of this folder, on a port of its own."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs gar-video[serve]")

from server_house import Rendered, data_url, run_server

from gar_video.server.settings import Limits, Settings


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
