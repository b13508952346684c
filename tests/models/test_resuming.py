"""Streams whose server dies in the middle: they go on from another, or end with an error, as the rules say."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest
from fakes.scripted import Script, ScriptedServer

from models.answer import Delta, Finish, draft_of
from models.endpoint import Endpoint, Limits
from models.errors import BadReply
from models.pool import Pool, PoolRules
from models.prompt import Prompt
from models.replica import Replica

LIMITS = Limits(connect_s=1.0, first_token_s=0.5, idle_s=0.5, total_s=2.0)
GREEDY: dict[str, Any] = {
    "messages": [{"role": "user", "content": "is it?"}], "stream": True, "temperature": 0, "max_tokens": 10,
}  # fmt: skip
WORDS = "yes it is so"
DYING = Script(WORDS, trouble="cut-stream")
LIVING = Script(WORDS)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections."""
    async with aiohttp.ClientSession() as session:
        yield session


def pool_of(session: aiohttp.ClientSession, *servers: ScriptedServer, rules: PoolRules | None = None) -> Pool:
    """A tier whose first server is asked first."""
    pool = Pool(
        [Endpoint(server.url, "scripted") for server in servers],
        lambda endpoint: Replica(endpoint, session=session, limits=LIMITS),
        rules=rules or PoolRules(),
    )
    for replica in pool.replicas[1:]:
        replica.others = 100
    return pool


async def ask(pool: Pool, fields: dict[str, Any]) -> tuple[list[Delta], Finish]:
    """All that is passed on."""
    async with aclosing(pool.generate(Prompt(fields, "id"))) as answered:
        parts = [part async for part in answered]
    *deltas, finish = parts
    assert isinstance(finish, Finish)
    return [part for part in deltas if isinstance(part, Delta)], finish


async def test_a_stream_goes_on_from_the_tokens_that_were_passed_on(session) -> None:
    async with ScriptedServer(DYING) as first, ScriptedServer(LIVING) as second:
        pool = pool_of(session, first, second)

        deltas, finish = await ask(pool, GREEDY)

    choice = draft_of(deltas).choices[0]
    assert (choice.text, choice.token_ids, choice.finish_reason) == (WORDS, (100, 101, 102, 103), "stop")
    assert second.seen[0]["kv_transfer_params"] == {"prompt_token_ids": [5, 6, 100, 101, 102]}
    assert second.seen[0]["max_tokens"] == 7
    assert pool.resumed == 1
    assert sum(delta.pieces[0].message.get("role") == "assistant" for delta in deltas) == 1
    assert finish.usage is not None
    assert (finish.usage.prompt_tokens, finish.usage.completion_tokens) == (2, 4)


INEXACT = [{"temperature": 0.7}, {"temperature": None}, {"presence_penalty": 0.5}]
IMPOSSIBLE: list[dict[str, Any]] = [
    {"stop": ["so"]},
    {"n": 2, "temperature": 1.0},
    {"response_format": {"type": "json_object"}},
    {"structured_outputs": {"choice": ["a", "b"]}},
]


@pytest.mark.parametrize("inexact", INEXACT)
async def test_where_the_rest_would_not_be_exact_the_rule_decides(session, inexact: dict[str, Any]) -> None:
    async with ScriptedServer(DYING) as first, ScriptedServer(LIVING) as second:
        deltas, _ = await ask(pool_of(session, first, second), {**GREEDY, **inexact})
        with pytest.raises(BadReply):
            await ask(pool_of(session, first, second, rules=PoolRules("fail")), {**GREEDY, **inexact})

    assert draft_of(deltas).choices[0].text == WORDS


@pytest.mark.parametrize("impossible", IMPOSSIBLE)
async def test_what_cannot_go_on_ends_with_the_error(session, impossible: dict[str, Any]) -> None:
    async with ScriptedServer(DYING) as first, ScriptedServer(LIVING) as second:
        with pytest.raises(BadReply):
            await ask(pool_of(session, first, second), {**GREEDY, **impossible})

        assert second.seen == []


async def test_servers_that_all_die_end_the_stream(session) -> None:
    async with ScriptedServer(DYING) as first, ScriptedServer(DYING) as second:
        with pytest.raises(BadReply):
            await ask(pool_of(session, first, second), GREEDY)

        assert 2 <= len(first.seen) + len(second.seen) <= 3


async def test_a_request_in_one_piece_asks_for_no_token_ids(session) -> None:
    async with ScriptedServer(LIVING) as first, ScriptedServer(LIVING) as second:
        await ask(pool_of(session, first, second), {**GREEDY, "stream": False})

        assert "return_token_ids" not in (first.seen + second.seen)[0]
