"""What a request costs the gateway with several workers: CPU time of all of its processes, as ratios to one worker's,
where each worker has as much to do. In front of models that answer at once, with metrics, journal and decision log.
Writes result.json and result.md."""

import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import yaml

from bench.rig.processes import cpu_s, resident_bytes, running, workers_of
from models.launcher.program import free_ports

HERE = Path(__file__).parent
UPSTREAM = HERE.parent / "capacity" / "upstream.py"
SMALLFIRST = Path(sys.executable).with_name("smallfirst")
WORKERS = (1, 2, 4)
CONNECTIONS = 32  # for each worker
ROUNDS = 5
WARM_UP = 2
TARGET = 1.15
PROMPT = "word " * 150
KINDS: Mapping[str, tuple[str, bool, int]] = {
    "draft accepted, whole": ("auto", False, 512),
    "large model alone, stream of 300 chunks": ("large", True, 96),
}


@dataclass
class Gateway:
    """One that runs, and for each kind of request, by rounds, CPU milliseconds for one, and the share of them that the
    busiest worker had."""

    workers: int
    url: str
    pid: int
    costs: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    busiest: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def cpu_s(self) -> list[float]:
        """CPU seconds of each process so far: the parent, then its workers."""
        return [cpu_s([pid]) for pid in (self.pid, *workers_of(self.pid))]

    def memory_mib(self) -> list[float]:
        """Resident in each process: the parent, then its workers."""
        return [resident_bytes([pid]) / 2**20 for pid in (self.pid, *workers_of(self.pid))]


@asynccontextmanager
async def gateway(workers: int, upstream: int, folder: Path) -> AsyncIterator[Gateway]:
    """One with so many workers, and a store of its own."""
    (port,) = free_ports(1)
    price = {"input": 1.0, "output": 1.0}
    names = ("small", "large")
    tiers = {name: {"model": name, "price": price, "urls": [f"http://127.0.0.1:{upstream}"]} for name in names}
    config = {
        "tiers": tiers,
        "cascades": {"auto": {"tiers": [*names], "threshold": 0.5}},
        "server": {"port": port, "workers": workers},
        "store": {"folder": str(folder / str(workers))},
    }
    file = folder / f"{workers}.yaml"
    file.write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{port}"
    async with running([SMALLFIRST, "serve", file], ready=f"{url}/health", log=folder / "log") as pid:
        yield Gateway(workers, url, pid)


async def asked(url: str, kind: str, workers: int) -> int:
    """The requests of a kind for so many workers, over connections that are opened for them; how many."""
    model, streams, each = KINDS[kind]
    requests = each * workers
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "stream": streams}
    left = iter(range(requests))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one_after_another() -> None:
            for _ in left:
                async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
                    reply.raise_for_status()
                    await reply.read()

        await asyncio.gather(*(one_after_another() for _ in range(CONNECTIONS * workers)))
    return requests


async def measured(gateways: Sequence[Gateway]) -> None:
    """By rounds in which the gateways take turns; the first ones warm up."""
    for number in range(WARM_UP + ROUNDS):
        for kind in KINDS:
            for one in gateways:
                before = one.cpu_s()
                requests = await asked(one.url, kind, one.workers)
                spent = [after - was for after, was in zip(one.cpu_s(), before, strict=True)]
                if number >= WARM_UP:
                    one.costs[kind].append(1000 * sum(spent) / requests)
                    one.busiest[kind].append(max(spent) / sum(spent))


async def main() -> None:
    """All numbers of workers, interleaved."""
    (upstream,) = free_ports(1)
    models = f"http://127.0.0.1:{upstream}/v1/models"
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await stack.enter_async_context(running([sys.executable, UPSTREAM, upstream], ready=models, log=folder / "log"))
        gateways = [await stack.enter_async_context(gateway(workers, upstream, folder)) for workers in WORKERS]
        at_rest = [one.memory_mib() for one in gateways]
        await measured(gateways)
        at_last = [one.memory_mib() for one in gateways]
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    results = [
        {"workers": one.workers, "cpu_ms": one.costs, "busiest": one.busiest, "memory_mib": [first, last]}
        for one, first, last in zip(gateways, at_rest, at_last, strict=True)
    ]
    (HERE / "result.json").write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    (HERE / "result.md").write_text(page(machine, gateways, at_rest, at_last))


def page(
    machine: Mapping[str, object],
    gateways: Sequence[Gateway],
    at_rest: Sequence[Sequence[float]],
    at_last: Sequence[Sequence[float]],
) -> str:
    """The numbers for a reader."""
    rows = [row(kind, one, gateways[0]) for kind in KINDS for one in gateways]
    memory = [
        f"| {one.workers} | {first[0]:.0f} | {max(first[1:]):.0f} | {max(last[1:]):.0f} |"
        for one, first, last in zip(gateways, at_rest, at_last, strict=True)
    ]
    lines = [
        "# What a request costs with several workers",
        "",
        "Written by `python bench/workers/run.py`. CPU time of all of the gateway's processes for one request: the",
        f"median of {ROUNDS} rounds (least to most), in which the gateways take turns. Each worker has as much to do:",
        f"{CONNECTIONS} connections for each, opened anew each time. Drafts of 100 tokens with log-probabilities,",
        "streams of 300 chunks; static models; metrics, journal and decision log (SQLite). The ratio is the median of",
        f"the rounds' own ratios; at most {TARGET} is the target. Python {machine['python']}, {machine['cores']}",
        f"cores, load average {machine['load']:.1f} at the end: with fewer cores than processes, and with other work",
        "beside it, processes push each other out of the caches, and what a worker does by the clock falls on fewer",
        "requests.",
        "How much faster several workers are is not measured here: that takes as many cores, and some for the load.",
        "",
        "| request | workers | CPU ms a request | ratio to one worker | busiest worker's share |",
        "|---|--:|--:|--:|--:|",
        *rows,
        "",
        "Resident memory in MiB, pages that processes share counted in each:",
        "",
        "| workers | the parent | largest worker at rest | at the end |",
        "|--:|--:|--:|--:|",
        *memory,
    ]
    return "\n".join(lines) + "\n"


def row(kind: str, one: Gateway, alone: Gateway) -> str:
    """One kind of request with so many workers."""
    costs = one.costs[kind]
    ratio = statistics.median(cost / base for cost, base in zip(costs, alone.costs[kind], strict=True))
    spread = f"{statistics.median(costs):.2f} ({min(costs):.2f} to {max(costs):.2f})"
    return f"| {kind} | {one.workers} | {spread} | {ratio:.2f} | {100 * statistics.median(one.busiest[kind]):.0f} % |"


if __name__ == "__main__":
    asyncio.run(main())
