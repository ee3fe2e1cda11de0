from __future__ import annotations

import importlib.util
import socket

import pytest

from gar_video import GARVideoError
from gar_video.app import address
from gar_video.cli import run

needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="the extra `app` is not installed"
)


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@needs_gradio
@pytest.mark.parametrize(
    ("args", "words"),
    [
        pytest.param(["--host", "0.0.0.0"], "GAR_VIDEO_TOKEN", id="public-without-a-token"),
        pytest.param(["--token", "short"], "fewer than 8", id="short-token"),
        pytest.param(["--port", "70000"], "--port", id="no-such-port"),
        pytest.param(["--host", "192.0.2.7", "--token", "a-long-enough-one"], "cannot listen", id="another-s-address"),
        pytest.param(["missing.mp4", "--port", "0"], "missing.mp4", id="no-clip"),
        pytest.param(["--port", "0", "--device", "toaster"], "toaster", id="no-device"),
        pytest.param(["--port", "0", "--model", "no-such-checkpoint/at/all"], "no-such-checkpoint", id="no-model"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(args, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAR_VIDEO_TOKEN", raising=False)
    assert run(["app", *args]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert said.count("\n") == 0


@needs_gradio
def test_a_taken_port_is_said(taken, capsys):
    assert run(["app", "--port", str(taken)]) == 2
    assert f"port {taken}" in capsys.readouterr().err


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "gradio" else found(name, *a)
    )
    assert run(["app"]) == 2
    said = capsys.readouterr().err
    assert "pip install 'gar-video[app]'" in said
    assert said.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("localhost", True), ("::1", True),
     ("0.0.0.0", False), ("127.evil.example", False), ("example.org", False), ("", False)],
)  # fmt: skip
def test_is_loopback(host, local):
    assert address.is_loopback(host) is local


@pytest.mark.parametrize("port", [-1, 1 << 20])
def test_addresses_that_are_none(port):
    with pytest.raises(GARVideoError, match="cannot listen"):
        address.check_address("127.0.0.1", port)
