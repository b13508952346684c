"""One OpenAI-compatible server, over HTTP. Knows nothing of the other replicas of its tier."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import aiohttp
import orjson

from models.answer import Delta, Finish
from models.errors import BadReply, Disconnected, TimedOut, Unreachable
from models.parsing import delta_of, error_of, finish_of
from models.prompt import Prompt
from models.sse import DONE, EventReader
from models.wire import WireReply

MAX_REPLY_BYTES = 32 * 2**20
MAX_ERROR_BYTES = 64 * 2**10
ERROR_BODY_S = 2.0

Dialect = Literal["vllm", "openai"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a server may take, in seconds. `first_token_s` and `idle_s` are for streams; an answer in one piece
    has `total_s` alone."""

    connect_s: float = 2.0
    first_token_s: float = 60.0
    idle_s: float = 30.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server is and how to talk to it: the model's name there, our key, and whose extras it knows."""

    url: str
    model: str
    api_key: str | None = None
    dialect: Dialect = "vllm"

    @property
    def headers(self) -> dict[str, str]:
        """What every request to this server carries."""
        headers = {"content-type": "application/json"}
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        return headers


class Replica:
    """A server of a tier; `running` is how many of our requests it is working on."""

    def __init__(self, endpoint: Endpoint, *, session: aiohttp.ClientSession, limits: Limits) -> None:
        self.endpoint = endpoint
        self.running = 0
        self._session = session
        self._limits = limits

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """As `Model.generate`, by this server or not at all."""
        first_by_s = asyncio.get_running_loop().time() + self._limits.first_token_s
        self.running += 1
        try:
            async with self._posted(prompt, first_by_s) as reply:
                read = self._stream(reply, first_by_s) if prompt.streams else self._whole(reply)
                async with aclosing(read) as pieces:
                    async for piece in pieces:
                        yield piece
        finally:
            self.running -= 1

    async def is_up(self) -> bool:
        """Whether the server answers at all."""
        url = f"{self.endpoint.url}/v1/models"
        limit = aiohttp.ClientTimeout(total=self._limits.connect_s)
        try:
            async with self._session.get(
                url, headers=self.endpoint.headers, timeout=limit, allow_redirects=False
            ) as reply:
                return reply.status < 500
        except (aiohttp.ClientError, TimeoutError):
            return False

    @asynccontextmanager
    async def _posted(self, prompt: Prompt, first_by_s: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """The server's 200, or a ModelError. Leaving early closes the connection, which stops the server's work."""
        endpoint = self.endpoint
        body = orjson.dumps(prompt.body(endpoint.model, token_ids=endpoint.dialect == "vllm"))
        limits = self._limits
        timeout = aiohttp.ClientTimeout(total=limits.total_s, sock_connect=limits.connect_s)
        headers = {**endpoint.headers, "x-request-id": prompt.request_id}
        try:
            async with asyncio.timeout_at(first_by_s if prompt.streams else None):
                posted = await self._session.post(
                    f"{endpoint.url}/v1/chat/completions",
                    data=body, headers=headers, timeout=timeout, allow_redirects=False,
                )  # fmt: skip
        except TimeoutError as late:
            raise TimedOut(f"{endpoint.url} took longer than its limits allow") from late
        except aiohttp.ClientConnectorError as failed:
            raise Unreachable(f"{endpoint.url}: {type(failed).__name__}") from failed
        except aiohttp.ClientError as failed:
            raise Disconnected(f"{endpoint.url}: {type(failed).__name__}") from failed
        try:
            async with posted as reply:
                if reply.status != 200:
                    raise error_of(reply.status, await error_body(reply), reply.headers.get("retry-after"))
                yield reply
        except TimeoutError as late:
            raise TimedOut(f"{endpoint.url} took longer than its limits allow") from late
        except aiohttp.ClientError as failed:
            raise Unreachable(f"{endpoint.url}: {type(failed).__name__}") from failed

    async def _whole(self, reply: aiohttp.ClientResponse) -> AsyncGenerator[Delta | Finish]:
        received = bytearray()
        async for part in reply.content.iter_any():
            received += part
            if len(received) > MAX_REPLY_BYTES:
                raise BadReply(f"{self.endpoint.url} sent more than {MAX_REPLY_BYTES} bytes")
        delta = delta_of(bytes(received), time.perf_counter())
        if not delta.pieces:
            raise BadReply(f"{self.endpoint.url} sent a reply without choices")
        yield delta
        yield finish_of(delta.reply.get("usage"))

    async def _stream(self, reply: aiohttp.ClientResponse, first_by_s: float) -> AsyncGenerator[Delta | Finish]:
        reporting: WireReply | None = None
        finished = False
        async with aclosing(self._events(reply, first_by_s)) as events:
            async for event, received_s in events:
                if event == DONE:
                    break
                delta = delta_of(event, received_s)
                if delta.reply.get("usage"):
                    reporting = delta.reply
                finished = finished or any(piece.finish_reason for piece in delta.pieces)
                if delta.pieces:
                    yield delta
        if not finished:
            raise BadReply(f"{self.endpoint.url} ended a stream in the middle of an answer")
        yield finish_of(reporting.get("usage"), reporting) if reporting else Finish(None)

    async def _events(self, reply: aiohttp.ClientResponse, first_by_s: float) -> AsyncGenerator[tuple[bytes, float]]:
        """Each event's data and when it came; comments keep an answer that has begun alive, and do not begin it."""
        reader = EventReader()
        loop = asyncio.get_running_loop()
        begun = False
        total_bytes = 0
        while True:
            async with asyncio.timeout_at(loop.time() + self._limits.idle_s if begun else first_by_s):
                received = await reply.content.readany()
            if not received:
                return
            received_s = time.perf_counter()
            total_bytes += len(received)
            if total_bytes > MAX_REPLY_BYTES:
                raise BadReply(f"{self.endpoint.url} sent more than {MAX_REPLY_BYTES} bytes")
            for event in reader.feed(received):
                begun = True
                yield event, received_s


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
