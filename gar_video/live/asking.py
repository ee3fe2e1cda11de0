"""Asking the model about one object of a stream."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gar_video.answer import Answer
from gar_video.errors import PromptError
from gar_video.live.subjects import LiveAnswer
from gar_video.live.views import View, clip_of
from gar_video.prompt import DESCRIBE, mentioned_ids, parse_question

if TYPE_CHECKING:
    from gar_video.pipeline import GARVideo


class Asker:
    """Asks for a description of an object, and the standing questions about it.

    Args:
        gar: The model.
        questions: The standing questions; the object is ``<1>`` in them.
        frames: Frames the model looks at, at most.
        generation: Fields of ``GenerationSettings``.

    Raises:
        PromptError: If a question is malformed or mentions other objects than <1>.
    """

    def __init__(
        self, gar: GARVideo, questions: Sequence[str], frames: int, generation: dict[str, Any]
    ) -> None:
        self._gar = gar
        self._questions = _checked_questions(questions)
        self._settings = {"frames": frames, **generation}

    def ask(self, object_id: int, views: Sequence[View], now_s: float) -> list[LiveAnswer]:
        """Describe an object by its views, then ask the questions.

        Raises:
            GARVideoError: If the model cannot answer.
        """
        began = time.monotonic()
        video, tracks = clip_of(object_id, views)
        answers = self._gar.describe(video, tracks, **self._settings)
        if self._questions:
            asked = [_about(question, object_id) for question in self._questions]
            answers += self._gar.ask_many(video, tracks, asked, **self._settings)
        took_s = time.monotonic() - began
        return [
            LiveAnswer(object_id, _in_stream(answer, views), question, False, now_s, took_s)
            for question, answer in zip((None, *self._questions), answers, strict=True)
        ]


def _in_stream(answer: Answer, views: Sequence[View]) -> Answer:
    """Return an answer with the stream's frames and times instead of the kept clip's."""
    pictures = [views[frame].picture for frame in answer.frames]
    return replace(
        answer,
        frames=tuple(picture.frame for picture in pictures),
        times_s=tuple(picture.time_s for picture in pictures),
    )


def _about(question: str, object_id: int) -> str:
    return re.sub(r"(?<!\\)<1>", f"<{object_id}>", question)


def _checked_questions(questions: Sequence[str]) -> tuple[str, ...]:
    if isinstance(questions, str):
        raise PromptError("questions is one text; expected a list of questions")
    for question in questions:
        parts = parse_question(question)
        others = [number for number in mentioned_ids(parts) if number != 1]
        if others:
            raise PromptError(
                f"standing question {question!r} mentions <{others[0]}>; every object is asked on "
                "its own and is <1> in it"
            )
        if parts == [DESCRIBE]:
            raise PromptError("a standing question asks for a description, which comes anyway")
    return tuple(dict.fromkeys(questions))
