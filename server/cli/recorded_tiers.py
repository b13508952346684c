"""The tiers that `smallfirst record` asks: a configuration's own servers, or the tiers of a running gateway."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import orjson

from models.endpoint import Endpoint, Limits
from models.errors import TimedOut, Unreachable
from models.pool import Pool
from models.probing import Door
from models.replica import Replica
from models.session import Session
from models.wire import Json, JsonObject
from router.call import Tier
from router.lab.opining import Opining
from router.lab.recording import Asked, CannotRecord
from server.building import build, tier_of
from server.pools import watched
from server.settings.schema import Settings

LIST_S = 10.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tiers: those that are named, else those of the cascade, else of the only one, else all; and who is asked
    for P(True) of the drafts, if anybody is."""

    tiers: Sequence[str] = ()
    cascade: str | None = None
    p_true: str | None = None

    def among(self, tiers: Sequence[str], cascades: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """The names, in the cascade's order. Raises CannotRecord where there is none of a name."""
        if self.cascade is not None and self.cascade not in cascades:
            raise CannotRecord(f"there is no cascade {self.cascade!r} (there are: {', '.join(cascades) or 'none'})")
        for name in [*self.tiers, *self.asked_too]:
            if name not in tiers:
                raise CannotRecord(f"there is no tier {name!r} (there are: {', '.join(tiers)})")
        if self.tiers:
            return list(dict.fromkeys(self.tiers))
        if self.cascade is not None:
            return cascades[self.cascade]
        return next(iter(cascades.values())) if len(cascades) == 1 else tiers

    @property
    def asked_too(self) -> Sequence[str]:
        """Who is asked about others' answers."""
        return [] if self.p_true is None else [self.p_true]

    def drafter(self, cascades: Mapping[str, Sequence[str]], chosen: Sequence[str]) -> str:
        """Whose answers are drafts: the first tier of the cascade, or of those that are asked."""
        only = next(iter(cascades.values())) if len(cascades) == 1 else chosen
        return (cascades[self.cascade] if self.cascade is not None else only)[0]


@dataclass(frozen=True, slots=True)
class Answering:
    """The tiers that are asked, and who is asked about their drafts."""

    tiers: Sequence[Asked]
    opining: Opining | None = None


def answering(
    choice: Choice, cascades: Mapping[str, Sequence[str]], chosen: Sequence[str], asked: Mapping[str, Asked]
) -> Answering:
    """The tiers of these names, and who is asked about them."""
    opining = None if choice.p_true is None else Opining(choice.drafter(cascades, chosen), asked[choice.p_true])
    return Answering([asked[name] for name in chosen], opining)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running one, and the key that it wants."""

    url: str
    api_key: str | None = None


@asynccontextmanager
async def configured(settings: Settings, choice: Choice, session: Session) -> AsyncIterator[Answering]:
    """The servers at the tiers' `urls`, with the configuration's keys and prices. Raises CannotRecord where a tier has
    none, or none that answers."""
    cascades = {name: cascade.tiers for name, cascade in settings.cascades.items()}
    chosen = choice.among([*settings.tiers], cascades)
    everyone = list(dict.fromkeys([*chosen, *choice.asked_too]))
    for name in everyone:
        if not settings.tiers[name].urls:
            raise CannotRecord(
                f"tier {name!r} has no urls: start its engine with `smallfirst up`, and record through that gateway"
                " (--url)"
            )
    served = build(settings, session)
    pools = {name: served.pools[name] for name in everyone}
    for name, pool in pools.items():
        if not await pool.is_up():
            raise CannotRecord(f"tier {name!r}: nobody answers at {', '.join(settings.tiers[name].urls)}")
    async with watched(pools):
        asked = {name: asked_at(pool, tier_of(name, settings.tiers[name], pool), settings.tiers[name].model)
                 for name, pool in pools.items()}  # fmt: skip
        yield answering(choice, cascades, chosen, asked)


def asked_at(pool: Pool, tier: Tier, model: str) -> Asked:
    """A tier that is asked at its own servers."""
    return Asked(tier.name, model, pool, tier.price, told_by(pool), tier.takes_choices)


async def behind_gateway(gateway: Gateway, choice: Choice, session: Session) -> Answering:
    """The tiers of a running gateway, asked by their names; what an answer costs, it says itself. Raises
    CannotRecord."""
    url = gateway.url.rstrip("/").removesuffix("/v1")
    anyone = Endpoint(url, "", gateway.api_key, "openai")
    cards = await listed(anyone, "/v1/models", session)
    pools = await listed(anyone, "/v1/pools", session)
    kinds = {str(card.get("id")): kind for card in cards if isinstance(kind := card.get("smallfirst"), dict)}
    cascades = {name: names_in(kind.get("tiers")) for name, kind in kinds.items() if kind.get("kind") == "cascade"}
    tiers = [name for name, kind in kinds.items() if kind.get("kind") == "tier"]
    models = {str(pool.get("tier")): model_of(pool) for pool in pools}
    fingerprints = {str(pool.get("tier")): fingerprints_of(pool) for pool in pools}
    chosen = choice.among(tiers, cascades)
    asked = {
        name: Asked(
            name,
            models.get(name) or name,
            Replica(Endpoint(url, name, gateway.api_key, "openai"), session=session, limits=Limits()),
            fingerprints=partial(fingerprints.__getitem__, name) if name in fingerprints else tuple,
            takes_choices=kinds[name].get("takes_choices") is True,
        )
        for name in (*chosen, *choice.asked_too)
    }
    return answering(choice, cascades, chosen, asked)


async def listed(gateway: Endpoint, path: str, session: Session) -> list[JsonObject]:
    """The objects of a list that the gateway has. Raises CannotRecord."""
    try:
        status, received = await Door(session, gateway, LIST_S).answered("GET", path, within_s=LIST_S)
        told: Json = orjson.loads(received)
    except (Unreachable, TimedOut, ValueError) as failed:
        raise CannotRecord(
            f"no gateway answers at {gateway.url}: start one with `smallfirst up`, or give --config"
        ) from failed
    items = told.get("data") if isinstance(told, dict) else None
    if status != 200 or not isinstance(items, list):
        raise CannotRecord(f"{gateway.url}{path}: the gateway answered {status}")
    return [item for item in items if isinstance(item, dict)]


def names_in(value: Json) -> Sequence[str]:
    """The texts in a list."""
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def told_by(pool: Pool) -> Callable[[], Collection[str]]:
    """What its servers say that they are, whenever it is asked for."""
    return lambda: pool.fingerprints


def fingerprints_of(pool: JsonObject) -> Collection[str]:
    """What a tier's servers say that they are, as far as they do."""
    replicas = pool.get("replicas")
    told = [one.get("fingerprint") for one in replicas if isinstance(one, dict)] if isinstance(replicas, list) else []
    return {one for one in told if isinstance(one, str)}


def model_of(pool: JsonObject) -> str | None:
    """The model that a tier's servers have."""
    replicas = pool.get("replicas")
    first = replicas[0] if isinstance(replicas, list) and replicas else None
    model = first.get("model") if isinstance(first, dict) else None
    return model if isinstance(model, str) else None
