"""The demonstration: a clip whose truth is known, pointed at, followed, described, asked about.

Everything happens on this machine: the clip is rendered, and the checkpoints come with the package.
What is true stands beside what was answered.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gar_video.errors import GARVideoError
from gar_video.files import write_text

if TYPE_CHECKING:
    from gar_video.answer import Answer, Choice
    from gar_video.synth.descriptions import Facts
    from gar_video.synth.questions import Question
    from gar_video.synth.truth import Truth
    from gar_video.trackers.sam2 import Sam2Tracker
    from gar_video.tracks import Track, Tracks
    from gar_video.video import Video
    from gar_video.visual_prompts import Box, Points

Say = Callable[[str], None]

_SIZE = (448, 448)
# One clip in ten or so is plain to see; the last of so many is taken as it is.
_SEEN, _CLIPS = 0.9, 400
# Plain to see for whoever looks at the clip; the choice is of another kind than the questions.
_OPEN = ("color", "shape", "direction", "place start", "leave side", "where start", "where end")
_CHOICE = ("last", "direction", "where end", "color", "shape")


@dataclass(frozen=True, eq=False)
class Stage:
    """A rendered clip and what is known of it.

    Attributes:
        video: The clip.
        truth: What is true of its scene.
        tracks: True masks of its two objects.
        click: A click on the first object.
        box: A box around the second.
        questions: Open questions with their answers.
        choice: A multiple choice.
    """

    video: Video
    truth: Truth
    tracks: Tracks
    click: Points
    box: Box
    questions: tuple[Question, ...]
    choice: Question


def _is_plain(truth: Truth) -> bool:
    """Say whether each thing is large enough, wholly seen throughout, and does one thing only."""
    from gar_video.synth import events

    return all(
        thing.size != "small"
        and len(events.acts(truth, k) or ()) == 1
        and truth.visibility.seen[k].min() > _SEEN
        for k, thing in enumerate(truth.scene.objects)
    )


def set_stage(seed: int, folder: Path) -> Stage:
    """Render a clip of a seed with two objects, and draw questions about it.

    Of the clips that the seed gives, it is the first in which both objects are plain to see.

    Args:
        seed: Which clip.
        folder: Where ``clip.mp4``, its true tracks and its truth are written.
    """
    from gar_video.synth.pointing import box_around, click_on
    from gar_video.synth.questions import sample_questions
    from gar_video.synth.truth import sample
    from gar_video.synth.write import clip_seed, write_clip
    from gar_video.tracks import Tracks
    from gar_video.video import Video

    aspect = _SIZE[0] / _SIZE[1]
    for index in range(_CLIPS):
        scene, truth = sample(clip_seed(seed, index), num_objects=2, aspect=aspect)
        if _is_plain(truth):
            break
    path, tracks_path, _ = write_clip(
        folder / "clip.mp4",
        seed,
        index=index,
        resolution_wh=_SIZE,
        num_objects=2,
        tracks_path=folder / "clip.tracks.json",
        truth_path=folder / "clip.truth.json",
    )
    video, tracks = Video(path), Tracks.load(tracks_path)
    rng = np.random.Generator(np.random.PCG64(seed))
    questions = sample_questions(
        rng, scene, truth, _OPEN, 3, choice=False, balanced=False, per_kind=2
    )
    kinds = [kind for kind in _CHOICE if kind not in {question.kind for question in questions}]
    choices = sample_questions(rng, scene, truth, kinds, 1, balanced=False)
    first, second = (tracks[object_id] for object_id in tracks.object_ids)
    return Stage(
        video=video,
        truth=truth,
        tracks=tracks,
        click=click_on(first),
        box=box_around(second),
        questions=tuple(questions),
        choice=choices[0],
    )


@dataclass(frozen=True)
class Shown:
    """What a demonstration found.

    Attributes:
        answers: Descriptions, answers and the choice, in the order they were asked for.
        right: For each, whether it is true; a description in its size, color, shape and motion.
        files: Files written.
        seconds: How long it took.
    """

    answers: tuple[Answer | Choice, ...]
    right: tuple[bool, ...]
    files: tuple[Path, ...]
    seconds: float


def run_demo(
    folder: Path,
    *,
    seed: int = 0,
    model: str = "nano",
    sam2: str = "nano",
    device: str = "auto",
    dtype: str = "auto",
    say: Say = print,
) -> Shown:
    """Show the whole way: point, follow, describe, ask, choose, draw.

    Args:
        folder: Where files are written; made if it is missing.
        seed: Which clip.
        model: GAR's checkpoint.
        sam2: SAM 2's checkpoint.
        device: Where to compute.
        dtype: Number type to compute in.
        say: Gets the lines that tell what happens.

    Returns:
        What was found.

    Raises:
        GARVideoError: If a checkpoint cannot be loaded or a file cannot be written.
    """
    from gar_video.pipeline import GARVideo
    from gar_video.trackers import Sam2Tracker
    from gar_video.visuals import write_annotated_video, write_contact_sheet

    began = time.monotonic()
    # Before anything is written, so that a wrong name costs nothing.
    gar = GARVideo.from_pretrained(model, device=device, dtype=dtype)
    tracker = Sam2Tracker.from_pretrained(sam2, device=device, dtype=dtype)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GARVideoError(f"cannot make the folder {folder}: {error.strerror}") from None
    stage = set_stage(seed, folder)
    video = stage.video
    say(
        f"A clip was rendered (seed {seed}): {video.width}x{video.height}, "
        f"{video.duration_s:.1f} s, two objects.\n"
    )
    tracks = _follow(stage, tracker, say)
    tracks.save(folder / "tracks.json")
    described = gar.describe(video, tracks, max_new_tokens=64)
    right = _tell_descriptions(stage, described, say)
    answers = gar.ask_many(
        video, tracks, [question.text for question in stage.questions], max_new_tokens=24
    )
    right += _tell_answers(stage.questions, answers, say)
    choice = gar.choose(video, tracks, stage.choice.text, stage.choice.options)
    right += _tell_choice(stage.choice, choice, say)
    words = {answer.objects[0]: answer.text for answer in described}
    write_annotated_video(folder / "annotated.mp4", video, tracks, words)
    write_contact_sheet(folder / "sheet.png", video, tracks, words)
    everything: tuple[Answer | Choice, ...] = (*described, *answers, choice)
    listed = json.dumps([answer.to_dict() for answer in everything], indent=1, ensure_ascii=False)
    write_text(folder / "answers.json", listed + "\n")
    names = ("clip.mp4", "annotated.mp4", "sheet.png", "tracks.json", "answers.json")
    files = tuple(folder / name for name in names)
    seconds = time.monotonic() - began
    say(f"Written to {folder}: {', '.join(path.name for path in files)}  ({seconds:.0f} s)")
    return Shown(everything, tuple(right), files, seconds)


def _follow(stage: Stage, tracker: Sam2Tracker, say: Say) -> Tracks:
    """Track from one click and one box, and say how well."""
    (x, y), *_ = stage.click.xy
    sides = ",".join(f"{side:.0f}" for side in stage.box.xyxy)
    say(
        f"Pointed at: <{stage.click.object_id}> by a click at {x:.0f},{y:.0f} on frame "
        f"{stage.click.frame}, <{stage.box.object_id}> by the box {sides} on frame "
        f"{stage.box.frame}."
    )
    tracks = tracker.track(stage.video, [stage.click, stage.box])
    found = ", ".join(
        f"<{object_id}> in {len(tracks[object_id])} of {len(stage.video)} frames "
        f"(overlap with the truth {overlap(tracks[object_id], stage.tracks[object_id]):.2f})"
        for object_id in tracks
    )
    say(f"Followed by SAM 2: {found}.\n")
    return tracks


def overlap(found: Track, true: Track) -> float:
    """Return J, the mean over frames of intersection over union; 1 where neither has a mask."""
    shares = []
    for frame in range(true.num_frames):
        one, other = found.mask(frame), true.mask(frame)
        if one is None or other is None:
            shares.append(float(one is None and other is None))
        else:
            shares.append(float((one & other).sum() / (one | other).sum()))
    return float(np.mean(shares))


def _tell_descriptions(stage: Stage, answers: Sequence[Answer], say: Say) -> list[bool]:
    from gar_video.synth.descriptions import describe, read

    rng = np.random.Generator(np.random.PCG64(0))
    right = []
    for answer in answers:
        true = describe(rng, stage.truth, answer.objects[0])
        verdicts = _compare(read(answer.text), true.facts)
        say(f"Describe <{answer.objects[0]}>.")
        say(f"    answer  {answer.text}")
        say(f"    truth   {true.text}")
        say(f"            {', '.join(f'{what} {_mark(fits)}' for what, fits in verdicts.items())}")
        say("")
        right.append(all(verdicts.values()))
    return right


def _compare(said: Facts, true: Facts) -> dict[str, bool]:
    """Say which of the facts a description has right."""
    return {
        "size": said.size == true.size,
        "color": said.color == true.color,
        "shape": said.shape == true.shape,
        "motion": said.acts == true.acts,
    }


def _tell_answers(questions: Sequence[Question], answers: Sequence[Answer], say: Say) -> list[bool]:
    right = []
    for question, answer in zip(questions, answers, strict=True):
        fits = _plain(answer.text) in {_plain(form) for form in question.accepted}
        say(question.text)
        say(f"    answer  {answer.text}  {_mark(fits)}")
        say(f"    truth   {question.answer}")
        say("")
        right.append(fits)
    return right


def _tell_choice(question: Question, choice: Choice, say: Say) -> list[bool]:
    fits = choice.index == question.answer_index
    say(question.text)
    shares: Sequence[Any] = choice.probabilities or [0.0] * len(choice.options)
    for at, (option, share) in enumerate(zip(choice.options, shares, strict=True)):
        chosen = "->" if at == choice.index else "  "
        true = "  truth" if at == question.answer_index else ""
        say(f"  {chosen} {chr(ord('A') + at)}. {share:6.1%}  {option}{true}")
    say(f"    {_mark(fits)}\n")
    return [fits]


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9<>]+", text.lower()))


def _mark(fits: bool) -> str:
    return "right" if fits else "wrong"
