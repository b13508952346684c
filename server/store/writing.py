"""Records to rows: each once, however often it is written, and counted in the same transaction."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from server.store.counting import NUMBERS, Counts, Slot, counted
from server.store.records import Audit, Decision, Feedback, Passed, Record
from server.store.tables import AUDITS, DECISIONS, FEEDBACK, PASSED, PLACES, USAGE

Row = dict[str, object]
Insert = postgresql.Insert | sqlite.Insert
TABLES: tuple[tuple[Table, type[Record]], ...] = ((DECISIONS, Decision), (PASSED, Passed), (FEEDBACK, Feedback))


async def write(connection: AsyncConnection, records: Sequence[Record]) -> None:
    """Write them all, in the connection's transaction; those that are there already are left as they are, and are not
    counted again. Everybody writes in the same order, so that nobody waits for somebody who waits for them."""
    ordered = sorted({record.id: record for record in records}.values(), key=lambda record: record.id)
    fresh: set[str] = set()
    for table, kind in TABLES:
        rows = [row_of(record, table) for record in ordered if isinstance(record, kind)]
        fresh |= await inserted(connection, table, rows)
    audits = [record for record in records if isinstance(record, Audit)]
    if audits:
        fresh |= await inserted(connection, AUDITS, await placed(connection, audits))
    await count(connection, counted(record for record in ordered if record.id in fresh))


def row_of(record: Record, table: Table, **more: object) -> Row:
    """A record's fields under the names of the table's columns."""
    known = [column.name for column in table.columns if column.name not in more]
    return {name: writable(getattr(record, name)) for name in known} | more


def writable(value: object) -> object:
    """The value, a text of it without the one character that PostgreSQL does not have in texts."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


async def inserted(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> set[str]:
    """Insert the rows whose ids are not there; their ids."""
    if not rows:
        return set()
    once = insertion(connection, table).on_conflict_do_nothing(index_elements=["id"]).returning(table.c.id)
    return set((await connection.execute(once, rows)).scalars())


def insertion(connection: AsyncConnection, table: Table) -> Insert:
    """An insertion as this database knows it."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


async def count(connection: AsyncConnection, sums: Mapping[Slot, Counts]) -> None:
    """Add these to what was counted before."""
    if not sums:
        return
    adding = insertion(connection, USAGE)
    more = {name: USAGE.c[name] + adding.excluded[name] for name in NUMBERS}
    rows = [
        {**{name: writable(part) for name, part in slot._asdict().items()},
         **{name: getattr(counts, name) for name in NUMBERS}}
        for slot, counts in sums.items()
    ]  # fmt: skip
    await connection.execute(adding.on_conflict_do_update(index_elements=list(Slot._fields), set_=more), rows)


async def placed(connection: AsyncConnection, audits: Sequence[Audit]) -> list[Row]:
    """The audits' rows, in places behind all that were given out. Who changes the last place holds it until the
    transaction ends, so that nobody sees a later place before an earlier one."""
    counting = update(PLACES).where(PLACES.c.table == AUDITS.name).values(last=PLACES.c.last + bindparam("more"))
    await connection.execute(counting, {"more": len(audits)})
    last: int = (await connection.execute(select(PLACES.c.last).where(PLACES.c.table == AUDITS.name))).scalar_one()
    first = last - len(audits) + 1
    return [row_of(audit, AUDITS, place=place) for place, audit in enumerate(audits, first)]
