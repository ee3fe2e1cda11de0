"""Answer and Choice: words, and the objects, frames and times they rest on. JSON in and out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from gar_video.errors import GARVideoError


@dataclass(frozen=True)
class _Evidence:
    """What an answer rests on.

    Attributes:
        question: The question as asked, objects as ``<ID>``.
        objects: Ids of the objects it is about, in order of first mention.
        frames: Indices of the frames looked at, rising.
        times_s: Their times, in seconds.
        visible: Per object, the share of the frames looked at in which it is seen.
        model: The checkpoint's name.
    """

    question: str
    objects: tuple[int, ...]
    frames: tuple[int, ...]
    times_s: tuple[float, ...]
    visible: dict[int, float]
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; object ids become text keys in ``visible``."""
        plain = asdict(self)
        plain["visible"] = {str(key): value for key, value in self.visible.items()}
        return {key: list(value) if isinstance(value, tuple) else value
                for key, value in plain.items()}  # fmt: skip

    @classmethod
    def _fields_from(cls, plain: dict[str, Any]) -> dict[str, Any]:
        names = {field.name for field in fields(cls)}
        if not isinstance(plain, dict) or set(plain) != names:
            given = sorted(plain) if isinstance(plain, dict) else type(plain).__name__
            raise GARVideoError(f"not a {cls.__name__}: got {given}; expected {sorted(names)}")
        values = {key: tuple(value) if isinstance(value, list) else value
                  for key, value in plain.items()}  # fmt: skip
        values["visible"] = {int(key): float(value) for key, value in plain["visible"].items()}
        return values

    def _seen(self) -> str:
        shares = ", ".join(f"<{key}> in {share:.0%}" for key, share in self.visible.items())
        if not self.frames:
            return "no frames looked at"
        span = f"{self.times_s[0]:.2f}–{self.times_s[-1]:.2f} s"
        return f"{len(self.frames)} frames, {span}" + (f"; seen: {shares}" if shares else "")


@dataclass(frozen=True)
class Answer(_Evidence):
    """An answer in words.

    Attributes:
        text: The words.
        token_ids: The generated tokens, the stop token excluded; empty if the model was not asked.
        finish_reason: ``"stop"`` (the model ended), ``"length"`` (``max_new_tokens`` reached) or
            ``"not_visible"`` (an object of the question is not visible; the model was not asked).
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: str

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Answer:
        """Read what ``to_dict`` wrote.

        Raises:
            GARVideoError: If keys are missing or unknown.
        """
        return cls(**cls._fields_from(plain))

    def __str__(self) -> str:
        """Return the words."""
        return self.text

    def _repr_html_(self) -> str:
        from gar_video.notebook import answer_html

        return answer_html(self)


@dataclass(frozen=True)
class Choice(_Evidence):
    """An answer chosen from options.

    Attributes:
        options: The options, in the order given.
        index: Index of the chosen option; None if an object of the question is not visible.
        probabilities: One per option, summing to 1; empty if the model was not asked.
        by: How the options were scored: ``"letter"`` or ``"text"``.
        text: The chosen option, or why there is none.
    """

    options: tuple[str, ...]
    index: int | None
    probabilities: tuple[float, ...]
    by: str
    text: str

    @property
    def option(self) -> str | None:
        """The chosen option's words."""
        return None if self.index is None else self.options[self.index]

    @property
    def letter(self) -> str | None:
        """The chosen option's letter: A for the first."""
        return None if self.index is None else chr(ord("A") + self.index)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, with ``option`` and ``letter``."""
        return {**super().to_dict(), "option": self.option, "letter": self.letter}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Choice:
        """Read what ``to_dict`` wrote.

        Raises:
            GARVideoError: If keys are missing or unknown.
        """
        own = {key: value for key, value in plain.items() if key not in ("option", "letter")}
        return cls(**cls._fields_from(own))

    def __str__(self) -> str:
        """Return the chosen option's words."""
        return self.text

    def _repr_html_(self) -> str:
        from gar_video.notebook import choice_html

        return choice_html(self)
