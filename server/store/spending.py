"""What callers' requests have cost that another process than this one answered, as the store has counted it: those
of a gateway before it was reloaded or started anew. Knows nothing of limits.

Costs are in the currency of the prices, by day (UTC, as 2026-03-01) and by month (2026-03)."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.store.counting import DAY_S, NOBODY, day_numbered, day_of
from server.store.database import Database
from server.store.records import Decision, Passed, Record
from server.store.tables import AUDITS, USAGE

Whose = Literal["keys", "everybody"]
Costs = Mapping[str, Mapping[str, float]]  # by key, then by day and by month
Found = Mapping[str, tuple[float, float]]  # what each key spent in a day, and in its month

CALLERS = (Decision, Passed)  # audits are the operator's own
EVERY_S = 2.0
REST = 20.0  # times what the last look took


class Spending:
    """Tells the costs of others again and again. Of this process's own it has seen what `wrote` was told of."""

    def __init__(
        self, whose: Whose, told: Callable[[Costs], None], *, now_s: Callable[[], float] = time.time,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._whose = whose
        self._told = told
        self._now_s = now_s
        self._clock_s = clock_s
        self._own: dict[str, dict[str, float]] = {}
        self._fresh: dict[tuple[float, str | None], float] = defaultdict(float)
        self._seen: Found = {}
        self._due_s = -math.inf

    def wrote(self, records: Iterable[Record]) -> None:
        """These of this process's own are in the store now."""
        fresh = self._fresh
        for record in records:
            if isinstance(record, CALLERS):
                fresh[record.time // DAY_S, record.key] += record.cost

    async def follow(self, database: Database) -> None:
        """Look and tell, if it is time. What this process wrote is in the store, and nothing of it is being written.
        Raises StoreDown."""
        began_s = self._clock_s()
        if began_s < self._due_s:
            return
        day = day_of(self._now_s())
        look = costs_of_keys if self._whose == "keys" else costs_of_everybody
        try:
            self._tell(day, await database.read(lambda connection: look(connection, day)))
        finally:
            ended_s = self._clock_s()
            self._due_s = ended_s + max(EVERY_S, REST * (ended_s - began_s))

    def _tell(self, day: str, found: Found) -> None:
        """What is not as it was the last time."""
        self._fold()
        news = {key: costs for key, costs in found.items() if self._seen.get(key) != costs}
        self._own, self._seen = lately(self._own), found
        self._told({key: self._of_others(key, day, *costs) for key, costs in news.items()})

    def _fold(self) -> None:
        """What was written since, into the sums."""
        fresh, self._fresh = self._fresh, defaultdict(float)
        for (number, key), cost in fresh.items():
            day = day_numbered(int(number))
            for period in (day, month_of(day)):
                self._own.setdefault(period, defaultdict(float))[key or NOBODY] += cost

    def _of_others(self, key: str, day: str, in_day: float, in_month: float) -> Mapping[str, float]:
        whole = {day: in_day, month_of(day): in_month}
        return {period: max(0.0, cost - self._own.get(period, {}).get(key, 0.0)) for period, cost in whole.items()}


async def costs_of_keys(connection: AsyncConnection, day: str) -> Found:
    """Of each key that spent something in the month of that day."""
    return {key: costs for key, costs in (await counted(connection, day)).items() if key != NOBODY}


async def costs_of_everybody(connection: AsyncConnection, day: str) -> Found:
    """Of all who asked without a key. Audits are counted with them, and are the operator's own."""
    in_day, in_month = (await counted(connection, day)).get(NOBODY, (0.0, 0.0))
    day_s, month_s = began_s(day), began_s(f"{month_of(day)}-01")
    audited = select(
        func.coalesce(func.sum(case((AUDITS.c.time >= day_s, AUDITS.c.cost), else_=0.0)), 0.0),
        func.coalesce(func.sum(AUDITS.c.cost), 0.0),
    ).where(AUDITS.c.time >= month_s)
    audits_in_day, audits_in_month = (await connection.execute(audited)).one()
    return {NOBODY: (in_day - float(audits_in_day), in_month - float(audits_in_month))}


async def counted(connection: AsyncConnection, day: str) -> Found:
    """What was counted for each key, and for nobody."""
    month = month_of(day)
    in_day = func.sum(case((USAGE.c.day == day, USAGE.c.cost), else_=0.0))
    of_month = USAGE.c.day.between(f"{month}-01", f"{month}-31")
    wanted = select(USAGE.c.key, in_day, func.sum(USAGE.c.cost)).where(of_month).group_by(USAGE.c.key)
    rows = await connection.execute(wanted)
    return {key: (float(of_day), float(whole)) for key, of_day, whole in rows}


def month_of(day: str) -> str:
    """The month of a day."""
    return day[:7]


def began_s(day: str) -> float:
    """When a day began (UTC), in Unix seconds."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def lately(own: Mapping[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of the last two days and the last two months: a clock may have gone back."""
    days = sorted(period for period in own if period != month_of(period))[-2:]
    months = sorted(period for period in own if period == month_of(period))[-2:]
    return {period: own[period] for period in (*days, *months)}
