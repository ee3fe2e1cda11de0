"""Chat: several turns about one clip, each on top of all that was said before."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from gar_video.answer import Answer
from gar_video.devices import memory_guard
from gar_video.encoding import Encoded, Look
from gar_video.errors import PromptError
from gar_video.generation import Decoder, Generated, GenerationSettings, PrefixCache
from gar_video.processor import GARProcessor
from gar_video.prompt import QuestionPart, mentioned_ids, parse_question


class Chat:
    """A conversation; made by ``GARVideo.chat``.

    Use it as a context manager, so that its keys and values are freed at the end.
    """

    def __init__(
        self,
        decoder: Decoder,
        processor: GARProcessor,
        view: Look,
        encoded: Encoded | None,
        settings: GenerationSettings,
        result: Callable[[Look, str, Generated | None], Answer],
    ) -> None:
        self._decoder = decoder
        self._processor = processor
        self._view = view
        self._encoded = encoded
        self._settings = settings
        self._result = result
        self._unread: list[int] = []  # generated, but not yet run through the model
        self._open = True
        self.answers: list[Answer] = []

    def __enter__(self) -> Chat:
        """Return the chat."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free the keys and values."""
        self.close()

    def close(self) -> None:
        """End the conversation and free its memory."""
        self._encoded = None
        self._open = False

    def ask(self, question: str) -> Answer:
        """Say the next thing and return the answer.

        Args:
            question: Objects are ``<ID>``.

        Raises:
            PromptError: If the question is malformed, mentions an object that the conversation is
                not about, the context is full, or the chat was closed.
        """
        turn = self.stream(question)
        while True:
            try:
                next(turn)
            except StopIteration as end:
                answer: Answer = end.value
                return answer

    def stream(self, question: str) -> Generator[str, None, Answer]:
        """Say the next thing and yield the answer's text as it comes.

        The iterator's return value is the Answer, which is also the last of ``answers``.
        """
        if not self._open:
            raise PromptError("this chat is closed; begin another with chat()")
        parts = parse_question(question)
        unknown = [i for i in mentioned_ids(parts) if i not in self._view.objects]
        if unknown:
            shown = ", ".join(f"<{i}>" for i in self._view.objects) or "none"
            raise PromptError(
                f"there is no object <{unknown[0]}> in this chat; the objects here are {shown}"
            )
        return self._turn(question, parts)

    def _turn(self, question: str, parts: list[QuestionPart]) -> Generator[str, None, Answer]:
        gone = [i for i in mentioned_ids(parts) if i in self._view.hidden]
        if self._encoded is None or gone:
            answer = self._result(self._view, question, None)
            self.answers.append(answer)
            yield answer.text
            return answer
        cache, prompt = self._encoded.cache, self._encoded.prompt
        suffix = self._unread + self._processor.question_ids(parts, prompt, first=not self._asked)
        room = self._processor.context_length - cache.length - len(suffix)
        if room < self._settings.max_new_tokens:
            raise PromptError(
                f"the conversation holds {cache.length} of {self._processor.context_length} tokens "
                f"and this turn needs {len(suffix) + self._settings.max_new_tokens}; begin a new "
                "chat, look at fewer frames, or lower max_new_tokens"
            )
        start, done = cache.length, False
        try:
            with memory_guard("answering in a chat"):
                tokens = yield from stream_text(
                    self._decoder, self._processor, cache, suffix, self._settings
                )
            done = True
        finally:
            if not done:  # interrupted: as if this turn had not been
                cache.rewind(start)
        generated = self._decoder.finished(tokens)
        # The last token was not run: a stop token belongs to the template, any other is owed.
        self._unread = [] if generated.finish_reason == "stop" else [tokens[-1]]
        answer = self._result(self._view, question, generated)
        self.answers.append(answer)
        return answer

    @property
    def _asked(self) -> bool:
        return any(answer.finish_reason != "not_visible" for answer in self.answers)


def stream_text(
    decoder: Decoder,
    processor: GARProcessor,
    cache: PrefixCache,
    suffix: Sequence[int],
    settings: GenerationSettings,
) -> Generator[str, None, list[int]]:
    """Generate one answer, yielding its text piece by piece; return its tokens.

    The cache grows by the suffix and all generated tokens but the last.
    """
    tokens: list[int] = []
    told = ""
    for step in decoder.steps(cache, [suffix], settings):
        tokens.append(step[0][1])
        text = processor.decode(decoder.finished(tokens).token_ids)
        # A character may be split over tokens; its half is told when it is whole.
        if text.startswith(told) and not text.endswith("\ufffd") and text != told:
            yield text[len(told) :]
            told = text
    text = processor.decode(decoder.finished(tokens).token_ids)
    if text != told:
        yield text[len(told) :]
    return tokens
