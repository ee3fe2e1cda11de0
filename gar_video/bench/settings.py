"""Settings: what of a run determines its answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from gar_video.errors import GARVideoError

Mode = Literal["single", "multi", "track"]
PromptStyle = Literal["official", "gar"]
Score = Literal["letter", "text", "generate"]


@dataclass(frozen=True)
class Settings:
    """How questions are put.

    Attributes:
        mode: Videos only: ``"single"`` points at objects on one frame, ``"multi"`` on all annotated
            frames, ``"track"`` has a tracker propagate the single frame's masks.
        prompt_style: Videos only: the benchmark's own wording or that of GAR's training.
        score: Choices only: ``"generate"`` reads a generated answer by the published rule,
            ``"letter"`` and ``"text"`` compare the options' letters or texts in one pass. By text
            the question is put openly, so that the prompt style makes no difference.
        num_frames: Frames of a video to look at; the checkpoint's default if None.
        max_new_tokens: Longest generated answer; the benchmark's default if None.
        blind: Leave out pictures and masks, to see what the words alone give away.
        swap_masks: Point at another object than the one meant.
        seed: Seed for swapping and drawing.
        batch_size: Most rows in one forward pass. Answers do not depend on it.

    Raises:
        GARVideoError: If a value is none of those.
    """

    mode: Mode = "multi"
    prompt_style: PromptStyle = "gar"
    score: Score = "generate"
    num_frames: int | None = None
    max_new_tokens: int | None = None
    blind: bool = False
    swap_masks: bool = False
    seed: int | None = None
    batch_size: int = 8

    def __post_init__(self) -> None:
        for name, known in (("mode", Mode), ("prompt_style", PromptStyle), ("score", Score)):
            value = getattr(self, name)
            if value not in get_args(known):
                raise GARVideoError(
                    f"{name} is {value!r}; expected one of {', '.join(get_args(known))}"
                )
        for name in ("num_frames", "max_new_tokens", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise GARVideoError(f"{name} is {value}; expected at least 1")
        if self.blind and self.swap_masks:
            raise GARVideoError("blind leaves masks out, so they cannot be swapped; choose one")

    def to_dict(self) -> dict[str, Any]:
        """Return what goes into a run's configuration."""
        plain = asdict(self)
        # Rows are batched, answers are not: a run may go on with another size.
        del plain["batch_size"]
        return plain
