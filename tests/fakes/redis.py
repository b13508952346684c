"""A real Redis, or Valkey, as a process of the test's own."""

import asyncio
import contextlib
import shutil
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from models.launcher.program import free_ports

PROGRAMS = ("redis-server", "valkey-server")


def program() -> str:
    """What `make test` installs."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert found is not None, "there is no redis-server and no valkey-server: `make test` installs one"
    return found


class RedisServer:
    """Can be killed, started again with what it had, and stopped in its tracks."""

    def __init__(self, folder: Path, *options: str) -> None:
        (self.port,) = free_ports(1)
        self._options = options
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: Process | None = None

    async def start(self) -> None:
        """Until it answers."""
        self._process = await asyncio.create_subprocess_exec(
            program(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", *self._options, stdout=DEVNULL, stderr=DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(20):
            while not await self._answers():  # noqa: ASYNC110 - it says so to nobody
                await asyncio.sleep(0.02)

    async def told(self, command: str) -> bytes:
        """The first line of what it says to a command without blanks in its words."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(command.encode() + b"\r\n")
        line = await reader.readline()
        writer.close()
        return line.rstrip()

    async def kill(self) -> None:
        """As if its machine were gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def lose(self) -> None:
        """What it kept."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def freeze(self) -> None:
        """It takes connections and questions, and answers none until it thaws."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It answers all that it was asked."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.write(b"PING\r\n")
        line = await reader.readline()
        writer.close()
        return line.startswith(b"+PONG")


@asynccontextmanager
async def running_redis(folder: Path, *options: str) -> AsyncIterator[RedisServer]:
    """One that ends with the block, with these options too."""
    server = RedisServer(folder, *options)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
