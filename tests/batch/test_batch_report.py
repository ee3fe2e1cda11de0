"""The page of a run: what it holds, and what a visitor sees and does in a real Chromium."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from batch_runs import NIGHT, make_run

from gar_video.batch import reporting
from gar_video.batch.reporting import embed_json, write_report
from gar_video.batch.searching import Only
from gar_video.cli import run as cli
from gar_video.errors import GARVideoError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = os.environ.get("GAR_VIDEO_APP_SHOTS")  # a folder, for whoever wants to look

EVIL = "</script><img src=x onerror=\"document.title='pwned'\"><b>bold</b> & <!-- {{1+1}}"
# What cameras, labels and answers might say to a page that takes them for markup.
EVIL_NIGHT = [
    ("/v/<img src=x onerror=alert(1)>.mp4", EVIL, "2026-11-20T23:50:00+01:00", [
        ("what", (1,), 0.0, 10.0, [EVIL], EVIL),
        ("bag", (1,), 0.0, 10.0, [EVIL], None),
    ]),
]  # fmt: skip


def data_of(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("night of 40 cameras") / "run")


def test_a_page_holds_rows_pictures_and_failures(run):
    done = write_report(run)
    assert done.path == run / "report.html"
    assert (done.rows, done.embedded, done.linked, done.dropped, done.failures) == (11, 10, 0, 0, 1)
    data = data_of(done.path)
    assert len(data["rows"]) == 11
    assert data["pictures"][0].startswith("data:image/jpeg;base64,")
    assert base64.b64decode(data["pictures"][0].partition(",")[2])[:2] == b"\xff\xd8"
    assert data["failures"] == [["/v/yard 3.mp4", "what", [9], "the frame 3 is damaged"]]
    assert [video[2] for video in data["videos"]][-1] == "file:///v/yard%203.mp4"
    page = done.path.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)\s*=\s*["\']?https?:', page)
    assert "%DATA%" not in page


def test_pictures_beyond_the_budget_are_linked(run, tmp_path):
    done = write_report(run, tmp_path / "a b.html", embed_mib=10_000 / (1 << 20))
    assert done.embedded >= 1
    assert done.embedded + done.linked == 10
    linked = [name for name in data_of(done.path)["pictures"] if not name.startswith("data:")]
    assert len(linked) == done.linked > 0
    from urllib.parse import unquote

    assert all((tmp_path / unquote(name)).is_file() for name in linked)


def test_redacted_pages_show_nothing_of_the_rest(run, tmp_path):
    plain = data_of(write_report(run, tmp_path / "plain.html").path)["pictures"]
    done = write_report(
        run, tmp_path / "redacted.html", redact="people", embed_mib=10_000 / (1 << 20)
    )
    assert done.embedded >= 1
    assert (done.linked, done.embedded + done.dropped) == (0, 10)
    shown = data_of(done.path)["pictures"]
    assert len(shown) == done.embedded
    assert not set(shown) & set(plain)


@pytest.mark.parametrize(
    ("only", "count"),
    [
        pytest.param(Only(cameras=("gate",)), 7, id="camera"),
        pytest.param(Only(labels=("dog",)), 2, id="label"),
        pytest.param(Only(tasks=("way", "bag")), 3, id="tasks"),
        pytest.param(Only(since=reporting.datetime.fromisoformat("2026-11-21T08:30:00+01:00")), 3, id="since"),
        pytest.param(Only(until=reporting.datetime.fromisoformat("2026-11-21T00:00:00+01:00")), 4, id="until"),
    ],
)  # fmt: skip
def test_pages_of_a_part(run, tmp_path, only, count):
    assert write_report(run, tmp_path / "part.html", only).rows == count


def test_too_many_rows_are_counted(run, tmp_path):
    done = write_report(run, tmp_path / "few.html", most=4)
    assert (done.rows, done.left_out) == (4, 7)


@pytest.mark.parametrize(
    "text", [EVIL, "\u2028\u2029", "<!--<script>", "]]>", "\\", '"', "\x00\x7f"]
)
def test_no_text_ends_the_data(text):
    told = embed_json({"answer": text})
    assert json.loads(told) == {"answer": text}
    assert not set("<>&\u2028\u2029") & set(told)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(["nowhere"], "nowhere holds no run", id="no run"),
        pytest.param(["RUN", "--camera", "gatte"], "did you mean 'gate'?", id="camera"),
        pytest.param(["RUN", "--label", "caar"], "did you mean 'car'?", id="label"),
        pytest.param(["RUN", "--from", "soon"], "'soon' is no time", id="time"),
        pytest.param(["RUN", "--out", "page.pdf"], "expected a name ending in .html", id="ending"),
        pytest.param(["RUN", "--out", "no/where.html"], "make it first", id="folder"),
        pytest.param(["RUN", "--redact", "cars"], "'cars' is not one of 'faces', 'people'", id="redact"),
        pytest.param(["RUN", "--redact-with", "motion"], "add --redact faces or people", id="with"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(run, tmp_path, monkeypatch, line, said, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli(["batch", "report", *[str(run) if word == "RUN" else word for word in line]]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_is_inside(run, tmp_path, capsys):
    assert cli(["batch", "report", str(run), "--out", str(tmp_path / "x.html")]) == 0
    said = capsys.readouterr().out
    assert "11 answers in" in said
    assert "10 pictures inside, 0 shown from the run's folder, 0 left out" in said


def test_an_empty_run_has_a_page(tmp_path):
    assert write_report(make_run(tmp_path / "run", most=0)).rows == 0
    with pytest.raises(GARVideoError, match="holds no run"):
        write_report(tmp_path)


# ---------------------------------------------------------------- in a browser


def in_a_browser(test):
    """Run a test where there is a browser."""
    absent = pytest.mark.skipif(CHROMIUM is None, reason="no Debian chromium on this machine")
    return pytest.mark.slow(absent(test))


@pytest.fixture(scope="module")
def chromium():
    playwright_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed"
    )
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    made, problems = [], []

    def go(path: Path, **settings):
        settings.setdefault("viewport", {"width": 1280, "height": 900})
        context = chromium.new_context(**settings)
        made.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console", lambda said: problems.append(said.text) if said.type == "error" else None
        )
        page.on("request", lambda asked: problems.append(asked.url)
                if not asked.url.startswith(("file:", "data:")) else None)  # fmt: skip
        page.goto(path.absolute().as_uri())
        until(page, "document.querySelector('#count').textContent !== ''")
        return page

    yield go
    for context in made:
        context.close()
    assert problems == []


def until(page, true):
    """Wait; what waits in the page itself would be stopped by the page's own policy."""
    for _ in range(600):
        if page.evaluate(true):
            return
        page.wait_for_timeout(100)
    raise AssertionError(true)


def shoot(page, name):
    """Take a picture of all of the page, and check that nothing is wider than it."""
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{name}: {wide} pixels wider than the window"
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def answers(page) -> list[str]:
    return page.locator(".answer").evaluate_all("all => all.map(one => one.firstChild ? [...one.childNodes].filter(n => n.nodeName !== 'SMALL').map(n => n.textContent).join('') : '')")  # fmt: skip


@in_a_browser
def test_filters_words_and_the_way_to_the_moment(run, visit):
    page = visit(write_report(run).path)
    assert page.title() == "run – report"
    assert page.locator("#figures").inner_text().split() == [
        "answers", "11", "recordings", "4", "cameras", "3", "failures", "1",
    ]  # fmt: skip
    shoot(page, "report-wide-light")
    assert set(answers(page)[:4]) == {unit[5] for unit in NIGHT[0][3][:4]}
    until(page, "[...document.querySelectorAll('.shot img')].every(one => one.complete)")
    assert page.locator(".shot img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    link = page.locator("#rows a").nth(4)
    assert link.get_attribute("href") == "file:///v/gate_1.mp4#t=700.00"
    # Words by how they begin, endings aside; then everything else on top.
    page.fill("#words", "red turning")
    until(page, "document.querySelectorAll('#rows li').length === 2")
    assert page.locator("mark").all_inner_texts() == ["red", "turns", "turning", "red"]
    page.select_option("#camera", label="yard")
    assert answers(page) == [NIGHT[2][3][0][5]]
    page.select_option("#label", label="dog")
    assert page.locator(".none").inner_text() == "No answer fits these filters."
    page.click("#clear")
    assert len(answers(page)) == 11
    page.select_option("#day", "2026-11-21")
    assert len(answers(page)) == 6
    page.select_option("#order", "new")
    assert answers(page)[-1] == "A green car waits."
    page.select_option("#task", label="way")
    assert answers(page) == ["right"]
    page.click("#clear")
    # A bar of the chart is a stretch of time.
    page.locator("#chart g:has(.hit)").first.locator(".hit").click()
    assert len(answers(page)) == 4
    assert "✕" in page.locator("#span").inner_text()
    page.click("#span")
    assert len(answers(page)) == 11
    page.locator("#failed summary").click()
    assert "the frame 3 is damaged" in page.locator("#failures").inner_text()


@in_a_browser
def test_markup_in_answers_is_text(tmp_path, visit):
    page = visit(write_report(make_run(tmp_path / "run", EVIL_NIGHT)).path)
    page.locator("#failed summary").click()
    assert page.title() == "run – report"
    assert page.locator("img").count() == 1  # the thumbnail
    assert page.locator("#rows b b, .answer b").count() == 0
    assert answers(page) == [EVIL]
    assert EVIL in page.locator("#camera").inner_text()
    assert "<img src=x onerror=alert(1)>.mp4" in page.locator("#failures").inner_text()
    page.fill("#words", "bold")
    page.wait_for_selector("mark")
    assert page.locator(".answer b").count() == 0
    shoot(page, "report-evil")


def many(count: int):
    """A long night: rows, cameras and words as there are many."""
    things, ways = ("car", "person", "dog", "truck"), ("left", "right", "straight on", "back again")
    cameras = [
        f"camera {n:02d} – {('gate', 'yard', 'north corridor by the lifts')[n % 3]}"
        for n in range(8)
    ]
    night = []
    for n in range(max(1, count // 25)):
        hour, minute = divmod(7 * n % 1440, 60)
        units = []
        for k in range(min(25, count)):
            thing, way = things[(n + k) % 4], ways[(n + 2 * k) % 4]
            units.append((
                "what", (k + 1,), 10.0 * k, 10.0 * k + 10, [thing],
                f"A {('red', 'blue', 'white')[k % 3]} {thing} comes in at the left, waits a moment beside the wall and goes {way}.",
            ))  # fmt: skip
        start = f"2026-11-{20 + n % 2}T{hour:02d}:{minute:02d}:00+01:00"
        night.append((f"/footage/{cameras[n % 8]}/clip_{n:04d}.mp4", cameras[n % 8], start, units))
    return night


@in_a_browser
def test_ten_thousand_rows_page_by_page(tmp_path, visit):
    page = visit(write_report(make_run(tmp_path / "run", many(10_000), thumbnails=False)).path)
    assert page.locator("#count").inner_text() == "10,000 answers"
    assert page.locator("#rows li").count() == 50
    page.get_by_role("button", name="Next").click()
    assert page.locator("#pages span").inner_text() == "Page 2 of 200"
    page.fill("#words", "white truck straight")
    until(page, "document.querySelector('#count').textContent.includes(' of 10,000')")
    assert len(answers(page)) == 50
    assert all("white truck" in text and "straight" in text for text in answers(page))
    shoot(page, "report-many-wide-light")


@in_a_browser
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param("wide-dark", {"color_scheme": "dark"}, id="wide dark"),
        pytest.param("narrow-light", {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 2}, id="narrow light"),
        pytest.param("narrow-dark", {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "device_scale_factor": 2}, id="narrow dark"),
        pytest.param("tablet-light", {"viewport": {"width": 768, "height": 1024}}, id="tablet"),
    ],
)  # fmt: skip
def test_other_looks(tmp_path_factory, visit, name, settings):
    run = make_run(tmp_path_factory.mktemp("looks") / "night of 40 cameras", [*NIGHT, *many(75)])
    page = visit(
        write_report(run, redact="faces" if name == "wide-dark" else None).path, **settings
    )
    assert page.locator("#rows li").count() == 50
    small = page.locator("#rows button, #rows a, select").evaluate_all(
        "all => all.filter(one => one.getBoundingClientRect().height < 32).length"
    )
    assert small == 0
    shoot(page, f"report-{name}")
