"""`smallfirst doctor`: asks everything that a configuration needs, and says what to do about what is not well."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import orjson
from rich.console import Console
from rich.text import Text

from models.addresses import expanded, look_up
from models.endpoint import Endpoint, Limits
from models.session import Session
from server.building import endpoints_of, limits_of
from server.cli.console import WRONG_USE, complain
from server.doctor.cascades import of_cascade
from server.doctor.finding import Finding, Level, problem, warning, worst
from server.doctor.keeping import of_store
from server.doctor.limiting import of_limits
from server.doctor.servers import Seen, examined
from server.settings.reading import SettingsError, read_settings
from server.settings.schema import Settings
from server.settings.tier import TierSettings
from server.store.home import state_folder

MARKS: Mapping[Level, tuple[str, str]] = {
    "good": ("ok", "green"),
    "warning": ("!!", "yellow"),
    "problem": ("XX", "red"),
}


def run_doctor(config: Path, environment: Mapping[str, str], *, as_json: bool) -> int:
    """Print what was found; 0 where no problem is among it, else 1; 2 where the configuration itself is wrong."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        settings = read_settings(config, environment)
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    findings = asyncio.run(found(settings, state_folder(environment)))
    if as_json:
        console.print(orjson.dumps(findings, option=orjson.OPT_INDENT_2).decode(), markup=False)
    else:
        for line in lines(findings):
            console.print(line)
    return int(worst(findings) == "problem")


async def found(settings: Settings, state: Path | None) -> Sequence[Finding]:
    """All that can be told: servers, cascades, the store, limits."""
    async with Session() as session, asyncio.TaskGroup() as group:
        keeping = group.create_task(of_store(settings.store, state))
        limiting = group.create_task(of_limits(settings.limits))
        seen = {name: group.create_task(of_tier(name, tier, session)) for name, tier in settings.tiers.items()}
    servers = {name: task.result() for name, task in seen.items()}
    abilities = {name: [one.abilities for one in known if one.abilities] for name, known in servers.items()}
    return [
        *(finding for known in servers.values() for one in known for finding in one.findings),
        *(finding for name, cascade in settings.cascades.items() for finding in of_cascade(name, cascade, abilities)),
        *keeping.result(),
        *limiting.result(),
    ]


async def of_tier(name: str, tier: TierSettings, session: Session) -> Sequence[Seen]:
    """Each server that the tier's addresses lead to."""
    if not tier.urls:
        fix = "`smallfirst up` starts its engine; ask the gateway then: GET /v1/pools"
        return [Seen((warning(f"tier {name}", "has no urls, so there is nobody to ask", fix),))]
    limits = limits_of(tier)
    seen = await asyncio.gather(*(of_endpoint(name, one, session, limits) for one in endpoints_of(tier)))
    return [one for several in seen for one in several]


async def of_endpoint(tier: str, endpoint: Endpoint, session: Session, limits: Limits) -> Sequence[Seen]:
    """Each server behind its name."""
    try:
        servers = await expanded(endpoint, look_up)
    except (OSError, UnicodeError) as failed:
        said = f"{endpoint.url}: the name leads nowhere ({failed})"
        return [Seen((problem(f"tier {tier}", said, f"correct tiers.{tier}.urls"),))]
    return await asyncio.gather(*(examined(tier, one, session, limits) for one in servers))


def lines(findings: Iterable[Finding]) -> Iterator[Text]:
    """Each finding, and below it what to do."""
    for one in findings:
        mark, colour = MARKS[one.level]
        yield Text.assemble((mark, colour), f" {one.about}: {one.said}")
        if one.fix is not None:
            yield Text(f"   -> {one.fix}")
