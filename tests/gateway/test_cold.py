"""A tier without servers: requests wait for the first one, as many and as long as the operator lets them."""

import asyncio

import aiohttp
from aiohttp import web
from fakes.gateway import running_gateway
from fakes.pools import metrics_of
from fakes.scripted import Script, ScriptedServer

from models.launcher.program import free_ports
from server.settings.schema import Settings

BODY = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}
ONE = 256 / 30  # what one request comes to that just arrived, and once more where it waits
DEMAND = 'smallfirst_tier_demand_tokens_per_second{tier="large"}'


class LateServer(ScriptedServer):
    """Comes to the port that it is given only when it is started."""

    async def start_at(self, port: int) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()


def settings(small_url: str, large_port: int, cold: dict[str, object] | None) -> Settings:
    price = {"input": 1.0, "output": 2.0}
    large = {"model": "scripted", "price": price, "urls": [f"http://127.0.0.1:{large_port}"], "cold": cold}
    small = {"model": "scripted", "price": price, "urls": [small_url]}
    cascades = {"auto": {"tiers": ["small", "large"], "threshold": 0.5}}
    return Settings.model_validate({"tiers": {"small": small, "large": large}, "cascades": cascades})


async def ask(client: aiohttp.ClientSession, url: str) -> tuple[int, str | None, dict[str, object]]:
    async with client.post(f"{url}/v1/chat/completions", json=BODY) as reply:
        return reply.status, reply.headers.get("retry-after"), await reply.json()


async def waits(url: str, wanted: float) -> None:
    """Until the demand shows that requests wait."""
    async with asyncio.timeout(20):
        while await demand_at(url) < wanted:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.02)


async def demand_at(url: str) -> float:
    (line,) = [line for line in (await metrics_of(url)).splitlines() if line.startswith(DEMAND)]
    return float(line.rpartition(" ")[2])


async def test_a_request_that_meets_no_server_waits_for_one_and_is_seen_to_wait() -> None:
    (port,) = free_ports(1)
    late = LateServer(Script("no"))
    async with (
        ScriptedServer(Script("yes", p=0.1)) as small,
        running_gateway(settings(small.url, port, {"wait_s": 60.0, "requests": 2})) as url,
        aiohttp.ClientSession() as client,
    ):
        async with client.get(f"{url}/ready") as ready:
            assert (ready.status, (await ready.json())["tiers"]["large"]) == (200, "down")
        asking = [asyncio.create_task(ask(client, url)) for _ in range(2)]
        await waits(url, 3.5 * ONE)

        await late.start_at(port)
        try:
            answers = await asyncio.gather(*asking)
        finally:
            await late.stop()

    assert [status for status, _, _ in answers] == [200, 200]
    assert answers[0][2]["choices"][0]["message"]["content"] == "no"


async def test_more_than_may_wait_and_those_that_waited_in_vain_are_told_to_come_again() -> None:
    (port,) = free_ports(1)
    async with ScriptedServer(Script("yes", p=0.1)) as small, aiohttp.ClientSession() as client:
        async with running_gateway(settings(small.url, port, {"wait_s": 60.0, "requests": 1})) as url:
            waiting = asyncio.create_task(ask(client, url))
            await waits(url, 1.5 * ONE)

            crowded = await ask(client, url)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with running_gateway(settings(small.url, port, {"wait_s": 0.01})) as url:
            in_vain = await ask(client, url)
        async with running_gateway(settings(small.url, port, None)) as url:
            at_once = await ask(client, url)
            async with client.get(f"{url}/ready") as ready:
                assert ready.status == 503

    for status, retry_after, body in (crowded, in_vain, at_once):
        assert (status, retry_after, body["error"]["code"]) == (503, "1", "model_unreachable")


async def test_a_server_that_is_there_and_fails_is_not_waited_for() -> None:
    async with ScriptedServer(Script("yes", p=0.1)) as small, ScriptedServer(Script(status=500)) as large:
        port = int(large.url.rpartition(":")[2])
        async with (
            running_gateway(settings(small.url, port, {"wait_s": 600.0})) as url,
            aiohttp.ClientSession() as client,
        ):
            status, _, _ = await ask(client, url)

    assert status == 503
