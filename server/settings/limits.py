"""How much callers may take, where that is counted, and how many requests a cascade bears."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from server.access.caller import Allowance
from server.settings.section import Money, Seconds, Section

SCHEMES = ("redis", "rediss", "unix")
Whole = Annotated[int, Field(ge=0, le=2**53)]


def known_store(value: object) -> object:
    """Where limits can be kept: 'memory', or a Redis' URL, which may hold a password. Raises ValueError."""
    if value == "memory" or isinstance(value, SecretStr):
        return value
    if names_several(value):
        raise ValueError(
            "Redis Sentinel and Redis Cluster are not spoken here: name one Redis that has all keys, its primary or"
            " what leads to it (a service, a proxy): redis://redis:6379/0"
        )
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        known = parts is not None and parts.scheme in SCHEMES and (parts.hostname or parts.path) and parts.port != 0
    except ValueError:
        known = False
    if not known or not isinstance(value, str):
        raise ValueError("should be 'memory', or where a Redis is: redis://redis:6379/0, rediss://… or unix:///…")
    return SecretStr(value)


def names_several(value: object) -> bool:
    """Whether that names a Sentinel, a Cluster, or several servers."""
    scheme, _, rest = value.partition("://") if isinstance(value, str) else ("", "", "")
    servers = rest.partition("/")[0].rpartition("@")[2]
    return "sentinel" in scheme or "cluster" in scheme or (scheme in SCHEMES and "," in servers)


StoreUrl = Annotated[Literal["memory"] | SecretStr, BeforeValidator(known_store)]


class DefaultAllowance(Section):
    """What each caller may take that has no limit of its own; null: as much as it wants."""

    requests_per_minute: Whole | None = None
    tokens_per_minute: Whole | None = None
    streams_at_once: Whole | None = None
    cost_per_day: Money | None = None
    cost_per_month: Money | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0

    @property
    def allowance(self) -> Allowance:
        """As callers have it."""
        return Allowance(**self.model_dump())


class LimitsSettings(Section):
    """Limits of callers."""

    url: StoreUrl = "memory"
    default: DefaultAllowance = DefaultAllowance()
    unstated_tokens: Annotated[int, Field(ge=1, le=2**31)] = 1024
    timeout_s: Seconds = 0.25
    alone_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 300.0


class QueueSettings(Section):
    """How many requests of a cascade are under way at once, and how many may wait for that; no limit where there is
    no `at_once`."""

    at_once: Annotated[int, Field(ge=1)] | None = None
    waiting: Annotated[int, Field(ge=0, le=100_000)] = 100
    wait_s: Seconds = 30.0
