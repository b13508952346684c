"""Gateways are replaced one after another under load, and no client notices."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from fakes.load import CLIENTS, Load
from fakes.proxy import Proxy
from fakes.scripted import Script, ScriptedServer
from fakes.served import Served, pair

SAID = "one two three four five six seven eight nine ten"


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
