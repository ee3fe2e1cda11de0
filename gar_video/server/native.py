"""The native interface: ``/v1/videos``, ``/v1/tracks`` and ``/v1/answers``."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from gar_video.objects import check_ids
from gar_video.prompt import DESCRIBE
from gar_video.server.chat import TheService
from gar_video.server.clips import find_in_folders
from gar_video.server.native_schema import AskedFor, NewTracks, NewVideo
from gar_video.server.planning import Turn
from gar_video.server.problems import Problem
from gar_video.server.row import Wish
from gar_video.server.service import Service
from gar_video.server.subject import Reply, Subject
from gar_video.server.track_sets import TrackSet, as_file
from gar_video.server.uploads import Upload
from gar_video.server.waiting import CallerGone, while_connected

router = APIRouter(prefix="/v1", tags=["native"])

_AT_ONCE = 16  # questions of one request that wait for the model together

_OCTETS = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


# ---------------------------------------------------------------- videos


@router.post("/videos", status_code=201)
async def begin_video(body: NewVideo, request: Request, service: TheService) -> dict[str, Any]:
    """Announce a video to upload in pieces, or refer to a file in an allowed folder."""
    caller = request.state.caller
    if body.path is not None:
        path = await service.in_thread(find_in_folders, body.path, service.settings.folders)
        clip = await service.in_thread(service.clips.of_file, path, path.name)
        return _told(service.uploads.refer(caller, clip))
    assert body.bytes is not None
    name = "".join(char for char in body.name if char.isprintable()) or "video"
    return _told(service.uploads.begin(caller, name, body.bytes, body.sha256))


@router.get("/videos/{video_id}")
async def get_video(video_id: str, request: Request, service: TheService) -> dict[str, Any]:
    """Tell how much of a video has come, and what it is; to resume, go on from its offset."""
    return _told(service.uploads.get(video_id, request.state.caller))


@router.patch("/videos/{video_id}", openapi_extra=_OCTETS)
async def send_piece(
    video_id: str,
    request: Request,
    service: TheService,
    upload_offset: Annotated[int, Header(ge=0, lt=2**63, description="where the piece begins")],
) -> dict[str, Any]:
    """Send the next piece of a video. The last one opens it; what is no video is removed."""
    upload = service.uploads.get(video_id, request.state.caller)
    piece = await request.body()
    await service.in_thread(service.uploads.append, upload, upload_offset, piece)
    return _told(upload)


@router.delete("/videos/{video_id}")
async def delete_video(video_id: str, request: Request, service: TheService) -> dict[str, Any]:
    """Remove a video."""
    upload = service.uploads.get(video_id, request.state.caller)
    await service.in_thread(service.uploads.remove, upload)
    return {"id": upload.id, "object": "video", "deleted": True}


def _told(upload: Upload) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": upload.id, "object": "video", "created": upload.created, "name": upload.name,
        "status": "ready" if upload.clip else "uploading", "offset": upload.offset,
        "bytes": upload.size,
        "expires_in_s": max(0, round(upload.expires - time.monotonic())),
    }  # fmt: skip
    if upload.clip is not None:
        video = upload.clip.video
        told.update(
            width=video.width, height=video.height, frames=len(video), fps=float(video.fps),
            duration_s=video.duration_s, is_image=video.is_image,
        )  # fmt: skip
    return told


# ---------------------------------------------------------------- tracks


@router.post("/tracks", status_code=202)
async def begin_tracks(body: NewTracks, request: Request, service: TheService) -> dict[str, Any]:
    """Begin to follow objects through a video."""
    caller = request.state.caller
    clip = service.uploads.clip(body.video, caller)
    pointed = await service.point(clip, body.regions, follow=body.track)
    made = service.track_sets.add(caller, clip)
    try:
        if pointed.needs_tracker:
            made.following = service.tracking.ask(pointed)
        else:
            made.ready = await service.in_thread(service.tracking.make, pointed)
    except BaseException:
        service.track_sets.remove(made, service.tracking)
        raise
    return made.state()


@router.get("/tracks/{tracks_id}")
async def get_tracks(tracks_id: str, request: Request, service: TheService) -> dict[str, Any]:
    """Tell how far following has come, and of the objects when it is done."""
    return service.track_sets.get(tracks_id, request.state.caller).state()


@router.get("/tracks/{tracks_id}/events", response_model=None)
async def watch_tracks(tracks_id: str, request: Request, service: TheService) -> Response:
    """Tell as server-sent events how following comes along; the last one has its end."""
    found = service.track_sets.get(tracks_id, request.state.caller)
    return StreamingResponse(_progress(found), media_type="text/event-stream")


async def _progress(tracks: TrackSet) -> AsyncIterator[str]:
    told, quiet = None, 0
    while not tracks.is_done:
        state = tracks.state()
        if state != told:
            yield f"data: {json.dumps(state)}\n\n"
            told, quiet = state, 0
        elif quiet >= 100:
            yield ": waiting\n\n"
            quiet = 0
        quiet += 1
        await asyncio.sleep(0.1)
    yield f"event: end\ndata: {json.dumps(tracks.state())}\n\n"


@router.get("/tracks/{tracks_id}/file", response_model=None)
async def get_tracks_file(
    tracks_id: str,
    request: Request,
    service: TheService,
    format: Annotated[str, Query(max_length=40)] = "json",
) -> Response:
    """Return tracks in one of the formats that other tools read; folders come zipped."""
    tracks = service.track_sets.get(tracks_id, request.state.caller).tracks
    data, name, kind = await service.in_thread(as_file, tracks, format)
    return Response(
        data, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@router.delete("/tracks/{tracks_id}")
async def delete_tracks(tracks_id: str, request: Request, service: TheService) -> dict[str, Any]:
    """Remove tracks; what still follows them is stopped."""
    found = service.track_sets.get(tracks_id, request.state.caller)
    service.track_sets.remove(found, service.tracking)
    return {"id": found.id, "object": "tracks", "deleted": True}


# ---------------------------------------------------------------- answers


@router.post("/answers", response_model=None)
async def answer(body: AskedFor, request: Request, service: TheService) -> Response:
    """Describe objects, answer questions, choose between options, or make a timeline."""
    try:
        told = await while_connected(request, _answer(body, request.state.caller, service))
    except CallerGone:
        return Response(status_code=503)
    return JSONResponse(told)


async def _answer(body: AskedFor, caller: str, service: Service) -> dict[str, Any]:
    limits = service.limits
    texts = [*body.questions, *(option for options in body.options for option in options)]
    if len(body.questions) > limits.questions or sum(map(len, texts)) > limits.prompt_chars:
        raise Problem(
            413, f"expected at most {limits.questions} questions and {limits.prompt_chars} "
            "characters in all", param="questions",
        )  # fmt: skip
    wish = Wish(
        body.max_tokens or min(256, limits.new_tokens), body.temperature, body.top_p, body.seed
    )
    if wish.max_tokens > limits.new_tokens:
        raise Problem(400, f"max_tokens is {wish.max_tokens}; expected at most "
                      f"{limits.new_tokens}", param="max_tokens")  # fmt: skip
    with service.admitted():
        subject = await _subject(body, caller, service)
        deadline = service.deadline()
        if body.task == "timeline":
            made = await _timeline(body, subject, wish, service)
            return {"object": "timeline", "timeline": made}
        if body.task == "choose":
            asked = list(zip(body.questions, map(tuple, body.options), strict=True))
            choices = await service.choose(subject, asked, body.by, deadline)
            return {"object": "answers", "answers": [choice.to_dict() for choice in choices]}
        turns = [(subject, question) for question in body.questions]
        if body.task == "describe":
            turns = _to_describe(body, subject)
        replies: list[Reply] = []
        for first in range(0, len(turns), _AT_ONCE):
            some = turns[first : first + _AT_ONCE]
            replies += await asyncio.gather(
                *(_ask(service, about, text, wish, deadline) for about, text in some)
            )
    return {"object": "answers", "answers": [reply.answer.to_dict() for reply in replies]}


async def _ask(
    service: Service, subject: Subject, question: str, wish: Wish, deadline: float
) -> Reply:
    plan = await service.plan(subject, [Turn("user", question)], wish.max_tokens)
    return await service.reply(plan, question, wish, deadline)


async def _subject(body: AskedFor, caller: str, service: Service) -> Subject:
    time_s = None if body.time is None else (body.time[0], body.time[1])
    if body.tracks is not None:
        found = service.track_sets.get(body.tracks, caller)
        return Subject(found.clip, found.tracks, body.frames, time_s)
    if body.video is not None:
        clip = service.uploads.clip(body.video, caller)
    else:
        clip = await service.in_thread(service.media.open, body.url or "", caller, "url")
    tracks = await service.tracks_of(clip, body.regions, follow=body.track)
    return Subject(clip, tracks, body.frames, time_s)


def _objects(body: AskedFor, subject: Subject) -> Sequence[int]:
    """Return which objects a request is about.

    Raises:
        Problem: 400 if there are none.
        PromptError: If one is unknown.
    """
    if subject.tracks is None:
        raise Problem(400, f"task {body.task} needs objects; give regions or tracks",
                      param="regions")  # fmt: skip
    ids = subject.tracks.object_ids if body.objects is None else tuple(body.objects)
    check_ids(subject.tracks, ids)
    return ids


def _to_describe(body: AskedFor, subject: Subject) -> list[tuple[Subject, str]]:
    ids = _objects(body, subject)
    assert subject.tracks is not None
    return [
        (Subject(subject.clip, subject.tracks.subset([i]), subject.frames, subject.time), DESCRIBE)
        for i in ids
    ]


async def _timeline(
    body: AskedFor, subject: Subject, wish: Wish, service: Service
) -> dict[str, Any]:
    ids = _objects(body, subject)
    if body.frames is not None and not isinstance(body.frames, int):
        raise Problem(400, "frames of a timeline are how many to look at", param="frames")
    frames = body.frames

    def make(is_over: Any, serve_others: Any) -> dict[str, Any]:
        assert subject.tracks is not None
        made = service.engine.gar.timeline(
            subject.clip.video, subject.tracks, every_s=body.every_s, objects=ids,
            question=body.questions[0] if body.questions else None, frames=frames,
            time=subject.time, progress=lambda done, total: serve_others(), cancel=is_over,
            max_new_tokens=wish.max_tokens, temperature=wish.temperature, top_p=wish.top_p,
            seed=wish.seed,
        )  # fmt: skip
        return made.to_dict()

    return await service.call(make, time.monotonic() + service.limits.track_s)
