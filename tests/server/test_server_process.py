"""The command: how it begins, what it refuses, how it ends; and the client of our own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from server_house import said

from gar_video.cli import run


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["--host", "0.0.0.0"], "no token is set", id="public without a token"),
        pytest.param(["--model", "none/such/model"], "none/such/model", id="no such model"),
        pytest.param(["--sam2", "nowhere"], "nowhere", id="no such tracker"),
        pytest.param(["--token-file", "nowhere.txt"], "nowhere.txt", id="no token file"),
        pytest.param(["--allow-folder", "nowhere"], "nowhere", id="no such folder"),
        pytest.param(["--engine", "other"], "local or vllm", id="engine"),
        pytest.param(["--port", "99999"], "65535", id="port"),
        pytest.param(["--host", "192.0.2.1"], "token", id="an address of others"),
    ],
)
def test_what_cannot_be_served_is_one_line(args, says, capsys):
    assert run(["serve", "--port", "0", *args]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.strip().count("\n") == 0 or "Loading weights" in error
    assert "Traceback" not in error


def test_a_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "is in use" in capsys.readouterr().err


@pytest.fixture
def process():
    started = subprocess.Popen(
        [sys.executable, "-m", "gar_video.cli", "serve", "--port", "0", "--grace", "30"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    yield started
    if started.poll() is None:
        started.kill()
    started.wait()
    started.stderr.close()


@pytest.mark.slow
def test_asked_to_stop_in_mid_answer_it_finishes_and_ends_with_0(process, rendered):
    url = None
    for line in process.stderr:
        if found := re.search(r"answering at (http://\S+)/v1", line):
            url = found[1]
            break
    assert url is not None
    clip = rendered(0)
    body = {
        "model": "nano", "messages": said(clip.url, "Describe this masked region in detail."),
        "regions": clip.regions(1), "stream": True, "max_tokens": 64,
    }  # fmt: skip
    began, ends = threading.Event(), []

    def stream():
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=300) as answer:
            lines = []
            for line in answer.iter_lines():
                lines.append(line)
                began.set()
            ends.append((answer.status_code, [one for one in lines if one][-1]))

    threads = [threading.Thread(target=stream) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert began.wait(300)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(300)
    assert process.wait(120) == 0
    assert len(ends) == 3
    for status, last in ends:
        finished = status == 200 and last == "data: [DONE]"
        told = "being stopped" in last
        assert finished or told, (status, last)
    assert (200, "data: [DONE]") in ends


def test_whoever_goes_away_is_not_answered(house, rendered):
    """The connection is closed while the request waits; its place is free at once."""
    clip = rendered(5)
    body = json.dumps(
        {"model": "nano", "messages": said(clip.url, "What?"), "max_tokens": 1024,
         "temperature": 2.0, "seed": 1}
    )  # fmt: skip
    port = int(house.url.rsplit(":", 1)[1])
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    held, release = threading.Event(), threading.Event()

    def hold(worker):
        held.set()
        release.wait(30)

    from gar_video.server.worker import Job

    house.service.worker.submit(Job(time.monotonic() + 60, call=hold))
    assert held.wait(30)
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall((head + body).encode())
    _wait_for(lambda: house.service.worker.num_waiting == 1)
    assert house.service._inside == 1
    sock.close()
    _wait_for(lambda: house.service._inside == 0)
    generated = house.service.metrics.tokens.labels("generated")._value.get()
    release.set()
    _wait_for(lambda: house.service.worker.num_waiting == house.service.worker.num_running == 0)
    assert house.service.metrics.tokens.labels("generated")._value.get() == generated


def test_beyond_the_limit_429_and_when_to_come_again(house, picture, monkeypatch):
    monkeypatch.setattr(house.service, "_inside", house.service.limits.queue)
    answer = httpx.post(
        f"{house.url}/v1/chat/completions",
        json={"model": "nano", "messages": said(picture[0], "What?", "image_url")},
    )
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "queue_full"
    assert int(answer.headers["retry-after"]) >= 1


def test_ready_health_metrics_docs(house):
    with httpx.Client(base_url=house.url) as http:
        assert http.get("/readyz").json() == {"status": "ready"}
        text = http.get("/metrics").text
        assert "gar_video_encoded_clips " in text
        assert 'route="/readyz"' in text
        page = http.get("/docs").text
        for path in http.get("/openapi.json").json()["paths"]:
            assert path in page


def _wait_for(what):
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


# ---------------------------------------------------------------- our own client


@pytest.fixture(scope="module")
def client(house):
    from gar_video.client import Client

    with Client(house.url) as made:
        yield made


def test_the_client_goes_the_whole_way(client, short):
    import numpy as np

    from gar_video import Box, Mask, Points

    seen = []
    video = client.upload(short, progress=lambda done, total: seen.append((done, total)))
    assert (video.resolution_wh, video.num_frames) == ((112, 112), 6)
    assert seen[-1] == (short.stat().st_size,) * 2
    mask = np.zeros((112, 112), bool)
    mask[0:20, 90:110] = True
    prompts = [Box(0, (8, 40, 40, 72), 1), Points(0, [(24, 56)], object_id=2), Mask(0, mask, 3)]
    tracks = client.track(video, prompts, follow=False)
    assert tracks.object_ids == (1, 2, 3)
    assert client.fetch_tracks(tracks)[3].area(0) == 400
    assert "red" in client.ask("What color is <1>?", tracks=tracks, max_tokens=8).text
    answers = client.describe(tracks, objects=[1], max_tokens=16, frames=[0])
    assert answers[0].objects == (1,)
    assert client.choose("What color is <1>?", ["red", "blue"], tracks=tracks).option == "red"
    assert client.ask("What is there?", video=video, max_tokens=4).objects == ()
    timeline = client.timeline(tracks, objects=[1], every_s=1.0, max_tokens=12)
    assert timeline.object_ids == (1,)
    client.delete(tracks)
    client.delete(video)


def test_what_the_client_says_of_refusals(client, tmp_path):
    from gar_video.client import Client, ServerError
    from gar_video.errors import VideoError

    with pytest.raises(VideoError):
        client.upload(tmp_path / "nothing.mp4")
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"junk")
    with pytest.raises(ServerError) as caught:
        client.upload(junk)
    assert (caught.value.status, caught.value.code) == (422, "unprocessable")
    assert "junk.mp4" in str(caught.value)
    with pytest.raises(ServerError) as caught:
        client.refer("../x")
    assert caught.value.status == 404
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(ServerError) as caught:
        nobody.refer("x")
    assert "cannot be reached" in str(caught.value)


@pytest.mark.slow
def test_what_the_page_shows_runs(house, tmp_path, monkeypatch, capsys):
    """The Python in docs/serve.md, against this server and a short clip."""
    import av
    import numpy as np

    monkeypatch.chdir(tmp_path)
    with av.open("clip.mp4", "w") as out:
        stream = out.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = 160, 160, "yuv420p"
        for _ in range(4):
            image = np.full((160, 160, 3), 128, np.uint8)
            image[75:142, 6:72] = (220, 30, 30)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for code in blocks:
        pytest.importorskip("openai")
        exec(code.replace("http://127.0.0.1:8000", house.url), {})
    first, second = capsys.readouterr().out.splitlines()
    assert "red" in first
    assert first.endswith("[0, 1, 2, 3]")
    assert "red" in second
