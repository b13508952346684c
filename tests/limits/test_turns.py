"""Several callers at one gateway: each has its own limits, and its turn. Their requests come as from the door."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson
import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from models.endpoint import Endpoint
from models.pool import Pool
from models.replica import Replica
from router.call import Tier
from router.cascade import Cascade
from router.failover import Failover
from router.money import LengthRatio, Price
from router.policy import Policy
from router.scorers import SCORERS
from server.access.caller import Allowance, Caller
from server.answering import Order
from server.doors.chat import CHAT
from server.doors.door import Arrival
from server.limits.admission import Admission
from server.limits.holding import Limited
from server.limits.opening import admitting
from server.metrics import Metrics
from server.settings.schema import Settings


def unasked(endpoint: Endpoint) -> Replica:
    """A pool without endpoints connects to none."""
    raise AssertionError(endpoint)


NOBODY = Pool((), unasked)
PAIR = Cascade(
    "auto",
    (Tier("small", NOBODY, Price(1, 2)), Tier("large", NOBODY, Price(10, 20))),
    Policy("threshold", SCORERS["mean-logprob"], 0.9, (), "escalate"),
    LengthRatio(),
    Failover(1.0),
)
TIER = {"model": "x", "price": {"input": 1, "output": 1}, "urls": ["http://127.0.0.1:1"]}


class Engine:
    """Answers one request after another, when it is told to."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.begun: list[str] = []
        self.priorities: list[int] = []
        self._go = asyncio.Semaphore(0)
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, caller: str, allowance: Allowance | None = None, max_tokens: int = 100) -> None:
        """A request of the caller arrives, and waits."""
        response = await self._admission.admitted(order(caller, allowance or Allowance(), max_tokens), self._answering)
        self._tasks.append(asyncio.create_task(response(SCOPE, silent, deaf)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def answer(self, count: int) -> list[str]:
        """Let so many end; who has been begun since the first."""
        for _ in range(count):
            self._go.release()
            for _ in range(20):
                await asyncio.sleep(0)
        return self.begun[1:]

    async def stop(self) -> None:
        """All leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _answering(self, begun: Order) -> Response:
        engine = self

        class Answering(PlainTextResponse):
            """Says nothing, when it may."""

            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                engine.begun.append(begun.caller.id)
                engine.priorities.append(begun.asked.prompt.priority)
                await engine._go.acquire()
                await super().__call__(scope, receive, send)

        return Answering("")


SCOPE: dict[str, Any] = {"type": "http"}


async def silent() -> Message:
    """A client that stays."""
    await asyncio.Event().wait()
    raise AssertionError


async def deaf(message: Message) -> None:
    """A client that reads nothing."""


def order(caller: str, allowance: Allowance, max_tokens: int) -> Order:
    """A request that has passed its door."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "?"}], "max_tokens": max_tokens}
    asked = CHAT.read(orjson.dumps(body), Arrival("1", 1, {}))
    return Order(PAIR, asked, CHAT, 900.0, time.perf_counter(), Caller(caller, allowance))


@asynccontextmanager
async def engine(**queue: float) -> AsyncIterator[Engine]:
    """Behind a queue, busy with a first request."""
    cascade = {"tiers": ["small", "large"], "threshold": 0.5, "queue": {"at_once": 1, **queue}}
    settings = Settings.model_validate({"tiers": {"small": TIER, "large": TIER}, "cascades": {"auto": cascade}})
    async with AsyncExitStack() as stack:
        admission = await stack.enter_async_context(admitting(settings, Metrics(), None))
        running = Engine(admission)
        stack.push_async_callback(running.stop)
        await running.ask("first")
        yield running


async def test_a_greedy_caller_keeps_nobody_waiting_for_all_of_its_requests() -> None:
    async with engine() as running:
        for _ in range(10):
            await running.ask("greedy")
        await running.ask("modest")

        assert "modest" in await running.answer(2)


async def test_who_asks_for_long_answers_goes_less_often() -> None:
    async with engine() as running:
        for _ in range(9):
            await running.ask("long", max_tokens=1000)
            await running.ask("short", max_tokens=100)

        begun = await running.answer(9)

    assert begun.count("short") >= 7


async def test_the_callers_priority_goes_first_and_the_engine_is_told() -> None:
    async with engine() as running:
        await running.ask("usual")
        await running.ask("background", Allowance(priority=-1))
        await running.ask("urgent", Allowance(priority=5))

        assert await running.answer(3) == ["urgent", "usual", "background"]
        assert running.priorities == [0, 5, 0, -1]


async def test_where_there_is_no_room_an_urgent_request_takes_the_place_of_another() -> None:
    async with engine(waiting=2) as running:
        await running.ask("usual")
        await running.ask("later")
        await running.ask("urgent", Allowance(priority=5))

        assert await running.answer(3) == ["urgent", "usual"]


async def test_each_caller_has_its_own_limits() -> None:
    async with engine() as running:
        one = Allowance(streams_at_once=1)
        await running.ask("a", one)
        await running.ask("b", one)

        with pytest.raises(Limited):
            await running.ask("a", one)
        await running.ask("free")


async def test_limits_of_a_caller_that_are_changed_hold_at_once() -> None:
    async with engine() as running:
        await running.ask("a", Allowance(requests_per_minute=100))

        with pytest.raises(Limited):
            await running.ask("a", Allowance(requests_per_minute=1))
