"""`smallfirst check`: what a configuration would run, in words."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from server.cli.console import WRONG_USE, complain
from server.settings.reading import SettingsError, read_settings
from server.settings.schema import CascadeSettings, Settings, TierSettings


def run_check(config: Path, environment: Mapping[str, str]) -> int:
    """Print the plan and return 0, or the mistakes and 2."""
    try:
        settings = read_settings(config, environment)
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    console = Console(highlight=False, soft_wrap=True)
    for line in plan(settings):
        console.print(line, markup=False)
    return 0


def plan(settings: Settings) -> Iterator[str]:
    """The configuration in sentences."""
    server = settings.server
    keys = "without keys" if server.auth == "none" else "without keys, to this machine only"
    yield f"gateway at http://{server.host}:{server.port}, {keys}"
    for name, tier in settings.tiers.items():
        yield f"tier {name}: {tier.model}, {price(tier)}; {servers(tier)}"
    for name, cascade in settings.cascades.items():
        yield f"cascade {name}: {rule(cascade)}"
    if not settings.cascades:
        yield "no cascade: each tier answers to its name"


def price(tier: TierSettings) -> str:
    """What a million tokens cost."""
    return f"{tier.price.input:g} in and {tier.price.output:g} out per million tokens"


def servers(tier: TierSettings) -> str:
    """Who serves the tier."""
    parts = [f"running at {', '.join(tier.urls)}"] if tier.urls else []
    if tier.engine is not None:
        flags = ", ".join(f"{name}={value}" for name, value in tier.engine.args.items())
        parts.append(f"`smallfirst up` starts {tier.engine.kind}{f' with {flags}' if flags else ''}")
    return "; ".join(parts)


def rule(cascade: CascadeSettings) -> str:
    """When which tier answers."""
    *drafters, final = cascade.tiers
    checks = ", ".join(cascade.checks) or "none"
    return (
        f"{', then '.join(drafters)} if {cascade.scorer} confidence >= {cascade.threshold:g}, else {final}; "
        f"escalates without a score: {checks}; "
        f"without evidence: {cascade.on_missing_evidence}; streams open when the decision is made"
    )
