"""Case: one question of a benchmark, in the same shape whichever file it comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from gar_video.prompt import ObjectMention, QuestionPart

Kind = Literal["choice", "describe"]
#: Frame index -> segmentation in any of COCO's forms, or None where the object is not visible.
Regions = Mapping[int, Any]


@dataclass(frozen=True, eq=False)
class Option:
    """One option of a multiple choice.

    Attributes:
        letter: As published.
        words: Its text without the letter; objects as mentions.
    """

    letter: str
    words: tuple[QuestionPart, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """One question.

    Attributes:
        key: Names the question within its benchmark; what rows of a run are matched by.
        index: Its position in the benchmark's files.
        media: Path of the video, folder or picture, relative to the data folder.
        kind: ``"choice"`` between options, or ``"describe"`` for a free text that is judged.
        type: The benchmark's own category, by which figures are split.
        question: Words and mentions; object ids count from 1 in the order of ``objects``.
        options: The options of a choice.
        answer: The right option's letter, or the reference text.
        objects: Regions of each object, in the order in which they are bound.
        prompt_frame: The frame that points at the objects; None for pictures.
        first_number: N of the first object's ``<PromptN>``.
        judged: What judging needs beside the answer: the benchmark's own fields.
    """

    key: str
    index: int
    media: str
    kind: Kind
    type: str
    question: tuple[QuestionPart, ...]
    options: tuple[Option, ...]
    answer: str
    objects: tuple[Regions, ...]
    prompt_frame: int | None = None
    first_number: int = 0
    judged: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The question as text, objects as ``<ID>``."""
        return as_text(self.question)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the objects, from 1 on."""
        return tuple(range(1, len(self.objects) + 1))

    @cached_property
    def region_digests(self) -> tuple[str, ...]:
        """A digest of each object's regions; equal regions have equal ones."""
        return tuple(_digest(regions) for regions in self.objects)


def _digest(regions: Regions) -> str:
    plain = {str(frame): _plain(regions[frame]) for frame in sorted(regions)}
    text = json.dumps(plain, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _plain(segmentation: Any) -> Any:
    if isinstance(segmentation, dict):
        return {key: _plain(value) for key, value in segmentation.items()}
    return segmentation.decode("ascii") if isinstance(segmentation, bytes) else segmentation


def as_text(parts: tuple[QuestionPart, ...]) -> str:
    """Return words and mentions as text, objects as ``<ID>``."""
    return "".join(
        f"<{part.object_id}>" if isinstance(part, ObjectMention) else part for part in parts
    )


def option_text(option: Option) -> str:
    """Return an option's words, objects as ``<ID>``."""
    return as_text(option.words)
