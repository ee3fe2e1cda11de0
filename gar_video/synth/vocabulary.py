"""The closed vocabulary of all rendered questions, answers and descriptions."""

from __future__ import annotations

import functools
import re

from gar_video.synth import descriptions
from gar_video.synth.answers import TABLES, forms
from gar_video.synth.appearance import COLORS, SHAPES, SIZE_NAMES
from gar_video.synth.options import act_names
from gar_video.synth.questions import WORDINGS

_WORD = re.compile(r"[A-Za-z]+|[0-9]|[^\sA-Za-z0-9]")
PUNCTUATION = tuple(".,:;?!()<>'-")
LETTERS = ("A", "B", "C", "D")


def words(text: str) -> list[str]:
    """Cut a text into words, single digits and single marks, as the vocabulary holds them.

    Words are lower-cased, all but the single letters A to D, which name options: "A." is one,
    "a circle" is not.
    """
    found = _WORD.findall(text)
    return [
        word if word in LETTERS and word != "A" else _lower(found, i)
        for i, word in enumerate(found)
    ]


def _lower(found: list[str], i: int) -> str:
    """Lower-case a word, unless it is the letter A of an option rather than an article."""
    option = found[i] == "A" and (i + 1 == len(found) or not found[i + 1].isalpha())
    return "A" if option else found[i].lower()


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Return every word of both levels and both splits, sorted; with digits, letters and marks."""
    texts = [text for wordings in WORDINGS.values() for text in wordings]
    texts += [*descriptions.PROMPTS, *descriptions.STYLES, *descriptions.VERBS]
    texts = [re.sub(r"\{\w+\}", " ", text) for text in texts]
    names = {"a": "<1>", "b": "<2>", "c": "<3>"}
    texts += [
        text for family in TABLES for key in TABLES[family] for text in forms(family, key, names)
    ]
    acts = act_names("full")
    texts += [text for one in acts for two in acts for text in forms("acts", f"{one}|{two}", names)]
    texts += ["a an object", *COLORS, *SHAPES, *SIZE_NAMES]
    texts += ["Question: Options: Answer with the correct option's letter directly."]
    texts += ["Answer with the option's letter from the given choices directly."]
    texts += ["There are some objects I am curious about: user assistant system"]
    found = {word for text in texts for word in words(text)}
    return tuple(sorted(found | set(PUNCTUATION) | set(LETTERS) | set("0123456789")))
