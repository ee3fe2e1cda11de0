"""What was said, as HTML: newest first, with the frames it rests on. All words are escaped."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from gar_video.notebook import escaped

if TYPE_CHECKING:
    from gar_video.answer import Answer, Choice
    from gar_video.app.asking import Said
    from gar_video.app.session import Session

_MOST_SHOWN = 60

EMPTY = (
    '<div class="gv-hint"><p>Answers appear here, each with the frames it looked at.</p>'
    "<p>Objects are written <code>&lt;1&gt;</code>, <code>&lt;2&gt;</code> … in questions.</p>"
    "</div>"
)


def feed_html(session: Session) -> str:
    """Return all that was said in a session."""
    entries = session.said[-_MOST_SHOWN:]
    if not entries:
        return EMPTY
    cards = "".join(_card(session, said) for said in reversed(entries))
    return f'<div class="gv-feed" role="log" aria-label="Answers">{cards}</div>'


def _card(session: Session, said: Said) -> str:
    head = f'<div class="gv-question">{with_chips(session, said.question)}</div>'
    if said.kind == "describe":
        head = f'<div class="gv-question">{with_chips(session, said.question)} described</div>'
    elif said.follows:
        head = f'<div class="gv-follows">in the same conversation</div>{head}'
    waiting = '<span class="gv-caret" aria-hidden="true"></span>'
    body = f'<div class="gv-words">{with_chips(session, said.text)}</div>'
    if said.result is None:
        body = f'<div class="gv-words">{with_chips(session, said.text)}{waiting}</div>'
    elif said.kind == "choose":
        body = bars(session, said.result)  # type: ignore[arg-type]
    rests = "" if said.result is None else rests_on(session, said.result)
    return (
        f'<article class="gv-card gv-{html.escape(said.kind)}">{head}{body}{rests}'
        f'<footer class="gv-by">{escaped(said.model)}</footer></article>'
    )


def with_chips(session: Session, text: str) -> str:
    """Return words with each ``<ID>`` of an object that is there on its colour."""
    parts = []
    for piece in _pieces(text):
        object_id = int(piece[1:-1]) if piece.startswith("<") and piece[1:-1].isdigit() else None
        named = None if object_id is None else session.pointing.objects.get(object_id)
        if named is None:
            parts.append(escaped(piece))
            continue
        title = f' title="{html.escape(named.name)}"' if named.name else ""
        parts.append(
            f'<span class="gv-chip" style="--chip:rgb{named.color}"{title}>{object_id}</span>'
        )
    return "".join(parts)


def _pieces(text: str) -> list[str]:
    return [piece for piece in re.split(r"(<[0-9]{1,9}>)", text) if piece]


def bars(session: Session, choice: Choice) -> str:
    """Return a choice's options, each with a bar as long as its probability."""
    if choice.index is None:
        return f'<div class="gv-words">{with_chips(session, choice.text)}</div>'
    rows = []
    for at, (option, share) in enumerate(zip(choice.options, choice.probabilities, strict=True)):
        best = " gv-best" if at == choice.index else ""
        rows.append(
            f'<li class="gv-option{best}"><span class="gv-letter">{chr(ord("A") + at)}</span>'
            f'<span class="gv-name">{with_chips(session, option)}</span>'
            f'<span class="gv-share">{share:.0%}</span>'
            f'<span class="gv-bar"><i style="width:{100 * share:.1f}%"></i></span></li>'
        )
    return f'<ol class="gv-options">{"".join(rows)}</ol>'


def rests_on(session: Session, result: Answer | Choice) -> str:
    """Return thumbnails of the frames that an answer looked at, each leading there."""
    if not result.frames:
        return ""
    thumbs = "".join(
        f'<button type="button" class="gv-thumb" data-frame="{frame}" '
        f'aria-label="Go to frame {frame}, {time_s:.2f} seconds">'
        f'<img loading="lazy" alt="" src="/thumbs/{session.key}/{frame}.jpg?v={session.version}">'
        f"<span>{time_s:.2f} s</span></button>"
        for frame, time_s in zip(result.frames, result.times_s, strict=True)
    )
    seen = ", ".join(f"<{i}> in {share:.0%}" for i, share in result.visible.items())
    words = f"Looked at {len(result.frames)} frames" if len(result.frames) > 1 else "Looked at"
    if seen:
        words += f"; seen: {seen}"
    return (
        f'<details class="gv-rests" open><summary>{with_chips(session, words)}</summary>'
        f'<div class="gv-thumbs">{thumbs}</div></details>'
    )
