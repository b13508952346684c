"""What other processes' requests have cost, from the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from fakes.stores import Place, Store, audit, decision, store_of

from server.store.records import Passed, Step, new_id
from server.store.spending import Costs, Spending, Whose

NOON = 1_700_000_000.0 - 1_700_000_000.0 % 86400 + 43200  # of 2023-11-14
DAY, MONTH = "2023-11-14", "2023-11"
DAY_S = 86400.0


@dataclass
class Gateway:
    """One of those that share a store, and what it was told that others have spent."""

    store: Store
    whose: Whose = "keys"
    now_s: float = NOON
    clock_s: float = 0.0
    spent: dict[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.spending = Spending(self.whose, self._heard, now_s=lambda: self.now_s, clock_s=lambda: self.clock_s)
        self.store.keeper.follow(self.spending)

    def _heard(self, costs: Costs) -> None:
        self.spent |= costs

    def answer(self, key: str | None, cost: float, time: float = NOON) -> None:
        """A request that costs so much, a part of it in either tier."""
        steps = (Step("small", cost=cost / 4), Step("large", cost=cost - cost / 4))
        assert self.store.keeper.keep(decision(key=key, cost=cost, time=time, steps=steps))

    async def look(self) -> None:
        """Look what others have spent, whatever the time."""
        await self.store.drain()
        self.clock_s += 60.0
        await self.spending.follow(self.store.database)


async def test_it_is_told_of_others_by_day_and_month_and_never_of_its_own(place: Place) -> None:
    before, now = Gateway(store_of(place)), Gateway(store_of(place))
    before.answer("k", 0.25)
    before.answer("k", 2.0, NOON - DAY_S)
    before.answer("k", 100.0, NOON - 40 * DAY_S)
    before.answer(None, 7.0)
    before.store.keeper.keep(Passed(new_id(), "r", NOON, "/v1/score", "large", "large", 200, cost=0.5, key="other"))
    before.store.keeper.keep(audit(time=NOON, cost=3.0))
    await before.store.drain()
    for _ in range(3):
        now.answer("k", 0.125)
        await now.look()
        assert now.spent == {
            "k": {DAY: pytest.approx(0.25), MONTH: pytest.approx(2.25)},
            "other": {DAY: 0.5, MONTH: 0.5},
        }

    before.answer("k", 1.0)
    await before.look()
    await now.look()

    assert now.spent["k"] == {DAY: pytest.approx(1.25), MONTH: pytest.approx(3.25)}
    assert before.spent["k"] == {DAY: pytest.approx(0.375), MONTH: pytest.approx(0.375)}
    for one in (before, now):
        await one.store.close()


async def test_what_an_ended_process_left_in_the_journal_is_not_its_own(place: Place) -> None:
    before = Gateway(store_of(place))
    before.answer("k", 0.5)
    before.store.journal.close()
    now = Gateway(store_of(place))
    now.store.journal.adopt()

    await now.look()

    assert now.spent == {"k": {DAY: 0.5, MONTH: 0.5}}
    await now.store.close()
    await before.store.database.close()


async def test_without_keys_it_is_what_nobody_spent_without_audits(place: Place) -> None:
    before, now = Gateway(store_of(place)), Gateway(store_of(place), whose="everybody")
    before.answer(None, 0.5)
    before.answer("k", 4.0)
    for time in (NOON, NOON - DAY_S, NOON - 40 * DAY_S):
        before.store.keeper.keep(audit(time=time, cost=0.25))
    await before.store.drain()

    await now.look()

    assert now.spent == {"": {DAY: pytest.approx(0.5), MONTH: pytest.approx(0.5)}}
    for one in (before, now):
        await one.store.close()


async def test_the_next_day_begins_with_nothing(place: Place) -> None:
    before, now = Gateway(store_of(place)), Gateway(store_of(place))
    before.answer("k", 0.5)
    now.answer("k", 0.25)
    await before.store.drain()
    await now.look()
    now.now_s += DAY_S

    await now.look()

    assert now.spent["k"] == {"2023-11-15": 0.0, MONTH: pytest.approx(0.5)}
    for one in (before, now):
        await one.store.close()
