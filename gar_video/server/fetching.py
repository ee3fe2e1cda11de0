"""Fetching from http(s) addresses without being led to where only this machine may go.

A name is resolved once and the connection made to the address that was checked, so that a name
that changes its address gains nothing. Each redirect is checked like the first address.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import urljoin, urlsplit

from gar_video.server.problems import Problem

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CHUNK = 2**16


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's own: neither private nor special in any way."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped
        if inner is not None:
            return is_public(inner)
        # Tunnels carry an address of the old kind, which may be anything.
        if address.sixtofour or address.teredo or address in _NAT64:
            return False
        if address.is_site_local:
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def resolve(host: str, port: int) -> list[Address]:
    """Return all addresses of a name; numbers in odd notations are read as the system does.

    Raises:
        OSError: If there is none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]


class Fetcher:
    """Fetches files from public addresses.

    Args:
        max_bytes: Largest file.
        timeout_s: Seconds that all of it may take, redirects included.
        redirects: How many are followed.
        resolve: Returns a name's addresses.
        is_allowed: Whether an address may be connected to.
        ports: Ports that may be connected to.
    """

    def __init__(
        self,
        max_bytes: int,
        timeout_s: float,
        redirects: int,
        *,
        resolve: Callable[[str, int], list[Address]] = resolve,
        is_allowed: Callable[[Address], bool] = is_public,
        ports: frozenset[int] | None = frozenset({80, 443, 8080, 8443}),
    ) -> None:
        self._max_bytes, self._timeout_s, self._redirects = max_bytes, timeout_s, redirects
        self._resolve, self._is_allowed, self._ports = resolve, is_allowed, ports

    def __call__(self, url: str) -> bytes:
        """Fetch a file; blocks.

        Raises:
            Problem: 400 if the address may not be fetched from; 413 if the file is too large; 422
                if it cannot be had.
        """
        until = time.monotonic() + self._timeout_s
        for _ in range(self._redirects + 1):
            answer = self._get(url, until)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise Problem(422, f"the address redirects more than {self._redirects} times")

    def _get(self, url: str, until: float) -> bytes | str:
        """Return what is there, or where it redirects to."""
        host, port, secure, target, name = self._parts(url)
        connection = _Pinned(host, port, self._address(host, port), secure, until)
        try:
            connection.request(
                "GET",
                target,
                headers={"Host": name, "Accept-Encoding": "identity", "User-Agent": "gar-video"},
            )
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308):
                return response.getheader("Location") or ""
            if response.status != 200:
                raise Problem(422, f"the address answers with status {response.status}")
            return self._body(response, until)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, Problem):
                raise
            raise Problem(
                422, f"the address cannot be fetched from ({type(error).__name__}); send the "
                "content in a data URL",
            ) from None  # fmt: skip
        finally:
            connection.close()

    def _body(self, response: http.client.HTTPResponse, until: float) -> bytes:
        pieces, total = [], 0
        while piece := response.read1(_CHUNK):
            pieces.append(piece)
            total += len(piece)
            if total > self._max_bytes:
                raise Problem(413, f"the file at the address has more than {self._max_bytes} bytes")
            if time.monotonic() > until:
                raise Problem(422, f"fetching took longer than {self._timeout_s:g} s")
        return b"".join(pieces)

    def _parts(self, url: str) -> tuple[str, int, bool, str, str]:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Problem(400, "the address is malformed; expected https://HOST/PATH") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Problem(400, "only http and https addresses are fetched from")
        if parts.username is not None or parts.password is not None:
            raise Problem(400, "the address names a user; that is not supported")
        if any(ord(char) <= 32 or ord(char) == 127 for char in url):
            raise Problem(400, "the address holds white space or control characters")
        secure = parts.scheme == "https"
        port = port if port is not None else (443 if secure else 80)
        if self._ports is not None and port not in self._ports:
            raise Problem(400, f"port {port} is not fetched from")
        try:
            host = parts.hostname.encode("idna").decode()
            target = (parts.path or "/").encode("ascii").decode()
            query = parts.query.encode("ascii").decode()
        except UnicodeError:
            raise Problem(
                400, "the address holds characters that have to be percent-encoded"
            ) from None
        target += f"?{query}" if query else ""
        name = f"[{host}]" if ":" in host else host
        return host, port, secure, target, name if parts.port is None else f"{name}:{port}"

    def _address(self, host: str, port: int) -> Address:
        try:
            addresses = self._resolve(host, port)
        except (OSError, ValueError, UnicodeError):
            raise Problem(422, "the address's host cannot be found") from None
        # One bad among several is no accident.
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise Problem(
                400, "the address leads to a private, local or special network, which is never "
                "fetched from", code="address_refused",
            )  # fmt: skip
        return addresses[0]


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked, under the name that was asked for."""

    def __init__(self, host: str, port: int, address: Address, secure: bool, until: float) -> None:
        super().__init__(host, port, timeout=max(0.1, until - time.monotonic()))
        self._address, self._secure = address, secure

    def connect(self) -> None:
        """Connect to the checked address; certificates are those of the name."""
        plain = socket.create_connection((str(self._address), self.port), self.timeout)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)
        else:
            self.sock = plain
