"""What one gateway knows of one caller: what it has taken here, and what was last heard of the other gateways."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from server.access.caller import Allowance
from server.limits.standing import Amount, Moment, Refusal, Standing, faded, refusal


@dataclass(frozen=True, slots=True)
class Others:
    """All other gateways, when last heard of: requests under way there, what those hold, and what was spent by day and
    by month."""

    running: int = 0
    held: int = 0
    spent: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Account:
    """Of one caller. All its numbers are at least 0; `spent` only grows, and is by day and by month."""

    running: int = 0
    held: int = 0
    spent: dict[str, int] = field(default_factory=dict)
    others: Others = Others()
    requests: float = 0.0
    tokens: float = 0.0
    at_s: float = 0.0

    def standing(self, allowance: Allowance, moment: Moment) -> Standing:
        """As far as this gateway knows."""
        self._fade(allowance, moment)
        return Standing(
            self.requests,
            self.tokens,
            self.running + self.others.running,
            self.held + self.others.held,
            self._spent_in(moment.day),
            self._spent_in(moment.month),
        )

    def take(self, allowance: Allowance, wanted: Amount, moment: Moment) -> Refusal | None:
        """Reserve so much for a request, or say why not."""
        refused = refusal(self.standing(allowance, moment), allowance, wanted, moment)
        if refused is None:
            self.took(wanted)
        return refused

    def took(self, wanted: Amount) -> None:
        """So much is reserved for a request."""
        self.running += 1
        self.held += wanted.nanos
        self.requests += 1
        self.tokens += wanted.tokens

    def end(self, wanted: Amount, spent: Amount, moment: Moment) -> None:
        """A request for which `wanted` was reserved at that moment is over, and took `spent`."""
        self.running -= 1
        self.held -= wanted.nanos
        self.tokens = max(0.0, self.tokens + spent.tokens - wanted.tokens)
        for period in (moment.day, moment.month):
            self.spent[period] = self.spent.get(period, 0) + spent.nanos

    def never_was(self) -> None:
        """A request is not to count as one."""
        self.requests = max(0.0, self.requests - 1)

    def heard(self, others: Others) -> None:
        """What the other gateways have taken."""
        self.others = others

    def forget(self, moment: Moment) -> None:
        """Leave out days and months that are over, but for the last of each: a clock may have gone back."""
        self.spent = lately(self.spent, moment)
        self.others = replace(self.others, spent=lately(self.others.spent, moment))

    def is_idle(self, moment: Moment) -> bool:
        """Whether nothing would be lost with it."""
        return not self.running and not self.spent.get(moment.month)

    def _spent_in(self, period: str) -> int:
        return self.spent.get(period, 0) + self.others.spent.get(period, 0)

    def _fade(self, allowance: Allowance, moment: Moment) -> None:
        passed_s = max(0.0, moment.clock_s - self.at_s)
        self.requests = faded(self.requests, passed_s, allowance.requests_per_minute)
        self.tokens = faded(self.tokens, passed_s, allowance.tokens_per_minute)
        self.at_s = moment.clock_s


def lately(spent: Mapping[str, int], moment: Moment) -> dict[str, int]:
    """Of the last two days and the last two months."""
    days = sorted(period for period in spent if len(period) == len(moment.day))[-2:]
    months = sorted(period for period in spent if len(period) == len(moment.month))[-2:]
    return {period: spent[period] for period in (*days, *months)}


def allowed(allowance: Allowance, default: Allowance | None) -> Allowance:
    """What a caller may take: its own limits, and the defaults, if there are any, where it has none."""
    if default is None:
        return allowance
    own = allowance
    return replace(
        own,
        requests_per_minute=either(own.requests_per_minute, default.requests_per_minute),
        tokens_per_minute=either(own.tokens_per_minute, default.tokens_per_minute),
        streams_at_once=either(own.streams_at_once, default.streams_at_once),
        cost_per_day=own.cost_per_day if own.cost_per_day is not None else default.cost_per_day,
        cost_per_month=own.cost_per_month if own.cost_per_month is not None else default.cost_per_month,
        priority=own.priority or default.priority,
    )


def either(own: int | None, default: int | None) -> int | None:
    """The first that there is."""
    return default if own is None else own


def is_limited(allowance: Allowance) -> bool:
    """Whether anything is to be counted."""
    return not (
        allowance.requests_per_minute is None
        and allowance.tokens_per_minute is None
        and allowance.streams_at_once is None
        and is_unbudgeted(allowance)
    )


def is_unbudgeted(allowance: Allowance) -> bool:
    """Whether it may cost what it will."""
    return allowance.cost_per_day is None and allowance.cost_per_month is None
