"""Which accepted drafts are audited, with which propensity, and what of it is folded: decisions alone. Knows no clock
but the one it is given, and asks no model."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Generic, Literal, TypeVar

from msgspec import Struct

from models.prompt import Prompt

AuditResult = Literal["agreed", "disagreed", "undecided", "failed", "dropped"]

DAY_S = 86_400
LOST_AT_START = 2.0
LOST_AUDIT = 1.5
KNOWN = 10.0  # counts as so many audits: what is known of the share of accepted drafts beforehand

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class AuditRules:
    """`rate`, in (0, 1], is the share of accepted drafts that are audited, `spend_per_day` what their calls may cost in
    a day (UTC), in the currency of the prices, and `are_free` says that they cost nothing."""

    rate: float
    spend_per_day: float
    are_free: bool = False


class Sampling:
    """Draws requests for auditing, as far as the day's money goes. `now_s` is in Unix seconds."""

    def __init__(self, rules: AuditRules, *, draw: Random, now_s: Callable[[], float] = time.time) -> None:
        self.rules = rules
        self._draw = draw
        self._now_s = now_s
        self._day = self._today
        self._spent = 0.0
        self._paid = 0
        self._typical = 0.0
        self._running = 0
        self._asking = 0

    @property
    def spent_today(self) -> float:
        """What the day's audits cost so far."""
        self._turn()
        return self._spent

    def propensity(self, *, times: float = 1.0) -> float:
        """The probability with which a request that comes now is audited, if its draft is accepted: fixed before
        anything is known of it. `times`: how many times the rate it is to be, up to 1. 0 where the day's money, less
        what the audits under way will likely cost, does not suffice for one more; before it is known what one costs,
        one at a time is enough, unless they are free."""
        self._turn()
        left = self.rules.spend_per_day - self._spent - self._running * self._typical
        is_known = self._paid or self.rules.are_free
        if left <= 0 or left < self._typical or (self._running and not is_known):
            return 0.0
        return min(1.0, self.rules.rate * times)

    def draws(self, propensity: float) -> bool:
        """Whether a request of this propensity is audited, if its draft is accepted."""
        return self._draw.random() < propensity

    @property
    def affords(self) -> bool:
        """Whether the day's money suffices to ask for one more of those that are under way: many requests at once may
        have been drawn before any of them ended."""
        self._turn()
        left = self.rules.spend_per_day - self._spent - self._asking * self._typical
        return self.rules.are_free or (left > 0 and left >= self._typical)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """The final tier is asked, for as long as the block runs."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    def began(self) -> None:
        """An audit is under way."""
        self._running += 1

    def ended(self) -> None:
        """One is no longer."""
        self._running -= 1

    def paid(self, cost: float, time_s: float) -> None:
        """Somebody paid for an audit at that time; another day's is not counted."""
        self._turn()
        if cost > 0:
            self._paid += 1
            self._typical += (cost - self._typical) / self._paid
        if time_s // DAY_S == self._day:
            self._spent += cost

    @property
    def _today(self) -> float:
        return self._now_s() // DAY_S

    def _turn(self) -> None:
        if self._today != self._day:
            self._day, self._spent = self._today, 0.0


class Span(Struct, frozen=True):
    """Requests in a row. `exposure`: their propensities added up, or more. `unseen`: how much of it is of requests of
    which nobody knows what the certified policy would have accepted, or stands for audits that came to nothing, which
    may be more than all of it. `threshold`: the highest that one was judged by.

    Who asks whether there are more losses than certified counts all of the exposure: that can hide a loss and feign
    none. Who asks whether there are fewer counts what is not unseen, for the same reason.
    """

    exposure: float = 0.0
    unseen: float = 0.0
    threshold: float = 0.0

    def __add__(self, other: "Span") -> "Span":
        """These requests and those."""
        return Span(
            self.exposure + other.exposure, self.unseen + other.unseen, max(self.threshold, other.threshold)
        )  # fmt: skip


@dataclass(slots=True)
class Entry(Generic[Kept]):
    """An audit under way, or over and waiting for those before it: of a request, with those before it that had none."""

    span: Span
    is_over: bool = False
    kept: Kept | None = None


class Tally(Generic[Kept]):
    """Adds up requests, and lets audits out in the order of theirs, each with the requests since the one before.

    Where a share a of the drafts is accepted there is an audit in an exposure of 1 / a. So much, on average, a process
    that ends takes along: requests that had none since its last audit. So each begins with twice that, all of it
    unseen; without it, the requests between two audits would seem fewer than they were, and losses more frequent.

    And so much an audit stands for that comes to nothing before it could find anything out: others would have done so
    too, had they been drawn. It is taken from what is seen, and half as much again: so exp(-k epsilon 1.5 / a) is at
    most 1 - k epsilon / a, for k in [0, 1] and an epsilon of 0.58 a at most, and a stake on losses below epsilon falls
    as if the audit had found an average loss. `accepted`, in (0, 1], is a as far as it is known beforehand.
    """

    def __init__(self, *, accepted: float = 1.0) -> None:
        lost = LOST_AT_START / accepted
        self._span = Span(lost, lost)
        self._entries = deque[Entry[Kept]]()
        self._exposure, self._audits = KNOWN / accepted, KNOWN

    def passed(self, request: Span) -> None:
        """A request is over that was not drawn, or not accepted."""
        self._exposure += request.exposure
        self._span += request

    def began(self, request: Span) -> Entry[Kept]:
        """A request is over that was accepted and drawn."""
        entry = Entry[Kept](self._span + request)
        self._exposure, self._audits = self._exposure + request.exposure, self._audits + 1
        self._span = Span()
        self._entries.append(entry)
        return entry

    def ended(self, entry: Entry[Kept], kept: Kept | None) -> list[tuple[Kept, Span]]:
        """An audit is over, with something to keep of it or not. All that can now be kept, in order, with requests: of
        an audit without anything to keep, the next one has them too."""
        entry.is_over, entry.kept = True, kept
        out = []
        while self._entries and self._entries[0].is_over:
            first = self._entries.popleft()
            if first.kept is not None:
                out.append((first.kept, first.span))
            else:
                self.returned(self.without_audit(first.span))
        return out

    def without_audit(self, span: Span) -> Span:
        """These requests, where an audit of one of them came to nothing."""
        stands_for = LOST_AUDIT * self._exposure / self._audits
        return Span(span.exposure, span.unseen + stands_for, span.threshold)

    def returned(self, span: Span) -> None:
        """Nothing came of the audit of these requests: the next one has them too."""
        if self._entries:
            self._entries[0].span += span
        else:
            self._span += span


def can_be_audited(prompt: Prompt) -> bool:
    """Whether two answers to it can be compared: of several choices, which with which is not known."""
    return prompt.choices == 1


def to_audit(prompt: Prompt) -> Prompt:
    """The same question, to be answered in one piece, by its own id."""
    fields = {name: value for name, value in prompt.fields.items() if name not in ("stream", "stream_options")}
    return Prompt(fields, f"{prompt.request_id}-audit", form=prompt.form, salt=prompt.salt)
