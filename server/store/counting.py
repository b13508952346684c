"""What a record adds to the usage of a day. Pure.

Usage is kept by day (UTC), key, cascade and tier, for good: it stays when decisions are deleted.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import NamedTuple

from server.store.records import Audit, Decision, Passed, Record

ANSWERED = 200
NOBODY = ""  # whose key is not known: a column of a primary key is never NULL


class Slot(NamedTuple):
    """What is counted together: a day (UTC, as 2026-03-01), a key's public id, a cascade and one of its tiers."""

    day: str
    key: str
    cascade: str
    tier: str


@dataclass(frozen=True, slots=True)
class Counts:
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
        return Counts(*(getattr(self, name) + getattr(other, name) for name in NUMBERS))


NUMBERS = tuple(field.name for field in fields(Counts))


def counted(records: Iterable[Record]) -> Mapping[Slot, Counts]:
    """What they add together, in the order of the slots: all gateways lock the database's rows in that order."""
    sums: dict[Slot, Counts] = {}
    for record in records:
        for slot, counts in counts_of(record):
            sums[slot] = sums.get(slot, Counts()) + counts
    return dict(sorted(sums.items()))


def counts_of(record: Record) -> Iterator[tuple[Slot, Counts]]:
    """What one record adds; feedback adds nothing."""
    match record:
        case Decision():
            yield from counts_of_decision(record)
        case Audit():
            slot = Slot(day_of(record.time), NOBODY, record.cascade, record.final)
            yield slot, Counts(completion_tokens=record.final_tokens or 0, cost=record.cost)
        case Passed():
            slot = Slot(day_of(record.time), record.key or NOBODY, record.asked, record.tier)
            yield slot, Counts(
                requests=1, answered=int(record.status == ANSWERED), prompt_tokens=record.prompt_tokens,
                completion_tokens=record.completion_tokens, cost=record.cost,
            )  # fmt: skip


def counts_of_decision(decision: Decision) -> Iterator[tuple[Slot, Counts]]:
    """What each of its tiers did, and where it ended."""
    day, key, whole = day_of(decision.time), decision.key or NOBODY, decision.status == ANSWERED
    before = decision.tiers[: decision.tiers.index(decision.tier)] if decision.tier in decision.tiers else ()
    for step in decision.steps:
        yield Slot(day, key, decision.cascade, step.tier), Counts(
            escalated=int(decision.escalated and step.tier in before), prompt_tokens=step.prompt_tokens,
            completion_tokens=step.completion_tokens, cost=step.cost,
        )  # fmt: skip
    is_draft = decision.tier != decision.tiers[-1]
    yield Slot(day, key, decision.cascade, decision.tier), Counts(
        requests=1, answered=int(whole), accepted=int(whole and is_draft),
        saved=decision.cost_final_alone - decision.cost if whole else 0.0,
    )  # fmt: skip


def day_of(time: float) -> str:
    """The day of a time in Unix seconds, in UTC."""
    return datetime.fromtimestamp(time, UTC).date().isoformat()
