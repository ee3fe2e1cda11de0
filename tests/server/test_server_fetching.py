"""Fetching from addresses: never to where only this machine may go."""

from __future__ import annotations

import ipaddress
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("fastapi", reason="needs gar-video[serve]")

from gar_video.server.fetching import Fetcher, is_public
from gar_video.server.problems import Problem


class _Site(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
        elif self.path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
        elif self.path == "/file":
            self.send_response(301)
            self.send_header("Location", "file:///etc/passwd")
        elif self.path == "/gone":
            self.send_response(404)
        else:
            self.send_response(200)
        self.end_headers()
        if self.path == "/large":
            self.wfile.write(b"x" * 5000)
        elif self.path.startswith("/small"):
            self.wfile.write(f"{self.headers['Host']} {self.path}".encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2130706433/",  # 127.0.0.1 in decimal
        "http://0177.0.0.1/",  # in octal
        "http://0x7f.1/",
        "http://127.1/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://172.16.0.1/",
        "http://100.64.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[::]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
    ],
)
def test_addresses_that_are_refused(url):
    with pytest.raises(Problem) as caught:
        Fetcher(1000, 5, 3)(url)
    assert caught.value.status_code in (400, 422)
    assert caught.value.code in ("address_refused", "unprocessable")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "http://",
        "http://user:word@example.com/",
        "http://example.com:22/",
        "http://example.com:99999/",
        "http://example.com/a\r\nX: y",
        "http://example.com/\u00e4",
        "http://[::1",
    ],
)
def test_urls_that_are_refused(url):
    def nobody(host, port):
        raise AssertionError("resolved")

    with pytest.raises(Problem) as caught:
        Fetcher(1000, 5, 3, resolve=nobody)(url)
    assert caught.value.status_code == 400


def local(site, **more):
    """A fetcher to whom loopback alone is public, as if it were elsewhere."""
    here = ipaddress.ip_address("127.0.0.1")
    settings = {"resolve": lambda host, port: [here], "is_allowed": lambda a: a == here, **more}
    return Fetcher(1000, 5, 3, ports=None, **settings)


def test_what_is_there_is_fetched_under_its_name(site):
    got = local(site)(f"http://example.com:{site}/small?a=b")
    assert got.decode() == f"example.com:{site} /small?a=b"


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        pytest.param("/large", 413, "1000 bytes", id="too large"),
        pytest.param("/gone", 422, "404", id="not there"),
        pytest.param("/round", 422, "redirects", id="round and round"),
        pytest.param("/file", 400, "only http", id="redirect to a file"),
    ],
)
def test_what_is_not_fetched(site, path, status, says):
    with pytest.raises(Problem) as caught:
        local(site)(f"http://example.com:{site}{path}")
    assert caught.value.status_code == status
    assert says in caught.value.message


def test_redirects_are_checked_like_the_first_address(site):
    asked = []

    def resolve(host, port):
        asked.append(host)
        return [ipaddress.ip_address("127.0.0.1" if host == "example.com" else host)]

    with pytest.raises(Problem) as caught:
        local(site, resolve=resolve)(f"http://example.com:{site}/inside")
    assert caught.value.code == "address_refused"
    assert asked == ["example.com", "169.254.169.254"]


def test_a_name_that_changes_its_address_is_resolved_once(site):
    """The address that was checked is the one that is connected to."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]])

    def resolve(host, port):
        return [ipaddress.ip_address(one) for one in next(answers)]

    assert b"small" in local(site, resolve=resolve)(f"http://example.com:{site}/small")
    assert next(answers) == ["10.0.0.1"]


def test_one_private_address_among_public_ones_is_enough():
    def resolve(host, port):
        return [ipaddress.ip_address(one) for one in ("93.184.216.34", "127.0.0.1")]

    with pytest.raises(Problem):
        Fetcher(1000, 5, 3, resolve=resolve)("http://example.com/")


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address):
    assert is_public(ipaddress.ip_address(address))
