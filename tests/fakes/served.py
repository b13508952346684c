"""`smallfirst serve` as a process of its own, in front of servers that a test runs."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import aiohttp
import yaml

from models.launcher.program import free_ports

SMALLFIRST = Path(sys.executable).with_name("smallfirst")
WITHIN_S = 60.0


class Served:
    """The process, once it answers; killed when the block ends, if it did not end by itself."""

    def __init__(self, file: Path, config: Mapping[str, object], port: int | None = None) -> None:
        self.port = port or free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.file = file
        self.configure(config)
        self.log = file.with_suffix(".log")
        self.command = (str(SMALLFIRST), "serve", str(file))

    async def __aenter__(self) -> Self:
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(*self.command, env=dict(os.environ), stderr=log)
        async with asyncio.timeout(WITHIN_S):
            while await self.ready() is None:
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def configure(self, config: Mapping[str, object]) -> None:
        """Write the configuration, for a port of its own."""
        server = {"port": self.port, **dict(config.get("server", {}))}
        self.file.write_text(yaml.safe_dump({**config, "server": server}))

    async def reload(self, config: Mapping[str, object]) -> None:
        """Have it read this one, and wait until it goes by it, or has said that it does not."""
        before = self.reloads
        self.configure(config)
        self.end(signal.SIGHUP)
        async with asyncio.timeout(WITHIN_S):
            while self.reloads == before:  # noqa: ASYNC110 - processes have no event
                await asyncio.sleep(0.02)

    @property
    def reloads(self) -> int:
        """How many times it has read its configuration again, to whatever end."""
        said = self.log.read_text()
        return said.count('"reloaded":true') + said.count("configuration not reloaded")

    @property
    def workers(self) -> list[int]:
        """The processes that answer, the oldest first."""
        return children_of(self.process.pid)

    async def ready(self) -> int | None:
        """The status of `/ready`; None where nobody listens."""
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/ready") as reply:
                return reply.status
        except aiohttp.ClientConnectionError:
            return None

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, or minus the signal that ended it."""
        async with asyncio.timeout(WITHIN_S):
            return await self.process.wait()


def pair(small_url: str, large_url: str, **server: object) -> dict[str, object]:
    """A cascade `auto` over two scripted servers, that keeps nothing."""
    tiers = {
        name: {"model": "scripted", "price": {"input": 1.0, "output": 2.0}, "urls": [url]}
        for name, url in (("small", small_url), ("large", large_url))
    }
    cascades = {"auto": {"tiers": ["small", "large"], "threshold": 0.5}}
    return {"tiers": tiers, "cascades": cascades, "server": server, "store": {"url": "none"}}


def children_of(pid: int) -> list[int]:
    """The processes that one has started, the oldest first."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
