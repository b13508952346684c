"""A load generator in a process of its own: so many connections, each of which sends one request again as soon as it is
answered. A raw protocol, so that it is not what is measured.

    python bench/rig/load.py REQUEST_FILE PORT CONNECTIONS SECONDS [SESSION]

The file holds a whole HTTP request. Prints a JSON object: requests, seconds, latencies' quantiles in milliseconds, the
CPU seconds of the processes of SESSION meanwhile, and the last response's headers.
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
PATIENCE = 20  # how often a slow gateway gets as long again for its first answer
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
END_OF_HEADERS, LAST_CHUNK = b"\r\n\r\n", b"0\r\n\r\n"


class Wrong(Exception):
    """A response that is no 200, or none at all."""


@dataclass(slots=True)
class Run:
    """What all connections send, and what they saw: seconds that each answer took, since the run began counting."""

    request: bytes
    ended: asyncio.Future[None]
    took_s: list[float] = field(default_factory=list)
    stops: bool = False
    head: bytes = b""


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._received = b""
        self._wanted: int | None = None
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if self._is_whole():
            self._run.took_s.append(time.perf_counter() - self._sent_s)
            self._received, self._wanted = b"", None
            self._send()

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self._run.stops and not self._run.ended.done():
            self._run.ended.set_exception(Wrong("the connection was closed"))

    def _send(self) -> None:
        if self._run.stops:
            return
        self._sent_s = time.perf_counter()
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
        if b" 200 " not in head[:16] and not self._run.ended.done():
            self._run.ended.set_exception(Wrong(self._received[:2000].decode(errors="replace")))
        length = LENGTH.search(head)
        if length is None and not CHUNKED.search(head):
            self._run.ended.set_exception(Wrong(f"a response without an end: {head!r}"))
        return -1 if length is None else end + len(END_OF_HEADERS) + int(length[1])


async def measured(request: bytes, port: int, connections: int, seconds: float, session: int | None) -> object:
    """One run."""
    loop = asyncio.get_running_loop()
    run = Run(request, loop.create_future())
    await asyncio.gather(*(loop.create_connection(lambda: Client(run), "127.0.0.1", port) for _ in range(connections)))
    await within(run, WARM_S)
    for _ in range(PATIENCE):
        if not run.took_s:
            await within(run, WARM_S)
    pids = [] if session is None else [*session_of(session)]
    run.took_s.clear()
    began_s, cpu_began_s = time.perf_counter(), cpu_s(pids)
    await within(run, seconds)
    for _ in range(PATIENCE):
        if not run.took_s:
            await within(run, seconds)
    elapsed_s, used_s, took_s = time.perf_counter() - began_s, cpu_s(pids) - cpu_began_s, sorted(run.took_s)
    run.stops = True
    if not took_s:
        raise Wrong("no answer in time")
    return {
        "requests": len(took_s), "seconds": elapsed_s, "cpu_s": used_s, "head": run.head.decode(),
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
    seen = uvloop.run(
        measured(
            Path(file).read_bytes(), int(port), int(connections), float(seconds), int(session[0]) if session else None
        )
    )
    sys.stdout.buffer.write(orjson.dumps(seen))


if __name__ == "__main__":
    main()
