"""What a gateway knows of keys, and for how long, while others change them and the database comes and goes."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.keys import key_of
from fakes.stores import rows
from fakes.waiting import until
from starlette.datastructures import Headers

from server.access.guard import Keyholders
from server.access.key import Key, new_secret, written
from server.access.keyring import USED_EVERY_S, Keyring, kept_up
from server.access.refusal import NotAllowed
from server.store.database import Database
from server.store.keys import Changes, KeyTable
from server.store.records import StoreDown


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Flaky(KeyTable):
    """A table whose database can be taken away."""

    is_down = is_read_only = False
    asked = 0
    told: Changes | None = None

    async def changed_since(self, revision: int):
        self.asked += 1
        if self.is_down:
            raise StoreDown("gone")
        if self.told is not None:
            return self.told
        return await super().changed_since(revision)

    async def used(self, when) -> None:
        if self.is_read_only:
            raise StoreDown("read-only")
        await super().used(when)


@pytest.fixture
async def stage(tmp_path: Path):
    """A keyring, its table and clock, and the same table from elsewhere."""
    url = f"sqlite:///{tmp_path / 'smallfirst.db'}"
    databases = [Database(url), Database(url)]
    clock = Clock()
    table = Flaky(databases[0])
    yield Keyring(table, offline_s=60.0, clock=clock), table, clock, KeyTable(databases[1])
    for database in databases:
        await database.close()


async def added(table: KeyTable, secret: str | None = None, **fields) -> Key:
    made = key_of(secret or new_secret(), **fields)
    return await table.add(lambda: made)


async def test_what_is_changed_elsewhere_is_known_after_the_next_look(stage) -> None:
    keyring, _, _, elsewhere = stage
    await keyring.refresh()
    key = await added(elsewhere)
    assert keyring.find(key.id) is None

    await keyring.refresh()
    assert keyring.find(key.id) == (key, key.caller)
    await elsewhere.change(key.id, lambda old: replace(old, is_admin=True))
    await keyring.refresh()
    assert keyring.find(key.id)[1].is_admin
    await elsewhere.revoke(key.id)
    await keyring.refresh()
    assert keyring.find(key.id) is None


async def test_known_keys_outlive_the_database_for_as_long_as_was_said(stage) -> None:
    keyring, table, clock, elsewhere = stage
    secret = new_secret()
    key = await added(elsewhere, secret)
    guard = Keyholders(keyring)
    shown = Headers({"authorization": f"Bearer {written(key.id, secret)}"})
    with pytest.raises(NotAllowed) as unread:
        await guard.caller(shown)
    await keyring.refresh()

    table.is_down = True
    clock.now_s += 60.0
    with pytest.raises(StoreDown):
        await keyring.refresh()
    still = await guard.caller(shown)
    clock.now_s += 0.1
    with pytest.raises(NotAllowed) as too_long:
        await guard.caller(shown)
    table.is_down = False
    await keyring.refresh()

    assert still == key.caller == await guard.caller(shown)
    for refused in (unread, too_long):
        assert (refused.value.problem.status, refused.value.problem.code) == (503, "keys_unreadable")
        assert refused.value.problem.type == "server_error"


async def test_no_request_asks_the_database(stage) -> None:
    keyring, table, _, elsewhere = stage
    secret = new_secret()
    key = await added(elsewhere, secret)
    await keyring.refresh()
    guard, asked = Keyholders(keyring), table.asked

    await guard.caller(Headers({"x-api-key": written(key.id, secret)}))
    for _ in range(1000):
        with pytest.raises(NotAllowed):
            await guard.caller(Headers({"x-api-key": written(key_of("").id, new_secret())}))

    assert table.asked == asked


async def test_a_database_that_was_set_back_is_believed(stage) -> None:
    keyring, table, _, elsewhere = stage
    first, later = await added(elsewhere), await added(elsewhere)
    await keyring.refresh()
    assert keyring.find(later.id)

    table.told = Changes((first,), 1)
    await keyring.refresh()

    assert (keyring.find(first.id), keyring.find(later.id)) == ((first, first.caller), None)


async def test_the_last_use_is_told_once_a_minute(stage) -> None:
    keyring, _, clock, elsewhere = stage
    key = await added(elsewhere)
    await keyring.refresh()

    keyring.used(key.id)
    await keyring.tell_used_at_times()
    before = await elsewhere.find(key.id)
    clock.now_s += USED_EVERY_S
    await keyring.tell_used_at_times()
    after = await elsewhere.find(key.id)

    assert (before.last_used, after.last_used is None) == (None, False)


async def test_a_database_that_takes_no_writes_costs_no_last_use_and_is_not_said_to_be_unreadable(
    stage, capsys: pytest.CaptureFixture[str]
) -> None:
    keyring, table, clock, elsewhere = stage
    key = await added(elsewhere)
    await keyring.refresh()
    keyring.used(key.id)
    table.is_read_only = True
    clock.now_s += USED_EVERY_S

    async with kept_up(keyring):
        await until(lambda: "last uses of keys are not kept" in capsys.readouterr().out)
        table.is_read_only = False
        clock.now_s += USED_EVERY_S
        await keyring.tell_used_at_times()

    assert (await elsewhere.find(key.id)).last_used is not None


async def test_a_key_that_cannot_be_read_is_no_key_and_keeps_nobody_else_out(stage, tmp_path: Path) -> None:
    """A later version wrote it, which knows a mode that this one does not."""
    keyring, _, _, elsewhere = stage
    before, later = await added(elsewhere), await added(elsewhere)
    await keyring.refresh()
    await elsewhere.change(later.id, lambda key: replace(key, name="new"))
    rows(tmp_path, f"""UPDATE keys SET allowance = '{{"modes": ["unheard-of"]}}' WHERE id = '{later.id}'""")  # noqa: S608
    after = await added(elsewhere)

    await keyring.refresh()

    assert keyring.find(later.id) is None
    assert keyring.find(before.id) is not None
    assert keyring.find(after.id) is not None
    assert keyring.is_readable
    assert {key.id for key in await elsewhere.all()} == {before.id, after.id}


async def test_a_gateway_begins_without_the_database_and_tells_what_it_knows_at_the_end(stage) -> None:
    keyring, table, _, elsewhere = stage
    key = await added(elsewhere)

    table.is_down = True
    async with kept_up(keyring):
        assert not keyring.is_readable
        table.is_down = False
        await keyring.refresh()
        assert keyring.is_readable
        keyring.used(key.id)

    assert (await elsewhere.find(key.id)).last_used is not None
