"""A tier's replicas: who is asked, and who is asked again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import aiohttp
import aiohttp.web
import pytest
from fakes.scripted import Script, ScriptedServer

from models.answer import Delta, draft_of
from models.errors import BadReply, CapabilityMiss, Overloaded, TimedOut, Unreachable
from models.pool import Pool
from models.prompt import Prompt
from models.replica import Endpoint, Limits, Replica

PROMPT = Prompt({"messages": [{"role": "user", "content": "is it?"}]}, "id")
STREAM = Prompt({**PROMPT.fields, "stream": True}, "id")
LIMITS = Limits(connect_s=1.0, first_token_s=0.4, idle_s=0.4, total_s=0.8)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections."""
    async with aiohttp.ClientSession() as session:
        yield session


def pool_of(session: aiohttp.ClientSession, *servers: ScriptedServer) -> Pool:
    """A tier of these servers."""
    return Pool([Replica(Endpoint(server.url, "scripted"), session=session, limits=LIMITS) for server in servers])


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
    ("script", "error"),
    [
        (Script(trouble="reset"), Unreachable),
        (Script(status=503), Overloaded),
        (Script(trouble="hang"), TimedOut),
        (Script(trouble="not-json"), BadReply),
    ],
)
async def test_where_all_fail_the_last_failure_is_told_after_two_tries(session, script, error) -> None:
    async with ScriptedServer(script) as first, ScriptedServer(script) as second, ScriptedServer(script) as third:
        with pytest.raises(error):
            await ask(pool_of(session, first, second, third))

        assert len(first.seen) + len(second.seen) + len(third.seen) == 2


async def test_a_lone_replica_is_tried_again_after_a_broken_connection(session) -> None:
    async with ScriptedServer(Script(trouble="reset")) as alone:
        with pytest.raises(Unreachable):
            await ask(pool_of(session, alone))

        assert len(alone.seen) == 2


async def test_a_request_that_the_server_does_not_take_is_not_tried_again(session) -> None:
    async with ScriptedServer(Script(status=400)) as first, ScriptedServer(Script()) as second:
        pool = pool_of(session, first, second)
        first_asked = [replica for replica in pool.replicas if replica.endpoint.url == first.url]

        with pytest.raises(CapabilityMiss):
            await ask(Pool(first_asked))
        pool.replicas[1].running += 1
        with pytest.raises(CapabilityMiss):
            await ask(pool)

        assert second.seen == []


async def test_a_stream_that_has_begun_is_not_begun_again(session) -> None:
    async with (
        ScriptedServer(Script("yes it is", trouble="cut-stream")) as first,
        ScriptedServer(Script("yes it is", trouble="cut-stream")) as second,
    ):
        with pytest.raises(BadReply):
            await ask(pool_of(session, first, second), STREAM)

        assert len(first.seen) + len(second.seen) == 1


async def test_the_least_busy_replica_is_asked(session) -> None:
    async with ScriptedServer(Script(pause_s=0.2)) as first, ScriptedServer(Script(pause_s=0.2)) as second:
        pool = pool_of(session, first, second)

        await asyncio.gather(*(ask(pool) for _ in range(6)))

        assert len(first.seen) == len(second.seen) == 3
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

    await ask(Pool([Replica(Endpoint(url, "m", api_key="secret"), session=session, limits=LIMITS)]))
    await runner.cleanup()

    assert headers["authorization"] == "Bearer secret"
    assert headers["x-request-id"] == "id"
