"""Answers to batches: all prompts and questions of a batch run through the model together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from gar_video.batch.looking import Loaded, Sight
from gar_video.batch.state import Unit
from gar_video.batch.tasks import Task
from gar_video.batch.together import ManyDecoder, Rows
from gar_video.devices import memory_guard
from gar_video.errors import DeviceError, GARVideoError
from gar_video.generation import GenerationSettings
from gar_video.pipeline import GARVideo
from gar_video.prompt import DESCRIBE, QuestionPart, multiple_choice, parse_question

# Beyond what float arithmetic reproduces from one batch to another.
_DIGITS = 4
#: Tokens whose keys and values are held at a time, unless a run says otherwise.
CPU_TOKENS, ACCELERATOR_TOKENS = 16_384, 262_144


class Answerer:
    """Answers batches.

    Args:
        gar: The model.
        model: The hash of its weights, written into answers.
        tokens_at_once: Most tokens of prompts, or of rows, that the model holds at a time.
    """

    def __init__(self, gar: GARVideo, model: str, tokens_at_once: int | None = None) -> None:
        self._gar, self._model = gar, model
        self._processor = gar.processor
        self._decoder = ManyDecoder(gar.model, gar.processor.stop_ids)
        device = gar.model.get_input_embeddings().weight.device
        standard = CPU_TOKENS if device.type == "cpu" else ACCELERATOR_TOKENS
        self._tokens = tokens_at_once or standard
        #: How often memory did not suffice and a smaller batch was tried.
        self.shrunk = 0
        self._read = 0

    def take_tokens(self) -> int:
        """Return how many tokens were read and written since this was last asked."""
        tokens, self._read = self._read, 0
        return tokens

    def answer(self, loaded: Loaded) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
        """Answer a batch.

        Returns:
            Rows by their units' numbers, and reasons of those that failed.
        """
        answers: dict[int, dict[str, Any]] = {}
        failed = dict(loaded.failed)
        seen = []
        for sight in loaded.sights:
            if sight.inputs is None:
                for unit, task in sight.units:
                    answers[unit.id] = self._row(
                        sight, unit, task, sight.look.why_hidden(), "not_visible"
                    )
            else:
                seen.append(sight)
        for part in _parts(seen, self._tokens):
            self._try(part, self._tokens, answers, failed)
        return answers, failed

    def _try(
        self,
        sights: Sequence[Sight],
        tokens: int,
        answers: dict[int, dict[str, Any]],
        failed: dict[int, str],
    ) -> None:
        """Answer sights; where memory does not suffice in smaller parts, down to single ones."""
        try:
            answers.update(self._answer(sights, tokens))
            return
        except DeviceError as error:
            self.shrunk += 1
            reason = " ".join(str(error).split())
        except GARVideoError as error:
            reason = " ".join(str(error).split())
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(sights) > 1:
            half = len(sights) // 2
            self._try(sights[:half], tokens // 2, answers, failed)
            self._try(sights[half:], tokens // 2, answers, failed)
        elif len(sights[0].units) > 1:
            sight = sights[0]
            for one in sight.units:
                alone = Sight([one], sight.look, sight.prompt, sight.inputs, sight.known)
                self._try([alone], tokens // 2, answers, failed)
        else:
            failed[sights[0].units[0][0].id] = reason

    # ---------------------------------------------------------------- the model

    def _answer(self, sights: Sequence[Sight], tokens: int) -> dict[int, dict[str, Any]]:
        asked = [
            (place, unit, task) for place, sight in enumerate(sights) for unit, task in sight.units
        ]
        with memory_guard(f"encoding {len(sights)} stretches of video"):
            prompts = self._decoder.encode([s.inputs for s in sights if s.inputs is not None])
        longest = max(prompts.lengths)
        self._read += sum(prompts.lengths)
        answers: dict[int, dict[str, Any]] = {}
        kinds: dict[tuple[Any, ...], list[tuple[int, Unit, Task]]] = {}
        for one in asked:
            choice = one[2].kind == "choose"
            kinds.setdefault((choice, 0 if choice else one[2].max_new_tokens), []).append(one)
        with memory_guard(f"answering {len(asked)} questions"):
            for (choice, room), own in kinds.items():
                most = max(1, tokens // (longest + room + 64))
                if choice:
                    answers.update(self._choose(sights, prompts, own, most))
                    continue
                for start in range(0, len(own), most):
                    part = own[start : start + most]
                    rows: Any = Rows(prompts, tuple(place for place, _, _ in part))
                    suffixes = [self._suffix(sights[p], unit, task) for p, unit, task in part]
                    settings = GenerationSettings(max_new_tokens=room)
                    done = self._decoder.generate(rows, suffixes, settings)
                    self._read += sum(len(one.token_ids) for one in done) + sum(map(len, suffixes))
                    for (place, unit, task), words in zip(part, done, strict=True):
                        text = self._processor.decode(words.token_ids)
                        answers[unit.id] = self._row(
                            sights[place], unit, task, text, words.finish_reason
                        )
        return answers

    def _suffix(self, sight: Sight, unit: Unit, task: Task) -> list[int]:
        describe = task.kind == "describe"
        parts: list[QuestionPart] = (
            [DESCRIBE] if describe else parse_question(task.worded(unit.objects))
        )
        return list(self._processor.question_ids(parts, sight.prompt))

    def _choose(
        self,
        sights: Sequence[Sight],
        prompts: Any,
        asked: Sequence[tuple[int, Unit, Task]],
        most: int,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Score the options of choices, as ``GARVideo.choose`` does."""
        by_letter = self._gar.model.config.choice_scoring == "letter"
        places: list[int] = []
        suffixes: list[list[int]] = []
        options: list[list[int]] = []
        for place, unit, task in asked:
            worded, own = task.worded(unit.objects), task.worded_options(unit.objects)
            prompt = sights[place].prompt
            if by_letter:
                parts = parse_question(multiple_choice(worded, own))
                places.append(place)
                suffixes.append(list(self._processor.question_ids(parts, prompt)))
                continue
            suffix = list(self._processor.question_ids(parse_question(worded), prompt))
            for option in own:
                places.append(place)
                suffixes.append(suffix)
                options.append(list(self._processor.answer_ids(parse_question(option), prompt)))
        self._read += sum(map(len, suffixes)) + sum(map(len, options))
        scores: list[Any] = []
        for start in range(0, len(places), most):
            part = slice(start, start + most)
            rows: Any = Rows(prompts, tuple(places[part]))
            if by_letter:
                scores += list(self._decoder.next_token_logits(rows, suffixes[part]).cpu())
            else:
                scores += self._decoder.log_likelihoods(rows, suffixes[part], options[part])
        at = 0
        for place, unit, task in asked:
            count = len(task.options)
            if by_letter:
                line, at = scores[at], at + 1
                own_scores = line[list(self._processor.letter_ids(count))[:count]]
            else:
                own_scores, at = torch.tensor(scores[at : at + count]), at + count
            shares = own_scores.double().softmax(0)
            told = task.worded_options(unit.objects)
            row = self._row(sights[place], unit, task, told[int(shares.argmax())], "stop")
            row["probabilities"] = [round(share, _DIGITS) for share in shares.tolist()]
            yield unit.id, row

    def _row(self, sight: Sight, unit: Unit, task: Task, text: str, finish: str) -> dict[str, Any]:
        describe = task.kind == "describe"
        return {
            **sight.known,
            "question": DESCRIBE if describe else task.worded(unit.objects),
            "answer": text,
            "options": list(task.worded_options(unit.objects)),
            "finish": finish,
            "model": self._model,
        }


def _parts(sights: Sequence[Sight], tokens: int) -> Iterator[list[Sight]]:
    """Cut sights, in their order, into parts whose padded prompts have so many tokens at most."""
    part: list[Sight] = []
    longest = 0
    for sight in sights:
        assert sight.inputs is not None
        own = sight.inputs.input_ids.shape[1]
        if part and (len(part) + 1) * max(longest, own) > tokens:
            yield part
            part, longest = [], 0
        part.append(sight)
        longest = max(longest, own)
    if part:
        yield part
