"""Gateways are replaced one after another under load, and no client notices."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import openai
from fakes.proxy import Proxy
from fakes.scripted import Script, ScriptedServer
from fakes.served import Served, pair

CLIENTS = 8
SAID = "one two three four five six seven eight nine ten"


class Load:
    """Clients that ask without a pause, every second one for a stream, and do not try again."""

    def __init__(self, url: str) -> None:
        self._client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30)
        self._enough = asyncio.Event()
        self.answers: list[str] = []

    async def until_enough(self) -> None:
        """Ask until told to stop. Raises whatever a client sees that is no answer."""
        async with self._client, asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(self._ask(streams=number % 2 == 0))

    def enough(self) -> None:
        """The answers under way are the last."""
        self._enough.set()

    async def more(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answers) + count
        async with asyncio.timeout(60):
            while len(self.answers) < wanted:  # noqa: ASYNC110 - it is counted by many
                await asyncio.sleep(0.01)

    async def _ask(self, *, streams: bool) -> None:
        messages = [{"role": "user", "content": "count"}]
        while not self._enough.is_set():
            if streams:
                chunks = await self._client.chat.completions.create(model="auto", messages=messages, stream=True)
                said = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
            else:
                reply = await self._client.chat.completions.create(model="auto", messages=messages)
                said = reply.choices[0].message.content or ""
            self.answers.append(said)


async def test_a_rolling_update_under_load_fails_no_request(tmp_path: Path) -> None:
    slow, unsure = Script(SAID, pause_s=0.02), Script("maybe", p=0.1)
    async with ScriptedServer(unsure) as small, ScriptedServer(slow) as large, AsyncExitStack() as stack:
        config = pair(small.url, large.url, drain_s=1.0, shutdown_s=30.0)
        before = [Served(tmp_path / f"{number}.yaml", config) for number in range(2)]
        for gateway in before:
            await stack.enter_async_context(gateway)
        proxy = await stack.enter_async_context(Proxy([gateway.url for gateway in before]))
        await proxy.until(*proxy.sent)
        load = Load(proxy.url)
        asking = asyncio.create_task(load.until_enough())

        for old in before:
            await load.more(2 * CLIENTS)
            old.end()
            await old.ended()
            assert old.url not in proxy.ready
            new = await stack.enter_async_context(Served(old.file, config, port=old.port))
            await proxy.until(*proxy.sent)
            answered = proxy.sent[new.url]
            await load.more(2 * CLIENTS)
            assert proxy.sent[new.url] > answered
        load.enough()
        await asking

    assert set(load.answers) == {SAID}
    assert len(load.answers) >= 8 * CLIENTS
