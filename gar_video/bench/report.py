"""A page to browse a run: what the model saw, was asked and answered, and the truth. One file."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.bench.case import Case, as_text, option_text
from gar_video.bench.groups import swap_masks
from gar_video.bench.identity import name_tracks
from gar_video.bench.looking import media_path, to_rle
from gar_video.bench.registry import BENCHMARKS, benchmark, load
from gar_video.bench.store import JUDGED, TRACKS, Run
from gar_video.bench.summary import failure
from gar_video.bench.table import render
from gar_video.errors import GARVideoError
from gar_video.files import write_text
from gar_video.tracks import Tracks
from gar_video.video import Video
from gar_video.visuals import draw_objects, object_colors

_MOST_FRAMES, _FRAME_WIDTH, _PHOTO_WIDTH, _GAP = 8, 240, 560, 4

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1080px;color:#1c1c1e;
background:#fafaf8}
pre{background:#fff;border:1px solid #ddd;padding:1em;overflow:auto}
article{background:#fff;border:1px solid #ddd;border-left:6px solid #2a8;margin:1em 0;
padding:.8em 1em}
article.wrong{border-left-color:#d43}
article.failed{border-left-color:#888}
h2{font-size:1em;margin:0 0 .4em}
small{color:#666}
img{max-width:100%;display:block;margin:.5em 0}
li.truth{font-weight:600}
.say{white-space:pre-wrap;overflow-wrap:anywhere}
label{margin-right:1em}
"""
_SCRIPT = """
const kind=document.getElementById('kind'),type=document.getElementById('type');
function show(){for(const one of document.querySelectorAll('article'))
one.hidden=(kind.value!==''&&!one.classList.contains(kind.value))||
(type.value!==''&&one.dataset.type!==type.value);}
kind.onchange=type.onchange=show;
"""


def write_report(
    run: str | Path,
    out: str | Path | None = None,
    *,
    wrong: bool = False,
    limit: int | None = None,
    data: str | Path | None = None,
) -> Path:
    """Write a page that shows a run's questions with contact sheets.

    Args:
        run: The run's folder.
        out: The ``.html`` to write; ``report.html`` in the run's folder if None.
        wrong: Only what is wrong or failed.
        limit: At most so many questions.
        data: The benchmark's folder, if it has moved.

    Returns:
        The page.

    Raises:
        GARVideoError: If the run or its benchmark cannot be read, or the page cannot be written.
    """
    folder = Run(run)
    config = folder.config
    bench = benchmark(config["benchmark"])
    where = Path(data if data is not None else config["where"]["data"])
    cases = _cases(config, where)
    rows = folder.rows()
    judged = folder.rows(JUDGED) if (folder.folder / JUDGED).is_file() else None
    tracks = Path(config["where"].get("tracks") or folder.folder / TRACKS)
    shown: list[str] = []
    kinds: list[str] = []
    for case in cases:
        if case.key not in rows or (limit is not None and len(shown) >= limit):
            continue
        state = _state(rows[case.key], judged)
        if wrong and state == "right":
            continue
        kinds.append(case.type)
        shown.append(_article(case, rows[case.key], judged, state, where, config, tracks))
    title = html.escape(f"{bench.name}: {config['where'].get('model') or folder.folder.name}")
    figures = html.escape(render(BENCHMARKS[bench.name], folder.summary))
    types = "".join(f"<option>{html.escape(kind)}" for kind in dict.fromkeys(kinds))
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{_STYLE}</style><h1>{title}</h1><pre>{figures}</pre>"
        f"<p><label>Show <select id=kind><option value=''>all<option>right<option>wrong"
        f"<option>failed<option>unjudged</select></label><label>of <select id=type>"
        f"<option value=''>all types{types}</select></label> {len(shown)} questions</p>"
        f"{''.join(shown)}<script>{_SCRIPT}</script></html>\n"
    )
    target = Path(out) if out is not None else folder.folder / "report.html"
    write_text(target, page)
    return target


def _cases(config: Mapping[str, Any], data: Path) -> list[Case]:
    questions = config["where"].get("questions")
    settings = config.get("settings") or {}
    cases = load(
        config["benchmark"],
        data,
        questions,
        types=config.get("types"),
        limit=config.get("limit"),
        seed=settings.get("seed"),
    )
    if not settings.get("swap_masks"):
        return cases
    gone = {key for key, _ in config["skipped"]}
    return swap_masks([case for case in cases if case.key not in gone], settings.get("seed"))


def _state(row: Mapping[str, Any], judged: Mapping[str, Any] | None) -> str:
    if failure(row, judged) is not None:
        return "failed"
    if row["correct"] is not None:
        return "right" if row["correct"] else "wrong"
    if judged is None:
        return "unjudged"
    judgement = judged[row["key"]]
    if judgement.get("score") is not None:
        return "right" if judgement["score"] == 1 else "wrong"
    points = list((judgement.get("points") or {}).values())
    top = 5 if "Subject Correspondence" in (judgement.get("points") or {}) else 1
    return "right" if points and min(points) >= top else "wrong"


def _article(
    case: Case,
    row: Mapping[str, Any],
    judged: Mapping[str, Any] | None,
    state: str,
    data: Path,
    config: Mapping[str, Any],
    tracks: Path,
) -> str:
    said = html.escape(str(row["text"])) if row["text"] is not None else "<i>none</i>"
    parts = [f"<h2>{html.escape(case.key)} <small>{html.escape(case.type)}</small></h2>"]
    if case.question:
        parts.append(f"<p class=say>{html.escape(as_text(case.question))}</p>")
    parts.append(_sheet(case, row, data, config, tracks))
    if case.options:
        parts.append(_options(case, row))
    parts.append(f"<p class=say><b>Answer:</b> {said}</p>")
    if case.kind == "describe":
        parts.append(f"<p class=say><b>Truth:</b> {html.escape(case.answer)}</p>")
    if judged is not None and row["key"] in judged:
        parts.append(_judgement(judged[row["key"]]))
    reason = failure(row, judged)
    if reason is not None:
        parts.append(f"<p><b>Failed:</b> {html.escape(reason)}</p>")
    if row["hidden"]:
        hidden = ", ".join(f"&lt;{int(i)}&gt;" for i in row["hidden"])
        parts.append(f"<p><small>Without a mask in what was looked at: {hidden}</small></p>")
    return (
        f'<article class={state} data-type="{html.escape(case.type, quote=True)}">'
        f"{''.join(parts)}</article>"
    )


def _options(case: Case, row: Mapping[str, Any]) -> str:
    shares: Sequence[float | None] = row["probabilities"] or [None] * len(case.options)
    lines = []
    for option, share in zip(case.options, shares, strict=False):
        truth = " class=truth" if option.letter == case.answer else ""
        chosen = " &larr; chosen" if option.letter == row["letter"] else ""
        percent = "" if share is None else f" <small>{share:.0%}</small>"
        text = html.escape(f"({option.letter}) {option_text(option)}")
        lines.append(f"<li{truth}>{text}{percent}{chosen}</li>")
    return f"<ul>{''.join(lines)}</ul>"


def _judgement(judgement: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<li>{html.escape(str(unit))}: {html.escape(str(reply))}</li>"
        for unit, reply in (judgement.get("replies") or {}).items()
    )
    return f"<details><summary>Judge</summary><ul>{lines}</ul></details>"


# -- pictures --------------------------------------------------------------------------------------


def _sheet(
    case: Case, row: Mapping[str, Any], data: Path, config: Mapping[str, Any], tracks: Path
) -> str:
    """Return the frames that were looked at with the objects drawn, or why there are none."""
    settings = config.get("settings") or {}
    if settings.get("blind"):
        return "<p><small>Blind: no picture was shown.</small></p>"
    try:
        own = tracks / name_tracks(case, data, config["tracker"]) if config.get("tracker") else None
        picture = _draw(case, row, data, settings, own)
    except (GARVideoError, OSError) as error:
        return f"<p><small>{html.escape(str(error))}</small></p>"
    coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    text = base64.b64encode(coded.tobytes()).decode("ascii")
    frames = ", ".join(str(int(frame)) for frame in row["frames"])
    alt = f"frames {frames}" if frames else "objects"
    return f'<img alt="{alt}" src="data:image/jpeg;base64,{text}"><small>{alt}</small>'


def _draw(
    case: Case, row: Mapping[str, Any], data: Path, settings: Mapping[str, Any], own: Path | None
) -> npt.NDArray[np.uint8]:
    with Video(media_path(data, case.media)) as video:
        if own is not None and own.is_file():
            found = Tracks.load(own)
        else:
            frame = case.prompt_frame if settings.get("mode") in ("single", "track") else None
            found = Tracks.from_rles(
                {
                    object_id: {
                        at: to_rle(mask, video.resolution_wh)
                        for at, mask in regions.items()
                        if frame is None or at == frame
                    }
                    for object_id, regions in enumerate(case.objects, 1)
                },
                video.resolution_wh,
                len(video),
                allow_empty=True,
            )
        looked = list(row["frames"]) or [case.prompt_frame or 0]
        places = np.linspace(0, len(looked) - 1, min(_MOST_FRAMES, len(looked)))
        colors = object_colors(found.object_ids)
        width = _PHOTO_WIDTH if video.is_image else _FRAME_WIDTH
        tiles = []
        for place in np.unique(places.round().astype(int)):
            frame = int(looked[int(place)])
            drawn = draw_objects(video[frame], found.detections(frame), colors)
            height = max(1, round(drawn.shape[0] * width / drawn.shape[1]))
            tiles.append(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA))
    return _tiled(tiles)


def _tiled(tiles: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uint8]:
    """Set equal tiles in rows of four, a gap around each."""
    height, width = (side + _GAP for side in tiles[0].shape[:2])
    columns = min(4, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * height - _GAP, columns * width - _GAP, 3), 250, np.uint8)
    for at, tile in enumerate(tiles):
        y, x = at // columns * height, at % columns * width
        sheet[y : y + len(tile), x : x + tile.shape[1]] = tile
    return sheet
