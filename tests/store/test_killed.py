"""Real gateways, killed under load: every request that a client has read to its end is in the store, once."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import yaml
from fakes.scripted import Script, ScriptedServer
from fakes.stores import Place, count, decision, rows, store_of, until

from models.launcher.program import free_ports

SMALLFIRST = Path(sys.executable).with_name("smallfirst")
ASK = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}], "max_tokens": 9}
PATHS = ("/v1/chat/completions", "/v1/messages")


async def test_a_killed_gateway_loses_no_finished_request(place: Place) -> None:
    async with (
        servers() as urls,
        gateway_at(place, urls) as first,
        gateway_at(place, urls) as second,
    ):
        finished: list[str] = []
        load = [asyncio.create_task(ask_on(url, finished)) for url in (first.url, second.url) for _ in range(4)]
        await until(lambda: len(finished) >= 60)
        first.process.kill()
        await first.process.wait()
        killed_at = len(finished)
        await until(lambda: len(finished) >= killed_at + 20)
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
        async with gateway_at(place, urls):
            await until(lambda: set(finished) <= kept(place))

        assert count(place) == len(kept(place))
        assert killed_at >= 60


async def test_a_gateway_that_starts_takes_over_what_a_killed_one_left(place: Place) -> None:
    """One that is killed before its writer ever ran: all of its records are in its journal."""
    left = store_of(place)
    ids = {left.keeper.keep(one) and one.request_id for one in [decision(time=time.time()) for _ in range(20)]}
    left.journal.append(b'{"decision":{"id":"cut in the mid')
    left.journal.close()

    async with servers() as urls, gateway_at(place, urls):
        await until(lambda: ids <= kept(place))

    assert count(place) == 20


async def test_a_gateway_ends_well_and_leaves_nothing_undrained(place: Place) -> None:
    async with servers() as urls, gateway_at(place, urls) as only:
        finished: list[str] = []
        load = asyncio.create_task(ask_on(only.url, finished))
        await until(lambda: len(finished) >= 10)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        only.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await only.process.wait()

        assert set(finished) <= kept(place)
        assert list(place.journal.iterdir()) == []


async def test_a_folder_that_cannot_be_written_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    file = written(tmp_path, ["http://127.0.0.1:1"] * 2, 1, {"folder": "store"})

    process = await asyncio.create_subprocess_exec(SMALLFIRST, "serve", file, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        _, said = await process.communicate()

    assert process.returncode == 2
    assert said.decode().startswith(f"error: store: {tmp_path / 'store' / 'journal'} cannot be written")
    assert "store: {url: none}" in said.decode()


async def test_a_home_that_cannot_be_written_stops_no_gateway(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder")
    async with servers() as urls, gateway(tmp_path, urls, XDG_STATE_HOME=str(tmp_path / "home")) as only:
        finished: list[str] = []
        load = asyncio.create_task(ask_on(only.url, finished))
        await until(lambda: len(finished) >= 2)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)


async def test_without_settings_decisions_are_kept_where_programs_keep_their_state(tmp_path: Path) -> None:
    async with servers() as urls, gateway(tmp_path, urls, XDG_STATE_HOME=str(tmp_path)) as only:
        load = asyncio.create_task(ask_on(only.url, []))
        await until(lambda: (tmp_path / "smallfirst" / "smallfirst.db").exists())
        await until(lambda: count(tmp_path / "smallfirst") > 0)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)


class Running:
    """A gateway that is a process."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url


@asynccontextmanager
async def servers() -> AsyncIterator[list[str]]:
    """The addresses of a small and a large model."""
    async with ScriptedServer(Script("may be", p=0.2)) as small, ScriptedServer(Script("no it is not")) as large:
        yield [small.url, large.url]


@asynccontextmanager
async def gateway(
    folder: Path, urls: list[str], database: str | None = None, **environment: str
) -> AsyncIterator[Running]:
    """`smallfirst serve`, when it is healthy, with a journal in the folder and this database, or as it is without
    settings; it ends with the block."""
    (port,) = free_ports(1)
    file = written(folder, urls, port, {"folder": str(folder), "url": database} if database else None)
    process = await asyncio.create_subprocess_exec(
        SMALLFIRST, "serve", file, env={**os.environ, **environment}, stderr=DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await healthy(url)
        yield Running(process, url)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(30):
            await process.wait()


def gateway_at(place: Place, urls: list[str]) -> AbstractAsyncContextManager[Running]:
    """One that keeps its store there."""
    return gateway(place.folder, urls, place.url)


def written(folder: Path, urls: list[str], port: int, store: dict[str, str] | None) -> Path:
    """A configuration."""
    tier = {"model": "scripted", "price": {"input": 1, "output": 1}}
    tiers = {name: {**tier, "urls": [url]} for name, url in zip(("small", "large"), urls, strict=True)}
    cascades = {"auto": {"tiers": ["small", "large"], "threshold": 0.5}}
    settings = {"tiers": tiers, "cascades": cascades, "server": {"port": port}}
    file = folder / f"{port}.yaml"
    file.write_text(yaml.safe_dump({**settings, **({"store": store} if store else {})}))
    return file


async def healthy(url: str) -> None:
    """Wait, within bounds, for the gateway to answer."""
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/health"):
                    return
            await asyncio.sleep(0.05)


async def ask_on(url: str, finished: list[str]) -> None:
    """Ask one thing after another, as long as there is somebody to ask."""
    with contextlib.suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session:
            while True:
                number = len(finished)
                body = {**ASK, "stream": number % 3 == 0}
                async with session.post(url + PATHS[number % 2], json=body) as reply:
                    await reply.read()
                    finished.append(reply.headers["x-request-id"])


def kept(place: Place) -> set[str]:
    """The requests in the store."""
    return {request_id for (request_id,) in rows(place, "SELECT request_id FROM decisions")} if count(place) else set()
