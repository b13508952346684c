"""Requests that go to one tier's servers as they came."""

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from fakes.gateway import running_gateway
from fakes.scripted import Script, ScriptedServer
from fakes.stores import count, everything_in, rows, until

from models.prompt import NOT_FOR_CLIENTS
from server.doors.controls import OURS
from server.passing import ENDPOINTS, PassedRequest
from server.settings.schema import Settings

QUICK = {"connect_s": 1.0, "first_token_s": 0.3, "idle_s": 0.3, "total_s": 0.3}
ASK = {"model": "large", "input": "is it?"}
PAGE = Path(__file__).parents[2] / "docs" / "fields" / "pass-through.md"


async def test_embeddings_are_the_tiers_own(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())

    raw = await cascade.client.embeddings.with_raw_response.create(
        model="large", input=["is it?"], encoding_format="float",
        extra_body={"truncate_prompt_tokens": 5, "smallfirst": {}, "vllm_xargs": {"x": 1}},
    )  # fmt: skip
    reply = raw.parse()

    assert cascade.large.seen == [
        {"model": "scripted", "input": ["is it?"], "encoding_format": "float", "truncate_prompt_tokens": 5}
    ]
    assert cascade.small.seen == []
    assert (reply.model, reply.data[0].embedding, reply.usage.total_tokens) == ("large", [0.1, -2.5e-8], 7)
    assert raw.headers["x-smallfirst-tier"] == "large"
    assert raw.headers["x-request-id"]


async def test_what_it_took_is_counted_and_priced(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())

    await post(cascade.url, "/v1/rerank", {"model": "large", "query": "is it?", "documents": ["yes"]})

    text = await metrics_of(cascade.url)
    assert 'smallfirst_passed_requests_total{endpoint="/v1/rerank",status="200",tier="large"} 1.0' in text
    assert 'smallfirst_tier_tokens_total{kind="prompt",tier="large"} 7.0' in text
    (cost,) = re.findall(r'smallfirst_cost_total{cascade="large",tier="large"} (\S+)', text)
    assert float(cost) == pytest.approx(70e-6)


async def test_what_it_took_is_kept_without_its_text(gateway, tmp_path: Path) -> None:
    cascade = await gateway(small=Script(), large=Script(), store={"folder": str(tmp_path), "texts": True})

    await post(cascade.url, "/v1/rerank", {"model": "large", "query": "a secret", "documents": ["yes"]})
    await post(cascade.url, "/v1/rerank", {"model": "auto", "query": "is it?", "documents": ["yes"]})
    await until(lambda: count(tmp_path, "passed") == 1)

    kept = rows(tmp_path, "SELECT endpoint, asked, tier, status, prompt_tokens, cost, key FROM passed")
    assert kept == [("/v1/rerank", "large", "large", 200, 7, pytest.approx(70e-6), None)]
    assert rows(tmp_path, "SELECT cascade, tier, requests, prompt_tokens FROM usage") == [("large", "large", 1, 7)]
    assert b"a secret" not in everything_in(tmp_path)


@pytest.mark.parametrize(("model", "tier"), [("auto", "small"), ("small", "small"), ("large", "large")])
async def test_the_tokens_of_a_cascade_are_its_first_tiers(gateway, model: str, tier: str) -> None:
    cascade = await gateway(small=Script(first_token_id=100), large=Script(first_token_id=500))

    status, reply = await post(cascade.url, "/tokenize", {"model": model, "prompt": "is it?"})

    assert (status, reply) == (200, {"tokens": [100, 101] if tier == "small" else [500, 501]})
    assert getattr(cascade, tier).seen == [{"model": "scripted", "prompt": "is it?"}]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/rerank", "/v1/score"])
async def test_a_cascade_has_no_embeddings_of_its_own(gateway, path: str) -> None:
    cascade = await gateway(small=Script(), large=Script())

    status, reply = await post(cascade.url, path, {**ASK, "model": "auto"})

    assert (status, reply["error"]["param"]) == (400, "model")
    assert "(small, large)" in reply["error"]["message"]
    assert cascade.small.seen == cascade.large.seen == []


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": None}, 400, "model"),
        ({"model": 7}, 400, "model"),
        ({"model": "nobody"}, 404, "model"),
        ({"encoding_format": "bytes"}, 400, "encoding_format"),
    ],
)
async def test_the_error_names_the_field(gateway, change: dict, status: int, param: str) -> None:
    cascade = await gateway(small=Script(), large=Script())

    got, reply = await post(cascade.url, "/v1/embeddings", {**ASK, **change})

    assert (got, reply["error"]["param"]) == (status, param)
    assert cascade.large.seen == []


async def test_a_tier_without_the_endpoint_says_so(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())

    status, reply = await post(cascade.url, "/v1/score", {"model": "large", "text_1": "a", "text_2": "b"})

    assert (status, reply["error"]["param"]) == (400, "model")
    assert "/v1/score" in reply["error"]["message"]


async def not_a_dict(_request: web.Request) -> web.Response:
    """A reply that is JSON, and no object."""
    return web.json_response([1])


async def huge(_request: web.Request) -> web.Response:
    """A reply beyond every sane size."""
    return web.Response(body=b'"' + b"x" * 33 * 2**20)


@pytest.mark.parametrize(
    ("large", "status", "code"),
    [
        (Script(status=400, error={"error": {"message": "too long", "param": "input"}}), 400, None),
        (Script(status=401), 502, "model_misconfigured"),
        (Script(status=404, error={"error": {"message": "The model `x` does not exist."}}), 502, "model_misconfigured"),
        (Script(status=429, headers={"retry-after": "7"}), 503, "overloaded"),
        (Script(status=500), 503, "model_unreachable"),
        (Script(trouble="reset"), 503, "model_unreachable"),
        (Script(trouble="hang"), 504, "model_timeout"),
        (Script(trouble="html"), 502, "bad_model_reply"),
        (Script(handler=not_a_dict), 502, "bad_model_reply"),
        (Script(handler=huge), 502, "bad_model_reply"),
    ],
)
async def test_a_servers_failure_is_an_openai_error(gateway, large: Script, status: int, code: str | None) -> None:
    limits = QUICK if large.trouble == "hang" else {}
    cascade = await gateway(small=Script(), large=large, limits=limits)

    got, reply = await post(cascade.url, "/v1/embeddings", ASK)

    assert (got, reply["error"]["code"]) == (status, code)
    assert "127.0.0.1" not in reply["error"]["message"], "where the servers are is nobody's business"
    assert f'status="{status}",tier="large"}} 1.0' in await metrics_of(cascade.url)


async def test_an_answer_later_than_the_deadline_is_an_error(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script(trouble="hang"), server={"deadline_s": 0.3})

    status, reply = await post(cascade.url, "/v1/embeddings", ASK)

    assert (status, reply["error"]["code"]) == (504, "deadline_exceeded")


async def test_another_server_of_the_tier_is_asked_where_one_fails() -> None:
    async with ScriptedServer(Script(status=500)) as broken, ScriptedServer(Script()) as well:
        tier = {"model": "scripted", "price": {"input": 1, "output": 1}, "urls": [broken.url, well.url]}
        settings = Settings.model_validate({"tiers": {"embedder": tier}, "cascades": {}})
        async with running_gateway(settings) as url:
            statuses = [(await post(url, "/v1/embeddings", {**ASK, "model": "embedder"}))[0] for _ in range(20)]

    assert statuses == [200] * 20
    assert 1 <= len(broken.seen) < 20, "some are drawn to it, until it is left alone"


async def test_a_client_that_leaves_stops_the_servers_work(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script(trouble="hang"))

    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.post(f"{cascade.url}/v1/embeddings", json=ASK))
        await until(lambda: cascade.large.running == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await until(lambda: cascade.large.left == 1)
    assert 'status="499",tier="large"} 1.0' in await metrics_of(cascade.url)


async def test_who_leaves_or_waits_too_long_has_it_counted_all_the_same(gateway, tmp_path: Path) -> None:
    """Else work for which nobody pays could be had by leaving in time."""
    cascade = await gateway(
        small=Script(), large=Script(trouble="hang"), store={"folder": str(tmp_path)},
        limits={"connect_s": 1.0, "first_token_s": 30, "idle_s": 30, "total_s": 30}, server={"deadline_s": 5.0},
    )  # fmt: skip

    async with aiohttp.ClientSession() as session:
        for path in ("/v1/embeddings", "/tokenize"):
            await leave(session, cascade, path, {**ASK, "input": "x" * 4000})
        (status, _) = await post(cascade.url, "/v1/embeddings", {**ASK, "input": "x" * 4000})
    await until(lambda: count(tmp_path, "passed") == 3)

    assert status == 504
    counted = rows(tmp_path, "SELECT endpoint, status, prompt_tokens FROM passed ORDER BY time")
    embedded = counted[0][2]
    assert counted == [
        ("/v1/embeddings", 499, embedded), ("/tokenize", 499, 0), ("/v1/embeddings", 504, embedded),
    ]  # fmt: skip
    assert 1000 <= embedded < 1010


async def leave(session: aiohttp.ClientSession, cascade, path: str, body: dict) -> None:
    """Ask, and go as soon as the server is at work."""
    asking = asyncio.create_task(session.post(cascade.url + path, json=body))
    await until(lambda: cascade.large.running == 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: cascade.large.running == 0)


def test_every_field_and_endpoint_is_listed_and_no_other() -> None:
    request, _, reply = PAGE.read_text(encoding="utf-8").partition("## Of the reply")
    endpoints, _, fields = request.partition("## Of the request")
    first = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)

    assert first.findall(endpoints) == [f"POST {path}" for path in ENDPOINTS]
    assert set(first.findall(fields)) == {*PassedRequest.model_fields, OURS, *NOT_FOR_CLIENTS}
    assert first.findall(reply) == ["model"]


async def post(url: str, path: str, body: dict) -> tuple[int, dict]:
    """Status and body of a raw request; what is None is not sent."""
    data = json.dumps({name: value for name, value in body.items() if value is not None})
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.post(f"{url}{path}", data=data, headers={"content-type": "application/json"}) as reply,
    ):
        return reply.status, await reply.json()


async def metrics_of(url: str) -> str:
    """What `GET /metrics` says."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as reply:
        return await reply.text()
