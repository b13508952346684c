"""The keys that an identity provider signs its tokens with: fetched within limits, kept, and fetched anew when a token
names another one. PyJWT's own client would hold up the event loop while it fetches."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import orjson
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from server.background import in_background
from server.settings.access import https_url

DISCOVERY = "/.well-known/openid-configuration"
MOST_BYTES = 256 * 1024
MOST_KEYS = 100
FRESH_S = 600.0
AGAIN_S = 30.0
LONGEST_S = 86400.0
SIGNING = ("RSA", "EC", "OKP")  # never a shared secret

log = structlog.get_logger()


class NotFetched(Exception):
    """The provider did not say its keys."""


class Provider:
    """An issuer and its keys, by their ids."""

    def __init__(
        self,
        issuer: str,
        jwks_url: str | None,
        session: aiohttp.ClientSession,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._session = session
        self._clock = clock
        self._keys: Mapping[str, PyJWK] = {}
        self._read_s: float | None = None
        self._tried_s = float("-inf")
        self._fetching = asyncio.Lock()

    @property
    def is_readable(self) -> bool:
        """Whether its keys are known, and not from long ago."""
        return self._read_s is not None and self._clock() - self._read_s <= LONGEST_S

    async def find(self, key_id: str) -> PyJWK | None:
        """The key of that id; the provider is asked for one that is not known, at most every half minute."""
        found = self._keys.get(key_id)
        if found is not None:
            return found
        async with self._fetching:
            if self._clock() - self._tried_s >= AGAIN_S:
                await self._try()
        return self._keys.get(key_id)

    async def _try(self) -> None:
        self._tried_s = self._clock()
        try:
            self._keys = usable(await self._fetched_keys())
        except NotFetched as failed:
            log.error("token keys cannot be fetched", issuer=self._issuer, cause=str(failed), known=len(self._keys))
        else:
            self._read_s = self._clock()

    async def _fetched_keys(self) -> object:
        url = self._jwks_url
        if url is None:
            told = await self._fetched(self._issuer.rstrip("/") + DISCOVERY)
            if told.get("issuer") != self._issuer:
                raise NotFetched(f"the discovery document is not that of {self._issuer!r}")
            url = str(told.get("jwks_uri"))
            try:
                https_url(url)
            except ValueError as unsafe:
                raise NotFetched("jwks_uri is not https://") from unsafe
        return (await self._fetched(url)).get("keys")

    async def _fetched(self, url: str) -> dict[str, object]:
        """The JSON object at an address. Raises NotFetched."""
        try:
            async with self._session.get(url, allow_redirects=False) as reply:
                received = bytearray()
                async for part in reply.content.iter_any():
                    received += part
                    if len(received) > MOST_BYTES:
                        raise NotFetched(f"{url} sent more than {MOST_BYTES} bytes")
        except (aiohttp.ClientError, TimeoutError, ValueError) as failed:
            raise NotFetched(f"{url}: {type(failed).__name__}") from failed
        if reply.status != 200:
            raise NotFetched(f"{url} answered {reply.status}")
        try:
            told = orjson.loads(received)
        except orjson.JSONDecodeError as broken:
            raise NotFetched(f"{url} sent no JSON") from broken
        if not isinstance(told, dict):
            raise NotFetched(f"{url} sent no JSON object")
        return told

    @asynccontextmanager
    async def kept_up(self) -> AsyncIterator[None]:
        """Its keys are fetched now and then, for as long as the block."""
        async with in_background(self._run()):
            yield

    async def _run(self) -> None:
        while True:
            before = self._read_s
            async with self._fetching:
                await self._try()
            await asyncio.sleep(AGAIN_S if self._read_s == before else FRESH_S)


def usable(keys: object) -> Mapping[str, PyJWK]:
    """The keys that sign, by their ids. Raises NotFetched where there are none at all."""
    if not isinstance(keys, list):
        raise NotFetched("there is no list of keys")
    found = dict(signing(one for one in keys[:MOST_KEYS] if isinstance(one, dict)))
    if not found:
        raise NotFetched("there is no key with an id that could sign")
    return found


def signing(keys: Iterable[dict[str, object]]) -> Iterable[tuple[str, PyJWK]]:
    """Those of a public kind, meant for signatures, that can be read."""
    for key in keys:
        key_id = key.get("kid")
        if not isinstance(key_id, str) or key.get("kty") not in SIGNING or key.get("use", "sig") != "sig":
            continue
        try:
            yield key_id, PyJWK(key)
        except (PyJWTError, ValueError, TypeError):
            log.warning("a token key cannot be read", key=key_id[:64])
