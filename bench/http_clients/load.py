"""The measured work: whole replies and streams, checked to the last byte, on a fixed number of connections."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial

import orjson
from candidates import Client
from upstream import CHUNKS_PER_STREAM, PACE_S, REPLY

SAMPLE_S = 0.5
SMALL, LARGE = (orjson.dumps({"messages": [{"role": "user", "content": "x" * size}]}) for size in (1_000, 220_000))
Work = Callable[[Client, str], Awaitable[int]]


async def one_reply(client: Client, url: str, *, prompt: bytes) -> int:
    if await client.post(f"{url}/json", prompt) != REPLY:
        raise ValueError("the reply is not what the upstream sent")
    return 1


async def one_stream(client: Client, url: str, *, path: str) -> int:
    lines = 0
    async with aclosing(client.stream(url + path, SMALL)) as chunks:
        async for chunk in chunks:
            lines += chunk.count(b"\n")
    if lines != 2 * CHUNKS_PER_STREAM:
        raise ValueError(f"the stream has {lines} lines, not {2 * CHUNKS_PER_STREAM}")
    return CHUNKS_PER_STREAM


WORK: dict[tuple[str, str], Work] = {
    ("JSON 1 kB", "request"): partial(one_reply, prompt=SMALL),
    ("JSON 220 kB", "request"): partial(one_reply, prompt=LARGE),
    ("SSE", "chunk"): partial(one_stream, path="/sse"),
    (f"SSE every {PACE_S * 1e3:.0f} ms", "chunk"): partial(one_stream, path="/paced"),
}


async def seen(client: Client, url: str) -> dict[str, float]:
    told: dict[str, float] = orjson.loads(await client.post(f"{url}/seen", b"{}"))
    return told


async def measure(work: Work, client: Client, url: str, connections: int) -> tuple[float, float, float]:
    """Units per second, and CPU µs per unit of the client and of the upstream; every connection is warm and busy."""
    opened = -(await seen(client, url))["connections"]
    await asyncio.gather(*(work(client, url) for _ in range(connections)))
    before, started, cpu_started = await seen(client, url), time.perf_counter(), time.process_time()

    async def repeat() -> int:
        done = 0
        while time.perf_counter() < started + SAMPLE_S:
            done += await work(client, url)
        return done

    units = sum(await asyncio.gather(*(repeat() for _ in range(connections))))
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    after = await seen(client, url)
    if (opened := opened + after["connections"]) > connections:
        raise ValueError(f"{opened} connections opened for {connections}: they are not kept alive")
    return units / elapsed_s, cpu_s / units * 1e6, (after["cpu_s"] - before["cpu_s"]) / units * 1e6
