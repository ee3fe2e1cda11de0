"""Answering: a model run on groups of cases, each clip encoded once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gar_video.bench.case import Case
from gar_video.bench.groups import Group
from gar_video.bench.looking import Sight, Tracker, names_only, sayable, see
from gar_video.bench.rows import Row, blank_row, read_choice
from gar_video.bench.settings import Settings
from gar_video.bench.wording import wording
from gar_video.devices import memory_guard
from gar_video.errors import DeviceError, GARVideoError
from gar_video.generation import Decoder, GenerationSettings, PrefixCache
from gar_video.prompt import LETTERS, QuestionPart, RegionPrompt

if TYPE_CHECKING:
    from gar_video.pipeline import GARVideo

# Beyond what float arithmetic reproduces from one batch to another.
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class _Encoded:
    prompt: RegionPrompt
    cache: PrefixCache


class Answerer:
    """Runs a model on groups.

    Args:
        gar: The model.
        data: The benchmark's folder.
        settings: The run's settings; ``num_frames`` and ``max_new_tokens`` given.
        official: Whether the benchmark's own wording is asked for.
        whole: Whether an answer counts only if it is the letter and nothing else.
        tracker: Follows masks, in mode ``"track"``.
        tracks: Folder where its tracks are kept.
    """

    def __init__(
        self,
        gar: GARVideo,
        data: Path,
        settings: Settings,
        *,
        official: bool,
        whole: bool = False,
        tracker: Tracker | None = None,
        tracks: Path | None = None,
    ) -> None:
        assert settings.num_frames is not None
        assert settings.max_new_tokens is not None
        self._gar, self._data, self._settings = gar, data, settings
        self._official, self._whole, self._tracker = official, whole, tracker
        self._tracks = tracks
        self._processor = gar.processor
        self._decoder = Decoder(gar.model, gar.processor.stop_ids)

    def run(
        self, groups: Sequence[Group], wanted: Callable[[Case], bool]
    ) -> Iterator[tuple[Group, list[Row]]]:
        """Answer groups in order; while one is answered, the next one's frames are decoded.

        Args:
            groups: The groups. One of which nothing is wanted is passed over; of another all is
                computed, so that rows do not depend on what was there before.
            wanted: Whether a case's row is missing.

        Yields:
            A group and its wanted rows.

        Raises:
            DeviceError: If memory runs out; nothing else ends a run.
        """
        due = [group for group in groups if any(map(wanted, group.cases))]
        with ThreadPoolExecutor(1, thread_name_prefix="decoding") as pool:
            ahead: Future[Sight] | None = None
            for place, group in enumerate(due):
                current = ahead or pool.submit(self._see, group)
                ahead = pool.submit(self._see, due[place + 1]) if place + 1 < len(due) else None
                try:
                    rows = self._answer(group, current)
                except BaseException:
                    if ahead is not None:
                        ahead.cancel()
                    raise
                keys = {case.key for case in group.cases if wanted(case)}
                yield group, [row for row in rows if row["key"] in keys]

    def _see(self, group: Group) -> Sight:
        room = max(self._room(case) for case in group.cases)
        assert self._settings.num_frames is not None
        return see(
            group,
            self._data,
            self._processor,
            self._settings,
            text_tokens=room,
            num_frames=self._settings.num_frames,
            tracker=self._tracker,
            tracks_file=None if self._tracks is None else self._tracks / f"{group.index}.json",
        )

    def _room(self, case: Case) -> int:
        """Return the tokens to keep free for a question and its answer."""
        words = self._count(wording(case, self._settings, official=self._official))
        if case.kind == "choice" and self._settings.score == "text":
            return words + 16 + max(self._count(option.words) for option in case.options)
        letter = case.kind == "choice" and self._settings.score == "letter"
        assert self._settings.max_new_tokens is not None
        return words + 16 + (1 if letter else self._settings.max_new_tokens)

    def _count(self, parts: Iterable[QuestionPart]) -> int:
        encode = self._processor.encode_plain
        return sum(len(encode(part)) if isinstance(part, str) else 1 for part in parts)

    def _answer(self, group: Group, coming: Future[Sight]) -> list[Row]:
        start = time.perf_counter()
        try:
            sight = coming.result()
            encoded = self._encode(sight)
            answers = self._answers(group.cases, sight, encoded)
        except DeviceError:
            raise
        except GARVideoError as error:
            text = " ".join(str(error).split())
            return [self._row(group, case, None, {"error": text}) for case in group.cases]
        seconds = round((time.perf_counter() - start) / len(group.cases), 4)
        return [
            self._row(group, case, sight, {**answer, "seconds": seconds})
            for case, answer in zip(group.cases, answers, strict=True)
        ]

    def _row(self, group: Group, case: Case, sight: Sight | None, answer: Row) -> Row:
        row = blank_row(case, group.index)
        if sight is not None:
            row.update(
                hidden=list(sight.hidden), frames=list(sight.frames), times_s=list(sight.times_s)
            )
        return {**row, **answer}

    # -- the model ---------------------------------------------------------------------------------

    @torch.inference_mode()
    def _encode(self, sight: Sight) -> _Encoded:
        model = self._gar.model
        device = model.get_input_embeddings().weight.device
        with memory_guard("encoding a clip"):
            if sight.prompt is None:
                turns = self._processor.turns
                ids = self._processor.encode_control(turns.opening + turns.before_text)
                embeds = model.get_input_embeddings()(torch.tensor([ids], device=device))
                return _Encoded(names_only(sight.numbers), self._decoder.prefill(embeds))
            inputs = self._processor(sight.prompt).to(device, model.floating_dtype)
            cache = self._decoder.prefill(model.embed(inputs))
        # The frames have done their work; only the slots are needed to word questions.
        frames = sight.prompt.frames[:, :1, :1]
        slim = RegionPrompt(
            frames, sight.prompt.slots, sight.prompt.is_image, sight.prompt.described
        )
        return _Encoded(slim, cache)

    def _answers(self, cases: Sequence[Case], sight: Sight, encoded: _Encoded) -> list[Row]:
        suffixes = [
            self._processor.question_ids(
                sayable(wording(case, self._settings, official=self._official), sight),
                encoded.prompt,
            )
            for case in cases
        ]
        with memory_guard(f"answering {len(cases)} questions"):
            if cases[0].kind == "choice" and self._settings.score == "letter":
                return self._by_letter(cases, suffixes, encoded)
            if cases[0].kind == "choice" and self._settings.score == "text":
                return self._by_text(cases, suffixes, encoded, sight)
            return self._by_generating(cases, suffixes, encoded)

    def _batches(self, rows: Sequence[Any]) -> Iterator[slice]:
        size = self._settings.batch_size
        return (slice(start, start + size) for start in range(0, len(rows), size))

    def _by_generating(
        self, cases: Sequence[Case], suffixes: Sequence[list[int]], encoded: _Encoded
    ) -> list[Row]:
        assert self._settings.max_new_tokens is not None
        how = GenerationSettings(max_new_tokens=self._settings.max_new_tokens)
        texts: list[str] = []
        for batch in self._batches(suffixes):
            for done in self._decoder.generate(encoded.cache, suffixes[batch], how):
                texts.append(self._processor.decode(done.token_ids))
        return [
            read_choice(case, text, whole=self._whole) if case.kind == "choice" else {"text": text}
            for case, text in zip(cases, texts, strict=True)
        ]

    def _by_letter(
        self, cases: Sequence[Case], suffixes: Sequence[list[int]], encoded: _Encoded
    ) -> list[Row]:
        rows = []
        for batch in self._batches(suffixes):
            logits = self._decoder.next_token_logits(encoded.cache, suffixes[batch]).cpu()  # [B, V]
            for case, line in zip(cases[batch], logits, strict=True):
                places = [LETTERS.index(option.letter) for option in case.options]
                ids = self._processor.letter_ids(max(places) + 1)
                rows.append(_chosen(case, line[[ids[place] for place in places]]))
        return rows

    def _by_text(
        self,
        cases: Sequence[Case],
        suffixes: Sequence[list[int]],
        encoded: _Encoded,
        sight: Sight,
    ) -> list[Row]:
        questions, answers = [], []
        for case, suffix in zip(cases, suffixes, strict=True):
            for option in case.options:
                questions.append(suffix)
                words = sayable(option.words, sight)
                answers.append(self._processor.answer_ids(words, encoded.prompt))
        scores: list[float] = []
        for batch in self._batches(questions):
            scores += self._decoder.log_likelihoods(encoded.cache, questions[batch], answers[batch])
        rows, place = [], 0
        for case in cases:
            own = scores[place : place + len(case.options)]
            place += len(own)
            rows.append(_chosen(case, torch.tensor(own)))
        return rows


def _chosen(case: Case, scores: torch.Tensor) -> Row:
    shares = scores.double().softmax(0).tolist()
    letter = case.options[shares.index(max(shares))].letter
    return {
        "text": letter,
        "letter": letter,
        "strict": letter,
        "correct": letter == case.answer,
        "probabilities": [round(share, _DIGITS) for share in shares],
    }
