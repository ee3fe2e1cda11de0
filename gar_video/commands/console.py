"""What is said on stderr: progress, notes and warnings, and the libraries kept from talking."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

Update = Callable[[int, int], None]


class Voice:
    """Speaks on stderr; results never come this way.

    Args:
        quiet: Say nothing but errors and warnings.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def note(self, text: str) -> None:
        """Say something useful to know about results that have just been given."""
        if not self.quiet:
            print(text, file=sys.stderr)

    @contextlib.contextmanager
    def progress(self, doing: str) -> Iterator[Update]:
        """Show how far some work has come, on a terminal only.

        Yields:
            A function to call with (done, total); with (0, 0) the end is not known.
        """
        if self.quiet or not sys.stderr.isatty():
            yield lambda done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
        )
        console = Console(stderr=True)
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
            task = progress.add_task(doing, total=None)

            def update(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total or None)

            yield update


def say_error(text: str) -> None:
    """Say what is wrong, in one line."""
    _say("error", text)


def _say(kind: str, text: str) -> None:
    line = " ".join(str(text).split())
    # The reader of stderr may have gone; that is no reason to fail.
    with contextlib.suppress(OSError):
        print(f"{kind}: {line}", file=sys.stderr)


@contextlib.contextmanager
def own_warnings() -> Iterator[None]:
    """Print this package's warnings as one line each, and drop the libraries'."""
    homes = [str(Path(__file__).parent.parent)]
    trackers = importlib.util.find_spec("gar_video.trackers")
    if trackers is not None and trackers.origin:
        homes.append(str(Path(trackers.origin).parent))
    told: set[str] = set()

    def show(message: object, category: object, filename: str, *_: object, **__: object) -> None:
        text = str(message)
        if text not in told and any(filename.startswith(home + os.sep) for home in homes):
            told.add(text)
            _say("warning", text)

    handler = _LogHandler()
    log = logging.getLogger("gar_video")
    log.addHandler(handler)
    root = logging.NullHandler()  # instead of Python's last resort, which prints to stderr
    logging.getLogger().addHandler(root)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = show
            yield
    finally:
        log.removeHandler(handler)
        logging.getLogger().removeHandler(root)


class _LogHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        _say("warning", record.getMessage())


def quiet_libraries(voice: Voice) -> None:
    """Keep the libraries' progress bars and advice off stderr; call before they are imported.

    Only a download keeps its bar, on a terminal: it can take long.
    """
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    if voice.quiet or not sys.stderr.isatty():
        disable_progress_bars()
    else:
        enable_progress_bars()
