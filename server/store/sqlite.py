"""SQLite's ways: one file, for its owner alone, whose writers wait for each other at their beginning."""

import contextlib
import os
import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from server.store.connecting import WRITES, as_json, from_json
from server.store.records import StoreDown
from server.store.segment import MODE

DRIVER = "sqlite+aiosqlite"
LOCKED_S = 2.0  # how long one waits for another writer
TOGETHER = "PRAGMA journal_mode = WAL"  # who reads and who writes do not wait for each other
PRAGMAS = (
    "PRAGMA synchronous = FULL",  # what left the journal outlives the machine's end
    "PRAGMA secure_delete = ON",  # what is deleted can no longer be read in the file
)


def file_of(url: URL) -> Path:
    """The database's file."""
    return Path(url.database or "")


def new_engine(url: URL) -> AsyncEngine:
    """Connections to the file, which is made where it is missing. Raises StoreDown."""
    make_private(file_of(url))
    engine = create_async_engine(
        url.set(drivername=DRIVER),
        json_serializer=as_json,
        json_deserializer=from_json,
        hide_parameters=True,
        connect_args={"timeout": LOCKED_S},
    )
    event.listen(engine.sync_engine, "connect", set_up)
    event.listen(engine.sync_engine, "begin", begin)
    return engine


def make_private(file: Path) -> None:
    """A database that is not there yet is for its owner alone: it may hold texts. Raises StoreDown."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, MODE))
    except OSError as unwritable:
        raise StoreDown(f"{file}: {unwritable.strerror}") from unwritable


def set_up(connection: DBAPIConnection, _record: object) -> None:
    """Leave transactions to us: the driver would begin none for a change of tables."""
    connection.isolation_level = None
    cursor = connection.cursor()
    with contextlib.suppress(sqlite3.OperationalError):  # somebody else is at it: the mode is the file's own
        cursor.execute(TOGETHER)
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def begin(connection: Connection) -> None:
    """Who writes waits for other writers at once, not in the middle, where SQLite could only fail."""
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
