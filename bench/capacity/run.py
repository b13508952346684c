"""What a request costs the gateway: its own CPU time and memory, in front of models that answer at once. Writes
result.json and result.md; docs/scaling.md says what follows."""

import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import yaml
from upstream import TOKENS, UNSURE_PROMPT

from bench.rig.processes import cpu_s, resident_bytes, running, workers_of
from models.launcher.program import free_ports

HERE = Path(__file__).parent
SMALLFIRST = Path(sys.executable).with_name("smallfirst")
CONNECTIONS = 32
REQUESTS = 256
ROUNDS = 3
PROMPT = "word " * 150
KINDS: Mapping[str, tuple[str, bool, bool]] = {
    "draft accepted": ("auto", False, False),
    "draft accepted, held stream": ("auto", True, False),
    "draft escalated": ("auto", False, True),
    "large model alone": ("large", False, False),
    f"large model alone, stream of {TOKENS['large']} chunks": ("large", True, False),
}


def config(port: int, upstream: int, store: object) -> dict[str, object]:
    """A cascade over both models."""
    price = {"input": 1.0, "output": 1.0}
    tiers = {name: {"model": name, "price": price, "urls": [f"http://127.0.0.1:{upstream}"]} for name in TOKENS}
    cascades = {"auto": {"tiers": [*TOKENS], "threshold": 0.5}}
    return {"tiers": tiers, "cascades": cascades, "server": {"port": port}, "store": store}


async def asked(url: str, kind: str) -> None:
    """So many requests of a kind, over so many connections at once."""
    model, streams, unsure = KINDS[kind]
    said = f"{UNSURE_PROMPT.decode()} {PROMPT}" if unsure else PROMPT
    body = {"model": model, "messages": [{"role": "user", "content": said}], "stream": streams}
    left = iter(range(REQUESTS))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one_after_another() -> None:
            for _ in left:
                async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
                    reply.raise_for_status()
                    if (reply.headers["x-smallfirst-escalated"] == "true") is not unsure:
                        raise ValueError(f"{kind}: {dict(reply.headers)}")
                    await reply.read()

        await asyncio.gather(*(one_after_another() for _ in range(CONNECTIONS)))


async def measured(store: object, folder: Path) -> dict[str, object]:
    """Milliseconds of CPU for each kind, by rounds that take turns, and memory before and after."""
    port, upstream = free_ports(2)
    file, log = folder / "capacity.yaml", folder / "log"
    file.write_text(yaml.safe_dump(config(port, upstream, store)))
    url, models = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{upstream}"
    rounds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    async with (
        running([sys.executable, HERE / "upstream.py", upstream], ready=f"{models}/v1/models", log=log),
        running([SMALLFIRST, "serve", file], ready=f"{url}/health", log=log) as parent,
    ):
        workers = workers_of(parent)
        at_first = resident_bytes(workers) / 2**20
        for number in range(ROUNDS + 1):
            for kind in KINDS:
                before = cpu_s(workers)
                await asked(url, kind)
                if number:  # the first warms up
                    rounds[kind].append(1000 * (cpu_s(workers) - before) / REQUESTS)
        at_last = resident_bytes(workers) / 2**20
    costs = {
        kind: {"median": statistics.median(one), "least": min(one), "most": max(one)} for kind, one in rounds.items()
    }
    return {"cpu_ms": costs, "memory_mib": [at_first, at_last]}


async def main() -> None:
    """Without and with the decision log."""
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "nothing kept": await measured({"url": "none"}, Path(folder)),
            "decision log": await measured({"folder": str(Path(folder) / "store")}, Path(folder)),
        }
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    (HERE / "result.json").write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    (HERE / "result.md").write_text(page(machine, results))


def page(machine: Mapping[str, object], results: Mapping[str, Mapping[str, object]]) -> str:
    """The numbers for a reader."""
    rows = [
        f"| {kind} | " + " | ".join(cell(results[store]["cpu_ms"][kind]) for store in results) + " |" for kind in KINDS
    ]
    memories = {store: one["memory_mib"] for store, one in results.items()}
    memory = ", ".join(f"{store}: {first:.0f} to {last:.0f} MiB" for store, (first, last) in memories.items())
    lines = [
        "# What a request costs the gateway",
        "",
        "Written by `python bench/capacity/run.py`. CPU time of the gateway's process for one request, in",
        f"milliseconds: the median of {ROUNDS} rounds (least to most) of {REQUESTS} requests over {CONNECTIONS}",
        f"connections; prompts of {len(PROMPT)} characters, drafts of {TOKENS['small']} tokens with log-probabilities,",
        f"answers of {TOKENS['large']}; the models are static. Python {machine['python']}, {machine['cores']} cores,",
        f"load average {machine['load']:.1f} at the end: where other work ran beside it, the least is nearer to what",
        "an idle core takes.",
        "",
        f"| request | {' | '.join(results)} |",
        f"|---|{'---|' * len(results)}",
        *rows,
        "",
        f"Memory of the process, at the start and at the end: {memory}.",
    ]
    return "\n".join(lines) + "\n"


def cell(cost: Mapping[str, float]) -> str:
    """Median, least and most."""
    return f"{cost['median']:.2f} ({cost['least']:.2f} to {cost['most']:.2f})"


if __name__ == "__main__":
    asyncio.run(main())
