"""From settings to the running things: pools, tiers and cascades."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from models.endpoint import Endpoint, Limits
from models.pool import Pool, PoolRules
from models.replica import Replica
from router.call import Tier
from router.cascade import Cascade
from router.failover import Failover
from router.gate import StreamRules
from router.money import LengthRatio, Price
from router.policy import Policy
from router.scorers import SCORERS, ScorerName
from router.trusted import Trusted
from server.settings.schema import CascadeSettings, Settings, TierSettings

KEEP_ALIVE_S = 4.0  # vLLM closes an idle connection after 5 s; ours go first


@dataclass(frozen=True, slots=True)
class Served:
    """What clients can ask for by name, and the pools behind it."""

    cascades: Mapping[str, Cascade]
    tiers: Mapping[str, Cascade]
    pools: Mapping[str, Pool]

    def find(self, name: str) -> Cascade | None:
        """The cascade, or the single tier, of that name."""
        return self.cascades.get(name) or self.tiers.get(name)


def new_session() -> aiohttp.ClientSession:
    """The one pool of connections to all servers; must be made in a running event loop and closed."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
    return aiohttp.ClientSession(connector=connector, auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar())


def build(settings: Settings, session: aiohttp.ClientSession) -> Served:
    """Everything that the settings name."""
    pools = {name: pool_of(tier, session) for name, tier in settings.tiers.items()}
    tiers = {name: tier_of(name, tier, pools[name]) for name, tier in settings.tiers.items()}
    return Served(
        cascades={
            name: cascade_of(name, cascade, tuple(tiers[tier] for tier in cascade.tiers))
            for name, cascade in settings.cascades.items()
        },
        tiers={
            name: Cascade(name, (tier,), PASS_ON, LengthRatio(), Failover(1.0), "threshold")
            for name, tier in tiers.items()
        },
        pools=pools,
    )


def pool_of(tier: TierSettings, session: aiohttp.ClientSession) -> Pool:
    """A tier's servers."""
    key = tier.api_key.get_secret_value() if tier.api_key else None
    limits = Limits(**tier.limits.model_dump())
    endpoints = [Endpoint(url, tier.model, key, tier.dialect) for url in tier.urls]
    rules = PoolRules(tier.on_broken_stream, tier.saturation_tokens)
    return Pool(endpoints, lambda endpoint: Replica(endpoint, session=session, limits=limits), rules=rules)


def tier_of(name: str, tier: TierSettings, pool: Pool) -> Tier:
    """A tier as cascades see it."""
    modalities = None if tier.modalities is None else frozenset(tier.modalities)
    return Tier(name, pool, Price(tier.price.input, tier.price.output), modalities)


def cascade_of(name: str, settings: CascadeSettings, tiers: tuple[Tier, ...]) -> Cascade:
    """A cascade over its tiers."""
    failover, policy = Failover(settings.failover_share), served_policy(settings)
    return Cascade(name, tiers, policy, LengthRatio(), failover, settings.mode, trusted_of(settings), settings.task)


def served_policy(cascade: CascadeSettings) -> Policy:
    """How a cascade judges a request that says nothing of its own."""
    trusted = trusted_of(cascade)
    return policy_of(cascade) if trusted is None else trusted.policy(cascade.mode, cascade.task)


def trusted_of(cascade: CascadeSettings) -> Trusted | None:
    """How a cascade with an artefact judges."""
    if cascade.trust is None:
        return None
    return Trusted(cascade.trust, policy_of(cascade), threshold=cascade.threshold)


def policy_of(cascade: CascadeSettings) -> Policy:
    """How a cascade judges, as far as no artefact says."""
    return Policy(
        mode=cascade.mode,
        scorer=SCORERS[cascade.scorer or DEFAULT_SCORER],
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
    )


DEFAULT_SCORER: ScorerName = "mean-logprob"
NEVER = 1.0  # the threshold of a cascade in mode `exact`, where nothing is compared with it
PASS_ON = Policy("threshold", SCORERS[DEFAULT_SCORER], 0.0, (), "accept")
