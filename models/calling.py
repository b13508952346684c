"""One request to an OpenAI-compatible server over HTTP, and its answer. Knows nothing of who else could be asked."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import closing

import orjson

from models.answer import Delta, Finish
from models.chunks import MAX_REPLY_BYTES, Chunks
from models.connection import Connection
from models.endpoint import Endpoint, Limits
from models.errors import BadReply, ModelError, TimedOut
from models.forms import FORMS, form_of
from models.lateness import Lateness
from models.parsing import delta_of, error_of, finish_of
from models.route import Route, route_to
from models.session import Session
from models.wire import JsonObject

OK = 200
MAX_ERROR_BYTES = 64 * 2**10
ERROR_BODY_S = 2.0


class Caller:
    """Calls one endpoint within its limits."""

    def __init__(self, endpoint: Endpoint, session: Session, limits: Limits) -> None:
        self.endpoint = endpoint
        self._session = session
        self._limits = limits
        self._routes: dict[str, Route] = {}

    async def passed(self, path: str, body: JsonObject, request_id: str) -> bytes:
        """The reply to a request that is answered in one piece, as it came. Raises a ModelError."""
        by_s = asyncio.get_running_loop().time() + self._limits.total_s
        with await self._posted(path, body, request_id, by_s) as reply:
            await self._refuse_error(reply, path)
            received = await reply.whole(MAX_REPLY_BYTES)
        if received is None:
            raise BadReply(f"{self.endpoint.name} sent more than {MAX_REPLY_BYTES} bytes")
        return received

    async def _posted(self, path: str, body: JsonObject, request_id: str, by_s: float) -> Connection:
        """The server's answer, up to its body. Raises a ModelError. Leaving it early closes the connection, which stops
        the server's work."""
        route = self._routes.get(path)
        if route is None:
            route = self._routes[path] = route_to(self.endpoint, "POST", path)
        return await self._session.sent(
            route, orjson.dumps(body), {"x-request-id": request_id}, connect_s=self._limits.connect_s, by_s=by_s
        )

    async def _refuse_error(self, reply: Connection, path: str) -> None:
        """Raise the ModelError that an answer other than 200 means."""
        if reply.status != OK:
            raise error_of(reply.status, await error_body(reply), reply.header("retry-after"), path)

    async def whole(self, body: JsonObject, request_id: str) -> tuple[Delta, Finish]:
        """An answer in one piece. Raises a ModelError."""
        form = form_of(body)
        received = await self.passed(FORMS[form].path, body, request_id)
        delta = delta_of(received, time.perf_counter(), form)
        if not delta.pieces:
            raise BadReply(f"{self.endpoint.name} sent a reply without choices")
        return delta, finish_of(delta.reply, streamed=False)

    async def streamed(self, body: JsonObject, request_id: str) -> AsyncGenerator[Delta | Finish]:
        """Deltas, then one finish. Comments keep an answer that has begun alive, and do not begin it. Raises a
        ModelError."""
        limits, loop = self._limits, asyncio.get_running_loop()
        first_by_s, total_by_s = loop.time() + limits.first_token_s, loop.time() + limits.total_s
        form = form_of(body)
        path, chunks = FORMS[form].path, Chunks(self.endpoint.name, form)
        try:
            with await self._posted(path, body, request_id, min(first_by_s, total_by_s)) as reply:
                await self._refuse_error(reply, path)
                reply.limit(None)  # Lateness has the limits from here
                lateness = Lateness(reply, loop, idle_s=limits.idle_s, first_by_s=first_by_s, total_by_s=total_by_s)
                with closing(lateness):
                    while not chunks.ended and (received := await reply.readany()):
                        lateness.came()
                        for delta in chunks.fed(received, time.perf_counter()):
                            yield delta
                        lateness.waits(begun=chunks.begun)
                yield chunks.finish()
        except TimeoutError as late:
            raise TimedOut(f"{self.endpoint.name} took longer than its limits allow") from late


async def error_body(reply: Connection) -> bytes:
    """The body of an error, as far as it comes soon and is of a sane size; the status alone says enough."""
    received = bytearray()
    reply.limit(asyncio.get_running_loop().time() + ERROR_BODY_S)
    with contextlib.suppress(ModelError):
        while len(received) <= MAX_ERROR_BYTES and (part := await reply.readany()):
            received += part
    return bytes(received[:MAX_ERROR_BYTES])
