"""What was used: counted once, in the same transaction as its records, and kept when they are deleted."""

import asyncio
import shutil
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from fakes.stores import Place, audit, count, decision, is_drained, rows, running_store, store_of, until

from server.store.counting import Counts, Slot, Sums, added, counts_of
from server.store.database import Database
from server.store.keeper import running
from server.store.migrating import migrated
from server.store.records import Feedback, Passed, Record, Step, StoreDown, new_id
from server.store.usage import Asked, Used, asked_for, told, used, used_in

DAY = "2001-09-09"  # that of the time 1e9
DRAFTED = Step("small", "sure", prompt_tokens=10, completion_tokens=3, cost=0.5)
GIVEN_UP = Step("small", "unsure", prompt_tokens=10, completion_tokens=3, cost=0.5)
WRITTEN = Step("large", prompt_tokens=10, completion_tokens=5, cost=2.0)
KEPT = decision(steps=(DRAFTED,), cost=0.5, cost_final_alone=2.0)
WENT_UP = decision(
    steps=(GIVEN_UP, WRITTEN), tier="large", escalated=True, reason="unsure", cost=2.5, cost_final_alone=2.0
)


def slot(tier: str = "small", key: str = "", day: str = DAY, cascade: str = "auto") -> Slot:
    """Of the cascade `auto`, without a key."""
    return Slot(day, key, cascade, tier)


def counted(records: Iterable[Record]) -> Sums:
    """What they add together."""
    return added(map(counts_of, records))


def test_a_kept_draft_saves_what_the_final_tier_would_have_cost() -> None:
    assert counted([KEPT]) == {slot(): Counts(1, 1, 1, 0, 10, 3, 0.5, 1.5)}


def test_going_up_costs_more_than_the_final_tier_alone() -> None:
    assert counted([WENT_UP]) == {
        slot(): Counts(0, 0, 0, 1, 10, 3, 0.5, 0.0),
        slot("large"): Counts(1, 1, 0, 0, 10, 5, 2.0, -0.5),
    }


@pytest.mark.parametrize("status", [499, 503])
def test_a_request_without_an_answer_costs_and_saves_nothing(status: int) -> None:
    ended = decision(steps=(DRAFTED,), status=status, cost=0.5, cost_final_alone=2.0)

    assert counted([ended]) == {slot(): Counts(1, 0, 0, 0, 10, 3, 0.5, 0.0)}


def test_a_draft_for_speculation_alone_is_neither_kept_nor_given_up() -> None:
    exact = decision(steps=(DRAFTED, WRITTEN), tier="large", mode="exact", reason="exact", cost=2.5, cost_final_alone=2)

    assert counted([exact]) == {
        slot(): Counts(0, 0, 0, 0, 10, 3, 0.5, 0.0),
        slot("large"): Counts(1, 1, 0, 0, 10, 5, 2.0, -0.5),
    }


def test_who_is_asked_about_drafts_is_counted_too() -> None:
    helped = decision(steps=(DRAFTED, Step("helper", prompt_tokens=10, completion_tokens=1, cost=0.1)), key="k")

    assert counted([helped])[slot("helper", "k")] == Counts(0, 0, 0, 0, 10, 1, 0.1, 0.0)


def test_audits_cost_and_are_nobodys_and_feedback_is_nothing() -> None:
    records = [audit(cost=0.25, final_tokens=7), Feedback(new_id(), "x", 1e9)]

    assert counted(records) == {slot("large"): Counts(completion_tokens=7, cost=0.25)}


def test_days_are_those_of_utc() -> None:
    times = (1e9, 999993599.0, 999993600.0)  # the last two are a second before and at midnight

    days = [one.day for at in times for one in counted([decision(time=at)])]

    assert days == ["2001-09-09", "2001-09-08", "2001-09-09"]


def test_what_passed_through_is_counted_under_the_name_that_was_asked_for() -> None:
    one = Passed(new_id(), "r", 1e9, "/v1/embeddings", "large", "large", 200, 7, 0, 0.5, "k")

    assert counted([one]) == {slot("large", "k", cascade="large"): Counts(1, 1, 0, 0, 7, 0, 0.5, 0.0)}


async def test_what_is_drained_twice_is_counted_once(place: Place) -> None:
    store = store_of(place)
    records = [KEPT, WENT_UP, audit(), Passed(new_id(), "r", 1e9, "/v1/score", "large", "large", 200)]
    for record in (*records, *records):
        store.keeper.keep(record)
    (segment,) = place.journal.iterdir()
    copy = place.folder / "copy"
    shutil.copy(segment, copy)
    await store.drain()
    before = await store.keeper.used(Asked())
    await store.close()
    copy.rename(place.journal / "1-killed.jsonl")

    async with running_store(place) as second:
        await until(lambda: is_drained(place))
        after = await second.keeper.used(Asked())

    assert before == after
    assert [(one.group, one.counts.requests) for one in after] == [
        (("auto", "large"), 1), (("auto", "small"), 1), (("large", "large"), 1)
    ]  # fmt: skip


async def test_what_several_gateways_drain_at_once_is_added_up(place: Place, tmp_path: Path) -> None:
    stores = [store_of(Place(tmp_path / name, place.url)) for name in ("one", "two", "three")]
    shared = [decision(steps=(DRAFTED,), key=f"k{number % 7}") for number in range(50)]
    for store in stores:
        await store.database.prepare()
        own = [decision(steps=(DRAFTED,), key=f"k{number % 5}") for number in range(100)]
        assert all(map(store.keeper.keep, [*shared, *own]))

    await asyncio.gather(*(store.drain() for store in stores))

    (total,) = await stores[0].keeper.used(Asked(by=()))
    by_key = await stores[0].keeper.used(Asked(by=("key",)))
    for store in stores:
        await store.close()
    assert (total.counts.requests, total.counts.prompt_tokens, total.counts.cost) == (350, 3500, 175.0)
    assert [one.group for one in by_key] == [(f"k{number}",) for number in range(7)]
    assert count(place) == 350


async def test_a_record_that_is_refused_is_not_counted(place: Place) -> None:
    store = store_of(place)
    store.keeper.keep(audit(draft_tokens=2**63, cost=1.0))
    store.keeper.keep(KEPT)

    await store.drain()

    (only,) = await store.keeper.used(Asked(by=()))
    await store.close()
    assert (only.counts.requests, only.counts.cost) == (1, 0.5)


async def test_what_was_used_stays_when_decisions_are_deleted(place: Place) -> None:
    store = store_of(place, keep_days=1)
    for record in (KEPT, Passed(new_id(), "r", 1e9, "/v1/score", "large", "large", 200), decision(time=time.time())):
        store.keeper.keep(record)

    async with running(store.keeper):
        await until(lambda: count(place) == 1 and count(place, "passed") == 0 and count(place, "usage") == 3)
        (total,) = await store.keeper.used(Asked(by=()))

    assert total.counts.requests == 3


async def test_usage_is_told_by_whatever_is_asked(place: Place) -> None:
    store = store_of(place)
    for number, key in enumerate(["one", "one", "two", None]):
        store.keeper.keep(decision(steps=(DRAFTED,), key=key, time=86400.0 * number))
    await store.drain()

    async def requests(asked: Asked) -> list[tuple[tuple[str | None, ...], int]]:
        return [(one.group, one.counts.requests) for one in await store.keeper.used(asked)]

    by_key = await requests(Asked(by=("key",)))
    by_day = await requests(Asked(by=("day", "key"), since=date(1970, 1, 2), until=date(1970, 1, 3)))
    of_one = await requests(Asked(by=("tier",), key="one"))
    of_none = await requests(Asked(by=(), key="nobody"))
    await store.close()

    assert by_key == [((None,), 1), (("one",), 2), (("two",), 1)]
    assert by_day == [(("1970-01-02", "one"), 1), (("1970-01-03", "two"), 1)]
    assert of_one == [(("small",), 2)]
    assert of_none == []


async def test_a_database_from_before_there_was_usage_is_told(place: Place) -> None:
    earlier = Database(place.url)
    async with earlier.writing() as connection:
        await connection.run_sync(migrated, "0001")
    await earlier.close()

    reader = Database.of_others(place.url)
    with pytest.raises(StoreDown, match="no such table: usage"):
        await reader.read(lambda connection: used(connection, Asked()))
    await reader.close()


async def test_hostile_names_are_only_names(place: Place) -> None:
    name = "'; DROP TABLE usage --\x00"
    store = store_of(place)
    store.keeper.keep(decision(steps=(DRAFTED,), key=name))
    await store.drain()

    (only,) = await store.keeper.used(Asked(by=("key",)))
    nobody = await store.keeper.used(Asked(by=("key",), key="x' OR '1'='1"))
    await store.close()

    assert only.group == (name.replace("\x00", "\ufffd"),)
    assert nobody == []
    assert rows(place, "SELECT sum(requests) FROM usage") == [(1,)]


def test_the_json_calls_an_estimate_one_and_adds_up() -> None:
    found = [Used(("small",), Counts(1, 1, 1, 0, 10, 3, 0.5, 1.5)), Used((None,), Counts(2, 1, 0, 0, 1, 1, 1.0, -0.5))]

    said = told(found, Asked(by=("tier",), since=date(2026, 3, 1)))

    assert said["rows"] == [
        {"tier": "small", "requests": 1, "answered": 1, "accepted": 1, "escalated": 0, "prompt_tokens": 10,
         "completion_tokens": 3, "cost": 0.5, "saved_estimate": 1.5},
        {"tier": None, "requests": 2, "answered": 1, "accepted": 0, "escalated": 0, "prompt_tokens": 1,
         "completion_tokens": 1, "cost": 1.0, "saved_estimate": -0.5},
    ]  # fmt: skip
    assert said["total"] == {"requests": 3, "answered": 2, "accepted": 1, "escalated": 0, "prompt_tokens": 11,
                             "completion_tokens": 4, "cost": 1.5, "saved_estimate": 1.0}  # fmt: skip
    assert (said["object"], said["by"], said["since"], said["until"]) == ("usage", ["tier"], "2026-03-01", None)


def test_what_is_asked_for_is_read_as_people_write_it() -> None:
    asked = asked_for(" tier, day,tier,", since="2026-03-01", until="1d", key="k")

    assert (asked.by, asked.since, asked.key) == (("tier", "day"), date(2026, 3, 1), "k")
    assert asked.until == datetime.now(UTC).date()
    assert asked_for("").by == ()


@pytest.mark.parametrize("day", ["yesterday", "", "d", "-d", "2026-13-01", "99999999999d", "1e3d"])
def test_what_is_no_day_is_refused(day: str) -> None:
    with pytest.raises(ValueError, match="is no day"):
        asked_for("day", since=day)


def test_a_sum_of_decimals_is_numbers() -> None:
    assert used_in(("small", 1, 1, 1, 0, 10, 3, 0.5, 1.5), 1) == Used(("small",), Counts(1, 1, 1, 0, 10, 3, 0.5, 1.5))
