"""Invariants: cached equals uncached, batched equals single, chosen equals scored alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gar_video import PromptError, Tracks, TracksError, Video
from gar_video.generation import GenerationSettings
from gar_video.prompt import multiple_choice, parse_question
from gar_video.shared_prefix import SharedPrefixBatch

QUESTIONS = [
    "What is <1> doing?",
    "Which colour has <1>?",
    "Is <1> large?",
    "Why does <1> move so far, and what will it do in the end?",
    "Where?",
    "Does <1> stop at any time during this clip?",
    "Tell me about <1>.",
    "How many corners has <1>? Answer with a number.",
    "Is it the same as before?",
    "What comes after the last frame of <1>?",
]


def only(squares, *ids):
    video, tracks = squares
    return video, tracks.subset(list(ids))


def test_ten_questions_equal_ten_calls(gar, squares):
    video, tracks = only(squares, 1)
    together = gar.ask_many(video, tracks, QUESTIONS, frames=4, max_new_tokens=12)
    gar.forget()
    for question, answer in zip(QUESTIONS, together, strict=True):
        gar.forget()
        alone = gar.ask(video, tracks, question, frames=4, max_new_tokens=12)
        assert alone == answer
    assert len({answer.token_ids for answer in together}) > 3


def test_ten_questions_cost_little_more_than_one(gar, squares):
    video, tracks = only(squares, 1)

    def work(questions):
        gar.forget()
        with FlopCounterMode(display=False) as counter:
            gar.ask_many(video, tracks, questions, frames=16, max_new_tokens=16)
        return counter.get_total_flops()

    ratio = work(QUESTIONS) / work(QUESTIONS[:1])
    print(f"ten questions cost {ratio:.3f} times the work of one")
    assert ratio <= 1.5


def test_second_question_encodes_nothing(gar, squares, monkeypatch):
    video, tracks = only(squares, 1)
    calls = []
    encode = gar.model.encode_tiles
    monkeypatch.setattr(gar.model, "encode_tiles", lambda *a: calls.append(1) or encode(*a))
    first = gar.ask(video, tracks, "What is <1>?", frames=4, max_new_tokens=4)
    again = gar.ask(video, tracks, "What is <1>?", frames=4, max_new_tokens=4)
    gar.choose(video, tracks, "What is <1>?", ["red", "blue"], frames=4)
    assert again == first
    assert len(calls) == 1
    gar.ask(video, tracks, "What is <1>?", frames=5, max_new_tokens=4)
    assert len(calls) == 2


def test_one_roi_align_call_for_all_regions(gar, squares, monkeypatch):
    from gar_video import replay

    calls = []
    align = replay.roi_align
    monkeypatch.setattr(replay, "roi_align", lambda *a, **k: calls.append(1) or align(*a, **k))
    gar.ask(*squares, "Do <1> and <2> and <3> meet?", frames=8, max_new_tokens=1)
    assert len(calls) == 1


@pytest.mark.parametrize("by", ["letter", "text"])
def test_choose_is_one_pass_and_equals_scoring_alone(by, gar, squares, monkeypatch):
    video, tracks = only(squares, 1, 2)
    question, options = "Does <1> meet <2>?", ["yes, <2> waits", "no", "it turns away from <1>"]
    gar.ask(video, tracks, "<1> <2>", frames=4, max_new_tokens=1)  # the prefix is there
    passes = []
    for owner in (gar.model.language_model, SharedPrefixBatch):
        run = owner.forward
        monkeypatch.setattr(
            owner, "forward", lambda *a, _run=run, **k: passes.append(1) or _run(*a, **k)
        )
    choice = gar.choose(video, tracks, question, options, by=by, frames=4)
    assert len(passes) == 1
    monkeypatch.undo()

    view = gar._look(video, tracks, (1, 2), ["x"], GenerationSettings(), 4, None)
    prompt = view.prompt()
    inputs = gar.processor(prompt)

    def logits(ids):
        """Whole sequence at once, without any cache."""
        with torch.inference_mode():
            embeds = gar.model.embed(inputs)
            words = gar.model.get_input_embeddings()(torch.tensor([ids]))
            return gar.model.mllm(
                inputs_embeds=torch.cat([embeds, words], 1), use_cache=False
            ).logits[0]

    if by == "letter":
        listed = parse_question(multiple_choice(question, options))
        last = logits(gar.processor.question_ids(listed, prompt))[-1]
        scores = last[torch.tensor(gar.processor.letter_ids(3))]
    else:
        asked = gar.processor.question_ids(parse_question(question), prompt)
        scores = []
        for option in options:
            words = gar.processor.answer_ids(parse_question(option), prompt)
            every = logits(asked + words).log_softmax(-1)
            at = len(every) - len(words) - 1
            scores.append(sum(every[at + k, word] for k, word in enumerate(words)))
        scores = torch.stack(scores)
    expected = scores.double().softmax(0).tolist()
    assert choice.probabilities == pytest.approx(expected, abs=1e-5)
    assert choice.index == int(np.argmax(expected))
    assert choice.option == options[choice.index]
    assert choice.letter == "ABC"[choice.index]
    assert sum(choice.probabilities) == pytest.approx(1)


def test_choose_scores_options_apart(gar, squares):
    """The two ways of scoring are two: on a random model they give other probabilities."""
    video, tracks = only(squares, 1)
    by = [
        gar.choose(
            video, tracks, "Which?", ["red", "blue", "green"], by=way, frames=2
        ).probabilities
        for way in ("letter", "text")
    ]
    assert by[0] != pytest.approx(by[1], abs=1e-3)


def test_describe_is_one_answer_an_object(gar, squares):
    video, tracks = squares
    answers = gar.describe(video, tracks, frames=6, max_new_tokens=5)
    assert [answer.objects for answer in answers] == [(1,), (2,), (3,)]
    assert answers[0].frames == (0, 5, 9, 14, 18, 23)
    assert answers[0].times_s == pytest.approx([f / 8 for f in answers[0].frames])
    assert answers[0].visible == {1: 1.0}
    assert answers[1].visible == {2: 0.5}
    assert isinstance(gar.describe(video, tracks, objects=[2], frames=2, max_new_tokens=1), list)


def test_ids_map_to_prompts_in_order_of_first_mention(gar, squares):
    video, tracks = squares
    swapped = Tracks.from_masks(
        {2: np.stack([tracks.masks(t, [1])[0] for t in range(24)]),
         1: np.stack([tracks.masks(t, [2])[0] for t in range(24)])}
    )  # fmt: skip
    a = gar.ask(video, tracks, "Does <2> follow <1>?", frames=4, max_new_tokens=8)
    b = gar.ask(video, swapped, "Does <1> follow <2>?", frames=4, max_new_tokens=8)
    assert a.objects == (2, 1)
    assert b.objects == (1, 2)
    assert a.token_ids == b.token_ids


@pytest.mark.parametrize("ask", ["ask", "choose", "chat", "stream"])
def test_object_not_visible_is_said_without_asking(ask, gar, squares, monkeypatch):
    video, tracks = squares
    monkeypatch.setattr(gar.model, "encode_tiles", lambda *_: pytest.fail("the model was asked"))
    window = {"time": (2.0, 2.2)}
    if ask == "ask":
        answer = gar.ask(video, tracks, "What does <3> do with <2>?", **window)
    elif ask == "choose":
        answer = gar.choose(video, tracks, "Is <3> red?", ["yes", "no"], **window)
        assert answer.index is answer.option is answer.letter is None
        assert answer.probabilities == ()
    elif ask == "chat":
        with gar.chat(video, tracks, objects=[3], **window) as chat:
            answer = chat.ask("Where is <3>?")
    else:
        assert "".join(gar.stream(video, tracks, "Where is <3>?", **window)).startswith(
            "<3> is not"
        )
        return
    assert "not visible between 2.00 s and 2.20 s" in answer.text
    assert answer.visible[3] == 0.0


def test_chat_equals_the_whole_conversation_at_once(gar, squares):
    """Three turns on a growing cache equal each turn's whole conversation without one."""
    video, tracks = only(squares, 1, 2)
    questions = ["What is <1>?", "And <2>?", "Do they meet?"]
    with gar.chat(video, tracks, frames=2, max_new_tokens=5) as chat:
        told = [chat.ask(question) for question in questions]
    prompt = gar._look(video, tracks, (1, 2), ["x"], GenerationSettings(), 2, None).prompt()
    with torch.inference_mode():
        seen = gar.model.embed(gar.processor(prompt))
    said: list[int] = []
    for turn, question in enumerate(questions):
        said += gar.processor.question_ids(parse_question(question), prompt, first=turn == 0)
        tokens: list[int] = []
        for _ in range(5):
            with torch.inference_mode():
                words = gar.model.get_input_embeddings()(torch.tensor([said + tokens]))
                embeds = torch.cat([seen, words], 1)
                best = int(gar.model.mllm(inputs_embeds=embeds).logits[0, -1].argmax())
            if best in gar.processor.stop_ids:
                break
            tokens.append(best)
        assert told[turn].token_ids == tuple(tokens)
        said += tokens


def test_chat_streams_and_closes(gar, squares):
    video, tracks = only(squares, 1)
    with gar.chat(video, tracks, frames=2, max_new_tokens=6) as chat:
        text = "".join(chat.stream("What is <1>?"))
        assert text == chat.answers[-1].text
        with pytest.raises(PromptError, match=r"no object <2> in this chat"):
            chat.ask("And <2>?")
    with pytest.raises(PromptError, match="closed"):
        chat.ask("Still there?")


def test_chat_says_when_the_context_is_full(gar, squares, monkeypatch):
    video, tracks = only(squares, 1)
    with gar.chat(video, tracks, frames=2, max_new_tokens=6) as chat:
        chat.ask("What is <1>?")
        monkeypatch.setattr(type(gar.processor), "context_length", 900)
        with pytest.raises(PromptError, match="begin a new chat"):
            chat.ask("And then?")


def test_chat_goes_on_after_an_interrupted_turn(gar, squares):
    video, tracks = only(squares, 1)
    with gar.chat(video, tracks, frames=2, max_new_tokens=6) as chat:
        expected = chat.ask("What is <1>?")
    with gar.chat(video, tracks, frames=2, max_new_tokens=6) as chat:
        turn = chat.stream("Tell me everything.")
        next(turn)
        turn.close()
        assert chat.ask("What is <1>?") == expected


def test_stream_equals_ask(gar, squares):
    video, tracks = only(squares, 1)
    answer = gar.ask(video, tracks, "What is <1>?", frames=2, max_new_tokens=9)
    gar.forget()
    pieces = list(gar.stream(video, tracks, "What is <1>?", frames=2, max_new_tokens=9))
    assert "".join(pieces) == answer.text
    assert len(pieces) > 1


def test_sampling_is_seeded_and_free_of_neighbours(gar, squares):
    video, tracks = only(squares, 1)
    kw = {"frames": 2, "max_new_tokens": 8, "temperature": 1.5, "top_p": 0.9}
    one = gar.ask(video, tracks, QUESTIONS[0], seed=3, **kw)
    many = gar.ask_many(video, tracks, QUESTIONS[:4], seed=3, **kw)
    assert many[0].token_ids == one.token_ids
    assert gar.ask(video, tracks, QUESTIONS[0], seed=4, **kw).token_ids != one.token_ids


def test_without_tracks(gar, squares):
    answer = gar.ask(squares[0], None, "What happens?", frames=2, max_new_tokens=3)
    assert answer.objects == ()
    assert answer.visible == {}


def test_photograph(gar):
    picture = np.full((60, 100, 3), 120, np.uint8)
    mask = np.zeros((1, 60, 100), bool)
    mask[0, 10:40, 20:70] = True
    tracks = Tracks.from_masks({4: mask})
    (answer,) = gar.describe(Video(picture), tracks, max_new_tokens=3)
    assert answer.frames == (0,)
    assert answer.times_s == (0.0,)
    assert answer.visible == {4: 1.0}


def six_objects():
    masks = {}
    for n in range(6):
        masks[n] = np.zeros((3, 40, 60), bool)
        masks[n][:, 5:15, 10 * n : 10 * n + 6] = True
    return Video(np.zeros((3, 40, 60, 3), np.uint8)), Tracks.from_masks(masks)


def test_more_objects_than_prompts(gar):
    video, tracks = six_objects()
    every = "".join(f"<{n}>" for n in range(6))
    with pytest.raises(PromptError, match="--more-objects"):
        gar.ask(video, tracks, every)
    with pytest.warns(UserWarning, match="not trained for"):
        answer = gar.ask(video, tracks, every, more_objects=True, frames=1, max_new_tokens=1)
    assert answer.objects == tuple(range(6))
    with pytest.raises(PromptError, match="mentions no object and there are 6"):
        gar.ask(video, tracks, "What happens?")


BAD = [
    pytest.param({"question": "What is <8>?"}, PromptError, r"no object <8>; the objects here are <1>, <2>, <3>", id="unknown id"),
    pytest.param({"question": "What is <1?"}, PromptError, "malformed", id="unclosed"),
    pytest.param({"question": " "}, PromptError, "empty", id="empty question"),
    pytest.param({"time": (9, 12)}, PromptError, "ends at", id="window after the end"),
    pytest.param({"time": (2, 1)}, PromptError, "reversed", id="window reversed"),
    pytest.param({"frames": [99]}, PromptError, "frames 0 to 23", id="frame past the end"),
    pytest.param({"frames": 0}, PromptError, "at least 1", id="no frames"),
    pytest.param({"max_new_tokens": 0}, PromptError, "at least 1", id="no tokens"),
    pytest.param({"max_new_tokens": 11_520}, PromptError, "does not fit", id="answer fills the context"),
    pytest.param({"temperature": -1.0}, PromptError, "0 or more", id="temperature"),
    pytest.param({"top_p": 0.0}, PromptError, "top_p", id="top_p"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "match"), BAD)
def test_bad_question_arguments(change, error, match, gar, squares):
    arguments = {"question": "What is <1>?", **change}
    with pytest.raises(error, match=match) as caught:
        gar.ask(*squares, **arguments)
    assert "\n" not in str(caught.value)


def test_tracks_of_another_video(gar, squares):
    with pytest.raises(TracksError):
        gar.ask(Video(np.zeros((24, 32, 32, 3), np.uint8)), squares[1], "What is <1>?")


@pytest.mark.parametrize(
    ("objects", "match"), [([9], "no object <9>"), ([1, 1], "repeated")], ids=["unknown", "twice"]
)
def test_bad_objects_to_describe(objects, match, gar, squares):
    with pytest.raises(PromptError, match=match):
        gar.describe(*squares, objects=objects)


def test_answers_as_json(gar, squares):
    import json

    from gar_video import Answer, Choice

    answer = gar.ask(*squares, "Do <1> and <2> meet?", frames=4, max_new_tokens=3)
    choice = gar.choose(*squares, "Is <1> red?", ["yes", "no"], frames=4)
    for made in (answer, choice):
        plain = json.loads(json.dumps(made.to_dict()))
        assert type(made).from_dict(plain) == made
    assert {"text", "objects", "frames", "times_s", "visible"} <= set(answer.to_dict())
    assert {"option", "letter", "probabilities"} <= set(choice.to_dict())
    assert isinstance(answer, Answer)
    assert isinstance(choice, Choice)


def test_out_of_memory_names_the_levers(gar, squares, monkeypatch):
    from gar_video import DeviceError

    def exhausted(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gar.model, "embed", exhausted)
    with pytest.raises(DeviceError, match=r"fewer frames .* smaller dtype"):
        gar.ask(*squares, "What is <1>?", frames=2)


def test_asking_to_describe_is_describing(gar, squares):
    """The published wording of a description gets its own form, as in training, also when asked."""
    video, tracks = only(squares, 1)
    (described,) = gar.describe(video, tracks, frames=2, max_new_tokens=6)
    asked = gar.ask(video, tracks, described.question, frames=2, max_new_tokens=6)
    assert asked == described


@pytest.mark.parametrize("by", ["letter", "text"])
def test_choosing_many_equals_choosing_alone(by, gar, squares, monkeypatch):
    video, tracks = squares
    questions = [
        ("Does <1> meet <2>?", ["yes, <2> waits", "no", "it turns away from <1>"]),
        ("What colour has <1>?", ["red", "blue"]),
        ("Does <1> stand still while <2> leaves the place it came from?", ["yes", "no"]),
        ("Is <3> there?", ["yes", "no"]),
        ("Which came first, <1> or <2>?", ["<1>", "<2>", "neither of the two", "both"]),
    ]
    calls = []
    encode = gar.model.encode_tiles
    monkeypatch.setattr(gar.model, "encode_tiles", lambda *a: calls.append(1) or encode(*a))
    together = gar.choose_many(video, tracks, questions, by=by, frames=[2, 5])
    assert len(calls) == 2  # three questions about <1> and <2>, one about <1>; <3> is not seen
    monkeypatch.undo()
    for (question, options), choice in zip(questions, together, strict=True):
        gar.forget()
        alone = gar.choose(video, tracks, question, options, by=by, frames=[2, 5])
        assert choice.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
        assert (choice.index, choice.text, choice.frames) == (alone.index, alone.text, alone.frames)
    assert together[3].index is None


@pytest.mark.parametrize(
    ("questions", "match"),
    [
        ([("Is <1> red?", ["yes"])], "1 options given"),
        ([("Is <1> red?", ["yes", "no"]), ("Is <9>?", ["a", "b"])], "no object <9>"),
        ([("Is <1> red?", ["yes", "yes"])], "stands twice"),
        ("Is <1> red?", "expected questions with their options"),
        (["Is <1> red?"], "expected questions with their options"),
        ([("Is <1> red?", "no")], "options must be a list"),
    ],
)
def test_bad_choices(questions, match, gar, squares):
    with pytest.raises(PromptError, match=match):
        gar.choose_many(*squares, questions)
