"""GARVideo: videos and tracks in, words about the objects out."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch

from gar_video.answer import Answer, Choice
from gar_video.chat import Chat, stream_text
from gar_video.checkpoint import load_checkpoint, save_checkpoint
from gar_video.choosing import as_choice, score_options
from gar_video.devices import memory_guard
from gar_video.encoding import Look, PrefixStore, look
from gar_video.errors import PromptError
from gar_video.generation import Decoder, Generated, GenerationSettings
from gar_video.model import GARModel
from gar_video.objects import all_ids, check_count, check_ids, meant_objects
from gar_video.processor import GARProcessor
from gar_video.prompt import (
    DESCRIBE,
    QuestionPart,
    multiple_choice,
    parse_question,
)
from gar_video.tracks import Tracks
from gar_video.video import Video

if TYPE_CHECKING:
    from gar_video.timeline import Timeline
    from gar_video.timeline_making import SummaryBy

VideoLike: TypeAlias = "Video | str | os.PathLike[str] | np.ndarray"
Frames: TypeAlias = "int | Sequence[int] | None"
Window: TypeAlias = "tuple[float, float] | None"
Scoring: TypeAlias = Literal["letter", "text"]

# Kept free for a question, so that questions of usual length look at the same frames and share
# one encoding of them.
_QUESTION_ROOM = 256


class GARVideo:
    """Describes tracked objects and answers questions about them.

    Args:
        model: A GARModel in evaluation mode.
        processor: The checkpoint's processor.
        name: The checkpoint's name, written into answers.
        batch_size: Most questions decoded at once.
        keep: How many encoded clips are kept for further questions.
        token_budget: Most tokens of frames and regions together, of which less work and less
            accuracy come: fewer frames are looked at where they cost more. None for what the
            model's context leaves.

    Raises:
        PromptError: If the token budget is not a positive whole number.
    """

    def __init__(
        self,
        model: GARModel,
        processor: GARProcessor,
        *,
        name: str = "",
        batch_size: int = 64,
        keep: int = 2,
        token_budget: int | None = None,
    ) -> None:
        if token_budget is not None and (
            isinstance(token_budget, bool) or int(token_budget) != token_budget or token_budget < 1
        ):
            raise PromptError(f"token_budget is {token_budget!r}; expected at least 1, or None")
        self.model = model
        self.processor = processor
        if token_budget is not None:
            processor.token_budget = int(token_budget)
        self.name = name
        self.batch_size = batch_size
        self._decoder = Decoder(model, processor.stop_ids)
        self._prefixes = PrefixStore(self._decoder, processor, keep)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        quantization_config: Any = None,
        attn_implementation: str = "auto",
        **settings: Any,
    ) -> GARVideo:
        """Load a checkpoint: ``"nano"``, a folder, or a hub id such as ``HaochenWang/GAR-1B``.

        Args:
            name_or_path: The checkpoint.
            device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
            dtype: ``"auto"`` (bfloat16 on CUDA, float32 elsewhere) or a type's name.
            quantization_config: Passed to transformers, for 4- and 8-bit loading.
            attn_implementation: ``"auto"``, or a name that transformers knows.
            **settings: ``batch_size``, ``keep``, ``token_budget``.

        Raises:
            CheckpointError: If there is no usable checkpoint.
            DeviceError: If the device is not there or its memory does not suffice.
        """
        with memory_guard(f"loading {name_or_path}"):
            loaded = load_checkpoint(
                name_or_path,
                device=device,
                dtype=dtype,
                quantization_config=quantization_config,
                attn_implementation=attn_implementation,
            )
        processor = GARProcessor(loaded.model.config, loaded.tokenizer, loaded.image_settings)
        return cls(loaded.model, processor, name=loaded.name, **settings)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write the checkpoint in the published format; see ``checkpoint.save_checkpoint``."""
        return save_checkpoint(
            folder, self.model, self.processor.tokenizer, self.processor.image_settings
        )

    # ---------------------------------------------------------------- questions

    def describe(
        self,
        video: VideoLike,
        tracks: Tracks,
        *,
        objects: Sequence[int] | None = None,
        frames: Frames = None,
        time: Window = None,
        progress: Callable[[int, int], None] | None = None,
        **generation: Any,
    ) -> list[Answer]:
        """Describe objects, each on its own.

        Args:
            video: The video, or what ``Video`` opens.
            tracks: Where its objects are.
            objects: Ids to describe; all by default.
            frames: How many frames to look at, or which; the checkpoint's default if None.
            time: ``(start, end)`` in seconds to look at.
            progress: Called with (done, total).
            **generation: Fields of ``GenerationSettings``, such as ``max_new_tokens``.

        Returns:
            One answer per object, in order.

        Raises:
            PromptError: If an id is unknown or the window is empty.
            TracksError: If the tracks do not fit the video.
        """
        video = _opened(video)
        settings = GenerationSettings(**generation)
        ids = tracks.object_ids if objects is None else tuple(objects)
        check_ids(tracks, ids)
        answers = []
        for done, object_id in enumerate(ids):
            if progress is not None:
                progress(done, len(ids))
            parts: list[QuestionPart] = [DESCRIBE]
            view = self._look(
                video, tracks, (object_id,), parts, settings, frames, time, describe=True
            )
            answers += self._answer_on(view, [(DESCRIBE, parts)], settings)
        if progress is not None:
            progress(len(ids), len(ids))
        return answers

    def ask(
        self,
        video: VideoLike,
        tracks: Tracks | None,
        question: str,
        *,
        frames: Frames = None,
        time: Window = None,
        more_objects: bool = False,
        **generation: Any,
    ) -> Answer:
        """Ask one question; objects are ``<ID>`` in it. Arguments as for ``ask_many``."""
        return self.ask_many(
            video, tracks, [question], frames=frames, time=time, more_objects=more_objects,
            **generation,
        )[0]  # fmt: skip

    def ask_many(
        self,
        video: VideoLike,
        tracks: Tracks | None,
        questions: Sequence[str],
        *,
        frames: Frames = None,
        time: Window = None,
        more_objects: bool = False,
        progress: Callable[[int, int], None] | None = None,
        **generation: Any,
    ) -> list[Answer]:
        """Ask questions; those about the same objects share one encoding of the clip.

        Args:
            video: The video, or what ``Video`` opens.
            tracks: Where its objects are; None to ask about the pictures alone.
            questions: Objects are ``<ID>``. A question that mentions none is about all.
            frames: How many frames to look at, or which; the checkpoint's default if None.
            time: ``(start, end)`` in seconds to look at.
            more_objects: Allow more objects than the checkpoint has prompts. It was not trained
                for that.
            progress: Called with (done, total).
            **generation: Fields of ``GenerationSettings``, such as ``max_new_tokens``.

        Returns:
            One answer per question, in order.

        Raises:
            PromptError: If a question is malformed, mentions an unknown object, or mentions more
                objects than the checkpoint has prompts.
            TracksError: If the tracks do not fit the video.
        """
        if isinstance(questions, str):
            raise PromptError("questions is one text; expected a list of questions")
        video = _opened(video)
        settings = GenerationSettings(**generation)
        parsed = [(question, parse_question(question)) for question in questions]
        groups: dict[tuple[tuple[int, ...], bool], list[int]] = {}
        for at, (_, parts) in enumerate(parsed):
            objects = meant_objects(parts, tracks, self.processor.num_prompts, more_objects)
            groups.setdefault((objects, parts == [DESCRIBE]), []).append(at)
        answers: dict[int, Answer] = {}
        for (objects, describe), places in groups.items():
            longest = max((parsed[at][1] for at in places), key=self._length)
            view = self._look(video, tracks, objects, longest, settings, frames, time, describe)
            asked = [parsed[at] for at in places]
            for first in range(0, len(places), self.batch_size):
                batch = slice(first, first + self.batch_size)
                done = self._answer_on(view, asked[batch], settings)
                answers.update(zip(places[batch], done, strict=True))
                if progress is not None:
                    progress(len(answers), len(parsed))
        return [answers[at] for at in range(len(parsed))]

    def choose(
        self,
        video: VideoLike,
        tracks: Tracks | None,
        question: str,
        options: Sequence[str],
        *,
        by: Scoring | None = None,
        frames: Frames = None,
        time: Window = None,
        more_objects: bool = False,
    ) -> Choice:
        """Choose between options, in one forward pass; arguments as for ``choose_many``."""
        return self.choose_many(
            video, tracks, [(question, options)], by=by, frames=frames, time=time,
            more_objects=more_objects,
        )[0]  # fmt: skip

    def choose_many(
        self,
        video: VideoLike,
        tracks: Tracks | None,
        questions: Sequence[tuple[str, Sequence[str]]],
        *,
        by: Scoring | None = None,
        frames: Frames = None,
        time: Window = None,
        more_objects: bool = False,
    ) -> list[Choice]:
        """Choose between options; questions about the same objects share one encoding of the clip.

        Args:
            video: The video, or what ``Video`` opens.
            tracks: Where its objects are; None to ask about the pictures alone.
            questions: Each with its options, two to 26 different texts; objects are ``<ID>`` in
                both.
            by: ``"letter"`` lists the options and compares the letters' probabilities, as GAR was
                trained to; ``"text"`` compares the likelihoods of the options' words as answers to
                the open question. The checkpoint's default if None.
            frames: How many frames to look at, or which; the checkpoint's default if None.
            time: ``(start, end)`` in seconds to look at.
            more_objects: Allow more objects than the checkpoint has prompts.

        Returns:
            One choice per question, in order, with one probability per option.

        Raises:
            PromptError: As ``ask_many``, or if the options are not different texts.
        """
        video = _opened(video)
        scoring = self.model.config.choice_scoring if by is None else by
        if scoring not in ("letter", "text"):
            raise PromptError(f"by is {by!r}; expected 'letter' or 'text'")
        if any(isinstance(one, str) or len(one) != 2 for one in questions):
            raise PromptError("expected questions with their options, (question, options) each")
        listed = [parse_question(multiple_choice(*question)) for question in questions]
        groups: dict[tuple[int, ...], list[int]] = {}
        for at, parts in enumerate(listed):
            objects = meant_objects(parts, tracks, self.processor.num_prompts, more_objects)
            groups.setdefault(objects, []).append(at)
        choices: dict[int, Choice] = {}
        for objects, places in groups.items():
            longest = max((listed[at] for at in places), key=self._length)
            settings = GenerationSettings(max_new_tokens=1)
            view = self._look(video, tracks, objects, longest, settings, frames, time)
            asked = [questions[at] for at in places]
            scores: Sequence[torch.Tensor | None] = [None] * len(places)
            if not view.hidden:
                with memory_guard(f"choosing between options of {len(places)} questions"):
                    scores = score_options(
                        self._decoder, self.processor, self._prefixes.get(view), asked, scoring,
                        self.batch_size,
                    )  # fmt: skip
            for at, (question, options), score in zip(places, asked, scores, strict=True):
                evidence = self._evidence(view, question)
                choices[at] = as_choice(view, evidence, options, scoring, score)
        return [choices[at] for at in range(len(listed))]

    def chat(
        self,
        video: VideoLike,
        tracks: Tracks | None,
        *,
        objects: Sequence[int] | None = None,
        frames: Frames = None,
        time: Window = None,
        more_objects: bool = False,
        **generation: Any,
    ) -> Chat:
        """Begin a conversation about objects of a clip.

        Args:
            video: The video, or what ``Video`` opens.
            tracks: Where its objects are.
            objects: Ids that the conversation is about; all by default.
            frames: How many frames to look at, or which; the checkpoint's default if None.
            time: ``(start, end)`` in seconds to look at.
            more_objects: Allow more objects than the checkpoint has prompts.
            **generation: Fields of ``GenerationSettings``, for every turn.

        Raises:
            PromptError: If an id is unknown or there are more objects than prompts.
        """
        video = _opened(video)
        settings = GenerationSettings(**generation)
        ids = all_ids(tracks) if objects is None else tuple(objects)
        check_ids(tracks, ids)
        check_count(len(ids), self.processor.num_prompts, more_objects)
        view = self._look(video, tracks, ids, [DESCRIBE], settings, frames, time)
        encoded = None if len(view.hidden) == len(ids) and ids else self._prefixes.encode(view)
        return Chat(self._decoder, self.processor, view, encoded, settings, self._result)

    def stream(
        self,
        video: VideoLike,
        tracks: Tracks | None,
        question: str,
        *,
        frames: Frames = None,
        time: Window = None,
        more_objects: bool = False,
        **generation: Any,
    ) -> Generator[str, None, Answer]:
        """Ask one question and yield the answer's text as it comes. Arguments as ``ask_many``.

        The iterator's return value (``StopIteration.value``, or ``yield from``) is the Answer.
        """
        video = _opened(video)
        settings = GenerationSettings(**generation)
        parts = parse_question(question)
        objects = meant_objects(parts, tracks, self.processor.num_prompts, more_objects)
        view = self._look(video, tracks, objects, parts, settings, frames, time)
        return self._stream_on(view, question, parts, settings)

    def timeline(
        self,
        video: VideoLike,
        tracks: Tracks,
        *,
        every_s: float = 5.0,
        objects: Sequence[int] | None = None,
        question: str | None = None,
        frames: int | None = None,
        time: Window = None,
        summary: SummaryBy = "auto",
        progress: Callable[[int, int], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        **generation: Any,
    ) -> Timeline:
        """Describe objects over time: window by window, then in short.

        Memory does not grow with the video but by the words alone.

        Args:
            video: The video, or what ``Video`` opens.
            tracks: Where its objects are.
            every_s: Length of a window in seconds.
            objects: Ids; all by default.
            question: Asked of every object in every window in which it is seen, its ``<ID>``
                standing for each in turn (``"What does <1> do?"``); a description by default.
            frames: How many frames to look at in a window; the checkpoint's default if None.
            time: ``(start, end)`` in seconds of the part to go through.
            summary: ``"model"`` asks the model to sum up its own notes; ``"notes"`` puts them one
                after the other; ``"auto"`` asks those checkpoints that were trained to.
            progress: Called with (windows done, windows in all).
            cancel: Called before each description; True stops.
            **generation: Fields of ``GenerationSettings``, such as ``max_new_tokens``.

        Returns:
            The timeline: words from the model, events from the tracks.

        Raises:
            PromptError: If a window is too short or empty, an id is unknown, the question mentions
                several objects, or the video is a photograph.
            TracksError: If the tracks do not fit the video.
            Cancelled: If ``cancel`` asked for it.
        """
        from gar_video.timeline_making import make_timeline

        return make_timeline(
            self, _opened(video), tracks, every_s=every_s, objects=objects, question=question,
            frames=frames, time=time, summary=summary, progress=progress, cancel=cancel,
            settings=GenerationSettings(**generation),
        )  # fmt: skip

    def forget(self) -> None:
        """Free the encoded clips that are kept for further questions."""
        self._prefixes.clear()

    # ---------------------------------------------------------------- inside

    def _stream_on(
        self, view: Look, question: str, parts: list[QuestionPart], settings: GenerationSettings
    ) -> Generator[str, None, Answer]:
        if view.hidden:
            yield view.why_hidden()
            return self._result(view, question, None)
        encoded = self._prefixes.get(view)
        suffix = self.processor.question_ids(parts, encoded.prompt)
        start = encoded.cache.length
        try:
            tokens = yield from stream_text(
                self._decoder, self.processor, encoded.cache, suffix, settings
            )
        finally:
            encoded.cache.rewind(start)
        return self._result(view, question, self._decoder.finished(tokens))

    def _length(self, parts: list[QuestionPart]) -> int:
        return sum(len(part) if isinstance(part, str) else 1 for part in parts)

    def _look(
        self,
        video: Video,
        tracks: Tracks | None,
        objects: tuple[int, ...],
        parts: list[QuestionPart],
        settings: GenerationSettings,
        frames: Frames,
        time: Window,
        describe: bool = False,
    ) -> Look:
        if tracks is not None:
            tracks.check_fits(video)
        words = sum(
            len(self.processor.encode_plain(part)) if isinstance(part, str) else 1 for part in parts
        )
        return look(
            video,
            tracks,
            objects,
            self.processor,
            frames=self.model.config.num_frames if frames is None else frames,
            time=time,
            text_tokens=max(words + 16, _QUESTION_ROOM) + settings.max_new_tokens,
            describe=describe,
        )

    def _evidence(self, view: Look, question: str) -> dict[str, Any]:
        return {
            "question": question,
            "objects": view.objects,
            "frames": view.frames,
            "times_s": view.times_s,
            "visible": view.visible,
            "model": self.name,
        }

    def _result(self, view: Look, question: str, generated: Generated | None) -> Answer:
        """Return the Answer of generated tokens, or of an object that is not visible."""
        if generated is None:
            return Answer(
                **self._evidence(view, question), text=view.why_hidden(), token_ids=(),
                finish_reason="not_visible",
            )  # fmt: skip
        return Answer(
            **self._evidence(view, question),
            text=self.processor.decode(generated.token_ids),
            token_ids=generated.token_ids,
            finish_reason=generated.finish_reason,
        )

    def _answer_on(
        self,
        view: Look,
        asked: Sequence[tuple[str, list[QuestionPart]]],
        settings: GenerationSettings,
    ) -> list[Answer]:
        if view.hidden:
            return [self._result(view, question, None) for question, _ in asked]
        encoded = self._prefixes.get(view)
        suffixes = [self.processor.question_ids(parts, encoded.prompt) for _, parts in asked]
        with memory_guard(f"answering {len(asked)} questions"):
            generated = self._decoder.generate(encoded.cache, suffixes, settings)
        return [
            self._result(view, question, done)
            for (question, _), done in zip(asked, generated, strict=True)
        ]


def _opened(video: VideoLike) -> Video:
    return video if isinstance(video, Video) else Video(video)
