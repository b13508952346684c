"""A cascade's queue, as clients see it."""

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import yaml
from conftest import Gateway, GatewayStarter
from fakes.pools import metrics_of
from fakes.scripted import Script, ScriptedServer
from fakes.waiting import until

from models.launcher.program import free_ports

SURE = Script("yes it is", p=0.99)
LARGE = Script("no it is not")
HANG = Script(trouble="hang")
ASK: Any = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}


class Gate:
    """Holds the answers of a scripted server back until it is opened."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self.script = Script("yes it is", p=0.99, handler=self._answer)

    def open(self) -> None:
        """Let them all go."""
        self._open.set()

    async def _answer(self, request: Any) -> Any:
        await self._open.wait()
        body = await request.json()
        return await ScriptedServer(SURE).answer(request, body)


async def waiting(served: Gateway, cascade: str = "auto") -> int:
    """How many wait, by the metrics."""
    line = f'smallfirst_queue_waiting{{cascade="{cascade}"}} '
    return int(float((await metrics_of(served.url)).split(line)[1].split("\n")[0]))


async def until_waiting(served: Gateway, count: int) -> None:
    """Wait, within reason, for so many to wait."""
    async with asyncio.timeout(10):
        while await waiting(served) != count:  # noqa: ASYNC110 - it is a metric
            await asyncio.sleep(0.01)


async def answer(served: Gateway, **fields: Any) -> str | None:
    """What the official client gets."""
    if fields.get("stream"):
        chunks = [chunk async for chunk in await served.client.chat.completions.create(**ASK, **fields)]
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return (await served.client.chat.completions.create(**ASK, **fields)).choices[0].message.content


async def test_who_waits_is_answered_when_its_turn_comes(gateway: GatewayStarter) -> None:
    gate = Gate()
    served = await gateway(small=gate.script, large=LARGE, queue={"at_once": 1})
    asking = [asyncio.create_task(answer(served, stream=number % 2 == 0)) for number in range(4)]
    await until_waiting(served, 3)
    assert len(served.small.seen) == 1

    gate.open()

    assert await asyncio.gather(*asking) == ["yes it is"] * 4
    assert 'smallfirst_queue_waited_seconds_count{cascade="auto"} 4.0' in await metrics_of(served.url)


async def test_the_time_in_the_queue_is_not_the_gateways_own(gateway: GatewayStarter) -> None:
    gate = Gate()
    served = await gateway(small=gate.script, large=LARGE, queue={"at_once": 1})
    asking = [asyncio.create_task(served.client.chat.completions.with_raw_response.create(**ASK)) for _ in range(2)]
    await until_waiting(served, 1)
    await asyncio.sleep(0.3)
    gate.open()

    replies = await asyncio.gather(*asking)

    assert max(float(reply.headers["x-smallfirst-overhead-ms"]) for reply in replies) < 300


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_full_queue_sends_away_with_an_error_and_asks_no_model(gateway: GatewayStarter, path: str) -> None:
    served = await gateway(small=HANG, large=LARGE, queue={"at_once": 1, "waiting": 0})
    first = asyncio.create_task(answer(served))
    await until(lambda: served.small.running == 1)

    body = {**ASK, "max_tokens": 9}
    async with aiohttp.ClientSession() as session, session.post(served.url + path, json=body) as reply:
        error = (await reply.json())["error"]

    assert (reply.status, error["type"]) == (503, "overloaded_error")
    assert int(reply.headers["retry-after"]) >= 1
    assert "x-request-id" in reply.headers
    assert len(served.small.seen) == 1
    assert 'smallfirst_shed_requests_total{cascade="auto",reason="full"} 1.0' in await metrics_of(served.url)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_who_cannot_be_begun_in_time_is_refused(gateway: GatewayStarter) -> None:
    served = await gateway(small=HANG, large=LARGE, queue={"at_once": 1, "wait_s": 0.05})
    first = asyncio.create_task(answer(served))
    await until(lambda: served.small.running == 1)

    with pytest.raises(openai.InternalServerError) as caught:
        await answer(served)

    assert (caught.value.status_code, caught.value.code) == (503, "queue_timeout")
    assert len(served.small.seen) == 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_who_leaves_the_queue_is_never_asked_for_and_is_not_counted_against(gateway: GatewayStarter) -> None:
    gate = Gate()
    served = await gateway(
        small=gate.script, large=LARGE, queue={"at_once": 1}, allowing={"default": {"streams_at_once": 3}}
    )
    first = asyncio.create_task(answer(served))
    await until(lambda: served.small.running == 1)
    for _ in range(20):
        leaving = [asyncio.create_task(answer(served, stream=True)) for _ in range(2)]
        await until_waiting(served, 2)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        await until_waiting(served, 0)

    gate.open()

    assert await first == "yes it is"
    assert len(served.small.seen) == 1


async def test_who_is_sent_away_has_spent_nothing(gateway: GatewayStarter) -> None:
    served = await gateway(
        small=HANG, large=LARGE, queue={"at_once": 1, "waiting": 0},
        allowing={"default": {"requests_per_minute": 2}},
    )  # fmt: skip
    first = asyncio.create_task(answer(served))
    await until(lambda: served.small.running == 1)

    codes = []
    for _ in range(5):
        with pytest.raises(openai.APIStatusError) as caught:
            await answer(served)
        codes.append(caught.value.code)

    assert codes == ["queue_full"] * 5
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_tier_asked_by_its_name_does_not_wait(gateway: GatewayStarter) -> None:
    served = await gateway(small=HANG, large=LARGE, queue={"at_once": 1, "waiting": 0})
    first = asyncio.create_task(answer(served))
    await until(lambda: served.small.running == 1)

    reply = await served.client.chat.completions.create(**{**ASK, "model": "large"})

    assert reply.choices[0].message.content == "no it is not"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_an_engine_that_schedules_by_priorities_is_told_the_callers(gateway: GatewayStarter) -> None:
    served = await gateway(
        small=SURE, large=LARGE, allowing={"default": {"priority": 3}}, tiers={"small": {"priorities": True}}
    )

    for model in ("small", "large"):
        await served.client.chat.completions.create(**{**ASK, "model": model})

    assert served.small.seen[-1]["priority"] == -3
    assert "priority" not in served.large.seen[-1]


async def test_a_gateway_that_stops_says_so_refuses_who_waits_and_ends_what_it_began(tmp_path: Path) -> None:
    gate = Gate()
    async with ScriptedServer(gate.script) as small, ScriptedServer(LARGE) as large, aiohttp.ClientSession() as session:
        (port,) = free_ports(1)
        tier = {"model": "scripted", "price": {"input": 1, "output": 1}}
        file = tmp_path / "gateway.yaml"
        cascade = {"tiers": ["small", "large"], "threshold": 0.5, "queue": {"at_once": 1}}
        file.write_text(
            yaml.safe_dump(
                {
                    "tiers": {"small": {**tier, "urls": [small.url]}, "large": {**tier, "urls": [large.url]}},
                    "cascades": {"auto": cascade},
                    "server": {"port": port, "drain_s": 600},
                    "store": {"url": "none"},
                }
            )
        )
        smallfirst = Path(sys.executable).with_name("smallfirst")
        process = await asyncio.create_subprocess_exec(smallfirst, "serve", file, stderr=DEVNULL)
        url = f"http://127.0.0.1:{port}"
        assert await status_of(session, f"{url}/ready", 200) == 200
        begun, waits = (asyncio.create_task(posted(session, url)) for _ in range(2))
        async with asyncio.timeout(10):
            while 'queue_waiting{cascade="auto"} 1.0' not in await metrics_of(url):  # noqa: ASYNC110 - it is a metric
                await asyncio.sleep(0.01)

        process.send_signal(signal.SIGTERM)
        noticed = await status_of(session, f"{url}/ready", 503)
        still_serves = await status_of(session, f"{url}/health", 200)
        process.send_signal(signal.SIGTERM)
        refused = await waits
        gate.open()
        answered = await begun
        async with asyncio.timeout(30):
            await process.wait()

    assert (noticed, still_serves) == (503, 200)
    assert refused == (503, "shutting_down", "1")
    assert answered == (200, None, None)


async def posted(session: aiohttp.ClientSession, url: str) -> tuple[int, str | None, str | None]:
    """The status, an error's code, and when to try again."""
    async with session.post(f"{url}/v1/chat/completions", json=ASK) as reply:
        body = await reply.json()
        return reply.status, body.get("error", {}).get("code"), reply.headers.get("retry-after")


async def status_of(session: aiohttp.ClientSession, url: str, wanted: int) -> int:
    """The status, when it is the wanted one; waits for that within bounds."""
    async with asyncio.timeout(30):
        while True:
            try:
                async with session.get(url) as reply:
                    if reply.status == wanted:
                        return reply.status
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)
