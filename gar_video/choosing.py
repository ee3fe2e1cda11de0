"""Scoring the options of a multiple choice, in one forward pass on the encoded prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gar_video.encoding import Encoded
from gar_video.generation import Decoder
from gar_video.processor import GARProcessor
from gar_video.prompt import multiple_choice, parse_question


def score_options(
    decoder: Decoder,
    processor: GARProcessor,
    encoded: Encoded,
    question: str,
    options: Sequence[str],
    by: str,
) -> torch.Tensor:
    """Return ``[options]`` scores whose softmax is the options' probabilities.

    Args:
        decoder: Runs the language model.
        processor: The checkpoint's processor.
        encoded: The prompt.
        question: The question.
        options: The options.
        by: ``"letter"`` reads the logits of the letters after the listed options; ``"text"`` the
            log-likelihood of each option's words, stop token included, as the answer to the open
            question.
    """
    cache, prompt = encoded.cache, encoded.prompt
    if by == "letter":
        listed = processor.question_ids(parse_question(multiple_choice(question, options)), prompt)
        logits = decoder.next_token_logits(cache, [listed])[0]  # [V]
        letters = torch.tensor(processor.letter_ids(len(options)), device=logits.device)
        return logits[letters].cpu()
    asked = processor.question_ids(parse_question(question), prompt)
    answers = [processor.answer_ids(parse_question(option), prompt) for option in options]
    return torch.tensor(decoder.log_likelihoods(cache, [asked] * len(answers), answers))
