"""What a request costs the gateway with several workers: CPU time of all of its processes, as ratios to one worker's,
where each worker has as much to do; and beside them as many gateways of one worker each, which share nothing but the
machine. In front of models that answer at once, with metrics, journal and decision log.

    python bench/workers/run.py                          # some four minutes
    python bench/workers/run.py --rounds 2 --only draft --out FOLDER

Writes result.json and result.md."""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice, product
from pathlib import Path

import aiohttp
import yaml

from bench.rig.machine import described, in_words
from bench.rig.processes import cpu_s, resident_bytes, running, workers_of
from models.launcher.program import free_ports

HERE = Path(__file__).parent
UPSTREAM = HERE.parent / "capacity" / "upstream.py"
SMALLFIRST = Path(sys.executable).with_name("smallfirst")
WORKERS = (1, 2, 4)
CONNECTIONS = 32  # for each worker
WARM_UP = 2
WRITTEN_S = 0.5  # until all records are in the store
TARGET = 1.15
PROMPT = "word " * 150
KINDS: Mapping[str, tuple[str, bool, int]] = {
    "draft accepted, whole": ("auto", False, 512),
    "large model alone, stream of 300 chunks": ("large", True, 96),
}


@dataclass
class Gateways:
    """One that runs with so many workers, or as many of one worker each; and for each kind of request, by rounds, CPU
    milliseconds for one, and the share of them that the busiest process had."""

    workers: int
    urls: Sequence[str]
    pids: Sequence[int]
    costs: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    busiest: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def cpu_s(self) -> list[float]:
        """CPU seconds of each process so far."""
        return [cpu_s([pid]) for pid in self.processes]

    def memory_mib(self) -> list[float]:
        """Resident in each process: a parent, then its workers."""
        return [resident_bytes([pid]) / 2**20 for pid in self.processes]

    @property
    def processes(self) -> list[int]:
        """Of each gateway the parent, then its workers."""
        return [one for pid in self.pids for one in (pid, *workers_of(pid))]

    @property
    def name(self) -> str:
        """For a row."""
        return f"{len(self.urls)} gateways of one" if len(self.urls) > 1 else str(self.workers)


@asynccontextmanager
async def gateway(workers: int, upstream: int, folder: Path) -> AsyncIterator[tuple[str, int]]:
    """One with so many workers, and a store of its own: its URL and its first process."""
    (port,) = free_ports(1)
    file = configured(workers, port, upstream, folder)
    url = f"http://127.0.0.1:{port}"
    async with running([SMALLFIRST, "serve", file], ready=f"{url}/health", log=folder / "log", apart=False) as pid:
        yield url, pid


def configured(workers: int, port: int, upstream: int, folder: Path) -> Path:
    """Its configuration, in a new folder."""
    price = {"input": 1.0, "output": 1.0}
    names = ("small", "large")
    tiers = {name: {"model": name, "price": price, "urls": [f"http://127.0.0.1:{upstream}"]} for name in names}
    config = {
        "tiers": tiers,
        "cascades": {"auto": {"tiers": [*names], "threshold": 0.5}},
        "server": {"port": port, "workers": workers},
        "store": {"folder": str(folder / "store")},
    }
    folder.mkdir()
    file = folder / "smallfirst.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


async def asked(urls: Sequence[str], kind: str, workers: int) -> int:
    """The requests of a kind for so many workers, over connections that are opened for them; how many."""
    model, streams, each = KINDS[kind]
    requests = each * workers
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "stream": streams}
    left = iter(range(requests))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one_after_another(url: str) -> None:
            for _ in left:
                async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
                    reply.raise_for_status()
                    await reply.read()

        connected = islice(cycle(urls), CONNECTIONS * workers)
        await asyncio.gather(*(one_after_another(url) for url in connected))
    return requests


async def measured(all_gateways: Sequence[Gateways], kinds: Sequence[str], rounds: int) -> None:
    """By rounds in which the gateways take turns, each time beginning with another; the first ones warm up."""
    for number in range(WARM_UP + rounds):
        first = number % len(all_gateways)
        for kind, one in product(kinds, [*all_gateways[first:], *all_gateways[:first]]):
            before = one.cpu_s()
            requests = await asked(one.urls, kind, one.workers)
            await asyncio.sleep(WRITTEN_S)
            spent = [after - was for after, was in zip(one.cpu_s(), before, strict=True)]
            if number >= WARM_UP:
                one.costs[kind].append(1000 * sum(spent) / requests)
                one.busiest[kind].append(max(spent) / sum(spent))


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how often each is asked for each kind of request")
    parser.add_argument("--only", default="", help="kinds of request whose name begins so: draft, large")
    parser.add_argument("--out", type=Path, default=HERE, help="where the results are written")
    return parser.parse_args(arguments)


async def main(options: argparse.Namespace) -> None:
    """All numbers of workers, interleaved."""
    machine = described()
    (upstream,) = free_ports(1)
    models = f"http://127.0.0.1:{upstream}/v1/models"
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        said = [sys.executable, UPSTREAM, upstream]
        await stack.enter_async_context(running(said, ready=models, log=folder / "log", apart=False))

        async def started(workers: int, name: str) -> tuple[str, int]:
            return await stack.enter_async_context(gateway(workers, upstream, folder / name))

        apart = [await started(1, f"apart{number}") for number in range(max(WORKERS))]
        all_gateways: list[Gateways] = []
        for workers in WORKERS:
            url, pid = await started(workers, str(workers))
            all_gateways.append(Gateways(workers, [url], [pid]))
            if workers > 1:
                all_gateways.append(Gateways(workers, *zip(*apart[:workers], strict=True)))
        at_rest = [one.memory_mib() for one in all_gateways]
        await measured(all_gateways, [kind for kind in KINDS if kind.startswith(options.only)], options.rounds)
        at_last = [one.memory_mib() for one in all_gateways]
    results = [
        {"gateways": one.name, "workers": one.workers, "cpu_ms": one.costs, "busiest": one.busiest,
         "memory_mib": [first, last]}
        for one, first, last in zip(all_gateways, at_rest, at_last, strict=True)
    ]  # fmt: skip
    written = {"machine": machine, "rounds": options.rounds, "results": results}
    (options.out / "result.json").write_text(json.dumps(written, indent=1) + "\n")
    (options.out / "result.md").write_text(page(machine, options.rounds, all_gateways, at_rest, at_last))


def page(
    machine: dict[str, object],
    rounds: int,
    gateways: Sequence[Gateways],
    at_rest: Sequence[Sequence[float]],
    at_last: Sequence[Sequence[float]],
) -> str:
    """The numbers for a reader."""
    rows = [row(kind, one, gateways) for kind in gateways[0].costs for one in gateways]
    memory = [
        f"| {one.workers} | {first[0]:.0f} | {max(first[1:]):.0f} | {max(last[1:]):.0f} |"
        for one, first, last in zip(gateways, at_rest, at_last, strict=True)
        if len(one.urls) == 1
    ]
    lines = [
        "# What a request costs with several workers",
        "",
        "Written by `python bench/workers/run.py`. CPU time of all of the gateway's processes for one request: the",
        f"median of {rounds} rounds (least to most), in which the gateways take turns. Each worker has as much to do:",
        f"{CONNECTIONS} connections for each, opened anew each time. Drafts of 100 tokens with log-probabilities,",
        "streams of 300 chunks; static models; metrics, journal and decision log (SQLite). The ratio is the median of",
        f"the rounds' own ratios; at most {TARGET} is the target. Gateways of one worker each, asked at once, share",
        "nothing but the machine: what they take beyond one is what processes do to each other's caches where there",
        "are more of them, load and models among them, than cores; what workers take beyond these is their own. All",
        "are in one session, so that the scheduler has each process count alike.",
        f"{in_words(machine)}.",
        "How much faster several workers are is not measured here: that takes as many cores, and some for the load.",
        "",
        "| request | workers | CPU ms a request | ratio to one worker | to as many gateways | busiest process' share |",
        "|---|--:|--:|--:|--:|--:|",
        *rows,
        "",
        "Resident memory in MiB, pages that processes share counted in each:",
        "",
        "| workers | the parent | largest worker at rest | at the end |",
        "|--:|--:|--:|--:|",
        *memory,
    ]
    return "\n".join(lines) + "\n"


def row(kind: str, one: Gateways, gateways: Sequence[Gateways]) -> str:
    """One kind of request with so many workers."""
    costs = one.costs[kind]
    apart = next((other for other in gateways if other.workers == one.workers and len(other.urls) > 1), one)
    to_one = f"{ratio(costs, gateways[0].costs[kind]):.2f}"
    to_apart = "" if apart is one else f"{ratio(costs, apart.costs[kind]):.2f}"
    spread = f"{statistics.median(costs):.2f} ({min(costs):.2f} to {max(costs):.2f})"
    busiest = f"{100 * statistics.median(one.busiest[kind]):.0f} %"
    return f"| {kind} | {one.name} | {spread} | {to_one} | {to_apart} | {busiest} |"


def ratio(costs: Sequence[float], bases: Sequence[float]) -> float:
    """The median of the rounds' own."""
    return statistics.median(cost / base for cost, base in zip(costs, bases, strict=True))


if __name__ == "__main__":
    asyncio.run(main(parsed()))
