"""Readers of streams whose tokens say when they were sent (sse_upstream.py), in a process of their own: so many
connections, each of which reads so many answers. A raw protocol, so that it is not what is measured.

    python bench/rig/sse_load.py PORT '{"request": …, "streams": 256, …}'

Prints a JSON object; see `Plan` and `measured`.
"""

import asyncio
import gc
import re
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise

import orjson
import uvloop

from bench.rig.processes import cpu_s, memory_mib, session_of

STAMP = re.compile(rb'"content":\s?" (\d+)"')
LAST_CHUNK = b"\r\n0\r\n\r\n"
END_OF_HEADERS = b"\r\n\r\n"


class Wrong(Exception):
    """A response that is no whole stream."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked: a body and headers, over `streams` connections that begin within `ramp_s`, `answers` times each. A
    token is shown when the one so far `behind` it has come, and the one at place `gate`, counted from 0; `held`: when
    all have. CPU time and memory are those of the processes of `session`; `window_s`: from the end of the ramp on."""

    body: dict[str, object]
    headers: dict[str, str]
    streams: int
    answers: int = 1
    ramp_s: float = 0.0
    window_s: float = 0.0
    gate: int = 0
    behind: int = 0
    held: bool = False
    session: int | None = None

    @property
    def request(self) -> bytes:
        """All of it."""
        written = orjson.dumps(self.body)
        headers = {"host": "127.0.0.1", "content-type": "application/json", "content-length": f"{len(written)}"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **self.headers}.items())
        return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + written


@dataclass(slots=True)
class Answer:
    """When it was asked for, and of each token when it was sent and when it came, in microseconds."""

    asked: int
    sent: list[int] = field(default_factory=list)
    came: list[int] = field(default_factory=list)

    def first_after(self, plan: Plan) -> int:
        """From the question to its first token, beyond what the server took that wrote it, and the gate."""
        return (self.sent[0] - self.asked) + (self.came[0] - self.sent[self._released_by(plan, 0)])

    def stalls(self, plan: Plan) -> list[int]:
        """How much longer each token took than the one before it."""
        late = [came - self.sent[self._released_by(plan, place)] for place, came in enumerate(self.came)]
        return [after - before for before, after in pairwise(late)]

    def _released_by(self, plan: Plan, place: int) -> int:
        last = len(self.sent) - 1
        return last if plan.held else min(last, max(plan.gate, place + plan.behind))


class Reader(asyncio.Protocol):
    """One connection."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._request = plan.request
        self._rest = b""
        self.answers: list[Answer] = []
        self.head = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        came = time.monotonic_ns() // 1000
        answer = self.answers[-1]
        if not self.head:
            self._began(data)
        received = self._rest + data
        end = 0
        for found in STAMP.finditer(received):
            answer.sent.append(int(found[1]))
            answer.came.append(came)
            end = found.end()
        self._rest = received[max(end, len(received) - 64) :]
        if received.endswith(LAST_CHUNK):
            self._ended(received)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._fail("the connection was closed")

    def _ask(self) -> None:
        self._rest = self.head = b""
        self.answers.append(Answer(time.monotonic_ns() // 1000))
        self._transport.write(self._request)

    def _began(self, data: bytes) -> None:
        self.head = data.partition(END_OF_HEADERS)[0]
        if b" 200 " not in self.head[:16]:
            self._fail(data[:2000].decode(errors="replace"))

    def _ended(self, received: bytes) -> None:
        if b"[DONE]" not in received[-64:] or len(self.answers[-1].sent) != self._plan.body["max_tokens"]:
            self._fail(f"{len(self.answers[-1].sent)} tokens, and {received[-200:]!r}")
        elif len(self.answers) < self._plan.answers:
            self._ask()
        elif not self.done.done():
            self.done.set_result(None)

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(Wrong(why))


async def measured(plan: Plan, port: int) -> dict[str, object]:
    """One run: milliseconds from question to first token and by which tokens were stalled, beyond what server and gate
    took; microseconds of CPU for each token, over the whole run and over the window."""
    loop = asyncio.get_running_loop()
    pids = [] if plan.session is None else [*session_of(plan.session)]
    began_s, cpu_began_s = loop.time(), cpu_s(pids)
    opened = [begun(plan, port, plan.ramp_s * place / plan.streams) for place in range(plan.streams)]
    window = asyncio.ensure_future(window_of(plan, pids))
    readers = await asyncio.gather(*opened)
    await asyncio.gather(*(reader.done for reader in readers))
    seconds, used_s = loop.time() - began_s, cpu_s(pids) - cpu_began_s
    answers = [answer for reader in readers for answer in reader.answers]
    tokens = sum(len(answer.sent) for answer in answers)
    window_cpu_s, (window_began, window_ended) = await window
    in_window = sum(window_began <= sent < window_ended for answer in answers for sent in answer.sent)
    return {
        "streams": plan.streams, "tokens": tokens, "seconds": seconds, "cpu_s": used_s,
        "cpu_us": 1e6 * used_s / tokens,
        "window_cpu_us": 1e6 * window_cpu_s / in_window if in_window else None,
        "window_share": window_cpu_s / plan.window_s if plan.window_s else None,
        "first_ms": spread([answer.first_after(plan) for answer in answers]),
        "stall_ms": spread([stall for answer in answers for stall in answer.stalls(plan)]),
        "stalls_over_100_ms": sum(stall > 100_000 for answer in answers for stall in answer.stalls(plan)),
        "memory_mib": None if plan.session is None else memory_mib(plan.session),
        "head": readers[0].head.decode(),
    }  # fmt: skip


async def begun(plan: Plan, port: int, after_s: float) -> Reader:
    """A reader that has asked."""
    await asyncio.sleep(after_s)
    _, reader = await asyncio.get_running_loop().create_connection(lambda: Reader(plan), "127.0.0.1", port)
    return reader


async def window_of(plan: Plan, pids: list[int]) -> tuple[float, tuple[int, int]]:
    """CPU seconds from the end of the ramp on, for the window, and from when to when that was."""
    await asyncio.sleep(plan.ramp_s)
    began, cpu_began_s = time.monotonic_ns() // 1000, cpu_s(pids)
    await asyncio.sleep(plan.window_s)
    return cpu_s(pids) - cpu_began_s, (began, time.monotonic_ns() // 1000)


def spread(microseconds: list[int]) -> dict[str, float]:
    """Quantiles, in milliseconds."""
    ordered = sorted(microseconds)
    shares = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999, "max": 1.0}
    return {name: ordered[int(share * (len(ordered) - 1))] / 1000 for name, share in shares.items()}


def main() -> None:
    """By the arguments."""
    port, plan = sys.argv[1:]
    gc.disable()
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(measured(Plan(**orjson.loads(plan)), int(port)))))


if __name__ == "__main__":
    main()
