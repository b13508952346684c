"""Streams whose server dies in the middle: they go on from another, or end with an error, as the rules say."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp.web
import pytest
from fakes.scripted import Script, ScriptedServer

from models.answer import Delta, Finish, Piece, draft_of
from models.endpoint import Endpoint, Limits
from models.errors import BadReply
from models.forms import FormName
from models.pool import Pool, PoolRules
from models.prompt import Prompt
from models.replica import Replica
from models.resuming import Said
from models.session import Session

LIMITS = Limits(connect_s=1.0, first_token_s=0.5, idle_s=0.5, total_s=2.0)
GREEDY: dict[str, Any] = {
    "messages": [{"role": "user", "content": "is it?"}], "stream": True, "temperature": 0, "max_tokens": 10,
}  # fmt: skip
WORDS = "yes it is so"
DYING = Script(WORDS, trouble="cut-stream")
LIVING = Script(WORDS)


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """Connections."""
    async with Session() as session:
        yield session


def pool_of(session: Session, *servers: ScriptedServer, rules: PoolRules | None = None) -> Pool:
    """A tier whose first server is asked first."""
    pool = Pool(
        [Endpoint(server.url, "scripted") for server in servers],
        lambda endpoint: Replica(endpoint, session=session, limits=LIMITS),
        rules=rules or PoolRules(),
    )
    for replica in pool.replicas[1:]:
        replica.others = 100  # as found by a probe: so the first one is asked first
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

        deltas, finish = await ask(pool, {**GREEDY, "min_tokens": 4})

    choice = draft_of(deltas).choices[0]
    assert (choice.text, choice.token_ids, choice.finish_reason) == (WORDS, (100, 101, 102, 103), "stop")
    assert second.seen[0]["kv_transfer_params"] == {"prompt_token_ids": [5, 6, 100, 101, 102]}
    assert (second.seen[0]["max_tokens"], second.seen[0]["min_tokens"]) == (7, 1)
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
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
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


@pytest.mark.parametrize(("form", "continuation"), [("chat", "exact"), ("completion", "impossible")])
def test_only_a_conversation_can_go_on(form: FormName, continuation: str) -> None:
    said = Said(Prompt({"temperature": 0, "max_tokens": 10}, "id", identified=True, form=form))

    said.told(Delta({"prompt_token_ids": [5, 6]}, (Piece(0, {"content": "yes"}, token_ids=(100,)),), 0.0))

    assert said.continuation() == continuation


async def test_what_the_next_server_reads_otherwise_is_not_gone_on_with(session) -> None:
    async with ScriptedServer(DYING) as first, ScriptedServer(Script("no it is so")) as second:
        with pytest.raises(BadReply):
            await ask(pool_of(session, first, second), GREEDY)

        assert second.seen == []


async def test_a_server_that_goes_on_from_something_else_ends_the_stream(session) -> None:
    async def begin_anew(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        response = aiohttp.web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        opening = b'{"choices": [{"index": 0, "delta": {"role": "assistant"}}], "prompt_token_ids": [5, 6]}'
        await response.write(b"data: " + opening + b"\n\n")
        await response.write(b'data: {"choices": [{"index": 0, "delta": {"content": "yes"}}]}\n\n')
        return response

    async with ScriptedServer(DYING) as first, ScriptedServer(Script(WORDS, handler=begin_anew)) as second:
        with pytest.raises(BadReply):
            await ask(pool_of(session, first, second), GREEDY)

        assert len(second.seen) == 1


async def test_an_answer_that_has_ended_is_not_gone_on_with(session) -> None:
    async def die_at_the_end(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        response = aiohttp.web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        opening = b'{"choices": [{"index": 0, "delta": {"role": "assistant"}}], "prompt_token_ids": [5, 6]}'
        await response.write(b"data: " + opening + b"\n\n")
        last = b'{"choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop", "token_ids": [100]}]}'
        await response.write(b"data: " + last + b"\n\n")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with ScriptedServer(Script(WORDS, handler=die_at_the_end)) as first, ScriptedServer(LIVING) as second:
        deltas, finish = await ask(pool_of(session, first, second), GREEDY)

        assert second.seen == []
    assert draft_of(deltas).choices[0].text == "yes"
    assert finish.usage is None


async def test_usage_in_every_chunk_goes_on_counting(session) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    async with ScriptedServer(DYING) as first, ScriptedServer(LIVING) as second:
        deltas, _ = await ask(pool_of(session, first, second), {**GREEDY, "stream_options": options})

    counts = [delta.reply["usage"]["completion_tokens"] for delta in deltas if delta.reply.get("usage")]
    assert counts == [1, 2, 3, 4]


async def test_one_that_dies_before_its_first_word_is_forgotten(session) -> None:
    async def announce_and_die(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        response = aiohttp.web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        opening = (
            b'{"choices": [{"index": 0, "delta": {"role": "assistant"}, "token_ids": [77]}], "prompt_token_ids": [5]}'
        )
        await response.write(b"data: " + opening + b"\n\n")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with ScriptedServer(Script(handler=announce_and_die)) as first, ScriptedServer(LIVING) as second:
        deltas, _ = await ask(pool_of(session, first, second), GREEDY)

    assert [delta.pieces[0].message.get("role") for delta in deltas if delta.pieces[0].message.get("role")] == [
        "assistant"
    ]
    assert draft_of(deltas).choices[0].token_ids == (100, 101, 102, 103)


async def test_servers_that_all_die_end_the_stream(session) -> None:
    async with ScriptedServer(DYING) as first, ScriptedServer(DYING) as second:
        with pytest.raises(BadReply):
            await ask(pool_of(session, first, second), GREEDY)

        assert (len(first.seen), len(second.seen)) == (1, 1)


async def test_a_request_in_one_piece_asks_for_no_token_ids(session) -> None:
    async with ScriptedServer(LIVING) as first, ScriptedServer(LIVING) as second:
        await ask(pool_of(session, first, second), {**GREEDY, "stream": False})

        assert "return_token_ids" not in (first.seen + second.seen)[0]
