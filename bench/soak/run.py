"""Whether memory stays flat, and how long a start takes: requests of every kind against one worker.

    python bench/soak/run.py                     # a million requests, and 256 streams at the end: half an hour or more
    python bench/soak/run.py --requests 40000    # some minutes

Keys, limits, metrics, journal and decision log are on. Writes result.json, result.md and result.png.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import orjson
import yaml
from written import Sample, Soak, page, plotted

from bench.overhead.sides import Side, bare, ours, upstream
from bench.rig.machine import described
from bench.rig.processes import resident_bytes, running, workers_of
from models.launcher.program import free_ports

HERE = Path(__file__).parent
RIG = HERE.parent / "rig"

CONNECTIONS, SAMPLES, SETTLED_S = 32, 100, 5.0
TOKENS_PER_SECOND, STREAM_TOKENS, STREAMS, LAST_TOKENS = 50, 4, 256, 500
SURE, UNSURE = "why is the sky blue?", "unsure: why is the sky blue?"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request: what is asked, and the status that it must come to; `leaves`: without reading the answer."""

    name: str
    model: str
    prompt: str
    stream: bool = False
    status: int = 200
    leaves: bool = False


MIX = (
    *[Kind("accepted", "auto", SURE)] * 6,
    *[Kind("escalated", "auto", UNSURE)] * 3,
    *[Kind("plain", "large", SURE)] * 6,
    Kind("stream, accepted", "streamed", SURE, stream=True),
    Kind("stream, escalated", "streamed", UNSURE, stream=True),
    Kind("stream, plain", "large-streamed", SURE, stream=True),
    Kind("no such model", "nothing", SURE, status=404),
    Kind("client leaves", "large-streamed", SURE, stream=True, leaves=True),
)


class Unexpected(Exception):
    """An answer of another status."""


def with_streams(side: Side, streams_port: int) -> None:
    """Tiers whose servers stream at a pace, and a cascade of both, beside what is configured."""
    file = Path(str(side.command[-1]))
    config = yaml.safe_load(file.read_text())
    urls = [f"http://127.0.0.1:{streams_port}"]
    for name in ("small", "large"):
        config["tiers"][f"{name}-streamed"] = {**config["tiers"][name], "urls": urls}
    config["cascades"]["streamed"] = {"tiers": ["small-streamed", "large-streamed"], "threshold": 0.5}
    file.write_text(yaml.safe_dump(config))


def files_of(pid: int) -> int:
    """How many file descriptors it has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def bytes_in(folder: Path) -> int:
    """What a folder's files take; those that go meanwhile take nothing."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total


def sampled(requests: int, parent: int, store: Path) -> Sample:
    """Both processes and the store as they are now."""
    (worker,) = workers_of(parent)
    own, parents = resident_bytes([worker]) / 1e6, resident_bytes([parent]) / 1e6
    return Sample(requests, own, parents, files_of(worker), files_of(parent), bytes_in(store) / 1e6)


async def asked(session: aiohttp.ClientSession, side: Side, kind: Kind) -> None:
    """One request. Raises Unexpected."""
    body = {
        "model": kind.model, "messages": [{"role": "user", "content": kind.prompt}],
        "stream": kind.stream, "max_tokens": STREAM_TOKENS,
    }  # fmt: skip
    async with session.post(f"http://127.0.0.1:{side.port}{side.path}", json=body, headers=side.told) as reply:
        if reply.status != kind.status:
            raise Unexpected(f"{kind.name}: {reply.status} {await reply.text()}")
        if kind.leaves:
            reply.close()
        else:
            await reply.read()


async def driven(side: Side, requests: int, parent: int, store: Path) -> tuple[list[Sample], Counter[str]]:
    """So many requests, over as many connections at once as there are; a sample after each hundredth of them."""
    left = iter(range(1, requests + 1))
    samples, counts = [sampled(0, parent, store)], Counter[str]()
    every = max(1, requests // SAMPLES)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one_after_another() -> None:
            for number in left:
                kind = MIX[number % len(MIX)]
                await asked(session, side, kind)
                counts[kind.name] += 1
                if number % every == 0:
                    samples.append(sampled(number, parent, store))

        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(one_after_another())
    return samples, counts


async def streamed(side: Side) -> dict[str, object]:
    """Many streams at once, gated then relayed."""
    plan = {
        "body": {
            "model": "streamed", "messages": [{"role": "user", "content": SURE}],
            "stream": True, "max_tokens": LAST_TOKENS,
        },
        "headers": dict(side.told), "streams": STREAMS, "ramp_s": 2.0,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, RIG / "sse_load.py", str(side.port), orjson.dumps(plan).decode(), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise Unexpected("a stream did not come whole")
    seen: dict[str, object] = orjson.loads(printed)
    return seen


async def start_s(side: Side, core: int, log: Path) -> float:
    """From the command until `ready` answers 200, to some hundredths of a second."""
    began_s = time.monotonic()
    async with started(side, core, log):
        return time.monotonic() - began_s


@asynccontextmanager
async def started(side: Side, core: int, log: Path) -> AsyncIterator[int]:
    """A gateway, by its process' id."""
    ready = f"http://127.0.0.1:{side.port}{side.ready}"
    async with running(side.command, core=core, ready=ready, log=log, environment=side.environment) as pid:
        yield pid


async def measured(options: argparse.Namespace, folder: Path) -> Soak:
    """Starts first, by turns, then the mix, then the streams."""
    machine = described()
    own_core, core = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {own_core})
    asked_port, streams_port, bare_port, port = free_ports(4)
    side, other = ours(port, asked_port, folder), bare(bare_port, asked_port)
    with_streams(side, streams_port)
    store, log = folder / "store", folder / "log"
    paced = [sys.executable, RIG / "sse_upstream.py", streams_port, TOKENS_PER_SECOND]
    streams_ready = f"http://127.0.0.1:{streams_port}/health"
    async with (
        started(upstream(asked_port), own_core, log),
        running(paced, core=own_core, ready=streams_ready, log=log),
    ):
        starts: dict[str, list[float]] = {side.name: [], other.name: []}
        for _ in range(options.starts):
            for one in (side, other):
                starts[one.name].append(await start_s(one, core, log))
        async with started(side, core, log) as parent:
            await asyncio.sleep(SETTLED_S)
            began_s = time.monotonic()
            samples, counts = await driven(side, options.requests, parent, store)
            took_s = time.monotonic() - began_s
            await streamed(side)
            after_streams = sampled(options.requests + STREAMS, parent, store)
            await asyncio.sleep(SETTLED_S)
            settled = sampled(options.requests + STREAMS, parent, store)
    samples.sort(key=lambda one: one.requests)
    return Soak(machine, starts, samples, dict(counts), took_s, STREAMS, after_streams, settled)


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many requests")
    parser.add_argument("--starts", type=int, default=5, help="how often each is started")
    parser.add_argument("--out", type=Path, default=HERE, help="where the results are written")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and write."""
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        soak = asyncio.run(measured(options, Path(folder)))
    (options.out / "result.json").write_bytes(orjson.dumps(asdict(soak), option=orjson.OPT_INDENT_2) + b"\n")
    (options.out / "result.md").write_text(page(soak))
    plotted(soak, options.out / "result.png")


if __name__ == "__main__":
    main()
