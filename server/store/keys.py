"""Keys in the store's database: their changes in one order, so that whoever has read one has all those before it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.access.key import Key
from server.store.asking import fields_of
from server.store.database import Database
from server.store.tables import KEYS, PLACES

MOST_KEYS = 100_000  # that are not revoked: each gateway has all of them in memory

KEY: TypeAdapter[Key] = TypeAdapter(Key)


class NoSuchKey(Exception):
    """There is no key of that id, or it was revoked."""


class TooManyKeys(Exception):
    """There are as many as may be."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys that changed behind a revision, and the last revision that there is; `unreadable` are the ids of those whose
    rows say what is not known here: a later version may have written them."""

    keys: tuple[Key, ...]
    last: int
    unreadable: tuple[str, ...] = ()


class KeyTable:
    """The keys. All methods raise StoreDown where the database cannot be had."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def changed_since(self, revision: int) -> Changes:
        """All keys that changed behind it, revoked ones too."""

        async def work(connection: AsyncConnection) -> Changes:
            last = (await connection.execute(select(PLACES.c.last).where(PLACES.c.table == KEYS.name))).scalar_one()
            if last == revision:
                return Changes((), last)
            # A database that was set back to an older state has fewer revisions than were seen: all is read again.
            behind = revision if last > revision else 0
            keys, unreadable = await keys_in(connection, behind, last)
            return Changes(keys, last, unreadable)

        return await self._database.read(work)

    async def all(self) -> Sequence[Key]:
        """All keys that can be read, revoked ones too, in the order of their making."""
        keys, _ = await self._database.read(lambda connection: keys_in(connection, 0, None))
        return sorted(keys, key=lambda key: (key.created, key.id))

    async def find(self, identity: str) -> Key | None:
        """The key of that id, which may be revoked."""
        return await self._database.read(lambda connection: key_of(connection, identity))

    async def add(self, make: Callable[[], Key]) -> Key:
        """Keep the key that is made; another one, where its id is taken. Raises TooManyKeys."""
        await self._database.prepare()
        async with self._database.writing() as connection:
            revision = await next_revision(connection)  # first: it holds up whoever else adds a key
            counted = select(func.count()).select_from(KEYS).where(KEYS.c.revoked.is_(None))
            if (await connection.execute(counted)).scalar_one() >= MOST_KEYS:
                raise TooManyKeys(f"there are {MOST_KEYS} keys already: revoke some")
            key = make()
            while await key_of(connection, key.id) is not None:
                key = make()
            await connection.execute(insert(KEYS).values(row_of(key, revision)))
        return key

    async def change(self, identity: str, changed: Callable[[Key], Key]) -> Key:
        """Put another key in the place of the one of that id. Raises NoSuchKey; a revoked one stays so."""
        await self._database.prepare()
        async with self._database.writing() as connection:
            revision = await next_revision(connection)  # first: it holds up whoever else changes a key
            key = await key_of(connection, identity)
            if key is None or key.revoked is not None:
                raise NoSuchKey(identity)
            new = replace(changed(key), id=key.id)
            await connection.execute(update(KEYS).where(KEYS.c.id == identity).values(row_of(new, revision)))
        return new

    async def revoke(self, identity: str) -> Key:
        """End a key for good. Raises NoSuchKey."""
        return await self.change(identity, lambda key: replace(key, revoked=time.time()))

    async def used(self, when: Mapping[str, float]) -> None:
        """Keys were used at these times; that is no change of theirs."""
        if not when:
            return
        later = KEYS.c.last_used.is_(None) | (KEYS.c.last_used < bindparam("at"))
        told = update(KEYS).where(KEYS.c.id == bindparam("key"), later).values(last_used=bindparam("at"))
        async with self._database.writing() as connection:
            # In one order, so that no two gateways wait for each other.
            await connection.execute(told, [{"key": key, "at": when[key]} for key in sorted(when)])


async def next_revision(connection: AsyncConnection) -> int:
    """One behind all that were given out; nobody else gets one until the transaction has ended."""
    counting = update(PLACES).where(PLACES.c.table == KEYS.name).values(last=PLACES.c.last + 1)
    await connection.execute(counting)
    revision: int = (await connection.execute(select(PLACES.c.last).where(PLACES.c.table == KEYS.name))).scalar_one()
    return revision


async def keys_in(
    connection: AsyncConnection, behind: int, last: int | None
) -> tuple[tuple[Key, ...], tuple[str, ...]]:  # fmt: skip
    """The keys with revisions behind the first and up to the last, and the ids of those that cannot be read."""
    wanted = select(KEYS).where(KEYS.c.revision > behind)
    if last is not None:
        wanted = wanted.where(KEYS.c.revision <= last)
    return told(fields_of(row) for row in await connection.execute(wanted.order_by(KEYS.c.revision)))


async def key_of(connection: AsyncConnection, identity: str) -> Key | None:
    """The key of that id."""
    rows = await connection.execute(select(KEYS).where(KEYS.c.id == identity))
    return next(iter(told(fields_of(row) for row in rows)[0]), None)


def told(rows: Iterable[Mapping[str, object]]) -> tuple[tuple[Key, ...], tuple[str, ...]]:
    """Keys as they stand in their rows, and the ids of those that cannot be read: one must not keep all others out."""
    keys, unreadable = list[Key](), list[str]()
    for row in rows:
        try:
            keys.append(KEY.validate_python({name: row[name] for name in row if name != "revision"}))
        except ValidationError:
            unreadable.append(str(row["id"]))
    return tuple(keys), tuple(unreadable)


def row_of(key: Key, revision: int) -> dict[str, object]:
    """A key's row."""
    fields = {column.name: getattr(key, column.name) for column in KEYS.columns if column.name not in CHANGED}
    return {**fields, "revision": revision, "allowance": KEY.dump_python(key, mode="json")["allowance"]}


CHANGED = ("revision", "allowance")
