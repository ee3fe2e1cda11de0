"""Samples of every format, and the token rows made of them."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
import torch
from recipe_tiny import as_video, make_checkpoint, two_squares, write_clip, write_jsonl

from gar_video import GARVideo, masks
from gar_video.prompt import DESCRIBE, ObjectMention, parse_question
from gar_video.train.recipe.config import DataSection
from gar_video.train.recipe.data import gar_images
from gar_video.train.recipe.data.descriptions import Descriptions
from gar_video.train.recipe.data.examples import (
    Maker,
    Thread,
    Turn,
    choose_group,
    description,
    plain,
    single,
)
from gar_video.train.recipe.data.gar_images import GarImages
from gar_video.train.recipe.data.jsonl import JsonLines
from gar_video.train.recipe.data.mixture import Stream
from gar_video.train.recipe.data.rendered import Rendered
from gar_video.train.recipe.data.videorefer import VideoRefer, threads_of
from gar_video.train.recipe.errors import SampleError, TrainingError
from gar_video.train.recipe.rows import RowMaker, batch_rows
from gar_video.train.recipe.step import TrainingStep


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small lose more by sharing work than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("tiny") / "gar")


@pytest.fixture(scope="module")
def gar(checkpoint):
    return GARVideo.from_pretrained(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def maker(gar):
    return Maker(gar.processor, gar.processor.context_length)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---------------------------------------------------------------- sequences equal those of answering


def read_when_asked(gar, monkeypatch, ask):
    """Return prompt tokens, suffix tokens and inputs that a call of GARVideo reads."""
    seen = {}
    own_call, own_ids = type(gar.processor).__call__, type(gar.processor).question_ids

    def call(self, prompt):
        seen["inputs"] = own_call(self, prompt)
        return seen["inputs"]

    def ids(self, parts, prompt, *, first=True):
        seen["suffix"] = own_ids(self, parts, prompt, first=first)
        return seen["suffix"]

    monkeypatch.setattr(type(gar.processor), "__call__", call)
    monkeypatch.setattr(type(gar.processor), "question_ids", ids)
    ask()
    monkeypatch.undo()
    gar.forget()
    return seen["inputs"], seen["suffix"]


@pytest.mark.parametrize(
    ("thread", "ask"),
    [
        pytest.param(
            single("What color is <1>?", "red"),
            lambda gar, v, t: gar.ask(v, t, "What color is <1>?", frames=4, max_new_tokens=2),
            id="one object",
        ),
        pytest.param(
            single("Is <2> left of <1>?", "no"),
            lambda gar, v, t: gar.ask(v, t, "Is <2> left of <1>?", frames=4, max_new_tokens=2),
            id="two objects in order of mention",
        ),
        pytest.param(
            description(2, "It is blue."),
            lambda gar, v, t: gar.describe(v, t, objects=[2], frames=4, max_new_tokens=2),
            id="description",
        ),
    ],
)
def test_a_row_is_what_answering_reads(gar, maker, monkeypatch, thread, ask):
    video, tracks = as_video(3)
    inputs, suffix = read_when_asked(gar, monkeypatch, lambda: ask(gar, video, tracks))
    objects, threads = choose_group([thread], tracks.object_ids, rng(), 8)
    example = maker.see(video, tracks, objects, threads, 4)
    row = RowMaker(gar.processor, maker.context)(example, "test")
    for name in ("input_ids", "pixel_values", "mask_values", "boxes", "region_positions"):
        assert torch.equal(getattr(row.inputs, name), getattr(inputs, name)), name
    answer = [*gar.processor.encode_plain(thread.turns[0].answer), gar.processor.stop_ids[0]]
    assert list(row.threads[0].ids) == suffix + answer
    assert [n >= 0 for n in row.threads[0].learned] == [False] * len(suffix) + [True] * len(answer)


def test_a_conversation_is_what_chatting_reads(gar, maker):
    video, tracks = as_video(1)
    turns = (Turn("What color is <1>?", "red"), Turn("And <2>?", "blue"))
    example = maker.see(video, tracks, (1, 2), [Thread(turns)], 3)
    tokens = RowMaker(gar.processor, 1024)(example, "test").threads[0]
    prompt = example.prompt
    first = gar.processor.question_ids(parse_question(turns[0].question), prompt)
    second = gar.processor.question_ids(parse_question(turns[1].question), prompt, first=False)
    red, blue = gar.processor.encode_plain("red"), gar.processor.encode_plain("blue")
    stop = gar.processor.stop_ids[0]
    # The stop token that ends "red" is learned, and is the one that opens the next turn.
    assert second[0] == stop
    assert list(tokens.ids) == [*first, *red, *second, *blue, stop]
    learned = [token for token, n in zip(tokens.ids, tokens.learned, strict=True) if n >= 0]
    assert learned == [*red, stop, *blue, stop]


def test_packed_threads_see_only_the_clip_and_themselves(gar, maker):
    video, tracks = as_video(2)
    threads = [single("What color is <1>?", "red"), single("Which way does <1> move?", "right")]
    rows = RowMaker(gar.processor, 1024)
    step = TrainingStep(gar.model)
    packed = rows(maker.see(video, tracks, (1,), threads, 3), "test")
    alone = [rows(maker.see(video, tracks, (1,), [thread], 3), "test") for thread in threads]
    with torch.no_grad():
        together = float(step(batch_rows([packed]))[0])
        apart = [float(step(batch_rows([row]))[0]) for row in alone]
        padded = float(step(batch_rows([packed, alone[0]]))[0])
    assert together == pytest.approx(sum(apart), rel=1e-4)
    assert padded == pytest.approx(sum(apart) + apart[0], rel=1e-4)


def test_loss_weighs_answers_or_tokens(gar, maker):
    video, tracks = as_video(2)
    threads = [single("A <1>?", "red"), single("B <1>?", "It is red green blue. left right")]
    row = RowMaker(gar.processor, 1024)(maker.see(video, tracks, (1,), threads, 2), "test")
    by_answer, by_token = batch_rows([row], "answer"), batch_rows([row], "token")
    assert float(by_answer.weights.sum()) == pytest.approx(2.0)
    assert float(by_token.weights.sum()) == len(by_token.labels) == len(by_answer.labels)


# ---------------------------------------------------------------- too long


def test_answers_longer_than_the_context_are_dropped_whole_and_counted(gar):
    video, tracks = as_video(0)
    maker = Maker(gar.processor, 400)
    long = single("What is <1>?", "red green blue " * 400)
    example = maker.see(video, tracks, (1,), [long, single("What is <1>?", "red")], 2)
    row = RowMaker(gar.processor, 400)(example, "test")
    assert row.dropped == 1
    assert len(row.threads) == 1
    assert all(row.inputs.input_ids.shape[1] + len(t.ids) <= 400 for t in row.threads)
    with pytest.raises(SampleError, match="no answer fits the context of 400 tokens"):
        maker.see(video, tracks, (1,), [long], 2)


# ---------------------------------------------------------------- our own format


def test_json_lines(tmp_path, maker):
    source = JsonLines(DataSection("jsonl", str(two_squares(tmp_path)), frames=(3,)), maker, "d")
    assert len(source) == 3
    seen = set()
    for seed in range(12):
        example = source.example(1, rng(seed))
        ids = tuple(slot.object_id for slot in example.prompt.slots)
        assert len(example.prompt.frames) == 3
        seen |= {(ids, thread.turns[0].question) for thread in example.threads}
    assert seen == {
        ((1,), "What color is <1>?"),
        ((1,), "Which way does <1> move?"),
        ((2,), "What color is <2>?"),
        ((1,), DESCRIBE),
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"video": "gone"}, "there is no", id="missing video"),
        pytest.param({"video": "../outside"}, "lies outside", id="path that climbs out"),
        pytest.param({"qestions": []}, "unknown field 'qestions'", id="unknown field"),
        pytest.param({"questions": [{"question": "x"}]}, "its answer", id="no answer"),
        pytest.param(
            {"questions": [{"question": "<9>?", "answer": "a"}], "descriptions": {}},
            "<9> is mentioned",
            id="unknown object",
        ),
        pytest.param(
            {"questions": [{"question": "q", "answer": "c", "options": ["a", "b"]}]},
            "none of the options",
            id="answer that is no option",
        ),
        pytest.param({"questions": [], "descriptions": {}}, "nothing is asked", id="nothing asked"),
    ],
)
def test_json_lines_refuse_what_cannot_be_meant(tmp_path, maker, change, words):
    path = two_squares(tmp_path, 1)
    record = json.loads(path.read_text())
    path = write_jsonl(tmp_path, [{**record, **change}], "bad.jsonl")
    with pytest.raises(SampleError, match=words):
        JsonLines(DataSection("jsonl", str(path)), maker, "d").example(0, rng())


def test_json_lines_choices_are_worded_as_when_choosing(tmp_path, maker):
    name, rles = write_clip(tmp_path, "clip", 0)
    asked = {"question": "What color is <1>?", "options": ["red", "blue"], "answer": "blue"}
    path = write_jsonl(tmp_path, [{"video": name, "objects": rles, "questions": [asked]}])
    turn = (
        JsonLines(DataSection("jsonl", str(path)), maker, "d").example(0, rng()).threads[0].turns[0]
    )
    assert turn.answer == "B"
    assert "A. red\nB. blue" in turn.question


# ---------------------------------------------------------------- others' formats


def test_videorefer(tmp_path, maker):
    name, rles = write_clip(tmp_path, "clip", 0)
    annotation = [
        {frame: {"segmentation": rle} for frame, rle in list(rles[i].items())[:4]} for i in "12"
    ]
    item = {
        "id": 0, "video": name, "annotation": annotation,
        "conversations": [
            {"from": "human", "value": "<video>\nIs <object4><region> left of <object2><region>?"},
            {"from": "gpt", "value": "Yes, <object4> is < <object2>."},
            {"from": "human", "value": "What is <object2>?"},
            {"from": "gpt", "value": "A square."},
        ],
    }  # fmt: skip
    path = tmp_path / "videorefer.json"
    path.write_text(json.dumps([item]))
    source = VideoRefer(DataSection("videorefer", str(path), frames=(8,)), maker, "d")
    example = source.example(0, rng())
    (thread,) = example.threads
    assert [turn.question for turn in thread.turns] == ["Is <1> left of <2>?", "What is <2>?"]
    assert parse_question(thread.turns[0].answer)[1:4:2] == [ObjectMention(1), ObjectMention(2)]
    # Only frames that are annotated are looked at.
    assert len(example.prompt.frames) == 4
    assert [slot.number for slot in example.prompt.slots] == [0, 1]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        pytest.param([], "no conversation", id="empty"),
        pytest.param([("gpt", "a"), ("human", "b")], "not the human's", id="wrong order"),
        pytest.param([("human", "<region>?"), ("gpt", "a")] * 2, "names 2 regions", id="regions"),
        pytest.param([("human", "q"), ("gpt", " ")], "says nothing", id="empty answer"),
    ],
)
def test_videorefer_refuses(entries, words):
    with pytest.raises(SampleError, match=words):
        threads_of([{"from": who, "value": text} for who, text in entries], 1)


def test_descriptions(tmp_path, maker):
    name, rles = write_clip(tmp_path, "clip", 0)
    picture = f"{name}/000.png"
    told = [{"segmentation": rles["1"]["0"], "caption": "A <red> square."}]
    path = write_jsonl(
        tmp_path,
        [
            {"image": picture, "annotations": told},
            {"image": picture, "mask_rle": rles["2"]["0"], "description": "A blue square."},
            {"video": name, "annotations": [{"rle": rles["1"], "text": "It moves."}]},
        ],
    )
    source = Descriptions(DataSection("descriptions", str(path), frames=(2,)), maker, "d")
    photo, other, clip = (source.example(n, rng()) for n in range(3))
    assert photo.prompt.is_image
    assert [slot.number for slot in photo.prompt.slots] == [1]
    assert photo.threads[0].turns[0] == Turn(DESCRIBE, r"A \<red> square.", "description")
    assert other.threads[0].turns[0].answer == "A blue square."
    assert [slot.number for slot in clip.prompt.slots] == [0]
    assert len(clip.prompt.frames) == 2


# ---------------------------------------------------------------- GAR's published rows

RED, BLUE = np.zeros((56, 56), bool), np.zeros((56, 56), bool)
RED[4:20, 4:20] = True
BLUE[30:50, 30:50] = True


def picture_bytes() -> bytes:
    import cv2

    picture = np.full((56, 56, 3), 90, np.uint8)
    picture[RED], picture[BLUE] = (220, 30, 30), (30, 60, 220)
    return cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()


def said(*words: str) -> list[dict]:
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(words)]


def gar_rows() -> list[dict]:
    red, blue = masks.encode(RED), masks.encode(BLUE)
    data = "data:image/png;base64," + base64.b64encode(picture_bytes()).decode()
    return [
        {"image": {"bytes": picture_bytes(), "path": None}, "mask_rle": [red, blue],
         "conversations": said("<image>\nDescribe.", "A red one.", "Describe.", "A blue one.")},
        {"image": {"bytes": None, "path": data}, "mask_rle": [red, blue],
         "conversations": said("Is <Prompt1> left of <Prompt0>?", "No, <Prompt0> is.")},
    ]  # fmt: skip


@pytest.fixture(params=["arrow", "parquet"])
def shards(request, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(gar_rows())
    if request.param == "parquet":
        pq.write_table(table, tmp_path / "part-0.parquet", row_group_size=1)
        pq.write_table(table, tmp_path / "part-1.parquet")
    else:
        for part in range(2):
            with (
                pa.OSFile(str(tmp_path / f"data-{part}.arrow"), "wb") as sink,
                pa.ipc.new_stream(sink, table.schema) as writer,
            ):
                writer.write_table(table)
    return tmp_path


def test_gar_rows_that_describe(shards, maker):
    source = GarImages(DataSection("gar", str(shards)), maker, "d")
    assert len(source) == 4
    numbers, absent = set(), 0
    for seed in range(80):
        example = source.example(2, rng(seed))
        slots = {slot.object_id: slot for slot in example.prompt.slots}
        numbers |= set(slots)
        assert example.prompt.is_image
        (thread,) = example.threads
        for turn in thread.turns:
            mention = next(p for p in parse_question(turn.question) if isinstance(p, ObjectMention))
            if turn.kind == "absent":
                absent += 1
                assert mention.object_id in example.absent
                assert turn.answer == f"<{mention.object_id}> is not in the image."
                continue
            red = masks.decode(slots[mention.object_id].masks[0])[5, 5]
            assert turn.answer == ("A red one." if red else "A blue one.")
    assert numbers == set(range(5))
    assert 1 <= absent <= 20
    text = RowMaker(maker.processor, 1024)(example, "d")
    assert text.threads


def test_an_absent_prompt_is_written_as_its_token(shards, maker, monkeypatch):
    monkeypatch.setattr(gar_images, "ABSENT_SHARE", 1.0)
    example = GarImages(DataSection("gar", str(shards)), maker, "d").example(0, rng(1))
    (number,) = example.absent.values()
    row = RowMaker(maker.processor, 1024)(example, "d")
    token = maker.processor.prompt_ids[number]
    assert token not in row.inputs.input_ids[0].tolist()
    assert row.threads[0].ids.count(token) == 2


def test_gar_rows_that_mention_their_masks(shards, maker):
    example = GarImages(DataSection("gar", str(shards)), maker, "d").example(1, rng())
    assert [(slot.object_id, slot.number) for slot in example.prompt.slots] == [(0, 0), (1, 1)]
    (turn,) = example.threads[0].turns
    assert (turn.question, turn.answer) == ("Is <1> left of <0>?", "No, <0> is.")


def test_gar_rows_refuse(tmp_path, maker):
    import pyarrow as pa
    import pyarrow.parquet as pq

    good = gar_rows()[0]
    bad = [
        ({"image": {"bytes": b"junk", "path": None}}, "cannot be read"),
        ({"mask_rle": [masks.encode(np.zeros((56, 56), bool))] * 2}, "empty mask"),
        ({"conversations": said("<Prompt4>?", "a")}, "mentions <Prompt4>"),
        ({"conversations": said("a", "b")}, "2 masks but 1 descriptions"),
    ]
    pq.write_table(
        pa.Table.from_pylist([{**good, **change} for change, _ in bad]), tmp_path / "p.parquet"
    )
    source = GarImages(DataSection("gar", str(tmp_path)), maker, "d")
    for n, (_, words) in enumerate(bad):
        with pytest.raises(SampleError, match=words):
            source.example(n, rng())


# ---------------------------------------------------------------- rendered


@pytest.mark.parametrize(
    "section",
    [
        pytest.param({"frames": (4,), "photos": 0.0}, id="clips"),
        pytest.param({"photos": 1.0}, id="photographs"),
        pytest.param(
            {"frames": (2,), "photos": 0.0, "objects": (2,), "choices": 1.0}, id="choices"
        ),
    ],
)
def test_rendered_samples_are_repeatable_and_fit(maker, section):
    source = Rendered(DataSection("rendered", **section), maker, "d")
    rows = RowMaker(maker.processor, maker.context)
    for seed in range(3):
        first, again = source.example(0, rng(seed)), source.example(7, rng(seed))
        assert first.threads == again.threads
        assert np.array_equal(first.prompt.frames, again.prompt.frames)
        assert 1 <= len(first.threads) <= 8
        row = rows(first, "d")
        assert row.threads


# ---------------------------------------------------------------- the mixture


class Counting:
    """A source that can be told which samples are bad."""

    def __init__(self, size, bad=()):
        self.name, self.size, self.bad = f"source of {size}", size, set(bad)

    def __len__(self):
        return self.size

    def example(self, index, generator):
        if index in self.bad:
            raise SampleError("is bad")
        return index, int(generator.integers(1000))


class Rowed:
    def __init__(self, example, source):
        self.value, self.dropped = (source, *example), 0


def stream(sources, weights=(1,), **more):
    return Stream(sources, weights, Rowed, **more)


@pytest.mark.parametrize("workers", [0, 3], ids=["in line", "threads"])
def test_a_stream_goes_on_where_it_was_left(workers):
    sources = [Counting(5), Counting(0), Counting(7, bad={3})]
    whole = stream(sources, (1, 1, 2), seed=4, workers=workers)
    values = [whole.next_row().value for _ in range(40)]
    begun = stream(sources, (1, 1, 2), seed=4, workers=workers)
    first = [begun.next_row().value for _ in range(17)]
    position = json.loads(json.dumps(begun.position.to_dict()))
    resumed = stream(sources, (1, 1, 2), seed=4)
    resumed.load(position)
    assert first + [resumed.next_row().value for _ in range(23)] == values
    assert resumed.position.to_dict() == whole.position.to_dict()
    for one in (whole, begun, resumed):
        one.close()


def test_every_sample_once_an_epoch_and_weights_hold():
    one = stream([Counting(10)], seed=1)
    epochs = [sorted(one.next_row().value[1] for _ in range(10)) for _ in range(2)]
    assert epochs == [list(range(10))] * 2
    mixed = stream([Counting(0), Counting(1000)], (3, 1), seed=1)
    for _ in range(400):
        mixed.next_row()
    assert mixed.position.taken[0] == pytest.approx(300, abs=40)


def test_processes_share_an_epoch_without_overlap():
    ranks = [stream([Counting(8)], seed=2, rank=rank, world=2) for rank in range(2)]
    seen = [one.next_row().value[1] for _ in range(4) for one in ranks]
    assert sorted(seen) == list(range(8))


def test_bad_samples_are_counted_and_skipped_up_to_the_limit():
    told = []
    some = stream([Counting(10, bad={2, 5})], max_skipped=2, say=told.append)
    assert len({some.next_row().value[1] for _ in range(8)}) == 8
    assert some.position.skipped == [2]
    assert "sample" in told[0]
    assert "is bad" in told[0]
    with pytest.raises(TrainingError, match=r"more than max_skipped=2.*is bad"):
        [some.next_row() for _ in range(10)]


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a <1> b", "a <1> b"),
        ("x < y <b> <1>", r"x \< y \<b> <1>"),
        ("<Prompt0>", r"\<Prompt0>"),
        ("", ""),
    ],
)
def test_plain_keeps_only_mentions(given, expected):
    assert plain(given) == expected
    if given:
        parse_question(plain(given))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("gone.jsonl", None, "no data file", id="missing"),
        pytest.param("cut.json", '[{"a": 1', "no valid JSON", id="cut short"),
        pytest.param("none.json", "[]", "holds no samples", id="empty"),
        pytest.param("odd.json", '{"a": 1}', "no list of samples", id="no list"),
    ],
)
def test_data_files_that_cannot_be_read(tmp_path, maker, name, content, words):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(TrainingError, match=words):
        JsonLines(DataSection("jsonl", str(tmp_path / name)), maker, "data.0")


def test_a_folder_without_shards(tmp_path, maker):
    with pytest.raises(TrainingError, match=r"no \.arrow or \.parquet files"):
        GarImages(DataSection("gar", str(tmp_path)), maker, "data.0")
