"""The store itself, over real databases of both kinds: everything once, nobody blocked, nothing older than wanted."""

import asyncio
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fakes.stores import Place, audit, count, decision, is_drained, make_tables, rows, running_store, store_of, until
from sqlalchemy import Connection, MetaData, Table, inspect, text

from server.store.database import Database, migrated
from server.store.finding import find
from server.store.keeper import running
from server.store.records import Evidence, Feedback, Step, StoreDown, Texts, new_id
from server.store.segment import SUFFIX
from server.store.tables import DECISIONS, METADATA

EARLIER = [column.name for column in DECISIONS.c if column.name not in ("verdict", "key", "cluster")]
WHOLE = decision(
    steps=(
        Step("small", "unsure", -0.5, 0.6, 10, 3, False, 0.1, 0.2, 0.1, 24, ({"p-true": 0.3}, {"p-true": 1.0}), 0.4),
        Step("large"),
    ),
    confidence=0.6, confidence_of="uncalibrated", score=-0.5, threshold=0.7, failure="timeout", task="sums",
    propensity=0.01, artefact="a1", verdict=0.4, key="key-1", first_byte_s=0.1, streamed=True,
    evidence=(Evidence("small", 3, (-0.5, None, 0.0), ("a", "b", "\x00")),),
    texts=Texts({"messages": [{"role": "user", "content": "ünï\n'; DROP TABLE decisions --"}]}, "yes", {"small": "no"}),
)  # fmt: skip


async def test_a_decision_comes_back_as_it_was_kept(place: Place) -> None:
    async with running_store(place) as store:
        for one in (WHOLE, decision()):
            assert store.keeper.keep(one)
            fresh = await store.keeper.find(one.response_id)
            await until(lambda: count(place) > 0 and is_drained(place))
            stored = await store.keeper.find(one.request_id)

            assert fresh is not None
            assert stored is not None
            assert (fresh.decision, stored.decision) == (one, one)


async def test_what_was_not_drained_is_drained_by_the_next_process(place: Place) -> None:
    first = store_of(place)
    for _ in range(3):
        first.keeper.keep(decision())
    first.journal.close()  # as the end of a process does

    async with running_store(place):
        await until(lambda: count(place) == 3)


async def test_what_is_drained_twice_is_there_once(place: Place) -> None:
    """A process that is killed between the store's commit and the journal's leaves what is in both."""
    store = store_of(place)
    for record in (decision(), audit(), Feedback(new_id(), "x", 1.0)):
        store.keeper.keep(record)
    (segment,) = place.journal.iterdir()
    copy = place.folder / "copy"
    shutil.copy(segment, copy)
    await store.close()
    (place.journal / "1-killed.jsonl").write_bytes(copy.read_bytes())

    async with running_store(place) as second:
        await until(lambda: is_drained(place))

    assert second.dropped("refused") == 0
    assert [count(place, table) for table in ("decisions", "audits", "feedback")] == [1, 1, 1]


async def test_lines_that_are_no_records_hold_up_nothing(place: Place) -> None:
    store = store_of(place)
    odd = (b"not json\n", b"{}\n", b'{"decision":{}}\n', b'{"wish":{}}\n', b"[1]\n", b"\xff\n", b'{"decision":7}\n')
    for line in odd:
        store.journal.append(line)
    store.keeper.keep(decision())

    await store.close()

    assert count(place) == 1
    assert store.dropped("torn") == len(odd)


async def test_a_journal_file_that_cannot_be_opened_stops_nothing(place: Place) -> None:
    (place.journal / f"0-x{SUFFIX}").mkdir(parents=True)
    one = decision()

    async with running_store(place) as store:
        assert store.keeper.keep(one)
        await until(lambda: count(place) == 1)
        found = await store.keeper.find(one.id)

        assert found is not None
        assert await store.keeper.find("unknown") is None
        assert store.failures == 0


async def test_a_record_of_a_later_version_is_kept_as_far_as_it_is_known(place: Place) -> None:
    store = store_of(place)
    store.journal.append(b'{"feedback":{"id":"1","about":"x","time":1.0,"mood":"good"}}\n')

    await store.close()

    assert rows(place, "SELECT about, score FROM feedback") == [("x", None)]


async def test_a_record_that_the_database_refuses_holds_up_nothing(place: Place) -> None:
    store = store_of(place)
    store.keeper.keep(audit(draft_tokens=2**63))  # an integer that SQLite does not have
    store.keeper.keep(audit())
    store.keeper.keep(decision())

    await store.close()

    assert (count(place, "audits"), count(place)) == (1, 1)
    assert store.dropped("refused") == 1


async def test_a_character_that_a_database_does_not_have_is_replaced(place: Place) -> None:
    store = store_of(place)
    store.keeper.keep(Feedback("1", "x", 1.0, correction="a\x00b"))
    store.keeper.keep(decision(task="a\x00b"))

    await store.close()

    assert rows(place, "SELECT correction FROM feedback") == [("a\ufffdb",)]
    assert rows(place, "SELECT task FROM decisions") == [("a\ufffdb",)]
    assert store.dropped("refused") == 0


async def test_a_record_that_is_no_json_is_counted_and_nothing_more(place: Place) -> None:
    store = store_of(place)

    assert store.keeper.keep(audit(draft_tokens=2**70)) is False
    assert store.keeper.keep(Feedback(new_id(), "\ud800", 1.0)) is False
    assert store.dropped("unwritable") == 2
    await store.close()


async def test_feedback_leaves_room_in_the_journal_for_what_was_used(tmp_path: Path) -> None:
    """Nobody's limits count feedback, and what was used is what callers pay for."""
    store = store_of(tmp_path, max_bytes=100_000)

    said = [store.keeper.keep(Feedback(new_id(), "x", 1.0, correction="y" * 1000)) for _ in range(1000)]
    used = [store.keeper.keep(decision()) for _ in range(50)]
    await store.close()

    assert 10 < sum(said) < 50
    assert all(used)


async def test_a_full_journal_drops_the_newest_and_goes_on_when_there_is_room(place: Place) -> None:
    store = store_of(place, max_bytes=4000)

    kept = [store.keeper.keep(decision()) for _ in range(10)]
    await store.drain()

    assert kept == sorted(kept, reverse=True)
    assert 0 < sum(kept) < 10
    assert store.dropped("full") == 10 - sum(kept)
    assert count(place) == sum(kept)
    assert store.keeper.keep(decision())
    await store.close()


async def test_the_database_of_a_later_version_is_left_alone(place: Place) -> None:
    await make_tables(place)
    rows(place, "UPDATE alembic_version SET version_num = '9999'")

    async with running_store(place) as store:
        store.keeper.keep(decision())
        await until(lambda: store.failures > 0)

    assert count(place) == 0
    assert not is_drained(place)


async def test_the_database_of_an_earlier_version_is_brought_up_to_date(place: Place) -> None:
    old, fresh = decision(), decision(key="key-1", verdict=0.5)
    database = Database(place.url)
    async with database.writing() as connection:
        await connection.run_sync(migrated, "0001")
        known = Table("decisions", MetaData(), *(DECISIONS.c[name]._copy() for name in EARLIER))
        values = {name: value for name, value in asdict(old).items() if name in EARLIER}
        await connection.execute(known.insert(), {**values, "steps": [{"tier": "small", "reason": "sure"}]})
    await database.close()

    async with running_store(place) as store:
        store.keeper.keep(fresh)
        await until(lambda: count(place) == 2)
        found = [await store.keeper.find(one.id) for one in (old, fresh)]

    assert [one and one.decision for one in found] == [replace(old, steps=(Step("small", "sure"),)), fresh]


async def test_a_line_of_an_earlier_version_is_read(place: Place) -> None:
    one = decision(steps=(Step("small", "sure"),))
    said = asdict(one)
    for later in ("verdict", "key"):
        del said[later]
    for later in ("opinions", "verdict"):
        del said["steps"][0][later]
    store = store_of(place)
    store.journal.append(orjson.dumps({"decision": said}) + b"\n")
    await store.drain()

    found = await store.keeper.find(one.id)

    await store.close()
    assert found is not None
    assert found.decision == one


async def test_tables_that_could_not_be_changed_whole_are_left_as_they_were(place: Place) -> None:
    database = Database(place.url)
    async with database.writing() as connection:
        await connection.run_sync(migrated, "0001")
        await connection.execute(text("CREATE INDEX decisions_by_key ON decisions (tier)"))

    with pytest.raises(StoreDown, match="decisions_by_key"):
        await database.prepare()
    half = rows(place, "SELECT version_num FROM alembic_version"), await columns(database)
    rows(place, "DROP INDEX decisions_by_key")
    await database.prepare()
    whole = await columns(database)
    await database.close()

    assert half == ([("0001",)], set(EARLIER))
    assert whole == {column.name for column in DECISIONS.c}


async def columns(database: Database) -> set[str]:
    """Those that the table of decisions has."""
    async with database.writing() as connection:
        found = await connection.run_sync(lambda there: inspect(there).get_columns("decisions"))
    return {column["name"] for column in found}


async def test_what_an_earlier_version_made_can_be_read_without_changing_it(place: Place) -> None:
    database = Database(place.url)
    one = decision()
    async with database.writing() as connection:
        await connection.run_sync(migrated, "0001")
        known = Table("decisions", MetaData(), *(DECISIONS.c[name]._copy() for name in EARLIER))
        await connection.execute(known.insert(), {name: getattr(one, name) for name in EARLIER})
    await database.close()

    reader = Database.of_others(place.url)
    found = await find(one.id, reader, place.journal)
    await reader.close()

    assert found is not None
    assert found.decision == one
    assert rows(place, "SELECT version_num FROM alembic_version") == [("0001",)]


async def test_many_may_make_the_tables_at_once(place: Place) -> None:
    databases = [Database(place.url) for _ in range(5)]

    await asyncio.gather(*(database.prepare() for database in databases))

    for database in databases:
        await database.close()
    assert rows(place, "SELECT * FROM places") == [("audits", 0), ("keys", 0)]


async def test_the_migrations_make_the_tables_that_the_code_has(place: Place) -> None:
    await make_tables(place)
    database = Database(place.url)

    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA)

    found = await database.read(lambda connection: connection.run_sync(differences))

    await database.close()
    assert found == []


async def test_what_two_gateways_drain_at_once_is_there_once(place: Place, tmp_path: Path) -> None:
    """Two machines of which one was copied from the other, say: all that they have is the same."""
    stores = [store_of(Place(tmp_path / name, place.url)) for name in ("one", "other")]
    await make_tables(place)
    for record in [decision() for _ in range(300)] + [audit() for _ in range(300)]:
        for store in stores:
            assert store.keeper.keep(record)

    await asyncio.gather(*(store.drain() for store in stores))

    for store in stores:
        await store.close()
    assert [count(place, table) for table in ("decisions", "audits")] == [300, 300]
    assert rows(place, "SELECT count(DISTINCT place) FROM audits") == [(300,)]
    assert [store.failures for store in stores] == [0, 0]


async def test_audits_from_before_there_were_clusters_are_of_none(place: Place) -> None:
    store, kept = store_of(place), audit()
    store.keeper.keep(kept)
    await store.close()
    for table in ("audits", "decisions"):
        rows(place, f"ALTER TABLE {table} DROP COLUMN cluster")
    for table in ("usage", "passed", "keys"):
        rows(place, f"DROP TABLE {table}")
    rows(place, "DELETE FROM places WHERE \"table\" = 'keys'")
    rows(place, "UPDATE alembic_version SET version_num = '0003'")

    store, later = store_of(place), audit(cluster="sums")
    store.keeper.keep(later)
    await store.drain()

    seen = await store.keeper.audits_since("auto", 0)
    await store.close()
    assert [one.audit for one in seen] == [kept, later]


async def test_audits_have_one_order_for_all_gateways(place: Place) -> None:
    async with running_store(place) as first, running_store(place) as second:
        for number in range(20):
            (first, second)[number % 2].keeper.keep(audit(cost=float(number)))
        first.keeper.keep(audit(cascade="other"))
        await until(lambda: count(place, "audits") == 21)

        seen = [await store.keeper.audits_since("auto", 0) for store in (first, second)]
        rest = await first.keeper.audits_since("auto", seen[0][4].place)

    assert seen[0] == seen[1]
    assert sorted(one.audit.cost for one in seen[0]) == [float(number) for number in range(20)]
    assert [one.place for one in seen[0]] == sorted({one.place for one in seen[0]})
    assert rest == seen[0][5:]


async def test_audits_come_a_thousand_at_a_time(place: Place) -> None:
    store = store_of(place)
    for number in range(1001):
        store.keeper.keep(audit(cost=float(number)))
    await store.drain()

    first = await store.keeper.audits_since("auto", 0)
    second = await store.keeper.audits_since("auto", first[-1].place)

    await store.close()
    assert [one.audit.cost for one in (*first, *second)] == [float(number) for number in range(1001)]
    assert len(second) == 1


async def test_an_audit_that_cannot_be_told_comes_back_so(place: Place) -> None:
    store = store_of(place)
    kept = [audit(loss=loss, confidence=None) for loss in (True, False, None)]
    for one in kept:
        store.keeper.keep(one)
    await store.drain()

    seen = await store.keeper.audits_since("auto", 0)

    await store.close()
    assert [one.audit for one in seen] == kept


async def test_feedback_and_audits_join_their_decision_wherever_they_are(place: Place) -> None:
    one = decision()
    said = [Feedback(new_id(), about, at) for at, about in enumerate((one.response_id, one.id, one.request_id))]
    audited = audit(decision=one.id)
    store = store_of(place)
    store.keeper.keep(said[0])
    store.keeper.keep(Feedback(new_id(), "another", 5.0))
    store.keeper.keep(one)
    await store.drain()
    for record in (said[2], said[1], audited):
        store.keeper.keep(record)

    found = await store.keeper.find(one.response_id)

    await store.close()
    assert found is not None
    assert found.feedback == tuple(said)
    assert found.audits == (audited,)


async def test_of_several_requests_with_one_id_the_latest_is_found(place: Place) -> None:
    store = store_of(place)
    older, newer = (decision(request_id="mine", time=at) for at in (1.0, 2.0))
    store.keeper.keep(newer)
    store.keeper.keep(older)
    in_journal = await store.keeper.find("mine")
    await store.drain()

    in_store = await store.keeper.find("chatcmpl-mine")

    await store.close()
    assert in_journal is not None
    assert in_store is not None
    assert (in_journal.decision, in_store.decision) == (newer, newer)


async def test_what_is_too_old_goes_and_audits_stay(place: Place) -> None:
    now = time.time()
    store = store_of(place, keep_days=1)
    for age_days in (0.5, 2, 3):
        store.keeper.keep(decision(time=now - 86400 * age_days))
        store.keeper.keep(Feedback(new_id(), "x", now - 86400 * age_days))
        store.keeper.keep(audit(time=now - 86400 * age_days))

    async with running(store.keeper):
        await until(lambda: count(place) == 1 and count(place, "audits") == 3)
        await until(lambda: count(place, "feedback") == 1)


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite", "postgresqlx://localhost/x", ""])
def test_a_database_that_is_not_known_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no database that is known here"):
        Database(url)


def test_ids_are_unlike_and_in_order() -> None:
    ids = [new_id() for _ in range(100)]

    assert len(set(ids)) == 100
    assert [one[:12] for one in ids] == sorted(one[:12] for one in ids)
    assert all(len(one) == 32 for one in ids)


async def test_who_drains_comes_to_an_end_however_fast_the_journal_fills(place: Place) -> None:
    """Else what ended processes left is never found, and nothing that is old is forgotten."""
    store = store_of(place)
    await store.database.prepare()
    first = decision()
    store.keeper.keep(first)

    async def fill() -> None:
        while True:
            store.keeper.keep(decision())
            await asyncio.sleep(0)

    filling = asyncio.create_task(fill())
    try:
        async with asyncio.timeout(10):
            await store.keeper.drain()
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
    assert rows(place, f"SELECT count(*) FROM decisions WHERE id = '{first.id}'") == [(1,)]  # noqa: S608 - ours
    await store.close()


async def test_audits_are_found_by_the_names_that_their_cascade_had_before(place: Place) -> None:
    store = store_of(place)
    named = [("old", "a"), ("auto", "a"), ("older", "a"), ("other", "a"), ("odd", "b"), ("old", None)]
    for number, (cascade, artefact) in enumerate(named):
        store.keeper.keep(audit(cascade=cascade, artefact=artefact, cost=float(number)))
    await store.drain()

    formerly = await store.keeper.former_names("a", {"auto", "other"})
    seen = await store.keeper.audits_since("auto", 0, formerly=formerly)

    await store.close()
    assert list(formerly) == ["old", "older"]
    assert [one.audit.cost for one in seen] == [0.0, 1.0, 2.0, 5.0]
    assert [one.place for one in seen] == sorted(one.place for one in seen)
