"""One auditor, over models that say what they are told to: what it makes of every way an audit can end."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from fakes.trusting import trust
from fakes.waiting import until

from models.answer import Delta, Finish, Piece, Usage
from models.prompt import Prompt
from router.audits import LOST_AUDIT, AuditRules, Sampling
from router.call import Tier
from router.cascade import Cascade, answer
from router.events import Escalated, Event, Finished, Scored
from router.failover import Failover
from router.money import LengthRatio, Price
from router.outcome import Outcome
from router.policy import Policy
from router.scorers import SCORERS
from router.skipping import PromptGain, Skip
from router.trusted import Trusted
from router.verdict import Band
from server.auditing import QUEUED, Auditor, Comparing, auditing
from server.store.memory import MemoryLedger
from server.store.records import Record


@dataclass
class Says:
    """A model that says one thing, when it may."""

    text: str
    may: asyncio.Event = field(default_factory=asyncio.Event)
    takes_handover: bool = False
    goes_on: bool = False

    async def generate(self, _prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        await self.may.wait()
        yield Delta({"choices": []}, (Piece(0, {"content": self.text}, finish_reason="stop"),), time.perf_counter())
        yield Finish(Usage(10, 1))


@dataclass
class Counts:
    """Remembers what audits came to."""

    results: list[str] = field(default_factory=list)

    def observe(self, event: object, cascade: str) -> None: ...

    def audit_cost(self, cascade: str, tier: str, cost: float) -> None: ...

    def audited(self, _cascade: str, result: str) -> None:
        self.results.append(result)


@dataclass
class FullLedger(MemoryLedger):
    """Has no room for some of what it is given."""

    refused: int

    def __post_init__(self) -> None:
        super().__init__()

    def keep(self, record: Record) -> bool:
        self.refused -= 1
        return self.refused < 0 and super().keep(record)


@dataclass
class Stage:
    """An auditor of a cascade that accepts every draft, and what it is seen to do."""

    auditor: Auditor
    final: Says
    counts: Counts
    ledger: MemoryLedger

    async def ask(self) -> None:
        """One request from its beginning to its end."""
        await self.ask_at_once(1)

    async def ask_at_once(self, count: int) -> None:
        """Requests that all begin before one of them ends."""
        prompt = Prompt({"messages": []}, "id")
        tickets = [self.auditor.ticket(prompt, self.auditor.cascade.policy) for _ in range(count)]
        for ticket in tickets:
            outcome = Outcome(self.auditor.cascade)
            async for part in answer(self.auditor.cascade, prompt, outcome.observe):
                if isinstance(part, Delta):
                    ticket.answered(part)
            ticket.over(outcome, "decision")


def stage(
    grade: Callable[[str, str], bool | None],
    *,
    has_room: Callable[[], bool] = lambda: True,
    ledger: MemoryLedger | None = None,
    price: float = 0.0,
    spend: float = 1.0,
) -> Stage:
    small, final, counts, ledger = Says("yes"), Says("yes"), Counts(), ledger or MemoryLedger()
    small.may.set()
    tiers = (Tier("small", small, Price(1, 1)), Tier("large", final, Price(price, 0)))
    policy = Policy("threshold", SCORERS["mean-logprob"], 0.5, (), "accept")
    auditor = Auditor(
        Cascade("auto", tiers, policy, LengthRatio(), Failover(1.0)), {},
        sampling=Sampling(AuditRules(1.0, spend), draw=Random(1)), comparing=Comparing("exact", grade),
        has_room=has_room, ledger=ledger, counting=counts,
    )  # fmt: skip
    auditor.sampling.paid(0.001, time.time())  # it is known what one costs, so that many may run
    return Stage(auditor, final, counts, ledger)


async def test_what_the_grader_cannot_tell_is_kept_as_undecided() -> None:
    one = stage(lambda _text, _reference: None)
    one.final.may.set()

    async with auditing([one.auditor], {"auto": 1}):
        await one.ask()
        await until(lambda: one.counts.results == ["undecided"])

    (placed,) = await one.ledger.audits_since("auto", 0)
    assert placed.audit.loss is None
    assert (placed.audit.decision, placed.audit.propensity, placed.audit.exposure) == ("decision", 1.0, 3.0)


async def test_a_grader_that_fails_ends_no_more_than_its_audit() -> None:
    graded = iter([ValueError("no"), None])

    def grade(_text: str, _reference: str) -> bool:
        failure = next(graded)
        if failure is not None:
            raise failure
        return True

    one = stage(grade)
    one.final.may.set()

    async with auditing([one.auditor], {"auto": 1}):
        await one.ask()
        await one.ask()
        await until(lambda: one.counts.results == ["failed", "agreed"])

    failed, agreed = [placed.audit for placed in await one.ledger.audits_since("auto", 0)]
    assert (failed.loss, failed.final_tokens, failed.exposure) == (None, None, 3.0), "it is kept that it failed"
    assert (agreed.loss, agreed.exposure) == (False, 1.0)


async def test_what_finds_the_queue_full_at_its_end_is_dropped() -> None:
    one = stage(lambda _text, _reference: True)
    prompt = Prompt({"messages": []}, "id")

    await one.ask_at_once(QUEUED + 2)

    assert one.counts.results == ["dropped", "dropped"]
    assert one.auditor.propensity(None) == 0.0
    assert one.auditor.ticket(prompt, one.auditor.cascade.policy).propensity == 0.0


async def test_what_waits_until_the_final_tier_is_full_is_dropped() -> None:
    room = [True]
    one = stage(lambda _text, _reference: True, has_room=lambda: room[0])
    await one.ask()
    room[0] = False

    async with auditing([one.auditor], {"auto": 1}):
        await until(lambda: one.counts.results == ["dropped"])


async def test_many_that_were_drawn_at_once_cost_no_more_than_the_days_money() -> None:
    one = stage(lambda _text, _reference: True, price=100.0, spend=0.0045)  # a thousandth each, one is paid
    one.final.may.set()
    await one.ask_at_once(8)

    async with auditing([one.auditor], {"auto": 2}):
        await until(lambda: len(one.counts.results) == 8)

    assert sorted(one.counts.results) == ["agreed"] * 3 + ["dropped"] * 5
    assert one.auditor.sampling.spent_today == pytest.approx(0.004)


async def test_audits_are_kept_in_the_order_of_their_requests() -> None:
    one = stage(lambda _text, _reference: True)

    async with auditing([one.auditor], {"auto": 3}):
        for _ in range(3):
            await one.ask()
        one.final.may.set()
        await until(lambda: len(one.counts.results) == 3)

    placed = await one.ledger.audits_since("auto", 0)
    assert [one.audit.exposure for one in placed] == [3.0, 1.0, 1.0]


async def test_what_cannot_be_kept_was_not_found_out_and_its_requests_are_not_forgotten() -> None:
    one = stage(lambda _text, _reference: False, ledger=FullLedger(2))

    async with auditing([one.auditor], {"auto": 3}):
        for _ in range(3):
            await one.ask()
        one.final.may.set()
        await until(lambda: one.counts.results == ["failed", "failed", "disagreed"])

    (placed,) = await one.ledger.audits_since("auto", 0)
    assert placed.audit.exposure == 5.0
    assert not one.auditor._own, "what nobody will read is not waited for"


async def test_requests_whose_last_audit_cannot_be_kept_are_counted_with_the_next() -> None:
    one = stage(lambda _text, _reference: False, ledger=FullLedger(1))
    one.final.may.set()

    async with auditing([one.auditor], {"auto": 1}):
        await one.ask()
        await until(lambda: one.counts.results == ["failed"])
        await one.ask()
        await until(lambda: one.counts.results == ["failed", "disagreed"])

    (placed,) = await one.ledger.audits_since("auto", 0)
    assert placed.audit.exposure == 4.0


async def test_what_was_dropped_is_not_counted_as_seen() -> None:
    room = [True]
    one = stage(lambda _text, _reference: True, has_room=lambda: room[0])
    one.final.may.set()
    await one.ask()
    room[0] = False
    async with auditing([one.auditor], {"auto": 1}):
        await until(lambda: one.counts.results == ["dropped"])
        room[0] = True
        await one.ask()
        await until(lambda: one.counts.results == ["dropped", "agreed"])

    (placed,) = await one.ledger.audits_since("auto", 0)
    assert (placed.audit.exposure, placed.audit.unseen) == pytest.approx((4.0, 2.0 + LOST_AUDIT))
    assert placed.audit.threshold == 0.5


async def test_what_cannot_be_kept_is_not_counted_as_seen() -> None:
    one = stage(lambda _text, _reference: False, ledger=FullLedger(2))
    one.final.may.set()

    async with auditing([one.auditor], {"auto": 1}):
        for _ in range(3):
            await one.ask()
        await until(lambda: len(one.counts.results) == 3)

    (placed,) = await one.ledger.audits_since("auto", 0)
    assert (placed.audit.exposure, placed.audit.unseen) == pytest.approx((5.0, 2.0 + 2 * LOST_AUDIT))


def outcome_of(one: Stage, *events: Event) -> Outcome:
    """A request's, of which this is true."""
    outcome = Outcome(one.auditor.cascade)
    for event in (*events, Finished("large")):
        outcome.observe(event)
    return outcome


UP = ("small", "large")


@pytest.mark.parametrize(
    ("events", "unseen"),
    [
        ((Scored("small", -1.0, 0.1), Escalated(*UP, "unsure")), 0.0),
        ((Escalated(*UP, "empty"),), 0.0),
        ((Escalated(*UP, "timeout"),), 1.0),
        ((Escalated(*UP, "skipped"),), 1.0),
    ],
    ids=["not sure", "empty", "its tier failed", "not asked"],
)
async def test_only_drafts_that_were_judged_are_seen(events: tuple[Event, ...], unseen: float) -> None:
    one = stage(lambda _text, _reference: True)

    ticket = one.auditor.ticket(Prompt({"messages": []}, "id"), one.auditor.cascade.policy)
    ticket.over(outcome_of(one, *events), "decision")

    one.final.may.set()
    async with auditing([one.auditor], {"auto": 1}):
        await one.ask()
        await until(lambda: one.counts.results == ["agreed"])
    (placed,) = await one.ledger.audits_since("auto", 0)
    assert (placed.audit.exposure, placed.audit.unseen) == (4.0, 2.0 + unseen)


@pytest.mark.parametrize(
    ("rules", "unseen"),
    [
        ({}, 0.0),
        ({"verdict": Band(low=0.5, high=0.7)}, 1.0),
        ({"skip": Skip(PromptGain(intercept=0.0, unit=1.0, weights=(0, 0)), 0.5)}, 1.0),
    ],
    ids=["as certified", "a verdict", "a skip"],
)
def test_rules_that_send_up_more_than_was_certified_show_nothing_of_what_was(rules: dict, unseen: float) -> None:
    one = stage(lambda _text, _reference: True)
    cascade = one.auditor.cascade
    one.auditor.cascade = replace(cascade, trusted=Trusted(trust(), cascade.policy, threshold=None))

    ticket = one.auditor.ticket(Prompt({"messages": []}, "id"), replace(cascade.policy, **rules))

    scored = outcome_of(one, Scored("small", -1.0, 0.1), Escalated(*UP, "unsure"))
    assert ticket.span(scored, accepted=False).unseen == unseen
