"""What every request goes through before it is read: its id, whether its sender may ask, and how much it may send."""

import re
from collections.abc import Callable

from fastapi import Request
from starlette.requests import ClientDisconnect

from server.access.caller import Caller
from server.access.guard import Guard, refuse_others
from server.bodies import Bodies
from server.errors import RequestError
from server.settings.server import ServerSettings
from server.stopping import Deadlines
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


def bodies_of(request: Request) -> Bodies:
    """Those that are being read."""
    bodies: Bodies = request.app.state.bodies
    return bodies


async def read_body(
    request: Request, server: ServerSettings, caller: Caller, *, most: int | None = None
) -> bytes:  # fmt: skip
    """The body of a JSON request, of `most` bytes. Raises RequestError where it is another kind, too large, too long in
    coming, or one of too many."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError("content-type: send the body as application/json", status=415)
    deadlines: Deadlines = request.app.state.deadlines
    limit = min(server.max_body_bytes, most or server.max_body_bytes)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > MAX_LENGTH_DIGITS or int(length) > limit):
        raise too_large(limit)
    try:
        with bodies_of(request).held(caller.id) as more, deadlines.within(server.body_s):
            body = await received(request, limit, more)
    except TimeoutError as late:
        raise RequestError(f"the body did not come within {server.body_s:g} s", status=408) from late
    if body is None:
        raise too_large(limit)
    return body


def too_large(limit: int) -> RequestError:
    """More than so many bytes."""
    return RequestError(f"the body is larger than {limit} bytes", status=413, code="request_too_large")


async def received(request: Request, limit: int, more: Callable[[int], None]) -> bytes | None:
    """The whole body, of which each part is told; None where it is larger. Raises ClientDisconnect."""
    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        if len(body) + len(part) > limit:
            return None
        more(len(part))
        is_whole = not message.get("more_body", False)
        if is_whole and not body:  # it came in one piece, as most do: no copy
            return part
        body += part
        if is_whole:
            return bytes(body)
