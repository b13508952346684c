"""Keeps programs running: restarts with backoff, logs under their names, a stop that leaves nothing behind."""

import asyncio
import contextlib
import ctypes
import os
import signal
import ssl
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import aiohttp
import structlog

from models.launcher.program import Program

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
SETTLED_S = 5.0
STOP_S = 10.0
POLL_S = 0.1
LAST_WORDS_S = 1.0
MAX_STARTS = 5
WRONG_USE = 2
PR_SET_PDEATHSIG = 1
LINE_BYTES = 2**20

log = structlog.get_logger()


class CannotStart(Exception):
    """A program ended again and again before it was healthy, or said that it was started wrongly."""


class Supervisor:
    """One program's life. `print_line(name, line)` gets each line that it writes; `stop_s` is how long it may take
    to end when asked to; a start that takes longer than the program's `start_timeout_s` is ended."""

    def __init__(self, program: Program, *, print_line: Callable[[str, str], None], stop_s: float = STOP_S) -> None:
        self.program = program
        self._stop_s = stop_s
        self.healthy = asyncio.Event()
        self._print_line = print_line
        self._process: Process | None = None

    def kill(self) -> None:
        """End the program and all it started, now."""
        if self._process is not None:
            signal_group(self._process, signal.SIGKILL)

    def tell(self, number: signal.Signals) -> None:
        """Send the program a signal, and nothing that it started."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def run(self) -> None:
        """Until cancelled; then the program and all it started are stopped. Raises CannotStart."""
        pause_s, starts = FIRST_PAUSE_S, 0
        loop = asyncio.get_running_loop()
        while True:
            begun_s = loop.time()
            code = await self._run_once()
            lived = self.healthy.is_set() and loop.time() - begun_s > SETTLED_S
            starts = 0 if lived else starts + 1
            if starts and (code == WRONG_USE or starts == MAX_STARTS):
                raise CannotStart(f"{self.program.name!r} does not start (exit code {code}): see its log above")
            self.healthy.clear()
            if loop.time() - begun_s > STEADY_S:
                pause_s = FIRST_PAUSE_S
            log.warning("ended", program=self.program.name, code=code, restart_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _run_once(self) -> int:
        # A pipe of our own: asyncio's would keep `wait` waiting for as long as some grandchild holds it open.
        reading, writing = os.pipe()
        try:
            process = await self._spawn(writing)
        except OSError as missing:
            os.close(reading)
            command = self.program.command[0]
            raise CannotStart(f"{self.program.name!r}: {command}: {missing.strerror}") from missing
        finally:
            os.close(writing)
        self._process = process
        log.info("started", program=self.program.name, pid=process.pid)
        forwarding = asyncio.create_task(self._forward(reading))
        watching = asyncio.create_task(self._watch_health())
        try:
            return await process.wait()
        finally:
            watching.cancel()
            await stop(process, self._stop_s)
            await asyncio.wait((forwarding,), timeout=LAST_WORDS_S)
            forwarding.cancel()
            await asyncio.gather(forwarding, watching, return_exceptions=True)

    async def _spawn(self, output: int) -> Process:
        return await asyncio.create_subprocess_exec(
            *self.program.command,
            env=self.program.environment or None,
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )

    async def _forward(self, reading: int) -> None:
        async with lines_of(reading) as lines:
            while True:
                try:
                    line = await lines.readline()
                except ValueError:
                    continue  # a line beyond every sane length is dropped
                if not line:
                    return
                with contextlib.suppress(OSError):  # nobody reads: the program must not be held up by that
                    self._print_line(self.program.name, line.decode(errors="replace").rstrip())

    async def _watch_health(self) -> None:
        try:
            async with asyncio.timeout(self.program.start_timeout_s):
                await answers(self.program.health_url, self.program.certificate)
            self.healthy.set()
            log.info("healthy", program=self.program.name)
        except TimeoutError:
            log.warning("not healthy in time", program=self.program.name, after_s=self.program.start_timeout_s)
            self.kill()


async def run_in_turn(supervisors: Sequence[Supervisor], program: str) -> None:
    """Run the program of that name when all that it comes after are healthy. Raises CannotStart."""
    by_name = {supervisor.program.name: supervisor for supervisor in supervisors}
    ours = by_name[program]
    if ours.program.after:
        log.info("waiting", program=program, until_healthy=", ".join(ours.program.after))
    for name in ours.program.after:
        await by_name[name].healthy.wait()
    await ours.run()


@contextlib.asynccontextmanager
async def lines_of(reading: int) -> AsyncIterator[asyncio.StreamReader]:
    """The reading end of a pipe, line by line; closed at the end."""
    lines = asyncio.StreamReader(limit=LINE_BYTES)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(reading, "rb")
    )
    try:
        yield lines
    finally:
        pipe.close()


async def answers(url: str, certificate: Path | None = None) -> None:
    """Return when a GET is answered with 200; by https, by whoever has the key of this very certificate."""
    limit, trusting = aiohttp.ClientTimeout(total=2.0), True if certificate is None else trust_in(certificate)
    async with aiohttp.ClientSession(timeout=limit) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url, ssl=trusting) as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(POLL_S)


def trust_in(certificate: Path) -> ssl.SSLContext:
    """Trust in one certificate alone: it may be for any name, and nobody else need vouch for it."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


async def stop(process: Process, within_s: float) -> None:
    """End the process and its whole group: asked first, then made to."""
    signal_group(process, signal.SIGTERM)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await process.wait()
    finally:
        signal_group(process, signal.SIGKILL)
        await process.wait()


def signal_group(process: Process, number: signal.Signals) -> None:
    """To all that the process started; it may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def die_with_parent() -> Callable[[], None] | None:
    """On Linux, what a child calls so that it is stopped even where its parent is killed."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask_for_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask_for_signal
