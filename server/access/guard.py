"""Who may ask: this machine, everybody, or those who show a key or a token."""

import time
from collections.abc import Callable
from typing import Protocol

from starlette.datastructures import Headers

from server.access.caller import Caller, anyone
from server.access.credential import credential_of
from server.access.key import NO_DIGEST, Key, parts_of
from server.access.keyring import Keyring
from server.access.refusal import NotAllowed, forbidden, unreadable
from server.settings.server import is_loopback

NOBODYS = Key("sf-00000000", "nobody's", NO_DIGEST, "", 0.0)


class Guard(Protocol):
    """Tells who sent a request."""

    @property
    def is_ready(self) -> bool:
        """Whether it can tell at all."""
        ...

    async def caller(self, headers: Headers) -> Caller:
        """Who sent a request with these headers. Raises NotAllowed."""
        ...


class Tokens(Protocol):
    """Tells who sent a token of an identity provider."""

    async def caller(self, token: str) -> Caller:
        """Whose token it is. Raises NotAllowed."""
        ...


class ThisMachine:
    """Without keys this machine alone may ask: a web page whose name was made to lead here may not."""

    is_ready = True

    async def caller(self, headers: Headers) -> Caller:
        """Anyone, by a name that is this machine's own."""
        if not is_loopback(host_in(headers)):
            words = "host: this gateway is for its own machine: ask it as 127.0.0.1 or localhost"
            raise forbidden("host", words, code=None)
        return anyone()


class Everybody:
    """The operator says that others see to who may ask."""

    is_ready = True

    async def caller(self, headers: Headers) -> Caller:  # noqa: ARG002 - whoever it is
        """Anyone."""
        return anyone()


class Keyholders:
    """Those who show a key, or a token where those are taken too."""

    def __init__(
        self, keyring: Keyring, tokens: Tokens | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._keyring = keyring
        self._tokens = tokens
        self._clock = clock

    @property
    def is_ready(self) -> bool:
        """Whether the keys were read."""
        return self._keyring.is_readable

    async def caller(self, headers: Headers) -> Caller:
        """Whose key, or token, it is."""
        credential = credential_of(headers)
        if self._tokens is not None and credential.count(".") == 2:
            return await self._tokens.caller(credential)
        return self._holder(credential)

    def _holder(self, credential: str) -> Caller:
        parts = parts_of(credential)
        if parts is None:
            raise NotAllowed("bad-key", "the API key is none of this gateway's, which begin with `sf-`: copy it again")
        if not self._keyring.is_readable:
            raise unreadable("keys cannot be read now: try again")
        identity, secret = parts
        found = self._keyring.find(identity)
        key, caller = found or (NOBODYS, anyone())  # as much work for an id that there is not
        now = self._clock()
        if not key.is_of(secret, now) or found is None:
            raise NotAllowed("unknown-key", f"incorrect API key {identity}-***: it is unknown, or was revoked")
        if key.is_over(now):
            raise NotAllowed(
                "expired", f"the API key {identity} has expired: ask the gateway's operator for another one"
            )
        self._keyring.used(identity)
        return caller


def refuse_others(caller: Caller) -> Caller:
    """An operator. Raises NotAllowed for anybody else."""
    if not caller.is_admin:
        raise forbidden("admin", "this is for operators: it takes an admin key", code="admin_key_required")
    return caller


def host_in(headers: Headers) -> str:
    """The name in the Host header, as it stands there: Starlette's URL has the server's own where it is an odd one."""
    host = headers.get("host", "")
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
