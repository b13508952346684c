"""Waiting for what has no event of its own."""

import asyncio
from collections.abc import Callable

import httpx


async def until(true: Callable[[], bool]) -> None:
    """Wait for it, within reason."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


async def until_ok(url: str, *, within_s: float) -> None:
    """Wait until it answers 200: a process that has just been started."""
    async with asyncio.timeout(within_s), httpx.AsyncClient() as client:
        while not await is_ok(client, url):  # noqa: ASYNC110 - it says so to nobody
            await asyncio.sleep(0.1)


async def is_ok(client: httpx.AsyncClient, url: str) -> bool:
    """Whether it answers 200 now."""
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False
