"""Scoring the options of multiple choices on an encoded prompt: rows in batches, no decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gar_video.answer import Choice
from gar_video.encoding import Encoded, Look
from gar_video.generation import Decoder
from gar_video.processor import GARProcessor
from gar_video.prompt import LETTERS, QuestionPart, multiple_choice, parse_question

Parts = Sequence[QuestionPart]


def score_options(
    decoder: Decoder,
    processor: GARProcessor,
    encoded: Encoded,
    questions: Sequence[tuple[str, Sequence[str]]],
    by: str,
    batch_size: int,
) -> list[torch.Tensor]:
    """Score the options of questions as they were typed.

    Args:
        decoder: Runs the language model.
        processor: The checkpoint's processor.
        encoded: The prompt that all questions are about.
        questions: Each with its options; objects are ``<ID>``.
        by: ``"letter"`` or ``"text"``.
        batch_size: Most rows in one forward pass; one question's options always share one.

    Returns:
        For each question ``[options]`` scores whose softmax is the options' probabilities.
    """
    run = (decoder, processor, encoded)
    if by == "letter":
        listed = [parse_question(multiple_choice(*question)) for question in questions]
        letters = [LETTERS[: len(options)] for _, options in questions]
        return score_letters(*run, listed, letters, batch_size)
    asked = [parse_question(question) for question, _ in questions]
    answers = [[parse_question(option) for option in options] for _, options in questions]
    return score_texts(*run, asked, answers, max([batch_size, *map(len, answers)]))


def as_choice(
    view: Look,
    evidence: Mapping[str, Any],
    options: Sequence[str],
    by: str,
    scores: torch.Tensor | None,
) -> Choice:
    """Return the Choice that scores amount to.

    Args:
        view: What was looked at.
        evidence: The choice's fields that say so.
        options: The options.
        by: How they were scored.
        scores: ``[options]``; None if an object of the question is not visible.
    """
    given: dict[str, Any] = {**evidence, "options": tuple(map(str, options)), "by": by}
    if scores is None:
        return Choice(**given, index=None, probabilities=(), text=view.why_hidden())
    shares = scores.double().softmax(0)
    index = int(shares.argmax())
    return Choice(
        **given, index=index, probabilities=tuple(shares.tolist()), text=given["options"][index]
    )


def score_letters(
    decoder: Decoder,
    processor: GARProcessor,
    encoded: Encoded,
    listed: Sequence[Parts],
    letters: Sequence[Sequence[str]],
    batch_size: int,
) -> list[torch.Tensor]:
    """Score options by the logits of their letters after questions that list them.

    Args:
        decoder: Runs the language model.
        processor: The checkpoint's processor.
        encoded: The prompt that all questions are about.
        listed: The questions, their options listed.
        letters: Each question's letters, from A to Z.
        batch_size: Most questions in one forward pass.

    Returns:
        For each question ``[options]`` scores whose softmax is the options' probabilities.
    """
    suffixes = [processor.question_ids(parts, encoded.prompt) for parts in listed]
    scores = []
    for start in range(0, len(suffixes), batch_size):
        batch = slice(start, start + batch_size)
        logits = decoder.next_token_logits(encoded.cache, suffixes[batch]).cpu()  # [B, V]
        for line, own in zip(logits, letters[batch], strict=True):
            places = [LETTERS.index(letter) for letter in own]
            ids = processor.letter_ids(max(places) + 1)
            scores.append(line[[ids[place] for place in places]])
    return scores


def score_texts(
    decoder: Decoder,
    processor: GARProcessor,
    encoded: Encoded,
    asked: Sequence[Parts],
    options: Sequence[Sequence[Parts]],
    batch_size: int,
) -> list[torch.Tensor]:
    """Score options by the log-likelihood of their words as answers to open questions.

    Args:
        decoder: Runs the language model.
        processor: The checkpoint's processor.
        encoded: The prompt that all questions are about.
        asked: The questions.
        options: Each question's options; their stop token counts.
        batch_size: Most options, of whichever questions, in one forward pass.

    Returns:
        For each question ``[options]`` scores whose softmax is the options' probabilities.
    """
    suffixes: list[list[int]] = []
    answers: list[list[int]] = []
    for parts, own in zip(asked, options, strict=True):
        suffixes += [processor.question_ids(parts, encoded.prompt)] * len(own)
        answers += [processor.answer_ids(option, encoded.prompt) for option in own]
    scores: list[float] = []
    for start in range(0, len(suffixes), batch_size):
        batch = slice(start, start + batch_size)
        scores += decoder.log_likelihoods(encoded.cache, suffixes[batch], answers[batch])
    ends = torch.tensor([len(own) for own in options]).cumsum(0)
    return list(torch.tensor(scores).tensor_split(ends[:-1]))
