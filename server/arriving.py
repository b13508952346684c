"""What every request goes through before it is read: its id, whether its sender may ask, and how much it may send."""

import asyncio
import re

from fastapi import Request

from server.access.caller import Caller
from server.access.guard import Guard, refuse_others
from server.errors import RequestError
from server.settings.server import ServerSettings
from server.store.records import new_id

MAX_LENGTH_DIGITS = 19
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def request_id_of(request: Request) -> str:
    """The client's own `x-request-id` where it is a plain one, else a new one."""
    given = request.headers.get("x-request-id", "")
    if REQUEST_ID.fullmatch(given):
        return given
    made: str = request.scope.setdefault("smallfirst.request_id", new_id())
    return made


async def caller_of(request: Request) -> Caller:
    """Who sent the request. Raises RequestError where its sender may not ask."""
    guard: Guard = request.app.state.guard
    return await guard.caller(request.headers)


async def operator_of(request: Request) -> Caller:
    """The same, for what is for operators alone."""
    return refuse_others(await caller_of(request))


async def read_body(request: Request, server: ServerSettings, *, most: int | None = None) -> bytes:
    """The body of a JSON request, of `most` bytes. Raises RequestError where it is another kind, too large, or too long
    in coming."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError("content-type: send the body as application/json", status=415)
    limit = min(server.max_body_bytes, most or server.max_body_bytes)
    too_large = RequestError(f"the body is larger than {limit} bytes", status=413, code="request_too_large")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > MAX_LENGTH_DIGITS or int(length) > limit):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(server.body_s):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise too_large
    except TimeoutError as late:
        raise RequestError(f"the body did not come within {server.body_s:g} s", status=408) from late
    return bytes(body)
