"""The store's database: connections that wait within limits, transactions, migrations. Knows SQLite's ways, and leaves
room for PostgreSQL's."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Self, TypeVar

import orjson
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from server.store.records import StoreDown
from server.store.segment import MODE

MIGRATIONS = Path(__file__).with_name("migrations")
DRIVERS = {"sqlite": "sqlite+aiosqlite"}
LOCKED_S = 2.0  # how long SQLite waits for another writer
READ_S = 5.0
WRITES = "smallfirst_writes"
TOGETHER = "PRAGMA journal_mode = WAL"  # who reads and who writes do not wait for each other
PRAGMAS = (
    "PRAGMA synchronous = FULL",  # what left the journal outlives the machine's end
    "PRAGMA secure_delete = ON",  # what is deleted can no longer be read in the file
)

Made = TypeVar("Made")


class Refused(Exception):
    """The database works, and does not take a record."""


class Database:
    """Made in a running event loop, and closed in it."""

    def __init__(self, url: str) -> None:
        self._url = with_driver(make_url(url))
        self._engine: AsyncEngine | None = None
        self._connecting = asyncio.Lock()
        self._preparing = asyncio.Lock()
        self._prepared = False

    @classmethod
    def of_others(cls, url: str) -> Self:
        """A database that is only read: its tables are left as they are, and none is made. Raises StoreDown where there
        is no such file."""
        database = cls(url)
        file = database._url.database
        if database._url.get_backend_name() == "sqlite" and not (file and Path(file).is_file()):
            raise StoreDown(f"there is no database {file}")
        database._prepared = True
        return database

    async def prepare(self) -> None:
        """Bring the tables to what this version knows; once is enough, and others may do the same at the same time.
        Raises StoreDown."""
        async with self._preparing:
            if not self._prepared:
                await asyncio.to_thread(import_module, "alembic.command")  # an eighth of a second
                async with self.writing() as connection:
                    await connection.run_sync(migrated)
                self._prepared = True

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes. Raises StoreDown, or Refused."""
        engine = await self._connected()
        async with translated(), engine.execution_options(**{WRITES: True}).begin() as connection:
            yield connection

    async def read(self, work: Callable[[AsyncConnection], Awaitable[Made]]) -> Made:
        """What the work makes of a transaction that only reads. Raises StoreDown, also where it takes too long."""
        try:
            async with asyncio.timeout(READ_S):
                await self.prepare()
                engine = await self._connected()
                async with translated(), engine.connect() as connection:
                    return await work(connection)
        except TimeoutError as late:
            raise StoreDown(f"the database did not answer within {READ_S:g} s") from late

    async def close(self) -> None:
        """Let go of all connections."""
        if self._engine is not None:
            await self._engine.dispose()

    async def _connected(self) -> AsyncEngine:
        async with self._connecting:
            if self._engine is None:
                self._engine = await asyncio.to_thread(new_engine, self._url)
            return self._engine


def new_engine(url: URL) -> AsyncEngine:
    """Connections to the database, which are made when they are needed. Raises StoreDown."""
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, json_serializer=as_json, json_deserializer=orjson.loads, hide_parameters=True)
    make_private(Path(url.database or ""))
    engine = create_async_engine(
        url,
        json_serializer=as_json,
        json_deserializer=orjson.loads,
        hide_parameters=True,
        connect_args={"timeout": LOCKED_S},
    )
    event.listen(engine.sync_engine, "connect", set_up_sqlite)
    event.listen(engine.sync_engine, "begin", begin_in_sqlite)
    return engine


def with_driver(url: URL) -> URL:
    """The URL with the driver that is used here. Raises ValueError for a database that is not known."""
    driver = DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise ValueError(f"{url.get_backend_name()!r} is no database that is known here: use sqlite:///…")
    return url.set(drivername=driver)


def make_private(file: Path) -> None:
    """A database that is not there yet is for its owner alone: it may hold texts. Raises StoreDown."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, MODE))
    except OSError as unwritable:
        raise StoreDown(f"{file}: {unwritable.strerror}") from unwritable


def set_up_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """Leave transactions to us: the driver would begin none for a change of tables."""
    connection.isolation_level = None
    cursor = connection.cursor()
    with contextlib.suppress(sqlite3.OperationalError):  # somebody else is at it: the mode is the file's own
        cursor.execute(TOGETHER)
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def begin_in_sqlite(connection: Connection) -> None:
    """Who writes waits for other writers at once, not in the middle, where SQLite could only fail."""
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def migrated(connection: Connection, to: str = "head") -> None:
    """Bring the tables to what this version knows, or to an earlier step, inside the connection's transaction. Raises
    StoreDown where a later version made them."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, to)
    except CommandError as unknown:
        raise StoreDown("the database was made by a later version of smallfirst") from unknown


def as_json(value: object) -> str:
    """JSON of records and of what is in them."""
    return orjson.dumps(value).decode()


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """SQLAlchemy's errors in our words, without what was to be written."""
    try:
        yield
    except (IntegrityError, DataError) as wrong:
        raise Refused(type(wrong).__name__) from wrong
    except DBAPIError as wrong:
        raise StoreDown(f"{type(wrong.orig).__name__}: {wrong.orig}") from wrong
    except (StatementError, OverflowError) as wrong:
        raise Refused(type(wrong).__name__) from wrong
    except SQLAlchemyError as wrong:
        raise StoreDown(type(wrong).__name__) from wrong
