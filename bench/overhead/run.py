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
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from page import BARE, OURS, Result, page
from peers import peers
from plot import plotted
from sides import Side, bare, ours, request_of, upstream

from bench.rig.machine import described
from bench.rig.processes import NotStarted, comes_to_rest, memory_mib, running
from models.launcher.program import free_ports

HERE = Path(__file__).parent
LOAD = HERE.parent / "rig" / "load.py"
CONNECTIONS = (32, 1)
REST_S = 3.0
MOST_OF_WHY = 200


class NotAnswered(Exception):
    """A gateway that did not answer as it should, and why."""


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


@dataclass(slots=True)
class Started:
    """A gateway on a core, by its session."""

    side: Side
    core: int
    log: Path
    session: int = 0
    _runs: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Until it is ready. Raises NotStarted."""
        side = self.side
        ready = f"http://127.0.0.1:{side.port}{side.ready}"
        process = running(side.command, core=self.core, ready=ready, log=self.log, environment=side.environment)
        self.session = await self._runs.enter_async_context(process)

    async def stop(self) -> None:
        """End it, if it runs."""
        await self._runs.aclose()


async def asked(
    side: Side, kind: Kind, connections: int, seconds: float, *, session: int, core: int
) -> dict[str, float]:
    """What the load generator saw."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(request_of(side, kind.model, kind.prompt))
        file.flush()
        process = await asyncio.create_subprocess_exec(
            "taskset", "-c", str(core), sys.executable, LOAD, file.name, str(side.port), str(connections),
            str(seconds), str(session), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, complaint = await process.communicate()
    if process.returncode:
        raise NotAnswered(complaint.decode().strip().rpartition("\n")[2][:MOST_OF_WHY])
    seen: dict[str, float] = orjson.loads(printed)
    head = str(seen.pop("head")).lower()
    if side.name == "smallfirst" and f"x-smallfirst-escalated: {kind.escalates}" not in head:
        raise SystemExit(f"{kind.name}: not what was expected: {head}")
    return seen


async def taken(result: Result, one: Started, kind: Kind, connections: int, *, core: int) -> None:
    """One sample, unless this gateway has no such kind of request, or could not answer one before. What is left to do
    behind it is not left to burden the next one: a gateway that does not come to rest is started anew."""
    side = one.side
    about = f"{side.name}, {kind.name}"
    if kind.model not in side.models or about in result.failed:
        return
    try:
        seen = await asked(side, kind, connections, result.seconds, session=one.session, core=core)
        result.samples[kind.name, connections, side.name].append(seen)
    except NotAnswered as failed:
        if side.name in (BARE, OURS):
            raise
        result.failed[about] = str(failed)
        result.forget(kind.name, side.name)
    if not await comes_to_rest(one.session, REST_S):
        result.restarts[about] += 1
        await one.stop()
        await one.start()


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

        async def started(side: Side, core: int) -> Started:
            one = Started(side, core, folder / f"{side.name}.log")
            stack.push_async_callback(one.stop)
            await one.start()
            return one

        await started(upstream(asked_port), own_core)
        sides: list[Started] = []
        for side in [ceiling, *own, *others]:
            if isinstance(side, tuple):
                result.failed[side[0]] = side[1]
                continue
            try:
                one = await started(side, gateway_core)
            except NotStarted as failed:
                result.failed[side.name] = str(failed).splitlines()[0]
                continue
            sides.append(one)
            result.versions[side.name] = side.version
            result.at_rest_mib[side.name] = memory_mib(one.session)
        for number in range(options.rounds):
            turned = [*sides[number % len(sides) :], *sides[: number % len(sides)]]
            for kind, connections in [(kind, count) for kind in KINDS for count in CONNECTIONS]:
                for one in turned:
                    await taken(result, one, kind, connections, core=own_core)
            print(f"round {number + 1} of {options.rounds}", flush=True)
        for one in sides:
            result.at_last_mib[one.side.name] = memory_mib(one.session)
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
