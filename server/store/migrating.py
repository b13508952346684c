"""Brings a database's tables to what this version knows, and reads those that an earlier one made."""

from pathlib import Path

from sqlalchemy import Column, Connection, Table, column, func, inspect, select, table
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.store.records import StoreDown

MIGRATIONS = Path(__file__).with_name("migrations")
OLDER = "smallfirst_may_be_older"  # of a connection: that nobody brought its tables up to date
VERSION = table("alembic_version", column("version_num"))  # alembic's own table: the step that was taken last
LOCK = 0x736D616C6C666972  # "smallfir": in PostgreSQL, whoever changes the tables holds it


class LaterVersion(StoreDown):
    """A later version of ours made the tables, and nobody knows here what it means by them."""


def newest() -> str:
    """The last step that this version knows, by the names of the migrations' files."""
    return max(file.stem for file in (MIGRATIONS / "versions").glob("r*_*.py")).partition("_")[0].removeprefix("r")


def is_current(connection: Connection) -> bool:
    """Whether the tables are what this version knows. It is asked at each start, so it goes without alembic, which
    takes an eighth of a second and 7 MB."""
    if not inspect(connection).has_table(VERSION.name):
        return False
    return list(connection.execute(select(VERSION.c.version_num)).scalars()) == [newest()]


def migrated(connection: Connection, to: str = "head") -> None:
    """Bring the tables to what this version knows, or to an earlier step, inside the connection's transaction: all or
    nothing. Raises LaterVersion where one made them."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    wait_for_turn(connection)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, to)
    except CommandError as unknown:
        raise LaterVersion("the database was made by a later version of smallfirst") from unknown


def wait_for_turn(connection: Connection) -> None:
    """Be the only one who changes the tables, until the transaction ends; in SQLite whoever writes is."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(LOCK)))


async def known_columns(connection: AsyncConnection, table: Table) -> list[Column[object]]:
    """The table's columns, but for those that an earlier version did not have, where the database may be one's. Raises
    StoreDown where there is no such table."""
    there = connection.sync_connection
    if there is None or not there.get_execution_options().get(OLDER):
        return list(table.columns)
    try:
        found = await connection.run_sync(lambda sync: {one["name"] for one in inspect(sync).get_columns(table.name)})
    except NoSuchTableError as none:
        raise StoreDown(f"no such table: {table.name}; no gateway has kept anything there yet") from none
    return [column for column in table.columns if column.name in found]
