"""The store's database: transactions within limits, over tables that are up to date. SQLite and PostgreSQL have modules
for what is their own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Self, TypeVar

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from server.settings.store import POSTGRESQL
from server.store import sqlite
from server.store.connecting import WRITES
from server.store.migrating import OLDER, LaterVersion, is_current, migrated
from server.store.records import StoreDown

READ_S = 5.0
WRITE_S = 30.0
MIGRATE_S = 3600.0
REFUSED = ("22", "23", "54")  # classes of SQLSTATE: a value, a constraint, a limit

Made = TypeVar("Made")


class Refused(Exception):
    """The database works, and does not take a record."""


class Database:
    """Made in a running event loop, and closed in it."""

    def __init__(self, url: str, *, write_s: float = WRITE_S) -> None:
        self._url = url
        self._write_s = write_s
        self._is_postgresql = url.startswith(POSTGRESQL)
        if not self._is_postgresql:
            refuse_unknown(url)
        self._engine: AsyncEngine | None = None
        self._connecting = asyncio.Lock()
        self._preparing: asyncio.Task[None] | None = None
        self._prepared = self._was_prepared = False
        self._is_others = False

    @classmethod
    def of_others(cls, url: str) -> Self:
        """A database that is only read: its tables are left as they are, and none is made. Raises StoreDown where there
        is no such file."""
        database = cls(url)
        if not database._is_postgresql and not sqlite.file_of(make_url(url)).is_file():
            raise StoreDown(f"there is no database {sqlite.file_of(make_url(url))}")
        database._is_others = True
        return database

    async def prepare(self) -> None:
        """Bring the tables to what this version knows; once is enough, and others may do the same at the same time. It
        goes on where who waits for it gives up. Raises StoreDown."""
        if self._prepared or self._is_others:
            return
        if self._preparing is None or self._preparing.done():
            self._preparing = asyncio.create_task(self._prepare())
            self._preparing.add_done_callback(heard)
        await asyncio.shield(self._preparing)

    async def _prepare(self) -> None:
        try:
            if not await self._is_current():
                await self._migrate()
        except LaterVersion:
            if not self._was_prepared:
                raise
            # We are being replaced, and may go on until then: versions only add.
        self._prepared = self._was_prepared = True

    async def _is_current(self) -> bool:
        async with in_time(self._write_s if self._is_postgresql else None):
            engine = await self._connected()
            async with translated(), engine.connect() as connection:
                return await connection.run_sync(is_current)

    async def _migrate(self) -> None:
        await asyncio.to_thread(import_module, "alembic.command")  # an eighth of a second
        async with self._transaction(MIGRATE_S) as connection:
            await connection.run_sync(migrated)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes. Raises StoreDown, or Refused."""
        try:
            async with self._transaction(self._write_s) as connection:
                yield connection
        except StoreDown:
            if self._is_postgresql:
                self._prepared = False  # it may be another one, or an empty one, when it is back
            raise

    async def read(self, work: Callable[[AsyncConnection], Awaitable[Made]]) -> Made:
        """What the work makes of a transaction that only reads. Raises StoreDown, also where it takes too long."""
        async with in_time(READ_S):
            await self.prepare()
            engine = await self._connected()
            async with translated(), engine.execution_options(**{OLDER: self._is_others}).connect() as connection:
                return await work(connection)

    async def close(self) -> None:
        """Let go of all connections."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.gather(self._preparing, return_exceptions=True)
        if self._engine is not None:
            await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self, within_s: float) -> AsyncIterator[AsyncConnection]:
        # SQLite is this machine's, and a thread that writes a file cannot be stopped.
        async with in_time(within_s if self._is_postgresql else None):
            engine = await self._connected()
            async with translated(), engine.execution_options(**{WRITES: True}).begin() as connection:
                yield connection

    async def _connected(self) -> AsyncEngine:
        async with self._connecting:
            if self._engine is None:
                self._engine = await asyncio.to_thread(new_engine, self._url)
            return self._engine


def new_engine(url: str) -> AsyncEngine:
    """Connections to the database, which are made when they are needed. Raises StoreDown."""
    if not url.startswith(POSTGRESQL):
        return sqlite.new_engine(make_url(url))
    from server.store import postgresql  # its driver takes a while, and most do not need it

    return postgresql.new_engine(url)


def refuse_unknown(url: str) -> None:
    """Raise ValueError for a database that is not known, without what the URL says."""
    try:
        known = make_url(url).get_backend_name() == "sqlite"
    except ArgumentError:
        known = False
    if not known:
        raise ValueError("no database that is known here: use sqlite:///… or postgresql://…")


def heard(ended: asyncio.Task[None]) -> None:
    """Whoever waited for it knows; where nobody did, the next one tries again."""
    if not ended.cancelled():
        ended.exception()


@asynccontextmanager
async def in_time(seconds: float | None) -> AsyncIterator[None]:
    """So long and no longer; None: as long as it takes. Raises StoreDown."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as late:
        raise StoreDown("the database did not answer in time") from late


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """SQLAlchemy's errors in our words, without what was to be written."""
    try:
        yield
    except DBAPIError as wrong:
        if is_refusal(wrong):
            raise Refused(type(wrong.orig).__name__) from wrong
        raise StoreDown(words_of(wrong)) from wrong
    except (StatementError, OverflowError) as wrong:
        raise Refused(type(wrong).__name__) from wrong
    except SQLAlchemyError as wrong:
        raise StoreDown(type(wrong).__name__) from wrong


def is_refusal(wrong: DBAPIError) -> bool:
    """Whether the database does not take what it was given, now or later."""
    return isinstance(wrong, IntegrityError | DataError) or str(getattr(wrong.orig, "sqlstate", "")).startswith(REFUSED)


def words_of(wrong: DBAPIError) -> str:
    """What the database says, in a line; what comes after it may be about values."""
    said = (wrong.orig and wrong.orig.__cause__) or wrong.orig
    first, _, _ = str(said).partition("\n")
    return f"{type(said).__name__}: {first}"
