"""Judging, against a real HTTP server of our own: retries, refusals, cache, what is sent."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from bench_minis import dlc_questions, square, write_cap, write_d, write_dlc

from gar_video.bench import store
from gar_video.bench.compare import compare, compare_judges, render_agreement
from gar_video.bench.judge import CachedJudge, JudgeRefused, LocalJudge, ServerJudge
from gar_video.bench.judge_prompts import DEFAULTS, Prompts, article
from gar_video.bench.judge_views import close_up
from gar_video.bench.judging import Judging, questions
from gar_video.bench.registry import BENCHMARKS, load
from gar_video.bench.run import score_answers
from gar_video.errors import GARVideoError

pytest.importorskip("openai")


class Server:
    """A chat server that answers by a script: texts, statuses, or a function of the request."""

    def __init__(self):
        self.script, self.asked, self.keys = [], [], []
        self.default = "True"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                outer.keys.append(self.headers.get("Authorization"))
                step = outer.script.pop(0) if outer.script else outer.default
                step = step(body) if callable(step) else step
                if step == "slow":
                    time.sleep(1.5)
                    step = "late"
                self.reply(step)

            def reply(self, step):
                if isinstance(step, int):
                    status, content = step, {"error": {"message": f"status {step} it is"}}
                elif isinstance(step, bytes):
                    status, content = 200, None
                else:
                    status = 200
                    content = {
                        "id": "1", "object": "chat.completion", "created": 1, "model": "m",
                        "choices": [{"index": 0, "finish_reason": "stop",
                                     "message": {"role": "assistant", "content": step}}],
                        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
                    }  # fmt: skip
                payload = step if content is None else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(payload)))
                    self.send_header("retry-after-ms", "1")
                    self.end_headers()
                    self.wfile.write(payload)
                except OSError:
                    pass  # the client has given up

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    one = Server()
    yield one
    one.close()


def say(text):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    "script",
    [[], [429], [429, 429, 503], [500]],
    ids=["at once", "too many requests", "thrice", "broken once"],
)
def test_it_is_asked_until_it_answers(script, server):
    server.script = [*script, "True"]
    reply = ServerJudge(server.url, "m", retries=4).ask(say("?"))
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("True", 10, 2)
    assert len(server.asked) == len(script) + 1
    assert server.asked[0]["temperature"] == 0


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ([401], GARVideoError, "refuses the key .*GAR_VIDEO_JUDGE_KEY"),
        ([403], GARVideoError, "refuses the key"),
        ([404], GARVideoError, "knows no model 'm'"),
        ([400], JudgeRefused, "the judge refused: .*status 400 it is"),
        ([429, 429, 429], GARVideoError, "given up: status 429"),
        (["slow", "slow", "slow"], GARVideoError, "did not answer in time"),
        ([b"no json"] * 3, GARVideoError, "given up|cannot be read|holds no message"),
    ],
    ids=["401", "403", "404", "400", "429 for ever", "time-out", "no JSON"],
)
def test_it_is_given_up(script, error, message, server):
    server.script = list(script)
    with pytest.raises(error, match=message) as caught:
        ServerJudge(server.url, "m", timeout_s=0.3, retries=2).ask(say("?"))
    assert "\n" not in str(caught.value)
    if error is GARVideoError:
        assert not isinstance(caught.value, JudgeRefused)


def test_nobody_there():
    with pytest.raises(GARVideoError, match="no connection"):
        ServerJudge("http://127.0.0.1:9/v1", "m", retries=0, timeout_s=2).ask(say("?"))


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "", "http://user:pw@x/v1"])
def test_odd_addresses(url):
    with pytest.raises(GARVideoError):
        ServerJudge(url, "m")


def test_the_key_comes_from_the_environment_and_openais_goes_to_openai_only(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    monkeypatch.delenv("GAR_VIDEO_JUDGE_KEY", raising=False)
    ServerJudge(server.url, "m").ask(say("?"))
    monkeypatch.setenv("GAR_VIDEO_JUDGE_KEY", "own")
    ServerJudge(server.url, "m").ask(say("?"))
    assert server.keys == ["Bearer none", "Bearer own"]


def test_what_was_asked_before_costs_nothing(server, tmp_path):
    judge = CachedJudge(ServerJudge(server.url, "m"), tmp_path)
    first, again = judge.ask(say("?")), judge.ask(say("?"))
    assert (first.cached, again.cached, again.text, again.prompt_tokens) == (False, True, "True", 0)
    judge.ask(say("another"))
    CachedJudge(ServerJudge(server.url, "other"), tmp_path).ask(say("?"))
    assert len(server.asked) == 3


def test_a_damaged_cache_is_asked_anew(server, tmp_path):
    judge = CachedJudge(ServerJudge(server.url, "m"), tmp_path)
    judge.ask(say("?"))
    (file,) = tmp_path.rglob("*.json")
    file.write_text("{")
    assert judge.ask(say("?")).text == "True"
    assert len(server.asked) == 2


# -- whole runs ------------------------------------------------------------------------------------


@pytest.fixture
def cap(tmp_path):
    """Caption data and recorded answers without verdicts."""
    data = tmp_path / "data"
    simple, detailed = write_cap(data) if data.mkdir() is None else ([], [])
    answers = [{**item, "model_output": f"text {n}"} for n, item in enumerate(simple + detailed)]
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    return data, tmp_path / "answers.json"


def judging(name, server, tmp_path, **more):
    judge = CachedJudge(ServerJudge(server.url, "m", retries=2, timeout_s=5), tmp_path / "cache")
    return Judging(BENCHMARKS[name], judge, Prompts(), workers=2, **more)


def test_captions_are_judged(cap, server, tmp_path):
    data, answers = cap
    server.default = lambda body: str("text 1" not in body["messages"][0]["content"])
    how = judging("gar-bench-cap", server, tmp_path)
    done = score_answers("gar-bench-cap", data, tmp_path / "r", [answers], judging=how)
    summary = done.summary
    assert (summary["overall"]["correct"], summary["overall"]["total"]) == (2, 3)
    assert summary["per_type"]["simple"]["correct"] == 1
    assert summary["judge"]["prompt_tokens"] == 30
    # The same again in another folder: every reply is in the cache.
    more = score_answers("gar-bench-cap", data, tmp_path / "r2", [answers], judging=how)
    assert more.summary["judge"] == {
        "asked": 3, "cached": 3, "prompt_tokens": 0, "completion_tokens": 0, "unmatched": 0,
    }  # fmt: skip
    assert len(server.asked) == 3


def test_an_unreadable_judgement_is_asked_for_once_more(cap, server, tmp_path):
    data, answers = cap
    server.script = ["Well, it depends.", "True"]
    server.default = "Who knows?"
    how = Judging(BENCHMARKS["gar-bench-cap"], ServerJudge(server.url, "m"), Prompts(), workers=1)
    done = score_answers("gar-bench-cap", data, tmp_path / "r", [answers], judging=how)
    assert len(server.asked) == 6
    assert [m["role"] for m in server.asked[1]["messages"]] == ["user", "assistant", "user"]
    assert done.summary["overall"]["correct"] == 1
    assert [one["key"] for one in done.summary["failed"]] == [
        "images/cap_1.png",
        "images/cap_2.png",
    ]
    assert "cannot be read: 'Who knows?'" in done.summary["failed"][0]["error"]


def test_one_refusal_fails_one_answer_only(cap, server, tmp_path):
    data, answers = cap
    server.script = [400]
    how = Judging(BENCHMARKS["gar-bench-cap"], ServerJudge(server.url, "m"), Prompts(), workers=1)
    done = score_answers("gar-bench-cap", data, tmp_path / "r", [answers], judging=how)
    overall = done.summary["overall"]
    assert (overall["correct"], overall["total"], overall["failed"]) == (2, 3, 1)


def test_a_judge_that_goes_away_leaves_what_was_judged(cap, server, tmp_path):
    data, answers = cap
    server.script = ["True", 401]
    bench = BENCHMARKS["gar-bench-cap"]
    how = Judging(bench, ServerJudge(server.url, "m"), Prompts(), workers=1)
    with pytest.raises(GARVideoError, match="refuses the key"):
        score_answers("gar-bench-cap", data, tmp_path / "r", [answers], judging=how)
    assert len(store.Run(tmp_path / "r").rows(store.JUDGED)) == 1
    before = len(server.asked)
    done = score_answers("gar-bench-cap", data, tmp_path / "r", [answers], judging=how)
    assert done.summary["overall"]["correct"] == 3
    assert len(server.asked) - before == 2


def test_another_judge_in_the_same_folder_is_refused(cap, server, tmp_path):
    data, answers = cap
    bench = BENCHMARKS["gar-bench-cap"]
    how = Judging(bench, ServerJudge(server.url, "m"), Prompts())
    score_answers("gar-bench-cap", data, tmp_path / "r", [answers], judging=how)
    how = Judging(bench, ServerJudge(server.url, "another"), Prompts())
    with pytest.raises(GARVideoError, match=r'judge\.model: "m" -> "another"'):
        score_answers("gar-bench-cap", data, tmp_path / "r", [answers], judging=how)


def test_a_seeing_judge_is_sent_the_picture_with_its_regions(cap, server, tmp_path):
    data, answers = cap
    how = judging("gar-bench-cap", server, tmp_path, data=data)
    score_answers("gar-bench-cap", data, tmp_path / "r", [answers], judging=how)
    # Two ask at once, so the first case need not be the first to arrive.
    asked = [request["messages"][0]["content"] for request in server.asked]
    content = next(parts for parts in asked if parts[-1]["text"] == say_simple())
    pictures = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert len(pictures) == 5  # the whole, and two regions with their masks
    decoded = [
        cv2.imdecode(np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8), -1)
        for url in pictures
    ]
    assert decoded[0].shape == (48, 64, 3)
    original = cv2.imread(str(data / "images/cap_0.png"))
    changed = (decoded[0] != original).any(axis=2)
    assert changed[square(4, 6) > 0].mean() > 0.9
    assert changed[square(40, 30) > 0].mean() > 0.9
    assert changed[square(20, 30, 4) > 0].mean() < 0.1


def say_simple():
    case_fields = {"answer": "<Prompt1> is below <Prompt0>.", "description": "text 0"}
    return Prompts().fill("simple", case_fields)


def test_a_region_from_near_is_three_times_its_box():
    picture = np.zeros((400, 600, 3), np.uint8)
    mask = np.zeros((400, 600), bool)
    mask[100:200, 200:300] = True
    near, its_mask = close_up(picture, mask)
    assert near.shape == (300, 300, 3)
    assert (its_mask[100:200, 100:200] == 255).all()
    assert its_mask.sum() == 255 * 10_000
    mask[:] = False
    mask[350, 300] = True  # a pixel counts as 56: 168 around it, cut to the picture
    assert close_up(picture, mask)[0].shape[:2] == (134, 168)


def test_details(server, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_dlc(data)
    (tmp_path / "a.json").write_text(json.dumps({"11": "A red square.", "12": "Nothing."}))

    def reply(body):
        text = body["messages"][0]["content"]
        if "A. Yes" in text:
            return "A. Yes" if "A red square." in text else "B. No"
        return "B. The edge is mentioned and is red." if "edge" in text else "A"

    server.default = reply
    how = judging("dlc-bench", server, tmp_path)
    done = score_answers("dlc-bench", data, tmp_path / "r", [tmp_path / "a.json"], judging=how)
    overall = done.summary["overall"]
    # Region 12 was not recognised: its 1 is capped at 0; it has no negatives to be averaged.
    assert (overall["positive"], overall["negative"], overall["score"]) == (0.5, 1.0, 0.75)
    assert overall["recognised"] == 1
    assert len(server.asked) == 5


def test_recorded_replies_are_replayed(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_dlc(data)
    held = {
        "11": {"pred": "x", "response": ["A. Yes", "C", "A wheel is mentioned."]},
        "12": {"pred": "y", "response": ["A. Yes", "nothing of the kind"]},
        "avg_pos": 0.1,
    }
    (tmp_path / "a.json").write_text(json.dumps(held))
    done = score_answers("dlc-bench", data, tmp_path / "r", [tmp_path / "a.json"])
    overall = done.summary["overall"]
    assert (overall["positive"], overall["negative"], overall["score"]) == (-0.5, -1.0, -0.75)
    assert done.summary["judge"]["unmatched"] == 1
    assert len(dlc_questions()["11"]) == 2


@pytest.mark.parametrize(("verdict", "correct"), [("True", 1), ("True.", 0), ("true", 0)])
def test_recorded_verdicts_count_as_published(verdict, correct, tmp_path):
    simple, _ = write_cap(tmp_path)
    item = {**simple[0], "model_output": "x", "eval_result": verdict}
    (tmp_path / "a.json").write_text(json.dumps([item]))
    done = score_answers("gar-bench-cap", tmp_path, tmp_path / "r", [tmp_path / "a.json"])
    assert done.summary["per_type"]["simple"]["correct"] == correct
    assert done.summary["overall"]["total"] == 2  # the other simple one has no answer
    assert "detailed" not in done.summary["per_type"]


def test_dimensions(server, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_d(data)
    lines = [{"id": 0, "pred": "a"}, {"id": 1, "pred": "b"}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    names = ("Subject Correspondence", "Appearance Description", "Temporal Description",
             "Hallucination Detection")  # fmt: skip
    server.script = [json.dumps(dict(zip(names, scores, strict=True)))
                     for scores in ((5, 4, 3, 2), (1, 0, 1, 0))]  # fmt: skip
    how = Judging(BENCHMARKS["videorefer-d"], ServerJudge(server.url, "m"), Prompts(), workers=1)
    done = score_answers("videorefer-d", data, tmp_path / "r", [tmp_path / "a.jsonl"], judging=how)
    overall = done.summary["overall"]
    assert list(overall["dimensions"].values()) == [3, 2, 2, 1]
    assert overall["score"] == 2


def test_two_judges_are_compared(cap, server, tmp_path):
    data, answers = cap
    for name, wrong in (("a", "text 1"), ("b", "text 2")):
        server.default = lambda body, wrong=wrong: str(wrong not in body["messages"][0]["content"])
        judge = ServerJudge(server.url, name)
        how = Judging(BENCHMARKS["gar-bench-cap"], judge, Prompts())
        source = answers if name == "a" else tmp_path / "a"
        score_answers("gar-bench-cap", data, tmp_path / name, [source], judging=how)
    found = compare_judges(tmp_path / "a", tmp_path / "b")
    assert (found.total, found.other_answers) == (3, 0)
    assert found.agreement == pytest.approx(1 / 3)
    assert found.kappa == pytest.approx(-0.5)
    assert [key for key, *_ in found.differences] == [
        "images/cap_1.png / verdict", "images/cap_2.png / verdict"
    ]  # fmt: skip
    text = render_agreement(found, "a", "b")
    assert "Cohen's kappa: -0.500" in text
    assert compare(tmp_path / "a", tmp_path / "b").overall.p_value == 1


# -- prompts ---------------------------------------------------------------------------------------


def test_prompts_can_be_given(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"simple": "{answer} | {description}"}))
    prompts = Prompts(path)
    assert prompts.fill("simple", {"answer": "{description}", "description": "x"}) == (
        "{description} | x"
    )
    assert prompts.sha256 != Prompts().sha256


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"other": "x"}, "no prompt is called 'other'"),
        ({"simple": "{answer}"}, r"fields \['answer'\]"),
        ({"simple": "{answer} {description} {key}"}, "has the fields"),
        ([], "holds no prompts"),
    ],
)
def test_malformed_prompts(given, message, tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(given))
    with pytest.raises(GARVideoError, match=message):
        Prompts(tmp_path / "p.json")


def test_every_region_is_recognised_first(tmp_path):
    write_dlc(tmp_path)
    cases = load("dlc-bench", tmp_path)
    asked = [questions(BENCHMARKS["dlc-bench"], case, "x", Prompts()) for case in cases]
    assert [one.unit for one in asked[0]] == ["recognition", "0 positive", "1 negative"]
    assert "be a square, or" in asked[0][0].text
    assert "be glasses, or" in asked[1][0].text
    assert asked[0][0].text.endswith("A. Yes\nB. No")
    assert set(DEFAULTS) >= {"details", "recognition"}


@pytest.mark.parametrize(
    ("name", "word"), [("apple", "an"), ("square", "a"), ("suv", "a"), ("umbrella", "an")]
)
def test_articles(name, word):
    assert article(name) == word


# -- a judge that runs here ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_chat(tmp_path_factory):
    """A random chat model of a few thousand parameters."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("chat")
    words = ["<s>", "</s>", "user", "True", "False", "?", "the", "x"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="x"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="x", eos_token="</s>", bos_token="<s>"
    )
    fast.chat_template = "{% for m in messages %}{{ m['role'] + ' ' + m['content'] }} {% endfor %}"
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=512,
        eos_token_id=1, bos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_local_judge(tiny_chat, monkeypatch):
    monkeypatch.setattr("gar_video.bench.judge._MAX_TOKENS", 4)
    judge = LocalJudge(str(tiny_chat), device="cpu")
    reply = judge.ask(say("the x ?"))
    assert reply == judge.ask(say("the x ?"))
    assert (reply.prompt_tokens, reply.cached) == (4, False)
    assert 0 < reply.completion_tokens <= 4
    with pytest.raises(GARVideoError, match="reads text only"):
        judge.ask([{"role": "user", "content": [{"type": "text", "text": "x"}]}])


def test_a_local_judge_that_is_not_there(tmp_path):
    with pytest.raises(GARVideoError, match="cannot load the judge"):
        LocalJudge(str(tmp_path), device="cpu")
