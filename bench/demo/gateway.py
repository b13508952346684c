"""The demo behind its gateway, started for a benchmark."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import openai

from models.launcher.program import free_ports

START_S = 180


@contextlib.asynccontextmanager
async def demo_gateway() -> AsyncIterator[str]:
    """`smallfirst up`, for as long as the block lasts."""
    command = Path(sys.executable).with_name("smallfirst")
    (port,) = free_ports(1)
    environment = {**os.environ, "SMALLFIRST_SERVER__PORT": str(port)}
    process = await asyncio.create_subprocess_exec(command, "up", env=environment, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def until_ready(client: openai.AsyncOpenAI) -> None:
    """Wait for both tiers to answer."""
    async with asyncio.timeout(START_S):
        for tier in ("small", "large"):
            while True:
                with contextlib.suppress(openai.APIError):
                    await client.chat.completions.create(model=tier, messages=[{"role": "user", "content": "Hello"}])
                    break
                await asyncio.sleep(0.5)
