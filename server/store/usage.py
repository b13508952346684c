"""What was used: the sums of requests, tokens and costs, by whatever they are asked for. Reads the database alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, get_args

from msgspec import structs
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.wire import Json
from server.store.counting import NOBODY, NUMBERS, Counts
from server.store.migrating import known_columns
from server.store.tables import USAGE

By = Literal["day", "key", "cascade", "tier"]
PARTS: tuple[By, ...] = get_args(By)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which usage: the parts it is told by, from one day (UTC) to another, both among it, and whose: one key's, by its
    public id; None is without limit."""

    by: tuple[By, ...] = ("cascade", "tier")
    since: date | None = None
    until: date | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """The sums of one group: the values of the parts that were asked for, in their order (None: without a key), and
    what was counted."""

    group: tuple[str | None, ...]
    counts: Counts


def asked_for(by: str, since: str | None = None, until: str | None = None, key: str | None = None) -> Asked:
    """From what people write: names with commas between them, and days as 2026-03-01, or 7d for the last seven, today
    among them. Raises ValueError."""
    return Asked(parts_named(by), day_named(since), day_named(until), key)


def parts_named(names: str) -> tuple[By, ...]:
    """Each once, in their order. Raises ValueError."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        raise ValueError(f"by: there is no {', '.join(map(repr, unknown))} (there are: {', '.join(PARTS)})")
    return tuple(part for name in dict.fromkeys(wanted) for part in PARTS if part == name)


def day_named(written: str | None) -> date | None:
    """A day (UTC). Raises ValueError."""
    if written is None:
        return None
    try:
        if written.endswith("d"):
            return datetime.now(UTC).date() - timedelta(days=int(written[:-1]) - 1)
        return date.fromisoformat(written)
    except (ValueError, OverflowError) as wrong:
        raise ValueError(f"{written!r} is no day: write it as 2026-03-01, or 7d for the last seven") from wrong


async def used(connection: AsyncConnection, asked: Asked) -> list[Used]:
    """The groups, in the order of their values; what lies in journals is not in it yet. Raises StoreDown where the
    database was made by a version that counted nothing."""
    await known_columns(connection, USAGE)
    parts = [USAGE.c[name] for name in asked.by]
    wanted = select(*parts, *(func.sum(USAGE.c[name]).label(name) for name in NUMBERS)).group_by(*parts)
    for condition in conditions(asked):
        wanted = wanted.where(condition)
    rows = await connection.execute(wanted.order_by(*parts))
    return [used_in(tuple(row), len(parts)) for row in rows if row[-1] is not None]


def conditions(asked: Asked) -> list[ColumnElement[bool]]:
    """What limits the rows."""
    found = []
    if asked.since is not None:
        found.append(USAGE.c.day >= asked.since.isoformat())
    if asked.until is not None:
        found.append(USAGE.c.day <= asked.until.isoformat())
    if asked.key is not None:
        found.append(USAGE.c.key == asked.key)
    return found


def used_in(row: Sequence[float | str], parts: int) -> Used:
    """A row of so many parts and of the sums behind them; PostgreSQL's sums are decimals."""
    group, (*whole, cost, saved) = row[:parts], row[parts:]
    return Used(
        tuple(None if value == NOBODY else str(value) for value in group),
        structs.replace(Counts(*map(int, whole)), cost=float(cost), saved=float(saved)),
    )


def told(found: Sequence[Used], asked: Asked) -> dict[str, Json]:
    """As JSON has it: the groups, and all of them together. What was saved is an estimate, and is called so."""
    rows = [{**dict(zip(asked.by, one.group, strict=True)), **told_counts(one.counts)} for one in found]
    total = sum((one.counts for one in found), Counts())
    return {
        "object": "usage",
        "by": list(asked.by),
        "since": asked.since.isoformat() if asked.since else None,
        "until": asked.until.isoformat() if asked.until else None,
        "rows": [{**row} for row in rows],
        "total": {**told_counts(total)},
    }


def told_counts(counts: Counts) -> dict[str, Json]:
    """The sums by their names."""
    numbers: dict[str, Json] = {name: getattr(counts, name) for name in NUMBERS if name != "saved"}
    return {**numbers, "saved_estimate": counts.saved}
