"""A gateway that is told to stop says so before it closes its door."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from fakes.scripted import Script, ScriptedServer
from fakes.served import Served, pair

BODY = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}


async def test_a_gateway_that_leaves_says_no_to_whoever_picks_and_yes_to_whoever_asks(tmp_path: Path) -> None:
    async with ScriptedServer(Script("yes")) as small, ScriptedServer(Script("no")) as large:
        config = pair(small.url, large.url, drain_s=600)
        async with Served(tmp_path / "gateway.yaml", config) as served, aiohttp.ClientSession() as client:
            assert await served.ready() == 200
            async with client.post(f"{served.url}/v1/chat/completions", json=BODY) as before:
                assert before.headers.get("connection") != "close"

            served.end()
            async with asyncio.timeout(10):
                while await served.ready() == 200:  # noqa: ASYNC110 - processes have no event
                    await asyncio.sleep(0.02)

            async with client.get(f"{served.url}/ready") as ready:
                assert (ready.status, (await ready.json())["leaving"]) == (503, True)
            async with client.post(f"{served.url}/v1/chat/completions", json=BODY) as during:
                assert (during.status, during.headers["connection"]) == (200, "close")
                assert (await during.json())["choices"][0]["message"]["content"] == "yes"
            served.end()
            assert await served.ended() == -signal.SIGTERM


@pytest.mark.parametrize(("drain_s", "number"), [(0.2, signal.SIGTERM), (600, signal.SIGINT), (0, signal.SIGTERM)])
async def test_an_answer_that_has_begun_ends_after_the_door_is_closed(
    tmp_path: Path, drain_s: float, number: signal.Signals
) -> None:
    asked, may_end = asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        asked.set()
        await may_end.wait()
        return await small.answer(request, await request.json())

    async with ScriptedServer(Script("yes", handler=slowly)) as small, ScriptedServer(Script("no")) as large:
        config = pair(small.url, large.url, drain_s=drain_s)
        async with Served(tmp_path / "gateway.yaml", config) as served, aiohttp.ClientSession() as client:
            answering = asyncio.create_task(client.post(f"{served.url}/v1/chat/completions", json=BODY))
            async with asyncio.timeout(10):
                await asked.wait()
                served.end(number)
                while await served.ready() is not None:  # noqa: ASYNC110 - processes have no event
                    await asyncio.sleep(0.02)

            may_end.set()
            async with await answering as reply:
                assert (await reply.json())["choices"][0]["message"]["content"] == "yes"
            assert await served.ended() in (0, -number)


@pytest.mark.parametrize("key", ["server.port", "server.admin.port"])
async def test_a_port_that_is_taken_ends_the_gateway_with_an_error(tmp_path: Path, key: str) -> None:
    async with ScriptedServer(Script("yes")) as other:
        taken = int(other.url.rpartition(":")[2])
        server = {"port": taken} if key == "server.port" else {"admin": {"port": taken}}
        served = Served(tmp_path / "gateway.yaml", pair(other.url, other.url, **server))
        process = await asyncio.create_subprocess_exec(
            *served.command, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(60):
            _, said = await process.communicate()

    assert process.returncode == 3
    assert b"address already in use" in said
