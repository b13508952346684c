"""Budgets of days and months that are counted in the gateway's own process, over its ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from fakes.scripted import Script, ScriptedServer
from fakes.served import Served, pair
from fakes.stores import count, until

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
DEAR = {"choices": [CHOICE], "usage": {"prompt_tokens": 1, "completion_tokens": 10**6, "total_tokens": 10**6 + 1}}


async def dear(_request: web.Request) -> web.StreamResponse:
    """An answer that costs more than anybody may spend."""
    return web.json_response(DEAR)


@asynccontextmanager
async def budgeted(folder: Path, large: Script) -> AsyncIterator[dict[str, object]]:
    """The configuration of a gateway that keeps what it does, where everybody has a budget for a few small requests."""
    async with ScriptedServer(Script("yes")) as one, ScriptedServer(large) as other:
        limits = {"default": {"cost_per_day": 0.0001}}
        yield {**pair(one.url, other.url), "store": {"folder": str(folder)}, "limits": limits}


async def ask(url: str, model: str, path: str = "/v1/chat/completions") -> int:
    """The status of a small request."""
    body = {"model": model, "messages": [{"role": "user", "content": "is it?"}], "max_tokens": 3}
    async with aiohttp.ClientSession() as session, session.post(url + path, json=body) as reply:
        await reply.read()
        return reply.status


async def count_tokens(url: str) -> int:
    """The status of a request that costs nothing: it too is refused where the budget is overrun."""
    return await ask(url, "small", "/v1/messages/count_tokens")


async def until_refused(url: str) -> None:
    """Wait until it is known that the budget is overrun."""
    async with asyncio.timeout(30):
        while await count_tokens(url) != 429:  # noqa: ASYNC110 - processes have no event
            await asyncio.sleep(0.05)


async def test_a_reload_gives_no_new_budget(tmp_path: Path) -> None:
    async with (
        budgeted(tmp_path, Script(handler=dear)) as config,
        Served(tmp_path / "gateway.yaml", config) as served,
    ):
        assert await ask(served.url, "large") == 200
        await until_refused(served.url)

        for _ in range(2):
            await served.reload(config)
            await until_refused(served.url)


async def test_neither_does_a_restart_nor_one_after_a_kill(tmp_path: Path) -> None:
    async with budgeted(tmp_path, Script(handler=dear)) as config:
        async with Served(tmp_path / "gateway.yaml", config) as served:
            assert await ask(served.url, "large") == 200
            served.process.kill()
            await served.ended()

        for _ in range(2):
            async with Served(tmp_path / "gateway.yaml", config) as served:
                assert await count_tokens(served.url) == 429
                served.end()
                await served.ended()


async def test_nor_does_a_workers_death(tmp_path: Path) -> None:
    async with (
        budgeted(tmp_path, Script(handler=dear)) as config,
        Served(tmp_path / "gateway.yaml", config) as served,
    ):
        assert await ask(served.url, "large") == 200
        (killed,) = served.workers
        os.kill(killed, signal.SIGKILL)
        await until(lambda: served.workers not in ([], [killed]))

        assert await count_tokens(served.url) == 429


async def test_what_was_under_way_at_a_reload_counts_when_it_has_ended(tmp_path: Path) -> None:
    has_come, may_end = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        has_come.set()
        await may_end.wait()
        return await dear(request)

    async with (
        budgeted(tmp_path, Script(handler=answer)) as config,
        Served(tmp_path / "gateway.yaml", config) as served,
    ):
        under_way = asyncio.create_task(ask(served.url, "large"))
        await has_come.wait()
        await served.reload(config)
        assert await ask(served.url, "small") == 200
        may_end.set()
        assert await under_way == 200

        await until_refused(served.url)


async def test_audits_count_for_nobody_after_a_restart_too(tmp_path: Path) -> None:
    audits = {"rate": 1.0, "spend_per_day": 10.0, "grader": "exact"}
    async with budgeted(tmp_path, Script(handler=dear)) as config:
        config["cascades"] = {"auto": {"tiers": ["small", "large"], "threshold": 0.5, "audits": audits}}
        async with Served(tmp_path / "gateway.yaml", config) as served:
            assert await ask(served.url, "auto") == 200
            await until(lambda: count(tmp_path, "audits") == 1)
            served.end()
            await served.ended()

        async with Served(tmp_path / "gateway.yaml", config) as served:
            assert await count_tokens(served.url) == 200
