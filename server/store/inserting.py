"""Records into their tables, each once, and which of them were not there before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Union

from sqlalchemy import JSON, String, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from server.store.connecting import as_json
from server.store.gently import each
from server.store.records import Record

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

PARAMETERS = 999  # of a statement of SQLite's, at least

Row = tuple[object, ...]
Insert = Union["postgresql.Insert", sqlite.Insert]


@dataclass(frozen=True)
class Filing:
    """How records of one kind become rows of a table: each column has the record's field of its name, and those that
    no record has come last (`more`)."""

    table: Table
    more: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Their names, in the order of a row; the first one is the id."""
        return (*self._known, *self.more)

    @cached_property
    def texts(self) -> tuple[int, ...]:
        """Which columns hold texts."""
        return self._places(String)

    @cached_property
    def trees(self) -> tuple[int, ...]:
        """Which columns hold JSON."""
        return self._places(JSON)

    def row(self, record: Record, *more: object) -> Row:
        """A record's row."""
        row = [*self._fields(record), *more]
        for place in self.texts:
            row[place] = writable(row[place])
        return tuple(row)

    @cached_property
    def _known(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.table.columns if column.name not in self.more)

    @cached_property
    def _fields(self) -> Callable[[Record], Row]:
        return attrgetter(*self._known)

    def _places(self, kind: type[JSON | String]) -> tuple[int, ...]:
        return tuple(place for place, name in enumerate(self.columns) if isinstance(self.table.c[name].type, kind))


def writable(value: object) -> object:
    """The value, a text of it without the one character that PostgreSQL does not have in texts."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


async def inserted(connection: AsyncConnection, filing: Filing, rows: Sequence[Row]) -> set[object]:
    """Insert the rows whose ids are not there; their ids."""
    if not rows:
        return set()
    if connection.dialect.name == "postgresql":
        return await inserted_beside_others(connection, filing, rows)
    return await inserted_alone(connection, filing, rows)


async def inserted_beside_others(connection: AsyncConnection, filing: Filing, rows: Sequence[Row]) -> set[object]:
    """The same where others may be inserting the same rows: only the insertion itself can tell."""
    insertion = insert_into(filing.table, connection.dialect.name)
    once = insertion.on_conflict_do_nothing(index_elements=["id"]).returning(filing.table.c.id)
    named = [dict(zip(filing.columns, row, strict=True)) for row in rows]
    return set((await connection.execute(once, named)).scalars())


async def inserted_alone(connection: AsyncConnection, filing: Filing, rows: Sequence[Row]) -> set[object]:
    """The same where nobody else writes during the transaction. It goes to the driver as it is: SQLAlchemy would take
    five times as long as SQLite itself."""
    ids = [row[0] for row in rows]
    there = set((await connection.exec_driver_sql(question(filing), (as_json(ids),))).scalars())
    told, several = await each(partial(plain, filing.trees), rows), most_at_once(filing)
    whole = len(told) - len(told) % several
    groups = [tuple(chain.from_iterable(told[first : first + several])) for first in range(0, whole, several)]
    for rows_at_once, given in ((several, groups), (1, told[whole:])):
        if given:
            await connection.exec_driver_sql(insertion(filing, rows_at_once), given)
    return set(ids) - there


def most_at_once(filing: Filing) -> int:
    """How many rows SQLite inserts as one statement: as many as any version of it has parameters for. The driver's
    thread lets go of Python for each statement, and waits for a busy event loop until it has it again."""
    return max(1, PARAMETERS // len(filing.columns))


def plain(trees: Sequence[int], row: Row) -> Row:
    """A row for a driver that knows no JSON."""
    told = list(row)
    for place in trees:
        if told[place] is not None:
            told[place] = as_json(told[place])
    return tuple(told)


def insert_into(table: Table, dialect: str) -> Insert:
    """An insertion that says what becomes of a row that is there, as this kind of database knows it."""
    if dialect != "postgresql":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # it takes a while, and most do not need it

    return postgresql.insert(table)


@cache
def question(filing: Filing) -> str:
    """SQLite's, after those of some ids that are there; they are one parameter, an array in JSON."""
    return f"SELECT id FROM {filing.table.name} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - our names


@cache
def insertion(filing: Filing, rows: int) -> str:
    """SQLite's, of so many rows; those that are there stay as they are."""
    columns, marks = ", ".join(f'"{name}"' for name in filing.columns), ", ".join("?" for _ in filing.columns)
    values = ", ".join([f"({marks})"] * rows)
    return f"INSERT INTO {filing.table.name} ({columns}) VALUES {values} ON CONFLICT (id) DO NOTHING"  # noqa: S608
