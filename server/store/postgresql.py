"""PostgreSQL's ways: a few connections by a URL that is read as libpq reads it, and its errors without secrets."""

from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from server.store.connecting import WRITES, as_json, from_json
from server.store.records import StoreDown

DRIVER = "postgresql+asyncpg"
CONNECT_S = 5.0
CONNECTIONS, MORE = 4, 2
# How long a transaction waits for others' locks, and they for one that stands still. Its own settings: behind a pooler
# the connection is somebody else's afterwards.
LIMITS = (
    "SELECT set_config('lock_timeout', '10s', true), set_config('idle_in_transaction_session_timeout', '60s', true)"
)


def new_engine(url: str) -> AsyncEngine:
    """Connections that are made when they are needed, tried before they are used again, and kept for the next."""

    async def connected() -> asyncpg.Connection:
        try:
            return await asyncpg.connect(dsn_of(url), timeout=CONNECT_S)
        except TimeoutError as late:
            raise StoreDown(f"the database took no connection within {CONNECT_S:g} s") from late
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as failed:
            raise StoreDown(
                without_secret(f"{type(failed).__name__}: {failed}", url) + f" ({servers_of(url)})"
            ) from None
        except ValueError:
            raise StoreDown("the URL of the database cannot be read") from None

    engine = create_async_engine(
        f"{DRIVER}://",
        async_creator=connected,
        json_serializer=as_json,
        json_deserializer=from_json,
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=MORE,
        pool_timeout=CONNECT_S,
        pool_pre_ping=True,
    )
    event.listen(engine.sync_engine, "begin", begin)
    return engine


def dsn_of(url: str) -> str:
    """The URL, with a name by which a database's administrator knows who is connected."""
    if "application_name=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}application_name=smallfirst"


def servers_of(url: str) -> str:
    """The servers that a URL names."""
    return urlsplit(url).netloc.rpartition("@")[2] or "the server of the environment"


def without_secret(said: str, url: str) -> str:
    """The first line of what was said, less the URL's password, however it is written."""
    line, _, _ = said.partition("\n")
    secrets = [urlsplit(url).password or "", *parse_qs(urlsplit(url).query).get("password", [])]
    for written in filter(None, (*secrets, *map(unquote, secrets))):
        line = line.replace(written, "***")
    return line


def begin(connection: Connection) -> None:
    """Who writes holds up nobody for long."""
    if connection.get_execution_options().get(WRITES):
        connection.exec_driver_sql(LIMITS)
