"""Runs that go on: new recordings are taken as recorders close them, and counts are served."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gar_video.batch.engine import Progress
from gar_video.batch.footage import Footage
from gar_video.batch.running import Source
from gar_video.errors import GARVideoError

SETTLED_S = 5.0


class Watcher:
    """Finds what is new, once nobody writes to it any more.

    Args:
        source: Where footage comes.
        every_s: Seconds from look to look.
        settled_s: A file whose size and time have not changed for so long is closed.
        clock: Tells the time, in seconds.
    """

    def __init__(
        self,
        source: Source,
        every_s: float,
        settled_s: float = SETTLED_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._every, self._settled = source, every_s, settled_s
        self._clock = clock
        self._next = 0.0
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}

    def __call__(self) -> Footage | None:
        """Return the footage that is complete, or None if it is not time to look yet."""
        now = self._clock()
        if now < self._next:
            return None
        self._next = now + self._every
        try:
            found = self._source.find()
        except GARVideoError:
            return None  # nothing there yet, or a folder that is gone for a moment
        return Footage(
            tuple(one for one in found.recordings if self._is_settled(one.source, now)),
            tuple(one for one in found.unusable if self._is_settled(one.source, now)),
        )

    def _is_settled(self, source: str, now: float) -> bool:
        try:
            info = Path(source).stat()
        except OSError:
            return "://" in source
        state = (info.st_size, info.st_mtime_ns)
        known = self._seen.get(source)
        if known is None or known[0] != state:
            self._seen[source] = (state, now)
            return False
        return now - known[1] >= self._settled


def metrics(progress: Progress) -> str:
    """Return how far a run is, as Prometheus reads it."""
    lines = []
    for name, counts in (("recordings", progress.recordings), ("units", progress.units)):
        lines.append(f"# TYPE gar_video_{name} gauge")
        for status in ("pending", "running", "done", "failed"):
            lines.append(f'gar_video_{name}{{status="{status}"}} {getattr(counts, status)}')
    lines += [
        "# TYPE gar_video_answered_total counter",
        f"gar_video_answered_total {progress.answered}",
        "# TYPE gar_video_seconds gauge",
        f"gar_video_seconds {progress.seconds:.1f}",
    ]
    if progress.left_s is not None:
        lines += ["# TYPE gar_video_left_seconds gauge",
                  f"gar_video_left_seconds {progress.left_s:.1f}"]  # fmt: skip
    return "\n".join(lines) + "\n"


class MetricsServer:
    """Serves ``/metrics`` on this machine alone.

    Args:
        port: The port; 0 takes a free one.

    Raises:
        GARVideoError: If the port is taken.
    """

    def __init__(self, port: int) -> None:
        self._text = "# nothing yet\n"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/metrics":
                    self.send_error(404)
                    return
                body = outer._text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        try:
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise GARVideoError(
                f"cannot serve metrics on port {port}: {error.strerror}; choose another"
            ) from None
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __call__(self, progress: Progress) -> None:
        """Serve this from now on."""
        self._text = metrics(progress)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
