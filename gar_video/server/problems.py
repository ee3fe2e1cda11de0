"""What goes wrong, as OpenAI's error object: a sentence that says what to do, and no paths."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from gar_video.errors import (
    Cancelled,
    DeviceError,
    GARVideoError,
    PromptError,
    TracksError,
    VideoError,
)

_log = logging.getLogger(__name__)

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "unprocessable_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "unavailable_error",
}
_CODES = {
    400: "malformed",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "unprocessable",
    429: "too_many_requests",
    500: "internal",
    503: "unavailable",
}
# By what the caller can mend. What is not listed is malformed.
_STATUS: tuple[tuple[type[GARVideoError], int], ...] = (
    (PromptError, 400),
    (VideoError, 422),
    (TracksError, 422),
    (DeviceError, 503),
    (Cancelled, 503),
)
_FOLDERS = re.compile(r"(?<![\w:/.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\",;:()]+[/\\])+")


class ErrorDetails(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """OpenAI's error object."""

    error: ErrorDetails


_MEANINGS = {
    400: "malformed", 401: "no token, or a wrong one", 404: "not there", 413: "too large",
    415: "of another type", 422: "cannot be decoded, or contradicts itself",
    429: "too many requests", 503: "being stopped, out of memory, or too late",
}  # fmt: skip
#: For the schema.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text} for status, text in _MEANINGS.items()
}


class Problem(HTTPException):
    """A request that cannot be answered, and why.

    Args:
        status: The HTTP status.
        message: What was given, what was expected and what to do.
        param: The field of the request that is meant.
        code: A word that programs can tell problems by.
        retry_after: Seconds after which trying again may help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = without_paths(message)
        self.param = param
        self.code = code or _CODES.get(status, "error")
        headers = {}
        if retry_after is not None:
            headers["Retry-After"] = str(max(1, round(retry_after)))
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, detail=self.message, headers=headers or None)

    def body(self) -> dict[str, Any]:
        """Return OpenAI's error object."""
        kind = KINDS.get(self.status_code, "server_error")
        return {
            "error": {
                "message": self.message, "type": kind, "param": self.param, "code": self.code,
            }
        }  # fmt: skip

    def response(self) -> JSONResponse:
        """Return the response that says so."""
        return JSONResponse(self.body(), self.status_code, headers=dict(self.headers or {}))


def _status_of(error: GARVideoError) -> int:
    from gar_video.server.decoding_child import TooLargeError

    if isinstance(error, TooLargeError):
        return 413
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 400)


def as_problem(error: Exception, param: str | None = None) -> Problem:
    """Return the Problem that an error of this package, or an unforeseen one, is to a caller."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, GARVideoError):
        status = _status_of(error)
        retry_after = 5.0 if status == 503 else None
        return Problem(status, str(error), param=param, retry_after=retry_after)
    _log.error("a request failed by a fault of the server", exc_info=error)
    return Problem(500, "the server failed at this; its log says why")


def without_paths(text: str) -> str:
    """Take the folders out of a message: file names are the caller's, folders are ours."""
    return _FOLDERS.sub("", " ".join(text.split()))


def install(app: FastAPI) -> None:
    """Make an application answer every error in this form."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> JSONResponse:
        return error.response()

    @app.exception_handler(GARVideoError)
    async def _ours(_: Request, error: GARVideoError) -> JSONResponse:
        return as_problem(error).response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _of_validation(error.errors()).response()

    @app.exception_handler(StarletteHTTPException)
    async def _http(request: Request, error: StarletteHTTPException) -> JSONResponse:
        said = {
            400: "the body is no JSON object that can be read; expected what /docs shows",
            404: "there is nothing at this address; /docs lists what there is",
            405: f"this address does not take {request.method}; /docs lists what it takes",
        }
        problem = Problem(error.status_code, said.get(error.status_code, str(error.detail)))
        problem.headers = {**(problem.headers or {}), **(error.headers or {})} or None
        return problem.response()

    @app.exception_handler(Exception)
    async def _fault(_: Request, error: Exception) -> JSONResponse:
        return as_problem(error).response()


def _of_validation(errors: Any) -> Problem:
    """Return the first of the errors that a body's check found."""
    first: Mapping[str, Any] = next(iter(errors), {})
    place = [str(part) for part in first.get("loc", ()) if part not in ("body", "query", "path")]
    name = ".".join(place)[:120] or None
    kind = str(first.get("type", ""))
    said = str(first.get("msg", "malformed")).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        said = "this field is not known; /docs lists the fields"
    elif kind.startswith("json"):
        said = "the body is no JSON; expected a JSON object"
        name = None
    where = f"{name}: " if name else ""
    return Problem(400, f"{where}{said[:300]}", param=name)
