"""What a caller has taken, against what it may. Pure; knows neither HTTP nor where it is kept."""

import math
from calendar import monthrange
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from server.access.caller import Allowance

MINUTE_S = 60.0
DAY_S = 86400
NANOS = 1_000_000_000
MOST = 2**52  # so that every sum stays exact where numbers are doubles (Redis' scripts)
SOON_S = 1
RefusalReason = Literal["at-once", "requests", "tokens", "day", "month"]


class Amount(Struct, frozen=True):
    """Tokens, and cost in billionths of the currency of the prices: whole numbers, whose sums are exact."""

    tokens: int = 0
    nanos: int = 0

    def bounded(self) -> "Amount":
        """The same, as far as it can be counted: at most 2**52 of each."""
        if self.tokens <= MOST and self.nanos <= MOST:
            return self
        return Amount(min(self.tokens, MOST), min(self.nanos, MOST))


NOTHING = Amount()


class Moment(Struct, frozen=True):
    """Now: seconds of a clock that never goes back, and the day and the month (UTC) as `2026-11-25` and `2026-11`, with
    the seconds until they end."""

    clock_s: float
    day: str
    month: str
    day_left_s: int
    month_left_s: int


def moment_of(clock_s: float, unix_s: float) -> Moment:
    """Now, by two clocks."""
    number, second = divmod(unix_s, DAY_S)
    day, month, days_left = calendar_of(int(number))
    day_left_s = math.ceil(DAY_S - second)
    return Moment(clock_s, day, month, day_left_s, day_left_s + days_left * DAY_S)


@lru_cache(maxsize=8)
def calendar_of(number: int) -> tuple[str, str, int]:
    """The names of a day, by its number since 1970, and of its month, and how many days of that come after it."""
    day = date(1970, 1, 1) + timedelta(days=number)
    return day.isoformat(), f"{day:%Y-%m}", monthrange(day.year, day.month)[1] - day.day


class Standing(Struct, frozen=True):
    """Of one caller at one moment, at all gateways: requests and tokens that still count against the minute (they fade
    at the rate of the limit), requests under way, and in billionths of the currency what those hold and what the day
    and the month have cost."""

    requests: float = 0.0
    tokens: float = 0.0
    running: int = 0
    held: int = 0
    day: int = 0
    month: int = 0


class Refusal(Struct, frozen=True):
    """Which limit stands against a request, and in how many seconds it may not; None: waiting does not help."""

    reason: RefusalReason
    retry_after_s: int | None


def refusal(standing: Standing, allowance: Allowance, wanted: Amount, moment: Moment) -> Refusal | None:
    """The first limit that a request of so much would go beyond."""
    if allowance.streams_at_once is not None and standing.running + 1 > allowance.streams_at_once:
        return Refusal("at-once", SOON_S if allowance.streams_at_once else None)
    rates: tuple[tuple[RefusalReason, float, int, int | None], ...] = (
        ("requests", standing.requests, 1, allowance.requests_per_minute),
        ("tokens", standing.tokens, wanted.tokens, allowance.tokens_per_minute),
    )
    for reason, used, more, limit in rates:
        if limit is not None and used + more > limit:
            return Refusal(reason, faded_in(used + more - limit, limit) if more <= limit else None)
    budgets: tuple[tuple[RefusalReason, int, float | None, int], ...] = (
        ("day", standing.day, allowance.cost_per_day, moment.day_left_s),
        ("month", standing.month, allowance.cost_per_month, moment.month_left_s),
    )
    for reason, spent, budget, left_s in budgets:
        if budget is not None and spent + standing.held + wanted.nanos > nanos_of(budget):
            return Refusal(reason, affordable_in(spent, wanted.nanos, nanos_of(budget), left_s))
    return None


def faded_in(excess: float, limit: int) -> int:
    """Seconds, at least 1, until so much of what was used has faded at `limit` a minute."""
    return max(SOON_S, math.ceil(excess * MINUTE_S / limit))


def affordable_in(spent: int, wanted: int, budget: int, left_s: int) -> int | None:
    """Seconds until so much can be afforded: soon, where only what others hold is in the way; else when the period
    ends; never, where it is more than the whole budget."""
    if wanted > budget:
        return None
    return SOON_S if spent + wanted <= budget else left_s


def nanos_of(cost: float) -> int:
    """A cost in billionths; at most 2**52."""
    return min(MOST, round(cost * NANOS))


def faded(used: float, seconds: float, limit: int | None) -> float:
    """What is left of `used` after so many seconds at a limit a minute; nothing where there is no limit."""
    return 0.0 if limit is None else max(0.0, used - seconds * limit / MINUTE_S)
