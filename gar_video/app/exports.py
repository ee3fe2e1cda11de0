"""What a visitor takes home: tracks in any format, an annotated video, a sheet, a transcript."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gar_video.answer import Choice
from gar_video.errors import GARVideoError, PromptError, TracksError
from gar_video.files import write_text

if TYPE_CHECKING:
    from gar_video.app.session import Session
    from gar_video.tracks import Tracks

# Python's warnings are the process's; one export at a time reads them.
_HEARING = threading.Lock()


def format_names() -> list[str]:
    """Return the names of all formats that tracks can be written in."""
    from gar_video.formats import names

    return names(writable=True)


def export_tracks(session: Session, format: str) -> list[str]:
    """Write the tracks in a format; a folder becomes a zip.

    Returns:
        What the format could not hold, a line each.

    Raises:
        PromptError: If nothing is tracked.
        TracksError: If the format cannot hold these tracks.
    """
    tracks = _tracks(session)
    with tempfile.TemporaryDirectory(dir=_room(session)) as folder:
        written, lost = _write(tracks, Path(folder), format)
        if written.is_dir():
            made = shutil.make_archive(str(_named(session, format)), "zip", written)
            _offer(session, Path(made))
        else:
            ending = "json" if written.read_bytes()[:1] in (b"{", b"[") else "txt"
            ending = "csv" if format == "csv" else ending
            kind = "tracks" if format == ending else format
            _offer(session, Path(shutil.move(written, _named(session, f"{kind}.{ending}"))))
    return lost


def export_all_tracks(session: Session, progress: Callable[[int, int], None]) -> list[str]:
    """Write the tracks in every format into one zip.

    Returns:
        What formats could not hold, a line each.

    Raises:
        PromptError: If nothing is tracked.
    """
    tracks, names = _tracks(session), format_names()
    target = _named(session, "all-formats.zip")
    notes: list[str] = []
    with tempfile.TemporaryDirectory(dir=_room(session)) as folder, zipfile.ZipFile(
        target, "w", zipfile.ZIP_DEFLATED
    ) as archive:  # fmt: skip
        for done, name in enumerate(names):
            progress(done, len(names))
            inside = Path(folder) / name
            inside.mkdir()
            try:
                written, lost = _write(tracks, inside, name)
            except TracksError as error:
                notes.append(f"{name}: left out: {error}")
                continue
            notes += [f"{name}: {line}" for line in lost]
            files = sorted(written.rglob("*")) if written.is_dir() else [written]
            for file in (file for file in files if file.is_file()):
                archive.write(file, file.relative_to(folder))
        if notes:
            archive.writestr("notes.txt", "\n".join(notes) + "\n")
    _offer(session, target)
    return notes


def export_video(session: Session, progress: Callable[[int, int], None]) -> list[str]:
    """Write the video with objects and descriptions drawn in.

    Returns:
        What was left out, a line each.

    Raises:
        PromptError: If nothing is tracked.
    """
    from gar_video.visuals import write_annotated_video

    tracks, video = _tracks(session), session.opened()
    target = _named(session, "annotated.mp4")
    with _HEARING, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        write_annotated_video(
            target, video, tracks, _words(session), colors=session.colors, progress=progress
        )
    _offer(session, target)
    return [str(one.message) for one in heard if one.category is UserWarning]


def export_sheet(session: Session) -> None:
    """Write the contact sheet: each object's words and clearest views.

    Raises:
        PromptError: If nothing is tracked.
    """
    from gar_video.sheets import contact_sheet, write_picture

    tracks, target = _tracks(session), _named(session, "sheet.png")
    sheet = contact_sheet(session.opened(), tracks, _words(session), colors=session.colors)
    write_picture(target, sheet)
    _offer(session, target)


def export_transcript(session: Session) -> None:
    """Write all that was said, to be read (Markdown) and to be used again (JSON).

    Raises:
        PromptError: If nothing was said.
    """
    results = [said.result for said in session.said if said.result is not None]
    if not results:
        raise PromptError("nothing has been said yet; describe, ask or choose first")
    listed = json.dumps([result.to_dict() for result in results], indent=1, ensure_ascii=False)
    for ending, text in (("transcript.md", transcript(session)), ("answers.json", listed + "\n")):
        write_text(_named(session, ending), text)
        _offer(session, _named(session, ending))


def transcript(session: Session) -> str:
    """Return all that was said as Markdown."""
    video = session.opened()
    lines = [f"# {_plain(video.name)}", ""]
    for object_id, named in session.pointing.objects.items():
        track = session.track_of(object_id)
        seen = "not tracked" if track is None else f"seen in {len(track)} of {len(video)} frames"
        name = f" ({_plain(named.name)})" if named.name else ""
        lines.append(f"- `<{object_id}>`{name}: {seen}")
    for said in session.said:
        asked = f"Describe {said.question}." if said.kind == "describe" else said.question
        lines += ["", f"**{_plain(asked)}**", "", _plain(said.text) or "(stopped)"]
        result = said.result
        if result is None:
            continue
        if isinstance(result, Choice) and result.probabilities:
            shares = zip(result.options, result.probabilities, strict=True)
            lines += ["", *(f"- {share:.1%} {_plain(option)}" for option, share in shares)]
        times = ", ".join(f"{time_s:.2f}" for time_s in result.times_s)
        lines += ["", f"({said.model}; looked at {times} s)"]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Return words of users and models so that Markdown takes them as words."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else c for c in " ".join(text.split()))


def _words(session: Session) -> dict[int, str]:
    """Return the newest description of each object."""
    return {
        said.result.objects[0]: said.text
        for said in session.said
        if said.kind == "describe" and said.result is not None
    }


def _write(tracks: Tracks, folder: Path, format: str) -> tuple[Path, list[str]]:
    target = folder / "tracks"
    with _HEARING, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        tracks.save(target, format)
    return target, [str(one.message) for one in heard if one.category is UserWarning]


def _tracks(session: Session) -> Tracks:
    tracks = session.tracks
    if tracks is None:
        raise PromptError("nothing is tracked yet; click on an object, then press Track")
    return tracks


def _room(session: Session) -> Path:
    if session.closed:
        raise GARVideoError("this page has been left alone for too long; reload it to go on")
    room = session.folder / "exports"
    room.mkdir(parents=True, exist_ok=True)
    return room


def _named(session: Session, ending: str) -> Path:
    """Return the path of a file called after the clip."""
    name = Path(session.opened().name).stem
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)[:60].strip("-")
    return _room(session) / f"{kept or 'clip'}.{ending}"


def _offer(session: Session, path: Path) -> None:
    session.files.pop(path.name, None)
    session.files[path.name] = path
