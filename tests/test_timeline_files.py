from __future__ import annotations

import builtins
import csv
import html
import json
import re
from itertools import pairwise

import pytest

from gar_video import GARVideoError
from gar_video.timeline import Event, Segment, Summary, Timeline
from gar_video.timeline_files import COLUMNS, cues, rows, to_srt, to_vtt

HOUR = 3600.0


def timeline(segments=(), events=(), summaries=(), labels=None, duration=10.0):
    ids = sorted({row.object_id for row in (*segments, *events, *summaries)}) or [1]
    return Timeline(
        "clip.mp4", duration, 2.0, "Describe.", "nano", tuple(ids), labels or {},
        tuple(segments), tuple(events), tuple(summaries),
    )  # fmt: skip


def words(object_id, start, end, text="moves left"):
    return Segment(object_id, float(start), float(end), text, (0, 5))


PLAIN = timeline(
    [words(1, 0, 4), words(2, 2.5, 6, "waits"), words(1, 4, 6.25, "moves right")],
    [Event(1, 4.0, "turns", "from left to right"), Event(2, 2.5, "appears", "at the left edge")],
    [Summary(1, "goes to and fro", "model"), Summary(2, "waits", "notes")],
    {2: "old car"},
)
NASTY = [
    "<b>bold</b> & <1> --> {\\an8}", "a\n\nblank line\r\nand 00:00:01,000 --> 00:00:02,000", "12",
    'quotes "," and; semicolons', "=1+1", "NOTE remark", "WEBVTT", "tab\tand \u2028 separator",
    "\N{SMILING FACE WITH SUNGLASSES} čeština \u200f",
]  # fmt: skip
CASES = [
    pytest.param(PLAIN, id="overlapping-objects"),
    pytest.param(timeline(), id="empty"),
    pytest.param(timeline([words(1, i, i + 1, text) for i, text in enumerate(NASTY)]), id="nasty"),
    pytest.param(timeline([words(1, 3, 3)]), id="no-length"),
    pytest.param(
        timeline([words(1, 123 * HOUR, 123 * HOUR + 61.5)], duration=200 * HOUR), id="hours-over-99"
    ),
    pytest.param(timeline(events=[Event(1, 10.0, "leaves")]), id="event-at-the-end"),
    pytest.param(timeline([words(1, 0, 2)], labels={1: "a\n\nb<c>"}), id="label"),
    pytest.param(
        timeline([words(i, i * 0.001, 5 + i * 0.001) for i in range(1, 6)]), id="close-together"
    ),
]


def read_srt(text):
    """Read SubRip by its rules: number, times, lines, a blank line."""
    found = []
    if not text:
        return found
    assert text.endswith("\n\n")
    for number, block in enumerate(text[:-2].split("\n\n"), start=1):
        lines = block.split("\n")
        assert lines[0] == str(number)
        match = re.fullmatch(
            r"(\d\d+):([0-5]\d):([0-5]\d),(\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d),(\d{3})", lines[1]
        )
        assert match, lines[1]
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups())
        assert lines[2:]
        assert all(line.strip() for line in lines[2:])
        found.append(
            (
                ((h * 60 + m) * 60 + s) * 1000 + ms,
                ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2,
                lines[2:],
            )
        )
    return found


def read_vtt(text):
    """Read WebVTT by its rules: header, blocks with a times line, text in which & < are markup."""
    assert text.startswith("WEBVTT\n\n")
    found = []
    for block in filter(None, text[len("WEBVTT\n\n") :].split("\n\n")):
        first, *lines = block.split("\n")
        match = re.fullmatch(
            r"(\d\d+):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d)\.(\d{3})", first
        )
        assert match, first
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups())
        for line in lines:
            assert "-->" not in line
            assert "<" not in line
            assert re.sub(r"&(amp|lt|gt);", "", line).count("&") == 0
        found.append(
            (
                ((h * 60 + m) * 60 + s) * 1000 + ms,
                ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2,
                [html.unescape(line) for line in lines],
            )
        )
    return found


@pytest.mark.parametrize("made", CASES)
def test_subtitles_are_valid_and_say_all(made):
    srt, vtt = read_srt(to_srt(made)), read_vtt(to_vtt(made))
    assert [(a, b) for a, b, _ in srt] == [(a, b) for a, b, _ in vtt]
    for start, end, _ in vtt:
        assert start < end
    for (_, end, _), (start, _, _) in pairwise(vtt):
        assert end <= start  # one voice: no player hides one cue behind another
    for one in made.segments:
        line = " ".join(f"{made.name(one.object_id)}: {one.text}".split())
        at = [lines for a, b, lines in vtt if a <= round(one.start_s * 1000) < b]
        assert line in at[0]
        plain = line.translate(str.maketrans("<>{}", "‹›()"))
        assert any(plain in lines for _, _, lines in srt)
    for event in made.events:
        assert any(f"[{made.name(event.object_id)} {event.text}]" in lines for _, _, lines in vtt)
    assert not any(c in to_srt(made).replace("-->", "") for c in "<>{}")


def test_what_holds_at_once_stands_in_one_cue():
    assert cues(PLAIN) == [
        (0, 2500, ("1: moves left",)),
        (2500, 4000, ("1: moves left", "2 (old car): waits", "[2 (old car) appears at the left edge]")),
        (4000, 5500, ("1: moves right", "[1 turns from left to right]", "2 (old car): waits")),
        (5500, 6000, ("1: moves right", "2 (old car): waits")),
        (6000, 6250, ("1: moves right",)),
    ]  # fmt: skip


def test_hours_over_99():
    made = timeline([words(1, 123 * HOUR, 123 * HOUR + 61.5)], duration=200 * HOUR)
    assert "123:00:00,000 --> 123:01:01,500" in to_srt(made)
    assert "123:00:00.000 --> 123:01:01.500" in to_vtt(made)


@pytest.mark.parametrize("made", CASES)
def test_json_comes_back_equal(made, tmp_path):
    made.save(tmp_path / "t.json")
    assert Timeline.load(tmp_path / "t.json") == made
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(made.to_dict())
    )


@pytest.mark.parametrize("made", CASES)
def test_csv_comes_back_row_by_row(made, tmp_path):
    made.save(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    expected = rows(made)
    assert len(read) == len(expected)
    for got, row in zip(read, expected, strict=True):
        assert tuple(got) == COLUMNS
        text = got["text"].removeprefix("'") if got["text"][:2] in ("'=", "'+") else got["text"]
        assert text.splitlines() == row["text"].splitlines()
        assert int(got["object_id"]) == row["object_id"]
        assert got["start_s"] == ("" if row["start_s"] is None else f"{row['start_s']:.3f}")
        assert [int(frame) for frame in got["frames"].split()] == row["frames"]
    assert not any(got["text"][:1] in tuple("=+-@") for got in read)


@pytest.mark.parametrize("made", CASES)
def test_parquet_comes_back_row_by_row(made, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    made.save(tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert table.to_pylist() == rows(made)


def test_rows_say_where_they_come_from():
    sources = {(row["kind"], row["source"]) for row in rows(PLAIN)}
    assert sources == {
        ("words", "model"), ("event", "tracks"), ("summary", "model"), ("summary", "notes"),
    }  # fmt: skip


def test_without_pyarrow(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(GARVideoError, match=r"gar-video\[parquet\]"):
        PLAIN.save(tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "format", "words"),
    [
        pytest.param("t.txt", None, "ending in .srt", id="ending"),
        pytest.param("t", None, "ending in .srt", id="no-ending"),
        pytest.param("t.srt", "ass", "expected srt, vtt", id="format"),
        pytest.param("none/t.srt", None, "no folder", id="no-folder"),
    ],
)
def test_what_cannot_be_written(name, format, words, tmp_path):
    with pytest.raises(GARVideoError, match=words):
        PLAIN.save(tmp_path / name, format)
    assert not list(tmp_path.iterdir())


def test_a_format_may_be_named(tmp_path):
    PLAIN.save(tmp_path / "words.txt", "vtt")
    assert (tmp_path / "words.txt").read_text(encoding="utf-8") == to_vtt(PLAIN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "not JSON", id="no-json"),
        pytest.param("[]", "not a timeline", id="a-list"),
        pytest.param('{"format": "gar-video timeline", "version": 2}', "version 2", id="version"),
        pytest.param('{"format": "gar-video timeline", "version": 1}', "damaged", id="keys"),
        pytest.param("[" * 100_000, "not JSON", id="deep"),
    ],
)
def test_what_cannot_be_read(text, words, tmp_path):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(GARVideoError, match=words):
        Timeline.load(tmp_path / "t.json")
    with pytest.raises(GARVideoError, match="cannot read"):
        Timeline.load(tmp_path / "none.json")
