"""Waiting for an answer no longer than its caller does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

T = TypeVar("T")


class CallerGone(Exception):  # noqa: N818 - nobody is left to be told
    """The caller closed the connection."""


async def while_connected(request: Request, answer: Coroutine[Any, Any, T]) -> T:
    """Wait for an answer, and give it up when the caller goes away.

    Args:
        request: Whose body has been read.
        answer: Makes the answer; cancelled when nobody waits for it.

    Raises:
        CallerGone: If the caller went away.
    """
    task = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise CallerGone
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
