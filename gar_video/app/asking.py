"""Descriptions, answers and choices of a session, as they come."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gar_video.app.session import Session
from gar_video.errors import PromptError

if TYPE_CHECKING:
    from gar_video.answer import Answer, Choice
    from gar_video.chat import Chat
    from gar_video.pipeline import GARVideo
    from gar_video.tracks import Tracks
    from gar_video.video import Video

#: A question is cut off by the page at so many letters; nobody types more.
MOST_LETTERS = 4_000


@dataclass
class Said:
    """One thing said.

    Attributes:
        kind: ``"describe"``, ``"ask"`` or ``"choose"``.
        question: As it was asked.
        model: The checkpoint's name.
        text: What has come so far.
        result: All of it, once it is there.
        follows: Whether it was asked on top of what was said before.
    """

    kind: str
    question: str
    model: str
    text: str = ""
    result: Answer | Choice | None = None
    follows: bool = False


def describe(session: Session, objects: Sequence[int] | None = None) -> Iterator[Said]:
    """Describe tracked objects one after the other, word by word.

    Yields:
        The description that is being made, whenever it has grown.

    Raises:
        PromptError: If there is nothing to describe.
    """
    video, tracks = session.opened(), session.tracks
    if tracks is None:
        raise PromptError("nothing is tracked yet; click on an object, then press Track")
    name, window, stop = session.gar_name, session.window_s, session.start_over()
    with session.models.answering(name) as gar:
        for object_id in tracks.object_ids if objects is None else objects:
            if stop.is_set():
                return
            said = Said("describe", f"<{object_id}>", name)
            session.said.append(said)
            yield said
            try:
                said.result = gar.describe(video, tracks, objects=[object_id], time=window)[0]
                said.text = said.result.text
            finally:
                _drop_unfinished(session, said)
            yield said


def ask(session: Session, question: str, *, remember: bool = False) -> Iterator[Said]:
    """Ask a question, and yield what has been said of the answer whenever it grows.

    Args:
        session: Whose.
        question: Objects are ``<ID>``.
        remember: Ask on top of what was asked before, as in a conversation.

    Raises:
        PromptError: If the question cannot be meant.
    """
    video = session.opened()
    question = _checked(session, question)
    tracks, name, stop = session.tracks, session.gar_name, session.start_over()
    said = Said("ask", question, name)
    with session.models.answering(name) as gar:
        words: Generator[str, None, Answer]
        if remember:
            chat, said.follows = _chat(session, gar, video, tracks, question)
            words = chat.stream(question)
        else:
            session.end_chat()
            words = gar.stream(video, tracks, question, time=session.window_s)
        session.said.append(said)
        try:
            yield said
            while not stop.is_set():
                try:
                    said.text += next(words)
                except StopIteration as end:
                    said.result = end.value
                    said.text = end.value.text
                    break
                yield said
            yield said
        finally:
            words.close()
            _drop_unfinished(session, said)


def choose(session: Session, question: str, options: Sequence[str]) -> Said:
    """Choose between options.

    Args:
        session: Whose.
        question: Objects are ``<ID>`` in it and in the options.
        options: Two or more different texts; empty ones do not count.

    Raises:
        PromptError: If question or options cannot be meant.
    """
    from gar_video.prompt import multiple_choice

    video = session.opened()
    options = [option.strip() for option in options if option.strip()]
    question = _checked(session, question)
    _checked(session, multiple_choice(question, options))
    said = Said("choose", question, session.gar_name)
    with session.models.answering(session.gar_name) as gar:
        said.result = gar.choose(video, session.tracks, question, options, time=session.window_s)
    said.text = said.result.text
    session.said.append(said)
    return said


def _checked(session: Session, question: str) -> str:
    """Return a question all of whose objects are tracked."""
    from gar_video.prompt import mentioned_ids, parse_question

    question = question.strip()
    if len(question) > MOST_LETTERS:
        raise PromptError(f"the question has {len(question)} letters; expected {MOST_LETTERS}")
    tracks = session.tracks
    for object_id in mentioned_ids(parse_question(question)):
        if tracks is None or object_id not in tracks:
            if object_id in session.pointing.objects:
                raise PromptError(f"<{object_id}> is not tracked yet; press Track first")
            shown = ", ".join(f"<{i}>" for i in (tracks or ())) or "none yet"
            raise PromptError(f"there is no object <{object_id}>; the objects here are {shown}")
    return question


def _chat(
    session: Session, gar: GARVideo, video: Video, tracks: Tracks | None, question: str
) -> tuple[Chat, bool]:
    """Return the conversation to go on with, and whether it has begun already."""
    from gar_video.prompt import mentioned_ids, parse_question

    ids = () if tracks is None else tracks.object_ids
    if len(ids) > gar.processor.num_prompts:
        ids = mentioned_ids(parse_question(question)) or ids
    held = session.chat
    about = (id(gar), id(video), tracks, session.window_s)
    if held is not None and held[0] == about:
        return held[1], bool(held[1].answers)
    session.end_chat()
    chat = gar.chat(video, tracks, objects=ids, time=session.window_s)
    session.chat = (about, chat)
    return chat, False


def _drop_unfinished(session: Session, said: Said) -> None:
    """Take away what failed before a word came; keep what was stopped half-way."""
    if said.result is None and not said.text and said in session.said:
        session.said.remove(said)
