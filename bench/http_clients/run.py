"""Measure HTTP clients against one static upstream in interleaved rounds; write result.json and result.md."""

import asyncio
import gc
import os
import platform
import statistics
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import orjson
import uvloop
from behaviour import behaviour
from candidates import CANDIDATES, Candidate
from footprint import installed_mb, is_installed
from load import SAMPLE_S, WORK, measure

HERE = Path(__file__).parent
ROUNDS, CONNECTIONS, LIMIT_S = 7, (1, 32), 400
Samples = dict[str, dict[str, list[float]]]


@asynccontextmanager
async def upstream(core: int) -> AsyncIterator[tuple[str, str]]:
    process = await create_subprocess_exec(sys.executable, HERE / "upstream.py", str(core), stdout=PIPE)
    try:
        assert process.stdout  # noqa: S101 - it is piped
        ports = (await process.stdout.readline()).split()
        yield f"http://127.0.0.1:{int(ports[0])}", f"http://127.0.0.1:{int(ports[1])}"
    finally:
        process.kill()  # a client that leaks a request would hold up a graceful exit
        await process.wait()


async def measure_round(order: list[Candidate], url: str, samples: Samples) -> None:
    async with AsyncExitStack() as stack:
        clients = {each.distribution: await stack.enter_async_context(each.connect()) for each in order}
        for connections in CONNECTIONS:
            for (title, unit), work in WORK.items():
                for name, client in clients.items():
                    rate, cpu_us, upstream_us = await measure(work, client, url, connections)
                    row = f"{title}, {connections} conn"
                    samples[f"{row}, {unit}s/s"][name].append(rate)
                    samples[f"{row}, CPU µs/{unit}"][name].append(cpu_us)
                    samples[f"{row}, upstream CPU µs/{unit}"][name].append(upstream_us)


async def measure_fresh(order: list[Candidate], url: str, samples: Samples) -> None:
    for candidate in order:
        command = (sys.executable, HERE / "footprint.py", candidate.distribution, url)
        process = await create_subprocess_exec(*command, stdout=PIPE)
        printed, _ = await process.communicate()
        for row, measured in orjson.loads(printed).items():
            samples[row][candidate.distribution].append(measured)


def ratios(row: dict[str, list[float]], name: str) -> str:
    each = [mine / reference for mine, reference in zip(row[name], row[CANDIDATES[0].distribution], strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f}..{max(each):.2f})"


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def report(names: list[str], samples: Samples, facts: dict[str, dict[str, str]], missing: list[str]) -> str:
    reference, *others = names
    measured = [
        [title, f"{statistics.median(row[reference]):,.4g}", *(ratios(row, name) for name in others)]
        for title, row in samples.items()
    ]
    observed = [[title, *(facts[name][title] for name in names)] for title in facts[reference]]
    return f"""# HTTP clients

Written by `python bench/http_clients/run.py`. {ROUNDS} interleaved rounds of {SAMPLE_S} s a cell, uvloop, plain
HTTP/1.1 on the loopback; Python {platform.python_version()}, {os.cpu_count()} cores, client and upstream on one each.
**The machine was shared** with other work (load average {os.getloadavg()[0]:.1f} at the end): read the ratios, not
the rates, and the CPU time before the throughput. Where the upstream's CPU time is above the client's, the
throughput is the upstream's limit. `pyreqwest` also works in a thread of its own, here on the same core.
Unpaced, `aiohttp` and `smallfirst` hand over chunks that piled up as one read; the others one by one. Paced, all read
one by one. `smallfirst` is the gateway's own client (`models/session.py`, over httptools).
Not installed: {", ".join(missing) or "none"}.

`{reference}`: the median; the others: ratio to `{reference}` in the same round, median (min..max).

{table(["", reference, *others], measured)}

{table(["", *names], observed)}
"""


async def main() -> None:
    installed = [each for each in CANDIDATES if is_installed(each)]
    if CANDIDATES[0] not in installed:
        raise SystemExit(f"{CANDIDATES[0].distribution!r} is the reference, install it first")
    names = [each.distribution for each in installed]
    missing = [each.distribution for each in CANDIDATES if each not in installed]
    samples: Samples = defaultdict(lambda: defaultdict(list))
    cores = sorted(os.sched_getaffinity(0))
    async with asyncio.timeout(LIMIT_S), upstream(cores[-1]) as (url, dropping_url):
        os.sched_setaffinity(0, {cores[0]})
        facts = {each.distribution: await behaviour(each, url, dropping_url) for each in installed}
        gc.freeze()
        for turn in range(ROUNDS):
            order = [installed[(turn + place) % len(installed)] for place in range(len(installed))]
            await measure_round(order, url, samples)
            await measure_fresh(order, url, samples)
    for each in installed:
        facts[each.distribution] |= {
            "installed with dependencies, MB": f"{installed_mb(each):.1f}",
            "version": version(each.distribution),
        }
    result = {"samples": samples, "facts": facts, "not_installed": missing}
    (HERE / "result.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    (HERE / "result.md").write_text(report(names, samples, facts, missing))


if __name__ == "__main__":
    uvloop.run(main())
