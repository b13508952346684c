"""A gateway that reads its configuration again, in processes of its own."""

import asyncio
import json
import os
import pty
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from fakes.load import CLIENTS, Load
from fakes.scripted import Script, ScriptedServer
from fakes.served import Served, pair

SAID = "one two three four five six seven eight nine ten"


def with_cascade(config: Mapping[str, object], name: str) -> dict[str, object]:
    """The configuration with one more cascade."""
    cascades = {**dict(config["cascades"]), name: {"tiers": ["small", "large"], "threshold": 0.9}}
    return {**config, "cascades": cascades}


async def models(url: str) -> list[str]:
    """What a client that comes now can ask for."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/models") as reply:
        return [card["id"] for card in (await reply.json())["data"]]


@asynccontextmanager
async def long_stream(url: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """A stream of the large tier that has begun."""
    body = {"model": "large", "stream": True, "messages": [{"role": "user", "content": "wait"}]}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=body) as reply:
        await reply.content.readline()
        yield reply


async def test_reloads_under_load_lose_no_request_and_no_stream(tmp_path: Path) -> None:
    may_end = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["messages"][0]["content"] == "wait":
            reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await reply.prepare(request)
            for part in ("begun", " ended"):
                choice = {"index": 0, "delta": {"content": part}, "finish_reason": None if part == "begun" else "stop"}
                chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
                await reply.write(f"data: {json.dumps(chunk)}\n\n".encode())
                await (may_end.wait() if part == "begun" else asyncio.sleep(0))
            await reply.write(b"data: [DONE]\n\n")
            return reply
        return await large.answer(request, body)

    unsure, slow = Script("maybe", p=0.1), Script(SAID, pause_s=0.02, handler=answer)
    async with ScriptedServer(unsure) as small, ScriptedServer(slow) as large:
        config = pair(small.url, large.url, workers=2)
        async with Served(tmp_path / "gateway.yaml", config) as served, long_stream(served.url) as stream:
            load = Load(served.url)
            asking = asyncio.create_task(load.until_enough())
            await load.more(2 * CLIENTS)
            first = served.workers

            await served.reload({**config, "cascades": {"auto": {"tiers": ["small", "nobody"], "threshold": 0.5}}})
            await load.more(2 * CLIENTS)
            assert served.workers == first
            assert "there is no tier 'nobody'" in served.log.read_text()

            await served.reload(with_cascade(config, "careful"))
            assert "careful" in await models(served.url)
            assert len(set(served.workers) - set(first)) == 2
            await load.more(4 * CLIENTS)
            await served.reload(config)
            assert "careful" not in await models(served.url)
            await load.more(2 * CLIENTS)
            load.enough()
            await asking

            may_end.set()
            assert " ended" in (await stream.content.read()).decode()
            async with asyncio.timeout(30):
                while len(served.workers) > 2:  # noqa: ASYNC110 - processes have no event
                    await asyncio.sleep(0.05)
            assert set(served.workers).isdisjoint(first)

    assert set(load.answers) == {SAID}


async def test_what_cannot_be_reloaded_is_said_and_all_is_as_before(tmp_path: Path) -> None:
    async with ScriptedServer(Script()) as small, ScriptedServer(Script()) as large:
        config = pair(small.url, large.url)
        async with Served(tmp_path / "gateway.yaml", config) as served:
            first = served.workers
            (tmp_path / "none.pem").write_text("no certificate")
            pem = str(tmp_path / "none.pem")
            for server, said in (
                ({"port": 1}, f"server.port: a reload cannot move the gateway from {served.port} to 1"),
                ({"admin": {"port": 9}}, "server.admin.port: a reload cannot move the gateway from None to 9"),
                (
                    {"tls": {"certificate": pem, "key": pem}},
                    "certificate and key should be PEM files that OpenSSL can read",
                ),
            ):
                await served.reload({**with_cascade(config, "careful"), "server": server})
                assert said in served.log.read_text()

            assert served.workers == first
            assert sorted(await models(served.url)) == ["auto", "large", "small"]
            assert await served.ready() == 200


async def test_a_gateway_whose_terminal_is_closed_ends(tmp_path: Path) -> None:
    async with ScriptedServer(Script()) as small, ScriptedServer(Script()) as large:
        served = Served(tmp_path / "gateway.yaml", pair(small.url, large.url))
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *served.command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        async with asyncio.timeout(60):
            while await served.ready() != 200:  # noqa: ASYNC110 - processes have no event
                await asyncio.sleep(0.05)

            os.close(ours)
            process.send_signal(signal.SIGHUP)
            assert await process.wait() == -signal.SIGHUP


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_gateway_that_is_told_to_end_while_it_reloads_ends(tmp_path: Path, number: signal.Signals) -> None:
    async with (
        ScriptedServer(Script()) as small,
        ScriptedServer(Script()) as large,
        Served(tmp_path / "gateway.yaml", pair(small.url, large.url)) as served,
    ):
        served.end(signal.SIGHUP)
        served.end(number)

        assert await served.ended() in (0, -number)
