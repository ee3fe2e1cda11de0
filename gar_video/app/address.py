"""Where the page may listen, and whether it can be served at all: checked before all else."""

from __future__ import annotations

import ipaddress
import socket

from gar_video.errors import GARVideoError

_NO_GRADIO = "the page needs Gradio, which is not installed: pip install 'gar-video[app]'"


def need_gradio() -> None:
    """Refuse to go on without Gradio, in one line.

    Raises:
        GARVideoError: If it is not installed.
    """
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise GARVideoError(_NO_GRADIO)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host name or address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, port: int) -> None:
    """Refuse, before anything is loaded, an address that cannot be listened on.

    Raises:
        GARVideoError: If the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise GARVideoError(
            f"cannot listen on {host} port {port}: {why}; choose another with --port (0 for any)"
        ) from None
