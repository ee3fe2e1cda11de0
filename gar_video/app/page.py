"""The page's widgets: Gradio around sessions, and nothing else."""

from __future__ import annotations

import html
import os
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from gar_video.app import asking, exports
from gar_video.app.feed import EMPTY, feed_html
from gar_video.app.gestures import carry_out
from gar_video.app.models import Models
from gar_video.app.serving import asset
from gar_video.app.session import Session
from gar_video.app.sessions import Sessions
from gar_video.app.state import state_of
from gar_video.errors import Cancelled, GARVideoError
from gar_video.formats import names

_INSIDE = "Something failed inside; the terminal that the page was started from tells what."
_EVERY_S = 0.15  # how often progress is shown
_WORDS_S = 0.05  # how often growing words are

KEYS = (
    ("<kbd>←</kbd> <kbd>→</kbd>", "one frame back or on; with Shift ten"),
    ("<kbd>Home</kbd> <kbd>End</kbd>", "first and last frame"),
    ("<kbd>Space</kbd>", "play and pause"),
    ("<kbd>1</kbd> … <kbd>9</kbd>", "point at this object"),
    ("<kbd>Shift</kbd> + click", "“not this” (the right button does the same)"),
    ("<kbd>Ctrl</kbd> + <kbd>Z</kbd>", "undo"),
    ("<kbd>M</kbd>", "masks on or off"),
    ("<kbd>/</kbd>", "to the question; <kbd>Esc</kbd> leaves it"),
)


class Page:
    """Builds the page and answers its events.

    Args:
        sessions: The visitors' sessions.
        clip: A clip that every visitor begins with; None for none.
    """

    def __init__(self, sessions: Sessions, clip: Path | None = None) -> None:
        self._sessions, self._clip = sessions, clip
        self._keys: dict[str, str] = {}  # Gradio's name of a visitor -> session key

    # ---- visitors -----------------------------------------------------------------------------

    def _session(self, request: gr.Request) -> Session:
        try:
            return self._sessions.get(self._keys.get(str(request.session_hash)))
        except GARVideoError as error:
            raise gr.Error(html.escape(str(error)), print_exception=False) from None

    def arrive(self, request: gr.Request) -> tuple[Any, ...]:
        """Make a session for a visitor."""
        try:
            session = self._sessions.create()
        except GARVideoError as error:
            return _nothing(str(error)), EMPTY
        self._keys[str(request.session_hash)] = session.key
        message = ""
        if self._clip is not None:
            try:
                session.open(self._clip)
            except GARVideoError as error:
                message = str(error)
        return state_of(session, message, bool(message)), EMPTY

    def leave(self, request: gr.Request) -> None:
        """Let a visitor's session end soon."""
        key = self._keys.pop(str(request.session_hash), None)
        if key is not None:
            self._sessions.leave(key)

    # ---- what the picture calls ---------------------------------------------------------------

    def gesture(self, call: dict[str, Any]) -> dict[str, Any]:
        """Carry out what was done in the picture or the timeline."""
        try:
            session = self._sessions.get(call.get("key"))
        except GARVideoError as error:
            return {"about": None, "state": _nothing(str(error))}
        try:
            about = carry_out(session, call.get("gesture"))
        except GARVideoError as error:
            return {"about": None, "state": state_of(session, str(error), True)}
        return {"about": about, "state": state_of(session)}

    def preview(self, call: dict[str, Any]) -> dict[str, Any]:
        """Work out which pixels marks mean."""
        try:
            session = self._sessions.get(call.get("key"))
        except GARVideoError as error:
            return _nothing(str(error))
        try:
            session.preview(int(call.get("object", 0)), int(call.get("frame", 0)))
        except (GARVideoError, TypeError, ValueError) as error:
            return state_of(session, str(error), True)
        return state_of(session)

    # ---- clips and tracks ---------------------------------------------------------------------

    def open_file(self, upload: str | None, request: gr.Request) -> Any:
        """Open an uploaded clip."""

        def take(session: Session) -> None:
            if upload is not None:
                session.open(_own(session, upload, "clips"))

        return self._opened(take, request)

    def open_rendered(self, request: gr.Request) -> Any:
        """Render a clip and open it."""
        return self._opened(
            lambda session: session.open_rendered(int(time.time()) % 1000, 2.0), request
        )

    def open_snapshot(self, picture: Any, request: gr.Request) -> Any:
        """Open what the camera saw."""

        def take(session: Session) -> None:
            if picture is not None:
                session.open(picture, name="snapshot")

        return self._opened(take, request)

    def _opened(self, take: Callable[[Session], None], request: gr.Request) -> Any:
        session = self._session(request)
        try:
            take(session)
        except GARVideoError as error:
            _warn(error)
            return state_of(session, str(error), True), gr.skip()
        return state_of(session), feed_html(session)

    def load_tracks(self, upload: str | None, format: str, request: gr.Request) -> Any:
        """Take uploaded tracks."""

        def take(session: Session) -> None:
            if upload is not None:
                session.load_tracks(_own(session, upload, "tracks"), format)

        return self._opened(take, request)

    def track(self, request: gr.Request) -> Iterator[Any]:
        """Track what is pointed at, and say how far it is."""
        session = self._session(request)
        yield from self._working(session, lambda: session.track())

    def _working(self, session: Session, job: Callable[[], Any]) -> Iterator[Any]:
        """Run a job beside the page, and yield the state until it is done."""
        problem: list[BaseException] = []

        def work() -> None:
            try:
                job()
            except BaseException as error:
                problem.append(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            while worker.is_alive():
                yield state_of(session)
                worker.join(_EVERY_S)
        except GeneratorExit:  # the visitor has gone
            session.cancel()
            raise
        if problem and not isinstance(problem[0], GARVideoError):
            _broken(problem[0])
            problem = [GARVideoError(_INSIDE)]
        if problem and not isinstance(problem[0], Cancelled):
            yield state_of(session, str(problem[0]), True)
        else:
            yield state_of(session, "Cancelled; what was tracked before stays." if problem else "")

    def cancel(self, request: gr.Request) -> None:
        """Stop tracking or answering."""
        self._session(request).cancel()

    # ---- words --------------------------------------------------------------------------------

    def describe(self, request: gr.Request) -> Iterator[str]:
        """Describe all objects."""
        session = self._session(request)
        yield from self._telling(session, asking.describe(session))

    def ask(self, question: str, remember: bool, request: gr.Request) -> Iterator[Any]:
        """Answer a question word by word, and empty its field."""
        session = self._session(request)
        told = asking.ask(session, question, remember=remember)
        try:
            next(told)
        except GARVideoError as error:  # the question stays, to be mended
            _warn(error)
            yield gr.skip(), gr.skip()
            return
        yield feed_html(session), ""
        for page in self._telling(session, told):
            yield page, gr.skip()

    def _telling(self, session: Session, told: Iterator[asking.Said]) -> Iterator[str]:
        shown = 0.0
        try:
            for _ in told:
                if time.monotonic() - shown >= _WORDS_S:
                    yield feed_html(session)
                    shown = time.monotonic()
        except GARVideoError as error:
            _warn(error)
        except Exception as error:
            _broken(error)
        yield feed_html(session)

    def choose(self, question: str, options: str, request: gr.Request) -> str:
        """Choose between options, one a line."""
        session = self._session(request)
        try:
            asking.choose(session, question, options.splitlines())
        except GARVideoError as error:
            _warn(error)
        except Exception as error:
            _broken(error)
        return feed_html(session)

    def pick_models(self, gar: str, sam2: str, request: gr.Request) -> tuple[Any, ...]:
        """Take other models."""
        session = self._session(request)
        session.gar_name, session.sam2_name = gar, sam2
        session.end_chat()
        return head_html(self.models, gar, sam2), gr.Checkbox(value=gar != "nano")

    # ---- files --------------------------------------------------------------------------------

    def export(self, what: str, format: str, request: gr.Request) -> Iterator[Any]:
        """Write files and link to them."""
        session = self._session(request)
        notes: list[str] = []

        def step(done: int, total: int) -> None:
            session.busy = (f"writing {what.lower()}", done, total)

        def job() -> None:
            try:
                if what == "Tracks":
                    notes.extend(exports.export_tracks(session, format))
                elif what == "All formats":
                    notes.extend(exports.export_all_tracks(session, step))
                elif what == "Annotated video":
                    notes.extend(exports.export_video(session, step))
                elif what == "Contact sheet":
                    exports.export_sheet(session)
                else:
                    exports.export_transcript(session)
            finally:
                session.busy = None

        state: dict[str, Any] = {}
        for state in self._working(session, job):
            yield state, gr.skip()
        if state.get("problem"):
            gr.Warning(html.escape(str(state["message"])))
        yield gr.skip(), files_html(session, notes)

    # ---- the widgets --------------------------------------------------------------------------

    def build(self) -> gr.Blocks:
        """Return the page."""
        from gar_video.app.layout import lay_out

        return lay_out(self)

    @property
    def models(self) -> Models:
        """The models that the menus offer."""
        return self._sessions.models


def head_html(models: Models, gar: str | None = None, sam2: str | None = None) -> str:
    """Return the head of the page: what it is, and what the chosen models cost."""
    note = models.note(gar or models.gar_names[0], sam2 or models.sam2_names[0])
    return (
        f'<div class="gv-title"><h1>gar-video</h1><p class="gv-model">{html.escape(note)}</p></div>'
    )


def files_html(session: Session, notes: list[str]) -> str:
    """Return links to the exported files, newest first, and what could not be kept in them."""
    rows = "".join(
        f'<a href="/files/{session.key}/{html.escape(name)}" download="{html.escape(name)}">'
        f"{html.escape(name)}<span>{_size(path)}</span></a>"
        for name, path in reversed(session.files.items())
        if path.is_file()
    )
    lost = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    if lost:
        few = " open" if len(notes) < 3 else ""
        head = f'<details class="gv-more gv-note"{few}><summary>What could not be kept</summary>'
        lost = f"{head}{lost}</details>"
    return f'<div class="gv-files">{rows}</div>{lost}'


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 2**20:.1f} MB" if size >= 2**20 else f"{max(1, size // 1024)} kB"


def _own(session: Session, upload: str, kind: str) -> Path:
    """Give a session an upload of its own: Gradio keeps equal uploads of all visitors once."""
    source = Path(upload)
    folder = session.folder / kind
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / source.name
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _nothing(message: str) -> dict[str, Any]:
    """Return the state of a page whose session is over."""
    return {
        "key": "", "version": 1 << 52, "clip": None, "objects": [], "window": None, "busy": None,
        "message": message, "problem": True,
    }  # fmt: skip


def _broken(error: BaseException) -> None:
    """Tell the terminal all about a mistake of this package, and the visitor that there is one."""
    traceback.print_exception(error)
    gr.Warning(_INSIDE, title="That did not work")


def _warn(error: GARVideoError) -> None:
    gr.Warning(html.escape(str(error)), title="That did not work")


def stage_html() -> str:
    """Return the markup of the picture and the timeline."""
    return asset("stage.html")


def format_choices() -> list[str]:
    """Return the formats that tracks can be loaded from."""
    return ["auto", *names()]
