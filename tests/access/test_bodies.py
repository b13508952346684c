"""Bodies that do not come to their end: what they hold of the gateway's memory is bounded, and shared."""

import asyncio
import contextlib
from pathlib import Path

import aiohttp
import pytest
from fakes.keys import issued
from fakes.scripted import Script

from server.bodies import Bodies
from server.errors import RequestError
from server.settings.schema import Settings

ASK = {"model": "small", "messages": [{"role": "user", "content": "is it?"}]}
PART = b"x" * 50_000


async def begun(url: str, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which half a body of 100,000 bytes was sent."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %b\r\ncontent-length: 100000\r\n\r\n" % key.encode() + PART
    )
    await writer.drain()
    return reader, writer


async def status_of(reader: asyncio.StreamReader) -> int | None:
    """Of what came back by now; None where nothing did."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            return int((await reader.readline()).split()[1])
    return None


async def test_one_caller_holds_its_share_and_others_are_served(gateway, tmp_path: Path) -> None:
    greedy, other = [await issued(tmp_path) for _ in range(2)]
    server = {"auth": "keys", "admin": {"port": 0}, "max_body_bytes": 100_000, "bodies_bytes": 400_000}
    cascade = await gateway(small=Script("yes"), large=Script("no"), server=server, store={"folder": str(tmp_path)})

    connections = [await begun(cascade.url, greedy) for _ in range(10)]
    statuses = [await status_of(reader) for reader, _ in connections]
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {other}"}) as session,
        session.post(f"{cascade.url}/v1/chat/completions", json=ASK) as reply,
    ):
        assert reply.status == 200
    for _, writer in connections:
        writer.transport.abort()

    assert statuses.count(503) + statuses.count(None) == 10
    assert 1 <= statuses.count(None) <= 4


def test_what_is_held_is_given_back_whatever_happens() -> None:
    bodies = Bodies(1000)

    for _ in range(3):
        with contextlib.suppress(RuntimeError), bodies.held("a") as more:
            more(500)
            raise RuntimeError
        with pytest.raises(RequestError) as full, bodies.held("a") as more:
            more(501)
        assert (full.value.problem.status, full.value.problem.retry_after_s) == (503, 1)
    with bodies.held("a") as of_a, bodies.held("b") as of_b:
        of_a(500)
        of_b(250)
        with pytest.raises(RequestError):
            of_b(1)
    assert bodies.bytes == 0


def test_the_largest_body_must_have_room(tmp_path: Path) -> None:
    tier = {"model": "x", "price": {"input": 1.0, "output": 1.0}, "urls": ["http://127.0.0.1:9"]}

    with pytest.raises(ValueError, match="bodies_bytes"):
        Settings.model_validate(
            {"tiers": {"small": tier}, "server": {"max_body_bytes": 1000, "bodies_bytes": 1999}}, context=tmp_path
        )
