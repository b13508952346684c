"""What a collector gets to see of all ways that a request can take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from fakes.collector import Collector, told
from fakes.embedding import embeds, hangs
from fakes.gateway import running_gateway
from fakes.pools import metrics_of
from fakes.scripted import Script, ScriptedServer
from fakes.traced import QUESTION, asked, posted, settings_of
from fakes.trusting import trust
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from server.app import create_app
from server.following import Following

FAILED = Status.STATUS_CODE_ERROR
CHAT = "POST /v1/chat/completions"
BODY = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}]}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@asynccontextmanager
async def traced(
    collector: Collector, small: Script, large: Script, helper: Script | None = None, **more: object
) -> AsyncIterator[str]:
    """A gateway's address; when the block has ended, the collector has everything."""
    async with AsyncExitStack() as stack:
        scripts = [small, large] if helper is None else [small, large, helper]
        servers = [await stack.enter_async_context(ScriptedServer(script)) for script in scripts]
        names = ("small", "large", "helper")
        urls = {name: server.url for name, server in zip(names, servers, strict=False)}
        yield await stack.enter_async_context(running_gateway(settings_of(**urls, otlp=collector.url, **more)))


@pytest.fixture
async def collector(stack: AsyncExitStack) -> Collector:
    return await stack.enter_async_context(Collector())


def only(collector: Collector, name: str) -> Span:
    (span,) = collector.named(name)
    return span


async def seen(url: str, line: str) -> None:
    """Wait until the metrics say so."""
    async with asyncio.timeout(10):
        while line not in await metrics_of(url):  # noqa: ASYNC110 - it is a metric
            await asyncio.sleep(0.01)


async def test_an_audit_is_a_part_of_its_requests_trace(collector: Collector) -> None:
    parents: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        parents.append(request.headers["traceparent"])
        return await ScriptedServer(Script("no")).answer(request, await request.json())

    audits = {"audits": {"rate": 1.0, "spend_per_day": 1.0}}
    async with traced(collector, Script("yes"), Script(handler=answer), cascade=audits) as url:
        await asked(url)
        await seen(url, 'smallfirst_audits_total{cascade="auto",result="disagreed"} 1.0')

    root, audit = only(collector, CHAT), only(collector, "audit")
    call = next(span for span in collector.named("chat scripted") if told(span)["smallfirst.tier"] == "large")
    posted = next(span for span in collector.named("POST") if span.parent_span_id == call.span_id)
    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    assert (audit.parent_span_id, call.parent_span_id) == (root.span_id, audit.span_id)
    assert told(audit) == {"smallfirst.result": "disagreed"}
    assert [one.split("-")[1:3] for one in parents] == [[root.trace_id.hex(), posted.span_id.hex()]]
    assert not [span for span in collector.spans if QUESTION in str(span)]


async def test_an_audit_that_fails_says_so(collector: Collector) -> None:
    audits = {"audits": {"rate": 1.0, "spend_per_day": 1.0}}
    async with traced(collector, Script("yes"), Script(status=503), cascade=audits) as url:
        await asked(url)
        await seen(url, 'smallfirst_audits_total{cascade="auto",result="failed"} 1.0')

    audit = only(collector, "audit")
    assert (told(audit)["error.type"], audit.status.code) == ("failed", FAILED)
    assert only(collector, CHAT).status.code != FAILED


async def test_the_time_in_a_queue_is_in_the_trace(collector: Collector) -> None:
    opened, came = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        came.set()
        await opened.wait()
        return await ScriptedServer(Script("yes")).answer(request, await request.json())

    queue = {"queue": {"at_once": 1, "waiting": 1}}
    async with traced(collector, Script(handler=answer), Script("no"), cascade=queue) as url:
        first = asyncio.create_task(asked(url))
        await came.wait()
        second = asyncio.create_task(asked(url, traceparent=f"00-{'a' * 32}-{'b' * 16}-01"))
        await seen(url, 'smallfirst_queue_waiting{cascade="auto"} 1.0')
        third = await asked(url, traceparent=f"00-{'c' * 32}-{'d' * 16}-01")
        opened.set()
        await asyncio.gather(first, second)

    waited = [span for span in collector.spans if span.trace_id.hex() == "a" * 32]
    root, wait, call, decision, *_ = sorted(waited, key=lambda span: (span.name == "POST", span.start_time_unix_nano))
    assert [one.name for one in (root, wait, call, decision)] == [CHAT, "wait", "chat scripted", "decide"]
    assert root.start_time_unix_nano <= wait.start_time_unix_nano
    assert wait.end_time_unix_nano <= call.start_time_unix_nano
    assert wait.parent_span_id == root.span_id
    assert third.status_code == 503
    shed = next(span for span in collector.named(CHAT) if span.trace_id.hex() == "c" * 32)
    assert (told(shed)["http.response.status_code"], told(shed)["error.type"]) == (503, "queue_full")
    assert shed.status.code == FAILED


async def test_a_request_that_is_refused_is_traced_and_no_error_of_ours(collector: Collector) -> None:
    async with traced(collector, Script("yes"), Script("yes")) as url:
        await posted(url, "/v1/chat/completions", {"model": "nobody", "messages": [{"role": "user", "content": "?"}]})
        await posted(url, "/v1/chat/completions", [QUESTION])

    unknown, wrong = collector.named(CHAT)
    assert (told(unknown)["http.response.status_code"], told(unknown)["smallfirst.code"]) == (404, "model_not_found")
    assert told(wrong)["http.response.status_code"] == 400
    assert not any("error.type" in told(one) or one.status.code for one in (unknown, wrong))
    assert "gen_ai.request.model" not in told(unknown)


async def test_what_needs_a_key_is_traced_without_one(collector: Collector, tmp_path: Path) -> None:
    keys = {"server": {"auth": "keys", "admin": {"port": 0}}, "store": {"folder": str(tmp_path)}}
    async with traced(collector, Script("yes"), Script("yes"), more=keys) as url:
        reply = await asked(url, authorization="Bearer a-secret")

    assert reply.status_code == 401
    assert told(only(collector, CHAT))["http.response.status_code"] == 401
    assert "a-secret" not in str(collector.spans)


async def test_texts_to_complete_are_no_conversations(collector: Collector) -> None:
    async with traced(collector, Script("yes"), Script("yes")) as url:
        await asked(url, path="/v1/completions")

    root, call = only(collector, "POST /v1/completions"), only(collector, "text_completion scripted")
    assert call.parent_span_id == root.span_id
    assert told(call)["gen_ai.operation.name"] == "text_completion"


async def test_embedding_a_prompt_is_no_conversation(collector: Collector) -> None:
    gain = {"kind": "embedding-gain", "model": "helping", "intercept": 0.0, "weights": (1.0, 0.0)}
    skipping = {"trust": trust(threshold=0.4, skip=gain), "threshold": None,
                "skip": {"below": 0.4, "embeddings": "helper"}}  # fmt: skip
    helper = Script(handler=embeds("integrate"), served="helping")
    async with traced(collector, Script("yes"), Script("yes"), helper, cascade=skipping) as url:
        await asked(url)

    embedded, answered = only(collector, "embeddings helping"), only(collector, "chat scripted")
    assert told(embedded) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "helping",
        "gen_ai.usage.input_tokens": 5,
        "smallfirst.tier": "helper",
        "smallfirst.about": "foresight",
    }
    assert embedded.parent_span_id == answered.parent_span_id == only(collector, CHAT).span_id


async def test_questions_about_drafts_are_calls_of_the_trace(collector: Collector) -> None:
    large = Script("the large one's", p_true=0.8)
    band = {"verdict": {"band": [0.4, 0.9]}, "threshold": 0.7, "scorer": "mean-logprob"}
    async with traced(collector, Script("yes", p=0.5), large, cascade=band) as url:
        await asked(url)

    root = only(collector, CHAT)
    drafted, asking = collector.named("chat scripted")
    assert (told(drafted)["smallfirst.about"], told(asking)["smallfirst.about"]) == ("answer", "verdict")
    assert {drafted.parent_span_id, asking.parent_span_id} == {root.span_id}
    assert [event.name for event in root.events] == ["permitted", "verdict"]


@pytest.mark.parametrize(
    ("path", "body", "operation", "status"),
    [
        ("/v1/embeddings", {"input": QUESTION}, "embeddings", 200),
        ("/v1/rerank", {"query": QUESTION, "documents": ["yes"]}, "rerank", 200),
        ("/v1/score", {"text_1": QUESTION, "text_2": "yes"}, "score", 400),
        ("/tokenize", {"prompt": QUESTION}, "tokenize", 200),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": QUESTION}]}, "tokenize", 200),
    ],
)
async def test_what_passes_through_is_traced(
    collector: Collector, path: str, body: dict[str, object], operation: str, status: int
) -> None:
    async with traced(collector, Script("yes"), Script("yes")) as url:
        reply = await posted(url, path, {"model": "large", **body})

    root, call = only(collector, f"POST {path}"), only(collector, f"{operation} scripted")
    request = only(collector, "POST")
    assert reply.status_code == told(root)["http.response.status_code"] == status
    assert {root.trace_id} == {span.trace_id for span in collector.spans}
    assert (request.parent_span_id, call.parent_span_id) == (call.span_id, root.span_id)
    assert told(root)["gen_ai.request.model"] == "large"
    assert told(call)["smallfirst.tier"] == "large"
    assert told(call).get("error.type") == (None if status == 200 else "capability")
    assert (root.status.code == FAILED, call.status.code == FAILED) == (False, status > 200)
    assert "gen_ai.usage.output_tokens" not in told(call)
    assert QUESTION not in str(collector.spans)


async def test_what_is_counted_of_an_embedding_is_in_the_trace(collector: Collector) -> None:
    async with traced(collector, Script("yes"), Script("yes")) as url:
        await posted(url, "/v1/embeddings", {"model": "large", "input": "a"})

    assert told(only(collector, "embeddings scripted"))["gen_ai.usage.input_tokens"] == 7


async def test_a_stream_that_breaks_is_an_error_though_it_began_well(collector: Collector) -> None:
    large = Script("it is so", trouble="cut-stream")
    async with traced(collector, Script("yes"), large) as url:
        reply = await posted(url, "/v1/chat/completions", {**BODY, "model": "large", "stream": True})

    root, call = only(collector, CHAT), only(collector, "chat scripted")
    assert reply.status_code == told(root)["http.response.status_code"] == 200
    assert root.status.code == call.status.code == FAILED
    assert (told(root)["error.type"], told(call)["error.type"]) == ("bad_model_reply", "bad-reply")


async def test_the_deadline_is_an_error_of_the_request_and_its_call(collector: Collector) -> None:
    async with traced(collector, Script(handler=hangs), Script("yes"), more={"server": {"deadline_s": 0.2}}) as url:
        await asked(url)

    root, call = only(collector, CHAT), only(collector, "chat scripted")
    assert (told(root)["http.response.status_code"], told(root)["error.type"]) == (504, "deadline_exceeded")
    assert (told(call)["error.type"], call.status.code) == ("cancelled", FAILED)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
async def test_a_client_that_leaves_leaves_a_whole_trace(collector: Collector, path: str) -> None:
    came = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        came.set()
        return await hangs(request)

    async with traced(collector, Script("yes"), Script(handler=answer)) as url:
        leaving = asyncio.create_task(posted(url, path, {**BODY, "model": "large", "input": "a"}))
        await came.wait()
        leaving.cancel()

    root = only(collector, f"POST {path}")
    (call,) = (span for span in collector.spans if span.parent_span_id == root.span_id)
    assert told(root)["error.type"] == told(call)["error.type"] == "cancelled"
    assert "http.response.status_code" not in told(root)
    assert root.status.code != FAILED


async def test_without_a_collector_no_layer_stands_before_requests(collector: Collector) -> None:
    plain = create_app(settings_of("http://a:1", "http://b:1", None))
    followed = create_app(settings_of("http://a:1", "http://b:1", collector.url))

    assert followed.user_middleware[0].cls is Following
    assert len(followed.user_middleware) == len(plain.user_middleware) + 1
