"""One request to an OpenAI-compatible server over HTTP, and its answer. Knows nothing of who else could be asked."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, closing
from io import BytesIO

import aiohttp
import orjson

from models.answer import Delta, Finish
from models.chunks import MAX_REPLY_BYTES, Chunks
from models.endpoint import Endpoint, Limits
from models.errors import BadReply, Disconnected, NoConnection, TimedOut, Unreachable
from models.forms import FORMS, form_of
from models.lateness import Lateness
from models.parsing import delta_of, error_of, finish_of
from models.wire import JsonObject

MAX_ERROR_BYTES = 64 * 2**10
ERROR_BODY_S = 2.0
MAX_BYTES_AT_ONCE = 2**20


class Caller:
    """Calls one endpoint within its limits."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, limits: Limits) -> None:
        self.endpoint = endpoint
        self._session = session
        self._limits = limits

    def answer(self, body: JsonObject, request_id: str) -> AsyncGenerator[Delta | Finish]:
        """Deltas, then one finish. Raises a ModelError."""
        answered = self._streamed if body.get("stream") else self._whole
        return answered(body, request_id)

    async def passed(self, path: str, body: JsonObject, request_id: str) -> bytes:
        """The reply to a request that is no completion, as it came. Raises a ModelError."""
        async with self._posted(path, body, request_id, None) as reply:
            return await self._received(reply)

    @asynccontextmanager
    async def _posted(
        self, path: str, body: JsonObject, request_id: str, first_by_s: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The server's 200, or a ModelError. Leaving early closes the connection, which stops the server's work."""
        endpoint = self.endpoint
        limits = self._limits
        total_s = limits.total_s if first_by_s is None else None  # Lateness has that of a stream
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=limits.connect_s)
        headers = {**endpoint.headers, "x-request-id": request_id}
        try:
            async with asyncio.timeout_at(first_by_s):
                posted = await self._session.post(
                    f"{endpoint.reached_url}{path}", server_hostname=endpoint.tls_name,
                    data=payload_of(body), headers=headers, timeout=timeout, allow_redirects=False,
                )  # fmt: skip
        except TimeoutError as late:
            raise TimedOut(f"{endpoint.name} took longer than its limits allow") from late
        except aiohttp.ClientConnectorError as failed:
            raise NoConnection(f"{endpoint.name}: {type(failed).__name__}") from failed
        except aiohttp.ClientError as failed:
            raise Disconnected(f"{endpoint.name}: {type(failed).__name__}") from failed
        try:
            async with posted as reply:
                if reply.status != 200:
                    raise error_of(reply.status, await error_body(reply), reply.headers.get("retry-after"), path)
                yield reply
        except TimeoutError as late:
            raise TimedOut(f"{endpoint.name} took longer than its limits allow") from late
        except aiohttp.ClientError as failed:
            raise Unreachable(f"{endpoint.name}: {type(failed).__name__}") from failed

    async def _received(self, reply: aiohttp.ClientResponse) -> bytes:
        received = bytearray()
        async for part in reply.content.iter_any():
            received += part
            if len(received) > MAX_REPLY_BYTES:
                raise BadReply(f"{self.endpoint.name} sent more than {MAX_REPLY_BYTES} bytes")
        return bytes(received)

    async def _whole(self, body: JsonObject, request_id: str) -> AsyncGenerator[Delta | Finish]:
        form = form_of(body)
        async with self._posted(FORMS[form].path, body, request_id, None) as reply:
            delta = delta_of(await self._received(reply), time.perf_counter(), form)
            if not delta.pieces:
                raise BadReply(f"{self.endpoint.name} sent a reply without choices")
            yield delta
            yield finish_of(delta.reply, streamed=False)

    async def _streamed(self, body: JsonObject, request_id: str) -> AsyncGenerator[Delta | Finish]:
        """Comments keep an answer that has begun alive, and do not begin it."""
        form, limits, loop = form_of(body), self._limits, asyncio.get_running_loop()
        first_by_s, total_by_s = loop.time() + limits.first_token_s, loop.time() + limits.total_s
        chunks = Chunks(self.endpoint.name, form)
        async with self._posted(FORMS[form].path, body, request_id, min(first_by_s, total_by_s)) as reply:
            lateness = Lateness(reply.content, loop, idle_s=limits.idle_s, first_by_s=first_by_s, total_by_s=total_by_s)
            with closing(lateness):
                while not chunks.ended and (received := await reply.content.readany()):
                    lateness.came()
                    for delta in chunks.fed(received, time.perf_counter()):
                        yield delta
                    lateness.waits(begun=chunks.begun)
            yield chunks.finish()


def payload_of(body: JsonObject) -> bytes | BytesIO:
    """The body as the HTTP client takes it: a large one in parts, between which other answers go on."""
    written = orjson.dumps(body)
    return written if len(written) <= MAX_BYTES_AT_ONCE else BytesIO(written)


async def error_body(reply: aiohttp.ClientResponse) -> bytes:
    """The body of an error, as far as it comes soon and is of a sane size; the status alone says enough."""
    received = bytearray()
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(ERROR_BODY_S):
            async for part in reply.content.iter_any():
                received += part
                if len(received) > MAX_ERROR_BYTES:
                    break
    return bytes(received[:MAX_ERROR_BYTES])
