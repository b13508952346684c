"""The clients under test behind two functions, each with one unlimited keep-alive pool, no proxies and timeouts."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import import_module

HEADERS = {"content-type": "application/json", "authorization": "Bearer none"}
CONNECT_S, READ_S, IDLE_S = 5, 60, 60
MOST_BYTES = 2**25


@dataclass(frozen=True, slots=True)
class Client:
    """An open pool: `post` reads a whole reply, `stream` yields it as it arrives."""

    post: Callable[[str, bytes], Awaitable[bytes]]
    stream: Callable[[str, bytes], AsyncGenerator[bytes, None]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A distribution on PyPI, the module to import, how to open a pool, and the distributions that it is made of where
    it is but a part of its own."""

    distribution: str
    module: str
    connect: Callable[[], AbstractAsyncContextManager[Client]]
    made_of: tuple[str, ...] = ()


@asynccontextmanager
async def aiohttp_client() -> AsyncIterator[Client]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=READ_S)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=HEADERS) as session:

        async def post(url: str, body: bytes) -> bytes:
            async with session.post(url, data=body) as response:
                return await response.read()

        async def stream(url: str, body: bytes) -> AsyncGenerator[bytes, None]:
            async with session.post(url, data=body) as response:
                async for chunk in response.content.iter_any():
                    yield chunk

        yield Client(post, stream)


@asynccontextmanager
async def httpx_client(module: str) -> AsyncIterator[Client]:
    httpx = import_module(module)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=IDLE_S)
    timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
    async with httpx.AsyncClient(limits=limits, timeout=timeout, headers=HEADERS, trust_env=False) as session:

        async def post(url: str, body: bytes) -> bytes:
            reply: bytes = (await session.post(url, content=body)).content
            return reply

        async def stream(url: str, body: bytes) -> AsyncGenerator[bytes, None]:
            async with session.stream("POST", url, content=body) as response:
                async for chunk in response.aiter_raw():
                    yield chunk

        yield Client(post, stream)


@asynccontextmanager
async def pyreqwest_client() -> AsyncIterator[Client]:
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().no_proxy().default_headers(HEADERS).pool_idle_timeout(timedelta(seconds=IDLE_S))
    builder = builder.connect_timeout(timedelta(seconds=CONNECT_S)).read_timeout(timedelta(seconds=READ_S))
    async with builder.build() as session:

        async def post(url: str, body: bytes) -> bytes:
            response = await session.post(url).body_bytes(body).build().send()
            return bytes(await response.bytes())

        async def stream(url: str, body: bytes) -> AsyncGenerator[bytes, None]:
            request = session.post(url).body_bytes(body).streamed_read_buffer_limit(0)  # else it waits for 64 kB
            async with request.build_streamed() as response:
                while (chunk := await response.body_reader.read_chunk()) is not None:
                    yield bytes(chunk)

        yield Client(post, stream)


@asynccontextmanager
async def own_client() -> AsyncIterator[Client]:
    from models.endpoint import Endpoint
    from models.route import Route, route_to
    from models.session import Session

    loop, routes = asyncio.get_running_loop(), dict[str, Route]()

    def route(url: str) -> Route:
        if url not in routes:
            routes[url] = route_to(Endpoint(url, "", "none"), "POST", "")
        return routes[url]

    async with Session(keep_alive_s=IDLE_S) as session:

        async def post(url: str, body: bytes) -> bytes:
            with await session.sent(route(url), body, connect_s=CONNECT_S, by_s=loop.time() + READ_S) as reply:
                return await reply.whole(MOST_BYTES) or b""

        async def stream(url: str, body: bytes) -> AsyncGenerator[bytes, None]:
            with await session.sent(route(url), body, connect_s=CONNECT_S, by_s=loop.time() + READ_S) as reply:
                while part := await reply.readany():
                    yield part

        yield Client(post, stream)


CANDIDATES = (
    Candidate("aiohttp", "aiohttp", aiohttp_client),
    Candidate("httpx", "httpx", partial(httpx_client, "httpx")),
    Candidate("httpx2", "httpx2", partial(httpx_client, "httpx2")),
    Candidate("pyreqwest", "pyreqwest.client", pyreqwest_client),
    Candidate("smallfirst", "models.session", own_client, ("httptools", "aiohappyeyeballs")),
)
