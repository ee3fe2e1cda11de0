from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gar_video.app.models import Models
from gar_video.app.serving import SCRIPTS, Gate, add_routes, asset
from gar_video.app.sessions import Sessions


@pytest.fixture
def sessions():
    made = Sessions(Models())
    yield made
    made.close()


@pytest.fixture
def app(sessions):
    made = Starlette(routes=[Route("/", lambda _: PlainTextResponse("the page"))])
    add_routes(made, sessions)
    return made


def behind(app, host="127.0.0.1", **gate):
    settings = {"token": None, "only_local": True, **gate}
    return TestClient(Gate(app, **settings), base_url=f"http://{host}:7860")


def test_frames_and_thumbnails(app, sessions):
    session = sessions.create()
    session.open(np.full((3, 60, 90, 3), 120, np.uint8))
    client = behind(app)
    for path, size in (("frames", (800, 533)), ("thumbs", (90, 60))):
        got = client.get(f"/{path}/{session.key}/2.jpg?v=1")
        assert got.status_code == 200
        assert got.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(got.content)).size == size
    other = sessions.create()
    for path in (
        f"/frames/{session.key}/3.jpg", f"/frames/{other.key}/0.jpg", "/frames/x/0.jpg",
        f"/frames/{session.key}/-1.jpg", f"/frames/{session.key}/a.jpg",
    ):  # fmt: skip
        assert client.get(path).status_code == 404, path


@pytest.mark.parametrize(
    "name",
    ["other.txt", "../secret.txt", "..%2Fsecret.txt", "%2e%2e/secret.txt", "/etc/passwd", ""],
)
def test_only_exported_files_are_given(app, sessions, name):
    session = sessions.create()
    (session.folder.parent / "secret.txt").write_text("secret")
    (session.folder / "other.txt").write_text("secret")
    (session.folder / "out.txt").write_text("mine")
    session.files["out.txt"] = session.folder / "out.txt"
    client = behind(app)
    got = client.get(f"/files/{session.key}/out.txt")
    assert (got.text, got.status_code) == ("mine", 200)
    assert got.headers["content-disposition"].startswith("attachment")
    assert "secret" not in client.get(f"/files/{session.key}/{name}").text
    assert client.get(f"/files/{sessions.create().key}/out.txt").status_code == 404


def test_other_names_of_this_machine_are_refused(app):
    assert behind(app).get("/").text == "the page"
    assert behind(app, host="localhost").get("/").text == "the page"
    assert behind(app, host="evil.example").get("/").status_code == 421
    assert behind(app, host="evil.example", only_local=False).get("/").status_code == 200


def test_the_token_opens_the_page_once_shown(app):
    client = behind(app, token="a very secret one")
    assert client.get("/").status_code == 401
    assert client.get("/page.js").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    assert client.get("/?token=caf%C3%A9").status_code == 401
    got = client.get("/?token=a%20very%20secret%20one")
    assert got.text == "the page"
    assert "token" not in str(got.url)
    assert client.get("/page.js").status_code == 200
    client.cookies.set("gar_video_token", "wrong")


def test_nothing_may_come_from_elsewhere(app):
    policy = behind(app).get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http:" not in policy
    assert "https:" not in policy


def test_scripts_and_styles_name_no_other_place(app):
    everything = "".join(asset(name) for name in (*SCRIPTS, "page.css", "stage.html"))
    assert "https://" not in everything
    assert "http://" not in everything.replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in everything  # words become text, never markup
    assert behind(app).get("/page.js").text.count("use strict") == len(SCRIPTS)


def test_the_end_of_the_world_passes_through_the_gate(app):
    """What is neither a page nor a socket, such as the server's start and end, is let through."""
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(
        Gate(inner, token="secret-secret", only_local=True)({"type": "lifespan"}, None, None)
    )
    assert seen == ["lifespan"]
