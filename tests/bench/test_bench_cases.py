"""Published layouts, their quirks and what is wrong with malformed files."""

from __future__ import annotations

import json

import pytest
from bench_minis import (
    compressed,
    dlc_questions,
    q_items,
    square,
    vqa_items,
    write_cap,
    write_d,
    write_dlc,
    write_q,
    write_vqa,
)

from gar_video.bench.case import as_text, option_text
from gar_video.bench.registry import load
from gar_video.errors import GARVideoError


@pytest.fixture(scope="module")
def q_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("q")
    write_q(folder)
    return folder


def by_key(cases):
    return {case.key: case for case in cases}


@pytest.mark.parametrize(
    ("key", "words", "num_objects"),
    [
        pytest.param("0", "What does <1> do?", 1, id="object3 is the first"),
        pytest.param("two", "Does <1> meet <2>?", 2, id="object7 before object2"),
        pytest.param("4", "What will <1> do next?", 1, id="object0"),
        pytest.param("5", "What is <1>?", 1, id="region without a number"),
    ],
)
def test_objects_are_bound_in_order_of_first_mention(key, words, num_objects, q_data):
    case = by_key(load("videorefer-q", q_data))[key]
    assert case.words == words
    assert len(case.objects) == num_objects


def test_options_mention_the_same_objects(q_data):
    case = by_key(load("videorefer-q", q_data))["two"]
    assert [option_text(one) for one in case.options] == [
        "Yes, <2> waits.",
        "No, <1> turns.",
        "Never.",
    ]
    assert [one.letter for one in case.options] == ["A", "B", "C"]
    assert case.answer == "C"


def test_frames_are_numbers_and_null_is_not_visible(q_data):
    case = by_key(load("videorefer-q", q_data))["3"]
    assert case.prompt_frame == 2
    assert sorted(case.objects[0]) == [0, 2, 4, 5]
    assert [case.objects[0][frame] is None for frame in (0, 2, 4, 5)] == [True, False, True, True]


def test_answer_may_be_text_alone(tmp_path):
    item = q_items()[0] | {"options": ["left", "right"], "Answer": "right"}
    write_q(tmp_path, [item])
    case = load("videorefer-q", tmp_path)[0]
    assert (case.answer, [one.letter for one in case.options]) == ("B", ["A", "B"])


def test_an_object_that_only_options_name_stays_words(tmp_path):
    item = q_items()[0] | {"options": ["(A) meets <object9>", "(B) no"], "Answer": "(B)"}
    write_q(tmp_path, [item])
    assert option_text(load("videorefer-q", tmp_path)[0].options[0]) == "meets <object9>"


def test_items_without_ids_are_called_by_their_place(tmp_path):
    items = [{k: v for k, v in item.items() if k != "id"} for item in q_items()[:2]]
    write_q(tmp_path, items)
    assert [case.key for case in load("videorefer-q", tmp_path)] == ["0", "1"]


def changed(**fields):
    return lambda: [q_items()[0], {**q_items()[1], **fields}]


def lacking(name):
    return lambda: [{k: v for k, v in item.items() if k != name} for item in q_items()]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        pytest.param(lambda: {"a": 1}, "expected a list of items", id="no list"),
        pytest.param(list, "expected a list of items", id="empty"),
        pytest.param(lambda: [3], "item 0: is a int", id="no object"),
        pytest.param(lacking("Question"), "item 0 (id 0): Question is missing", id="no question"),
        pytest.param(lacking("video"), "video is missing", id="no video"),
        pytest.param(lacking("frame_idx"), "frame_idx is missing", id="no frame"),
        pytest.param(changed(frame_idx="x"), "item 1 (id 1): frame_idx is 'x'", id="odd frame"),
        pytest.param(changed(options="A B"), "options is 'A B'; expected a list", id="options"),
        pytest.param(changed(options=["(A) x"]), "expected 2 to 26 texts", id="one option"),
        pytest.param(changed(options=["(A) x", "(A) y"]), "letters A, A", id="letter twice"),
        pytest.param(changed(Answer="(E) x"), "none of the options A, B, C, D", id="answer"),
        pytest.param(changed(Answer=""), "Answer is ''", id="no answer"),
        pytest.param(changed(id=0), "items 0 and 1 both have the id 0", id="ids twice"),
        pytest.param(changed(video="../x"), "inside the data folder", id="path leads out"),
        pytest.param(changed(video="/x"), "inside the data folder", id="absolute path"),
        pytest.param(changed(annotation=[]), "annotation is []", id="no annotation"),
        pytest.param(changed(annotation=[5]), "annotation[0] is 5", id="no masks"),
        pytest.param(changed(annotation=[{"x": None}]), "a frame 'x'", id="frame's name"),
        pytest.param(
            changed(annotation=[{"0": {"mask": 1}}]), "frame 0 is {'mask': 1}", id="no segmentation"
        ),
        pytest.param(
            changed(annotation=[{"0": {"segmentation": {"size": [4, 4]}}}]),
            "expected an RLE, polygons or null",
            id="no counts",
        ),
        pytest.param(
            changed(Question="<object1><region> and <object2><region>?"),
            "has 1 objects, but Question names 2",
            id="more objects named than annotated",
        ),
    ],
)
def test_malformed_questions_say_where(items, message, tmp_path):
    write_q(tmp_path, items())
    with pytest.raises(GARVideoError) as caught:
        load("videorefer-q", tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_json_says_so(tmp_path):
    (tmp_path / "VideoRefer-Bench-Q.json").write_text("[{")
    with pytest.raises(GARVideoError, match="not valid JSON"):
        load("videorefer-q", tmp_path)


@pytest.mark.parametrize(
    ("data", "questions", "message"),
    [
        pytest.param("nowhere", None, "no folder", id="no folder"),
        pytest.param(".", None, "no VideoRefer-Bench-Q.json in", id="no file"),
        pytest.param(".", "other.json", "no file other.json", id="no such file"),
    ],
)
def test_missing_files(data, questions, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GARVideoError, match=message):
        load("videorefer-q", data, questions)


@pytest.mark.parametrize(
    ("types", "limit", "seed", "keys"),
    [
        (None, None, None, ["0", "1", "two", "3", "4", "5"]),
        (["Basic Questions"], None, None, ["0", "1"]),
        (["basic", "future"], None, None, ["0", "1", "4"]),
        (None, 2, None, ["0", "1"]),
        (None, 9, 1, ["0", "1", "two", "3", "4", "5"]),
    ],
)
def test_choosing_cases(types, limit, seed, keys, q_data):
    cases = load("videorefer-q", q_data, types=types, limit=limit, seed=seed)
    assert [case.key for case in cases] == keys


def test_a_seeded_limit_draws_and_keeps_the_order(q_data):
    drawn = [
        tuple(c.index for c in load("videorefer-q", q_data, limit=3, seed=s)) for s in range(9)
    ]
    assert len(set(drawn)) > 3
    assert all(list(places) == sorted(places) for places in drawn)
    again = load("videorefer-q", q_data, limit=3, seed=4)
    assert tuple(c.index for c in again) == drawn[4]


@pytest.mark.parametrize(
    ("types", "limit", "message"),
    [(["x"], None, "no type 'x'"), (["s"], None, "no type 's'"), (None, 0, "limit is 0")],
)
def test_wrong_choices(types, limit, message, q_data):
    with pytest.raises(GARVideoError, match=message):
        load("videorefer-q", q_data, types=types, limit=limit)


def test_descriptions(tmp_path):
    write_d(tmp_path)
    cases = load("videorefer-d", tmp_path)
    assert [case.judged["caption"] for case in cases] == [
        "A square, going right.",
        "A square, red.",
    ]
    assert all(len(case.objects) == 1 and case.kind == "describe" for case in cases)


def test_gar_bench_vqa(tmp_path):
    write_vqa(tmp_path)
    one, two, seven = load("gar-bench-vqa", tmp_path)
    assert (one.type, one.answer, one.words) == ("color", "A", "What colour has <1>?")
    # Mask N is <PromptN> whatever is mentioned first.
    assert two.words == "Is <2> left of <1>?"
    assert len(seven.objects) == 7
    assert as_text(seven.options[2].words) == "<7>"
    assert "<1>,  <2>" in seven.words


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer": "Z"}, "answer is 'Z', none of the options A, B"),
        ({"question": "<Prompt1>?"}, "names <Prompt1>, but there are 1 masks"),
        ({"mask_rles": [None]}, "mask_rles[0] is empty"),
        ({"mask_rles": []}, "mask_rles is []"),
        ({"image": "images/vqa_1.png"}, "both have the id images/vqa_1.png"),
    ],
)
def test_malformed_gar_bench(fields, message, tmp_path):
    write_vqa(tmp_path, [{**vqa_items()[0], **fields}, *vqa_items()[1:]])
    with pytest.raises(GARVideoError) as caught:
        load("gar-bench-vqa", tmp_path)
    assert message in str(caught.value)


def test_gar_bench_captions(tmp_path):
    write_cap(tmp_path)
    cases = load("gar-bench-cap", tmp_path)
    assert [case.type for case in cases] == ["simple", "simple", "detailed"]
    assert cases[0].judged == {"answer": "<Prompt1> is below <Prompt0>."}
    assert cases[2].words == "Describe <1> in detail, including the relationship with <2>."
    assert cases[2].judged["predicate_name"] == "above"
    alone = load("gar-bench-cap", tmp_path, "GAR-Bench-Caption-Detailed.json")
    assert [case.key for case in alone] == ["images/cap_2.png"]


def test_dlc_bench(tmp_path):
    write_dlc(tmp_path)
    cases = load("dlc-bench", tmp_path)
    assert [(case.key, case.media, case.answer) for case in cases] == [
        ("11", "images/o.jpg", "square"),
        ("12", "images/o.jpg", "glasses"),
    ]
    assert cases[0].first_number == 1
    assert len(cases[0].judged["questions"]) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("qa.json", [], "expected region id to entry"),
        ("qa.json", {"11": []}, "region 11: expected questions"),
        ("qa.json", {"11": [{**dlc_questions()["11"][0], "type": "odd"}]}, "region 11"),
        ("qa.json", {"13": dlc_questions()["12"]}, "asks about region 13"),
        ("class_names.json", {"11": "square"}, "region 12"),
        ("annotations.json", {}, "is not COCO's"),
        (
            "annotations.json",
            {"images": [], "annotations": [
                {"id": n, "image_id": 7, "segmentation": compressed(square(1, 1))} for n in (11, 12)
            ]},
            "image_id is 7, which no image has",
        ),
    ],
)  # fmt: skip
def test_malformed_dlc_bench(name, content, message, tmp_path):
    write_dlc(tmp_path)
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(GARVideoError) as caught:
        load("dlc-bench", tmp_path)
    assert message in str(caught.value)
