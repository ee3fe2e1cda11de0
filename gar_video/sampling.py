"""Which frames to look at: chosen from the window, the objects' visibility and the token budget.

A frame costs one tile's tokens and every visible region in it the same again. When that is too
much, fewer frames are looked at; text is never cut and nothing is dropped silently.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gar_video.errors import PromptError
from gar_video.video import Video


@dataclass(frozen=True)
class TokenBudget:
    """What the language model's context leaves for frames and regions.

    Attributes:
        available: Tokens left for frames and regions.
        per_tile: Tokens of a frame, and of a visible region in it.
        context: Tokens of the whole context, for messages.
        wanted: Whether it is not the context that sets the bound but the caller's own budget.
    """

    available: int
    per_tile: int
    context: int
    wanted: bool = False

    def too_small(self, what: str, cost: int) -> PromptError:
        """Return the error for what a budget of the caller's own does not hold."""
        return PromptError(
            f"{what} costs {cost} tokens, but the token budget is {self.available}; "
            f"expected at least {cost}"
        )

    def cost(self, visible: npt.NDArray[np.bool_]) -> int:
        """Return the tokens of frames and their regions; ``visible`` is (objects, frames)."""
        return int((visible.shape[1] + visible.sum()) * self.per_tile)


def frame_window(video: Video, time: tuple[float, float] | None) -> range:
    """Return the frames inside a time window.

    Args:
        video: The video.
        time: ``(start, end)`` in seconds, or None for the whole video.

    Raises:
        PromptError: If the window is empty, reversed, negative, or after the video's end.
    """
    if time is None:
        return range(len(video))
    try:
        start, end = (float(value) for value in time)
    except (TypeError, ValueError):
        raise PromptError(f"time {time!r}; expected (start, end) in seconds") from None
    if not (math.isfinite(start) and math.isfinite(end)):
        raise PromptError(f"time ({start}, {end}) is not finite; expected seconds")
    if start < 0:
        raise PromptError(f"time starts at {start:g} s; expected 0 or later")
    if end <= start:
        raise PromptError(f"time ({start:g}, {end:g}) is empty or reversed; expected start < end")
    if start > video.duration_s:
        raise PromptError(
            f"time starts at {start:g} s but the video ends at {video.duration_s:.2f} s"
        )
    return video.window(start, end)  # shorter than a frame: the one shown then


def uniform(window: range, count: int) -> list[int]:
    """Return ``count`` frames spread evenly over a window, its first and last included."""
    count = min(count, len(window))
    if count == 1:
        return [window[len(window) // 2]]
    places = np.linspace(0, len(window) - 1, count)
    return [window[int(place)] for place in np.floor(places + 0.5)]


def choose_frames(
    window: range,
    visible: npt.NDArray[np.bool_],
    frames: int | Sequence[int],
    budget: TokenBudget,
    *,
    num_frames: int,
) -> list[int]:
    """Choose the frames to look at.

    Args:
        window: The frames that may be looked at.
        visible: ``(objects, num_frames)``: where in the whole video each object is visible.
        frames: How many, or exactly which (0-based indices).
        budget: What the context leaves.
        num_frames: Frames in the whole video.

    Returns:
        Frame indices, rising. As many as asked for, or as many as the budget allows; an object that
        is visible somewhere in the window is seen in at least one of them where that can be had.

    Raises:
        PromptError: If the listed frames are out of range, repeated or too many for the budget, or
            not even one frame fits.
    """
    if not isinstance(frames, (int, np.integer)) or isinstance(frames, bool):
        return _listed(frames, visible, budget, num_frames)
    if frames < 1:
        raise PromptError(f"{frames} frames asked for; expected at least 1")
    for count in range(min(int(frames), len(window)), 0, -1):
        chosen = _see_everyone(uniform(window, count), window, visible)
        if budget.cost(visible[:, chosen]) <= budget.available:
            return chosen
    if budget.wanted:
        least = uniform(window, 1)
        raise budget.too_small("one frame with its objects", budget.cost(visible[:, least]))
    raise PromptError(
        f"one frame with {len(visible)} objects does not fit: {budget.available} of "
        f"{budget.context} tokens are left beside the text; ask about fewer objects, shorten the "
        "question, or lower --max-new-tokens"
    )


def _listed(
    frames: object, visible: npt.NDArray[np.bool_], budget: TokenBudget, num_frames: int
) -> list[int]:
    try:
        indices = [operator.index(frame) for frame in frames]  # type: ignore[attr-defined]
    except TypeError:
        raise PromptError(
            f"frames {frames!r}; expected how many, or a list of frame indices"
        ) from None
    if not indices:
        raise PromptError("the list of frames is empty; expected at least one index")
    outside = [index for index in indices if not 0 <= index < num_frames]
    if outside:
        raise PromptError(
            f"frame {outside[0]} asked for, but the video has frames 0 to {num_frames - 1}"
        )
    if len(set(indices)) != len(indices):
        raise PromptError("a frame stands twice in the list of frames; expected each once")
    chosen = sorted(indices)
    cost = budget.cost(visible[:, chosen])
    if cost > budget.available:
        if budget.wanted:
            raise budget.too_small(f"what is to be seen of {len(chosen)} listed frames", cost)
        raise PromptError(
            f"{len(chosen)} listed frames cost {cost} tokens but {budget.available} of "
            f"{budget.context} are left beside the text; list fewer frames or fewer objects"
        )
    return chosen


def _see_everyone(chosen: list[int], window: range, visible: npt.NDArray[np.bool_]) -> list[int]:
    """Exchange frames so that every object visible in the window is seen, where possible."""
    for row in visible:
        if row[chosen].any():
            continue
        seen = [frame for frame in window if row[frame]]
        if not seen:
            continue
        # The exchange that moves a frame least and takes no other object's only view.
        moves = sorted(
            ((abs(old - new), old, new) for old in chosen for new in _nearest(seen, old)),
            key=lambda move: move[0],
        )
        for _, old, new in moves:
            trial = sorted({*chosen, new} - {old})
            lost = visible[:, chosen].any(axis=1) & ~visible[:, trial].any(axis=1)
            if not lost.any():
                chosen = trial
                break
    return chosen


def _nearest(frames: list[int], target: int) -> list[int]:
    """Return the frame of a rising list that is nearest to ``target``, as a list of one."""
    place = int(np.searchsorted(frames, target))
    near = frames[max(place - 1, 0) : place + 1]
    return [min(near, key=lambda frame: abs(frame - target))]
