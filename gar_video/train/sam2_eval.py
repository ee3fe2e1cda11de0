"""How well a tracker follows rendered things whose masks are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.masks import box_xyxy
from gar_video.video import Video
from gar_video.visual_prompts import Box, Points, VisualPrompt

if TYPE_CHECKING:
    from gar_video.trackers.sam2 import Sam2Tracker

Kind = Literal["box", "click"]
Clip = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]

_LEAST_PIXELS = 30  # an object smaller than this is neither prompted nor scored
_SWAP_FRAMES = 3  # so many frames in a row on another object count as a swap


def rendered_test_clip(seed: int, level: str = "basic", height: int = 240) -> Clip:
    """Render a whole clip of the synthetic world as a user would see it.

    Args:
        seed: Of the scene; training draws its seeds from 10**9 on.
        level: ``"basic"`` or ``"full"``.
        height: Of the frames; they are as wide as 4:3, 1:1 or 16:9 wants it.

    Returns:
        Frames ``(T, H, W, 3)`` uint8 and masks ``(N, T, H, W)`` bool.
    """
    from gar_video.synth.render import render
    from gar_video.synth.scene import sample_scene

    rng = np.random.default_rng(seed)
    aspect = float(rng.choice([1.0, 4 / 3, 16 / 9]))
    scene = sample_scene(rng, level, aspect=aspect)
    width = 2 * round(height * aspect / 2)
    return render(scene, resolution_wh=(width, height))


@dataclass
class ClipScore:
    """What one clip showed.

    Attributes:
        j: Per object, mean J over the frames where it can be seen.
        swapped: Whether an object's mask went over to another object.
        gone_frames: Frames in which a prompted object cannot be seen any more, over all objects.
        gone_reported: Those of them in which it got no mask.
        lost_frames: Frames in which it can be seen and got no mask.
        seen_frames: Frames in which it can be seen.
    """

    j: list[float] = field(default_factory=list)
    swapped: bool = False
    gone_frames: int = 0
    gone_reported: int = 0
    lost_frames: int = 0
    seen_frames: int = 0


def prompt_for(mask: npt.NDArray[np.bool_], kind: Kind, object_id: int) -> VisualPrompt:
    """Return the tight box around a mask, or a click on its innermost pixel, on frame 0."""
    if kind == "box":
        box = box_xyxy(mask)
        assert box is not None
        x1, y1, x2, y2 = box.tolist()
        return Box(0, (x1, y1, x2, y2), object_id=object_id)
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return Points(0, [(float(x) + 0.5, float(y) + 0.5)], object_id=object_id)


def _j(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def score_clip(tracker: Sam2Tracker, clip: Clip, kind: Kind) -> ClipScore:
    """Track every object that is seen in the first frame and compare with the truth."""
    frames, truth = clip
    prompted = [k for k in range(len(truth)) if truth[k, 0].sum() >= _LEAST_PIXELS]
    score = ClipScore()
    if not prompted:
        return score
    prompts = [prompt_for(truth[k, 0], kind, k + 1) for k in prompted]
    values: dict[int, list[float]] = {k: [] for k in prompted}
    astray = dict.fromkeys(prompted, 0)
    for t, detections in tracker.stream(Video(frames), prompts):
        found = dict(zip(detections.tracker_id.tolist(), detections.mask, strict=True))
        for k in prompted:
            mask = found.get(k + 1, np.zeros(truth.shape[2:], bool))
            area = int(truth[k, t].sum())
            own = _j(mask, truth[k, t])
            if t > 0 and area >= _LEAST_PIXELS:
                values[k].append(own)
                score.seen_frames += 1
                score.lost_frames += not mask.any()
            elif area == 0:
                score.gone_frames += 1
                score.gone_reported += not mask.any()
            others = [_j(mask, truth[n, t]) for n in range(len(truth)) if n != k]
            astray[k] = astray[k] + 1 if own < 0.1 and max(others, default=0) > 0.5 else 0
            score.swapped |= astray[k] >= _SWAP_FRAMES
    score.j = [float(np.mean(v)) for v in values.values() if v]
    return score


def evaluate(
    tracker: Sam2Tracker,
    seeds: Iterable[int],
    kind: Kind,
    source: Callable[[int], Clip] = rendered_test_clip,
) -> dict[str, Any]:
    """Score a tracker on clips and return figures with 95 % intervals over clips.

    Args:
        tracker: The tracker.
        seeds: One clip each.
        kind: Prompt on the first frame: a tight box, or a click on the innermost pixel.
        source: Draws a clip from a seed.

    Returns:
        ``j`` (mean over objects), ``no_swap`` (share of clips without a swap), ``gone`` (share of
        frames without the object in which it got no mask), ``lost`` (share of frames with it in
        which it got none): each ``[value, low, high]``; and ``clips``, the single scores.
    """
    scores = [score_clip(tracker, source(seed), kind) for seed in seeds]
    scores = [score for score in scores if score.j]
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(scores), (1000, len(scores)))

    def interval(figure: Callable[[list[ClipScore]], float]) -> list[float]:
        resampled = [figure([scores[i] for i in draw]) for draw in draws]
        low, high = np.nanpercentile(resampled, [2.5, 97.5])
        return [round(float(v), 4) for v in (figure(scores), low, high)]

    def share(of: str, among: str) -> Callable[[list[ClipScore]], float]:
        def figure(chosen: list[ClipScore]) -> float:
            total = sum(getattr(score, among) for score in chosen)
            return sum(getattr(score, of) for score in chosen) / total if total else float("nan")

        return figure

    return {
        "prompt": kind,
        "num_clips": len(scores),
        "j": interval(lambda chosen: float(np.mean([j for score in chosen for j in score.j]))),
        "no_swap": interval(lambda chosen: float(np.mean([not s.swapped for s in chosen]))),
        "gone": interval(share("gone_reported", "gone_frames")),
        "lost": interval(share("lost_frames", "seen_frames")),
        "clips": [asdict(score) for score in scores],
    }
