"""One request to an OpenAI-compatible server over HTTP, and its answer. Knows nothing of who else could be asked."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import closing
from io import BytesIO

import aiohttp
import orjson

from models.answer import Delta, Finish
from models.chunks import MAX_REPLY_BYTES, Chunks
from models.endpoint import Endpoint, Limits
from models.errors import BadReply, Disconnected, ModelError, NoConnection, TimedOut, Unreachable
from models.forms import FORMS, form_of
from models.lateness import Lateness
from models.parsing import delta_of, error_of, finish_of
from models.wire import JsonObject

OK = 200
MAX_ERROR_BYTES = 64 * 2**10
ERROR_BODY_S = 2.0
MAX_BYTES_AT_ONCE = 2**20


class Caller:
    """Calls one endpoint within its limits."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, limits: Limits) -> None:
        self.endpoint = endpoint
        self._session = session
        self._limits = limits
        self._url, self._headers, self._tls_name = endpoint.reached_url, endpoint.headers, endpoint.tls_name
        self._timeout_whole = aiohttp.ClientTimeout(total=limits.total_s, sock_connect=limits.connect_s)
        self._timeout_streamed = aiohttp.ClientTimeout(sock_connect=limits.connect_s)  # Lateness has the total

    async def passed(self, path: str, body: JsonObject, request_id: str) -> bytes:
        """The reply to a request that is answered in one piece, as it came. Raises a ModelError."""
        try:
            async with await self._posted(path, body, request_id, self._timeout_whole) as reply:
                await self._refuse_error(reply, path)
                return await self._received(reply)
        except (TimeoutError, aiohttp.ClientError) as failed:
            raise self._broken(failed) from failed

    async def _posted(
        self, path: str, body: JsonObject, request_id: str, within: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The server's answer, up to its body. Raises a ModelError. Leaving it early closes the connection, which stops
        the server's work."""
        try:
            return await self._session.post(
                f"{self._url}{path}", server_hostname=self._tls_name, data=payload_of(body),
                headers={**self._headers, "x-request-id": request_id}, timeout=within, allow_redirects=False,
            )  # fmt: skip
        except TimeoutError as late:
            raise self._broken(late) from late
        except aiohttp.ClientConnectorError as failed:
            raise NoConnection(f"{self.endpoint.name}: {type(failed).__name__}") from failed
        except aiohttp.ClientError as failed:
            raise Disconnected(f"{self.endpoint.name}: {type(failed).__name__}") from failed

    def _broken(self, failed: TimeoutError | aiohttp.ClientError) -> ModelError:
        """What a failure in the middle of an answer means."""
        if isinstance(failed, TimeoutError):
            return TimedOut(f"{self.endpoint.name} took longer than its limits allow")
        return Unreachable(f"{self.endpoint.name}: {type(failed).__name__}")

    async def _refuse_error(self, reply: aiohttp.ClientResponse, path: str) -> None:
        """Raise the ModelError that an answer other than 200 means."""
        if reply.status != OK:
            raise error_of(reply.status, await error_body(reply), reply.headers.get("retry-after"), path)

    async def _received(self, reply: aiohttp.ClientResponse) -> bytes:
        received = bytearray()
        while part := await reply.content.readany():
            received += part
            if len(received) > MAX_REPLY_BYTES:
                raise BadReply(f"{self.endpoint.name} sent more than {MAX_REPLY_BYTES} bytes")
        return bytes(received)

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
            async with asyncio.timeout_at(min(first_by_s, total_by_s)):
                posted = await self._posted(path, body, request_id, self._timeout_streamed)
            async with posted as reply:
                await self._refuse_error(reply, path)
                lateness = Lateness(
                    reply.content, loop, idle_s=limits.idle_s, first_by_s=first_by_s, total_by_s=total_by_s
                )
                with closing(lateness):
                    while not chunks.ended and (received := await reply.content.readany()):
                        lateness.came()
                        for delta in chunks.fed(received, time.perf_counter()):
                            yield delta
                        lateness.waits(begun=chunks.begun)
                yield chunks.finish()
        except (TimeoutError, aiohttp.ClientError) as failed:
            raise self._broken(failed) from failed


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
