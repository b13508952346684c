"""What a client does when its caller leaves, and when the server closed a connection that it keeps."""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import aclosing

from candidates import Candidate, Client
from load import SMALL, seen
from upstream import IDLE_S

LIMIT_S = 2.0


async def first_chunk_then_wait(client: Client, url: str) -> None:
    async with aclosing(client.stream(f"{url}/stall", SMALL)) as chunks:
        async for _ in chunks:
            pass


async def left_after(work: Awaitable[object], client: Client, url: str) -> str:
    """How long after the cancellation of `work` the upstream saw its connection close."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0.2)
    cancelled_at = time.monotonic()
    task.cancel()
    await asyncio.wait([task])
    while time.monotonic() < cancelled_at + LIMIT_S:
        await asyncio.sleep(0.02)
        if (left_at := (await seen(client, url))["left_at"]) > cancelled_at:
            return f"closed after {(left_at - cancelled_at) * 1e3:.1f} ms"
    return f"still open after {LIMIT_S:.0f} s"


async def second_post(candidate: Candidate, url: str, *, pause_s: float = 0.0, block_s: float = 0.0) -> str:
    """What becomes of the second request on a connection, after a pause of the caller and one of the whole loop."""
    async with candidate.connect() as client:
        await client.post(url, SMALL)
        await asyncio.sleep(pause_s)
        time.sleep(block_s)  # noqa: ASYNC251 - the loop must not see that the server closed
        try:
            await client.post(url, SMALL)
        except Exception as exc:  # noqa: BLE001 - which one it is, is the result
            return f"`{type(exc).__name__}`"
    return "answered"


async def behaviour(candidate: Candidate, url: str, dropping_url: str) -> dict[str, str]:
    async with candidate.connect() as client:
        return {
            "cancel while streaming": await left_after(first_chunk_then_wait(client, url), client, url),
            "cancel while waiting for a reply": await left_after(client.post(f"{url}/hang", SMALL), client, url),
            "server closed the idle connection": await second_post(candidate, dropping_url, pause_s=3 * IDLE_S),
            "the same, loop blocked meanwhile": await second_post(candidate, dropping_url, block_s=3 * IDLE_S),
            "server closes as the request arrives": await second_post(candidate, f"{dropping_url}/race"),
        }
