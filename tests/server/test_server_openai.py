"""The real ``openai`` client, unchanged, against a running server with the nano model."""

from __future__ import annotations

import re

import numpy as np
import pytest

openai = pytest.importorskip("openai", reason="needs gar-video[bench]")

from server_house import data_url, said  # noqa: E402


@pytest.fixture(scope="module")
def client(house):
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9<>]+", text.lower()))


def ask(client, url, text, regions, kind="video_url", messages=None, **more):
    body = {"regions": regions, **more.pop("extra_body", {})}
    return client.chat.completions.create(
        model="nano", messages=messages or said(url, text, kind), extra_body=body, **more
    )


def test_models(client):
    assert [model.id for model in client.models.list()] == ["nano"]
    assert client.models.retrieve("nano").owned_by == "gar-video"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


@pytest.mark.slow
def test_nano_answers_truly(client, rendered):
    """Twenty questions of the kinds that nano knows, generated, about both objects of clips."""
    from gar_video.synth.questions import sample_questions

    right, told = 0, []
    for seed in range(40):
        clip = rendered(seed)
        rng = np.random.Generator(np.random.PCG64(seed))
        questions = sample_questions(
            rng, clip.scene, clip.truth, ["color", "shape"], 4, choice=False, balanced=False,
            per_kind=2,
        )  # fmt: skip
        for question in questions[: 20 - len(told)]:
            answer = ask(client, clip.url, question.text, clip.regions(), max_tokens=24)
            text = answer.choices[0].message.content
            fits = plain(text) in {plain(form) for form in question.accepted}
            right += fits
            told.append((question.text, text, question.answer, fits))
        if len(told) == 20:
            break
    print(*told, sep="\n")
    assert len(told) == 20
    assert right >= 18


def test_a_second_question_encodes_nothing(client, house, rendered):
    clip = rendered(0)
    ask(client, clip.url, "What color is <1>?", clip.regions(), max_tokens=8)
    before = house.service.worker.prefixes.misses
    second = ask(client, clip.url, "What shape is <1>?", clip.regions(), max_tokens=8)
    assert house.service.worker.prefixes.misses == before
    assert second.usage.prompt_tokens_details.cached_tokens > 200
    assert second.usage.completion_tokens >= 1
    assert second.usage.total_tokens == second.usage.prompt_tokens + second.usage.completion_tokens


def test_streamed_words_are_those_of_the_whole(client, rendered):
    clip = rendered(0)
    text = "Describe this masked region in detail."
    whole = ask(client, clip.url, text, clip.regions(1), max_tokens=32)
    stream = ask(
        client, clip.url, text, clip.regions(1), max_tokens=32, stream=True,
        stream_options={"include_usage": True}, logprobs=True,
    )  # fmt: skip
    pieces, usage, tokens, reason, objects = [], None, 0, None, None
    for chunk in stream:
        if not chunk.choices:
            usage = chunk.usage
            continue
        [choice] = chunk.choices
        pieces.append(choice.delta.content or "")
        reason = choice.finish_reason or reason
        tokens += len(choice.logprobs.content) if choice.logprobs else 0
        objects = getattr(choice, "gar_video", {}).get("objects", objects)
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 4
    assert reason == whole.choices[0].finish_reason == "stop"
    assert tokens == usage.completion_tokens == whole.usage.completion_tokens
    assert objects == [1]


def test_the_server_says_what_the_pipeline_says(client, house, rendered):
    from gar_video import GARVideo, Video

    clip = rendered(1)
    gar = GARVideo.from_pretrained("nano", device="cpu")
    video, tracks = Video(clip.path), clip.tracks
    for text in ("What color is <1>?", "Is <1> left of <2>?", "What does <2> do?"):
        own = gar.ask(video, tracks, text, max_new_tokens=16)
        answer = ask(client, clip.url, text, clip.regions(), max_tokens=16)
        assert answer.choices[0].message.content == own.text
        assert tuple(answer.choices[0].gar_video["frames"]) == own.frames
    choice = gar.choose(video, tracks, "What color is <1>?", ["red", "blue", "green"])
    wish = {"type": "choice", "options": ["red", "blue", "green"]}
    answer = ask(client, clip.url, "What color is <1>?", clip.regions(), response_format=wish)
    told = answer.choices[0].gar_video
    assert answer.choices[0].message.content == choice.option
    assert told["probabilities"] == pytest.approx(choice.probabilities, abs=1e-4)
    with gar.chat(video, tracks.subset([1]), max_new_tokens=16) as chat:
        first = chat.ask("What color is <1>?").text
        second = chat.ask("What does <1> do?").text
    turns = [
        *said(clip.url, "What color is <1>?"),
        {"role": "assistant", "content": first},
        {"role": "user", "content": "What does <1> do?"},
    ]
    answer = ask(client, None, None, clip.regions(1), messages=turns, max_tokens=16)
    assert answer.choices[0].message.content == second


def test_two_regions_on_a_picture(client, picture):
    import cv2

    image = np.full((224, 224, 3), 128, np.uint8)
    image[30:90, 30:90] = (220, 30, 30)
    cv2.circle(image, (160, 150), 35, (30, 60, 220), -1)
    png = data_url(cv2.imencode(".png", image[..., ::-1])[1].tobytes(), "image/png")
    regions = [{"id": 1, "box": [30, 30, 90, 90]}, {"id": 2, "points": [[160, 150, 1]]}]
    found = [
        ask(client, png, f"What color is <{i}>?", regions, "image_url", max_tokens=8)
        .choices[0].message.content
        for i in (1, 2)
    ]  # fmt: skip
    assert [plain(one).split()[0] for one in found] == ["red", "blue"]
    answer = ask(client, png, "Is <1> left of <2>?", regions, "image_url", max_tokens=8)
    assert answer.choices[0].gar_video["objects"] == [1, 2]
    assert answer.choices[0].gar_video["frames"] == [0]


def test_a_box_on_one_frame_is_followed(client, short):
    url = data_url(short.read_bytes(), "video/mp4")
    region = [{"id": 1, "frame": 0, "box": [8, 40, 40, 72]}]

    def told(**body):
        answer = ask(client, url, "What color is <1>?", region, max_tokens=8, extra_body=body)
        return answer.choices[0].gar_video, answer.choices[0].message.content

    followed, text = told()
    assert (followed["visible"]["1"], "red" in text) == (1.0, True)
    alone, _ = told(track=False, frames=[0])
    assert (alone["frames"], alone["finish_reason"]) == ([0], "stop")
    elsewhere, text = told(track=False, frames=[3])
    assert elsewhere["finish_reason"] == "not_visible"
    assert "not visible" in text


def test_logprobs(client, rendered):
    clip = rendered(0)
    answer = ask(
        client, clip.url, "What color is <1>?", clip.regions(), logprobs=True, top_logprobs=3,
        max_tokens=8,
    )  # fmt: skip
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    assert (
        "".join(one.token for one in content).split() == answer.choices[0].message.content.split()
    )
    for one in content:
        assert len(one.top_logprobs) == 3
        assert one.top_logprobs[0].token == one.token
        assert one.top_logprobs[0].logprob == pytest.approx(one.logprob)
        assert one.logprob <= 0


@pytest.mark.parametrize(
    ("wish", "check"),
    [
        pytest.param({"max_tokens": 2}, lambda a: a.usage.completion_tokens == 2, id="max_tokens"),
        pytest.param(
            {"max_completion_tokens": 3}, lambda a: a.choices[0].finish_reason == "length",
            id="max_completion_tokens",
        ),
        pytest.param(
            {"stop": [" that"], "max_tokens": 32},
            lambda a: "that" not in a.choices[0].message.content
            and a.choices[0].finish_reason == "stop",
            id="stop",
        ),
    ],
)  # fmt: skip
def test_what_ends_an_answer(client, rendered, wish, check):
    clip = rendered(0)
    answer = ask(
        client, clip.url, "Describe this masked region in detail.", clip.regions(1), **wish
    )
    assert check(answer), answer


def test_a_seed_repeats_what_was_drawn(client, rendered):
    clip = rendered(0)

    def drawn(seed):
        answer = ask(
            client, clip.url, "What does <1> do?", clip.regions(), temperature=2.0, seed=seed,
            max_tokens=16,
        )  # fmt: skip
        return answer.choices[0].message.content

    assert drawn(7) == drawn(7)
    assert len({drawn(seed) for seed in range(6)}) > 1


def test_an_enum_as_schema_is_answered_in_json(client, rendered):
    clip = rendered(0)
    schema = {"name": "color", "schema": {"type": "string", "enum": ["red", "it is none"]}}
    answer = ask(
        client, clip.url, "What color is <1>?", clip.regions(),
        response_format={"type": "json_schema", "json_schema": schema},
    )  # fmt: skip
    assert answer.choices[0].message.content in ('"red"', '"it is none"')
    assert sum(answer.choices[0].gar_video["probabilities"]) == pytest.approx(1)
