from __future__ import annotations

import pytest

from gar_video.commands.values import (
    parse_box,
    parse_point,
    parse_time,
    parse_whole,
    parse_whole_list,
)
from gar_video.errors import PromptError


@pytest.mark.parametrize(
    ("text", "window"),
    [
        pytest.param("3:9.5", (3.0, 9.5), id="two-numbers-are-seconds"),
        pytest.param("0:03", (0.0, 3.0), id="two-numbers-are-seconds-even-padded"),
        pytest.param("3-9.5", (3.0, 9.5), id="dash"),
        pytest.param("3..9.5", (3.0, 9.5), id="dots"),
        pytest.param("3–9", (3.0, 9.0), id="en-dash"),
        pytest.param("0:03-0:09", (3.0, 9.0), id="mm-ss-dash"),
        pytest.param("00:03-00:09.5", (3.0, 9.5), id="mm-ss-fraction"),
        pytest.param("0:59..1:01", (59.0, 61.0), id="over-the-minute"),
        pytest.param("0:03:0:09", (3.0, 9.0), id="four-numbers-are-mm-ss"),
        pytest.param("01:10:01:20", (70.0, 80.0), id="four-padded-numbers-are-mm-ss"),
        pytest.param("0:00:03:0:00:09", (3.0, 9.0), id="six-numbers-are-hh-mm-ss"),
        pytest.param("1:00:00-1:00:05", (3600.0, 3605.0), id="hh-mm-ss-dash"),
        pytest.param("90:00-90:01", (5400.0, 5401.0), id="minutes-beyond-an-hour"),
        pytest.param("5-0:09", (5.0, 9.0), id="mixed"),
        pytest.param("3-", (3.0, None), id="to-the-end-dash"),
        pytest.param("3:", (3.0, None), id="to-the-end-colon"),
        pytest.param("..9", (0.0, 9.0), id="from-the-beginning-dots"),
        pytest.param(":9", (0.0, 9.0), id="from-the-beginning-colon"),
        pytest.param(" .5 : 1.25 ", (0.5, 1.25), id="spaces-and-bare-fraction"),
    ],
)
def test_times(text, window):
    assert parse_time(text) == window


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("9:3", "read as 9 s to 3 s", id="reversed"),
        pytest.param("3:3", "read as 3 s to 3 s", id="empty"),
        pytest.param("1:30-0:10", "read as 90 s to 10 s", id="reversed-mm-ss"),
        pytest.param("3", "1 number ", id="one-number"),
        pytest.param("1:00:30", "3 numbers", id="three-numbers-are-ambiguous"),
        pytest.param("1:2:3:4:5", "5 numbers", id="five-numbers-are-ambiguous"),
        pytest.param("-5:3", "expected START:END", id="negative"),
        pytest.param("3:-9", "expected START:END", id="negative-end-reads-as-open"),
        pytest.param("0:75-2:00", "60 or more", id="seventy-five-seconds"),
        pytest.param("1:60:00-2:00:00", "60 or more", id="sixty-minutes"),
        pytest.param("a:b", "'a' is no time", id="words"),
        pytest.param("nan:4", "'nan' is no time", id="nan"),
        pytest.param("0:inf", "'inf' is no time", id="infinity"),
        pytest.param("1e2:2e2", "is no time", id="exponents"),
        pytest.param("٣:٩", "is no time", id="digits-of-other-scripts"),
        pytest.param("", "expected START:END", id="nothing"),
        pytest.param(":", "expected START:END", id="only-a-colon"),
        pytest.param("-", "expected START:END", id="only-a-dash"),
        pytest.param("..", "expected START:END", id="only-dots"),
        pytest.param("1-2-3", "expected START:END", id="two-dashes"),
        pytest.param("1.5:00-2:00", "is no time", id="fraction-of-a-minute"),
        pytest.param("1:2:3:4-5", "is no time", id="too-many-parts"),
    ],
)
def test_bad_times(text, says):
    with pytest.raises(PromptError, match="--time") as caught:
        parse_time(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("1,2,30,40", (1.0, 2.0, 30.0, 40.0), id="whole"),
        pytest.param(" 1.5, 2 ,30,40 ", (1.5, 2.0, 30.0, 40.0), id="fractions-and-spaces"),
        pytest.param("-3,0,5,5", (-3.0, 0.0, 5.0, 5.0), id="outside-is-for-the-video-to-say"),
        pytest.param("1,2,30", "3 values", id="three"),
        pytest.param("1,2,30,40,50", "5 values", id="five"),
        pytest.param("1;2;30;40", "no number", id="semicolons"),
        pytest.param("1,2,30,x", "'x' is no number", id="word"),
        pytest.param("", "no number", id="nothing"),
    ],
)
def test_boxes(text, expected):
    if isinstance(expected, tuple):
        assert parse_box(text) == expected
    else:
        with pytest.raises(PromptError, match=expected):
            parse_box(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("4,5", (4.0, 5.0, 1), id="on"),
        pytest.param("4,5,1", (4.0, 5.0, 1), id="on-said-so"),
        pytest.param("4,5,0", (4.0, 5.0, 0), id="off"),
        pytest.param("4.5,5.25", (4.5, 5.25, 1), id="fractions"),
        pytest.param("4", "1 values", id="one"),
        pytest.param("4,5,2", "ends in 2", id="label-2"),
        pytest.param("4,5,0.5", "ends in 0.5", id="label-half"),
        pytest.param("4,5,-1", "ends in -1", id="label-negative"),
        pytest.param("4,y", "'y' is no number", id="word"),
        pytest.param("1,2,3,4", "4 values", id="a-box"),
    ],
)
def test_points(text, expected):
    if isinstance(expected, tuple):
        assert parse_point(text) == expected
    else:
        with pytest.raises(PromptError, match=expected):
            parse_point(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("0,5,9", [0, 5, 9], id="three"),
        pytest.param("7", [7], id="one"),
        pytest.param(" 1 , 2 ", [1, 2], id="spaces"),
        pytest.param("1,,2", None, id="gap"),
        pytest.param("-1", None, id="negative"),
        pytest.param("1.5", None, id="fraction"),
        pytest.param("", None, id="nothing"),
        pytest.param("1-5", None, id="range"),
    ],
)
def test_lists(text, expected):
    if expected is not None:
        assert parse_whole_list(text, "--frames") == expected
    else:
        with pytest.raises(PromptError, match="--frames"):
            parse_whole_list(text, "--frames")


@pytest.mark.parametrize("text", ["-1", "1.0", "x", "", "1e3", "٣", "9" * 30])
def test_bad_whole_numbers(text):
    with pytest.raises(PromptError, match=r"--frame .*expected a whole number"):
        parse_whole(text, "--frame")
