"""`smallfirst check`: what a configuration would run, in words."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from rich.console import Console

from models.launcher.speculation import Drafter, Handover
from router.certificate import Certificate
from router.policy import Policy
from router.trusted import Kind
from router.watch import alpha_of_cluster
from server.building import served_policy, trusted_of
from server.cli.console import WRONG_USE, complain
from server.cli.engines import Engine, engines_of
from server.cli.fitting import refuse_unfit, unchecked
from server.limits.account import is_unbudgeted
from server.settings.cascade import AuditSettings, BudgetSettings, CascadeSettings, StreamSettings
from server.settings.reading import SettingsError, read_settings
from server.settings.schema import Settings
from server.settings.store import StoreSettings
from server.settings.tier import TierSettings
from server.store.home import home_of, place_told, state_folder

ALL_OTHERS = "others"

ASKERS = {
    None: "without keys, to this machine only",
    "none": "WITHOUT KEYS: whoever reaches it may ask (auth: none)",
    "keys": "to those who have a key",
}


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
    scheme = "http" if server.tls is None else "https"
    tokens = "" if server.oidc is None else f", or a token of {server.oidc.issuer}"
    yield f"gateway at {scheme}://{server.host}:{server.port}, {ASKERS[server.auth]}{tokens}"
    if server.workers > 1:
        yield f"workers: {server.workers} processes answer"
    if server.admin_port is not None:
        yield f"operators at {scheme}://{server.admin.host}:{server.admin_port}"
    by_tier = {engine.tier: engine for engine in engines}
    for name, tier in settings.tiers.items():
        yield f"tier {name}: {tier.model}, {price(tier)}; {'; '.join(servers(tier, by_tier.get(name)))}"
    for name, cascade in settings.cascades.items():
        yield f"cascade {name}: {rule(cascade)}"
    if not settings.cascades:
        yield "no cascade: each tier answers to its name"
    yield from limits(settings)
    yield f"store: {kept(settings.store, state)}"
    yield from forgotten(settings, state)


def limits(settings: Settings) -> Iterator[str]:
    """What callers may take, and who waits; nothing where that is not limited."""
    for name, cascade in settings.cascades.items():
        queue = cascade.queue
        if queue.at_once is not None:
            waiting = f"{queue.waiting} may wait {queue.wait_s:g} s for that"
            yield f"cascade {name}: {queue.at_once} requests at once, {waiting}"
    default = settings.limits.default.model_dump(exclude_defaults=True)
    each = ", ".join(f"{name.replace('_', ' ')}: {limit:.15g}" for name, limit in default.items())
    if settings.limits.url != "memory":
        yield f"limits: kept in Redis; {f'a caller without its own has {each}' if each else 'none but the callers own'}"
    elif each:
        yield f"limits: kept by this process alone; a caller without its own has {each}"


def kept(store: StoreSettings, state: Path | None) -> str:
    """What is kept of requests, and where."""
    home = home_of(store, state)
    if home is None:
        return "nothing is kept"
    days = "for good" if store.keep_days is None else f"for {store.keep_days:g} days"
    return f"decisions {'and texts' if store.texts else 'without texts'}, {days}, in {place_told(home)}"


def forgotten(settings: Settings, state: Path | None) -> Iterator[str]:
    """What nobody remembers where nothing is kept."""
    if home_of(settings.store, state) is not None:
        return
    for name, cascade in settings.cascades.items():
        if promise(cascade) and cascade.audits.rate is not None and cascade.audits.spend_per_day is not None:
            yield f"cascade {name}: an alarm is forgotten when the gateway ends, because nothing is kept"
    if settings.limits.url == "memory" and not is_unbudgeted(settings.limits.default.allowance):
        yield "limits: budgets begin anew when the gateway ends or is reloaded, because nothing is kept"


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
    kinds = kinds_of(cascade)
    policy = next((one for one in kinds.values() if one.mode != "exact"), kinds[ALL_OTHERS])
    if policy.mode == "exact":
        why = "mode exact" if policy.fallback is None else f"mode certified cannot be kept: {policy.fallback}"
        return f"{final} answers; {drafters[0]} drafts where {final} verifies drafts ({why})"
    checks = ", ".join(cascade.checks) or "none"
    return "; ".join(
        (
            *skipping(cascade, drafters[0]),
            f"{told(kinds, drafters, final)}{promise(cascade)}",
            *asking(cascade, drafters),
            f"escalates without a score: {checks}",
            f"without evidence: {cascade.on_missing_evidence}",
            opening(cascade, policy),
            *budgeted(cascade.budget, final),
            *audited(cascade.audits),
            *watching(cascade),
        )
    )


def kinds_of(cascade: CascadeSettings) -> Mapping[str, Policy]:
    """How each kind of request is judged that says nothing of its own, those of no known kind last."""
    trusted = trusted_of(cascade)
    others = {ALL_OTHERS: served_policy(cascade, trusted)}
    if trusted is None or trusted.trust.words is None or cascade.task is not None:
        return others
    names = trusted.trust.words.centroids
    return {name: trusted.policy(cascade.mode, Kind(name, counted=True)) for name in names} | others


def told(kinds: Mapping[str, Policy], drafters: Sequence[str], final: str) -> str:
    """When a draft is the answer; by kind of request, where its words tell one."""
    rules = {name: judged(policy, drafters, final) for name, policy in kinds.items()}
    if len(rules) == 1:
        return rules[ALL_OTHERS]
    return "by the words of a request, " + ", ".join(f"{name}: {rule}" for name, rule in rules.items())


def judged(policy: Policy, drafters: Sequence[str], final: str) -> str:
    """When a draft is the answer."""
    if policy.mode == "exact":
        return final
    return f"{', then '.join(drafters)} if {policy.scorer.name} confidence >= {policy.threshold:g}, else {final}"


def opening(cascade: CascadeSettings, policy: Policy) -> str:
    """When a client that streams is shown something."""
    if policy.mode == "certified":
        return "streams open when the decision is made"
    said = streams(cascade.stream, cascade.tiers[0], cascade.tiers[-1])
    is_for_others = cascade.stream.needs_a_gate and cascade.trust is not None and cascade.trust.clusters
    return f"{said}; those of requests of a known kind are held" if is_for_others else said


def skipping(cascade: CascadeSettings, drafter: str) -> Iterator[str]:
    """When the first tier is not asked."""
    if cascade.skip is not None:
        embedded = f", by the embeddings of {cascade.skip.embeddings}" if cascade.skip.embeddings else ""
        yield f"not {drafter} if confidence before generation < {cascade.skip.below:g}{embedded}"


def asking(cascade: CascadeSettings, drafters: Sequence[str]) -> Iterator[str]:
    """Who is asked about drafts."""
    for name, opinion in cascade.opinions.items():
        asked = opinion.tier or " or ".join(drafters)
        compared = f", compared by {opinion.grader}" if opinion.grader else ""
        unread = "" if name in cascade.asks else " (no scorer reads it: nobody is asked)"
        yield f"{name} of {asked}{compared}{unread}"
    if cascade.verdict is not None:
        low, high = cascade.verdict.band
        yield (
            f"from {low:g} to below {high:g} {cascade.tiers[-1]} is asked whether the draft is right, and P(right) >="
            f" {cascade.verdict.at:g} accepts"
        )


def promise(cascade: CascadeSettings) -> str:
    """What is certified of a cascade in mode `certified`."""
    clusters: dict[tuple[str, date], list[str]] = {}
    for cluster, one in served_certificates(cascade).items():
        promised = f"{one.loss} <= {one.epsilon:g} with probability {1 - one.delta:g}"
        clusters.setdefault((promised, one.expires_on), []).extend(named(cluster))
    said = [f"{promised}{of_clusters(names)}, until {until}" for (promised, until), names in clusters.items()]
    return f" (certified: {'; '.join(said)})" if said else ""


def served_certificates(cascade: CascadeSettings) -> Mapping[str | None, Certificate]:
    """By their clusters."""
    trust = cascade.trust if cascade.mode == "certified" else None
    return {} if trust is None else trust.serving


def named(cluster: str | None) -> Sequence[str]:
    """A cluster's name, if it has one."""
    return () if cluster is None else (cluster,)


def of_clusters(names: Sequence[str]) -> str:
    """Whose certificate it is, where that needs to be said."""
    return f" for {', '.join(names)}" if names else ""


def budgeted(budget: BudgetSettings, final: str) -> Iterator[str]:
    """What moves the threshold."""
    if budget.escalated is not None:
        yield f"the threshold moves so that {budget.escalated:.4g} of the requests escalate"
    if budget.spend is not None:
        yield f"the threshold moves so that {budget.spend:.4g} of what {final} alone would cost is spent"
    if budget.load_price > 1:
        yield f"while {final} has no room it counts {budget.load_price:g} times its price"


def audited(audits: AuditSettings) -> Iterator[str]:
    """What is compared with the final tier's answers."""
    if audits.rate is not None and audits.spend_per_day is not None:
        yield f"{audits.rate:.4g} of accepted drafts are audited by {audits.grader}, for {audits.spend_per_day:g} a day"
    elif audits != AuditSettings():
        yield "nothing is audited until both rate and spend_per_day are set"


def watching(cascade: CascadeSettings) -> Iterator[str]:
    """How audits watch the certificates that are served, where that needs to be said: each by itself, or why not."""
    served, audits = served_certificates(cascade), cascade.audits
    if not served or cascade.trust is None:
        return
    if audits.rate is None or audits.spend_per_day is None:
        yield f"no audits watch the certificate{'s' if len(served) > 1 else ''}"
        return
    blind = [cluster for cluster, one in served.items() if one.watched is None or one.watched[0] != audits.grader]
    if blind:
        names = of_clusters([name for cluster in blind for name in named(cluster)])
        yield f"audits by {audits.grader} do not watch the certificate{names}: tune again with --audit-grader"
    if len(served) > 1:
        alpha = alpha_of_cluster(len(served))
        yield f"each certificate has an alarm, that sounds falsely with probability {alpha:.2g} at most"


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
