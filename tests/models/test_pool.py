"""A tier's replicas: who is asked, and who is asked again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import aiohttp.web
import pytest
from fakes.scripted import Script, ScriptedServer

from models.answer import Delta, draft_of
from models.endpoint import Endpoint, Limits
from models.errors import BadReply, CapabilityMiss, Overloaded, TimedOut, Unreachable
from models.pool import Pool
from models.prompt import Prompt
from models.replica import Replica
from models.session import Session

PROMPT = Prompt({"messages": [{"role": "user", "content": "is it?"}]}, "id")
STREAM = Prompt({**PROMPT.fields, "stream": True}, "id")
LIMITS = Limits(connect_s=1.0, first_token_s=0.4, idle_s=0.4, total_s=0.8)


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """Connections."""
    async with Session() as session:
        yield session


def pool_of(session: Session, *servers: ScriptedServer) -> Pool:
    """A tier of these servers."""
    return pool_at(session, *(Endpoint(server.url, "scripted") for server in servers))


def pool_at(session: Session, *endpoints: Endpoint) -> Pool:
    """A tier of the servers there."""
    return Pool(endpoints, lambda endpoint: Replica(endpoint, session=session, limits=LIMITS))


def talk(number: int) -> Prompt:
    """The first turn of one of many conversations."""
    return Prompt({"messages": [{"role": "user", "content": f"question {number}"}]}, "id")


async def ask(pool: Pool, prompt: Prompt = PROMPT) -> str:
    """The answer's text."""
    async with aclosing(pool.generate(prompt)) as parts:
        deltas = [part async for part in parts if isinstance(part, Delta)]
    return draft_of(deltas).choices[0].text


BROKEN = [
    Script(trouble="reset"),
    Script(status=500),
    Script(status=503),
    Script(trouble="html"),
    Script(trouble="hang"),
]


@pytest.mark.parametrize("prompt", [PROMPT, STREAM])
@pytest.mark.parametrize("broken", BROKEN)
async def test_another_replica_answers_where_one_fails_before_the_first_byte(session, broken, prompt) -> None:
    async with ScriptedServer(broken) as bad, ScriptedServer(Script("yes")) as good:
        pool = pool_of(session, bad, good)

        answers = [await ask(pool, prompt) for _ in range(4)]

    assert answers == ["yes"] * 4


@pytest.mark.parametrize(
    ("script", "error", "tries"),
    [
        (Script(trouble="reset"), Unreachable, 2),
        (Script(status=503), Overloaded, 3),
        (Script(trouble="hang"), TimedOut, 2),
        (Script(trouble="not-json"), BadReply, 2),
    ],
)
async def test_where_all_fail_the_last_failure_is_told_after_some_tries(session, script, error, tries: int) -> None:
    async with ScriptedServer(script) as first, ScriptedServer(script) as second, ScriptedServer(script) as third:
        with pytest.raises(error):
            await ask(pool_of(session, first, second, third))

        assert len(first.seen) + len(second.seen) + len(third.seen) == tries


async def test_a_lone_replica_is_tried_again_after_a_broken_connection(session) -> None:
    async with ScriptedServer(Script(trouble="reset")) as alone:
        with pytest.raises(Unreachable):
            await ask(pool_of(session, alone))

        assert len(alone.seen) == 2


async def test_a_request_that_the_server_does_not_take_is_not_tried_again(session) -> None:
    async with ScriptedServer(Script(status=400)) as first, ScriptedServer(Script(status=400)) as second:
        with pytest.raises(CapabilityMiss):
            await ask(pool_of(session, first, second))

        assert len(first.seen) + len(second.seen) == 1


async def test_a_conversation_stays_with_its_server(session) -> None:
    async with ScriptedServer(Script()) as first, ScriptedServer(Script()) as second:
        pool = pool_of(session, first, second)
        for _ in range(4):
            await ask(pool, talk(1))
        later = [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "sure?"}]
        await ask(pool, Prompt({"messages": [{"role": "user", "content": "question 1"}, *later]}, "id"))

        assert {len(first.seen), len(second.seen)} == {0, 5}


async def test_conversations_are_spread_over_the_servers(session) -> None:
    async with ScriptedServer(Script()) as first, ScriptedServer(Script()) as second:
        pool = pool_of(session, first, second)
        for number in range(40):
            await ask(pool, talk(number))

        assert min(len(first.seen), len(second.seen)) >= 10


async def test_a_much_busier_server_loses_its_conversation(session) -> None:
    async with ScriptedServer(Script(pause_s=0.2)) as first, ScriptedServer(Script(pause_s=0.2)) as second:
        pool = pool_of(session, first, second)

        await asyncio.gather(*(ask(pool) for _ in range(12)))

        assert min(len(first.seen), len(second.seen)) >= 4
    assert [replica.running for replica in pool.replicas] == [0, 0]


async def test_our_key_and_the_requests_id_go_along(session) -> None:
    headers: dict[str, str] = {}

    async def remember(request: aiohttp.web.Request) -> aiohttp.web.Response:
        headers.update({name.lower(): value for name, value in request.headers.items()})
        return aiohttp.web.json_response({"choices": [{"message": {"content": "yes"}}]})

    app = aiohttp.web.Application()
    app.router.add_post("/v1/chat/completions", remember)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    await ask(pool_at(session, Endpoint(url, "m", api_key="secret")))
    await runner.cleanup()

    assert headers["authorization"] == "Bearer secret"
    assert headers["x-request-id"] == "id"
