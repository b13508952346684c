"""Records to rows: each once, however often it is written, and counted in the same transaction."""

from collections.abc import Mapping, Sequence
from functools import cache

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.store.counting import NUMBERS, Counts, Slot, added, counts_of
from server.store.gently import each
from server.store.inserting import Filing, Insert, Row, insert_into, inserted, writable
from server.store.records import Audit, Decision, Feedback, Passed, Record
from server.store.tables import AUDITS, DECISIONS, FEEDBACK, PASSED, PLACES, USAGE

FILINGS: tuple[tuple[Filing, type[Record]], ...] = (
    (Filing(DECISIONS), Decision),
    (Filing(PASSED), Passed),
    (Filing(FEEDBACK), Feedback),
)
OF_AUDITS = Filing(AUDITS, more=("place",))


async def write(connection: AsyncConnection, records: Sequence[Record]) -> None:
    """Write them all, in the connection's transaction; those that are there already are left as they are, and are not
    counted again. Everybody writes in the same order, so that nobody waits for somebody who waits for them."""
    ordered = sorted({record.id: record for record in records}.values(), key=lambda record: record.id)
    fresh: set[object] = set()
    for filing, kind in FILINGS:
        rows = await each(filing.row, [record for record in ordered if isinstance(record, kind)])
        fresh |= await inserted(connection, filing, rows)
    audits = [record for record in records if isinstance(record, Audit)]
    if audits:
        fresh |= await inserted(connection, OF_AUDITS, await placed(connection, audits))
    await count(connection, added(await each(counts_of, [record for record in ordered if record.id in fresh])))


async def count(connection: AsyncConnection, sums: Mapping[Slot, Counts]) -> None:
    """Add these to what was counted before."""
    if not sums:
        return
    rows = [
        {**{name: writable(part) for name, part in slot._asdict().items()},
         **{name: getattr(counts, name) for name in NUMBERS}}
        for slot, counts in sums.items()
    ]  # fmt: skip
    await connection.execute(adding(connection.dialect.name), rows)


@cache
def adding(dialect: str) -> Insert:
    """What adds to a day's usage, as this kind of database knows it."""
    first = insert_into(USAGE, dialect)
    more = {name: USAGE.c[name] + first.excluded[name] for name in NUMBERS}
    return first.on_conflict_do_update(index_elements=list(Slot._fields), set_=more)


async def placed(connection: AsyncConnection, audits: Sequence[Audit]) -> list[Row]:
    """The audits' rows, in places behind all that were given out. Who changes the last place holds it until the
    transaction ends, so that nobody sees a later place before an earlier one."""
    counting = update(PLACES).where(PLACES.c.table == AUDITS.name).values(last=PLACES.c.last + bindparam("more"))
    await connection.execute(counting, {"more": len(audits)})
    last: int = (await connection.execute(select(PLACES.c.last).where(PLACES.c.table == AUDITS.name))).scalar_one()
    first = last - len(audits) + 1
    return [OF_AUDITS.row(audit, place) for place, audit in enumerate(audits, first)]
