"""`smallfirst check`: what a configuration would run, in words."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from models.launcher.speculation import Drafter, Handover
from server.cli.console import WRONG_USE, complain
from server.cli.engines import Engine, engines_of
from server.cli.fitting import refuse_unfit, unchecked
from server.settings.reading import SettingsError, read_settings
from server.settings.schema import CascadeSettings, Settings, StreamSettings, TierSettings
from server.settings.store import StoreSettings
from server.store.home import home_of, state_folder


def run_check(config: Path, environment: Mapping[str, str]) -> int:
    """Print the plan and return 0, or the mistakes and 2."""
    try:
        settings = read_settings(config, environment)
        engines = engines_of(settings, config, environment)
        refuse_unfit(engines)
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    console = Console(highlight=False, soft_wrap=True)
    for line in plan(settings, engines, state_folder(environment)):
        console.print(line, markup=False)
    return 0


def plan(settings: Settings, engines: Sequence[Engine], state: Path | None) -> Iterator[str]:
    """The configuration in sentences; `state` is where a store goes that the configuration names no place for."""
    server = settings.server
    keys = "without keys" if server.auth == "none" else "without keys, to this machine only"
    yield f"gateway at http://{server.host}:{server.port}, {keys}"
    by_tier = {engine.tier: engine for engine in engines}
    for name, tier in settings.tiers.items():
        yield f"tier {name}: {tier.model}, {price(tier)}; {'; '.join(servers(tier, by_tier.get(name)))}"
    for name, cascade in settings.cascades.items():
        yield f"cascade {name}: {rule(cascade)}"
    if not settings.cascades:
        yield "no cascade: each tier answers to its name"
    yield f"store: {kept(settings.store, state)}"


def kept(store: StoreSettings, state: Path | None) -> str:
    """What is kept of requests, and where."""
    home = home_of(store, state)
    if home is None:
        return "nothing is kept"
    days = "for good" if store.keep_days is None else f"for {store.keep_days:g} days"
    return f"decisions {'and texts' if store.texts else 'without texts'}, {days}, in {home.folder}"


def price(tier: TierSettings) -> str:
    """What a million tokens cost."""
    return f"{tier.price.input:g} in and {tier.price.output:g} out per million tokens"


def servers(tier: TierSettings, engine: Engine | None) -> Iterator[str]:
    """Who serves the tier."""
    if tier.urls:
        yield f"running at {', '.join(tier.urls)}"
    if engine is None:
        return
    flags = ", ".join([*speculation(engine), *(f"{name}={value}" for name, value in engine.settings.args.items())])
    yield f"`smallfirst up` starts {engine.settings.kind}{f' with {flags}' if flags else ''}"
    if engine.after:
        yield f"it starts when {' and '.join(engine.after)} is healthy, because they share a GPU"
    missing = " and ".join(unchecked(engine))
    if missing:
        yield f"whether the drafter fits is not checked, because this machine does not have {missing}"


def speculation(engine: Engine) -> Iterator[str]:
    """What proposes tokens inside the engine."""
    match engine.speculation:
        case Handover(tokens=tokens):
            yield f"handover, {tokens} draft tokens a step"
        case Drafter(model=model, tokens=tokens, tokens_by_batch=by_batch):
            yield f"the drafter {model}, {tokens} draft tokens a step{by_requests(by_batch)}"


def by_requests(tokens_by_batch: Mapping[int, int]) -> str:
    """How many draft tokens it is while how many requests run."""
    steps = ", ".join(f"{tokens} from {running} on" for running, tokens in sorted(tokens_by_batch.items()))
    return f" (by running requests: {steps})" if steps else ""


def rule(cascade: CascadeSettings) -> str:
    """When which tier answers."""
    *drafters, final = cascade.tiers
    if cascade.mode == "exact" or cascade.threshold is None:
        return f"{final} answers; {drafters[0]} drafts where {final} verifies drafts (mode exact)"
    checks = ", ".join(cascade.checks) or "none"
    return (
        f"{', then '.join(drafters)} if {cascade.scorer} confidence >= {cascade.threshold:g}, else {final}; "
        f"escalates without a score: {checks}; "
        f"without evidence: {cascade.on_missing_evidence}; {streams(cascade.stream, drafters[0], final)}"
    )


def streams(stream: StreamSettings, drafter: str, final: str) -> str:
    """When a client that streams is shown something."""
    stops = "" if stream.stop_at is None else f"; drafts are stopped if P(accepted) <= {stream.stop_at:g}"
    if stream.on_doubt == "hold":
        return f"streams open when the decision is made{stops}"
    goes_on = f"{final} goes on" if stream.on_doubt == "continue" else f"{drafter} finishes"
    return (
        f"streams open after {stream.gate_tokens} tokens if P(accepted) >= {stream.open_at:g}, behind a holdback of"
        f" {stream.holdback_tokens}, and in doubt {goes_on}{stops}"
    )
