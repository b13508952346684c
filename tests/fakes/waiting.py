"""Waiting for what has no event of its own."""

import asyncio
from collections.abc import Callable


async def until(true: Callable[[], bool]) -> None:
    """Wait for it, within reason."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
