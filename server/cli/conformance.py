"""`smallfirst conformance`: run the suite against a gateway, and show what came of it."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.cli.console import WRONG_USE, complain
from server.conformance.case import Result, Verdict
from server.conformance.gateway import OK, Answer, Gateway
from server.conformance.stage import Stage
from server.conformance.suite import AREAS, recovered, run
from server.conformance.upstream import Upstream

PATIENCE_S = 2.0
TOTAL_S = 60.0
CLIENTS_MISTAKES = (400, 401, 403, 404, 422)
SETTLING_S = 3.0  # gateways find out in the background what a server that has just started can do
COLOURS: dict[Verdict, str] = {"pass": "green", "FAIL": "bold red", "not run": "dim", "not served": "yellow"}


class CannotRun(Exception):
    """The suite cannot be run as it was asked for: what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway under test, and how it is asked; without a port there is no scripted model behind it."""

    url: str
    model: str
    upstream_port: int | None
    escalates: bool
    headers: Mapping[str, str]


def run_conformance(target: Target, areas: Sequence[str], to_json: Path | None) -> int:
    """Print the table; 0 where nothing failed, 1 where something did, 2 where the suite could not run."""
    try:
        refuse_unknown(areas)
        results = asyncio.run(results_of(target, areas or AREAS))
        if to_json is not None:
            to_json.write_text(
                json.dumps([*map(asdict, results)], ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
            )
    except (CannotRun, OSError) as cannot:
        complain([str(cannot)])
        return WRONG_USE
    console = Console(highlight=False)
    console.print(table_of(results))
    console.print(summary(results), markup=False)
    return int(any(result.verdict == "FAIL" for result in results))


def refuse_unknown(areas: Sequence[str]) -> None:
    """Raise CannotRun for an area that there is not."""
    for area in areas:
        if area not in AREAS:
            raise CannotRun(f"there is no area {area!r} (there are: {', '.join(AREAS)})")


def headers_of(written: Sequence[str], api_key: str | None) -> dict[str, str]:
    """Headers written as `name: value`, and the key in those that clients use. Raises ValueError."""
    headers = {"authorization": f"Bearer {api_key}", "x-api-key": api_key} if api_key else {}
    for line in written:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"{line!r} is no header: write it as 'name: value'")
        headers[name.strip().lower()] = value.strip()
    return headers


async def results_of(target: Target, areas: Sequence[str]) -> list[Result]:
    """Run the cases. Raises CannotRun where the gateway does not answer."""
    async with staged(target) as stage:
        await refuse_silent(stage, target)
        if stage.upstream is not None:
            await asyncio.sleep(SETTLING_S)
        return [result async for result in run(stage, areas)]


@asynccontextmanager
async def staged(target: Target) -> AsyncIterator[Stage]:
    """The gateway, and the scripted model if there is one."""
    timeout = aiohttp.ClientTimeout(total=TOTAL_S)
    # A connection that was idle may be closed by the gateway just as it is used again: that would be no fault of it.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        gateway = Gateway(session, target.url, target.headers)
        if target.upstream_port is None:
            yield Stage(gateway, None, target.model, target.escalates, PATIENCE_S)
            return
        async with Upstream(target.upstream_port) as upstream:
            yield Stage(gateway, upstream, target.model, target.escalates, PATIENCE_S)


async def refuse_silent(stage: Stage, target: Target) -> None:
    """Raise CannotRun where nothing listens, a plain question is not answered, or not by the scripted model."""
    answer = await stage.ask_plainly()
    if answer.status == 0:
        raise CannotRun(f"no gateway answers at {target.url} ({answer.broke}): is it running, and is that its address?")
    if answer.status in CLIENTS_MISTAKES or not await recovered(stage):
        raise CannotRun(unanswered(await stage.ask_plainly(), target))
    if stage.upstream is not None and not stage.upstream.was_asked:
        raise CannotRun(
            f"the answer to a question to {target.model!r} is not the scripted model's: give the model's server as "
            f"{stage.upstream.url}, or run without --upstream-port"
        )


def unanswered(answer: Answer, target: Target) -> str:
    """What keeps the gateway from answering, as far as that is known."""
    if answer.status == OK:
        return (
            f"{target.model!r} does not ask a small model first and escalate its unsure drafts: leave out --escalates, "
            f"or see `smallfirst conformance --print-config smallfirst`"
        )
    return (
        f"a plain question to {target.model!r} is answered with {answer.status}: {answer.start} (see `smallfirst "
        f"conformance --print-config` for how a gateway is put in front of the scripted model)"
    )


def table_of(results: Sequence[Result]) -> Table:
    """A row for each case."""
    table = Table("area", "case", "verdict", "seen", box=None, pad_edge=False)
    for result in results:
        table.add_row(result.area, result.name, Text(result.verdict, COLOURS[result.verdict]), Text(result.seen))
    return table


def summary(results: Sequence[Result]) -> str:
    """One line."""
    counts = Counter(result.verdict for result in results)
    return f"{len(results)} cases: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in COLOURS)
