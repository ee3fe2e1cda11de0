"""Answering: a model run on groups of cases, each clip encoded once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

from gar_video.bench.case import Case
from gar_video.bench.groups import Group
from gar_video.bench.looking import DiskError, Sight, Sights, names_only, sayable
from gar_video.bench.rows import Row, blank_row, read_choice
from gar_video.bench.wording import wording
from gar_video.choosing import score_letters, score_texts
from gar_video.devices import memory_guard
from gar_video.encoding import Encoded, encode
from gar_video.errors import DeviceError, GARVideoError
from gar_video.generation import Decoder, GenerationSettings
from gar_video.prompt import QuestionPart

if TYPE_CHECKING:
    from gar_video.pipeline import GARVideo

# Beyond what float arithmetic reproduces from one batch to another.
_DIGITS = 4


class Answerer:
    """Runs a model on groups.

    Args:
        gar: The model.
        sights: What is looked at; its settings are the run's, with ``max_new_tokens`` given.
        official: Whether the benchmark's own wording is asked for.
        whole: Whether an answer counts only if it is the letter and nothing else.
        encoded: Encoded clips by their sights' keys, which are used and added to; None keeps none.
    """

    def __init__(
        self,
        gar: GARVideo,
        sights: Sights,
        *,
        official: bool,
        whole: bool = False,
        encoded: dict[str, Encoded] | None = None,
    ) -> None:
        assert sights.settings.max_new_tokens is not None
        self._gar, self._sights, self._settings = gar, sights, sights.settings
        self._official, self._whole = official, whole
        self._encoded = {} if encoded is None else encoded
        self._keep = encoded is not None
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
            DeviceError: If memory runs out.
            DiskError: If tracks cannot be kept. Nothing else ends a run.
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
        return self._sights.see(group, room, self._encoded)

    def _room(self, case: Case) -> int:
        """Return the tokens to keep free for a question and its answer."""
        words = self._count(wording(case, self._settings, official=self._official))
        if case.kind == "choice" and self._settings.score == "text":
            return words + 16 + max(self._count(option.words) for option in case.options)
        letter = case.kind == "choice" and self._settings.score == "letter"
        assert self._settings.max_new_tokens is not None
        return words + 16 + (1 if letter else self._settings.max_new_tokens)

    def _count(self, parts: Iterable[QuestionPart]) -> int:
        plain = self._processor.encode_plain
        return sum(len(plain(part)) if isinstance(part, str) else 1 for part in parts)

    def _answer(self, group: Group, coming: Future[Sight]) -> list[Row]:
        start = time.perf_counter()
        try:
            sight = coming.result()
            encoded = self._encode(sight)
            answers = self._answers(group.cases, sight, encoded)
        except (DeviceError, DiskError):
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

    def _encode(self, sight: Sight) -> Encoded:
        if sight.key in self._encoded:
            return self._encoded[sight.key]
        if sight.prompt is None:
            encoded = self._words_alone(sight)
        else:
            encoded = encode(self._decoder, self._processor, sight.prompt)
        if self._keep:
            self._encoded[sight.key] = encoded
        return encoded

    @torch.inference_mode()
    def _words_alone(self, sight: Sight) -> Encoded:
        """Encode what stands before a question where nothing is shown."""
        turns, embed = self._processor.turns, self._gar.model.get_input_embeddings()
        ids = self._processor.encode_control(turns.opening + turns.before_text)
        embeds = embed(torch.tensor([ids], device=embed.weight.device))
        return Encoded(names_only(sight.numbers), self._decoder.prefill(embeds))

    def _answers(self, cases: Sequence[Case], sight: Sight, encoded: Encoded) -> list[Row]:
        asked = [
            sayable(wording(case, self._settings, official=self._official), sight) for case in cases
        ]
        run = (self._decoder, self._processor, encoded, asked)
        size = self._settings.batch_size
        with memory_guard(f"answering {len(cases)} questions"):
            if cases[0].kind != "choice" or self._settings.score == "generate":
                return self._by_generating(cases, asked, encoded)
            if self._settings.score == "letter":
                letters = [[option.letter for option in case.options] for case in cases]
                scores = score_letters(*run, letters, size)
            else:
                words = [[sayable(one.words, sight) for one in case.options] for case in cases]
                scores = score_texts(*run, words, size)
        return [_chosen(case, own) for case, own in zip(cases, scores, strict=True)]

    def _by_generating(
        self, cases: Sequence[Case], asked: Sequence[list[QuestionPart]], encoded: Encoded
    ) -> list[Row]:
        assert self._settings.max_new_tokens is not None
        how = GenerationSettings(max_new_tokens=self._settings.max_new_tokens)
        suffixes = [self._processor.question_ids(parts, encoded.prompt) for parts in asked]
        rows = []
        size = self._settings.batch_size
        for start in range(0, len(suffixes), size):
            batch = slice(start, start + size)
            generated = self._decoder.generate(encoded.cache, suffixes[batch], how)
            for case, done in zip(cases[batch], generated, strict=True):
                text = self._processor.decode(done.token_ids)
                choice = case.kind == "choice"
                rows.append(
                    read_choice(case, text, whole=self._whole) if choice else {"text": text}
                )
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
