"""What is looked at and what is said: from a conversation about a clip to what the model reads."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gar_video.encoding import Look, look
from gar_video.errors import PromptError
from gar_video.objects import meant_objects
from gar_video.pipeline import GARVideo
from gar_video.prompt import (
    DESCRIBE,
    ObjectMention,
    QuestionPart,
    RegionPrompt,
    parse_question,
)
from gar_video.server.clips import Clip
from gar_video.tracks import Tracks

Frames: TypeAlias = "int | Sequence[int] | None"
_MENTION = re.compile(r"<(\d{1,18})>")
# As many tokens are kept free for a question as the pipeline keeps, so that questions of usual
# length look at the same frames.
_QUESTION_ROOM = 256


@dataclass(frozen=True)
class Turn:
    """Something said in a conversation: ``"user"`` or ``"assistant"``, and the words."""

    role: str
    text: str


@dataclass(frozen=True, eq=False)
class Plan:
    """What the model is to read.

    Attributes:
        view: What is looked at.
        suffix: Tokens of the conversation after the clip; empty where an object is not visible.
        key: Equal for equal looks at equal clips.
    """

    view: Look
    suffix: tuple[int, ...]
    key: str

    def prompt(self, pictures: np.ndarray | None = None) -> RegionPrompt:
        """Return the prompt, its frames decoded unless they are given."""
        return self.view.prompt(pictures)


class Planner:
    """Plans answers; may be used by several threads.

    Args:
        gar: The model; only its words and settings are used.
    """

    def __init__(self, gar: GARVideo) -> None:
        self._gar = gar
        self._lock = threading.Lock()  # tokenizers are not for several threads at once

    def plan(
        self,
        clip: Clip,
        tracks: Tracks | None,
        turns: Sequence[Turn],
        *,
        max_tokens: int,
        frames: Frames = None,
        time: tuple[float, float] | None = None,
    ) -> Plan:
        """Choose frames, and write the conversation in the checkpoint's words.

        Args:
            clip: The clip.
            tracks: Where its objects are; None to ask about the pictures alone.
            turns: The conversation; the last turn is the user's.
            max_tokens: Room for the answer.
            frames: How many frames, or which.
            time: Window in seconds.

        Raises:
            PromptError: If a text is malformed, an object is unknown, there are too many of them,
                or it does not fit the context.
        """
        with self._lock:
            return self._plan(clip, tracks, turns, max_tokens, frames, time)

    def _plan(
        self,
        clip: Clip,
        tracks: Tracks | None,
        turns: Sequence[Turn],
        max_tokens: int,
        frames: Frames,
        time: tuple[float, float] | None,
    ) -> Plan:
        processor = self._gar.processor
        said = [
            parse_question(turn.text) if turn.role == "user" else _answer_parts(turn.text, tracks)
            for turn in turns
        ]
        asked = [part for turn, parts in zip(turns, said, strict=True)
                 if turn.role == "user" for part in parts]  # fmt: skip
        objects = meant_objects(asked, tracks, processor.num_prompts, False)
        describe = len(turns) == 1 and said[0] == [DESCRIBE] and len(objects) == 1
        if tracks is not None:
            tracks.check_fits(clip.video)
        words = sum(
            len(processor.encode_plain(part)) if isinstance(part, str) else 1
            for parts in said
            for part in parts
        )
        view = look(
            clip.video,
            tracks,
            objects,
            processor,
            frames=self._gar.model.config.num_frames if frames is None else frames,
            time=time,
            text_tokens=max(words + 16 * len(turns), _QUESTION_ROOM) + max_tokens,
            describe=describe,
        )
        key = f"{clip.digest}:{view.content_key}"
        if view.hidden:
            return Plan(view, (), key)
        prompt = view.prompt(np.zeros((len(view.frames), 1, 1, 3), np.uint8))
        ids: list[int] = []
        for number, (turn, parts) in enumerate(zip(turns, said, strict=True)):
            if turn.role == "user":
                ids += processor.question_ids(parts, prompt, first=number == 0)
            else:
                # Its stop token belongs to the template's words before the next turn.
                ids += processor.answer_ids(parts, prompt)[:-1]
        return Plan(view, tuple(ids), key)


def _answer_parts(text: str, tracks: Tracks | None) -> list[QuestionPart]:
    """Read an earlier answer: objects that there are become mentions, all else is plain words."""
    known = () if tracks is None else tracks.object_ids
    parts: list[QuestionPart] = []
    at = 0
    for match in _MENTION.finditer(text):
        if int(match[1]) in known:
            if match.start() > at:
                parts.append(text[at : match.start()])
            parts.append(ObjectMention(int(match[1])))
            at = match.end()
    if at < len(text):
        parts.append(text[at:])
    return parts or [" "]


def check_turns(turns: Sequence[Turn]) -> None:
    """Refuse conversations whose turns do not alternate, from the user's first to the user's last.

    Raises:
        PromptError: So.
    """
    for number, turn in enumerate(turns):
        expected = "user" if number % 2 == 0 else "assistant"
        if turn.role != expected:
            raise PromptError(
                f"turn {number + 1} of the conversation is the {turn.role}'s; expected user and "
                "assistant in turn, beginning with the user"
            )
    if not turns or turns[-1].role != "user":
        raise PromptError("the last message is not the user's; expected a question there")
