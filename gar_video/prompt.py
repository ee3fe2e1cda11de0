"""RegionPrompt: frames, ordered region slots and the question's words. Numpy only.

In questions an object is ``<ID>``, its track id. The model knows objects as ``<Prompt0>``,
``<Prompt1>`` … in order of first mention; this module is where the one becomes the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gar_video.errors import PromptError
from gar_video.masks import RLE

DESCRIBE = "Describe this masked region in detail."
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_OBJECT = re.compile(r"<(\d{1,18})>")
# Spellings of control tokens are words like any other when a user types them.
_CONTROL_LIKE = re.compile(r"<(?:\|[^<>\n]{0,64}|(?:NO_)?Prompt[^<>\n]{0,16})>")


@dataclass(frozen=True)
class ObjectMention:
    """A ``<ID>`` in a question."""

    object_id: int


QuestionPart: TypeAlias = "str | ObjectMention"


def parse_question(text: str) -> list[QuestionPart]:
    r"""Split a question into words and mentions of objects.

    ``<7>`` mentions the object of id 7. A literal ``<`` is written ``\<``; one followed by a space
    (``3 < 5``) needs no backslash, nor do the spellings of the model's own control tokens
    (``<Prompt0>``, ``<|image|>``), which are plain words here.

    Raises:
        PromptError: If the text is empty, or a ``<`` is neither closed nor a mention.
    """
    if not isinstance(text, str):
        raise PromptError(f"question is a {type(text).__name__}; expected text")
    if not text.strip():
        raise PromptError("the question is empty; expected some words")
    parts: list[QuestionPart] = []
    words: list[str] = []

    def flush() -> None:
        if words:
            parts.append("".join(words))
            words.clear()

    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1 : at + 2] == "<":
            words.append("<")
            at += 2
        elif char != "<":
            words.append(char)
            at += 1
        elif match := _OBJECT.match(text, at):
            flush()
            parts.append(ObjectMention(int(match.group(1))))
            at = match.end()
        elif match := _CONTROL_LIKE.match(text, at):
            words.append(match.group())
            at = match.end()
        elif text[at + 1 : at + 2].isspace() and ">" not in text[at:].split("<")[1]:
            words.append(char)
            at += 1
        else:
            raise PromptError(
                f"malformed object mention at character {at}: {text[at : at + 16]!r}; expected "
                "<ID> with an object's id, such as <1>, or \\< for a plain less-than sign"
            )
    flush()
    return parts


def mentioned_ids(parts: Sequence[QuestionPart]) -> tuple[int, ...]:
    """Return the ids that a question mentions, in order of first mention."""
    return tuple(dict.fromkeys(p.object_id for p in parts if isinstance(p, ObjectMention)))


def multiple_choice(question: str, options: Sequence[str]) -> str:
    """Word a multiple-choice question as GAR's training data does.

    Raises:
        PromptError: If there are fewer than two options or more than 26, or one is empty or twice.
    """
    if isinstance(options, str) or not all(isinstance(option, str) for option in options):
        raise PromptError("options must be a list of texts")
    if not 2 <= len(options) <= len(LETTERS):
        raise PromptError(f"{len(options)} options given; expected 2 to {len(LETTERS)}")
    if any(not option.strip() for option in options):
        raise PromptError("an option is empty; expected some words in each")
    if len({option.strip() for option in options}) != len(options):
        raise PromptError("an option stands twice in the list; expected different options")
    listed = "\n".join(f"{LETTERS[i]}. {option.strip()}" for i, option in enumerate(options))
    return (
        f"Question: {question.strip()}\nOptions:\n{listed}\n"
        "Answer with the correct option's letter directly."
    )


@dataclass(frozen=True, eq=False)
class RegionSlot:
    """One object's place in the prompt.

    Attributes:
        object_id: The track's id.
        number: N of ``<PromptN>``.
        masks: COCO RLE per frame of the prompt, None where the object is not visible.
    """

    object_id: int
    number: int
    masks: tuple[RLE | None, ...]

    @property
    def num_visible(self) -> int:
        """In how many of the frames the object is visible."""
        return sum(mask is not None for mask in self.masks)


@dataclass(frozen=True, eq=False)
class RegionPrompt:
    """Frames and the regions pointed at in them.

    Attributes:
        frames: ``(F, H, W, 3)`` uint8 RGB, in time order.
        slots: One per object, in order of first mention.
        is_image: Whether this is one photograph, looked at as thumbnail and tiles.
        described: Whether the only object is to be described, which GAR's training data words
            otherwise than a question about it.
    """

    frames: npt.NDArray[np.uint8]
    slots: tuple[RegionSlot, ...]
    is_image: bool = False
    described: bool = False

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.frames.dtype != np.uint8:
            raise PromptError(
                f"frames of shape {self.frames.shape} and type {self.frames.dtype}; "
                "expected (F, H, W, 3) uint8"
            )
        if self.is_image and len(self.frames) != 1:
            raise PromptError(f"{len(self.frames)} frames given for one photograph")
        for slot in self.slots:
            if len(slot.masks) != len(self.frames):
                raise PromptError(
                    f"object {slot.object_id} has {len(slot.masks)} masks for "
                    f"{len(self.frames)} frames; expected one per frame, None where not visible"
                )
            if slot.num_visible == 0:
                raise PromptError(f"object {slot.object_id} is visible in none of the frames")

    @property
    def num_regions(self) -> int:
        """Regions over all frames and objects."""
        return sum(slot.num_visible for slot in self.slots)


def slot_numbers(num_objects: int, *, describe_photo: bool = False) -> tuple[int, ...]:
    """Return the prompt numbers for objects in order of first mention.

    They count from 0; only a photograph's single described region is ``<Prompt1>``, as in the
    published demonstration.
    """
    return (1,) if describe_photo and num_objects == 1 else tuple(range(num_objects))
