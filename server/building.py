"""From settings to the running things: pools, tiers and cascades."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from models.embedding import PoolEmbedder
from models.endpoint import Endpoint, Limits
from models.model import Model
from models.pool import Pool, PoolRules
from models.replica import Replica
from models.session import Session
from models.waiting import Patience, Waiting
from router.audits import AuditRules, Sampling
from router.budget import Budget
from router.call import Tier
from router.cascade import Cascade
from router.drift import Drift
from router.failover import Failover
from router.foreseeing import Embedder
from router.gate import StreamRules
from router.graders import grader_of, same_answer
from router.money import LengthRatio, Price
from router.opinions import Agreement, Opinion, PTrue
from router.policy import Policy
from router.scorers import SCORERS, AskingName, ScorerName, scorer_of
from router.skipping import Skip
from router.steering import Steering
from router.trust import Trust
from router.trusted import Trusted
from router.watch import Watch, alpha_of_cluster
from server.auditing import Auditor, Comparing, Counting
from server.settings.cascade import AuditSettings, BudgetSettings, CascadeSettings
from server.settings.schema import Settings
from server.settings.tier import TierSettings
from server.store.records import Ledger


@dataclass(frozen=True, slots=True)
class Served:
    """What clients can ask for by name, the pools behind it, and the watches over certificates: by the cascade, and by
    the cluster that a certificate is for (None: the global fit). `waiting`: tiers that may be without servers."""

    cascades: Mapping[str, Cascade]
    tiers: Mapping[str, Cascade]
    pools: Mapping[str, Pool]
    watches: Mapping[str, Mapping[str | None, Watch]]
    waiting: Mapping[str, Waiting]

    def find(self, name: str) -> Cascade | None:
        """The cascade, or the single tier, of that name."""
        return self.cascades.get(name) or self.tiers.get(name)


def build(settings: Settings, session: Session) -> Served:
    """Everything that the settings name."""
    pools = {name: pool_of(tier, session) for name, tier in settings.tiers.items()}
    waiting = {
        name: Waiting(pools[name], Patience(tier.cold.wait_s, tier.cold.requests))
        for name, tier in settings.tiers.items()
        if tier.cold is not None
    }
    tiers = {name: tier_of(name, tier, waiting.get(name, pools[name])) for name, tier in settings.tiers.items()}
    cascades = {name: cascade_of(name, cascade, tiers, pools) for name, cascade in settings.cascades.items()}
    return Served(
        cascades=cascades,
        tiers={
            name: Cascade(name, (tier,), PASS_ON, LengthRatio(), Failover(1.0), "threshold")
            for name, tier in tiers.items()
        },
        pools=pools,
        watches={name: watches_of(cascade, settings.cascades[name], pools) for name, cascade in cascades.items()},
        waiting=waiting,
    )


def watches_of(cascade: Cascade, settings: CascadeSettings, pools: Mapping[str, Pool]) -> Mapping[str | None, Watch]:
    """A watch over each of a cascade's certificates that serve, by its cluster."""
    if cascade.trusted is None:
        return {}
    trust, artefact = cascade.trusted.trust, cascade.trusted.identity
    asked = {name: opinion.tier or cascade.tiers[0].name for name, opinion in settings.opinions.items()}

    def changed() -> Sequence[str]:
        return trust.changed(
            [pools[tier.name].likenesses for tier in cascade.tiers],
            {name: pools[tier].likenesses for name, tier in asked.items()},
        )

    alpha = alpha_of_cluster(len(trust.serving))
    return {
        cluster: Watch(
            certificate, cluster=cluster, artefact=artefact, alpha=alpha, drift=drift_of(trust, cluster),
            changed=changed,
        )
        for cluster, certificate in trust.serving.items()
    }  # fmt: skip


def drift_of(trust: Trust, cluster: str | None) -> Drift | None:
    """Who compares a cluster's confidences."""
    histogram = trust.fits[cluster].confidences
    return None if histogram is None else Drift(histogram)


def auditor_of(
    name: str, audits: AuditSettings, served: Served, *, ledger: Ledger, counting: Counting, draw: Random
) -> Auditor:
    """Who audits a cascade."""
    cascade = served.cascades[name]
    final = served.pools[cascade.final.name]
    return Auditor(
        cascade,
        served.watches[name],
        sampling=sampling_of(audits, cascade.final.price, draw),
        comparing=comparing_by(audits.grader),
        has_room=lambda: final.pressure == 0,
        ledger=ledger,
        counting=counting,
        others=served.cascades.keys() - {name},
    )


def sampling_of(audits: AuditSettings, price: Price, draw: Random) -> Sampling | None:
    """Who draws what is audited at the final tier's price; nobody where audits are off."""
    if audits.rate is None or audits.spend_per_day is None:
        return None
    return Sampling(AuditRules(audits.rate, audits.spend_per_day, price == Price(0, 0)), draw=draw)


def comparing_by(name: str) -> Comparing:
    """Whether a draft and the final tier's answer say the same, by the grader of that name."""
    grader = grader_of(name)
    return Comparing(name, lambda draft, answer: same_answer(draft, answer, grader))


def pool_of(tier: TierSettings, session: Session) -> Pool:
    """A tier's servers."""
    limits = limits_of(tier)
    rules = PoolRules(tier.on_broken_stream, tier.saturation_tokens)
    return Pool(endpoints_of(tier), lambda endpoint: Replica(endpoint, session=session, limits=limits), rules=rules)


def endpoints_of(tier: TierSettings) -> Sequence[Endpoint]:
    """Where they are, by the names that the operator gave."""
    key = tier.api_key.get_secret_value() if tier.api_key else None
    return [Endpoint(url, tier.model, key, tier.dialect, priorities=tier.schedules) for url in tier.urls]


def limits_of(tier: TierSettings) -> Limits:
    """How long they may take."""
    return Limits(**tier.limits.model_dump())


def tier_of(name: str, tier: TierSettings, model: Model) -> Tier:
    """A tier as cascades see it."""
    modalities = None if tier.modalities is None else frozenset(tier.modalities)
    takes_choices = tier.dialect == "vllm" and (tier.engine is None or tier.engine.kind == "vllm")
    return Tier(name, model, Price(tier.price.input, tier.price.output), modalities, takes_choices)


def cascade_of(name: str, settings: CascadeSettings, tiers: Mapping[str, Tier], pools: Mapping[str, Pool]) -> Cascade:
    """A cascade over some of the tiers."""
    own, trusted = tuple(tiers[tier] for tier in settings.tiers), trusted_of(settings)
    return Cascade(
        name, own, served_policy(settings, trusted), LengthRatio(), Failover(settings.failover_share), settings.mode,
        trusted, settings.task, steering=steering_of(settings.budget), opinions=opinions_of(settings, tiers),
        embedder=embedder_of(settings, tiers, pools),
    )  # fmt: skip


def served_policy(cascade: CascadeSettings, trusted: Trusted | None) -> Policy:
    """How a cascade judges a request that says nothing of its own."""
    return policy_of(cascade) if trusted is None else trusted.policy(cascade.mode, trusted.kind(cascade.task, ""))


def trusted_of(cascade: CascadeSettings) -> Trusted | None:
    """How a cascade with an artefact judges."""
    if cascade.trust is None:
        return None
    return Trusted(cascade.trust, policy_of(cascade), threshold=cascade.threshold)


def steering_of(budget: BudgetSettings) -> Steering:
    """What moves a cascade's threshold."""
    return Steering(
        escalated=None if budget.escalated is None else Budget(budget.escalated),
        spend=None if budget.spend is None else Budget(budget.spend),
        load_price=budget.load_price,
    )


def opinions_of(settings: CascadeSettings, tiers: Mapping[str, Tier]) -> Mapping[AskingName, Opinion]:
    """The questions that a cascade's scorers may ask."""
    return {
        name: opinion_of(None if opinion.tier is None else tiers[opinion.tier], opinion.grader)
        for name, opinion in settings.opinions.items()
    }


def embedder_of(settings: CascadeSettings, tiers: Mapping[str, Tier], pools: Mapping[str, Pool]) -> Embedder | None:
    """Who embeds a cascade's prompts."""
    name = None if settings.skip is None else settings.skip.embeddings
    return None if name is None else Embedder(tiers[name], PoolEmbedder(pools[name]))


def opinion_of(tier: Tier | None, grader: str | None) -> Opinion:
    """Who is asked what: with a grader, a helper for its own answer; else whether the draft is right."""
    return PTrue(tier) if tier is None or grader is None else Agreement(tier, grader_of(grader))


def policy_of(cascade: CascadeSettings) -> Policy:
    """How a cascade judges, as far as no artefact says."""
    return Policy(
        mode=cascade.mode,
        scorer=scorer_of(cascade.scorer or DEFAULT_SCORER),
        threshold=NEVER if cascade.threshold is None else cascade.threshold,
        checks=cascade.checks,
        on_missing_evidence=cascade.on_missing_evidence,
        stream=StreamRules(
            on_doubt=cascade.stream.on_doubt,
            gate_tokens=cascade.stream.gate_tokens,
            holdback_tokens=cascade.stream.holdback_tokens,
            open_at=cascade.stream.open_at,
            stop_at=cascade.stream.stop_at,
        ),
        verdict=None if cascade.verdict is None else cascade.verdict.rule,
        skip=skip_of(cascade),
    )


def skip_of(cascade: CascadeSettings) -> Skip | None:
    """When a cascade's first tier is not asked."""
    foresight = None if cascade.trust is None else cascade.trust.skip
    return None if cascade.skip is None or foresight is None else Skip(foresight, cascade.skip.below)


DEFAULT_SCORER: ScorerName = "mean-logprob"
NEVER = 1.0  # the threshold of a cascade in mode `exact`, where nothing is compared with it
PASS_ON = Policy("threshold", SCORERS[DEFAULT_SCORER], 0.0, (), "accept")
