"""What tells who may ask, open for as long as the gateway runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from starlette.datastructures import Headers

from server.access.caller import Caller
from server.access.guard import Everybody, Guard, Keyholders, ThisMachine, Tokens, refuse_others
from server.access.keyring import Keyring, kept_up
from server.settings.access import OidcSettings
from server.settings.reading import SettingsError
from server.settings.schema import Settings
from server.store.database import Database
from server.store.home import Home, home_of
from server.store.keys import KeyTable

FETCH_S = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Keys:
    """Where keys are kept, and what the gateway knows of them."""

    table: KeyTable
    keyring: Keyring


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask, and who may administer; the keys, where there are any."""

    guard: Guard
    operators: Guard
    keys: Keys | None = None

    async def operator(self, headers: Headers) -> Caller:
        """Which operator sent a request with these headers. Raises NotAllowed."""
        return refuse_others(await self.operators.caller(headers))


@asynccontextmanager
async def guarded(settings: Settings, state: Path | None) -> AsyncIterator[Access]:
    """What the settings want. Raises SettingsError where there is no place for keys."""
    if settings.server.auth != "keys":
        if settings.server.auth == "none":
            log.warning("WITHOUT KEYS: whoever reaches this gateway may ask (auth: none)", host=settings.server.host)
        yield Access(Everybody() if settings.server.auth == "none" else ThisMachine(), ThisMachine())
        return
    database = Database(home_of_keys(settings, state).url)
    try:
        table = KeyTable(database)
        async with (
            kept_up(Keyring(table, offline_s=settings.server.keys_offline_s)) as keyring,
            tokens_of(settings.server.oidc) as tokens,
        ):
            guard = Keyholders(keyring, tokens)
            yield Access(guard, guard, Keys(table, keyring))
    finally:
        await database.close()


@asynccontextmanager
async def tokens_of(oidc: OidcSettings | None) -> AsyncIterator[Tokens | None]:
    """Who tells whose token it is; nobody where none are taken."""
    if oidc is None:
        yield None
        return
    import aiohttp  # it and cryptography cost a tenth of a second each

    from server.access.provider import Provider
    from server.access.tokens import ProvidersTokens

    limits = aiohttp.ClientTimeout(total=FETCH_S)
    async with aiohttp.ClientSession(timeout=limits, cookie_jar=aiohttp.DummyCookieJar()) as session:
        provider = Provider(oidc.issuer, oidc.jwks_url, session)
        async with provider.kept_up():
            yield ProvidersTokens(provider, oidc)


def home_of_keys(settings: Settings, state: Path | None) -> Home:
    """The store that the keys are in. Raises SettingsError."""
    home = home_of(settings.store, state)
    if home is None:
        raise SettingsError(["store.folder: there is no place for keys: name a folder"])
    return home
