"""``/v1/chat/completions`` and ``/v1/models``, as OpenAI's."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from gar_video.answer import Answer, Choice
from gar_video.server.chat_schema import (
    ChatMessage,
    ChatRequest,
    ChoiceFormat,
    ImagePart,
    SchemaFormat,
    TextPart,
    VideoPart,
)
from gar_video.server.planning import Plan, Turn, check_turns
from gar_video.server.problems import Problem, as_problem
from gar_video.server.row import Piece, TokenChance, Wish
from gar_video.server.service import Service
from gar_video.server.subject import Reply, Subject
from gar_video.server.waiting import CallerGone, while_connected

router = APIRouter(prefix="/v1", tags=["as OpenAI's"])


def service_of(request: Request) -> Service:
    """Return the house behind the addresses."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


@dataclass(frozen=True)
class Conversation:
    """What a request's messages amount to.

    Attributes:
        url: Its picture or video.
        param: The field that named it.
        turns: What was said, in turn.
    """

    url: str
    param: str
    turns: tuple[Turn, ...]


def read_messages(messages: Sequence[ChatMessage], max_chars: int, max_turns: int) -> Conversation:
    """Read a request's messages.

    What the system says stands before the user's first words: the checkpoint's template has a
    system message of its own, which belongs to the encoded clip.

    Raises:
        Problem: 400 if turns do not alternate, there is no picture or video, or several; 413 if
            the text is too long.
    """
    if len(messages) > max_turns:
        raise Problem(413, f"{len(messages)} messages; expected at most {max_turns}",
                      param="messages")  # fmt: skip
    urls: dict[str, str] = {}
    turns: list[Turn] = []
    system: list[str] = []
    for number, message in enumerate(messages):
        text = _words(message, number, urls)
        if message.role in ("system", "developer"):
            if turns:
                raise Problem(400, "a system message stands after the first turn; expected it "
                              "first", param=f"messages.{number}")  # fmt: skip
            system.append(text)
        elif turns and turns[-1].role == message.role == "user":
            turns[-1] = Turn("user", f"{turns[-1].text}\n{text}")
        else:
            turns.append(Turn(message.role, text))
    if sum(len(turn.text) for turn in turns) + sum(map(len, system)) > max_chars:
        raise Problem(413, f"the text has more than {max_chars} characters", param="messages")
    if turns and any(part.strip() for part in system):
        turns[0] = Turn(turns[0].role, "\n".join([*system, turns[0].text]))
    check_turns(turns)
    if len(urls) != 1:
        given = "no picture or video" if not urls else f"{len(urls)} pictures or videos"
        raise Problem(
            400, f"{given} in the conversation; expected one, as a part of type image_url or "
            "video_url", param="messages",
        )  # fmt: skip
    [(url, param)] = urls.items()
    return Conversation(url, param, tuple(turns))


def _words(message: ChatMessage, number: int, urls: dict[str, str]) -> str:
    """Return a message's words; notes its pictures and videos."""
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    words = []
    for place, part in enumerate(message.content):
        param = f"messages.{number}.content.{place}"
        if isinstance(part, TextPart):
            words.append(part.text)
        elif message.role != "user":
            raise Problem(400, "only the user's messages have pictures", param=param)
        elif isinstance(part, ImagePart):
            urls.setdefault(part.image_url.url, f"{param}.image_url.url")
        elif isinstance(part, VideoPart):
            urls.setdefault(part.video_url.url, f"{param}.video_url.url")
    return "\n".join(words)


def read_wish(body: ChatRequest, max_tokens: int) -> Wish:
    """Return how a request's answer is to be generated.

    Raises:
        Problem: 400 if the answer would be longer than allowed.
    """
    tokens = body.max_completion_tokens or body.max_tokens or min(256, max_tokens)
    if tokens > max_tokens:
        raise Problem(
            400, f"max_tokens is {tokens}; expected at most {max_tokens}", param="max_tokens"
        )
    if body.top_logprobs and not body.logprobs:
        raise Problem(400, "top_logprobs needs logprobs: true", param="top_logprobs")
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    return Wish(
        max_tokens=tokens,
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=body.seed,
        stop=stop,
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
    )


@router.get("/models")
async def list_models(service: TheService) -> dict[str, Any]:
    """List the checkpoint that answers."""
    return {"object": "list", "data": [_model(service)]}


@router.get("/models/{name:path}")
async def get_model(name: str, service: TheService) -> dict[str, Any]:
    """Tell of the checkpoint that answers."""
    check_model(name, service)
    return _model(service)


def _model(service: Service) -> dict[str, Any]:
    return {"id": service.model, "object": "model", "created": 0, "owned_by": "gar-video"}


def check_model(name: str, service: Service) -> None:
    """Refuse other checkpoints than the one that answers.

    Raises:
        Problem: 404 so.
    """
    if name != service.model:
        raise Problem(
            404, f"this server has the model {service.model!r}; ask for that one", param="model",
            code="model_not_found",
        )  # fmt: skip


@router.post("/chat/completions", response_model=None)
async def complete(body: ChatRequest, request: Request, service: TheService) -> Response:
    """Answer the last message of a conversation about a picture or a video."""
    answering = _Answering(body, request.state.caller, service)
    try:
        if not body.stream:
            return await while_connected(request, answering.whole())
        stream = answering.streamed()
        # The first event is awaited, so that what fails has a status of its own.
        first = await while_connected(request, _next(stream))
    except CallerGone:
        return Response(status_code=503)
    return StreamingResponse(_rest(first, stream), media_type="text/event-stream")


async def _next(stream: AsyncIterator[str]) -> str:
    return await anext(stream)


async def _rest(first: str, stream: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    # Closed at once when the caller goes away, not when garbage is collected.
    async with contextlib.aclosing(stream):
        yield first
        async for event in stream:
            yield event


class _Answering:
    """One request's answer, whole or in pieces."""

    def __init__(self, body: ChatRequest, caller: str, service: Service) -> None:
        self._body, self._caller, self._service = body, caller, service
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())

    def _read(self) -> tuple[Conversation, Wish]:
        limits = self._service.limits
        check_model(self._body.model, self._service)
        conversation = read_messages(self._body.messages, limits.prompt_chars, limits.messages)
        return conversation, read_wish(self._body, limits.new_tokens)

    async def _subject(self, conversation: Conversation) -> Subject:
        service, body = self._service, self._body
        clip = await service.in_thread(
            service.media.open, conversation.url, self._caller, conversation.param
        )
        tracks = await service.tracks_of(clip, body.regions, follow=body.track)
        time_s = None if body.time is None else (body.time[0], body.time[1])
        return Subject(clip, tracks, body.frames, time_s)

    async def whole(self) -> Response:
        conversation, wish = self._read()
        with self._service.admitted():
            subject = await self._subject(conversation)
            deadline = self._service.deadline()  # following objects has a limit of its own
            if _options(self._body) is not None:
                return JSONResponse(await self._chosen(conversation, subject, deadline))
            plan = await self._service.plan(subject, conversation.turns, wish.max_tokens)
            question = conversation.turns[-1].text
            reply = await self._service.reply(plan, question, wish, deadline)
        message = {"role": "assistant", "content": reply.answer.text, "refusal": None}
        choice = {
            "index": 0, "message": message, "logprobs": self._logprobs(reply.chances, wish),
            "finish_reason": _reason(reply.answer), "gar_video": evidence(reply.answer),
        }  # fmt: skip
        return JSONResponse(self._object("chat.completion", [choice], usage=_usage(reply)))

    async def streamed(self) -> AsyncGenerator[str, None]:
        """Yield server-sent events; a failure after the first one is an event itself."""
        conversation, wish = self._read()
        if _options(self._body) is not None:
            raise Problem(400, "options are scored, not generated; ask without stream: true",
                          param="stream")  # fmt: skip
        with self._service.admitted():
            subject = await self._subject(conversation)
            deadline = self._service.deadline()  # following objects has a limit of its own
            plan = await self._service.plan(subject, conversation.turns, wish.max_tokens)
            began = False
            events = self._events(plan, conversation, wish, deadline)
            try:
                async with contextlib.aclosing(events):
                    async for event in events:
                        yield _event(event)
                        began = True
            except Exception as error:
                if not began:
                    raise
                yield _event(as_problem(error).body())
            else:
                yield "data: [DONE]\n\n"

    async def _events(
        self, plan: Plan, conversation: Conversation, wish: Wish, deadline: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        delta: dict[str, Any] = {"role": "assistant", "content": ""}
        question = conversation.turns[-1].text
        pieces = self._service.stream(plan, question, wish, deadline)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Piece):
                    delta["content"] = piece.text
                    yield self._chunk(delta, self._logprobs(piece.chances, wish))
                    delta = {}
                    continue
                end = {"gar_video": evidence(piece.answer)}
                yield self._chunk(delta, None, _reason(piece.answer), **end)
                options = self._body.stream_options
                if options is not None and options.include_usage:
                    yield self._object("chat.completion.chunk", [], usage=_usage(piece))

    async def _chosen(
        self, conversation: Conversation, subject: Subject, deadline: float
    ) -> dict[str, Any]:
        options, by = _options(self._body) or ((), None)
        if len(conversation.turns) > 1:
            raise Problem(400, "options are scored for a first question, not in a conversation",
                          param="response_format")  # fmt: skip
        question = (conversation.turns[-1].text, options)
        [choice] = await self._service.choose(subject, [question], by, deadline)
        as_json = isinstance(self._body.response_format, SchemaFormat)
        content = json.dumps(choice.text, ensure_ascii=False) if as_json else choice.text
        told = {
            "index": 0, "message": {"role": "assistant", "content": content, "refusal": None},
            "logprobs": None, "finish_reason": "stop", "gar_video": evidence(choice),
        }  # fmt: skip
        return self._object("chat.completion", [told], usage=_usage(None))

    def _object(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": self._id, "object": kind, "created": self._created,
            "model": self._service.model, "choices": choices, **more,
        }  # fmt: skip

    def _chunk(
        self,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None,
        reason: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._object("chat.completion.chunk", [{**choice, **more}])

    def _logprobs(self, chances: Sequence[TokenChance], wish: Wish) -> dict[str, Any] | None:
        if wish.top_logprobs is None:
            return None
        decode = self._service.engine.gar.processor.tokenizer.decode

        def one(token_id: int, logprob: float) -> dict[str, Any]:
            text = str(decode([token_id]))
            # A token that cannot be is told as OpenAI does; JSON has no infinity.
            return {
                "token": text, "logprob": max(logprob, -9999.0), "bytes": list(text.encode())
            }  # fmt: skip

        content = [
            {
                **one(chance.token_id, chance.logprob),
                "top_logprobs": [one(*likely) for likely in chance.likeliest],
            }
            for chance in chances
        ]
        return {"content": content, "refusal": None}


def _options(body: ChatRequest) -> tuple[tuple[str, ...], str | None] | None:
    wanted = body.response_format
    if isinstance(wanted, ChoiceFormat):
        return tuple(wanted.options), wanted.by
    if isinstance(wanted, SchemaFormat):
        return tuple(wanted.json_schema.enum_schema.enum), None
    return None


def evidence(answer: Answer | Choice) -> dict[str, Any]:
    """Return what an answer rests on, and for a choice its probabilities."""
    plain = answer.to_dict()
    dropped = ("text", "token_ids", "question", "model")
    return {key: value for key, value in plain.items() if key not in dropped}


def _reason(answer: Answer) -> str:
    return "length" if answer.finish_reason == "length" else "stop"


def _usage(reply: Reply | None) -> dict[str, Any]:
    read = reply.prompt_tokens if reply else 0
    made = len(reply.answer.token_ids) if reply else 0
    return {
        "prompt_tokens": read,
        "completion_tokens": made,
        "total_tokens": read + made,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens if reply else 0},
    }


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
