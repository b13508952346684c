"""HTTP as nobody should write it: bytes to a socket, and the status and body that come back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

ANSWER_S = 30.0
MOST_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; status 0 where the connection was closed without a word, -1 where nothing came in time."""

    status: int
    body: bytes = b""


async def sent(address: tuple[str, int], pieces: Iterable[bytes], *, pause_s: float = 0.0) -> Reply:
    """The reply to these bytes, with a pause after each piece."""

    async def slowly() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(pause_s)

    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(ANSWER_S):
            writing = asyncio.create_task(written(writer, slowly()))
            try:
                return await reply_of(reader)
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
    except TimeoutError:
        return Reply(-1)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await writer.wait_closed()


async def written(writer: asyncio.StreamWriter, pieces: AsyncIterator[bytes]) -> None:
    """Send, until the other side hangs up."""
    with contextlib.suppress(ConnectionError):
        async for piece in pieces:
            writer.write(piece)
            await writer.drain()


async def reply_of(reader: asyncio.StreamReader) -> Reply:
    """The status line, and what follows it until the connection rests."""
    try:
        line = await reader.readline()
    except (ConnectionError, ValueError):
        return Reply(0)
    parts = line.split(b" ", 2)
    if len(parts) < 2 or not parts[1].isdigit():
        return Reply(0)
    body = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(1.0):
            while len(body) < MOST_BYTES and (more := await reader.read(2**16)):
                body += more
    return Reply(int(parts[1]), body)


def request(body: bytes, *headers: bytes, path: bytes = b"/v1/chat/completions", method: bytes = b"POST") -> bytes:
    """A plain request with these headers beside those that it needs."""
    lines = [
        method + b" " + path + b" HTTP/1.1", b"host: 127.0.0.1", b"content-type: application/json",
        b"content-length: %d" % len(body), *headers, b"connection: close",
    ]  # fmt: skip
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
