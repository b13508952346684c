"""One caller's account at a gateway that keeps it together with others, and what those are still to be told."""

import asyncio
import uuid
from dataclasses import dataclass, field

from server.access.caller import Allowance
from server.limits.account import Account
from server.limits.holding import Limited, limited
from server.limits.standing import MINUTE_S, SOON_S, Amount, Moment, Refusal, Standing

CLOSED_S = 1.0
MOST_ASKING = 1000  # requests of one caller that wait for Redis' word


@dataclass(frozen=True, slots=True)
class Closed:
    """The minute's requests are used up until then, by the limits that held."""

    until_s: float
    allowance: Allowance
    why: Limited


@dataclass(eq=False, slots=True)
class Entry:
    """One caller's account here, under a name of its own in Redis, and what is not told there yet: of the minute, and
    of which days and months. `allowance` is that of its last request: those of a subject's tokens may differ."""

    caller: str
    account: Account = field(default_factory=Account)
    me: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    version: int = 0
    allowance: Allowance = field(default_factory=Allowance)
    owed_requests: float = 0.0
    owed_tokens: float = 0.0
    untold: set[tuple[str, str]] = field(default_factory=set)
    told_s: float = 0.0
    asking: int = 0
    closed: Closed | None = None

    def is_idle(self, moment: Moment) -> bool:
        """Whether nothing would be lost with it."""
        return not self.untold and self.account.is_idle(moment)

    def forget(self, moment: Moment) -> None:
        """Leave out what is over."""
        self.account.forget(moment)

    def over(self, wanted: Amount, spent: Amount, moment: Moment) -> None:
        """A request for which `wanted` was reserved at that moment is over, and took `spent`."""
        self.account.end(wanted, spent, moment)
        self.owed_tokens += spent.tokens - wanted.tokens
        self.untold.add((moment.day, moment.month))

    def never_was(self) -> None:
        """A request is not to count as one."""
        self.account.never_was()
        self.owed_requests -= 1

    def is_due(self, moment: Moment, beat_s: float) -> bool:
        """Whether Redis is to be told: of what has changed, and every so often of what is held."""
        holds = self.account.running and moment.clock_s - self.told_s >= beat_s
        return bool(self.untold or holds)

    def refused(self, why: Limited, standing: Standing, allowance: Allowance) -> None:
        """Redis has said no: where the minute's requests are used up, that holds for a while."""
        limit = allowance.requests_per_minute
        if why.reason == "requests" and limit:
            faded_s = (standing.requests + 1 - limit) * MINUTE_S / limit
            self.closed = Closed(self.told_s + min(CLOSED_S, faded_s), allowance, why)


def refuse_unasked(entry: Entry, allowance: Allowance, moment: Moment) -> None:
    """Raise Limited where the answer is known, or too many of the caller's requests wait for theirs: who sends far more
    than it may is not to keep Redis, or this gateway, busy."""
    closed = entry.closed
    if closed is not None and moment.clock_s < closed.until_s and closed.allowance == allowance:
        raise Limited(closed.why.reason, closed.why.problem)
    if entry.asking >= MOST_ASKING:
        raise limited(Refusal("requests", SOON_S), [])
