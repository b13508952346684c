"""Limits that several gateways keep together, in a real Redis: one number for all, nothing lost, nothing leaked."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis.asyncio
from fakes.redis import RedisServer, running_redis
from fakes.waiting import until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.access.caller import Allowance
from server.limits.entry import MOST_ASKING
from server.limits.holding import Hold, Limited
from server.limits.link import Link
from server.limits.script import StoreDown, keys_of
from server.limits.shared import SharedLimiter
from server.limits.standing import NANOS, NOTHING, Amount, moment_of

NOON = 1_700_000_000.0 - 1_700_000_000.0 % 86400 + 43200


class Quiet:
    """Counts what Redis fails to do."""

    def __init__(self) -> None:
        self.failures = 0
        self.is_up = True

    def store_failed(self) -> None:
        """Once more."""
        self.failures += 1

    def store_is_up(self) -> None:
        """It answers."""
        self.is_up = True

    def store_is_down(self) -> None:
        """It does not."""
        self.is_up = False


class Gateways:
    """Several limiters over one Redis; their own clocks stand at noon."""

    def __init__(self, server: RedisServer, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack
        self.caller = uuid.uuid4().hex
        self.clock_s = 1000.0
        self.quiet = Quiet()

    async def one(self, *, alone_s: float = 300.0, held_s: float = 30.0, timeout_s: float = 5.0) -> SharedLimiter:
        """One more."""
        link = Link(self.server.url, timeout_s=timeout_s, counting=self.quiet)
        await self._stack.enter_async_context(link)
        return SharedLimiter(
            link, self.quiet, alone_s=alone_s, held_s=held_s, now=lambda: moment_of(self.clock_s, NOON)
        )

    async def running(self, limiter: SharedLimiter) -> None:
        """Let it tell what changes."""
        task = asyncio.create_task(limiter.run())

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(stop)

    async def take(self, limiter: SharedLimiter, allowance: Allowance, tokens: int = 0, nanos: int = 0) -> Hold:
        """Reserve so much at one of them."""
        return await limiter.reserve(self.caller, allowance, Amount(tokens, nanos))

    async def refused(self, limiter: SharedLimiter, allowance: Allowance, tokens: int = 0, nanos: int = 0) -> Limited:
        """The refusal that there must be."""
        with pytest.raises(Limited) as caught:
            await self.take(limiter, allowance, tokens, nanos)
        return caught.value

    async def fields(self, part: int) -> dict[bytes, bytes]:
        """What Redis has of the caller: rates, held, the day, the month."""
        moment = moment_of(self.clock_s, NOON)
        key = keys_of(self.caller, moment.day, moment.month)[part]
        client = redis.asyncio.Redis.from_url(self.server.url)
        try:
            found: dict[bytes, bytes] = await client.hgetall(key)
        finally:
            await client.aclose()
        return found

    async def plant(self, part: int, field: str, value: str) -> None:
        """Write something there."""
        moment = moment_of(self.clock_s, NOON)
        client = redis.asyncio.Redis.from_url(self.server.url)
        try:
            await client.hset(keys_of(self.caller, moment.day, moment.month)[part], field, value)
        finally:
            await client.aclose()

    async def spent(self) -> int:
        """What the day has cost, by Redis."""
        return sum(int(float(value)) for value in (await self.fields(2)).values())


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    """One for all that leave it as it is."""
    async with running_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def gateways(server: RedisServer) -> AsyncIterator[Gateways]:
    """Over the common Redis."""
    async with AsyncExitStack() as stack:
        yield Gateways(server, stack)


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Gateways]:
    """Over a Redis of the test's own."""
    async with running_redis(tmp_path) as running, AsyncExitStack() as stack:
        yield Gateways(running, stack)


@pytest.mark.parametrize(
    ("allowance", "reason"),
    [
        (Allowance(requests_per_minute=2), "requests"),
        (Allowance(tokens_per_minute=2000), "tokens"),
        (Allowance(streams_at_once=2), "at-once"),
        (Allowance(cost_per_day=2.0), "day"),
        (Allowance(cost_per_month=2.0), "month"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_two_gateways_have_one_limit(gateways: Gateways, allowance: Allowance, reason: str) -> None:
    one, other = await gateways.one(), await gateways.one()
    await gateways.take(one, allowance, 1000, NANOS)
    await gateways.take(other, allowance, 1000, NANOS)

    refused = [await gateways.refused(gateway, allowance, 1000, NANOS) for gateway in (one, other)]

    assert [error.reason for error in refused] == [reason] * 2


async def test_headers_say_what_all_gateways_have_left(gateways: Gateways) -> None:
    one, other = await gateways.one(), await gateways.one()
    await gateways.take(one, Allowance(tokens_per_minute=10_000), 4000)

    hold = await gateways.take(other, Allowance(tokens_per_minute=10_000), 2000)

    assert 4000 <= int(hold.headers["x-ratelimit-remaining-tokens"]) <= 4200


async def test_what_one_gives_back_another_may_take(gateways: Gateways) -> None:
    one, other = await gateways.one(), await gateways.one()
    allowance = Allowance(streams_at_once=1, cost_per_day=1.0, tokens_per_minute=1000)
    hold = await gateways.take(one, allowance, 1000, NANOS)
    await gateways.refused(other, allowance, 900, 1)

    hold.end(Amount(100, NANOS // 2))
    await one.tell()

    await gateways.take(other, allowance, 900, NANOS // 2)
    assert (await gateways.refused(one, allowance)).reason == "at-once"


async def test_a_gateway_that_is_gone_holds_nothing_after_a_while(gateways: Gateways) -> None:
    gone, other = await gateways.one(held_s=0.3), await gateways.one(held_s=0.3)
    allowance = Allowance(streams_at_once=1, cost_per_day=1.0)
    await gateways.take(gone, allowance, 0, NANOS)
    await gateways.refused(other, allowance, 0, NANOS)

    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(Limited):
                await gateways.take(other, allowance, 0, NANOS)
                break
            await asyncio.sleep(0.02)

    assert len(await gateways.fields(1)) == 1


async def test_a_gateway_that_lives_says_so_again_and_again(gateways: Gateways) -> None:
    one = await gateways.one(held_s=0.3)
    await gateways.take(one, Allowance(streams_at_once=1), 0, 5)
    await gateways.running(one)
    (first,) = (await gateways.fields(1)).values()
    gateways.clock_s += 1

    async with asyncio.timeout(10):
        while first in (await gateways.fields(1)).values():  # noqa: ASYNC110 - it is in Redis
            await asyncio.sleep(0.02)
    (again,) = (await gateways.fields(1)).values()

    running, held, until_ms, version = map(float, again.split())
    assert (running, held) == (1, 5)
    assert version > float(first.split()[3])
    assert until_ms > float(first.split()[2])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "finish", "fail", "leave", "undo", "tell"]), st.integers(0, 1),
        st.integers(0, 5_000_000), st.integers(0, 100),
    ),
    max_size=30,
)  # fmt: skip


@given(STEPS, st.integers(0, 5), st.floats(0, 0.02))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_sums_are_kept_at_two_gateways_whatever_happens(
    server: RedisServer, steps: list[tuple[str, int, int, int]], at_once: int, budget: float
) -> None:
    async with AsyncExitStack() as stack:
        gateways = Gateways(server, stack)
        both = [await gateways.one(), await gateways.one()]
        allowance = Allowance(streams_at_once=at_once, cost_per_day=budget, tokens_per_minute=10**9)
        under_way: list[tuple[Hold, int]] = []
        spent = 0
        for step, which, nanos, number in steps:
            if step == "take":
                with contextlib.suppress(Limited):
                    under_way.append((await gateways.take(both[which], allowance, nanos, nanos), nanos))
            elif step == "tell":
                await both[which].tell()
            elif under_way:
                hold, wanted = under_way.pop(number % len(under_way))
                took = {"finish": wanted, "fail": wanted * number // 100}.get(step, 0)
                if step == "undo":
                    hold.undo()
                hold.end(Amount(took, took))
                spent += 0 if step == "undo" else took
            assert len(under_way) <= at_once
            assert spent + sum(wanted for _, wanted in under_way) <= round(budget * NANOS)
        for limiter in both:
            await limiter.tell()

        held = [value.split() for value in (await gateways.fields(1)).values()]
        assert await gateways.spent() == spent
        assert sum(int(float(value[0])) for value in held) == len(under_way)
        assert sum(int(float(value[1])) for value in held) == sum(wanted for _, wanted in under_way)
        assert gateways.quiet.failures == 0


async def test_what_is_told_twice_counts_once(gateways: Gateways) -> None:
    one = await gateways.one()
    (await gateways.take(one, Allowance(cost_per_day=9.0), 0, 7)).end(Amount(0, 7))
    await one.tell()
    for _ in range(3):
        (await gateways.take(one, Allowance(cost_per_day=9.0))).end(NOTHING)
        await one.tell()

    assert await gateways.spent() == 7


async def test_gateways_that_have_ended_leave_one_sum(gateways: Gateways) -> None:
    for number in range(5):
        one = await gateways.one()
        (await gateways.take(one, Allowance(cost_per_day=9.0), 0, 7)).end(Amount(0, 7 + number))
        for _ in range(2):
            await one.end()

    assert await gateways.spent() == 5 * 7 + 10
    assert list(await gateways.fields(2)) == [b"ended"]
    assert (await gateways.refused(await gateways.one(), Allowance(cost_per_day=40e-9), 0, 1)).reason == "day"


async def test_while_redis_is_away_a_gateway_goes_by_what_it_knows_and_tells_it_later(own: Gateways) -> None:
    one, other = await own.one(), await own.one()
    allowance = Allowance(cost_per_day=3.0, requests_per_minute=4)
    (await own.take(one, allowance, 0, NANOS)).end(Amount(0, NANOS))
    await one.tell()
    (await own.take(other, allowance, 0, 1)).end(NOTHING)
    await own.server.kill()

    hold = await own.take(other, allowance, 0, NANOS)
    assert not own.quiet.is_up
    assert (await own.refused(other, allowance, 0, NANOS + 1)).reason == "day"  # it has heard of what `one` spent
    hold.end(Amount(0, NANOS))
    await own.take(other, allowance, 0, NANOS)
    await own.take(other, allowance)
    assert (await own.refused(other, allowance)).reason == "requests"  # its own alone

    await own.server.start()
    await other.tell()
    await one.tell()

    assert own.quiet.is_up
    assert await own.spent() == 2 * NANOS
    assert (await own.refused(one, allowance, 0, NANOS)).reason in ("day", "requests")


async def test_a_redis_that_lost_everything_is_told_again(own: Gateways) -> None:
    one = await own.one()
    allowance = Allowance(cost_per_day=3.0)
    hold = await own.take(one, allowance, 0, NANOS)
    (await own.take(one, allowance, 0, NANOS)).end(Amount(0, NANOS))
    await own.server.kill()
    own.server.lose()
    await own.server.start()

    await one.tell()

    assert await own.spent() == NANOS
    assert len(await own.fields(1)) == 1
    hold.end(Amount(0, 1))
    await one.tell()
    assert await own.spent() == NANOS + 1


async def test_budgets_are_not_spent_unseen_for_longer_than_is_set(own: Gateways) -> None:
    one = await own.one(alone_s=10.0)
    await own.server.kill()
    await own.take(one, Allowance(cost_per_day=3.0), 0, 1)
    own.clock_s += 11

    refused = await own.refused(one, Allowance(cost_per_day=3.0), 0, 1)

    assert (refused.problem.status, refused.problem.code) == (503, "limits_unavailable")
    await own.take(one, Allowance(requests_per_minute=5))


async def test_a_redis_that_does_not_answer_holds_nobody_up_and_nothing_counts_twice(own: Gateways) -> None:
    """It is stopped until all have been answered; what it was asked it does later."""
    one = await own.one(timeout_s=0.5)
    allowance = Allowance(streams_at_once=5, cost_per_day=9.0)
    (await own.take(one, allowance, 0, 5)).end(Amount(0, 5))
    await one.tell()
    before = own.quiet.failures
    own.server.freeze()

    holds = [await own.take(one, allowance, 0, 5) for _ in range(5)]
    refused = await own.refused(one, allowance, 0, 5)
    failures = own.quiet.failures - before
    for hold in holds:
        hold.end(Amount(0, 5))
    own.server.thaw()
    await own.running(one)
    await until(lambda: own.quiet.is_up)
    await one.tell()

    assert refused.reason == "at-once"
    assert failures == 1  # the others did not even ask
    assert await own.spent() == 30
    assert await own.fields(1) == {}


async def test_what_comes_late_does_not_take_the_place_of_what_is_newer(gateways: Gateways) -> None:
    one = await gateways.one()
    hold = await gateways.take(one, Allowance(streams_at_once=2))
    (me,) = await gateways.fields(1)
    await gateways.plant(1, me.decode(), "2 9 99999999999999 1000")  # of this gateway, from its future
    hold.end(NOTHING)
    await one.tell()

    assert (await gateways.fields(1))[me].startswith(b"2 9 ")


async def test_a_clock_of_redis_that_went_back_stops_nobody(gateways: Gateways) -> None:
    one = await gateways.one()
    allowance = Allowance(streams_at_once=1, requests_per_minute=2)
    await gateways.plant(1, "gone", "1 0 99999999999999 1")  # held until the year 5138
    await gateways.plant(0, "at", "99999999999999")
    await gateways.plant(0, "requests", "1")

    await gateways.take(one, allowance)

    (at,) = [float(value) for name, value in (await gateways.fields(0)).items() if name == b"at"]
    assert at < 99999999999999


async def test_limits_may_change_while_requests_are_under_way(gateways: Gateways) -> None:
    one = await gateways.one()
    for _ in range(3):
        await gateways.take(one, Allowance(streams_at_once=5, tokens_per_minute=3000), 1000)

    assert (await gateways.refused(one, Allowance(streams_at_once=1, tokens_per_minute=3000))).reason == "at-once"
    assert (await gateways.refused(one, Allowance(tokens_per_minute=100), 1)).reason == "tokens"
    await gateways.take(one, Allowance(tokens_per_minute=9000), 4000)


async def test_callers_with_odd_names_are_told_apart(gateways: Gateways) -> None:
    one = await gateways.one()
    for caller in ("a}b", "a}b:held", "\ud800", "", "ä" * 5000):
        await one.reserve(caller, Allowance(requests_per_minute=1), NOTHING)
        with pytest.raises(Limited):
            await one.reserve(caller, Allowance(requests_per_minute=1), NOTHING)


class Stubborn:
    """A Redis that refuses its first question, and never answers another; or none at all."""

    def __init__(self, *, answers_first: bool = True) -> None:
        self.asked = 0 if answers_first else 1

    async def leave(self, key: str, me: str) -> None:
        """Nobody does."""
        raise AssertionError(key + me)

    async def reserve(self, keys: Sequence[str], told: Sequence[str | float]) -> Sequence[bytes | int]:
        """Nothing."""
        self.asked += 1
        if self.asked > 1:
            await asyncio.Event().wait()
        raise StoreDown(f"{len(keys)} {len(told)}")


async def test_nobody_waits_while_a_redis_that_is_away_is_asked_again() -> None:
    script, allowance = Stubborn(), Allowance(streams_at_once=9)
    limiter = SharedLimiter(script, Quiet(), alone_s=9.0)
    (await limiter.reserve("a", allowance, NOTHING)).end(NOTHING)
    asking = asyncio.create_task(limiter.run())
    await until(lambda: script.asked == 2)

    async with asyncio.timeout(10):
        await limiter.reserve("a", allowance, NOTHING)

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


class Counting:
    """A Redis that says no to everybody, by the minute's requests."""

    def __init__(self) -> None:
        self.asked = 0

    async def leave(self, key: str, me: str) -> None:
        """Nobody does."""
        raise AssertionError(key + me)

    async def reserve(self, keys: Sequence[str], told: Sequence[str | float]) -> Sequence[bytes | int]:
        """No."""
        assert len(keys) == 4
        assert told
        self.asked += 1
        return [0, b"10", b"0", b"0", b"0", b"0", b"0"]


async def test_who_sends_far_more_than_it_may_does_not_keep_redis_busy() -> None:
    scripts, clock = Counting(), [1000.0]
    limiter = SharedLimiter(scripts, Quiet(), alone_s=9.0, now=lambda: moment_of(clock[0], NOON))
    for _ in range(100):
        with pytest.raises(Limited):
            await limiter.reserve("a", Allowance(requests_per_minute=10), NOTHING)
    asked = scripts.asked
    with pytest.raises(Limited):
        await limiter.reserve("a", Allowance(requests_per_minute=9), NOTHING)
    clock[0] += 1.1
    with pytest.raises(Limited):
        await limiter.reserve("a", Allowance(requests_per_minute=9), NOTHING)

    assert asked == 1
    assert scripts.asked == 3


async def test_no_more_than_so_many_wait_for_the_word_of_redis() -> None:
    limiter = SharedLimiter(Stubborn(answers_first=False), Quiet(), alone_s=9.0)
    waiting = [
        asyncio.create_task(limiter.reserve("a", Allowance(streams_at_once=5), NOTHING)) for _ in range(MOST_ASKING)
    ]
    await asyncio.sleep(0)

    with pytest.raises(Limited):
        await limiter.reserve("a", Allowance(streams_at_once=5), NOTHING)

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_leads_to_another_primary_is_followed(tmp_path: Path) -> None:
    """A service's name leads to the new primary; open connections stay with the old one, which is a replica."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    async with running_redis(tmp_path / "old") as old, running_redis(tmp_path / "new") as new:
        ports = [old.port]

        async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", ports[-1])
            with contextlib.suppress(ConnectionError):
                await asyncio.gather(poured(reader, to_writer), poured(to_reader, writer))

        service = await asyncio.start_server(lead, "127.0.0.1", 0)
        url = f"redis://127.0.0.1:{service.sockets[0].getsockname()[1]}/0"
        async with Link(url, timeout_s=5.0, counting=Quiet()) as link:
            limiter = SharedLimiter(link, Quiet(), alone_s=0.0)
            budgeted = Allowance(cost_per_day=1.0)
            (await limiter.reserve("anna", budgeted, Amount(1, 1))).end(NOTHING)
            assert await old.told(f"REPLICAOF 127.0.0.1 {new.port}") == b"+OK"
            ports.append(new.port)
            with contextlib.suppress(Limited):
                (await limiter.reserve("anna", budgeted, Amount(1, 1))).end(NOTHING)

            await limiter.tell()
            await limiter.tell()
            (await limiter.reserve("anna", budgeted, Amount(1, 1))).end(NOTHING)
            assert limiter._is_up
        service.close()


async def poured(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All that is read is written, until the end."""
    while part := await reader.read(2**16):
        writer.write(part)
    writer.close()


async def test_each_request_is_held_to_its_own_tokens_limits_whatever_else_its_subject_asks(gateways: Gateways) -> None:
    """Two tokens of one subject may allow different things, and come at once."""
    one = await gateways.one()
    held, free = Allowance(requests_per_minute=1), Allowance()

    asked = [one.reserve(gateways.caller, allowance, NOTHING) for allowance in (held, held, held, free)]
    said = await asyncio.gather(*asked, return_exceptions=True)

    assert [isinstance(one, Hold) for one in said] == [True, False, False, True]
