"""What is SQLite's own: a file that somebody else has locked, that is broken, or that nobody else may read."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from fakes.stores import count, decision, is_drained, make_tables, rows, running_store, store_of, until

from server.store.inserting import most_at_once
from server.store.keeper import running
from server.store.records import StoreDown, Texts
from server.store.writing import FILINGS

GROUP = most_at_once(FILINGS[0][0])


async def test_a_locked_database_blocks_nobody_and_loses_nothing(tmp_path: Path) -> None:
    await make_tables(tmp_path)
    with closing(sqlite3.connect(tmp_path / "smallfirst.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with running_store(tmp_path) as store:
            kept = [decision() for _ in range(50)]
            for one in kept:
                assert store.keeper.keep(one)
            await until(lambda: store.failures > 0)
            found = await store.keeper.find(kept[-1].request_id)
            assert count(tmp_path) == 0
            other.execute("COMMIT")
            await until(lambda: count(tmp_path) == 50)

    assert found is not None
    assert found.decision == kept[-1]


async def test_a_locked_database_can_be_read(tmp_path: Path) -> None:
    one = decision()
    async with running_store(tmp_path) as store:
        store.keeper.keep(one)
        await until(lambda: is_drained(tmp_path))
        with closing(sqlite3.connect(tmp_path / "smallfirst.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            store.keeper.keep(decision())
            await until(lambda: store.failures > 0)

            found = await store.keeper.find(one.id)
            other.execute("COMMIT")

    assert found is not None


async def test_a_gateway_ends_while_its_database_is_locked(tmp_path: Path) -> None:
    await make_tables(tmp_path)
    with closing(sqlite3.connect(tmp_path / "smallfirst.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(20):
            async with running_store(tmp_path) as store:
                store.keeper.keep(decision())
        assert not is_drained(tmp_path)
        other.execute("COMMIT")

    async with running_store(tmp_path):
        await until(lambda: count(tmp_path) == 1)


async def test_who_is_not_in_the_journal_of_a_broken_store_cannot_be_told_of(tmp_path: Path) -> None:
    (tmp_path / "smallfirst.db").write_bytes(b"no database at all" * 100)

    async with running_store(tmp_path) as store:
        one = decision()
        assert store.keeper.keep(one)
        await until(lambda: store.failures > 0)

        found = await store.keeper.find(one.id)
        assert found is not None
        with pytest.raises(StoreDown):
            await store.keeper.find("unknown")
        with pytest.raises(StoreDown):
            await store.keeper.audits_since("auto", 0)


async def test_nobody_else_can_read_the_database(tmp_path: Path) -> None:
    await make_tables(tmp_path)

    assert (tmp_path / "smallfirst.db").stat().st_mode & 0o077 == 0


async def test_what_is_too_old_can_no_longer_be_read_in_the_file(tmp_path: Path) -> None:
    store = store_of(tmp_path, keep_days=1)
    store.keeper.keep(decision(time=time.time() - 86400 * 9, texts=Texts(None, "a secret of old", {})))
    store.keeper.keep(decision(time=time.time()))

    async with running(store.keeper):
        await until(lambda: count(tmp_path) == 1 and is_drained(tmp_path))

    assert b"a secret of old" not in (tmp_path / "smallfirst.db").read_bytes()


@pytest.mark.parametrize("number", [1, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP + 2])
async def test_a_batch_of_any_size_is_written_whole_and_once(tmp_path: Path, number: int) -> None:
    kept = [decision(cost=float(place)) for place in range(number)]
    store = store_of(tmp_path)
    for _ in range(2):
        for one in kept:
            assert store.keeper.keep(one)
        await store.drain()
    await store.close()

    assert rows(tmp_path, "SELECT id, cost FROM decisions ORDER BY cost") == [(one.id, one.cost) for one in kept]
    assert rows(tmp_path, "SELECT sum(requests) FROM usage") == [(number,)]


def test_a_group_of_rows_has_no_more_parameters_than_any_sqlite_takes() -> None:
    assert all(1 < most_at_once(filing) * len(filing.columns) <= 999 for filing, _ in FILINGS)
