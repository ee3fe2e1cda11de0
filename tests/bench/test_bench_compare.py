"""Comparing runs, the page to browse them, and the commands; on rows written here, no model."""

from __future__ import annotations

import base64
import html.parser
import json
import re

import cv2
import numpy as np
import pytest
from bench_minis import q_items, vqa_items, write_cap, write_q, write_vqa

from gar_video.bench.compare import compare, compare_judges, render_comparison
from gar_video.bench.recorded import read_answers
from gar_video.bench.registry import BENCHMARKS, load
from gar_video.bench.report import write_report
from gar_video.bench.run import score_answers
from gar_video.bench.store import ROWS, Run
from gar_video.bench.summary import summarize
from gar_video.bench.table import align, render
from gar_video.errors import GARVideoError

RIGHT = {"0": "(A)", "1": "(A)", "two": "(C)", "3": "(B)", "4": "(D)", "5": "(A)"}


def answered(folder, out, **texts):
    """A run of answers to BenchQ's questions, right except for what is given."""
    given = [{"id": key, "pred": texts.get(f"q{key}", text)} for key, text in RIGHT.items()]
    path = folder / f"{out}.json"
    path.write_text(json.dumps(given))
    return score_answers("videorefer-q", folder, folder / out, [path])


@pytest.fixture
def data(tmp_path):
    write_q(tmp_path)
    return tmp_path


def test_paired_counts(data):
    answered(data, "a", q0="(B)", q1="B) left")
    answered(data, "b", q0="(C)", q4="(A)", q5="no idea")
    found = compare(data / "a", data / "b")
    overall = found.overall
    assert (overall.both, overall.only_a, overall.only_b, overall.neither) == (2, 2, 1, 1)
    assert overall.p_value == 1.0
    assert [flip[0] for flip in found.flips] == ["1", "4", "5"]
    assert found.per_type["Basic Questions"].only_b == 1
    text = render_comparison(found, "a", "b", flips=1)
    assert "B right: 1" in text
    assert "and 2 more" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda d: d / "none", "holds no run", id="no run"),
        pytest.param(lambda d: other_benchmark(d), "different benchmarks", id="benchmark"),
        pytest.param(lambda d: other_questions(d), "different questions", id="questions"),
    ],
)
def test_what_cannot_be_compared(make, message, data):
    answered(data, "a")
    with pytest.raises(GARVideoError, match=message):
        compare(data / "a", make(data))


def other_benchmark(data):
    write_vqa(data)
    (data / "v.json").write_text(json.dumps([{"image": "images/vqa_0.png", "model_output": "A"}]))
    return score_answers("gar-bench-vqa", data, data / "v", [data / "v.json"]).folder


def other_questions(data):
    write_q(data, q_items()[:3])
    (data / "w.json").write_text(json.dumps([{"id": 0, "pred": "(A)"}]))
    return score_answers("videorefer-q", data, data / "w", [data / "w.json"]).folder


def test_choices_have_no_judges(data):
    answered(data, "a")
    with pytest.raises(GARVideoError, match="is not judged"):
        compare_judges(data / "a", data / "a")


# -- answers made elsewhere ------------------------------------------------------------------------


def test_a_run_is_scored_again_from_its_folder(data):
    first = answered(data, "a", q0="(B)", q1="A person")
    again = score_answers("videorefer-q", data, data / "again", [data / "a"])
    assert again.summary["overall"] == first.summary["overall"]
    overall = again.summary["overall"]
    assert (overall["correct"], overall["strict_correct"]) == (5, 4)
    assert overall["correct_by_loose_reading"] == 1
    assert "1 of the right ones only by the published reading" in render(
        BENCHMARKS["videorefer-q"], again.summary
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("[1]", "holds no answers", id="no items"),
        pytest.param('[{"id": 0}]', "expected the answer as text", id="no text"),
        pytest.param('[{"pred": "A"}]', "1 answers for 6 questions and no ids", id="no ids"),
        pytest.param('{"x": "A"}', "answers none of the 6", id="other ids"),
        pytest.param('{"0": {"pred": "A", "response": 3}}', "the judge's reply", id="odd reply"),
        pytest.param("{", "not valid JSON", id="no JSON"),
    ],
)
def test_malformed_answers(content, message, data):
    (data / "x.json").write_text(content)
    with pytest.raises(GARVideoError, match=message):
        read_answers(data / "x.json", load("videorefer-q", data))


def vqa_answers(**fields):
    """GAR-Bench answers as published, with fields that an item may have or lack."""
    return [{**item, "model_output": letter, **fields}
            for item, letter in zip(vqa_items(), "ABC", strict=True)]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "correct", "failed"),
    [
        pytest.param(lambda a: a, 3, 0, id="as published"),
        pytest.param(lambda a: a[::-1], 3, 0, id="in another order"),
        pytest.param(lambda a: [*a, a[0]], 3, 0, id="one twice, in the same words"),
        pytest.param(lambda a: [{**a[0], "model_output": None}, *a[1:]], 2, 1, id="null"),
        pytest.param(lambda a: [{**a[0], "model_output": ""}, *a[1:]], 2, 0, id="empty"),
        pytest.param(lambda a: [{**a[0], "model_output": "a"}, *a[1:]], 3, 0, id="small letter"),
        pytest.param(lambda a: [{**a[0], "model_output": "A."}, *a[1:]], 2, 0, id="with a dot"),
        pytest.param(lambda a: [{**a[0], "model_output": "A\n"}, *a[1:]], 2, 0, id="line's end"),
        pytest.param(lambda a: [{**a[0], "model_output": "A. red"}, *a[1:]], 2, 0, id="in words"),
        pytest.param(lambda a: [{**a[0], "model_output": "\ud83d A"}, *a[1:]], 2, 0, id="half"),
        pytest.param(lambda a: [{"image": i["image"], "model_output": i["model_output"]} for i in a],
                     3, 0, id="pictures and answers alone"),
        pytest.param(lambda a: [{"model_output": i["model_output"]} for i in a],
                     3, 0, id="by position"),
        pytest.param(lambda a: [{"model_output": "A"}] * 3, 1, 0, id="by position, all alike"),
    ],
)  # fmt: skip
def test_published_answers_and_their_quirks(change, correct, failed, data):
    write_vqa(data)
    (data / "v.json").write_text(json.dumps(change(vqa_answers())))
    done = score_answers("gar-bench-vqa", data, data / "v", [data / "v.json"])
    overall = done.summary["overall"]
    assert (overall["correct"], overall["failed"]) == (correct, failed)
    assert overall["total"] == 3 or failed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda a: [*a, {**a[0], "model_output": "B"}], "4 answers for 3", id="twice"),
        pytest.param(lambda a: [a[0], {**a[0], "model_output": "B"}, a[2]],
                     "item 1 is about images/vqa_0.png", id="twice, another lacking"),
        pytest.param(lambda a: [{**i, "model_output": ["A"]} for i in a], "as text", id="lists"),
        pytest.param(lambda a: [{**i, "model_output": 1} for i in a], "as text", id="numbers"),
        pytest.param(lambda a: {"x": a}, "answers none", id="within an object"),
    ],
)  # fmt: skip
def test_answers_that_fit_no_questions(change, message, data):
    write_vqa(data)
    (data / "v.json").write_text(json.dumps(change(vqa_answers())))
    with pytest.raises(GARVideoError, match=message) as caught:
        score_answers("gar-bench-vqa", data, data / "v", [data / "v.json"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("said", "correct"), [(True, 1), (False, 0), ("True", 1), (None, 0)])
def test_verdicts_may_be_true_and_false_themselves(said, correct, tmp_path):
    simple, _ = write_cap(tmp_path)
    items = [{**one, "model_output": "x", "eval_result": said} for one in simple[:1]]
    (tmp_path / "x.json").write_text(json.dumps(items))
    done = score_answers("gar-bench-cap", tmp_path, tmp_path / "r", [tmp_path / "x.json"])
    assert done.summary["overall"].get("correct", 0) == correct
    assert done.summary["judged"] is (said is not None)


def test_a_question_without_an_answer_has_failed(data):
    (data / "x.json").write_text(json.dumps([{"id": 0, "pred": "(A)"}, {"id": 1, "pred": ""}]))
    done = score_answers("videorefer-q", data, data / "x", [data / "x.json"])
    assert done.summary["overall"]["total"] == 2  # types of which nothing is answered are left out
    assert done.summary["overall"]["correct"] == 1
    assert done.rows()["1"]["letter"] is None


def test_the_same_answer_twice(data):
    (data / "x.json").write_text(json.dumps({"0": "(A)"}))
    with pytest.raises(GARVideoError, match="a second time"):
        score_answers("videorefer-q", data, data / "r", [data / "x.json"] * 2)


# -- tables ----------------------------------------------------------------------------------------


def test_published_figures_stand_beside(data):
    text = render(BENCHMARKS["videorefer-q"], answered(data, "a", q0="(B)").summary)
    lines = text.splitlines()
    assert "GAR-8B, zero-shot" in lines[0]
    overall = next(line for line in lines if line.startswith("overall"))
    assert re.match(r"overall +5 +6 +83\.3 +43\.6-97\.0 +0 +0 +72\.0 +71\.9", overall)


def test_nothing_is_counted_of_nothing():
    summary = summarize(BENCHMARKS["videorefer-q"], [], skipped=[("a", "x")])
    assert summary["overall"]["accuracy"] is None
    assert "x" in render(BENCHMARKS["videorefer-q"], summary)


def test_align():
    assert align([["a", "bb"], ["ccc", "d"]]) == ["a    bb", "ccc   d"]


# -- the page --------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Collects what a page refers to, and its text."""

    def __init__(self):
        super().__init__()
        self.sources, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def browse(path):
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def test_the_page_shows_what_is_wrong_and_refers_to_nothing_outside(data):
    nasty = "<script>alert(1)</script> & <img src=x>"
    answered(data, "a", q0=nasty, q4="(B)")
    page = browse(write_report(data / "a", wrong=True))
    assert page.tags.count("article") == 2
    assert page.tags.count("script") == 1
    assert nasty in page.text
    assert "What will <1> do next?" in page.text
    assert len(page.sources) == 2
    for source in page.sources:
        assert source.startswith("data:image/jpeg;base64,")
        coded = np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8)
        assert cv2.imdecode(coded, -1).shape[1] == 240
    assert browse(write_report(data / "a", data / "all.html")).tags.count("article") == 6


def test_the_page_says_what_it_cannot_show(data):
    answered(data, "a", q0="(B)")
    (data / "JPEGImages").rename(data / "gone")
    page = browse(write_report(data / "a", limit=1))
    assert "clip_a" in page.text
    assert not page.sources


def test_the_page_of_a_judged_run(tmp_path):
    simple, _ = write_cap(tmp_path)
    items = [{**one, "model_output": "<b>x</b>", "eval_result": "False"} for one in simple]
    (tmp_path / "x.json").write_text(json.dumps(items))
    score_answers("gar-bench-cap", tmp_path, tmp_path / "r", [tmp_path / "x.json"])
    page = browse(write_report(tmp_path / "r", wrong=True))
    assert page.tags.count("article") == 2
    assert "<b>x</b>" in page.text
    assert "verdict: False" in page.text


# -- commands --------------------------------------------------------------------------------------


@pytest.fixture
def command(capsys, monkeypatch, data):
    from gar_video.bench.cli import app

    monkeypatch.chdir(data)

    def call(*words):
        try:
            app(list(words), standalone_mode=False)
        except GARVideoError as error:
            return 2, str(error)
        return 0, capsys.readouterr().out

    return call


def test_commands_from_answers_to_page(command, data):
    for name, key in (("a", "q0"), ("b", "q1")):
        answered(data, name, **{key: "(B)"})
    status, text = command("videorefer-q", "--data", ".", "--answers", "a.json", "--out", "c", "-q")
    assert status == 0
    assert "overall" in text
    assert len(Run(data / "c").rows()) == 6
    assert command("compare", "a", "b", "--flips", "1")[1].startswith("A: a\nB: b\n")
    status, text = command("show", "a", "--wrong", "--no-open")
    assert (status, text.strip()) == (0, "a/report.html")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["videorefer-q", "--data", "x", "--out", "r", "--model", "nano"], "no folder x"),
        (["videorefer-q", "--data", ".", "--out", "r"], "no model; name one with --model"),
        (
            ["videorefer-q", "--data", ".", "--out", "r", "--answers", "a", "--model", "m"],
            "--answers runs no model",
        ),
        (
            ["videorefer-q", "--data", ".", "--out", "r", "--generate", "--score", "text"],
            "exclude each other",
        ),
        (
            ["gar-bench-cap", "--data", ".", "--out", "r", "--judge-model", "m"],
            "--judge-model needs a judge",
        ),
        (
            ["gar-bench-cap", "--data", ".", "--out", "r", "--judge-url", "http://x/v1"],
            "--judge-model",
        ),
        (["compare", "x", "y"], "x holds no run"),
        (["show", "x"], "x holds no run"),
        (["merge", "r", "x"], "x holds no run"),
        (["judges", "x", "y"], "x holds no run"),
    ],
)
def test_mistakes_end_in_one_line(words, message, command, data):
    status, text = command(*words)
    assert status == 2
    assert message in text
    assert "\n" not in text
    assert not (data / "r").exists() or not (data / "r" / ROWS).exists()


def test_each_benchmark_has_its_own_options(command):
    from gar_video.bench.cli import app

    names = {one.name: one for one in app.registered_commands}
    assert set(names) >= set(BENCHMARKS)
    options = {name: set(names[name].callback.__annotations__) for name in BENCHMARKS}
    assert {"mode", "prompt_style", "score", "sam2"} <= options["videorefer-q"]
    assert "judge_url" not in options["videorefer-q"]
    assert {"judge_url", "judge_sees"} <= options["dlc-bench"]
    assert "mode" not in options["dlc-bench"]
