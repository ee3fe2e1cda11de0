from __future__ import annotations

import json

import pytest

from gar_video import Answer, Choice, GARVideoError
from gar_video.captions import Captions
from gar_video.prompt import DESCRIBE
from gar_video.timeline import Segment, Summary, Timeline

_SEEN = {"frames": (0,), "times_s": (0.0,), "visible": {1: 1.0}, "model": "nano"}


def answer(question=DESCRIBE, text="A red ring.", objects=(1,)):
    return Answer(**_SEEN, question=question, text=text, objects=objects, token_ids=(),
                  finish_reason="stop")  # fmt: skip


CHOICE = Choice(**_SEEN, question="Where?", objects=(2, 1), options=("here", "there"), index=0,
                probabilities=(0.9, 0.1), by="text", text="here")  # fmt: skip
TIMELINE = Timeline(
    "v", 4.0, 2.0, DESCRIBE, "nano", (1, 2), {},
    (Segment(1, 0.0, 2.0, "moves", ()), Segment(2, 1.0, 3.0, "waits", ()), Segment(1, 2.0, 4.0, "stops", ())),
    (), (Summary(1, "moves and stops", "model"), Summary(2, "waits", "notes")),
)  # fmt: skip


def test_a_description_stands_alone_and_answers_after_their_questions():
    made = Captions.of_answers([answer(), answer("What is <1>?", "a ring"), CHOICE])
    assert made.at(1, 99.0) == "A red ring.\nWhat is <1>? a ring"
    assert made.at(2, 0.0) == "Where? here"
    assert made.at(3, 0.0) == ""
    assert made.summaries == {1: made.at(1, 0.0), 2: "Where? here"}


@pytest.mark.parametrize(
    ("object_id", "time_s", "text"),
    [
        pytest.param(1, 0.0, "moves", id="start"),
        pytest.param(1, 1.99, "moves", id="just-before"),
        pytest.param(1, 2.0, "stops", id="change"),
        pytest.param(1, 4.0, "", id="end"),
        pytest.param(2, 0.5, "", id="before"),
        pytest.param(2, 2.5, "waits", id="within"),
    ],
)
def test_a_timeline_changes(object_id, time_s, text):
    made = Captions.of_timeline(TIMELINE)
    assert made.at(object_id, time_s) == text
    assert made.texts(1) == ("moves", "stops")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(json.dumps([answer().to_dict(), CHOICE.to_dict()]), {1, 2}, id="json"),
        pytest.param(
            "\n".join(json.dumps(one.to_dict()) for one in (answer(), CHOICE)), {1, 2}, id="jsonl"
        ),
        pytest.param(json.dumps(answer().to_dict()), {1}, id="one-line"),
        pytest.param(json.dumps(TIMELINE.to_dict(), indent=1), {1, 2}, id="timeline"),
        pytest.param("[]", set(), id="none"),
    ],
)
def test_files_are_told_by_what_they_hold(text, expected, tmp_path):
    (tmp_path / "a.json").write_text(text)
    made = Captions.load(tmp_path / "a.json")
    assert set(made.spans) == expected
    made.check_known((1, 2), "it")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b"words", "not JSON", id="words"),
        pytest.param(b"\xff\xfe\x00", "not JSON", id="no-text"),
        pytest.param(b"3", "list of answers", id="number"),
        pytest.param(b'["words"]', "list of answers", id="list-of-words"),
        pytest.param(b'[{"text": "x"}]', "entry 1 is no answer", id="no-objects"),
        pytest.param(b'[{"text": "x", "objects": ["1"]}]', "entry 1 is no answer", id="text-ids"),
        pytest.param(b'[{"text": 3, "objects": [1]}]', "entry 1 is no answer", id="no-text"),
        pytest.param(b"[" * 100_000, "not JSON", id="deep"),
    ],
)
def test_what_are_no_answers(content, words, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(GARVideoError, match=words):
        Captions.load(tmp_path / "a.json")
    with pytest.raises(GARVideoError, match="cannot read"):
        Captions.load(tmp_path / "none.json")


def test_words_about_others_are_refused():
    with pytest.raises(GARVideoError, match=r"about <2>, but the objects here are <1>"):
        Captions.of_timeline(TIMELINE).check_known((1,), "--answers a.json")
