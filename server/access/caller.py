"""Who sent a request, and what that caller may do. Knows neither HTTP nor how keys are kept."""

from dataclasses import dataclass

from router.events import Mode

ANYONE = "anyone"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller may do; None is without limit.

    `models` are the cascades and tiers that may be asked by name, `modes` those in which. Requests and tokens (of
    prompts and answers together) are per minute; `streams_at_once` counts requests under way; costs are in the
    currency of the prices, by day and month (UTC). `priority`: of two requests that wait, the higher one goes first.
    """

    models: frozenset[str] | None = None
    modes: frozenset[Mode] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    streams_at_once: int | None = None
    cost_per_day: float | None = None
    cost_per_month: float | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """One key, or one subject of an identity provider; or everybody, where there are no keys. `id` is public, never a
    secret, and stays the same for as long as the key lives: usage is counted by it. `salt` keeps the engines' prefix
    caches of callers apart; None: they share one. `is_admin`: may ask what is for operators."""

    id: str
    allowance: Allowance = Allowance()
    salt: str | None = None
    is_admin: bool = False


def anyone() -> Caller:
    """Who asks a gateway without keys."""
    return Caller(ANYONE, is_admin=True)


def key_of(caller: Caller) -> str | None:
    """The id that a caller's requests are kept and counted under; None where there are no keys."""
    return None if caller.id == ANYONE else caller.id
