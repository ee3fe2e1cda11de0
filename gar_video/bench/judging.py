"""Judging: what a judge is asked about an answer, and what its replies are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gar_video.bench import score
from gar_video.bench.case import Case
from gar_video.bench.judge import Judge, JudgeRefused, Message, Reply
from gar_video.bench.judge_prompts import AGAIN, Prompts, article
from gar_video.bench.judge_views import views
from gar_video.bench.registry import Benchmark
from gar_video.bench.rows import Row
from gar_video.bench.videorefer_d import DIMENSIONS
from gar_video.errors import TracksError, VideoError

RECOGNITION = "recognition"


@dataclass(frozen=True)
class Question:
    """One thing that a judge is asked about an answer.

    Attributes:
        unit: What is judged; with the case's key it names the judgement.
        text: The question.
        options: What can be chosen; empty where the reply is free.
    """

    unit: str
    text: str
    options: tuple[str, ...] = ()


def questions(bench: Benchmark, case: Case, answer: str, prompts: Prompts) -> list[Question]:
    """Return what a judge is asked about an answer."""
    fields = {"description": answer}
    if bench.measure == "dimensions":
        text = prompts.fill("dimensions", {**fields, "caption": str(case.judged["caption"])})
        return [Question("dimensions", text)]
    if bench.measure == "verdict":
        named = {name: str(value) for name, value in case.judged.items()}
        return [Question("verdict", prompts.fill(case.type, {**fields, **named}))]
    name = str(case.judged["class_name"])
    plural = "recognition_plural" if score.is_plural(name) else "recognition"
    asked = prompts.fill(plural, {"class_name": name, "article": article(name)})
    entries = [(RECOGNITION, asked, ("Yes", "No"))]
    entries += [
        (f"{at} {one['type']}", one["question"], tuple(choice[0] for choice in one["choices"]))
        for at, one in enumerate(case.judged["questions"])
    ]
    return [
        Question(
            unit,
            prompts.fill("details", {**fields, "question": text, "options": _lettered(options)}),
            options,
        )
        for unit, text, options in entries
    ]


def _lettered(options: Sequence[str]) -> str:
    return "\n".join(f"{'ABCDEFGHIJ'[at]}. {option}" for at, option in enumerate(options))


@dataclass
class _Tally:
    """What is kept of the judging of one answer."""

    replies: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, unit: str, reply: Reply) -> str:
        self.replies[unit] = reply.text
        self.asked += 1
        self.cached += reply.cached
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        return reply.text


def worth(bench: Benchmark, case: Case, replies: Sequence[str], *, recorded: bool = False) -> Row:
    """Return what replies say an answer is worth.

    Args:
        bench: The benchmark.
        case: The case.
        replies: One a question, in the order of ``questions``.
        recorded: Whether they are a published run's, which is counted by the published rule alone.

    Returns:
        ``labels`` by unit, ``score`` or ``scores``, and ``error`` if a reply cannot be read.
    """
    if bench.measure == "verdict":
        verdict = score.official_verdict(replies[0]) if recorded else score.read_verdict(replies[0])
        if verdict is None:
            return {"labels": {}, "score": None, "error": _unreadable(replies[0])}
        return {"labels": {"verdict": verdict}, "score": int(verdict), "error": None}
    if bench.measure == "dimensions":
        read = score.read_dimensions(replies[0], DIMENSIONS)
        if read is None:
            return {"labels": {}, "scores": None, "error": _unreadable(replies[0])}
        return {"labels": read, "points": read, "scores": read, "error": None}
    entries = case.judged["questions"]
    if len(replies) != len(entries) + 1:
        error = f"{len(replies)} replies for {len(entries) + 1} questions"
        return {"labels": {}, "scores": None, "error": error}
    recognised = score.match_option(replies[0], ("Yes", "No")) == 0
    chosen = [
        score.match_option(reply, [choice[0] for choice in one["choices"]])
        for one, reply in zip(entries, replies[1:], strict=True)
    ]
    positive, negative = score.region_scores(entries, chosen, recognised)
    labels: dict[str, int | None] = {RECOGNITION: score.match_option(replies[0], ("Yes", "No"))}
    points: dict[str, float] = {}
    for at, (one, index) in enumerate(zip(entries, chosen, strict=True)):
        unit = f"{at} {one['type']}"
        labels[unit] = index
        points[unit] = score.points_of(one, index, recognised)
    return {
        "labels": labels,
        "points": points,
        "recognised": recognised,
        "scores": {"positive": positive, "negative": negative},
        "unmatched": sum(label is None for label in labels.values()),
        "error": None,
    }


def _unreadable(reply: str) -> str:
    text = " ".join(reply.split())
    return f"the judge's reply cannot be read: {text[:60]!r}"


class Judging:
    """Has answers judged.

    Args:
        bench: The benchmark.
        judge: Who judges.
        prompts: What it is asked.
        data: The benchmark's folder, where the judge is to see the pictures; None if it reads only.
        workers: How many answers are judged at once.
    """

    def __init__(
        self,
        bench: Benchmark,
        judge: Judge,
        prompts: Prompts,
        *,
        data: Path | None = None,
        workers: int = 8,
    ) -> None:
        self._bench, self._judge, self._prompts, self._data = bench, judge, prompts, data
        self._workers = workers

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the judgements."""
        return {
            "judge": self._judge.identity,
            "prompts": self._prompts.sha256,
            "sees": self._data is not None,
        }

    def run(self, cases: Sequence[Case], answers: Callable[[Case], str]) -> Iterator[Row]:
        """Judge answers, several at once; rows come in the cases' order.

        Args:
            cases: The cases to judge.
            answers: The text of a case's answer.

        Raises:
            GARVideoError: If the judge cannot be reached or refuses the key.
        """
        with ThreadPoolExecutor(self._workers, thread_name_prefix="judging") as pool:
            waiting = [pool.submit(self._one, case, answers(case)) for case in cases]
            try:
                for coming in waiting:
                    yield coming.result()
            finally:
                for coming in waiting:
                    coming.cancel()

    def _one(self, case: Case, answer: str) -> Row:
        tally, row = _Tally(), {"key": case.key, "index": case.index, "type": case.type}
        try:
            shown = [] if self._data is None else views(case, self._data)
            asked = questions(self._bench, case, answer, self._prompts)
            for question in asked:
                messages = _messages(question.text, shown)
                tally.add(question.unit, self._judge.ask(messages))
            found = worth(self._bench, case, list(tally.replies.values()))
            if found["error"] is not None and not asked[0].options:
                said = tally.replies[asked[0].unit]
                tally.add(asked[0].unit, self._again(messages, said))
                found = worth(self._bench, case, list(tally.replies.values()))
        except (JudgeRefused, VideoError, TracksError) as error:
            found = {"labels": {}, "score": None, "scores": None, "error": str(error)}
        return {
            **row,
            **found,
            "replies": tally.replies,
            "asked": tally.asked,
            "cached": tally.cached,
            "prompt_tokens": tally.prompt_tokens,
            "completion_tokens": tally.completion_tokens,
        }

    def _again(self, messages: Sequence[Message], said: str) -> Reply:
        """Ask once more after a reply that cannot be read."""
        reminder = AGAIN[self._bench.measure]
        return self._judge.ask(
            [
                *messages,
                {"role": "assistant", "content": said},
                {"role": "user", "content": reminder},
            ]
        )


def _messages(text: str, shown: Sequence[tuple[str, str]]) -> list[Message]:
    if not shown:
        return [{"role": "user", "content": text}]
    content: list[dict[str, Any]] = []
    for label, address in shown:
        content.append({"type": "text", "text": label})
        content.append({"type": "image_url", "image_url": {"url": address}})
    return [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]


def recorded_judgement(bench: Benchmark, case: Case, replies: Sequence[str]) -> Row:
    """Return the judgement that recorded replies amount to."""
    row = {"key": case.key, "index": case.index, "type": case.type}
    units = [one.unit for one in questions(bench, case, "", Prompts())]
    found = worth(bench, case, replies, recorded=True)
    held = dict(zip(units, replies, strict=False))
    return {**row, **found, "replies": held, "asked": 0, "cached": 0,
            "prompt_tokens": 0, "completion_tokens": 0}  # fmt: skip
