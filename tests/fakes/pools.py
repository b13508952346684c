"""What a gateway says of itself, and waiting until it knows its servers."""

import asyncio
from typing import Any

import aiohttp

WITHIN_S = 60.0


async def pools_of(url: str) -> list[dict[str, Any]]:
    """What `GET /v1/pools` lists."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/pools") as reply:
        pools: list[dict[str, Any]] = (await reply.json())["data"]
        return pools


async def probed(url: str, *tiers: str) -> list[dict[str, Any]]:
    """As `pools_of`, once every server of these tiers, or of all, has shown what it can do."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            pools = await pools_of(url)
            wanted = [pool for pool in pools if not tiers or pool["tier"] in tiers]
            if all(replica["speculation"] for pool in wanted for replica in pool["replicas"]):
                return pools
            await asyncio.sleep(0.02)


async def metrics_of(url: str) -> str:
    """The exposition."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as reply:
        return await reply.text()
