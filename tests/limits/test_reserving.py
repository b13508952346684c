"""What is reserved is settled to the last billionth, in whatever order requests are begun, fail, are left and end."""

import contextlib
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.caller import Allowance
from server.limits.holding import Hold, Limited
from server.limits.memory import MemoryLimiter
from server.limits.standing import NANOS, NOTHING, Amount, Moment, moment_of

DAY_S = 86400.0
NOON = 1_700_000_000.0 - 1_700_000_000.0 % DAY_S + DAY_S / 2  # of a day in the middle of a month


@dataclass
class Clock:
    """Two clocks that are set by hand."""

    clock_s: float = 1000.0
    unix_s: float = NOON

    def __call__(self) -> Moment:
        return moment_of(self.clock_s, self.unix_s)

    def passes(self, seconds: float) -> None:
        """On both."""
        self.clock_s += seconds
        self.unix_s += seconds


@dataclass
class Books:
    """A memory limiter and what should be in it."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.limiter = MemoryLimiter(self.clock)

    async def take(self, allowance: Allowance, tokens: int = 0, nanos: int = 0) -> Hold:
        """Reserve so much."""
        return await self.limiter.reserve("a", allowance, Amount(tokens, nanos))

    async def refused(self, allowance: Allowance, tokens: int = 0, nanos: int = 0) -> Limited:
        """The refusal that there must be."""
        with pytest.raises(Limited) as caught:
            await self.take(allowance, tokens, nanos)
        return caught.value


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "finish", "fail", "leave", "undo", "wait"]),
        st.integers(0, 5_000_000),
        st.integers(0, 100),
    ),
    max_size=60,
)


@given(STEPS, st.integers(0, 5), st.floats(0, 0.02))
async def test_sums_are_kept_whatever_happens(steps: list[tuple[str, int, int]], at_once: int, budget: float) -> None:
    """As no request takes more than it reserved, the budget holds too."""
    books = Books()
    allowance = Allowance(streams_at_once=at_once, cost_per_day=budget, tokens_per_minute=10**9, requests_per_minute=10)
    under_way: list[tuple[Hold, Amount]] = []
    spent = 0
    for step, nanos, number in steps:
        if step == "take":
            with contextlib.suppress(Limited):
                under_way.append((await books.take(allowance, nanos, nanos), Amount(nanos, nanos)))
        elif step == "wait":
            books.clock.passes(number / 10)
        elif under_way:
            hold, wanted = under_way.pop(number % len(under_way))
            took = {"finish": wanted.nanos, "fail": wanted.nanos * number // 100}.get(step, 0)
            if step == "undo":
                hold.undo()
            hold.end(Amount(took, took))
            hold.end(wanted)  # what is said twice counts once
            spent += 0 if step == "undo" else took
        account = books.limiter.accounts.of("a", books.clock())
        assert account.running == len(under_way) <= at_once
        assert account.held == sum(wanted.nanos for _, wanted in under_way)
        assert account.spent.get(books.clock().day, 0) == spent
        assert spent + account.held <= round(budget * NANOS)
        assert account.requests >= 0
        assert account.tokens >= 0


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 20)), max_size=60))
async def test_no_more_tokens_are_taken_than_the_limit_lets_in_all(requests: list[tuple[int, float]]) -> None:
    """At most a minute's worth at once, and what fades since: of requests that take all that they reserve."""
    books, limit = Books(), 600
    taken, began_s = 0, books.clock.clock_s
    for tokens, pause_s in requests:
        books.clock.passes(pause_s)
        try:
            hold = await books.take(Allowance(tokens_per_minute=limit), tokens)
        except Limited:
            continue
        hold.end(Amount(tokens))
        taken += tokens
        assert taken <= limit + (books.clock.clock_s - began_s) * limit / 60 + 1e-6


async def test_a_refused_request_is_told_when_there_is_enough_and_there_is() -> None:
    books, allowance = Books(), Allowance(tokens_per_minute=600)
    (await books.take(allowance, 600)).end(Amount(600))

    refused = await books.refused(allowance, 100)
    assert refused.problem.retry_after_s == 10
    books.clock.passes(9.9)
    await books.refused(allowance, 100)
    books.clock.passes(0.1)

    await books.take(allowance, 100)


async def test_an_answer_longer_than_reserved_is_counted_whole() -> None:
    books, allowance = Books(), Allowance(tokens_per_minute=600, cost_per_day=1.0)
    (await books.take(allowance, 10, 10)).end(Amount(900, 2 * NANOS))

    assert (await books.refused(allowance, 1)).problem.retry_after_s == 31
    books.clock.passes(60)
    assert (await books.refused(allowance, 1)).problem.code == "insufficient_quota"


async def test_only_where_waiting_helps_soon_is_a_client_to_try_again() -> None:
    books, allowance = Books(), Allowance(cost_per_day=1.0)
    hold = await books.take(allowance, 0, NANOS)
    held = await books.refused(allowance, 0, 1)
    hold.end(Amount(0, NANOS))
    spent = await books.refused(allowance, 0, 1)
    never = await books.refused(allowance, 0, 2 * NANOS)

    assert [error.problem.headers for error in (held, spent, never)] == [
        {"retry-after": "1"}, {"retry-after": "43200", "x-should-retry": "false"}, {"x-should-retry": "false"},
    ]  # fmt: skip


async def test_a_new_day_has_a_new_budget_and_the_month_goes_on() -> None:
    books = Books()
    allowance = Allowance(cost_per_day=1.0, cost_per_month=1.5)
    (await books.take(allowance, 0, NANOS)).end(Amount(0, NANOS))

    assert (await books.refused(allowance, 0, 1)).problem.retry_after_s == DAY_S / 2
    books.clock.passes(DAY_S / 2)
    (await books.take(allowance, 0, NANOS // 2)).end(Amount(0, NANOS // 2))
    refused = await books.refused(allowance, 0, 1)

    assert "month" in refused.problem.message
    assert 0 < (refused.problem.retry_after_s or 0) <= 31 * DAY_S


async def test_a_request_counts_in_the_day_in_which_it_came() -> None:
    books, allowance = Books(), Allowance(cost_per_day=1.0)
    hold = await books.take(allowance, 0, NANOS)
    books.clock.passes(DAY_S / 2)
    hold.end(Amount(0, NANOS))

    await books.take(allowance, 0, NANOS)


async def test_a_clock_that_jumps_back_brings_no_new_budget_and_stops_nobody() -> None:
    books, allowance = Books(), Allowance(cost_per_day=1.0, requests_per_minute=2)
    (await books.take(allowance, 0, NANOS)).end(Amount(0, NANOS))
    books.clock.unix_s -= DAY_S
    (await books.take(allowance, 0, NANOS // 2)).end(NOTHING)
    books.clock.unix_s += DAY_S
    books.clock.clock_s += 60

    assert (await books.refused(allowance, 0, 1)).problem.code == "insufficient_quota"
    books.clock.clock_s -= 3600  # no clock of ours does that
    await books.take(replace(allowance, cost_per_day=None))


async def test_limits_may_change_while_requests_are_under_way() -> None:
    books = Books()
    generous, strict = Allowance(streams_at_once=5, cost_per_day=1.0), Allowance(streams_at_once=1, cost_per_day=0.1)
    holds = [await books.take(generous, 0, NANOS // 10) for _ in range(3)]

    assert (await books.refused(strict)).problem.code == "rate_limit_exceeded"
    for hold in holds:
        hold.end(Amount(0, NANOS // 20))

    assert (await books.refused(strict, 0, 1)).problem.code == "insufficient_quota"
    await books.take(generous, 0, NANOS // 10)


async def test_accounts_of_which_nothing_would_be_lost_go() -> None:
    books = Books()
    for number in range(1000):
        (await books.limiter.reserve(str(number), Allowance(requests_per_minute=9), NOTHING)).end(NOTHING)
    await books.limiter.reserve("stays", Allowance(streams_at_once=1), NOTHING)
    (await books.limiter.reserve("owes", Allowance(cost_per_day=9), Amount(0, 5))).end(Amount(0, 5))
    books.clock.passes(3600)
    await books.take(Allowance(requests_per_minute=9))

    assert len(books.limiter.accounts) == 3


async def test_huge_wishes_are_counted_and_refused() -> None:
    books = Books()
    huge = 10**30

    assert (await books.refused(Allowance(tokens_per_minute=10), huge)).problem.retry_after_s is None
    assert (await books.refused(Allowance(cost_per_day=1e6), 0, huge)).problem.retry_after_s is None
    await books.take(Allowance(requests_per_minute=1), huge, huge)


async def test_what_others_have_spent_counts() -> None:
    books, allowance = Books(), Allowance(cost_per_day=10 / NANOS, cost_per_month=30 / NANOS)
    day, month = books.clock().day, books.clock().month
    (await books.take(allowance, nanos=3)).end(Amount(0, 3))

    books.limiter.heard({"a": {day: 5, month: 5}, "b": {day: 10, month: 10}})
    assert (await books.refused(allowance, nanos=3)).reason == "day"
    with pytest.raises(Limited):
        await books.limiter.reserve("b", allowance, Amount(0, 1))
    (await books.take(allowance, nanos=2)).end(NOTHING)

    books.limiter.heard({"a": {day: 5, month: 20}})
    books.clock.passes(DAY_S)
    books.limiter.heard({"a": {books.clock().day: 0, month: 26}})
    assert (await books.refused(allowance, nanos=2)).reason == "month"
    (await books.take(allowance, nanos=1)).end(NOTHING)
    books.clock.unix_s -= DAY_S
    assert (await books.refused(allowance, nanos=3)).reason == "day"


async def test_who_has_a_budget_is_refused_where_nobody_can_tell_for_long_what_is_left_of_it() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock, alone_s=300.0)
    rich = Allowance(cost_per_day=1.0)
    (await limiter.reserve("a", rich, Amount(1, 1))).end(NOTHING)
    clock.passes(301)

    with pytest.raises(Limited) as caught:
        await limiter.reserve("a", rich, Amount(1, 1))
    await limiter.reserve("a", Allowance(requests_per_minute=10), Amount(1, 1))
    limiter.heard({})
    await limiter.reserve("a", rich, Amount(1, 1))

    assert (caught.value.problem.status, caught.value.problem.code) == (503, "limits_unavailable")
