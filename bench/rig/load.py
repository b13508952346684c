"""A load generator in a process of its own: so many connections, each of which sends one request again as soon as it is
answered. A raw protocol, so that it is not what is measured. A connection that is closed where no answer has begun,
behind a whole one or by a server whose queue of connections is full, is opened again, on the next answer's time.

    python bench/rig/load.py REQUEST_FILE PORT CONNECTIONS SECONDS [SESSION]

The file holds a whole HTTP request. Prints a JSON object: requests, seconds, latencies' quantiles in milliseconds, the
CPU seconds of the processes of SESSION meanwhile, how many connections were opened again, and the last response's
headers; or why there is none, as the last line of its errors.
"""

import asyncio
import gc
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import uvloop

from bench.rig.processes import cpu_s, session_of

WARM_S = 0.3
AGAIN_S = 0.01  # until a connection that was closed is opened again
PATIENCE = 20  # how often a slow gateway gets as long again for its first answer
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
END_OF_HEADERS, LAST_CHUNK = b"\r\n\r\n", b"0\r\n\r\n"


class Wrong(Exception):
    """A response that is no 200, or none at all."""


@dataclass(slots=True)
class Run:
    """What all connections send, and what they saw since the run began counting: seconds that each answer took, and
    connections that were opened again."""

    request: bytes
    port: int
    ended: asyncio.Future[None]
    took_s: list[float] = field(default_factory=list)
    reopened: int = 0
    stops: bool = False
    head: bytes = b""
    opening: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self, wanted_s: float | None = None) -> None:
        """A connection, for a request that was wanted at that time, or now."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: Client(self, wanted_s), "127.0.0.1", self.port)
        except OSError as refused:
            self.failed(f"no connection: {refused}")

    def reopen(self, wanted_s: float) -> None:
        """Soon: the server closed one where no answer had begun."""
        self.reopened += 1
        task = asyncio.get_running_loop().create_task(self._open_soon(wanted_s))
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    async def _open_soon(self, wanted_s: float) -> None:
        await asyncio.sleep(AGAIN_S)
        if not self.stops:
            await self.open(wanted_s)

    def failed(self, why: str) -> None:
        """Nothing more is measured."""
        if not self.stops and not self.ended.done():
            self.ended.set_exception(Wrong(why))


class Client(asyncio.Protocol):
    """One connection, whose first request was wanted at that time, or is as it opens."""

    def __init__(self, run: Run, wanted_s: float | None) -> None:
        self._run = run
        self._received = b""
        self._wanted: int | None = None
        self._wanted_s = wanted_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send(time.perf_counter() if self._wanted_s is None else self._wanted_s)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if self._is_whole():
            now_s = time.perf_counter()
            self._run.took_s.append(now_s - self._sent_s)
            self._received, self._wanted = b"", None
            self._send(now_s)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._received:
            self._run.failed("the connection was closed within an answer")
        elif not self._run.stops:
            self._run.reopen(self._sent_s)

    def _send(self, wanted_s: float) -> None:
        if self._run.stops:
            return
        self._sent_s = wanted_s
        self._transport.write(self._run.request)

    def _is_whole(self) -> bool:
        if self._wanted is None:
            end = self._received.find(END_OF_HEADERS)
            if end < 0:
                return False
            self._wanted = self._length(end)
        if self._wanted < 0:
            return self._received.endswith(LAST_CHUNK)
        return len(self._received) >= self._wanted

    def _length(self, end: int) -> int:
        """Of the whole response; -1 where it is chunked."""
        head = self._run.head = self._received[:end]
        if b" 200 " not in head[:16]:
            self._run.failed(f"not a 200: {self._received[:2000]!r}")
        length = LENGTH.search(head)
        if length is None and not CHUNKED.search(head):
            self._run.failed(f"a response without an end: {head!r}")
        return -1 if length is None else end + len(END_OF_HEADERS) + int(length[1])


async def measured(request: bytes, port: int, connections: int, seconds: float, session: int | None) -> object:
    """One run."""
    run = Run(request, port, asyncio.get_running_loop().create_future())
    await asyncio.gather(*(run.open() for _ in range(connections)))
    await within(run, WARM_S)
    for _ in range(PATIENCE):
        if not run.took_s:
            await within(run, WARM_S)
    pids = [] if session is None else [*session_of(session)]
    run.took_s.clear()
    run.reopened = 0
    began_s, cpu_began_s = time.perf_counter(), cpu_s(pids)
    await within(run, seconds)
    for _ in range(PATIENCE):
        if not run.took_s:
            await within(run, seconds)
    elapsed_s, used_s, took_s = time.perf_counter() - began_s, cpu_s(pids) - cpu_began_s, sorted(run.took_s)
    run.stops = True
    if not took_s:
        raise Wrong(f"no answer in time; {run.reopened} connections were opened again")
    return {
        "requests": len(took_s), "seconds": elapsed_s, "cpu_s": used_s, "reopened": run.reopened,
        "head": run.head.decode(),
        **{name: 1000 * took_s[int(share * (len(took_s) - 1))] for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))},
    }  # fmt: skip


async def within(run: Run, seconds: float) -> None:
    """Let it run for so long. Raises Wrong."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(run.ended)
    except TimeoutError:
        return


def main() -> None:
    """By the arguments."""
    file, port, connections, seconds, *session = sys.argv[1:]
    gc.freeze()
    about = int(session[0]) if session else None
    try:
        seen = uvloop.run(measured(Path(file).read_bytes(), int(port), int(connections), float(seconds), about))
    except Wrong as wrong:
        raise SystemExit(str(wrong)) from wrong
    sys.stdout.buffer.write(orjson.dumps(seen))


if __name__ == "__main__":
    main()
