"""Bad requests: a 4xx in OpenAI's shape that names the field, whatever is sent; never a 500, never a hang."""

import asyncio
import json

import aiohttp
import pytest
import yarl
from fakes.gateway import running_gateway
from fakes.scripted import Script, ScriptedServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.settings.schema import Settings

GOOD = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}


async def post(url: str, data: bytes, headers: dict[str, str] | None = None) -> tuple[int, dict]:
    """Status and body of a raw request."""
    headers = {"content-type": "application/json"} | (headers or {})
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", data=data, headers=headers) as reply,
    ):
        return reply.status, await reply.json(content_type=None)


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": None}, 400, "model"),
        ({"model": 7}, 400, "model"),
        ({"model": ""}, 400, "model"),
        ({"model": "nobody"}, 404, "model"),
        ({"messages": None}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"messages": "hello"}, 400, "messages"),
        ({"messages": [7]}, 400, "messages.0"),
        ({"messages": [{"role": "user"}]}, 400, "messages.0"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 7}]}, 400, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, 400, "messages.0.content"),
        ({"stream": "yes"}, 400, "stream"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
        ({"temperature": -1}, 400, "temperature"),
        ({"temperature": 3}, 400, "temperature"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"n": 0}, 400, "n"),
        ({"n": True}, 400, "n"),
        ({"n": 1.5}, 400, "n"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_completion_tokens": -1}, 400, "max_completion_tokens"),
        ({"stop": 7}, 400, "stop"),
        ({"stop": ["a", 7]}, 400, "stop"),
        ({"logprobs": 3}, 400, "logprobs"),
        ({"top_logprobs": 3}, 400, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
        ({"presence_penalty": 9}, 400, "presence_penalty"),
        ({"logit_bias": {"5": "x"}}, 400, "logit_bias"),
        ({"tools": {}}, 400, "tools"),
        ({"response_format": "json"}, 400, "response_format"),
        ({"smallfirst": {"mode": "wild"}}, 400, "smallfirst.mode"),
        ({"smallfirst": {"task": ""}}, 400, "smallfirst.task"),
        ({"smallfirst": {"threshold": 2}}, 400, "smallfirst.threshold"),
        ({"smallfirst": {"treshold": 0.5}}, 400, "smallfirst.treshold"),
        ({"smallfirst": "fast"}, 400, "smallfirst"),
        ({"model": "small", "smallfirst": {"threshold": 0.5}}, 400, "smallfirst.threshold"),
    ],
)
async def test_the_error_names_the_field(gateway, change: dict, status: int, param: str) -> None:
    cascade = await gateway(small=Script(), large=Script())
    body = {name: value for name, value in {**GOOD, **change}.items() if value is not None}

    got, reply = await post(cascade.url, json.dumps(body).encode())

    assert got == status
    assert reply["error"]["param"] == param
    assert param.split(".")[-1] in reply["error"]["message"]
    assert cascade.small.seen == []


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b'{"model": NaN}', b"[" * 100_000, b'{"model": "\\ud800"}']
)
async def test_a_body_that_is_no_json_object_is_refused(gateway, data: bytes) -> None:
    cascade = await gateway(small=Script(), large=Script())

    status, reply = await post(cascade.url, data)

    assert status == 400
    assert reply["error"]["type"] == "invalid_request_error"


async def test_a_body_of_another_kind_is_refused(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())

    status, reply = await post(cascade.url, json.dumps(GOOD).encode(), {"content-type": "text/plain"})

    assert status == 415
    assert "application/json" in reply["error"]["message"]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_beyond_the_limit_is_refused(gateway, declared: bool) -> None:
    cascade = await gateway(small=Script(), large=Script(), server={"max_body_bytes": 1000})

    async def pieces():
        for _ in range(20):
            yield b" " * 100

    data = b" " * 2000 if declared else pieces()
    status, reply = await post(cascade.url, data)

    assert status == 413
    assert "1000 bytes" in reply["error"]["message"]


async def test_a_mode_that_there_is_none_of_is_refused_by_name(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())

    status, reply = await post(cascade.url, json.dumps(GOOD).encode(), {"x-smallfirst-mode": "wild"})

    assert status == 400
    assert reply["error"]["param"] == "x-smallfirst-mode"
    assert "threshold" in reply["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/chat/completions", 405), ("POST", "/v1/nothing", 404), ("GET", "/", 404)],
)
async def test_unknown_paths_and_methods_are_refused_in_openais_shape(gateway, method, path, status) -> None:
    cascade = await gateway(small=Script(), large=Script())

    async with aiohttp.ClientSession() as session, session.request(method, cascade.url + path) as reply:
        assert reply.status == status
        assert (await reply.json())["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/models", "/v1/models/", "/v1/models/auto", "/v1/models/%00", "/v1/models/../../etc/passwd",
     "/v1/models/" + "x" * 3000, "/v1/models/%F0%9F%98%80", "/v1/chat/completions?a=%ff", "//v1//models", "/health",
     "/ready", "/metrics", "/docs", "/openapi.json"],
)  # fmt: skip
async def test_no_path_and_no_method_is_a_failure_of_ours(gateway, method: str, path: str) -> None:
    cascade = await gateway(small=Script(), large=Script())

    async with aiohttp.ClientSession() as session:
        url = yarl.URL(cascade.url + path, encoded=True)
        async with session.request(method, url, data=b"\xff{", allow_redirects=False) as reply:
            assert reply.status < 500
            assert reply.status not in range(300, 400)


async def test_what_is_refused_is_counted_and_has_an_id(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())

    async with aiohttp.ClientSession() as session:
        async with session.get(f"{cascade.url}/nothing") as reply:
            assert reply.headers["x-request-id"]
        async with session.get(f"{cascade.url}/metrics") as reply:
            assert 'smallfirst_refused_requests_total{status="404"} 1.0' in await reply.text()


async def test_a_request_id_that_could_harm_a_log_is_replaced(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())

    async with aiohttp.ClientSession() as session:
        for given_id, kept in (("my-id.1", True), ("x" * 200, False), ('"};drop', False)):
            headers = {"x-request-id": given_id}
            async with session.post(f"{cascade.url}/v1/chat/completions", json=GOOD, headers=headers) as reply:
                assert (reply.headers["x-request-id"] == given_id) is kept


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
field_names = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "n", "stop", "tools", "tool_choice", "response_format",
     "logit_bias", "logprobs", "top_logprobs", "smallfirst", "max_tokens", "temperature", "metadata", "user"]
)  # fmt: skip


def test_whatever_is_sent_is_answered_or_refused() -> None:
    """Random bodies against a real gateway: 200 or a 4xx, and it is alive afterwards."""
    with asyncio.Runner() as runner:
        stack_url: dict[str, str] = {}
        done = asyncio.Event()

        async def host(ready: asyncio.Event) -> None:
            async with ScriptedServer(Script("yes")) as server:
                price = {"input": 1.0, "output": 1.0}
                tier = {"model": "scripted", "price": price, "urls": [server.url]}
                config = {"tiers": {"small": tier, "large": tier},
                          "cascades": {"auto": {"tiers": ["small", "large"], "threshold": 0.5}}}  # fmt: skip
                async with running_gateway(Settings.model_validate(config)) as url:
                    stack_url["url"] = url
                    ready.set()
                    await done.wait()

        async def start() -> asyncio.Task[None]:
            ready = asyncio.Event()
            task = asyncio.create_task(host(ready))
            await ready.wait()
            return task

        hosting = runner.run(start())

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.dictionaries(field_names, json_values, max_size=5), st.booleans())
        def attack(fields: dict, based_on_good: bool) -> None:
            body = {**GOOD, **fields} if based_on_good else fields
            status = runner.run(attacked(stack_url["url"], json.dumps(body).encode()))
            assert status == 200 or 400 <= status < 500, (status, body)

        attack()
        done.set()
        runner.run(asyncio.wait_for(hosting, 10))


async def attacked(url: str, data: bytes) -> int:
    """Only the status: a stream's body is no JSON."""
    headers = {"content-type": "application/json"}
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", data=data, headers=headers) as reply,
    ):
        await reply.read()
        return reply.status
