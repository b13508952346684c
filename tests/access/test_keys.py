"""Who may ask a gateway with keys, as clients see it: every way to send a key, and every way to be turned away."""

import asyncio
import re
import time
from pathlib import Path

import aiohttp
import anthropic
import openai
import orjson
import pytest
from fakes.gateway import running_app
from fakes.keys import issued
from fakes.scripted import Script
from fakes.stores import count, until
from fastapi.routing import APIRoute

from server.access.key import new_id, new_secret, written
from server.app import create_app
from server.cli.chat import run_chat
from server.cli.explain import run_explain
from server.settings.schema import Settings

ASK = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}
KEYS = {"auth": "keys", "admin": {"port": 0}}


async def keyed(gateway, folder: Path, **more):
    """A gateway that wants keys, over a store in this folder."""
    return await gateway(
        small=Script("yes", p=0.9), large=Script("no"), server={**KEYS, **more}, store={"folder": str(folder)}
    )


async def said(url: str, headers: dict[str, str] | list[tuple[str, str]], path: str = "/v1/chat/completions", body=ASK):
    """Status, body and headers of a request; a GET without a body."""
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.request("POST" if body else "GET", url + path, json=body, headers=headers) as reply,
    ):
        return reply.status, await reply.json(content_type=None), reply.headers


def bearer(key: str) -> dict[str, str]:
    """As OpenAI's clients send it."""
    return {"authorization": f"Bearer {key}"}


async def test_openais_client_is_served_with_a_key_and_refused_without(gateway, tmp_path: Path) -> None:
    key = await issued(tmp_path)
    cascade = await keyed(gateway, tmp_path)

    async with openai.AsyncOpenAI(base_url=f"{cascade.url}/v1", api_key=key, max_retries=0) as client:
        answer = await client.chat.completions.create(**ASK)
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.with_options(api_key=written(new_id(), new_secret())).chat.completions.create(**ASK)

    assert answer.choices[0].message.content == "yes"
    assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")
    assert refused.value.type == "invalid_request_error"
    assert refused.value.response.headers["www-authenticate"] == "Bearer"


async def test_anthropics_client_is_served_with_a_key_and_refused_without(gateway, tmp_path: Path) -> None:
    key = await issued(tmp_path, models=frozenset({"small"}))
    cascade = await keyed(gateway, tmp_path)
    ask = {"max_tokens": 9, "messages": [{"role": "user", "content": "is it?"}]}

    async with anthropic.AsyncAnthropic(base_url=cascade.url, api_key=key, max_retries=0) as client:
        answer = await client.messages.create(model="small", **ask)
        with pytest.raises(anthropic.PermissionDeniedError) as forbidden:
            await client.messages.create(model="auto", **ask)
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await client.with_options(api_key="sk-ant-api03-other").messages.create(model="small", **ask)

    assert answer.content[0].text == "yes"
    assert refused.value.body["error"]["type"] == "authentication_error"
    assert forbidden.value.body["error"]["type"] == "permission_error"


async def test_a_key_sees_and_asks_its_own_models_and_modes_alone(gateway, tmp_path: Path) -> None:
    key = await issued(tmp_path, models=frozenset({"auto"}), modes=frozenset({"threshold"}))
    cascade = await keyed(gateway, tmp_path)

    async with openai.AsyncOpenAI(base_url=f"{cascade.url}/v1", api_key=key, max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == ["auto"]
        await client.chat.completions.create(**ASK)
        with pytest.raises(openai.NotFoundError) as unseen:
            await client.models.retrieve("large")
        with pytest.raises(openai.PermissionDeniedError) as model:
            await client.chat.completions.create(**{**ASK, "model": "large"})
        with pytest.raises(openai.PermissionDeniedError) as mode:
            await client.chat.completions.create(**ASK, extra_headers={"x-smallfirst-mode": "exact"})
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.chat.completions.create(**{**ASK, "model": "nobody"})
        with pytest.raises(openai.PermissionDeniedError):
            await client.embeddings.create(model="small", input="x")

    assert (model.value.code, model.value.param) == ("model_not_allowed", "model")
    assert (mode.value.code, mode.value.param) == ("mode_not_allowed", "smallfirst.mode")
    assert "large" not in unseen.value.message.replace("'large'", "")
    assert "small" not in unknown.value.message
    assert len(cascade.large.seen) == 0


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/tokenize", "/v1/score", "/v1/rerank"])
async def test_what_is_no_completion_is_for_the_same_models(gateway, tmp_path: Path, path: str) -> None:
    key = await issued(tmp_path, models=frozenset({"small"}))
    cascade = await keyed(gateway, tmp_path)

    status, _, _ = await said(cascade.url, bearer(key), path, {**ASK, "model": "large", "prompt": "x"})

    assert status == 403


@pytest.mark.parametrize("scheme", ["Bearer {}", "bearer {}", "BEARER  {}", " Bearer {} "])
async def test_a_bearer_is_one_however_it_is_written(gateway, tmp_path: Path, scheme: str) -> None:
    key = await issued(tmp_path)
    cascade = await keyed(gateway, tmp_path)

    assert (await said(cascade.url, {"authorization": scheme.format(key)}))[0] == 200


async def test_one_key_in_both_headers_is_one_key(gateway, tmp_path: Path) -> None:
    key, other = await issued(tmp_path), await issued(tmp_path)
    cascade = await keyed(gateway, tmp_path)

    assert (await said(cascade.url, {**bearer(key), "x-api-key": key}))[0] == 200
    assert (await said(cascade.url, {**bearer(""), "x-api-key": key}))[0] == 200
    ours, theirs = ("authorization", f"Bearer {key}"), ("authorization", f"Bearer {other}")
    for twice in ([ours, theirs], [("x-api-key", key), ("x-api-key", other)], [ours, ("x-api-key", other)],
                  [("authorization", "Bearer junk"), ("x-api-key", key)]):  # fmt: skip
        status, body, _ = await said(cascade.url, twice)
        assert (status, "differ" in body["error"]["message"]) == (401, True)


async def test_everything_else_is_turned_away_before_its_body_is_read(gateway, tmp_path: Path) -> None:
    key = await issued(tmp_path)
    identity, secret = key[:11], key[12:]
    cascade = await keyed(gateway, tmp_path)
    wrong = [
        {}, bearer(""), {"authorization": ""}, {"authorization": "Basic " + key}, {"authorization": key},
        bearer(identity), bearer(identity + "-"), bearer(key[:-1]), bearer(key + "A"), bearer(secret),
        bearer(key.upper()),
        bearer(f"{identity}-{new_secret()}"), bearer(f"{new_id()}-{secret}"), bearer(f"{key} {key}"),
        bearer(f"{key},{key}"), bearer("' OR 1=1 --"), bearer("x" * 20_000), bearer("a.b.c"), {"x-api-key": "ключ"},
        {"x-api-key": f"{identity}-{'é' * 43}"}, {"api-key": key}, {"cookie": f"key={key}"},
    ]  # fmt: skip

    for headers in wrong:
        status, body, _ = await said(cascade.url, headers, body=[1])
        assert (status, body["error"]["code"]) == (401, "invalid_api_key"), headers
        assert secret not in str(body)
    status, _, _ = await said(cascade.url, {}, f"/v1/chat/completions?api_key={key}&key={key}")
    assert status == 401
    assert cascade.small.seen == []


async def test_without_a_key_nothing_is_answered_but_whether_the_gateway_is_well(tmp_path: Path) -> None:
    tier = {"model": "x", "price": {"input": 1.0, "output": 1.0}, "urls": ["http://127.0.0.1:9"]}
    server = {**KEYS, "admin": {"port": None, "on_main": True}}
    app = create_app(Settings.model_validate({"tiers": {"small": tier}, "server": server,
                                              "store": {"folder": str(tmp_path)}}))  # fmt: skip
    routes = [(method, re.sub(r"{\w+}", "x", route.path)) for route in app.routes if isinstance(route, APIRoute)
              for method in route.methods]  # fmt: skip

    async with running_app(app) as url, aiohttp.ClientSession() as session:
        answers = {}
        for method, path in routes:
            async with session.request(method, url + path) as reply:
                answers[method, path] = reply.status

    assert {path for (_, path), status in answers.items() if status != 401} == {"/health", "/ready"}
    assert len(answers) > 20


async def test_the_document_of_what_can_be_asked_is_made_once_for_those_who_may_ask_the_same() -> None:
    """It takes 30 ms, and no limit counts who asks for it."""
    tier = {"model": "x", "price": {"input": 1.0, "output": 1.0}, "urls": ["http://127.0.0.1:9"]}
    app = create_app(Settings.model_validate({"tiers": {"small": tier}, "store": {"url": "none"}}))

    first, again, other = (app.state.describe(names) for names in (("small",), ("small",), ()))

    assert first is again
    assert orjson.loads(first) != orjson.loads(other)
    async with (
        running_app(app) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/openapi.json") as reply,
    ):
        assert await reply.read() == first


async def test_a_key_that_is_over_says_so_to_its_owner_alone(gateway, tmp_path: Path) -> None:
    key = await issued(tmp_path, expires=time.time() - 1)
    cascade = await keyed(gateway, tmp_path)

    status, body, _ = await said(cascade.url, bearer(key))
    _, others, _ = await said(cascade.url, bearer(f"{key[:11]}-{new_secret()}"))

    assert status == 401
    assert "expired" in body["error"]["message"]
    assert "expired" not in others["error"]["message"]


async def test_a_revoked_key_is_none_and_the_words_do_not_tell(gateway, tmp_path: Path) -> None:
    key = await issued(tmp_path, revoked=1.0)
    cascade = await keyed(gateway, tmp_path)

    revoked, unknown = await said(cascade.url, bearer(key)), await said(cascade.url, bearer("sf-zzzzzzzz-" + key[12:]))

    assert revoked[0] == unknown[0] == 401
    assert revoked[1]["error"]["message"].replace(key[:11], "") == unknown[1]["error"]["message"].replace(
        "sf-zzzzzzzz", ""
    )


async def test_what_shows_the_inside_is_for_operators(gateway, tmp_path: Path) -> None:
    key, admin = await issued(tmp_path), await issued(tmp_path, is_admin=True)
    cascade = await keyed(gateway, tmp_path)

    for path in ("/v1/pools", "/v1/cascades", "/metrics"):
        assert (await said(cascade.url, {}, path, None))[0] == 401
        status, body, _ = await said(cascade.url, bearer(key), path, None)
        assert (status, body["error"]["code"]) == (403, "admin_key_required")
        async with aiohttp.ClientSession() as session, session.get(cascade.url + path, headers=bearer(admin)) as reply:
            assert reply.status == 200
    for path in ("/health", "/ready"):
        assert (await said(cascade.url, {}, path, None))[0] == 200


async def test_who_is_turned_away_is_counted_by_reason(gateway, tmp_path: Path) -> None:
    key, admin = await issued(tmp_path, models=frozenset({"auto"})), await issued(tmp_path, is_admin=True)
    over = await issued(tmp_path, expires=1.0)
    cascade = await keyed(gateway, tmp_path)

    for headers in ({}, bearer("x"), bearer(f"{key[:-1]}_"), bearer(over), {**bearer(key), "x-api-key": admin}):
        await said(cascade.url, headers)
    await said(cascade.url, bearer(key), body={**ASK, "model": "small"})
    await said(cascade.url, bearer(key), "/v1/pools", None)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{cascade.url}/metrics", headers=bearer(admin)) as reply,
    ):
        text = await reply.text()

    for reason in ("no-key", "bad-key", "unknown-key", "expired", "several-keys", "model", "admin"):
        assert f'smallfirst_turned_away_requests_total{{reason="{reason}"}} 1.0' in text, reason


async def test_neither_logs_nor_errors_hold_a_key(gateway, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    key, over = await issued(tmp_path), await issued(tmp_path, expires=1.0)
    cascade = await keyed(gateway, tmp_path)

    for headers in (
        bearer(key),
        bearer(over),
        bearer(key[:-1]),
        {"x-api-key": key},
        {**bearer(key), "x-api-key": over},
    ):
        for path in ("/v1/chat/completions", f"/v1/chat/completions?key={key}", "/nothing", "/v1/messages"):
            _, body, sent = await said(cascade.url, headers, path)
            assert key[12:] not in f"{body}{sent}"
            assert over[12:] not in f"{body}{sent}"

    told = "".join(capfd.readouterr())
    assert "turned away" in told
    assert key[12:40] not in told
    assert over[12:40] not in told


async def test_the_keys_own_task_is_that_of_its_requests(gateway, tmp_path: Path) -> None:
    key = await issued(tmp_path, task="sums", is_admin=True)
    cascade = await gateway(
        small=Script("yes", p=0.9), large=Script("no"), server=KEYS, store={"folder": str(tmp_path), "texts": True}
    )

    _, answer, _ = await said(cascade.url, bearer(key))
    _, decision, _ = await said(cascade.url, bearer(key), f"/v1/decisions/{answer['id']}", None)

    assert decision["task"] == "sums"


async def test_a_caller_reads_and_judges_its_own_requests_alone(gateway, tmp_path: Path) -> None:
    mine, others, admin = [await issued(tmp_path), await issued(tmp_path), await issued(tmp_path, is_admin=True)]
    cascade = await keyed(gateway, tmp_path)
    _, answer, sent = await said(cascade.url, bearer(mine))

    for one in (answer["id"], sent["x-request-id"]):
        path, judged = f"/v1/decisions/{one}", {"id": one, "score": 0.0}
        assert [(await said(cascade.url, bearer(key), path, None))[0] for key in (mine, admin)] == [200, 200]
        theirs = await said(cascade.url, bearer(others), path, None)
        nobodys = await said(cascade.url, bearer(others), "/v1/decisions/x", None)
        assert (theirs[0], theirs[1]["error"]["code"]) == (404, "decision_not_found")
        assert theirs[1]["error"]["message"].replace(one, "x") == nobodys[1]["error"]["message"]
        assert (await said(cascade.url, bearer(others), "/v1/feedback", judged))[0] == 404
        assert (await said(cascade.url, bearer(mine), "/v1/feedback", judged))[0] == 200


async def test_an_id_that_another_caller_uses_too_hides_nothing(gateway, tmp_path: Path) -> None:
    mine, others = await issued(tmp_path), await issued(tmp_path)
    cascade = await keyed(gateway, tmp_path)

    for key in (mine, others):
        await said(cascade.url, {**bearer(key), "x-request-id": "the-same"})
    found = [(await said(cascade.url, bearer(key), "/v1/decisions/the-same", None))[1] for key in (mine, others)]

    assert [one["key"] for one in found] == [mine[:11], others[:11]]
    await until(lambda: count(tmp_path) == 2)
    found = [(await said(cascade.url, bearer(key), "/v1/decisions/the-same", None))[1] for key in (mine, others)]
    assert [one["key"] for one in found] == [mine[:11], others[:11]]


async def test_the_commands_show_their_key(gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = await issued(tmp_path)
    cascade = await keyed(gateway, tmp_path)
    _, answer, _ = await said(cascade.url, bearer(key))

    with_key = await asyncio.to_thread(run_explain, answer["id"], url=cascade.url, store=None, api_key=key)
    without = await asyncio.to_thread(run_explain, answer["id"], url=cascade.url, store=None)
    talked = await asyncio.to_thread(run_chat, cascade.url, None, 5)

    assert (with_key, without, talked) == (0, 1, 1)
    told = capsys.readouterr()
    assert "no API key was sent" in told.err
    assert "no API key was sent" in told.out


async def test_a_gateway_that_cannot_read_its_keys_says_so_and_lets_nobody_in(gateway, tmp_path: Path) -> None:
    (tmp_path / "smallfirst.db").mkdir()
    cascade = await keyed(gateway, tmp_path)

    status, body, headers = await said(cascade.url, bearer(written(new_id(), new_secret())))
    ready, told, _ = await said(cascade.url, {}, "/ready", None)

    assert (status, body["error"]["code"], headers["retry-after"]) == (503, "keys_unreadable", "1")
    assert (ready, told["ready"], told["keys"]) == (503, False, "unreadable")
    assert (await said(cascade.url, bearer("sk-other")))[0] == 401
