"""How answers, tracks and timelines show themselves in a notebook: HTML that needs nothing else.

All words of users, files and models are escaped. Pictures are drawn only from what is at hand:
bars and outlines of tracks, never frames that would have to be decoded.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gar_video.answer import Answer, Choice
    from gar_video.timeline import Timeline
    from gar_video.track import Track
    from gar_video.tracks import Tracks

_MOST_ROWS = 100
_MOST_SEGMENTS = 400
_BAR_WH = (240, 12)
# Colours that can be read on light and on dark paper.
_FAINT = "opacity:.65"
_TRACE = "fill:rgba(128,128,128,.18);stroke:none"


def escaped(text: object) -> str:
    """Return text as HTML; line breaks stay."""
    return html.escape(str(text)).replace("\n", "<br>")


def swatch(color: tuple[int, int, int]) -> str:
    """Return a small square in an object's colour."""
    red, green, blue = color
    return (
        '<span style="display:inline-block;width:.8em;height:.8em;border-radius:2px;'
        f'background:rgb({red},{green},{blue})"></span>'
    )


def answer_html(answer: Answer) -> str:
    """Return an answer, and what it rests on."""
    return (
        f"<p><b>{escaped(answer.question)}</b><br>{escaped(answer.text)}<br>"
        f'<small style="{_FAINT}">{escaped(answer._seen())}</small></p>'
    )


def choice_html(choice: Choice) -> str:
    """Return a choice, with a bar for each option."""
    rows = []
    for at, (option, share) in enumerate(zip(choice.options, choice.probabilities, strict=False)):
        weight = "bold" if at == choice.index else "normal"
        bar = (
            f'<div style="width:{100 * share:.1f}px;height:.7em;background:rgb(40,120,240);'
            f'opacity:{1 if at == choice.index else 0.4}"></div>'
        )
        rows.append(
            f'<tr style="font-weight:{weight}"><td>{chr(ord("A") + at)}</td>'
            f'<td style="text-align:left">{escaped(option)}</td><td>{share:.0%}</td>'
            f'<td style="min-width:100px">{bar}</td></tr>'
        )
    table = f"<table>{''.join(rows)}</table>" if rows else f"<p>{escaped(choice.text)}</p>"
    return (
        f"<p><b>{escaped(choice.question)}</b></p>{table}"
        f'<p><small style="{_FAINT}">{escaped(choice._seen())}</small></p>'
    )


# ---- tracks ---------------------------------------------------------------------------------


def presence_svg(track: Track, color: tuple[int, int, int], width: int = _BAR_WH[0]) -> str:
    """Return a bar that shows in which frames an object is seen."""
    height = _BAR_WH[1]
    seen = np.zeros(width + 1, dtype=int)
    frames = np.asarray(track.frames)
    if len(frames):
        first = np.floor(frames * width / track.num_frames).astype(int)
        last = np.ceil((frames + 1) * width / track.num_frames).astype(int)
        np.add.at(seen, first, 1)
        np.add.at(seen, np.minimum(last, width), -1)
    on = np.concatenate([[False], np.cumsum(seen)[:width] > 0, [False]])
    starts = np.flatnonzero(~on[:-1] & on[1:])
    ends = np.flatnonzero(on[:-1] & ~on[1:])
    parts = "".join(
        f'<rect x="{a}" y="0" width="{b - a}" height="{height}" fill="rgb{color}"/>'
        for a, b in zip(starts, ends, strict=True)
    )
    return (
        f'<svg width="{width}" height="{height}" style="vertical-align:middle">'
        f'<rect width="{width}" height="{height}" style="{_TRACE}"/>{parts}</svg>'
    )


def way_svg(track: Track, color: tuple[int, int, int], height: int = 90) -> str:
    """Return the frame with an object's way through it and its boxes at the start and the end."""
    wide, tall = track.resolution_wh
    width = max(1, round(height * wide / tall))
    scale = height / tall
    inside = f'<rect width="{width}" height="{height}" style="{_TRACE}"/>'
    if len(track):
        boxes = np.asarray(track.boxes_xyxy) * scale
        few = np.unique(np.linspace(0, len(boxes) - 1, min(len(boxes), 120)).round().astype(int))
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (boxes[few, :2] + boxes[few, 2:]) / 2)
        inside += f'<polyline points="{points}" fill="none" stroke="rgb{color}" stroke-width="2"/>'
        for (x1, y1, x2, y2), dash in ((boxes[0], "3 2"), (boxes[-1], "none")):
            inside += (
                f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" '
                f'fill="rgb{color}" fill-opacity=".12" stroke="rgb{color}" '
                f'stroke-dasharray="{dash}"/>'
            )
    return f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}">{inside}</svg>'


def _seen_words(track: Track) -> str:
    if not len(track):
        return "never visible"
    kind = "boxes" if track.boxes_only else "masks"
    return (
        f"{len(track)} of {track.num_frames} frames, {track.frames[0]}–{track.frames[-1]} ({kind})"
    )


def track_html(track: Track) -> str:
    """Return one object: when it is seen, and its way through the frame."""
    color = _colors((track.object_id,))[track.object_id]
    name = f"{track.object_id}" + (f": {escaped(track.label)}" if track.label else "")
    return (
        f"<p>{swatch(color)} <b>{name}</b> {presence_svg(track, color)}<br>"
        f'<small style="{_FAINT}">{_seen_words(track)}; dashed where it is first seen</small></p>'
        f"{way_svg(track, color)}"
    )


def tracks_html(tracks: Tracks) -> str:
    """Return a table of objects, each with a bar of when it is seen."""
    colors = _colors(tracks.object_ids)
    rows = []
    for object_id in tracks.object_ids[:_MOST_ROWS]:
        track = tracks[object_id]
        rows.append(
            f"<tr><td>{swatch(colors[object_id])} {object_id}</td>"
            f'<td style="text-align:left">{escaped(track.label or "")}</td>'
            f"<td>{presence_svg(track, colors[object_id])}</td>"
            f'<td style="text-align:left">{_seen_words(track)}</td></tr>'
        )
    if len(tracks) > _MOST_ROWS:
        rows.append(f"<tr><td colspan=4>and {len(tracks) - _MOST_ROWS} more</td></tr>")
    width, height = tracks.resolution_wh
    return (
        f"<table><caption>{len(tracks)} tracks, {width}x{height}, {tracks.num_frames} frames"
        "</caption><tr><th>id</th><th>label</th><th>when</th><th>seen</th></tr>"
        f"{''.join(rows)}</table>"
    )


# ---- timelines ------------------------------------------------------------------------------


def timeline_html(timeline: Timeline) -> str:
    """Return a timeline: per object its summary, a bar of its segments, and the words."""
    colors = _colors(timeline.object_ids)
    blocks, shown = [], 0
    for summary in timeline.summaries[:_MOST_ROWS]:
        one, color = timeline.of(summary.object_id), colors[summary.object_id]
        lines = [
            (s.start_s, 1, f"<td>{s.start_s:.2f}–{s.end_s:.2f} s</td>"
             f'<td style="text-align:left">{escaped(s.text)}</td>')
            for s in one.segments
        ]  # fmt: skip
        lines += [
            (e.time_s, 0, f"<td>{e.time_s:.2f} s</td>"
             f'<td style="text-align:left;{_FAINT}">[{escaped(e.text)}]</td>')
            for e in one.events
        ]  # fmt: skip
        lines.sort()
        room = max(0, _MOST_SEGMENTS - shown)
        rows = "".join(f"<tr>{cells}</tr>" for _, _, cells in lines[:room])
        if len(lines) > room:
            rows += f"<tr><td colspan=2>and {len(lines) - room} more</td></tr>"
        shown += min(room, len(lines))
        blocks.append(
            f"<p>{swatch(color)} <b>{escaped(timeline.name(summary.object_id))}</b><br>"
            f"{_segments_svg(one, color)}<br>{escaped(summary.text)} "
            f'<small style="{_FAINT}">({_whose(summary.by)})</small></p><table>{rows}</table>'
        )
    if len(timeline.summaries) > _MOST_ROWS:
        blocks.append(f"<p>and {len(timeline.summaries) - _MOST_ROWS} more objects</p>")
    head = (
        f"{escaped(timeline.video)}, {timeline.duration_s:.2f} s, windows of "
        f"{timeline.every_s:g} s, {escaped(timeline.model)}: {escaped(timeline.question)}"
    )
    return f'<div><p><small style="{_FAINT}">{head}</small></p>{"".join(blocks)}</div>'


def _whose(by: str) -> str:
    return {
        "model": "summed up by the model from its own notes",
        "notes": "its notes, one after the other",
        "tracks": "from its track",
    }[by]


def _segments_svg(one: Timeline, color: tuple[int, int, int]) -> str:
    width, height = 2 * _BAR_WH[0], _BAR_WH[1] + 4
    scale = width / max(one.duration_s, 1e-9)
    parts = []
    for at, row in enumerate(one.segments[:_MOST_SEGMENTS]):
        parts.append(
            f'<rect x="{row.start_s * scale:.1f}" y="2" height="{height - 4}" '
            f'width="{max(1.0, (row.end_s - row.start_s) * scale):.1f}" fill="rgb{color}" '
            f'fill-opacity="{0.5 if at % 2 else 0.9}"><title>{escaped(row.text)}</title></rect>'
        )
    for event in one.events[:_MOST_SEGMENTS]:
        x = event.time_s * scale
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}" stroke="currentColor" '
            f'stroke-width="1.5"><title>{escaped(event.text)}</title></line>'
        )
    return (
        f'<svg width="{width}" height="{height}" style="vertical-align:middle">'
        f'<rect y="2" width="{width}" height="{height - 4}" style="{_TRACE}"/>'
        f"{''.join(parts)}</svg>"
    )


def _colors(object_ids: tuple[int, ...]) -> dict[int, tuple[int, int, int]]:
    from gar_video.lettering import object_colors

    return object_colors(object_ids)
