"""From what was typed to a video, its objects and what to look at, all checked before long work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gar_video.commands.console import Voice
from gar_video.commands.pointing import Event, group_events, make_prompts
from gar_video.commands.values import parse_time, parse_whole_list
from gar_video.errors import PromptError

if TYPE_CHECKING:
    from gar_video.trackers.sam2 import Mode
    from gar_video.tracks import Tracks
    from gar_video.video import Video
    from gar_video.visual_prompts import VisualPrompt


@dataclass(frozen=True, eq=False)
class Inputs:
    """A video and its objects, known or pointed at.

    Attributes:
        video: The video.
        prompts: What was pointed at; empty if tracks were given.
        tracks: Tracks that were given; None if objects were pointed at, or there are none.
    """

    video: Video
    prompts: tuple[VisualPrompt, ...]
    tracks: Tracks | None

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects' ids, in the order given."""
        if self.tracks is not None:
            return self.tracks.object_ids
        return tuple(dict.fromkeys(prompt.object_id for prompt in self.prompts))


def open_inputs(
    source: str,
    events: Sequence[Event],
    tracks_file: str | None,
    masks_folder: str | None,
    *,
    need_objects: bool = True,
) -> Inputs:
    """Open the video and read or check where its objects are.

    Raises:
        PromptError: If objects are given in two ways, in none though they are needed, or what
            was pointed at does not fit the video.
        VideoError: If the video cannot be opened.
        TracksError: If the tracks cannot be read or do not fit the video.
    """
    from gar_video.tracks import Tracks
    from gar_video.video import Video

    groups = group_events(events)
    ways = [
        name
        for name, given in (
            ("--box, --point or --mask", groups),
            ("--tracks", tracks_file),
            ("--masks", masks_folder),
        )
        if given
    ]
    if len(ways) > 1:
        raise PromptError(f"objects are given by {' and by '.join(ways)}; expected one way")
    if not ways and need_objects:
        raise PromptError(
            "no objects; point at them with --box, --point or --mask, or give --tracks"
        )
    video = Video(source)
    saved = tracks_file or masks_folder
    if saved is not None:
        return Inputs(video, (), Tracks.load(saved, video=video))
    prompts = make_prompts(groups, video.resolution_wh)
    for prompt in prompts:
        prompt.check(len(video), video.resolution_wh)
    _check_together(prompts)
    return Inputs(video, tuple(prompts), None)


def _check_together(prompts: Sequence[VisualPrompt]) -> None:
    """Refuse what no tracker could take; SAM 2's own check comes after loading it."""
    held: dict[tuple[int, int], list[str]] = {}
    for prompt in prompts:
        held.setdefault((prompt.object_id, prompt.frame), []).append(type(prompt).__name__.lower())
    for (object_id, frame), kinds in held.items():
        if kinds.count("box") > 1 or ("mask" in kinds and len(kinds) > 1):
            held_there = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
            raise PromptError(
                f"object {object_id} has on frame {frame}: {held_there}; expected a box, points, "
                "both, or a mask alone (another object needs another --object)"
            )


@dataclass(frozen=True)
class Looking:
    """What part of a video the model looks at.

    Attributes:
        time: ``(start, end)`` in seconds; None for all of it.
        frames: How many frames, or which; None for the checkpoint's default.
        span: First frame and one past the last that can be looked at.
    """

    time: tuple[float, float] | None
    frames: int | list[int] | None
    span: tuple[int, int]


def read_looking(
    video: Video, time: str | None, num_frames: int | None, frames: str | None
) -> Looking:
    """Read ``--time``, ``--num-frames`` and ``--frames``, and check them against the video.

    Raises:
        PromptError: If they contradict each other or lie outside the video.
    """
    import numpy as np

    from gar_video.sampling import TokenBudget, choose_frames, frame_window

    if num_frames is not None and frames is not None:
        raise PromptError("both --num-frames and --frames are given; expected one of them")
    window = None
    if time is not None:
        start, end = parse_time(time)
        if end is None:
            # To the end; a start beyond it is refused by frame_window.
            end = max(video.duration_s, np.nextafter(start, np.inf))
        window = (start, float(end))
    inside = frame_window(video, window)
    if frames is None:
        return Looking(window, num_frames, (inside.start, inside.stop))
    listed = parse_whole_list(frames, "--frames")
    nobody, plenty = np.zeros((0, len(video)), dtype=bool), TokenBudget(1 << 40, 1, 1 << 40)
    chosen = choose_frames(inside, nobody, listed, plenty, num_frames=len(video))
    return Looking(window, chosen, (chosen[0], chosen[-1] + 1))


def track_inputs(
    inputs: Inputs,
    voice: Voice,
    *,
    sam2: str,
    device: str,
    dtype: str,
    mode: Mode = "exact",
    span: tuple[int, int] | None = None,
) -> Tracks | None:
    """Return the objects' tracks, asking SAM 2 for them if they were pointed at.

    Args:
        inputs: The video and its objects.
        voice: Where progress goes.
        sam2: SAM 2's checkpoint.
        device: Where to compute.
        dtype: Number type to compute in.
        mode: As for ``Sam2Tracker``.
        span: First frame and one past the last that are needed; the whole video if None.

    Returns:
        The tracks; None if there are no objects.
    """
    from gar_video.visual_prompts import Mask

    prompts, video = inputs.prompts, inputs.video
    if inputs.tracks is not None or not prompts:
        return inputs.tracks
    if len(video) == 1 and all(isinstance(prompt, Mask) for prompt in prompts):
        return _from_masks(prompts)
    with voice.progress("loading SAM 2"):
        from gar_video.trackers import Sam2Tracker

        tracker = Sam2Tracker.from_pretrained(sam2, mode=mode, device=device, dtype=dtype)
    start, end = (0, len(video)) if span is None else span
    pointed = [prompt.frame for prompt in prompts]
    with voice.progress("tracking") as update:
        return tracker.track(
            video,
            prompts,
            progress=update,
            start_frame=min(start, *pointed),
            end_frame=max(end, *(frame + 1 for frame in pointed)),
        )


def _from_masks(prompts: Sequence[VisualPrompt]) -> Tracks:
    from gar_video.tracks import Tracks
    from gar_video.visual_prompts import Mask

    return Tracks.from_masks({p.object_id: p.mask[None] for p in prompts if isinstance(p, Mask)})


def check_mentions(questions: Sequence[str], object_ids: Sequence[int]) -> None:
    """Refuse questions that are malformed or mention objects that are not there.

    Raises:
        PromptError: So.
    """
    from gar_video.prompt import mentioned_ids, parse_question

    for question in questions:
        for object_id in mentioned_ids(parse_question(question)):
            if object_id not in object_ids:
                shown = ", ".join(f"<{known}>" for known in object_ids[:12]) or "none"
                more = f" and {len(object_ids) - 12} more" if len(object_ids) > 12 else ""
                raise PromptError(
                    f"there is no object <{object_id}>; the objects here are {shown}{more}"
                )
