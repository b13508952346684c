"""What clients see, and what is kept, while every part of a deployment is killed and brought back in turn.

    python bench/chaos/run.py        # about three minutes; needs PostgreSQL's and Redis' servers on this machine

Two gateways behind clients that go to the other one where one is gone, PostgreSQL, Redis, and two engines for each tier
of the demo pair. Killed means SIGKILL, in the middle of the load.
"""

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from kept import Kept, kept_of
from load import Load, Saw, Try
from parts import Part, engine, gateway, postgresql, redis

from models.demo.curriculum import distinct
from models.demo.files import CONFIG
from models.demo.question import Split
from models.launcher.program import free_ports

HERE = Path(__file__).parent
PRICES = {"small": {"input": 0.02, "output": 0.04}, "large": {"input": 0.40, "output": 1.20}}
SEEN: Sequence[Saw] = ("answered", "refused", "broken", "no connection", "cut", "unclear")


@dataclass(frozen=True, slots=True)
class Act:
    """What is killed, and for how long it is gone, in seconds."""

    name: str
    killed: Sequence[str]
    down_s: float


ACTS = (
    Act("a gateway", ["gateway-0"], 5),
    Act("the other gateway", ["gateway-1"], 5),
    Act("a small engine", ["small-0"], 8),
    Act("a large engine", ["large-0"], 8),
    Act("both small engines", ["small-0", "small-1"], 8),
    Act("both large engines", ["large-0", "large-1"], 8),
    Act("Redis", ["redis"], 8),
    Act("PostgreSQL", ["postgresql"], 20),
    Act("PostgreSQL, and a gateway meanwhile", ["postgresql", "gateway-0"], 10),
)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the run, in seconds after the load began: a kill until all is back, or the calm after it."""

    name: str
    began_s: float
    ended_s: float


async def played(load: Load, parts: Mapping[str, Part], calm_s: float) -> list[Window]:
    """All acts, one after the other, with calm between them."""
    windows = []

    async def calm() -> None:
        began_s = time.monotonic() - load.began_s
        await asyncio.sleep(calm_s)
        windows.append(Window("nothing", began_s, time.monotonic() - load.began_s))

    await calm()
    for act in ACTS:
        print(f"{act.name} …", flush=True)
        began_s = time.monotonic() - load.began_s
        await asyncio.gather(*(parts[name].kill() for name in act.killed))
        await asyncio.sleep(act.down_s)
        for name in act.killed:
            await parts[name].start()
        await asyncio.gather(*(parts[name].ready() for name in act.killed))
        windows.append(Window(act.name, began_s, time.monotonic() - load.began_s))
        await calm()
    return windows


def configuration(folder: Path, ports: Mapping[str, int]) -> Path:
    """The gateways' file: the demo's cascade, in front of servers that run elsewhere."""
    shutil.copy(CONFIG.with_name("trust.json"), folder)
    urls = {tier: [f"http://127.0.0.1:{ports[f'{tier}-{n}']}" for n in range(2)] for tier in ("small", "large")}
    file = folder / "chaos.yaml"
    file.write_text(json.dumps({
        "tiers": {
            name: {"model": f"smallfirst-demo-{name}", "price": PRICES[name], "urls": urls[name]} for name in PRICES
        },
        "cascades": {"auto": {
            "tiers": ["small", "large"], "trust": "trust.json", "failover_share": 1.0,
            "stream": {"on_doubt": "continue", "gate_tokens": 16, "holdback_tokens": 8},
        }},
        "store": {"url": f"postgresql://smallfirst@127.0.0.1:{ports['postgresql']}/postgres"},
        "limits": {
            "url": f"redis://127.0.0.1:{ports['redis']}/0",
            "default": {"requests_per_minute": 100_000, "streams_at_once": 1000, "cost_per_day": 1000.0},
        },
    }, indent=2))  # fmt: skip
    return file


async def run(folder: Path, rate: float, calm_s: float) -> tuple[Load, list[Window], Kept]:
    """Start everything, play, drain, and read what was kept."""
    names = ["postgresql", "redis", "small-0", "small-1", "large-0", "large-1", "gateway-0", "gateway-1"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    config = configuration(folder, ports)
    parts = {
        "postgresql": await postgresql(ports["postgresql"], folder),
        "redis": redis(ports["redis"], folder),
        **{
            f"{model}-{n}": engine(f"{model}-{n}", model, ports[f"{model}-{n}"], folder)
            for model in ("small", "large")
            for n in range(2)
        },
        **{f"gateway-{n}": gateway(f"gateway-{n}", config, ports[f"gateway-{n}"], folder, {}) for n in range(2)},
    }
    async with AsyncExitStack() as stack:
        for part in parts.values():  # in this order, the gateways last
            stack.push_async_callback(part.stop)
            await part.start()
            await part.ready()
        load = Load(
            [f"http://127.0.0.1:{ports[f'gateway-{n}']}" for n in range(2)],
            [question.prompt for question in distinct(Split.HELD_OUT, 500)],
            rate,
        )
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(stop))
            await asyncio.sleep(0.1)
            windows = await played(load, parts, calm_s)
            stop.set()
        answered = [one.request_id for one in load.tries if one.saw == "answered"]
        kept = await kept_of(f"postgresql+asyncpg://smallfirst@127.0.0.1:{ports['postgresql']}/postgres", answered)
    return load, windows, kept


def rows_of(load: Load, windows: Sequence[Window]) -> list[dict[str, object]]:
    """The table: for each window's requests what their tries saw, and what became of them in the end."""
    rows = []
    for name in dict.fromkeys(window.name for window in windows):
        spans = [(window.began_s, window.ended_s) for window in windows if window.name == name]
        tries = [one for one in load.tries if any(low <= one.began_s < high for low, high in spans)]
        last = final_tries(tries)
        rows.append({
            "killed": name,
            "seconds": round(sum(high - low for low, high in spans), 1),
            "requests": len(last),
            **{saw: sum(one.saw == saw for one in tries) for saw in SEEN},
            "answered in the end": sum(one.saw == "answered" for one in last),
            "told": dict(Counter(one.told for one in tries if one.told is not None)),
            "slowest_s": round(max((one.took_s for one in tries), default=0.0), 2),
        })  # fmt: skip
    return rows


def final_tries(tries: Sequence[Try]) -> list[Try]:
    """Each client's last try."""
    last: dict[str, Try] = {}
    for one in tries:
        client = one.request_id.rpartition("-")[0]
        if client not in last or one.began_s > last[client].began_s:
            last[client] = one
    return list(last.values())


def page_of(figures: Mapping[str, object], rows: Sequence[Mapping[str, object]], kept: Kept) -> str:
    """The result, as Markdown."""
    heads = ["killed", "seconds", "requests", *SEEN, "answered in the end"]
    lines = [
        "# Everything is killed once",
        "",
        f"`python bench/chaos/run.py`: two gateways, PostgreSQL, Redis, two engines for each tier of the demo pair,"
        f" {figures['rate']:g} requests/s, half of them streams. A client whose gateway is gone tries the other one.",
        "",
        f"| {' | '.join(heads)} | errors that were told | slowest |",
        f"|---|{'--:|' * (len(heads) - 1)}---|--:|",
    ]
    for row in rows:
        told = ", ".join(f"{text} ({count})" for text, count in row["told"].items()) or "none"
        lines.append(f"| {' | '.join(str(row[head]) for head in heads)} | {told} | {row['slowest_s']} s |")
    once = kept.answered - kept.lost - kept.twice
    lines += [
        "",
        f"Of {kept.answered} answers that a client got whole, {once} are one row of the decision"
        f" log, {kept.lost} are lost and {kept.twice} are there twice; usage counts {kept.used} requests, and"
        f" the log has {kept.rows}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, run, write; 1 where something was lost, counted twice, or not told clearly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=10.0, help="requests per second")
    parser.add_argument("--calm", type=float, default=8.0, help="seconds of calm after each kill")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="smallfirst-chaos-"))
    folder.chmod(0o755)
    print(f"logs: {folder}")
    load, windows, kept = asyncio.run(run(folder, options.rate, options.calm))
    rows = rows_of(load, windows)
    figures = {"rate": options.rate, "asked": load.asked, "rows": rows, "kept": kept.figures}
    page = page_of(figures, rows, kept)
    print(page)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "result.json").write_text(json.dumps(figures, indent=2) + os.linesep)
    (options.out / "result.md").write_text(page)
    raise SystemExit(int(kept.lost + kept.twice > 0 or kept.used != kept.rows or any(row["unclear"] for row in rows)))


if __name__ == "__main__":
    main()
