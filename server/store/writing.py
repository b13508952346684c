"""Records to rows: each once, however often it is written."""

from collections.abc import Sequence

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from server.store.records import Audit, Decision, Feedback, Record
from server.store.tables import AUDITS, DECISIONS, FEEDBACK, PLACES

Row = dict[str, object]
Insert = postgresql.Insert | sqlite.Insert


async def write(connection: AsyncConnection, records: Sequence[Record]) -> None:
    """Write them all, in the connection's transaction; those that are there already are left as they are."""
    for table, kind in ((DECISIONS, Decision), (FEEDBACK, Feedback)):
        rows = [row_of(record, table) for record in records if isinstance(record, kind)]
        if rows:
            await connection.execute(once(connection, table), rows)
    audits = [record for record in records if isinstance(record, Audit)]
    if audits:
        await connection.execute(once(connection, AUDITS), await placed(connection, audits))


def row_of(record: Record, table: Table, **more: object) -> Row:
    """A record's fields under the names of the table's columns."""
    known = [column.name for column in table.columns if column.name not in more]
    return {name: writable(getattr(record, name)) for name in known} | more


def writable(value: object) -> object:
    """The value, a text of it without the one character that PostgreSQL does not have in texts."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def once(connection: AsyncConnection, table: Table) -> Insert:
    """An insertion that leaves rows of the same id alone."""
    insert: Insert = postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    return insert.on_conflict_do_nothing(index_elements=["id"])


async def placed(connection: AsyncConnection, audits: Sequence[Audit]) -> list[Row]:
    """The audits' rows, in places behind all that were given out. Who changes the last place holds it until the
    transaction ends, so that nobody sees a later place before an earlier one."""
    counting = update(PLACES).where(PLACES.c.table == AUDITS.name).values(last=PLACES.c.last + bindparam("more"))
    await connection.execute(counting, {"more": len(audits)})
    last: int = (await connection.execute(select(PLACES.c.last).where(PLACES.c.table == AUDITS.name))).scalar_one()
    first = last - len(audits) + 1
    return [row_of(audit, AUDITS, place=place) for place, audit in enumerate(audits, first)]
