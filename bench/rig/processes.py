"""Programs under measurement: started, on one core if need be, with all that they start; their CPU time and memory."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
READY_S = 120
LOOK_S, REST = 0.1, 0.2  # what is at rest takes less than that share of a core


class NotStarted(Exception):
    """A program ended, or did not answer in time."""


@asynccontextmanager
async def running(
    command: Sequence[object], *, ready: str, log: Path, core: int | None = None,
    environment: Mapping[str, str] | None = None, apart: bool = True,
) -> AsyncIterator[int]:  # fmt: skip
    """A program, on that core alone if one is named, by its id, which is that of its session too; once `ready`, a URL,
    answers 200. Raises NotStarted.

    Where it is not `apart`, it is in the caller's session: Linux has sessions share the processor alike, however many
    processes they have (sched(7), autogroups). Then it must end what it starts itself.
    """
    pinned = () if core is None else ("taskset", "-c", str(core))
    with log.open("ab") as written:
        process = subprocess.Popen(  # noqa: ASYNC220
            [*pinned, *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=written, stderr=written, start_new_session=apart,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    try:
        await answering(ready, process, log)
        yield process.pid
    finally:
        end = os.killpg if apart else os.kill
        with contextlib.suppress(ProcessLookupError):
            end(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if apart or process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                end(process.pid, signal.SIGKILL)
        process.wait()


async def answering(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the URL answers 200. Raises NotStarted."""
    deadline_s = time.monotonic() + READY_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while time.monotonic() < deadline_s and process.poll() is None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url) as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(0.02)
    raise NotStarted(f"{url} does not answer: see {log}")


def session_of(leader: int) -> Iterator[int]:
    """The processes of a session."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    yield int(folder.name)


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds that the processes have had, by the kernel's own clocks (clock_getcpuclockid(3)): to the nanosecond,
    where /proc counts in hundredths of a second."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


async def comes_to_rest(leader: int, within_s: float) -> bool:
    """Wait until a session's processes have hardly anything to do any more; whether that came in time."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError):  # one of them has ended meanwhile
            pids = [*session_of(leader)]
            before_s = cpu_s(pids)
            await asyncio.sleep(LOOK_S)
            if cpu_s(pids) - before_s <= REST * LOOK_S:
                return True
    return False


def memory_mib(leader: int) -> float:
    """What a session's processes have in memory."""
    return resident_bytes(session_of(leader)) / 2**20


def resident_bytes(pids: Iterable[int]) -> int:
    """What the processes have in memory; what they share counts for each."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * PAGE_BYTES


def workers_of(gateway: int) -> list[int]:
    """The processes that answer for a gateway: the children of its first one."""
    return [int(one) for one in Path(f"/proc/{gateway}/task/{gateway}/children").read_text().split()]
