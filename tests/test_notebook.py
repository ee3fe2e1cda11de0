from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from gar_video import Answer, Choice, Tracks
from gar_video.timeline import Event, Segment, Summary, Timeline

EVIL = "<script>alert('x')</script>\"'&"
SAFE = "&lt;script&gt;"
_SEEN = {"objects": (1,), "frames": (0, 3), "times_s": (0.0, 1.5), "visible": {1: 0.5}}


def answer(text=EVIL):
    return Answer(**_SEEN, question=EVIL, model=EVIL, text=text, token_ids=(), finish_reason="stop")


def choice(index=0, probabilities=(0.75, 0.25)):
    return Choice(
        **_SEEN, question=EVIL, model="m", options=(EVIL, "no"), index=index,
        probabilities=probabilities, by="text", text=EVIL,
    )  # fmt: skip


def tracks(count=1, label=EVIL):
    masks = np.zeros((6, 20, 30), bool)
    masks[1:3, 4:9, 3:8] = masks[5, 4:9, 10:15] = True
    ids = range(1, count + 1)
    return Tracks.from_masks(dict.fromkeys(ids, masks), dict.fromkeys(ids, label))


def timeline(count=1, segments=2):
    return Timeline(
        EVIL, 4.0, 2.0, EVIL, EVIL, tuple(range(1, count + 1)), dict.fromkeys(range(1, count + 1), EVIL),
        tuple(Segment(i, at / 9, at / 9 + 1, EVIL, (0,)) for i in range(1, count + 1) for at in range(segments)),
        (Event(1, 1.0, "turns", EVIL),),
        tuple(Summary(i, EVIL, "notes") for i in range(1, count + 1)),
    )  # fmt: skip


class Page(HTMLParser):
    """Collects tags and what is open, so that pages are known to be whole."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.words = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def read(page):
    parser = Page()
    parser.feed(page)
    assert not parser.open
    assert not {"script", "img", "iframe", "link"} & set(parser.tags)  # nothing is fetched or run
    return parser


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(answer(), id="answer"),
        pytest.param(choice(), id="choice"),
        pytest.param(choice(None, ()), id="no-choice"),
        pytest.param(tracks(), id="tracks"),
        pytest.param(tracks()[1], id="track"),
        pytest.param(timeline(), id="timeline"),
    ],
)
def test_shows_itself_whole_and_escaped(shown):
    page = shown._repr_html_()
    assert SAFE in page
    assert "alert('x')" in read(page).words
    assert len(page) < 6_000


def test_a_choice_shows_its_odds():
    page = read(choice()._repr_html_())
    assert "75%" in page.words
    assert "25%" in page.words


def test_a_bar_shows_when_an_object_is_seen():
    from gar_video.notebook import presence_svg

    bar = presence_svg(tracks()[1], (1, 2, 3), width=60)
    assert 'x="10" y="0" width="20"' in bar  # frames 1 and 2 of 6
    assert 'x="50" y="0" width="10"' in bar  # frame 5
    assert bar.count("<rect") == 3


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(tracks(150, "x"), id="tracks"),
        pytest.param(timeline(150, 9), id="timeline"),
    ],
)
def test_a_page_of_many_stays_small(shown):
    page = shown._repr_html_()
    assert "more" in read(page).words
    assert len(page) < 300_000


def test_what_is_never_seen():
    empty = Tracks.from_masks({1: np.zeros((2, 4, 4), bool)}, allow_empty=True)
    assert "never visible" in read(empty._repr_html_()).words
    assert "never visible" in read(empty[1]._repr_html_()).words
    assert read(Timeline("v", 0.0, 1, "q", "m", (), {}, (), (), ())._repr_html_())
