"""Several workers behind one door, as processes."""

import asyncio
import os
import signal
import sqlite3
from pathlib import Path

import aiohttp
import openai
from fakes.load import CLIENTS, Load
from fakes.redis import running_redis
from fakes.scripted import Script, ScriptedServer
from fakes.served import Served, pair

SAID = "one two three"
LOST = "lost"


class HardyLoad(Load):
    """Goes on where an answer breaks."""

    async def one(self, *, streams: bool) -> str:
        """One answer, or that there was none."""
        try:
            return await super().one(streams=streams)
        except openai.APIError:
            return LOST


async def metrics(url: str) -> dict[str, float]:
    """By name and labels, over a connection of its own: whichever worker takes it."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def answered(seen: dict[str, float]) -> float:
    """Requests that ended well."""
    return sum(
        value for name, value in seen.items() if name.startswith("smallfirst_requests_total") and '"200"' in name
    )


async def until_answered(url: str, count: int) -> None:
    """Wait until so many are counted: a request is, a moment after its client has read the last byte."""
    async with asyncio.timeout(10):
        while answered(await metrics(url)) < count:
            pass


def kept(folder: Path) -> int:
    """Decisions in the store."""
    with sqlite3.connect(folder / "smallfirst.db") as connection:
        return int(connection.execute("select count(distinct id) from decisions").fetchone()[0])


async def test_of_a_killed_worker_only_its_own_requests_fail_and_nothing_else_is_lost(tmp_path: Path) -> None:
    slow = Script(SAID, pause_s=0.01)
    async with ScriptedServer(Script("maybe", p=0.1)) as small, ScriptedServer(slow) as large:
        config = {**pair(small.url, large.url, workers=2), "store": {"folder": str(tmp_path)}}
        async with Served(tmp_path / "gateway.yaml", config) as served:
            load = HardyLoad(served.url)
            asking = asyncio.create_task(load.until_enough())
            await load.more(4 * CLIENTS)
            shown = answered(await metrics(served.url))
            killed = served.workers[0]

            os.kill(killed, signal.SIGKILL)
            async with asyncio.timeout(30):
                while killed in served.workers or len(served.workers) < 2:  # noqa: ASYNC110 - processes have no event
                    await asyncio.sleep(0.02)
            assert answered(await metrics(served.url)) >= shown
            await load.more(4 * CLIENTS)
            load.enough()
            await asking
            finished = len(load.answers) - load.answers.count(LOST)
            async with asyncio.timeout(10):
                while (await metrics(served.url))["smallfirst_requests_running"]:
                    pass
            seen = [await metrics(served.url) for _ in range(4)]
            served.end()
            await served.ended()

    assert seen[0]["smallfirst_worker_deaths_total"] == 1
    assert load.answers.count(LOST) <= CLIENTS
    assert load.answers[-CLIENTS:].count(LOST) == 0
    assert len({answered(one) for one in seen}) == 1
    assert answered(seen[0]) >= shown
    assert kept(tmp_path) >= finished


async def test_any_worker_shows_the_metrics_of_all_of_them_and_of_those_before_a_reload(tmp_path: Path) -> None:
    async with ScriptedServer(Script(SAID)) as small, ScriptedServer(Script(SAID)) as large:
        config = pair(small.url, large.url, workers=2)
        async with Served(tmp_path / "gateway.yaml", config) as served:
            url, body = f"{served.url}/v1/chat/completions", {"model": "small", "messages": []}
            body["messages"] = [{"role": "user", "content": "count"}]

            async def ask() -> None:
                async with aiohttp.ClientSession() as session, session.post(url, json=body) as reply:
                    await reply.read()

            await asyncio.gather(*(ask() for _ in range(40)))
            await until_answered(served.url, 40)
            before = [await metrics(served.url) for _ in range(8)]
            await served.reload(config)
            await ask()
            await until_answered(served.url, 41)
            after = [await metrics(served.url) for _ in range(8)]

    count = 'smallfirst_request_seconds_count{cascade="small"}'
    bucket = 'smallfirst_request_seconds_bucket{cascade="small",le="+Inf"}'
    assert (
        {answered(one) for one in before} == {one[count] for one in before} == {one[bucket] for one in before} == {40}
    )
    assert {answered(one) for one in after} == {one[count] for one in after} == {41}
    assert {one['smallfirst_reloads_total{result="done"}'] for one in after} == {1}
    assert {one["smallfirst_requests_running"] for one in (*before, *after)} == {0}
    assert {one[f'smallfirst_replica_up{{replica="{small.url}",tier="small"}}'] for one in after} == {1}


async def test_all_workers_end_their_streams_when_the_gateway_ends(tmp_path: Path) -> None:
    slow = Script(SAID, pause_s=0.1)
    async with (
        ScriptedServer(slow) as small,
        ScriptedServer(slow) as large,
        Served(tmp_path / "gateway.yaml", pair(small.url, large.url, workers=2)) as served,
    ):
        client = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
        messages = [{"role": "user", "content": "count"}]
        streams = [
            await client.chat.completions.create(model="large", messages=messages, stream=True) for _ in range(8)
        ]
        served.end()

        for stream in streams:
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == SAID
        assert await served.ended() == -signal.SIGTERM
        assert await served.ready() is None


async def test_who_kills_the_parent_kills_the_gateway(tmp_path: Path) -> None:
    async with (
        ScriptedServer(Script()) as small,
        ScriptedServer(Script()) as large,
        Served(tmp_path / "gateway.yaml", pair(small.url, large.url, workers=2)) as served,
    ):
        served.process.kill()

        async with asyncio.timeout(10):
            while await served.ready() is not None:  # noqa: ASYNC110 - processes have no event
                await asyncio.sleep(0.02)


async def test_workers_count_a_callers_limits_together(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    async with (
        running_redis(tmp_path / "redis") as redis,
        ScriptedServer(Script()) as small,
        ScriptedServer(Script()) as large,
    ):
        limits = {"url": redis.url, "default": {"requests_per_minute": 7}}
        config = {**pair(small.url, large.url, workers=2), "limits": limits}
        async with Served(tmp_path / "gateway.yaml", config) as served:
            body = {"model": "small", "messages": [{"role": "user", "content": "is it?"}]}

            async def ask() -> int:
                url = f"{served.url}/v1/chat/completions"
                async with aiohttp.ClientSession() as session, session.post(url, json=body) as reply:
                    return reply.status

            statuses = await asyncio.gather(*(ask() for _ in range(24)))

    assert sorted(statuses) == [200] * 7 + [429] * 17


async def test_a_worker_that_stands_still_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    async with ScriptedServer(Script(SAID)) as small, ScriptedServer(Script(SAID)) as large:
        config = pair(small.url, large.url, workers=2, hung_s=2)
        async with Served(tmp_path / "gateway.yaml", config) as served:
            load = HardyLoad(served.url)
            asking = asyncio.create_task(load.until_enough())
            await load.more(CLIENTS)
            still, other = served.workers

            os.kill(still, signal.SIGSTOP)
            async with asyncio.timeout(30):
                while still in served.workers or len(served.workers) < 2:  # noqa: ASYNC110 - processes have no event
                    await asyncio.sleep(0.02)
            await load.more(4 * CLIENTS)
            load.enough()
            await asking
            deaths = (await metrics(served.url))["smallfirst_worker_deaths_total"]
            assert other in served.workers

    assert deaths == 1
    assert "a worker hangs" in served.log.read_text()
    assert load.answers.count(LOST) <= CLIENTS
    assert load.answers[-CLIENTS:].count(LOST) == 0
