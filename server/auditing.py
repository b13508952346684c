"""Audits, off the path of requests: the final tier is asked what it would have said, and its answer is compared.

Nobody waits for one. They have a few places of their own and a short queue, are dropped where that is full, make way
while the final tier has no room, and end when the gateway does.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import structlog

from models.answer import Delta, Draft, draft_of
from models.errors import ModelError
from models.holding import Held
from models.prompt import Prompt
from router.alarm import Stretch
from router.audits import AuditResult, Entry, Sampling, Span, Tally, can_be_audited, to_audit
from router.cascade import Cascade
from router.drafting import whole
from router.events import Called, CheckReason, Event
from router.graders import said_in
from router.outcome import Outcome
from router.policy import Policy
from router.watch import Watch
from server.following import AuditTrace, Trace
from server.store.records import Audit, Ledger, Placed, StoreDown, new_id

QUEUED = 16
WITHIN_S = 120.0
FOLD_EVERY_S = 5.0
FOLD_FIRST_S = 1.5  # what a start may wait for it
STOP_WITHIN_S = 2.0

Nothing = Literal["dropped"]
CHECKS = get_args(CheckReason)

log = structlog.get_logger()


class Counting(Protocol):
    """Who counts audits: the gateway's metrics."""

    def observe(self, event: Event, cascade: str) -> None:
        """Something happened to a call."""
        ...

    def audit_cost(self, cascade: str, tier: str, cost: float) -> None:
        """An audit's call to the tier cost so much."""
        ...

    def audited(self, cascade: str, result: AuditResult) -> None:
        """An audit is over."""
        ...


@dataclass(frozen=True, slots=True)
class Comparing:
    """How a cascade's answers are compared: the grader's name, and whether a text is as good as what the final tier
    said; None where that cannot be told."""

    grader: str
    grade: Callable[[str, str], bool | None]


@dataclass(frozen=True, slots=True)
class Job:
    """A draft to be audited: what it was an answer to and what it said, whose decision that was, its place among the
    others, the artefact whose certificate accepted it, if one did, the cluster whose fit judged it, and who follows its
    request."""

    decision: str
    prompt: Prompt
    draft: Draft
    tokens: int
    drafter: str
    confidence: float | None
    propensity: float
    entry: Entry[Audit]
    artefact: str | None
    cluster: str | None
    trace: Trace | None = None


class Ticket:
    """One request's part in the audits, from before it is answered: with what probability it is drawn was fixed then,
    and so was whether it is. Only of one that is drawn is the answer kept."""

    def __init__(
        self, auditor: "Auditor", prompt: Prompt, policy: Policy, propensity: float, *, drawn: bool,
        artefact: str | None,
    ) -> None:  # fmt: skip
        self.propensity = propensity
        self._policy = policy
        self.cluster = policy.cluster
        self._artefact = artefact
        self._auditor = auditor
        self._prompt = prompt
        self._drawn = drawn
        self._held = Held()

    def answered(self, delta: Delta) -> None:
        """The client is shown this."""
        if self._drawn:
            self._held.add(delta)

    def over(self, outcome: Outcome, decision: str, trace: Trace | None = None) -> None:
        """The request has ended; `decision` is the id by which that is kept, `trace` follows it. What was not answered
        whole does not count."""
        if outcome.finished:
            self._auditor.ended(self, outcome, decision, trace)

    def job(self, outcome: Outcome, decision: str, entry: Entry[Audit], trace: Trace | None) -> Job:
        """The audit of its draft."""
        return Job(
            decision, self._prompt, draft_of(self._held.deltas), self._held.tokens, outcome.tier,
            outcome.confidence, self.propensity, entry, self._artefact, self.cluster, trace,
        )  # fmt: skip

    def span(self, outcome: Outcome, *, accepted: bool) -> Span:
        """This request among the others. Seen is one that was not accepted because its draft was judged so, and that
        was not drawn where it was; by no rules that send up more than what was certified."""
        trusted = self._auditor.cascade.trusted
        certified = trusted is None or (self._policy.skip is None and self._policy.verdict == trusted.trust.verdict)
        judged = outcome.first_confidence is not None or outcome.reason in CHECKS
        is_seen = certified and (accepted or judged) and not (accepted and self._drawn and not self.is_drawn)
        return Span(self.propensity, 0.0 if is_seen else self.propensity, self._policy.threshold)

    @property
    def is_drawn(self) -> bool:
        """Whether its draft is audited, if it is accepted."""
        return self._drawn and self._held.first is not None


class Auditor:
    """Of one cascade: draws, asks, compares, keeps, and folds what the ledger has of all gateways into the watches,
    each into that of its cluster. `sampling` is None where audits are off; `has_room` says whether the final tier has
    some, `others` are the other cascades there are."""

    def __init__(
        self, cascade: Cascade, watches: Mapping[str | None, Watch], *, sampling: Sampling | None, comparing: Comparing,
        has_room: Callable[[], bool], ledger: Ledger, counting: Counting, now_s: Callable[[], float] = time.time,
        others: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.cascade = cascade
        self.watches = watches
        self.sampling = sampling
        self.comparing = comparing
        self._has_room = has_room
        self._ledger = ledger
        self._counting = counting
        self._now_s = now_s
        self._tallies = dict[str | None, Tally[Audit]]()
        self._queue = asyncio.Queue[Job](QUEUED)
        self._place = 0
        self._others = others
        self._formerly: Collection[str] | None = None
        self._own: set[str] = set()
        self._states = {cluster: watch.standing.state for cluster, watch in watches.items()}

    @property
    def follows(self) -> bool:
        """Whether it matters to this cascade what audits find."""
        return self.sampling is not None or bool(self.watches)

    def propensity(self, cluster: str | None) -> float:
        """With which probability a request of this cluster that comes now is audited, if its draft is accepted."""
        if self.sampling is None or self._queue.full() or not self._has_room():
            return 0.0
        watch = self.watches.get(cluster)
        return self.sampling.propensity(times=1.0 if watch is None else watch.vigilance)

    def ticket(self, prompt: Prompt, policy: Policy) -> Ticket:
        """For a request that comes now, and that the cascade judges by its own policy; only what is accepted in mode
        `certified` tells of the certificate."""
        propensity = self.propensity(policy.cluster) if can_be_audited(prompt) else 0.0
        drawn = self.sampling is not None and self.sampling.draws(propensity)
        trusted = self.cascade.trusted if policy.mode == "certified" else None
        artefact = None if trusted is None else trusted.identity
        return Ticket(self, prompt, policy, propensity, drawn=drawn, artefact=artefact)

    def ended(self, ticket: Ticket, outcome: Outcome, decision: str, trace: Trace | None = None) -> None:
        """A request was answered whole."""
        watch, tally = self.watches.get(ticket.cluster), self._tally(ticket.cluster)
        if watch is not None and outcome.first_confidence is not None:
            watch.scored(outcome.first_confidence)
        accepted = outcome.tier != self.cascade.final.name
        span = ticket.span(outcome, accepted=accepted)
        if self.sampling is None or not (accepted and ticket.is_drawn):
            tally.passed(span)
            return
        self.sampling.began()
        job = ticket.job(outcome, decision, tally.began(span), trace)
        try:
            self._queue.put_nowait(job)
        except asyncio.QueueFull:
            self._over(job, "dropped")

    async def work(self) -> None:
        """Audit what is drawn, one after the other, until cancelled."""
        while True:
            job = await self._queue.get()
            self._over(job, await self._followed(job))
            await self.fold()

    async def follow(self) -> None:
        """Fold what all gateways find, again and again, until cancelled."""
        while True:
            await asyncio.sleep(FOLD_EVERY_S)
            await self.fold()

    async def fold(self) -> None:
        """Take in what the ledger has and this gateway has not folded yet."""
        try:
            while placed := await self._placed():
                for one in placed:
                    self._learn(one)
            for watch in self.watches.values():
                watch.read()
        except StoreDown:
            log.warning("audits cannot be read", cascade=self.cascade.name)
        except Exception:  # neither may a mistake of ours end the tasks that this is done in
            log.exception("folding audits failed", cascade=self.cascade.name)
        self._tell()

    async def _placed(self) -> Sequence[Placed]:
        """The next that are not folded, by all names that the cascade has had: a new name is no new certificate."""
        if self._formerly is None:
            artefact = next((watch.artefact for watch in self.watches.values()), None)
            known = {self.cascade.name, *self._others}
            self._formerly = () if artefact is None else await self._ledger.former_names(artefact, known)
        return await self._ledger.audits_since(self.cascade.name, self._place, formerly=self._formerly)

    async def _followed(self, job: Job) -> Audit | Nothing:
        """What it finds, for who follows its request too."""
        trace = None if job.trace is None else job.trace.audit()
        found: Audit | Nothing | None = None
        try:
            found = await self._found(job, trace)
        finally:
            if trace is not None:
                trace.ended(result_of(found) if isinstance(found, Audit) else found)
        return found

    async def _found(self, job: Job, trace: AuditTrace | None) -> Audit | Nothing:
        """What the final tier says to it, and what that comes to. That one failed is kept too: it may be what it was
        asked that did it."""
        if not self._affords or not self._has_room():
            return "dropped"
        spent = list[float]()
        try:
            loss, written = await self._compared(job, spent, trace)
        except (ModelError, TimeoutError):
            loss, written = None, None
        except Exception:  # the top of its task, and a grader may be anybody's
            log.exception("audit failed", cascade=self.cascade.name)
            loss, written = None, None
        return Audit(
            id=new_id(), decision=job.decision, time=self._now_s(), cascade=self.cascade.name, drafter=job.drafter,
            final=self.cascade.final.name, propensity=job.propensity, loss=loss, grader=self.comparing.grader,
            confidence=job.confidence, cost=sum(spent), artefact=job.artefact, draft_tokens=job.tokens,
            final_tokens=written, cluster=job.cluster,
        )  # fmt: skip

    async def _compared(self, job: Job, spent: list[float], trace: AuditTrace | None) -> tuple[bool | None, int]:
        """Whether the draft is a loss, and the tokens of what the final tier says; each call's cost is added to
        `spent`. Raises ModelError, TimeoutError, and whatever graders do."""
        final = self.cascade.final

        def observe(event: Event) -> None:
            if isinstance(event, Called):
                spent.append(final.price.of(event.usage))
                self._pay(spent[-1])
            self._counting.observe(event, self.cascade.name)
            if trace is not None:
                trace.observe(event)

        under_way = nullcontext() if self.sampling is None else self.sampling.asking()
        async with asyncio.timeout(WITHIN_S):
            with under_way:
                held = await whole(final, to_audit(job.prompt), observe)
        right = await asyncio.to_thread(self.comparing.grade, text_of(job.draft), text_of(draft_of(held.deltas)))
        written = held.tokens
        self.cascade.ratio.learn_audited(drafted=job.tokens, written=written)
        return None if right is None else not right, written

    @property
    def _affords(self) -> bool:
        return self.sampling is None or self.sampling.affords

    def _pay(self, cost: float) -> None:
        self._counting.audit_cost(self.cascade.name, self.cascade.final.name, cost)
        if self.sampling is not None:
            self.sampling.paid(cost, self._now_s())

    def _over(self, job: Job, found: Audit | Nothing) -> None:
        """Keep what can now be kept, in the order of the requests, and count it."""
        if self.sampling is not None:
            self.sampling.ended()
        audit = found if isinstance(found, Audit) else None
        if not isinstance(found, Audit):
            self._counting.audited(self.cascade.name, found)
        lost, tally = Span(), self._tally(job.cluster)
        for one, span in tally.ended(job.entry, audit):
            lost += span
            kept = replace(one, exposure=lost.exposure, unseen=lost.unseen, threshold=lost.threshold)
            lost = Span() if self._keep(kept) else tally.without_audit(lost)
        tally.returned(lost)

    def _tally(self, cluster: str | None) -> Tally[Audit]:
        if cluster not in self._tallies:
            watch = self.watches.get(cluster)
            self._tallies[cluster] = Tally(accepted=1.0 if watch is None else watch.certificate.acceptance)
        return self._tallies[cluster]

    def _keep(self, audit: Audit) -> bool:
        """Whether the ledger takes it; where it cannot, nothing was found out."""
        is_kept = self._ledger.keep(audit)
        if is_kept:
            self._own.add(audit.id)
            self._foresee(audit)
        self._counting.audited(self.cascade.name, result_of(audit) if is_kept else "failed")
        return is_kept

    def _learn(self, placed: Placed) -> None:
        if placed.place <= self._place:  # another task has folded it meanwhile
            return
        self._place, audit = placed.place, placed.audit
        if audit.id in self._own:
            self._own.discard(audit.id)
        elif self.sampling is not None:
            self.sampling.paid(audit.cost, audit.time)
        for watch, stretch in self._about(audit):
            watch.audited(stretch, audit.time, audit=audit.id)

    def _foresee(self, audit: Audit) -> None:
        """What was just kept counts before it has come to the store, and back."""
        for watch, stretch in self._about(audit):
            watch.kept(audit.id, stretch, audit.time)

    def _about(self, audit: Audit) -> Iterator[tuple[Watch, Stretch]]:
        """Whose certificate an audit is about, and what it adds to the test there; nothing where there is none, or that
        cannot be told."""
        watch = self.watches.get(audit.cluster)
        if watch is None or audit.exposure is None or not watch.is_about(artefact=audit.artefact, grader=audit.grader):
            return
        try:
            yield watch, Stretch(audit.exposure, audit.propensity, audit.loss)
        except ValueError as wrong:
            log.warning("audit cannot be folded", cascade=self.cascade.name, audit=audit.id, cause=str(wrong))

    def _tell(self) -> None:
        """Say so where a certificate stands otherwise than a moment ago."""
        for cluster, watch in self.watches.items():
            standing = watch.standing
            if standing.state != self._states[cluster]:
                self._states[cluster] = standing.state
                log.warning("certificate stands otherwise", cascade=self.cascade.name, cluster=cluster,
                            state=standing.state, why=standing.why)  # fmt: skip


def text_of(draft: Draft) -> str:
    """What graders read of it."""
    return "\n".join(map(said_in, draft.choices))


def result_of(audit: Audit) -> AuditResult:
    """What it came to."""
    if audit.loss is None:
        return "failed" if audit.final_tokens is None else "undecided"
    return "disagreed" if audit.loss else "agreed"


@asynccontextmanager
async def auditing(auditors: Iterable[Auditor], at_once: Mapping[str, int]) -> AsyncIterator[None]:
    """The auditors are at work for as long as the block runs; those of a cascade with so many audits at once. The block
    begins when they know what was found before, or, where that cannot be told soon, without."""
    followers = [one for one in auditors if one.follows]
    first = [asyncio.create_task(one.fold()) for one in followers]
    tasks = [*first, *(asyncio.create_task(work) for one in followers for work in works_of(one, at_once))]
    try:
        if first:
            await asyncio.wait(first, timeout=FOLD_FIRST_S)
        yield
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_WITHIN_S)


def works_of(auditor: Auditor, at_once: Mapping[str, int]) -> Iterator[Coroutine[None, None, None]]:
    """What is to be done for a cascade, beside its requests, until the end."""
    if auditor.sampling is not None:
        yield from (auditor.work() for _ in range(at_once[auditor.cascade.name]))
    yield auditor.follow()
