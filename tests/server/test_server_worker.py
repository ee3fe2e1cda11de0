"""The model's thread with an engine that can be held up: queue, batches, deadlines, ends."""

from __future__ import annotations

import threading
import time

import pytest
import torch

pytest.importorskip("fastapi", reason="needs gar-video[serve]")

from gar_video.server.prefixes import Prefixes
from gar_video.server.problems import Problem
from gar_video.server.row import Row, Wish
from gar_video.server.worker import Job, Worker


class SlowEngine:
    """Encodes to its key and answers with one token, when it is let."""

    def __init__(self):
        self.gate = threading.Event()
        self.batches, self.encoded = [], 0

    def encode(self, prompt):
        self.encoded += 1
        return prompt

    def answer(self, encoded, rows):
        self.gate.wait(30)
        self.batches.append(len(rows))
        for row in rows:
            row.take(5)
            row.finish("stop")

    def score(self, encoded, questions, by):
        return [torch.zeros(len(options)) for _, options in questions]

    def size(self, encoded):
        return 100

    def length(self, encoded):
        return 7


@pytest.fixture
def engine():
    return SlowEngine()


@pytest.fixture
def worker(engine):
    made = Worker(engine, queue=10, batch=4, prefix_bytes=250)
    made.start()
    yield made
    engine.gate.set()
    made.close()
    made.join(20)
    assert not made._thread.is_alive()


def row(job, tell=None, **wish):
    return Row([1], Wish(**wish), lambda ids: " ".join(map(str, ids)), frozenset({0}), tell,
               job.is_over)  # fmt: skip


def job(key="a", seconds=60.0):
    made = Job(time.monotonic() + seconds, key, prompt=lambda: key)
    made.rows = (row(made),)
    return made


def wait_for(what):
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until
        time.sleep(0.005)


def hold_up(worker):
    """Put one job in that is being answered while others come."""
    first = job("first")
    worker.submit(first)
    wait_for(lambda: worker.num_running == 1)
    return first


def test_what_waits_about_one_clip_is_answered_together(worker, engine):
    first = hold_up(worker)
    jobs = [job(key) for key in "ababaab"]
    for one in jobs:
        worker.submit(one)
    engine.gate.set()
    results = [one.done.result(20) for one in [first, *jobs]]
    assert engine.batches == [1, 4, 3]
    assert engine.encoded == 3
    assert results[1:3] == [(False, 7), (False, 7)]
    assert results[3:] == [(True, 7)] * 5


def test_beyond_the_queue_is_refused(worker, engine):
    hold_up(worker)
    for _ in range(10):
        worker.submit(job())
    with pytest.raises(Problem) as caught:
        worker.submit(job())
    assert caught.value.status_code == 429
    assert int(caught.value.headers["Retry-After"]) >= 1


def test_whoever_goes_away_frees_a_place(worker, engine):
    hold_up(worker)
    jobs = [job() for _ in range(10)]
    for one in jobs:
        worker.submit(one)
    for one in jobs[:9]:
        one.cancel()
    engine.gate.set()
    jobs[9].done.result(20)
    assert engine.batches == [1, 1]


def test_deadlines(worker, engine):
    hold_up(worker)
    late = job(seconds=0.01)
    worker.submit(late)
    time.sleep(0.05)
    engine.gate.set()
    with pytest.raises(Problem) as caught:
        late.done.result(20)
    assert (caught.value.status_code, caught.value.code) == (503, "deadline")


def test_a_failure_is_told_to_all_who_share_it_and_to_nobody_else(worker, engine, caplog):
    first = hold_up(worker)

    def fails():
        raise ValueError("secret words")

    bad, good = job("bad"), job("good")
    bad.prompt = fails
    worker.submit(bad)
    worker.submit(good)
    engine.gate.set()
    with pytest.raises(Problem) as caught:
        bad.done.result(20)
    assert caught.value.status_code == 500
    assert "secret" not in caught.value.message
    assert good.done.result(20)
    assert first.done.result(20)


def test_long_calls_let_others_through(worker, engine):
    engine.gate.set()
    order, between = [], job()

    def long(inner):
        worker.submit(between)
        order.append("first part")
        inner.serve_waiting()
        order.append(f"answered: {between.done.done()}")
        return "whole"

    call = Job(time.monotonic() + 60, call=long)
    worker.submit(call)
    assert call.done.result(20) == "whole"
    assert order == ["first part", "answered: True"]


def test_stopping_finishes_what_is_there(worker, engine):
    first = hold_up(worker)
    second = job()
    worker.submit(second)
    worker.close()
    with pytest.raises(Problem) as caught:
        worker.submit(job())
    assert (caught.value.status_code, caught.value.code) == (503, "shutting_down")
    engine.gate.set()
    assert first.done.result(20)
    assert second.done.result(20)


def test_giving_up_says_so(worker, engine):
    first = hold_up(worker)
    second = job()
    worker.submit(second)
    worker.close()
    worker.give_up()
    for one in (first, second):
        with pytest.raises(Problem) as caught:
            one.done.result(1)
        assert caught.value.code == "shutting_down"


def test_encoded_clips_used_longest_ago_are_forgotten():
    made = []
    kept = Prefixes(250, lambda _: 100)
    for key in ("a", "b", "a", "c", "a", "b"):
        kept.get(key, lambda key=key: made.append(key) or key)
    assert made == ["a", "b", "c", "b"]
    assert kept.num_bytes == 200


@pytest.mark.parametrize(
    ("tokens", "wish", "text", "reason", "told"),
    [
        pytest.param([1, 2, 0], {}, "1 2", "stop", ["1", " 2"], id="stop token"),
        pytest.param([1, 2, 3], {"max_tokens": 2}, "1 2", "length", ["1", " 2"], id="length"),
        pytest.param([1, 2, 3], {"stop": ("2",)}, "1 ", "stop", ["1", " "], id="stop text"),
        pytest.param(
            [1, 2, 4, 0], {"stop": (" 2 3",)}, "1 2 4", "stop", ["1", " 2 4"],
            id="only the beginning of a stop text",
        ),
        pytest.param([0], {}, "", "stop", [], id="nothing"),
    ],
)  # fmt: skip
def test_rows(tokens, wish, text, reason, told):
    pieces = []
    one = Row([1], Wish(**wish), lambda ids: " ".join(map(str, ids)), frozenset({0}),
              lambda piece: pieces.append(piece.text))  # fmt: skip
    for token in tokens:
        one.take(token)
    one.finish("length")
    assert (one.text, one.finish_reason) == (text, reason)
    assert "".join(pieces) == text
    assert [piece for piece in pieces if piece] == told
