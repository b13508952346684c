"""Servers that say on a socket what they are told to, and see what is said to them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

WITHIN_S = 30.0
CLIENT_LEFT = (ConnectionError, asyncio.IncompleteReadError)


@dataclass(slots=True)
class Peer:
    """One connection, as its server has it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> tuple[bytes, bytes]:
        """The head and the body of the next one."""
        head = await self.head()
        return head, await self.reader.readexactly(length_in(head))

    async def head(self) -> bytes:
        """Of the next request."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def say(self, *pieces: bytes) -> None:
        """Each of them, and not before the last one is on its way."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def left(self) -> None:
        """Wait until the client has closed the connection, whatever it sends before."""
        with suppress(ConnectionError):
            while await self.reader.read(2**16):
                pass


Talk = Callable[[Peer], Awaitable[None]]


def length_in(head: bytes) -> int:
    """How long the body is, by the head."""
    lines = head.lower().split(b"\r\n")
    return next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)


@dataclass(slots=True)
class Raw:
    """A server that is running: how many connections it has had, and from how many the client has left."""

    url: str = ""
    connections: int = 0
    left: int = 0


@asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """A server that talks so with each client, waits until it leaves, and closes."""
    raw = Raw()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.connections += 1
        peer = Peer(reader, writer)
        try:
            with suppress(*CLIENT_LEFT):
                await talk(peer)
                await peer.left()
            raw.left += 1
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    host, port = server.sockets[0].getsockname()
    raw.url = f"{'http' if tls is None else 'https'}://{host}:{port}"
    try:
        async with asyncio.timeout(WITHIN_S):
            yield raw
    finally:
        server.close()


def saying(*replies: bytes) -> Talk:
    """A talk of requests and these replies to them."""

    async def talk(peer: Peer) -> None:
        for reply in replies:
            await peer.request()
            await peer.say(reply)

    return talk


def in_bytes(reply: bytes) -> list[bytes]:
    """A reply that comes byte by byte."""
    return [reply[at : at + 1] for at in range(len(reply))]
