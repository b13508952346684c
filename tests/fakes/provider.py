"""An identity provider: its keys, its documents, and tokens of all kinds."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


class FakeProvider:
    """Serves its documents at `url`; `fetched` counts how often its keys were asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.fetched = 0
        self.status = 200
        self.body: object = None
        self.keys: dict[str, Any] = {"one": rsa.generate_private_key(public_exponent=65537, key_size=2048)}

    def add_curve(self, key_id: str) -> None:
        """Another key, on a curve."""
        self.keys[key_id] = ec.generate_private_key(ec.SECP256R1())

    def jwks(self) -> list[dict[str, Any]]:
        """Its public keys."""
        return [
            {**(ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm).to_jwk(
                key.public_key(), as_dict=True), "kid": key_id, "use": "sig"}
            for key_id, key in self.keys.items()
        ]  # fmt: skip

    def token(self, key_id: str = "one", *, algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        """A token of which nothing is odd but these claims; None leaves one out."""
        now = time.time()
        plain = {"iss": self.url, "aud": "smallfirst", "sub": "anna", "exp": now + 600, "groups": ["staff"]}
        told = {name: value for name, value in {**plain, **claims}.items() if value is not None}
        return jwt.encode(told, self.keys[key_id] if key is None else key, algorithm, headers={"kid": key_id})

    async def _discovery(self, _request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def _keys(self, _request: web.Request) -> web.Response:
        self.fetched += 1
        return web.json_response({"keys": self.jwks()} if self.body is None else self.body, status=self.status)


@asynccontextmanager
async def provider() -> AsyncIterator[FakeProvider]:
    """One that runs until the block ends."""
    fake = FakeProvider()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", fake._discovery)
    app.router.add_get("/keys", fake._keys)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
