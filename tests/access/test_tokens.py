"""Bearer tokens of an identity provider: whose they are, what they allow, and all the ways to forge one."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fakes.keys import issued
from fakes.provider import FakeProvider, provider
from fakes.scripted import Script
from fakes.waiting import until

from server.access.provider import AGAIN_S, LONGEST_S, Provider
from server.access.refusal import NotAllowed
from server.access.tokens import ProvidersTokens, id_of
from server.settings.access import OidcSettings

ASK = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}
ALLOWANCES = {"boss": {"is_admin": True}, "staff": {"models": ["auto"], "requests_per_minute": 60, "task": "sums"}}


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def issuer():
    async with provider() as fake:
        yield fake


@pytest.fixture
async def checking(issuer: FakeProvider):
    """Tells whose token it is; its keys are fetched when they are needed."""
    clock = Clock()
    async with aiohttp.ClientSession() as session:
        known = Provider(issuer.url, None, session, clock=clock)
        settings = OidcSettings.model_validate(
            {"issuer": issuer.url, "audience": "smallfirst", "claim": "groups", "allowances": ALLOWANCES}
        )
        yield ProvidersTokens(known, settings), clock, known


async def reason_of(tokens: ProvidersTokens, token: str) -> str:
    """Why it is refused; it must be."""
    with pytest.raises(NotAllowed) as refused:
        await tokens.caller(token)
    return refused.value.reason


async def test_a_token_is_served_beside_keys(gateway, issuer: FakeProvider, tmp_path: Path) -> None:
    key = await issued(tmp_path)
    oidc = {"issuer": issuer.url, "audience": "smallfirst", "claim": "groups", "allowances": ALLOWANCES}
    cascade = await gateway(
        small=Script("yes", p=0.9), large=Script("no"), store={"folder": str(tmp_path)},
        server={"auth": "keys", "admin": {"port": 0}, "oidc": oidc},
    )  # fmt: skip
    staff, boss = issuer.token(), issuer.token(groups=["staff", "boss"])

    async def status_of(credential: str, path: str = "/v1/chat/completions", **change: object) -> int:
        headers = {"authorization": f"Bearer {credential}"}
        body = {**ASK, **change} if "chat" in path else None
        async with (
            aiohttp.ClientSession() as session,
            session.request("POST" if body else "GET", cascade.url + path, json=body, headers=headers) as reply,
        ):
            return reply.status

    assert [await status_of(one) for one in (staff, boss, key, staff + "x")] == [200, 200, 200, 401]
    assert [await status_of(one, model="small") for one in (staff, boss)] == [403, 200]
    assert [await status_of(one, "/v1/pools") for one in (staff, boss)] == [403, 200]
    assert await status_of(issuer.token(groups=["visitors"])) == 403
    salts = [body["cache_salt"] for body in cascade.small.seen]
    assert salts[0] != salts[2]


async def test_the_subject_is_the_caller_with_what_its_claims_allow(issuer: FakeProvider, checking) -> None:
    tokens, _, _ = checking

    anna, again, bert = [await tokens.caller(issuer.token(sub=sub)) for sub in ("anna", "anna", "bert")]

    assert (anna.id, anna.is_admin, anna.task) == ("oidc:anna", False, "sums")
    assert (anna.allowance.models, anna.allowance.requests_per_minute) == (frozenset({"auto"}), 60)
    assert anna == again
    assert anna.salt != bert.salt
    assert (await tokens.caller(issuer.token(groups=["staff", "boss"]))).is_admin
    assert (await tokens.caller(issuer.token(groups="other staff"))).id == "oidc:anna"
    for groups in ([], ["visitors"], None, 7, {"staff": True}, "staffing"):
        assert await reason_of(tokens, issuer.token(groups=groups)) == "no-allowance"


async def test_a_claim_may_be_deep_inside(issuer: FakeProvider) -> None:
    async with aiohttp.ClientSession() as session:
        settings = OidcSettings.model_validate(
            {"issuer": issuer.url, "audience": "smallfirst", "claim": "realm.roles", "allowances": ALLOWANCES}
        )
        tokens = ProvidersTokens(Provider(issuer.url, None, session), settings)

        assert (await tokens.caller(issuer.token(realm={"roles": ["boss"]}))).is_admin
        assert (await tokens.caller(issuer.token(**{"realm.roles": ["boss"]}))).is_admin
        assert await reason_of(tokens, issuer.token(realm="boss")) == "no-allowance"


async def test_times_audience_issuer_and_subject_must_be_right(issuer: FakeProvider, checking) -> None:
    tokens, _, _ = checking
    now = time.time()

    for wrong, reason in (
        ({"exp": now - 31}, "expired"), ({"exp": None}, "bad-token"), ({"exp": "soon"}, "bad-token"),
        ({"nbf": now + 60}, "bad-token"), ({"iat": now + 60}, "bad-token"), ({"aud": "others"}, "bad-token"),
        ({"aud": None}, "bad-token"), ({"iss": "https://evil.test"}, "bad-token"), ({"iss": None}, "bad-token"),
        ({"sub": None}, "bad-token"), ({"sub": ""}, "bad-token"), ({"aud": ["smallfirst2"]}, "bad-token"),
    ):  # fmt: skip
        assert await reason_of(tokens, issuer.token(**wrong)) == reason, wrong
    for right in ({"exp": now - 5}, {"nbf": now + 5}, {"aud": ["others", "smallfirst"]}):
        assert (await tokens.caller(issuer.token(**right))).id == "oidc:anna"


async def test_no_token_can_choose_how_it_is_checked(issuer: FakeProvider, checking) -> None:
    tokens, _, _ = checking
    public = (
        issuer.keys["one"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    claims = {"iss": issuer.url, "aud": "smallfirst", "sub": "anna", "exp": time.time() + 60, "groups": ["boss"]}
    mallorys = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    head, body, signature = issuer.token().split(".")

    def with_header(**header: object) -> str:
        return f"{packed({'alg': 'RS256', 'kid': 'one', **header})}.{body}.{signature}"

    forged = [
        f"{packed({'alg': 'none', 'kid': 'one'})}.{packed(claims)}.",
        f"{packed({'alg': 'none', 'kid': 'one'})}.{packed(claims)}.{signature}",
        signed_with_secret(claims, public),
        jwt.encode(claims, mallorys, "RS256", headers={"kid": "one"}),
        jwt.encode(claims, mallorys, "RS256", headers={"kid": "one", "jwk": {"kty": "RSA"}, "jku": "http://evil.test"}),
        f"{head}.{packed(claims)}.{signature}", f"{head}.{body}.", f"{head}..{signature}", "..", "a.b.c", f".{body}.x",
        with_header(kid=None), with_header(kid=["one"]), with_header(kid="../one"), with_header(alg="PS256"),
        with_header(alg="HS256"), with_header(alg=None), with_header(alg=["RS256"]),
        with_header(crit=["b64"], b64=False),
        issuer.token(key=mallorys),
    ]  # fmt: skip

    for token in forged:
        assert await reason_of(tokens, token) == "bad-token", token
    assert (await tokens.caller(f"{head}.{body}.{signature}")).id == "oidc:anna"


async def test_a_key_of_another_kind_than_the_algorithm_is_none(issuer: FakeProvider, checking) -> None:
    tokens, _, _ = checking
    issuer.add_curve("curve")
    _, body, signature = issuer.token().split(".")

    assert await reason_of(tokens, issuer.token("curve", algorithm="ES256")) == "bad-token"
    assert await reason_of(tokens, f"{packed({'alg': 'RS256', 'kid': 'curve'})}.{body}.{signature}") == "bad-token"


async def test_the_provider_may_change_its_keys(issuer: FakeProvider, checking) -> None:
    tokens, clock, _ = checking
    old = issuer.token()
    await tokens.caller(old)
    issuer.keys = {"two": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
    new = issuer.token("two")

    assert await reason_of(tokens, new) == "bad-token"  # it was asked a moment ago
    clock.now_s += AGAIN_S
    assert (await tokens.caller(new)).id == "oidc:anna"
    assert await reason_of(tokens, old) == "bad-token"
    assert issuer.fetched == 2


async def test_tokens_of_unknown_keys_do_not_flood_the_provider(issuer: FakeProvider, checking) -> None:
    tokens, _, _ = checking
    _, body, signature = issuer.token().split(".")
    unknown = [f"{packed({'alg': 'RS256', 'kid': str(number)})}.{body}.{signature}" for number in range(50)]

    reasons = await asyncio.gather(*(reason_of(tokens, token) for token in unknown))

    assert set(reasons) == {"bad-token"}
    assert issuer.fetched == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, None), (302, None), (200, []), (200, {"keys": []}), (200, {"keys": "x"}), (200, {"keys": "x" * 300_000}),
     (200, {"keys": [{"kty": "oct", "k": "AAAA", "kid": "one"}]}),
     (200, {"keys": [7, None, {"kty": "RSA", "kid": "one"}]})],
)  # fmt: skip
async def test_a_provider_that_is_down_or_odd_takes_nothing_away(issuer, checking, status: int, body: object) -> None:
    tokens, clock, known = checking
    token = issuer.token()
    issuer.status, issuer.body = status, body

    with pytest.raises(NotAllowed) as unread:
        await tokens.caller(token)
    assert (unread.value.reason, unread.value.problem.status) == ("unreadable", 503)
    issuer.status, issuer.body = 200, None
    clock.now_s += AGAIN_S
    await tokens.caller(token)
    issuer.status, issuer.body = status, body
    clock.now_s += LONGEST_S
    assert await known.find("nobody's") is None
    assert (await tokens.caller(token)).id == "oidc:anna"
    clock.now_s += 1
    assert await reason_of(tokens, token) == "unreadable"


async def test_keys_are_fetched_before_the_first_token(issuer: FakeProvider, checking) -> None:
    _, _, known = checking

    async with known.kept_up():
        await until(lambda: known.is_readable)

    assert issuer.fetched == 1


def test_a_subject_is_told_apart_whatever_is_in_it() -> None:
    subjects = ["anna", "auth0|12", "x" * 60, "x" * 61, "a b", "a\nb", "ann\u00e4", "oidc#1"]

    ids = [id_of(subject) for subject in subjects]

    assert len(set(ids)) == len(ids)
    assert ids[:2] == ["oidc:anna", "oidc:auth0|12"]
    assert all(one.isascii() and one.isprintable() and len(one) <= 64 for one in ids)


def packed(told: object) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()


def signed_with_secret(claims: dict[str, object], secret: bytes) -> str:
    """HS256 with the public key as its secret, which PyJWT itself would refuse to make."""
    signed = f"{packed({'alg': 'HS256', 'kid': 'one'})}.{packed(claims)}"
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize("inside", ["[" * 5500 + "]" * 5500, "9" * 11_000, '{"a":' * 1500 + "1" + "}" * 1500])
async def test_a_token_whose_header_is_odd_json_is_none(checking, inside: str) -> None:
    tokens, _, _ = checking
    header = base64.urlsafe_b64encode(f'{{"alg": "RS256", "kid": "one", "x": {inside}}}'.encode()).rstrip(b"=").decode()

    assert await reason_of(tokens, f"{header}.e30.eA") == "bad-token"
