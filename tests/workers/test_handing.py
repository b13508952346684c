"""What a worker learned is known to the one that comes after it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from pathlib import Path

import aiohttp
from fakes.scripted import Script, ScriptedServer
from fakes.served import Served, pair
from fakes.stores import until

DRAFTS = 60


def held(config: Mapping[str, object], escalated: float) -> dict[str, object]:
    """The configuration with a cascade that holds this share."""
    auto = {"tiers": ["small", "large"], "threshold": 0.5, "budget": {"escalated": escalated}}
    return {**config, "cascades": {"auto": auto}}


async def is_steered(url: str) -> bool:
    """Whether a budget sets the threshold that a request is held to: it is not as configured."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=body) as reply:
        return float(reply.headers["x-smallfirst-threshold"]) != 0.5


async def until_it_goes_on(url: str, again: Callable[[], Awaitable[None]]) -> None:
    """Have it learn, for longer and longer, and another worker begin `again`, until that one knows: what is learned is
    told once a second."""
    async with asyncio.timeout(60):
        for times in count(1):
            for _ in range(times * DRAFTS):
                await is_steered(url)
            assert await is_steered(url)
            await again()
            if await is_steered(url):
                return


async def test_a_budget_goes_on_after_a_reload_and_a_death_and_begins_anew_where_it_is_another(tmp_path: Path) -> None:
    async with ScriptedServer(Script(p=0.9)) as small, ScriptedServer(Script()) as large:
        config = held(pair(small.url, large.url), 0.3)
        async with Served(tmp_path / "gateway.yaml", config) as served:

            async def death() -> None:
                killed = served.workers[-1]
                os.kill(killed, signal.SIGKILL)
                await until(lambda: killed not in served.workers and len(served.workers) > 0)

            await until_it_goes_on(served.url, lambda: served.reload(config))
            await until_it_goes_on(served.url, death)

            await served.reload(held(config, 0.4))
            assert not await is_steered(served.url)
