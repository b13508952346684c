"""A deployment's parts as processes that can be killed and brought back: PostgreSQL, Redis, engines, gateways."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from models.demo.files import WEIGHTS

READY_S = 180
SMALLFIRST = Path(sys.executable).with_name("smallfirst")
POSTGRESQL = Path("/usr/lib/postgresql")


class NotThere(Exception):
    """A program that this needs is not installed."""


@dataclass(slots=True)
class Part:
    """One process: how it is started, and when it answers."""

    name: str
    command: Sequence[object]
    answers: Callable[[], Awaitable[bool]]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; `ready` waits."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *map(str, self.command),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.environment}, start_new_session=True,
            )  # fmt: skip

    async def ready(self) -> None:
        """Wait until it answers."""
        async with asyncio.timeout(READY_S):
            while not await self.answers():
                if self.process is None or self.process.returncode is not None:
                    raise NotThere(f"{self.name} ended: see {self.log}")
                await asyncio.sleep(0.1)

    async def kill(self) -> None:
        """Kill it and all that it started, as a machine that goes away would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end."""
        await self._end(signal.SIGTERM)

    async def _end(self, by: signal.Signals) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, by)
        await self.process.wait()


async def http_ok(url: str) -> bool:
    """Whether it answers 200."""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with aiohttp.ClientSession() as session, session.get(url, timeout=aiohttp.ClientTimeout(2)) as reply:
            return reply.status == 200
    return False


async def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def engine(name: str, model: str, port: int, folder: Path) -> Part:
    """One of the demo pair, on the laptop engine."""
    command = [
        SMALLFIRST, "engine", WEIGHTS / model, "--served-model-name", f"smallfirst-demo-{model}", "--port", port,
        "--threads", 1, "--speculative-tokens", 16 if model == "large" else 0,
    ]  # fmt: skip
    return Part(name, command, lambda: http_ok(f"http://127.0.0.1:{port}/health"), folder / f"{name}.log")


def gateway(name: str, config: Path, port: int, folder: Path, environment: Mapping[str, str]) -> Part:
    """One replica of the gateway, with a folder of its own for its journal."""
    command = [SMALLFIRST, "serve", config]
    own = {
        **environment,
        "SMALLFIRST_SERVER__PORT": str(port),
        "XDG_STATE_HOME": str(folder / f"{name}-state"),
    }
    return Part(name, command, lambda: http_ok(f"http://127.0.0.1:{port}/ready"), folder / f"{name}.log", own)


def redis(port: int, folder: Path) -> Part:
    """Redis, which keeps nothing on disk."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise NotThere("redis-server or valkey-server is needed")
    command = [program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return Part("redis", command, lambda: accepts(port), folder / "redis.log")


def newest() -> Path:
    """The folder of PostgreSQL's programs. Raises NotThere."""
    programs = max(POSTGRESQL.glob("*/bin"), key=lambda path: float(path.parent.name), default=None)
    if programs is None:
        raise NotThere("PostgreSQL's server is needed, below /usr/lib/postgresql")
    return programs


async def postgresql(port: int, folder: Path) -> Part:
    """A new PostgreSQL cluster of the superuser `smallfirst`, who needs no password on this machine."""
    programs = newest()
    home = folder / "postgresql"
    home.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:  # which PostgreSQL refuses
        shutil.chown(home, "postgres", "postgres")
        as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    making = await asyncio.create_subprocess_exec(
        *as_user, programs / "initdb", "-D", home / "data", "-U", "smallfirst", "-A", "trust",
        stdout=asyncio.subprocess.DEVNULL, cwd="/",
    )  # fmt: skip
    if await making.wait() != 0:
        raise NotThere("initdb failed")
    command = [*as_user, programs / "postgres", "-D", home / "data", "-p", port, "-k", home, "-h", "127.0.0.1"]
    return Part("postgresql", command, lambda: accepts(port), folder / "postgresql.log")
