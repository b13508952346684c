"""One request by any of its ids, in the journal and in the database."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from server.store import asking
from server.store.database import Database
from server.store.journal import lines_with
from server.store.lines import BadLine, record_of
from server.store.records import Audit, Decision, Feedback, Record, StoreDown, ids_of

Said = TypeVar("Said", Feedback, Audit)


@dataclass(frozen=True, slots=True)
class Found:
    """A request's decision, with what was said of it and how its audits came out, each in the order of time. Of
    feedback the last counts."""

    decision: Decision
    feedback: tuple[Feedback, ...] = ()
    audits: tuple[Audit, ...] = ()


async def find(given: str, database: Database, journal: Path, key: str | None = None) -> Found | None:
    """The latest request that has this id, of this key or of any. Raises StoreDown where it is not in the journal and
    the database cannot tell."""
    decision = await decision_of(given, database, journal, key)
    if decision is None:
        return None
    # In this order: what leaves the journal in between is in the database by then.
    said: list[Record] = [*await asyncio.to_thread(records_with, journal, ids_of(decision))]
    with contextlib.suppress(StoreDown):
        said += await database.read(lambda connection: asking.said_of(connection, decision))
    feedback = (one for one in said if isinstance(one, Feedback) and one.about in ids_of(decision))
    audits = (one for one in said if isinstance(one, Audit) and one.decision == decision.id)
    return Found(decision, in_time(feedback), in_time(audits))


async def decision_of(given: str, database: Database, journal: Path, key: str | None) -> Decision | None:
    """The latest decision that has this id, of this key or of any. Raises StoreDown."""
    records = await asyncio.to_thread(records_with, journal, [given])
    fresh = [one for one in records if isinstance(one, Decision) and given in ids_of(one) and key in (None, one.key)]
    if fresh:
        return max(fresh, key=lambda one: one.time)
    return await database.read(lambda connection: asking.decision_of(connection, given, key))


def records_with(journal: Path, ids: Iterable[str]) -> list[Record]:
    """The journal's records in which one of these ids stands, each once."""
    records = []
    for line in lines_with([b'"%s"' % one.encode() for one in ids], journal):
        with contextlib.suppress(BadLine):
            records.append(record_of(line))
    return records


def in_time(records: Iterable[Said]) -> tuple[Said, ...]:
    """Each once, in the order of their times."""
    return tuple(sorted({one.id: one for one in records}.values(), key=lambda one: (one.time, one.id)))
