"""Whether a server is still what it was: asked again while it stays up, and when it comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

import pytest
from fakes.scripted import Script, ScriptedServer
from fakes.waiting import until

from models.endpoint import Endpoint, Limits
from models.errors import Unreachable
from models.likeness import Look, look_of
from models.pool import Pool
from models.prompt import Prompt
from models.recognition import AGAIN_S, BELIEVED_AT, EVERY_S, SOONEST_S, Recognition
from models.replica import Replica
from models.session import Session

LIMITS = Limits(connect_s=1.0, first_token_s=0.5, idle_s=0.5, total_s=2.0)
PROMPT = Prompt({"messages": [{"role": "user", "content": "is it?"}]}, "id")


@dataclass
class Clock:
    """Goes when it is told to."""

    s: float = 1000.0

    def __call__(self) -> float:
        return self.s


@dataclass
class Stage:
    """A pool of one server, and the clock by which it is recognised."""

    pool: Pool
    clock: Clock

    @property
    def replica(self) -> Replica:
        return self.pool.replicas[0]

    @property
    def fingerprint(self) -> str | None:
        return self.replica.abilities.fingerprint

    async def probed(self, times: int = 1, *, later_s: float = 0.0) -> str | None:
        """Its fingerprint, after so many probes."""
        self.clock.s += later_s
        for _ in range(times):
            await self.replica.probe()
        return self.fingerprint

    async def ask(self) -> None:
        """A request of a client."""
        async with aclosing(self.pool.generate(PROMPT)) as answered:
            async for _ in answered:
                pass


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """Connections."""
    async with Session() as session:
        yield session


async def stage(session: Session, url: str) -> Stage:
    """Of a server that has been asked once."""
    clock = Clock()
    one = Stage(Pool([Endpoint(url, "scripted")], lambda endpoint: Replica(
        endpoint, session=session, limits=LIMITS, now_s=clock)), clock)  # fmt: skip
    await one.probed()
    return one


async def test_a_server_that_becomes_another_while_it_stays_up_is_found_out(session) -> None:
    async with ScriptedServer(Script()) as server:
        one = await stage(session, server.url)
        before = one.fingerprint
        server.script = Script(first_token_id=700, speculation="handover")

        assert await one.probed(5, later_s=EVERY_S - 1) == before, "nobody has asked"
        assert await one.probed(later_s=1) == before, "once may be a tie"
        assert await one.probed() != before
        assert one.replica.abilities.tokenizer is None, "no draft is handed to it in the ids of the one before"
        await one.probed()

    assert one.replica.abilities.speculation == "handover", "and all else is asked anew"
    assert one.pool.likenesses == ({one.fingerprint},)


async def test_it_may_become_what_it_was_again(session) -> None:
    async with ScriptedServer(Script()) as server:
        one = await stage(session, server.url)
        before = one.fingerprint
        server.script = Script(first_token_id=700)
        await one.probed(2, later_s=EVERY_S)
        server.script = Script()

        assert await one.probed(2, later_s=EVERY_S) == before


async def test_another_answer_for_once_is_no_change(session) -> None:
    async with ScriptedServer(Script()) as server:
        one = await stage(session, server.url)
        before = one.fingerprint
        for _ in range(10):
            server.script = Script("yes indeed")
            await one.probed(later_s=EVERY_S)
            server.script = Script()
            assert await one.probed() == before


async def test_how_often_a_server_is_asked_is_bounded(session) -> None:
    async with ScriptedServer(Script()) as server:
        one = await stage(session, server.url)
        assert server.trials == 1
        for _ in range(5 * 30):
            await one.probed(later_s=2)

        assert server.trials == 1 + 5


async def test_what_cannot_be_found_out_is_no_change_and_is_shown(session) -> None:
    async with ScriptedServer(Script()) as server:
        one = await stage(session, server.url)
        before = one.fingerprint
        server.script = Script(trouble="silent", first_token_id=700)

        for _ in range(3):
            assert await one.probed(later_s=EVERY_S) == before

    assert one.replica.recognition.age_s == 3 * EVERY_S


async def test_a_server_that_was_away_is_asked_when_it_is_back_and_believed_at_once(session) -> None:
    server = ScriptedServer(Script())
    async with server:
        one = await stage(session, server.url)
        before, port = one.fingerprint, int(server.url.rpartition(":")[2])
    for _ in range(3):
        await one.probed()
    assert (one.replica.breaker.state, one.fingerprint) == ("open", before)
    assert one.pool.likenesses == (), "who is not asked is of no interest"

    async with ScriptedServer(Script(first_token_id=700), port=port):
        assert await one.probed() != before
        assert one.replica.breaker.state == "closed"


async def test_who_is_back_gets_no_request_before_it_was_asked_what_it_is(session) -> None:
    server = ScriptedServer(Script())
    async with server:
        one = await stage(session, server.url)
        port = int(server.url.rpartition(":")[2])
    for _ in range(3):
        await one.probed()

    back = ScriptedServer(Script(first_token_id=700), port=port)
    back.may_try.clear()
    async with back:
        probing = asyncio.create_task(one.probed())
        await until(lambda: back.trials == 1)
        assert one.replica.breaker.state == "open"
        back.may_try.set()
        await probing
        assert one.replica.breaker.state == "closed"


async def test_a_request_that_finds_nobody_there_makes_the_server_asked_at_once(session) -> None:
    async with ScriptedServer(Script()) as server:
        one = await stage(session, server.url)
        one.clock.s += SOONEST_S
        assert not one.replica.recognition.is_due
        server.script = Script(trouble="reset")

        with pytest.raises(Unreachable):
            await one.ask()

        assert one.replica.doubted.is_set()
        assert one.replica.recognition.is_due


async def test_a_server_whose_breaker_closes_is_asked_at_once(session) -> None:
    async with ScriptedServer(Script(status=500)) as server:
        one = await stage(session, server.url)
        one.clock.s += SOONEST_S
        breaker = one.replica.breaker
        for _ in range(3):
            with pytest.raises(Unreachable):
                await one.ask()
        await one.probed()
        assert not one.replica.recognition.is_due
        one.clock.s += SOONEST_S
        breaker._open_until_s = 0.0
        server.script = Script()

        await one.ask()

    assert breaker.state == "closed"
    assert one.replica.recognition.is_due


async def test_a_server_that_lists_other_models_is_asked_at_once(session) -> None:
    async with ScriptedServer(Script()) as server:
        one = await stage(session, server.url)
        before = one.fingerprint
        server.script = replace(server.script, context_tokens=8192, first_token_id=700)

        assert await one.probed(2, later_s=SOONEST_S) != before


def test_doubts_are_no_reason_to_ask_all_the_time() -> None:
    clock = Clock()
    one = Recognition(clock)
    assert one.is_due
    assert one.age_s is None
    one.met(Look("a"))

    asked = 0
    for _ in range(600):
        one.doubted()
        if one.is_due:
            asked += 1
            one.asked()
            one.found(Look("a"))
        clock.s += 0.5

    assert asked == 300 / SOONEST_S - 1


def test_who_does_not_say_is_asked_less_often() -> None:
    clock = Clock()
    one = Recognition(clock)
    one.asked()

    assert not one.is_due
    clock.s += AGAIN_S
    assert one.is_due


def test_two_others_in_turn_are_not_believed() -> None:
    one = Recognition(Clock())
    one.met(Look("a"))

    assert not any(one.found(Look(found)) for found in "bcbcbc")
    assert [one.found(Look("b")) for _ in range(BELIEVED_AT)] == [False, True]
    assert one.alike == {"b"}


def said(*tokens: str, margin: float, tokenizer: str = "t") -> Look:
    """An answer in which each token was so much likelier than the next one, in nats."""
    likely = tuple({token: -0.1, "no" if token == "yes" else "yes": -0.1 - margin} for token in tokens)
    return Look(f"{tokens} {tokenizer}", tokenizer, tokens, likely)


def test_a_tie_that_a_fuller_batch_breaks_otherwise_is_no_other_server_however_often() -> None:
    one = Recognition(Clock())
    here, there = said("yes", "no", "no", margin=0.2), said("yes", "yes", "yes", margin=0.3)
    one.met(here)

    assert not any(one.found(look) for look in [there, there, there, here, there, there])
    assert one.alike == {here.fingerprint, there.fingerprint}


@pytest.mark.parametrize(
    "other",
    [
        said("yes", "yes", "yes", margin=3.0),
        said("yes", "yes", "yes", margin=0.2, tokenizer="another"),
        Look("x", "t", ("yes", "maybe"), ({"yes": -0.1}, {"maybe": -0.1})),
        Look("x", "t"),
    ],
    ids=["it is sure", "another tokenizer", "what was said is unlikely now", "no log-probabilities"],
)
def test_what_is_no_tie_is_another_server(other: Look) -> None:
    one = Recognition(Clock())
    one.met(said("yes", "no", "no", margin=0.2))

    assert [one.found(other) for _ in range(BELIEVED_AT)] == [False, True]
    assert one.alike == {other.fingerprint}


@pytest.mark.parametrize("logprobs", [None, {}, {"tokens": 7, "top_logprobs": [3]}, {"tokens": ["a"], "top_logprobs": [
    None]}, {"tokens": ["a"], "top_logprobs": [{"a": "x"}]}])  # fmt: skip
def test_a_look_of_odd_log_probabilities_is_a_fingerprint_alone(logprobs: object) -> None:
    look = look_of("t", {"token_ids": [1, 2], "logprobs": logprobs})

    assert look is not None
    assert look.fingerprint == look_of("t", {"token_ids": [1, 2]}).fingerprint
    assert look_of("t", {"token_ids": []}) is None
