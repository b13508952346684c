"""What operators ask, on a listener of their own: keys, as they are made, changed, renewed and revoked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from fakes.gateway import running_app
from fakes.keys import issued
from fakes.scripted import Script, ScriptedServer

from server.app import create_app
from server.settings.schema import Settings

ASK = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}


@dataclass(frozen=True)
class Stage:
    """A gateway with keys, its listener for operators, and an admin key."""

    url: str
    admin_url: str
    admin: str

    async def asks(self, method: str, path: str, body: object = None, *, key: str | None = None, main: bool = False):
        """Status and body, on the admin listener if nothing else is said."""
        headers = {"authorization": f"Bearer {self.admin if key is None else key}"}
        async with (
            asyncio.timeout(10),
            aiohttp.ClientSession() as session,
            session.request(method, (self.url if main else self.admin_url) + path, json=body, headers=headers) as reply,
        ):
            return reply.status, await reply.json(content_type=None)

    async def may_ask(self, key: str, **change: object) -> int:
        """The status that a client gets."""
        return (await self.asks("POST", "/v1/chat/completions", {**ASK, **change}, key=key, main=True))[0]


@asynccontextmanager
async def staged(folder: Path, **server: object) -> AsyncIterator[Stage]:
    admin = await issued(folder, is_admin=True, name="boss")
    async with ScriptedServer(Script("yes", p=0.9)) as one:
        tier = {"model": "scripted", "price": {"input": 1.0, "output": 1.0}, "urls": [one.url]}
        settings = Settings.model_validate(
            {
                "tiers": {"small": tier, "large": tier},
                "cascades": {"auto": {"tiers": ["small", "large"], "threshold": 0.5}},
                "server": {"auth": "keys", "admin": {"port": 0}, **server},
                "store": {"folder": str(folder)},
            },
            context=folder,
        )
        app = create_app(settings)
        async with running_app(app) as url:
            host, port = app.state.admin_address
            yield Stage(url, f"http://{host}:{port}", admin)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as one:
        yield one


async def test_a_key_is_shown_once_and_counts_at_once(stage: Stage) -> None:
    wish = {"name": "app", "allowance": {"models": ["auto"], "requests_per_minute": 60}, "task": "sums"}

    status, made = await stage.asks("POST", "/admin/keys", wish)
    key = made.pop("key")
    _, listed = await stage.asks("GET", "/admin/keys")
    _, one = await stage.asks("GET", f"/admin/keys/{made['id']}")

    assert status == 201
    assert key.startswith(made["id"] + "-")
    assert [await stage.may_ask(key), await stage.may_ask(key, model="large")] == [200, 403]
    assert [each["name"] for each in listed["data"]] == ["boss", "app"]
    assert listed["data"][1] == one == made
    assert (one["allowance"]["models"], one["allowance"]["requests_per_minute"]) == (["auto"], 60)
    assert key[12:] not in str(listed)


async def test_a_change_says_what_is_otherwise_and_the_rest_stays(stage: Stage) -> None:
    wish = {"name": "app", "allowance": {"models": ["auto"], "requests_per_minute": 60}, "task": "sums"}
    _, made = await stage.asks("POST", "/admin/keys", wish)
    path = f"/admin/keys/{made['id']}"

    _, wider = await stage.asks("PATCH", path, {"allowance": {"models": None}, "name": "new", "task": None})
    _, same = await stage.asks("PATCH", path, {})
    _, over = await stage.asks("PATCH", path, {"expires": 1.0})

    assert wider["allowance"] == {**made["allowance"], "models": None}
    assert (wider["name"], wider["task"], wider["is_admin"]) == ("new", None, False)
    assert same == wider
    assert over["expires"] == 1.0
    assert await stage.may_ask(made["key"]) == 401
    await stage.asks("PATCH", path, {"expires": None})
    assert await stage.may_ask(made["key"], model="large") == 200


async def test_a_revoked_key_ends_here_with_the_answer(stage: Stage) -> None:
    _, made = await stage.asks("POST", "/admin/keys", {"name": "app"})
    assert await stage.may_ask(made["key"]) == 200

    status, revoked = await stage.asks("DELETE", f"/admin/keys/{made['id']}")

    assert (status, revoked["revoked"] is None) == (200, False)
    assert await stage.may_ask(made["key"]) == 401
    for method, path, body in (("DELETE", "", None), ("PATCH", "", {"expires": None}), ("POST", "/renew", {})):
        status, wrong = await stage.asks(method, f"/admin/keys/{made['id']}{path}", body)
        assert (status, wrong["error"]["code"]) == (404, "key_not_found")
    assert await stage.may_ask(made["key"]) == 401


async def test_a_renewed_key_is_the_same_one(stage: Stage) -> None:
    _, made = await stage.asks("POST", "/admin/keys", {"name": "app"})
    path = f"/admin/keys/{made['id']}/renew"

    _, with_grace = await stage.asks("POST", path, {"grace_s": 600})
    assert [await stage.may_ask(one["key"]) for one in (made, with_grace)] == [200, 200]
    _, at_once = await stage.asks("POST", path, {})

    assert [await stage.may_ask(one["key"]) for one in (made, with_grace, at_once)] == [401, 401, 200]
    assert made["id"] == with_grace["id"] == at_once["id"]


async def test_usage_is_told_by_whose_key_it_was(stage: Stage) -> None:
    _, made = await stage.asks("POST", "/admin/keys", {"name": "app"})
    assert await stage.may_ask(made["key"]) == 200

    async with asyncio.timeout(10):
        while not (usage := (await stage.asks("GET", "/admin/usage?by=key,tier&since=1d"))[1])["rows"]:  # noqa: ASYNC110 - it says no more
            await asyncio.sleep(0.05)

    assert [(row["key"], row["tier"], row["requests"]) for row in usage["rows"]] == [(made["id"], "small", 1)]
    assert usage["total"]["requests"] == 1


@pytest.mark.parametrize(("query", "said"), [("by=colour", "there is no 'colour'"), ("until=soon", "'soon' is no day"),
                                             ("sice=7d", "sice: is not known")])  # fmt: skip
async def test_usage_that_cannot_be_told_is_refused(stage: Stage, query: str, said: str) -> None:
    status, reply = await stage.asks("GET", f"/admin/usage?{query}")

    assert status == 400
    assert said in reply["error"]["message"]


async def test_usage_is_for_operators(stage: Stage) -> None:
    _, made = await stage.asks("POST", "/admin/keys", {"name": "app"})

    assert (await stage.asks("GET", "/admin/usage", key=made["key"]))[0] == 403
    assert (await stage.asks("GET", "/admin/usage", main=True))[0] == 404


async def test_operators_have_an_admin_key_and_a_listener_of_their_own(stage: Stage) -> None:
    _, made = await stage.asks("POST", "/admin/keys", {"name": "app"})

    for method, path in (("GET", "/admin/keys"), ("POST", "/admin/keys"), ("DELETE", f"/admin/keys/{made['id']}"),
                         ("PATCH", "/admin/keys/x"), ("POST", "/admin/keys/x/renew"),
                         ("GET", "/v1/pools")):  # fmt: skip
        assert (await stage.asks(method, path, key=made["key"]))[0] == 403
        assert (await stage.asks(method, path, key=""))[0] == 401
        if path.startswith("/admin"):
            assert (await stage.asks(method, path, main=True))[0] == 404
    assert await stage.may_ask(made["key"]) == 200
    assert (await stage.asks("POST", "/v1/chat/completions", ASK))[0] == 404


@pytest.mark.parametrize("is_open", [True, False])
async def test_metrics_are_open_to_operators_unless_they_are_not(tmp_path: Path, is_open: bool) -> None:
    async with (
        staged(tmp_path, admin={"port": 0, "open_metrics": is_open}) as stage,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{stage.admin_url}/metrics") as reply:
            assert reply.status == (200 if is_open else 401)
        async with session.get(f"{stage.url}/metrics") as reply:
            assert reply.status == 401


async def test_operators_may_be_answered_with_everyone_else_if_that_is_said(tmp_path: Path) -> None:
    async with staged(tmp_path, admin={"port": 0, "on_main": True}) as stage:
        assert (await stage.asks("GET", "/admin/keys", main=True))[0] == 200
        assert (await stage.asks("GET", "/admin/keys", main=True, key=""))[0] == 401


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({}, "name"), ({"name": ""}, "name"), ({"name": "a\nb"}, "name"), ({"name": "x" * 161}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a", "allowance": {"models": ["nobody"]}}, "allowance.models"),
        ({"name": "a", "allowance": {"models": []}}, "allowance.models"),
        ({"name": "a", "allowance": {"modes": ["wild"]}}, "allowance.modes.0"),
        ({"name": "a", "allowance": {"requests_per_minute": 0}}, "allowance.requests_per_minute"),
        ({"name": "a", "allowance": {"cost_per_day": -1.0}}, "allowance.cost_per_day"),
        ({"name": "a", "allowance": {"wings": 2}}, "allowance.wings"),
        ({"name": "a", "is_admin": "yes"}, "is_admin"), ({"name": "a", "expires": 1e300}, "expires"),
        ({"name": "a", "digest": "0" * 64}, "digest"), ({"name": "a", "id": "sf-aaaaaaaa"}, "id"),
    ],
)  # fmt: skip
async def test_a_wish_that_cannot_be_is_refused_by_name(stage: Stage, wish: dict, param: str) -> None:
    status, wrong = await stage.asks("POST", "/admin/keys", wish)

    assert (status, wrong["error"]["param"]) == (400, param)


@pytest.mark.parametrize("identity", ["sf-nothing0", "x", "' OR 1=1 --", "sf-aaaaaaaa-s", "%00", "..%2f..", "x" * 3000])
async def test_a_key_that_there_is_not_is_a_404(stage: Stage, identity: str) -> None:
    for method, path, body in (("GET", "", None), ("DELETE", "", None), ("PATCH", "", {}), ("POST", "/renew", {})):
        assert (await stage.asks(method, f"/admin/keys/{identity}{path}", body))[0] == 404


async def test_what_operators_did_is_logged_without_secrets(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    _, made = await stage.asks("POST", "/admin/keys", {"name": "app"})
    _, renewed = await stage.asks("POST", f"/admin/keys/{made['id']}/renew", {})
    await stage.asks("DELETE", f"/admin/keys/{made['id']}")

    told = "".join(capfd.readouterr())
    for event in ("key created", "key renewed", "key revoked"):
        assert event in told
    assert stage.admin[:11] in told
    for text in (made["key"], renewed["key"], stage.admin):
        assert text[12:40] not in told
