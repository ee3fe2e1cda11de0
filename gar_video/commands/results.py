"""Results in words and as JSON, on stdout and in files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gar_video.commands.console import Voice
from gar_video.errors import GARVideoError
from gar_video.files import check_writable, write_text

if TYPE_CHECKING:
    from gar_video.answer import Answer, Choice
    from gar_video.tracks import Tracks
    from gar_video.video import Video

PICTURES = (".png", ".jpg", ".jpeg")


def check_outputs(
    out: str | None, video_out: str | None = None, sheet: str | None = None, *, name: str = ""
) -> Path | None:
    """Check before long work that everything asked for can be written.

    Args:
        out: ``--out``; a folder if it ends in a slash or is one, and made if it is missing.
        video_out: ``--video-out``.
        sheet: ``--sheet``.
        name: Name of the file to write where ``--out`` is a folder.

    Returns:
        The file that ``--out`` means; None if it is not given.

    Raises:
        GARVideoError: If a place cannot be written to.
    """
    if video_out is not None:
        check_writable(video_out, suffixes=(".mp4",))
    if sheet is not None:
        check_writable(sheet, suffixes=PICTURES)
    if out is None:
        return None
    path = Path(out)
    if not (out.endswith(("/", "\\")) or path.is_dir()):
        return check_writable(path)
    if path.exists() and not path.is_dir():
        raise GARVideoError(f"--out {out} is a file; expected a folder, or no slash at the end")
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise GARVideoError(f"cannot make the folder {out}: {error.strerror}") from None
    return check_writable(path / name)


def draw_outputs(
    video: Video,
    tracks: Tracks,
    words: dict[int, str],
    voice: Voice,
    video_out: str | None,
    sheet: str | None,
) -> None:
    """Write the annotated video and the contact sheet, those that were asked for.

    Args:
        video: The video.
        tracks: Its objects.
        words: What is said about them, by id.
        voice: Where progress goes.
        video_out: ``--video-out``.
        sheet: ``--sheet``.
    """
    if video_out is None and sheet is None:
        return
    from gar_video.visuals import write_annotated_video, write_contact_sheet

    if video_out is not None:
        with voice.progress("drawing") as update:
            write_annotated_video(video_out, video, tracks, words, progress=update)
        voice.note(f"wrote {video_out}")
    if sheet is not None:
        write_contact_sheet(sheet, video, tracks, words)
        voice.note(f"wrote {sheet}")


def give_answers(answers: Sequence[Answer | Choice], as_json: bool, out: Path | None) -> None:
    """Print answers on stdout and, if asked for, write them to a file.

    Args:
        answers: The answers.
        as_json: A JSON list on stdout instead of words.
        out: File to write as well: JSON if it ends so, words otherwise.
    """
    plain = [answer.to_dict() for answer in answers]
    words = in_words(answers)
    if out is not None:
        is_json = out.suffix.lower() == ".json"
        write_text(out, _listed(plain, ascii_only=False) if is_json else words)
    if as_json:
        print_json(plain)
    else:
        sys.stdout.write(words)


def print_json(plain: list[dict[str, Any]]) -> None:
    """Print a JSON list on stdout, in characters that it can carry."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(_listed(plain, ascii_only=not unicode))


def _listed(plain: list[dict[str, Any]], *, ascii_only: bool) -> str:
    """Return a JSON list with one entry a line."""
    lines = [json.dumps(entry, ensure_ascii=ascii_only) for entry in plain]
    return "[" + ",\n ".join(lines) + "]\n"


def in_words(answers: Sequence[Answer | Choice]) -> str:
    """Return answers as lines: bare words for one, with what was asked for several."""
    from gar_video.answer import Choice

    lines = []
    for answer in answers:
        described = answer.question == _describe()
        if described:
            lines.append(f"{_names(answer.objects)}: {answer.text}")
        elif len(answers) > 1:
            lines += [answer.question, f"    {answer.text}"]
        else:
            lines.append(answer.text)
        if isinstance(answer, Choice):
            lines += _odds(answer)
    return "".join(line + "\n" for line in lines)


def _odds(choice: Choice) -> list[str]:
    return [
        f"  {'*' if at == choice.index else ' '} {chr(ord('A') + at)}. {option}  {share:.1%}"
        for at, (option, share) in enumerate(
            zip(choice.options, choice.probabilities, strict=False)
        )
    ]


def evidence(answers: Sequence[Answer | Choice]) -> list[str]:
    """Return in words what answers rest on, the same thing said once."""
    lines = []
    for answer in answers:
        if len(answer.frames) == 1:
            looked = f"looked at 1 frame, {answer.times_s[0]:.2f} s"
        else:
            span = f"{answer.times_s[0]:.2f} to {answer.times_s[-1]:.2f} s"
            looked = f"looked at {len(answer.frames)} frames, {span}"
        seen = ", ".join(f"<{key}> in {share:.0%}" for key, share in answer.visible.items())
        lines.append(looked + (f"; seen: {seen}" if seen else ""))
    return list(dict.fromkeys(lines))


def summarise(tracks: Tracks, video: Video) -> list[dict[str, Any]]:
    """Say where each object was found, in the shape of answers."""
    found = []
    for object_id in tracks:
        track = tracks[object_id]
        frames = [int(frame) for frame in track.frames]
        times = [float(video.times_s[frame]) for frame in frames]
        text = "not found in any frame"
        if frames:
            span = f"{times[0]:.2f} to {times[-1]:.2f} s"
            text = f"in {len(frames)} of {len(video)} frames, {span}"
        found.append(
            {
                "text": text,
                "objects": [object_id],
                "label": track.label,
                "frames": frames,
                "times_s": times,
                "visible": {str(object_id): len(frames) / len(video)},
                "boxes_xyxy": [track.boxes_xyxy[row].tolist() for row in range(len(frames))],
            }
        )
    return found


def _names(object_ids: Sequence[int]) -> str:
    return ", ".join(f"<{object_id}>" for object_id in object_ids)


def _describe() -> str:
    from gar_video.prompt import DESCRIBE

    return DESCRIBE
