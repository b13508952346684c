"""Keys in the store: what is kept of them, and that every reader sees each change once, in order."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.stores import everything_in, rows

from server.access.caller import Allowance
from server.access.key import Key, digest_of, new_id, new_salt, new_secret, parts_of, written
from server.store.database import Database
from server.store.keys import KeyTable, NoSuchKey
from server.store.records import StoreDown

EVERYTHING = Allowance(
    frozenset({"auto", "small"}), frozenset({"certified", "exact"}), 60, 100_000, 4, 1.5, 30.0, priority=3
)


def key(**fields) -> Key:
    """A key of which nothing is odd but these fields."""
    plain = {"id": new_id(), "name": "app", "digest": digest_of(new_secret()), "salt": new_salt(), "created": 1e9}
    return Key(**{**plain, **fields})


@pytest.fixture
async def table(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path / 'smallfirst.db'}")
    yield KeyTable(database)
    await database.close()


async def test_a_key_comes_back_as_it_was_kept(table: KeyTable) -> None:
    whole = key(allowance=EVERYTHING, task="sums", is_admin=True, expires=2e9, old_digest="0" * 64, old_until=3e9)
    plain = key(created=2e9)

    for one in (whole, plain):
        await table.add(lambda one=one: one)

    assert list(await table.all()) == [whole, plain]
    assert await table.find(plain.id) == plain
    assert await table.find("sf-nothing0") is None


async def test_a_taken_id_is_not_given_out_again(table: KeyTable) -> None:
    first = await table.add(key)
    drawn = iter([key(id=first.id), key(id=first.id), key(id="sf-00000001")])

    second = await table.add(lambda: next(drawn))

    assert second.id == "sf-00000001"
    assert await table.find(first.id) == first


async def test_who_has_read_one_change_has_read_all_before_it(table: KeyTable) -> None:
    first, second = [await table.add(key) for _ in range(2)]

    changes = await table.changed_since(0)
    nothing = await table.changed_since(changes.last)
    await table.revoke(first.id)
    later = await table.changed_since(changes.last)

    assert set(changes.keys) == {first, second}
    assert nothing.keys == ()
    assert [(one.id, one.revoked is not None) for one in later.keys] == [(first.id, True)]
    assert later.last == changes.last + 1


async def test_changes_at_one_time_are_all_kept(table: KeyTable) -> None:
    one = await table.add(lambda: key(allowance=Allowance(priority=0)))

    async def raise_priority() -> None:
        await table.change(
            one.id, lambda old: replace(old, allowance=replace(old.allowance, priority=old.allowance.priority + 1))
        )

    await asyncio.gather(*(raise_priority() for _ in range(10)))

    found = await table.find(one.id)
    assert found is not None
    assert found.allowance.priority == 10
    assert (await table.changed_since(0)).last == 11


async def test_a_database_that_was_set_back_is_read_anew(table: KeyTable) -> None:
    one = await table.add(key)

    assert (await table.changed_since(1000)).keys == (one,)


async def test_a_revoked_key_cannot_be_changed(table: KeyTable) -> None:
    one = await table.add(key)
    await table.revoke(one.id)

    with pytest.raises(NoSuchKey):
        await table.change(one.id, lambda old: replace(old, revoked=None))
    with pytest.raises(NoSuchKey):
        await table.revoke("sf-nothing0")

    found = await table.find(one.id)
    assert found is not None
    assert found.revoked is not None


async def test_the_last_use_only_moves_forward_and_is_no_change(table: KeyTable) -> None:
    one = await table.add(key)
    before = (await table.changed_since(0)).last

    for at in (50.0, 70.0, 60.0):
        await table.used({one.id: at, "sf-nothing0": at})
    await table.used({})

    found = await table.find(one.id)
    assert found is not None
    assert found.last_used == 70.0
    assert (await table.changed_since(0)).last == before


async def test_no_file_of_the_store_has_the_secret(table: KeyTable, tmp_path: Path) -> None:
    secret = new_secret()
    await table.add(lambda: key(digest=digest_of(secret)))

    assert secret.encode() not in everything_in(tmp_path)
    assert rows(tmp_path, "SELECT digest FROM keys") == [(digest_of(secret),)]


async def test_a_database_that_cannot_be_opened_is_said_to_be_down(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    table = KeyTable(Database(f"sqlite:///{tmp_path / 'file' / 'smallfirst.db'}"))

    with pytest.raises(StoreDown):
        await table.changed_since(0)
    with pytest.raises(StoreDown):
        await table.add(key)


def test_a_secret_is_its_keys_alone() -> None:
    secret, now = new_secret(), time.time()
    one = key(digest=digest_of(secret))

    assert one.is_of(secret, now)
    assert not any(one.is_of(other, now) for other in (new_secret(), secret[:-1], secret + "A", "", secret.swapcase()))


def test_the_secret_before_is_good_for_as_long_as_was_said() -> None:
    old, now = new_secret(), time.time()
    one = key(old_digest=digest_of(old), old_until=now + 10)

    assert one.is_of(old, now + 9.9)
    assert not one.is_of(old, now + 10)
    assert not key(old_digest=digest_of(old)).is_of(old, now)


@pytest.mark.parametrize(
    "given",
    ["", "sf-", "sf-aaaaaaaa", "sf-aaaaaaaa-", "sf-AAAAAAAA-" + "a" * 43, "sf-aaaaaaaa-" + "a" * 42, "sf-aaaaaaaa-"
     + "a" * 44, "sf-aaaaaaaa-" + "ä" * 43, "sf-aaaaaaaa-" + "a" * 42 + "\n", "sk-aaaaaaaa-" + "a" * 43, "sf-٠aaaaaaa-"
     + "a" * 43],
)  # fmt: skip
def test_what_is_no_key_is_none(given: str) -> None:
    assert parts_of(given) is None


def test_a_key_is_its_id_and_its_secret() -> None:
    identity, secret = new_id(), new_secret()

    assert parts_of(written(identity, secret)) == (identity, secret)
    assert len({new_id() for _ in range(1000)}) == 1000
