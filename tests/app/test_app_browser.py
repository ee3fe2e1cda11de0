"""The page in a real Chromium: what a visitor sees and does."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from gar_video import Tracks, Video
from gar_video.synth.write import write_clip

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = os.environ.get("GAR_VIDEO_APP_SHOTS")  # a folder, for whoever wants to look

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Debian chromium on this machine"),
    pytest.mark.skipif(find_spec("gradio") is None, reason="the extra `app` is not installed"),
]
playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

_WAIT_MS = 60_000
# A large blue circle that stays, and a small red one that goes up behind it.
_SEED, _SIZE = 24, (320, 240)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path, tracks, _ = write_clip(
        tmp_path_factory.mktemp("clip") / "clip.mp4",
        _SEED, num_objects=2, duration_s=1.0, resolution_wh=_SIZE,
    )  # fmt: skip
    return path, tracks


@pytest.fixture(scope="module")
def server(clip, tmp_path_factory):
    """``gar-video app CLIP`` on a port of its own: its address, its process, its temporary files."""
    room = tmp_path_factory.mktemp("room")
    process = subprocess.Popen(
        [sys.executable, "-m", "gar_video.cli", "app", str(clip[0]), "--port", "0"],
        stdout=subprocess.PIPE, stderr=(room / "stderr.txt").open("w"), text=True,
        env={**os.environ, "TMPDIR": str(room), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, (room / "stderr.txt").read_text()
        yield found[0], process, room
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


@pytest.fixture(scope="module")
def chromium():
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A browser of its own, looking at the page."""

    def __init__(self, chromium, address, **settings):
        settings.setdefault("viewport", {"width": 1280, "height": 900})
        self.context = chromium.new_context(**settings)
        self.page = self.context.new_page()
        self.page.set_default_timeout(_WAIT_MS)
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._note_foreign)
        self._address = address
        self.page.goto(address, wait_until="domcontentloaded")
        self.page.wait_for_selector(".gv-view img[src]")

    def _note_foreign(self, request):
        if not request.url.startswith((self._address, "data:", "blob:")):
            self.problems.append(f"asked for {request.url}")

    def at(self, x, y):
        """Where a pixel of the clip is in the picture."""
        box = self.page.locator(".gv-view").bounding_box()
        return {"x": x / _SIZE[0] * box["width"], "y": y / _SIZE[1] * box["height"]}

    def click(self, x, y, **how):
        self.page.locator(".gv-view").click(position=self.at(x, y), **how)

    def drag(self, *way):
        self.page.locator(".gv-view").scroll_into_view_if_needed()
        box = self.page.locator(".gv-view").bounding_box()
        for number, (x, y) in enumerate(way):
            spot = self.at(x, y)
            self.page.mouse.move(box["x"] + spot["x"], box["y"] + spot["y"])
            if number == 0:
                self.page.mouse.down()
        self.page.mouse.up()

    def tab(self, name):
        self.page.get_by_role("tab", name=name).click()

    def see(self, selector):
        return self.page.wait_for_selector(selector)

    def state(self):
        return self.page.evaluate("gv.state")

    def shoot(self, name):
        """Take a picture of all of the page, and check that nothing is wider than it."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name}: {wide} pixels wider than the window"
        if SHOTS:
            self.page.evaluate("scrollTo(0, 0)")
            self.page.wait_for_timeout(600)
            self.page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


@pytest.fixture
def visit(chromium, server):
    made: list[Visit] = []

    def go(**settings):
        made.append(Visit(chromium, server[0], **settings))
        return made[-1]

    yield go
    for one in made:
        one.context.close()
        assert one.problems == []


def _fetched(visit, selector, act):
    with visit.page.expect_download(timeout=_WAIT_MS) as download:
        act()
        visit.see(selector)
        visit.page.locator(selector).first.click()
    return Path(download.value.path()), download.value.suggested_filename


def test_point_track_describe_ask_choose_and_take_home(visit, clip, server):
    one = visit()
    page = one.page
    one.shoot("wide-light-opened")
    # A click and a correction, then a box for the second object.
    one.click(264, 96)
    one.see(".gv-lane[data-id='1'] .gv-mark")
    page.locator("[data-add]").click()
    one.see(".gv-lane[data-id='2'].gv-active")
    page.locator("[data-tool=box]").click()
    one.drag((243, 175), (260, 190), (286, 217))
    one.see(".gv-lane[data-id='2'] .gv-mark")
    page.locator("[data-name='2']").fill("<b>ball</b>")
    page.locator("[data-name='2']").press("Enter")
    page.wait_for_function("gv.state.objects[1].name === '<b>ball</b>'")
    assert one.state()["objects"][0]["marks"]["0"]["points"][0][:2] == pytest.approx(
        [264, 96], abs=2
    )
    page.locator("#gv-track").click()
    one.see(".gv-progress:not([hidden])")
    one.see(".gv-lane[data-id='2'] .gv-run")
    assert [len(o["runs"]) > 0 for o in one.state()["objects"]] == [True, True]

    # Words: each object is described as what it is.
    page.locator("#gv-describe").click()
    one.see(".gv-describe >> nth=1")
    one.see(".gv-describe >> nth=1 >> .gv-thumb")
    page.wait_for_function("document.querySelectorAll('.gv-describe .gv-rests').length === 2")
    second, first = page.locator(".gv-describe .gv-words").all_inner_texts()
    assert ("blue" in first) + ("circle" in first) + ("red" in second) + ("circle" in second) >= 3
    assert "blue" in first or "red" in second

    # A question about both, reached by the key; its words grow; a chip writes <2>.
    page.keyboard.press("Escape")
    page.locator(".gv-clock").click()
    page.keyboard.press("/")
    page.keyboard.type("Where is <1> from ")
    page.locator(".gv-insert[data-into=gv-question] button").nth(1).click()
    page.keyboard.type(" at the end?")
    page.keyboard.press("Enter")
    one.see(".gv-ask .gv-rests")
    assert page.locator(".gv-ask .gv-words").first.inner_text().strip()
    asked = page.locator(".gv-ask .gv-question .gv-chip").all_inner_texts()
    assert asked == ["1", "2"]

    # Thumbnails lead to their frames.
    thumbs = page.locator(".gv-ask .gv-thumb")
    frame = int(thumbs.last.get_attribute("data-frame"))
    thumbs.last.click()
    assert page.evaluate("gv.frame") == frame > 0

    # Options have bars, and questions look at the part that was dragged out.
    ruler = page.locator(".gv-ruler").bounding_box()
    page.mouse.move(ruler["x"] + 2, ruler["y"] + 8)
    page.mouse.down()
    page.mouse.move(ruler["x"] + ruler["width"] * 0.2, ruler["y"] + 8)
    page.mouse.move(ruler["x"] + ruler["width"] * 0.4, ruler["y"] + 8)
    page.mouse.up()
    page.wait_for_function("gv.state.window !== null && gv.state.window[1] < 0.5")
    one.tab("Choose")
    page.locator("#gv-choice textarea").fill("What color is <2>?")
    page.locator("#gv-options textarea").fill("red\nblue\ngreen")
    page.locator("#gv-choose").click()
    one.see(".gv-option.gv-best")
    shares = [int(text[:-1]) for text in page.locator(".gv-option .gv-share").all_inner_texts()]
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(100, abs=2)
    assert (
        max(int(t.get_attribute("data-frame")) for t in page.locator(".gv-choose .gv-thumb").all())
        < 8
    )
    one.shoot("wide-light-answered")

    # And everything can be taken home.
    one.tab("Export")
    button = page.locator("#gv-export-tracks")
    path, name = _fetched(one, ".gv-files a[href$='.json']", button.click)
    assert name == "clip.tracks.json"
    saved = Tracks.load(shutil.copy(path, server[2] / "got.json"), video=clip[0])
    assert saved.object_ids == (1, 2)
    assert saved[2].label == "<b>ball</b>"
    path, _ = _fetched(
        one, ".gv-files a[href$='.all-formats.zip']", page.locator("#gv-export-all").click
    )
    assert len(zipfile.ZipFile(path).namelist()) > 20
    button = page.locator("#gv-export-video")
    path, _ = _fetched(one, ".gv-files a[href$='.mp4']", button.click)
    assert len(Video(shutil.copy(path, server[2] / "got.mp4"))) == 15
    button = page.locator("#gv-export-transcript")
    path, _ = _fetched(one, ".gv-files a[href$='.answers.json']", button.click)
    answers = json.loads(path.read_text(encoding="utf-8"))
    assert [entry["text"] for entry in answers[:2]] == [first, second]
    one.shoot("wide-light-exported")

    # Nobody else sees any of it.
    other = visit()
    assert other.state()["objects"] == []
    assert other.state()["key"] != one.state()["key"]
    assert other.page.locator(".gv-card").count() == 0
    href = page.locator(".gv-files a").first.get_attribute("href")
    stolen = href.replace(one.state()["key"], other.state()["key"])
    assert other.page.request.get(server[0].rstrip("/") + stolen).status == 404


def test_keys_painting_correcting_and_undoing(visit):
    one = visit(color_scheme="dark")
    page = one.page
    page.locator(".gv-clock").click()
    for key, frame in (
        ("ArrowRight", 1),
        ("Shift+ArrowRight", 11),
        ("ArrowLeft", 10),
        ("End", 14),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert page.evaluate("gv.frame") == frame
    page.keyboard.press("Space")
    page.wait_for_function("gv.frame > 3")
    page.keyboard.press("Space")
    assert page.evaluate("gv.playing") is None
    page.keyboard.press("Home")
    page.locator("[data-tool=brush]").click()
    one.drag((240, 90), (264, 96), (290, 100))
    page.wait_for_function("gv.state.objects.length === 1 && gv.state.objects[0].marks[0].paint")
    page.locator("[data-tool=on]").click()
    one.click(100, 100)
    one.see(".gv-problem")  # paint stands alone, and it says so
    page.keyboard.press("Control+z")
    page.wait_for_function("gv.state.objects.length === 1 && !gv.state.objects[0].marks[0]")
    one.click(264, 96)
    one.click(100, 60, modifiers=["Shift"])
    page.wait_for_function("(gv.state.objects[0].marks[0] || {points: []}).points.length === 2")
    assert [p[2] for p in one.state()["objects"][0]["marks"]["0"]["points"]] == [1, 0]
    page.locator("[data-add]").click()
    one.see(".gv-lane[data-id='2'].gv-active")
    page.locator(".gv-clock").click()
    page.keyboard.press("1")
    one.see(".gv-lane[data-id='1'].gv-active")
    one.shoot("wide-dark-pointed")
    page.keyboard.press("m")
    page.wait_for_function("document.querySelector('.gv-view img').src.includes('plain')")


def test_mistakes_are_said_kindly(visit, tmp_path):
    one = visit(viewport={"width": 390, "height": 844}, has_touch=True)
    page = one.page
    one.shoot("narrow-light-opened")
    page.locator("#gv-track").click()
    page.wait_for_function(
        "document.querySelector('.gv-message').textContent.includes('nothing is pointed at')"
    )
    page.locator("#gv-describe").click()
    page.get_by_text("nothing is tracked yet").first.wait_for()
    page.locator("#gv-question textarea").fill("Is <9> red?")
    page.locator("#gv-ask").click()
    page.get_by_text("there is no object").first.wait_for()
    assert page.locator("#gv-question textarea").input_value() == "Is <9> red?"  # to be mended
    bad = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    bad.write_bytes(b"no video at all")
    page.locator("#gv-top input[type=file]").set_input_files(str(bad))
    one.see(".gv-problem")
    assert one.state()["clip"]["name"] == "clip.mp4"  # the clip before stays
    assert page.locator("img[src=x]").count() == 0


def test_tracks_of_others_and_narrow_and_dark(visit, clip):
    one = visit(
        viewport={"width": 390, "height": 844},
        color_scheme="dark",
        has_touch=True,
        device_scale_factor=2,
    )
    page = one.page
    assert page.evaluate("document.body.classList.contains('dark')")
    one.tab("Load")
    page.locator("#gv-tabs input[type=file]").set_input_files(str(clip[1]))
    one.see(".gv-lane[data-id='2'] .gv-run")
    assert one.state()["objects"][0]["name"] == "large blue circle"
    one.tab("Ask")
    page.locator("#gv-describe").click()
    page.wait_for_function("document.querySelectorAll('.gv-describe .gv-rests').length === 2")
    one.shoot("narrow-dark-described")
    one.tab("Models")
    one.shoot("narrow-dark-models")


def test_tracking_shows_how_far_it_is_and_can_be_cancelled(visit, tmp_path):
    long, *_ = write_clip(
        tmp_path / "long.mp4", _SEED, num_objects=2, duration_s=20.0, resolution_wh=(160, 120)
    )
    one = visit()
    page = one.page
    page.locator("#gv-top input[type=file]").set_input_files(str(long))
    page.wait_for_function("gv.state.clip.name === 'long.mp4'")
    one.click(264, 96)
    one.see(".gv-lane[data-id='1'] .gv-mark")
    # The page itself watches and cancels: from here a busy machine may look too late.
    page.evaluate("""() => {
        window.seen = [];
        const watch = setInterval(() => {
            const busy = gv.state.busy;
            if (!busy || !busy.done) return;
            window.seen.push([busy.done, busy.total]);
            document.querySelector("#gv-cancel").click();
            clearInterval(watch);
        }, 10);
    }""")
    page.locator("#gv-track").click()
    page.get_by_text("Cancelled").wait_for()
    ((done, total),) = page.evaluate("window.seen")
    assert 0 < done < total == 300
    assert page.evaluate("gv.state.busy") is None
    assert not one.state()["objects"][0]["tracked"]
    assert page.locator("#gv-cancel").is_hidden()


def test_left_pages_are_cleaned_up_and_the_end_is_quiet(visit, server):
    _, process, room = server
    one = visit(viewport={"width": 700, "height": 800})
    one.page.locator("#gv-rendered").click()
    one.page.wait_for_function("gv.state.clip.name.startsWith('rendered-')")
    one.shoot("middle-light-rendered")
    assert list(room.glob("gar-video-app-*/*/rendered-*.mp4"))
    process.send_signal(signal.SIGINT)
    assert process.wait(120) in (0, 130)
    assert not list(room.glob("gar-video-app-*"))
    assert "Traceback" not in (room / "stderr.txt").read_text()
