"""A stream's writes: what comes at once is one, and nothing that is there waits."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest
from starlette.types import Message

from server.outgoing import MOST_BYTES, outgoing


@dataclass
class Client:
    """Who is sent to; one that does not read lets the sender wait for `reads`."""

    got: list[bytes] = field(default_factory=list)
    reads: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.reads.set()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.got.append(message["body"])


@dataclass
class Server:
    """What is sent on: parts that come at once, up to where the next one has to be asked for."""

    parts: tuple[tuple[bytes, ...], ...]
    asked: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    may_go_on: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    closed: bool = False

    async def written(self) -> AsyncGenerator[bytes]:
        try:
            for place, together in enumerate(self.parts):
                if place:
                    self.asked.put_nowait(None)
                    await self.may_go_on.get()
                for part in together:
                    yield part
        finally:
            self.closed = True


async def passed_on(server: Server, client: Client, *, more: bool = True) -> None:
    """Passes on what comes, of which it knows or thinks that more is there."""
    async with outgoing(client.send) as body, aclosing(server.written()) as parts:
        while (part := await body.after(parts)) is not None:
            if part == b"wrong":
                raise ValueError(part)
            await body.write(part, more=more)
        await body.end(b"end")


async def test_what_comes_at_once_is_one_write() -> None:
    client = Client()

    await passed_on(Server(((b"a", b"b", b"c"),)), client)

    assert client.got == [b"abcend"]


async def test_where_no_more_is_known_to_be_there_each_goes_out() -> None:
    client = Client()

    await passed_on(Server(((b"a", b"", b"c"),)), client, more=False)

    assert client.got == [b"a", b"c", b"end"]


async def test_nothing_waits_for_what_is_not_there() -> None:
    client, server = Client(), Server(((b"a", b"b"), (b"c",)))
    passing = asyncio.create_task(passed_on(server, client))

    await server.asked.get()
    await asyncio.sleep(0)

    assert client.got == [b"ab"]
    server.may_go_on.put_nowait(None)
    await passing
    assert client.got == [b"ab", b"cend"]


async def test_much_goes_out_in_parts() -> None:
    client, half = Client(), b"x" * (MOST_BYTES // 2 + 1)

    await passed_on(Server(((half,) * 5,)), client)

    assert [len(body) for body in client.got] == [2 * len(half), 2 * len(half), len(half) + len(b"end")]


async def test_what_came_before_an_error_goes_out() -> None:
    client = Client()

    with pytest.raises(ValueError, match="wrong"):
        await passed_on(Server(((b"a", b"wrong"),)), client)

    assert client.got == [b"a"]


@pytest.mark.parametrize("reads", [True, False])
async def test_who_is_cancelled_in_a_wait_leaves_nothing_open(reads: bool) -> None:
    client, server = Client(), Server(((b"a",), (b"b",)))
    if not reads:
        client.reads.clear()
    passing = asyncio.create_task(passed_on(server, client))
    await server.asked.get()
    await asyncio.sleep(0)

    passing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await passing
    assert server.closed
    assert client.got == ([b"a"] if reads else [])


async def test_a_client_that_reads_late_gets_all() -> None:
    client, server = Client(), Server(((b"a",), (b"b",)))
    client.reads.clear()
    passing = asyncio.create_task(passed_on(server, client))
    await server.asked.get()
    server.may_go_on.put_nowait(None)  # what is waited for comes before the client reads
    await asyncio.sleep(0)

    client.reads.set()
    await passing

    assert client.got == [b"a", b"bend"]


async def test_an_empty_stream_is_its_end() -> None:
    client = Client()

    await passed_on(Server(()), client)

    assert client.got == [b"end"]
