"""A client of ``gar-video serve``: upload, point, follow, ask; answers as the pipeline gives them.

Example:
    ```python
    with Client("http://127.0.0.1:8000") as client:
        video = client.upload("clip.mp4")
        tracks = client.track(video, [Box(0, (3, 73, 74, 144), 1)])
        print(client.ask("What color is <1>?", tracks=tracks).text)
    ```
"""

from __future__ import annotations

import hashlib
import json
import os
import time as time_
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gar_video.answer import Answer, Choice
from gar_video.errors import GARVideoError, TracksError, VideoError
from gar_video.visual_prompts import Box, Mask, Points, VisualPrompt

if TYPE_CHECKING:
    from gar_video.timeline import Timeline
    from gar_video.tracks import Tracks

_PIECE = 8 * 2**20
_RETRIED = (429, 503)


class ServerError(GARVideoError):
    """The server refused or failed.

    Attributes:
        status: The HTTP status.
        param: The field of the request that is meant.
        code: A word that programs can tell problems by.
    """

    def __init__(self, status: int, message: str, param: str | None, code: str | None) -> None:
        self.status, self.param, self.code = status, param, code
        super().__init__(message)


@dataclass(frozen=True)
class RemoteVideo:
    """A video that the server has.

    Attributes:
        id: What the server calls it.
        resolution_wh: ``(width, height)`` in pixels.
        num_frames: Frames.
        duration_s: Seconds.
    """

    id: str
    resolution_wh: tuple[int, int]
    num_frames: int
    duration_s: float


@dataclass(frozen=True)
class RemoteTracks:
    """Tracks that the server has.

    Attributes:
        id: What the server calls them.
        video: Their video.
        object_ids: Their objects.
    """

    id: str
    video: RemoteVideo
    object_ids: tuple[int, ...]


class Client:
    """Asks a server.

    Args:
        url: Where it is, such as ``http://127.0.0.1:8000``.
        token: Its token; ``GAR_VIDEO_TOKEN`` of the environment by default.
        timeout_s: Seconds that an answer may take.
        retries: How often a request is repeated that the server had no room for.
        transport: An ``httpx`` transport in place of the network's.

    Raises:
        GARVideoError: If ``httpx`` is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 300.0,
        retries: int = 3,
        transport: Any = None,
    ) -> None:
        try:
            import httpx
        except ImportError:
            raise GARVideoError(
                "the client needs httpx; install it with pip install 'gar-video[serve]'"
            ) from None
        token = os.environ.get("GAR_VIDEO_TOKEN") if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._errors = (httpx.TransportError, httpx.InvalidURL)
        self._retries = retries
        self._http = httpx.Client(
            base_url=url.rstrip("/"), headers=headers, timeout=timeout_s, transport=transport
        )

    def __enter__(self) -> Client:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # ---------------------------------------------------------------- videos and tracks

    def upload(
        self,
        path: str | os.PathLike[str],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> RemoteVideo:
        """Upload a video or picture, in pieces; a piece that got lost is sent again.

        Args:
            path: The file.
            progress: Called with (bytes sent, bytes in all).

        Raises:
            VideoError: If there is no such file.
            ServerError: If the server refuses it.
        """
        file = Path(path)
        if not file.is_file():
            raise VideoError(f"{file} is no file; expected a video or picture to upload")
        size = file.stat().st_size
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256") if hasattr(hashlib, "file_digest") else (
                hashlib.sha256(opened.read())
            )  # fmt: skip
            body = {"bytes": size, "sha256": digest.hexdigest(), "name": file.name[:200]}
            told = self._json("POST", "/v1/videos", json=body)
            while told["status"] != "ready":
                opened.seek(told["offset"])
                told = self._send(told["id"], told["offset"], opened.read(_PIECE))
                if progress is not None:
                    progress(told["offset"], size)
        return _video(told)

    def refer(self, path: str) -> RemoteVideo:
        """Refer to a file that lies in one of the server's allowed folders.

        Args:
            path: Relative to such a folder.

        Raises:
            ServerError: If it is not there.
        """
        return _video(self._json("POST", "/v1/videos", json={"path": path}))

    def _send(self, video_id: str, offset: int, piece: bytes) -> dict[str, Any]:
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
        address = f"/v1/videos/{video_id}"
        try:
            return self._json("PATCH", address, content=piece, headers=headers)
        except ServerError as error:
            if error.code != "offset_mismatch":
                raise
            return self._json("GET", address)  # it had come all the same

    def delete(self, what: RemoteVideo | RemoteTracks) -> None:
        """Remove a video or tracks from the server."""
        kind = "videos" if isinstance(what, RemoteVideo) else "tracks"
        self._json("DELETE", f"/v1/{kind}/{what.id}")

    def track(
        self,
        video: RemoteVideo,
        prompts: Sequence[VisualPrompt],
        *,
        follow: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> RemoteTracks:
        """Follow objects through a video.

        Args:
            video: The video.
            prompts: Boxes, points and masks.
            follow: Follow them with SAM 2, instead of taking them on their frames alone.
            progress: Called with (frames done, frames in all).

        Raises:
            ServerError: If the server refuses, or following fails.
        """
        body = {
            "video": video.id, "track": follow,
            "regions": [region_of(prompt) for prompt in prompts],
        }  # fmt: skip
        told = self._json("POST", "/v1/tracks", json=body)
        for event in self._events(f"/v1/tracks/{told['id']}/events"):
            told = event
            if progress is not None and told["frames_total"]:
                progress(told["frames_done"], told["frames_total"])
        if told["error"] is not None:
            raise _error(503, told)
        ids = tuple(entry["id"] for entry in told["objects"])
        return RemoteTracks(told["id"], video, ids)

    def fetch_tracks(self, tracks: RemoteTracks) -> Tracks:
        """Return tracks as ``Tracks``.

        Raises:
            ServerError: If the server does not have them any more.
        """
        import tempfile

        from gar_video.tracks import Tracks

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "tracks.json"
            target.write_bytes(self.tracks_file(tracks, "json"))
            return Tracks.load(target, format="json")

    def tracks_file(self, tracks: RemoteTracks, format: str = "json") -> bytes:
        """Return tracks as a file's bytes, in any format that can be written; folders zipped.

        Raises:
            ServerError: If there is no such format.
        """
        address = f"/v1/tracks/{tracks.id}/file"
        content: bytes = self._request("GET", address, params={"format": format}).content
        return content

    # ---------------------------------------------------------------- answers

    def describe(self, tracks: RemoteTracks, **more: Any) -> list[Answer]:
        """Describe objects, each on its own; ``more`` as ``/v1/answers`` takes it."""
        told = self._answers("describe", tracks, more)
        return [Answer.from_dict(one) for one in told["answers"]]

    def ask(
        self, question: str, *, tracks: RemoteTracks | None = None,
        video: RemoteVideo | None = None, **more: Any,
    ) -> Answer:  # fmt: skip
        """Ask one question; objects are ``<ID>`` in it."""
        return self.ask_many([question], tracks=tracks, video=video, **more)[0]

    def ask_many(
        self, questions: Sequence[str], *, tracks: RemoteTracks | None = None,
        video: RemoteVideo | None = None, **more: Any,
    ) -> list[Answer]:  # fmt: skip
        """Ask questions about a clip.

        Args:
            questions: Objects are ``<ID>``.
            tracks: Where objects are; they know their video.
            video: A video to ask about without objects.
            **more: Further fields of ``/v1/answers``, such as ``max_tokens``, ``frames``, ``time``.

        Raises:
            ServerError: If the server refuses.
        """
        told = self._answers("ask", tracks or video, {"questions": list(questions), **more})
        return [Answer.from_dict(one) for one in told["answers"]]

    def choose(
        self, question: str, options: Sequence[str], *, tracks: RemoteTracks | None = None,
        video: RemoteVideo | None = None, **more: Any,
    ) -> Choice:  # fmt: skip
        """Choose between options."""
        asked = {"questions": [question], "options": [list(options)], **more}
        told = self._answers("choose", tracks or video, asked)
        return Choice.from_dict(told["answers"][0])

    def timeline(self, tracks: RemoteTracks, **more: Any) -> Timeline:
        """Describe objects over time."""
        from gar_video.timeline import Timeline

        return Timeline.from_dict(self._answers("timeline", tracks, more)["timeline"])

    def _answers(
        self, task: str, about: RemoteTracks | RemoteVideo | None, more: dict[str, Any]
    ) -> dict[str, Any]:
        if about is None:
            raise TracksError("neither tracks nor video is given; expected what to ask about")
        named = {"tracks" if isinstance(about, RemoteTracks) else "video": about.id}
        return self._json("POST", "/v1/answers", json={"task": task, **named, **more})

    # ---------------------------------------------------------------- the wire

    def _json(self, method: str, address: str, **more: Any) -> dict[str, Any]:
        told: dict[str, Any] = self._request(method, address, **more).json()
        return told

    def _request(self, method: str, address: str, **more: Any) -> Any:
        for left in range(self._retries, -1, -1):
            try:
                answer = self._http.request(method, address, **more)
            except self._errors as error:
                raise self._unreachable(error) from None
            if answer.status_code < 400:
                return answer
            if left == 0 or answer.status_code not in _RETRIED:
                break
            time_.sleep(min(30.0, float(answer.headers.get("Retry-After", "1"))))
        try:
            body = answer.json()
        except ValueError:
            body = {}
        raise _error(answer.status_code, body)

    def _events(self, address: str) -> Iterator[dict[str, Any]]:
        try:
            with self._http.stream("GET", address) as stream:
                if stream.status_code >= 400:
                    raise _error(stream.status_code, json.loads(stream.read()))
                for line in stream.iter_lines():
                    if line.startswith("data: "):
                        yield json.loads(line[6:])
        except self._errors as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> ServerError:
        return ServerError(
            503, f"{self._http.base_url} cannot be reached ({error}); is gar-video serve running "
            "there?", None, "unreachable",
        )  # fmt: skip


def region_of(prompt: VisualPrompt) -> dict[str, Any]:
    """Return a prompt as an entry of ``regions``, as the server takes it."""
    region: dict[str, Any] = {"id": prompt.object_id, "frame": prompt.frame}
    if isinstance(prompt, Box):
        region["box"] = list(prompt.xyxy)
    elif isinstance(prompt, Points):
        labels = prompt.labels or [1] * len(prompt.xy)
        region["points"] = [[x, y, n] for (x, y), n in zip(prompt.xy, labels, strict=True)]
    elif isinstance(prompt, Mask):
        from gar_video import masks

        region["rle"] = dict(masks.encode(prompt.mask))
    return region


def _video(told: dict[str, Any]) -> RemoteVideo:
    size = (int(told["width"]), int(told["height"]))
    return RemoteVideo(told["id"], size, int(told["frames"]), float(told["duration_s"]))


def _error(status: int, body: Any) -> ServerError:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return ServerError(status, f"the server answers with status {status}", None, None)
    said = str(error.get("message") or f"the server answers with status {status}")
    return ServerError(status, said, error.get("param"), error.get("code"))
