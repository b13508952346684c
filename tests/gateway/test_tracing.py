"""What a collector gets to see of a request."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from aiohttp import web
from fakes.collector import Collector, told
from fakes.gateway import running_gateway
from fakes.scripted import Script, ScriptedServer
from fakes.traced import QUESTION, asked, settings_of
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic import ValidationError

FAILED = Status.STATUS_CODE_ERROR
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def test_a_request_is_one_trace_of_calls_and_decisions(stack: AsyncExitStack) -> None:
    collector = await stack.enter_async_context(Collector())
    small = await stack.enter_async_context(ScriptedServer(Script("maybe", p=0.2)))
    large = await stack.enter_async_context(ScriptedServer(Script("yes")))

    async with running_gateway(settings_of(small.url, large.url, collector.url)) as url:
        reply = await asked(url)

    (root,) = collector.named("POST /v1/chat/completions")
    drafted, answered = collector.named("chat scripted")
    (decision,) = collector.named("decide")
    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    assert [span.parent_span_id for span in (drafted, decision, answered)] == [root.span_id] * 3
    assert told(root)["smallfirst.tier"] == "large"
    assert told(root)["smallfirst.request_id"] == reply.headers["x-request-id"]
    assert told(root)["http.response.status_code"] == 200
    assert told(drafted)["gen_ai.usage.output_tokens"] == 1
    assert told(drafted)["smallfirst.tier"] == "small"
    assert told(decision)["smallfirst.decision"] == "escalate"
    assert told(decision)["smallfirst.reason"] == "unsure"
    assert told(decision)["smallfirst.confidence"] == pytest.approx(0.2)
    assert not [span for span in collector.spans if QUESTION in str(span)]


async def test_a_tiers_server_is_told_its_parent(stack: AsyncExitStack) -> None:
    seen: list[str] = []
    collector = await stack.enter_async_context(Collector())
    large = await stack.enter_async_context(ScriptedServer(Script("yes")))

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["traceparent"])
        return await small.answer(request, await request.json())

    small = await stack.enter_async_context(ScriptedServer(Script("yes", handler=answer)))

    async with running_gateway(settings_of(small.url, large.url, collector.url)) as url:
        await asked(url)

    (call,) = collector.named("chat scripted")
    (posted,) = collector.named("POST")
    assert posted.parent_span_id == call.span_id
    assert [one.split("-")[1:3] for one in seen] == [[posted.trace_id.hex(), posted.span_id.hex()]]


async def test_what_was_sent_to_a_server_and_what_came_is_told_by_the_conventions(stack: AsyncExitStack) -> None:
    collector = await stack.enter_async_context(Collector())
    small = await stack.enter_async_context(ScriptedServer(Script(status=503)))
    large = await stack.enter_async_context(ScriptedServer(Script("yes")))
    helper = await stack.enter_async_context(ScriptedServer(Script(trouble="reset")))

    async with running_gateway(settings_of(small.url, large.url, collector.url, helper=helper.url)) as url:
        await asked(url)
        await asked(url, model="helper")

    refused, answered, *broken = collector.named("POST")
    for span, server, became in (
        (refused, small, {"http.response.status_code": 503, "error.type": "503"}),
        (answered, large, {"http.response.status_code": 200}),
        *((span, helper, {"error.type": "unreachable"}) for span in broken),
    ):
        assert told(span) == {
            "http.request.method": "POST",
            "server.address": "127.0.0.1",
            "server.port": int(server.url.rpartition(":")[2]),
            "url.full": f"{server.url}/v1/chat/completions",
            **became,
        }
        assert (span.kind, span.status.code) == (Span.SPAN_KIND_CLIENT, FAILED if "error.type" in became else 0)
    assert broken


async def test_the_clients_own_trace_goes_on(stack: AsyncExitStack) -> None:
    collector = await stack.enter_async_context(Collector())
    small = await stack.enter_async_context(ScriptedServer(Script("yes")))

    async with running_gateway(settings_of(small.url, small.url, collector.url, share=0.0)) as url:
        await asked(url, traceparent=PARENT)
        await asked(url)

    (root,) = collector.named("POST /v1/chat/completions")
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (PARENT[3:35], PARENT[36:52])


async def test_a_tiers_server_is_told_what_the_client_says_of_its_trace(stack: AsyncExitStack) -> None:
    seen: list[str] = []
    collector = await stack.enter_async_context(Collector())

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.extend((request.headers["traceparent"][3:35], request.headers["tracestate"]))
        return await small.answer(request, await request.json())

    small = await stack.enter_async_context(ScriptedServer(Script("yes", handler=answer)))

    async with running_gateway(settings_of(small.url, small.url, collector.url)) as url:
        await asked(url, traceparent=PARENT, tracestate="theirs=1")

    assert seen == [PARENT[3:35], "theirs=1"]


async def test_probes_are_in_no_trace(stack: AsyncExitStack) -> None:
    collector = await stack.enter_async_context(Collector())
    small = await stack.enter_async_context(ScriptedServer(Script("yes")))

    async with running_gateway(settings_of(small.url, small.url, collector.url)) as url, httpx.AsyncClient() as client:
        await client.get(f"{url}/ready")

    assert collector.spans == []


async def test_a_failed_call_says_why(stack: AsyncExitStack) -> None:
    collector = await stack.enter_async_context(Collector())
    small = await stack.enter_async_context(ScriptedServer(Script(status=503)))
    large = await stack.enter_async_context(ScriptedServer(Script(status=401)))

    async with running_gateway(settings_of(small.url, large.url, collector.url)) as url:
        reply = await asked(url)

    drafted, answered = collector.named("chat scripted")
    (root,) = collector.named("POST /v1/chat/completions")
    assert reply.status_code == 502
    assert (told(drafted)["error.type"], told(answered)["error.type"]) == ("overloaded", "misconfigured")
    assert told(root)["http.response.status_code"] == 502


async def test_a_collector_that_is_not_there_holds_up_nobody(stack: AsyncExitStack) -> None:
    small = await stack.enter_async_context(ScriptedServer(Script("yes")))

    async with running_gateway(settings_of(small.url, small.url, "http://127.0.0.1:1", timeout_s=0.5)) as url:
        reply = await asked(url)

    assert reply.status_code == 200


def test_an_odd_collector_is_refused() -> None:
    with pytest.raises(ValidationError, match="no http or https address"):
        settings_of("http://a:1", "http://b:1", "localhost:4318")
