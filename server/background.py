"""Work beside requests, for as long as somebody needs it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def in_background(*works: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """They run as long as the block, and have ended when it is left; what one of them raises is its own affair."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
