"""What a record adds to the usage of a day. Pure.

Usage is kept by day (UTC), key, cascade and tier, for good: it stays when decisions are deleted.
"""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from server.store.records import Audit, Decision, Passed, Record

ANSWERED = 200
DAY_S = 86400
NOBODY = ""  # whose key is not known: a column of a primary key is never NULL


class Slot(NamedTuple):
    """What is counted together: a day (UTC, as 2026-03-01), a key's public id, a cascade and one of its tiers."""

    day: str
    key: str
    cascade: str
    tier: str


class Counts(Struct, frozen=True):
    """`requests` ended at the tier, so that over all tiers each is counted once; of these, `answered` whole. `accepted`
    drafts of the tier were the answer, `escalated` requests went past it. Tokens and cost are those of the tier's own
    calls, questions about drafts and audits among them. `saved`, an estimate, is what the final tier alone would have
    cost beyond what the requests did: negative where going up cost more."""

    requests: int = 0
    answered: int = 0
    accepted: int = 0
    escalated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    saved: float = 0.0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.requests + other.requests, self.answered + other.answered,
            self.accepted + other.accepted, self.escalated + other.escalated,
            self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens,
            self.cost + other.cost, self.saved + other.saved,
        )  # fmt: skip


Sums = Mapping[Slot, Counts]
NUMBERS = Counts.__struct_fields__


def added(counted: Iterable[Sums]) -> Sums:
    """All of them together, in the order of the slots: all gateways lock the database's rows in that order."""
    sums: dict[Slot, Counts] = {}
    for one in counted:
        for slot, counts in one.items():
            before = sums.get(slot)
            sums[slot] = counts if before is None else before + counts
    return dict(sorted(sums.items()))


def counts_of(record: Record) -> Sums:
    """What one record adds; feedback adds nothing."""
    match record:
        case Decision():
            return counted_in(record)
        case Audit():
            slot = Slot(day_of(record.time), NOBODY, record.cascade, record.final)
            return {slot: Counts(completion_tokens=record.final_tokens or 0, cost=record.cost)}
        case Passed():
            slot = Slot(day_of(record.time), record.key or NOBODY, record.asked, record.tier)
            return {slot: Counts(
                requests=1, answered=int(record.status == ANSWERED), prompt_tokens=record.prompt_tokens,
                completion_tokens=record.completion_tokens, cost=record.cost,
            )}  # fmt: skip
        case _:
            return {}


def counted_in(decision: Decision) -> Sums:
    """What each of its tiers did, and where it ended."""
    day, key, whole = day_of(decision.time), decision.key or NOBODY, decision.status == ANSWERED
    passed = decision.tiers[: decision.tiers.index(decision.tier)] if decision.tier in decision.tiers else ()
    end = Counts(
        requests=1, answered=int(whole), accepted=int(whole and decision.tier != decision.tiers[-1]),
        saved=decision.cost_final_alone - decision.cost if whole else 0.0,
    )  # fmt: skip
    sums = {Slot(day, key, decision.cascade, decision.tier): end}
    for step in decision.steps:
        slot = Slot(day, key, decision.cascade, step.tier)
        asked = Counts(
            escalated=int(decision.escalated and step.tier in passed), prompt_tokens=step.prompt_tokens,
            completion_tokens=step.completion_tokens, cost=step.cost,
        )  # fmt: skip
        before = sums.get(slot)
        sums[slot] = asked if before is None else before + asked
    return sums


def day_of(time: float) -> str:
    """The day of a time in Unix seconds, in UTC."""
    return day_numbered(int(time // DAY_S))


@lru_cache(maxsize=8)
def day_numbered(number: int) -> str:
    """The name of a day, by its number since 1970."""
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()
