"""The server as a process: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from gar_video.errors import GARVideoError
from gar_video.server.application import create_app
from gar_video.server.engine import Engine, LocalEngine
from gar_video.server.service import Service
from gar_video.server.settings import Settings


def bind(host: str, port: int) -> socket.socket:
    """Take the port, before anything heavy is loaded.

    Raises:
        GARVideoError: If it is in use or may not be taken, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host.strip("[]"), port))
    except (OSError, OverflowError) as error:
        sock.close()
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            raise GARVideoError(
                f"port {port} on {host} is in use; give another one with --port, or 0 for any"
            ) from None
        if number == errno.EACCES:
            raise GARVideoError(f"port {port} may not be taken; give one above 1023") from None
        raise GARVideoError(f"cannot listen on {host}:{port}: {error}") from None
    return sock


def load_service(settings: Settings) -> Service:
    """Load the checkpoints and return the house that answers with them.

    Raises:
        CheckpointError: If one is missing.
        DeviceError: If the device is not there.
    """
    from gar_video.pipeline import GARVideo
    from gar_video.trackers import Sam2Tracker

    gar = GARVideo.from_pretrained(
        settings.model, device=settings.device, dtype=settings.dtype,
        batch_size=settings.limits.batch,
    )  # fmt: skip
    engine: Engine = LocalEngine(gar)
    if settings.engine == "vllm":
        from gar_video.server.vllm_engine import VllmEngine

        engine = VllmEngine(gar)

    def load_sam2() -> Sam2Tracker:
        return Sam2Tracker.from_pretrained(
            settings.sam2, device=settings.device, dtype=settings.dtype
        )

    service = Service(settings, engine, load_sam2)
    service.tracking.warm()  # so that a missing checkpoint is told now
    return service


class Server(uvicorn.Server):
    """uvicorn's server, which ends well when it is asked to: answers first, then status 0.

    Args:
        service: The house behind the addresses.
        started: Called once requests are taken.
    """

    def __init__(self, service: Service, started: Callable[[], None] = lambda: None) -> None:
        grace_s = service.limits.grace_s
        super().__init__(
            uvicorn.Config(
                create_app(service),
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=30,
                # What is given up after the grace time gets a moment to say so.
                timeout_graceful_shutdown=int(grace_s) + 5,
            )
        )
        self._service, self._tell_started = service, started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, and do not end by them: stopping well is no failure."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {one: signal.signal(one, self.handle_exit) for one in signals}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and tell that it has begun."""
        await super().startup(sockets)
        if self.started:
            self._tell_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: what is being answered gets the grace time, and is told when it is over."""
        self._service.drain()
        giving_up = asyncio.create_task(self._give_up())
        try:
            await super().shutdown(sockets)
        finally:
            giving_up.cancel()

    async def _give_up(self) -> None:
        await asyncio.sleep(self._service.limits.grace_s)
        self._service.give_up()
