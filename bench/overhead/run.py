"""What the gateway costs beside a bare route: requests a second, latency, CPU time, memory.

    python bench/overhead/run.py            # about five minutes
    python bench/overhead/run.py --peers    # beside other gateways too: installs them under .cache, needs npm

Two cores: the gateways have one of them, of which one is asked at a time; load and upstream share the other.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import orjson
from page import BARE, OURS, Result, page
from peers import peers
from plot import plotted
from sides import Side, bare, ours, request_of, upstream

from bench.rig.machine import described
from bench.rig.processes import NotStarted, memory_mib, running
from models.launcher.program import free_ports

HERE = Path(__file__).parent
LOAD = HERE.parent / "rig" / "load.py"
CONNECTIONS = (32, 1)


class NotAnswered(Exception):
    """A gateway that did not answer as it should; the load generator printed why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request: the tier or cascade that is asked, the prompt, and what `x-smallfirst-escalated` must say."""

    name: str
    model: str
    prompt: str
    escalates: str = "false"


LARGE, HUGE = "word " * 44_000, "word " * 200_000
KINDS = (
    Kind("plain proxy", "large", "why is the sky blue?"),
    Kind("accepted cascade", "auto", "why is the sky blue?"),
    Kind("escalated cascade", "unsure", "unsure: why is the sky blue?", "true"),
    Kind("220 kB prompt, proxy", "large", LARGE),
    Kind("220 kB prompt, accepted", "auto", LARGE),
    Kind("1 MB prompt, proxy", "large", HUGE),
    Kind("1 MB prompt, accepted", "auto", HUGE),
)


async def asked(
    side: Side, kind: Kind, connections: int, seconds: float, *, session: int, core: int
) -> dict[str, float]:
    """What the load generator saw."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(request_of(side, kind.model, kind.prompt))
        file.flush()
        process = await asyncio.create_subprocess_exec(
            "taskset", "-c", str(core), sys.executable, LOAD, file.name, str(side.port), str(connections),
            str(seconds), str(session), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, _ = await process.communicate()
    if process.returncode:
        raise NotAnswered("it did not answer each request with a whole 200")
    seen: dict[str, float] = orjson.loads(printed)
    head = str(seen.pop("head")).lower()
    if side.name == "smallfirst" and f"x-smallfirst-escalated: {kind.escalates}" not in head:
        raise SystemExit(f"{kind.name}: not what was expected: {head}")
    return seen


async def taken(result: Result, side: Side, kind: Kind, connections: int, *, session: int, core: int) -> None:
    """One sample, unless this gateway has no such kind of request, or could not answer one before."""
    about = f"{side.name}, {kind.name}"
    if kind.model not in side.models or about in result.failed:
        return
    try:
        seen = await asked(side, kind, connections, result.seconds, session=session, core=core)
    except NotAnswered as failed:
        if side.name in (BARE, OURS):
            raise
        result.failed[about] = str(failed)
        result.forget(kind.name, side.name)
        return
    result.samples[kind.name, connections, side.name].append(seen)


async def measured(options: argparse.Namespace, folder: Path) -> Result:
    """All gateways, each kind of request, in rounds that take turns."""
    machine = described()
    own_core, gateway_core = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {own_core})
    asked_port, ceiling_port, *ports = free_ports(16)
    own = [bare(ports[0], asked_port), ours(ports[1], asked_port, folder)]
    others = await asyncio.to_thread(list, peers(ports[2:], asked_port, folder)) if options.peers else []
    ceiling = upstream(ceiling_port)
    result = Result(machine, options.rounds, options.seconds, samples=defaultdict(list))
    async with AsyncExitStack() as stack:

        async def started(side: Side, core: int) -> int:
            return await stack.enter_async_context(
                running(
                    side.command, core=core, ready=f"http://127.0.0.1:{side.port}{side.ready}",
                    log=folder / f"{side.name}.log", environment=side.environment,
                )
            )  # fmt: skip

        await started(upstream(asked_port), own_core)
        sessions: dict[str, int] = {}
        sides: list[Side] = []
        for side in [ceiling, *own, *others]:
            if isinstance(side, tuple):
                result.failed[side[0]] = side[1]
                continue
            try:
                sessions[side.name] = await started(side, gateway_core)
            except NotStarted as failed:
                result.failed[side.name] = str(failed).splitlines()[0]
                continue
            sides.append(side)
            result.versions[side.name] = side.version
            result.at_rest_mib[side.name] = memory_mib(sessions[side.name])
        for number in range(options.rounds):
            turned = [*sides[number % len(sides) :], *sides[: number % len(sides)]]
            for kind, connections in [(kind, count) for kind in KINDS for count in CONNECTIONS]:
                for side in turned:
                    await taken(result, side, kind, connections, session=sessions[side.name], core=own_core)
            print(f"round {number + 1} of {options.rounds}", flush=True)
        for side in sides:
            result.at_last_mib[side.name] = memory_mib(sessions[side.name])
    return result


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="other gateways too")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is asked for each kind of request")
    parser.add_argument("--seconds", type=float, default=1.0, help="for how long each time")
    parser.add_argument("--out", type=Path, default=HERE, help="where the results are written")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and write."""
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measured(options, Path(folder)))
    (options.out / "result.json").write_bytes(orjson.dumps(result.as_json(), option=orjson.OPT_INDENT_2) + b"\n")
    (options.out / "result.md").write_text(page(result))
    plotted(result, options.out / "result.png")


if __name__ == "__main__":
    main()
