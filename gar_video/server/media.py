"""What a request names as its picture or video: a data URL, an upload, or an address."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from gar_video.server.clips import Clip, Clips
from gar_video.server.problems import Problem

_DATA = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[\w.+-]+)*(?P<base64>;base64)?,")
_UPLOAD = "upload:"


class Media:
    """Turns what is named into clips.

    Args:
        clips: Keeps them.
        uploaded: Returns the clip of an upload's id, for the caller.
        fetch: Fetches from an address; None if that is not allowed.
    """

    def __init__(
        self,
        clips: Clips,
        uploaded: Callable[[str, str], Clip],
        fetch: Callable[[str], bytes] | None,
    ) -> None:
        self._clips, self._uploaded, self._fetch = clips, uploaded, fetch

    def open(self, url: str, caller: str, param: str) -> Clip:
        """Return the clip that a URL means; blocks while it is fetched, decoded and opened.

        Args:
            url: ``data:…;base64,…``, ``upload:ID``, or an http(s) address.
            caller: Whose uploads may be meant.
            param: The field that messages name.

        Raises:
            Problem: If it is malformed, of another kind, not allowed or not there.
            VideoError: If it cannot be decoded or exceeds a limit.
        """
        scheme = url.split(":", 1)[0].lower() if ":" in url[:16] else ""
        try:
            if scheme == "data":
                return self._clips.of_bytes(_decoded(url), "the picture or video")
            if scheme == "upload":
                return self._uploaded(url[len(_UPLOAD) :], caller)
            if scheme in ("http", "https"):
                if self._fetch is None:
                    raise Problem(
                        400, "this server fetches nothing from addresses; send the content in a "
                        "data URL, or upload it",
                    )  # fmt: skip
                return self._clips.of_bytes(self._fetch(url), "the picture or video")
        except Problem as problem:
            problem.param = problem.param or param
            raise
        raise Problem(
            400, "expected a data URL (data:image/png;base64,… or data:video/mp4;base64,…), "
            "upload:ID of an upload, or an https address where fetching is allowed; files of the "
            "server are never read", param=param,
        )  # fmt: skip


def _decoded(url: str) -> bytes:
    """Return the bytes of a data URL."""
    head = _DATA.match(url[:256])
    if head is None:
        raise Problem(400, "the data URL is malformed; expected data:image/png;base64,…")
    kind = (head["type"] or "").lower()
    if not kind.startswith(("image/", "video/")):
        raise Problem(
            415, f"the data URL is of type {kind[:60] or 'text/plain'}; expected image/… or video/…"
        )
    if not head["base64"]:
        raise Problem(400, "the data URL is not base64; expected data:image/png;base64,…")
    try:
        data = base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, "the data URL's base64 is malformed") from None
    if not data:
        raise Problem(400, "the data URL is empty; expected a picture or video")
    return data
