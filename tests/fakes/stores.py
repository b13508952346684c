"""Records to keep, and stores to keep them in."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from fakes.postgres import asked, in_a_thread
from prometheus_client import CollectorRegistry

from server.store.database import Database
from server.store.journal import Journal
from server.store.keeper import Keeper, running
from server.store.records import Audit, Decision, new_id
from server.store.tally import Tally

BOUND_S = 20.0


@dataclass(frozen=True)
class Place:
    """Where a store is: the folder of its journal, and its database's URL."""

    folder: Path
    url: str

    @property
    def journal(self) -> Path:
        """The journal's own folder."""
        return self.folder / "journal"


def place_of(where: Path | Place) -> Place:
    """A folder with SQLite's file in it, or what was said."""
    return where if isinstance(where, Place) else Place(where, f"sqlite:///{where / 'smallfirst.db'}")


def decision(**fields: Any) -> Decision:
    """A decision of which nothing is odd but these fields."""
    request_id = fields.pop("request_id", new_id())
    plain: dict[str, Any] = {
        "id": new_id(), "request_id": request_id, "response_id": f"chatcmpl-{request_id}", "time": 1e9,
        "endpoint": "/v1/chat/completions", "cascade": "auto", "mode": "threshold", "tiers": ("small", "large"),
        "tier": "small", "escalated": False, "reason": "sure", "status": 200, "streamed": False, "steps": (),
        "cost": 1.0, "cost_final_alone": 2.0, "cost_final_alone_estimated": True, "seconds": 0.1, "waited_s": 0.1,
    }  # fmt: skip
    return Decision(**{**plain, **fields})


def audit(**fields: Any) -> Audit:
    """An audit of which nothing is odd but these fields."""
    plain: dict[str, Any] = {
        "id": new_id(), "decision": new_id(), "time": 1e9, "cascade": "auto", "drafter": "small", "final": "large",
        "propensity": 0.1, "loss": False, "grader": "agreement", "confidence": 0.9, "cost": 0.1,
    }  # fmt: skip
    return Audit(**{**plain, **fields})


@dataclass(frozen=True)
class Store:
    """A store and what it is made of. `keep`, `find` and `audits_since` are the keeper's; its writer does not run."""

    keeper: Keeper
    journal: Journal
    database: Database
    registry: CollectorRegistry

    async def drain(self) -> None:
        """What the writer does when it runs."""
        await self.database.prepare()
        await self.keeper.drain()

    async def close(self) -> None:
        """What the gateway does at its end; that drains too."""
        await self.keeper.close()

    def dropped(self, reason: str) -> float:
        """How many records were not kept for this reason."""
        return self._sample("smallfirst_journal_dropped_records_total", {"reason": reason})

    @property
    def failures(self) -> float:
        """How often the database could not be written to."""
        return self._sample("smallfirst_store_failures_total", {})

    def _sample(self, name: str, labels: dict[str, str]) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def store_of(
    where: Path | Place, *, max_bytes: int = 2**30, keep_days: float | None = None, write_s: float = 30.0
) -> Store:
    """A store in a folder, or at a place."""
    place = place_of(where)
    registry = CollectorRegistry()
    journal = Journal.opened(place.journal, max_bytes=max_bytes)
    database = Database(place.url, write_s=write_s)
    return Store(Keeper(journal, database, Tally(registry), keep_days=keep_days), journal, database, registry)


@asynccontextmanager
async def running_store(where: Path | Place, **settings: Any) -> AsyncIterator[Store]:
    """A store whose writer runs until the block ends."""
    store = store_of(where, **settings)
    async with running(store.keeper):
        yield store


def rows(where: Path | Place, question: str) -> list[tuple[Any, ...]]:
    """What the database says."""
    place = place_of(where)
    if place.url.startswith("postgresql:"):
        return in_a_thread(asked(place.url, question))
    with closing(sqlite3.connect(place.url.removeprefix("sqlite:///"))) as connection:
        found = connection.execute(question).fetchall()
        connection.commit()
        return found


def count(where: Path | Place, table: str = "decisions") -> int:
    """How many rows a table has; none where there is none yet, or somebody is changing it."""
    try:
        return int(rows(where, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - our own names
    except (sqlite3.OperationalError, asyncpg.UndefinedTableError, asyncpg.LockNotAvailableError):
        return 0


async def make_tables(where: Path | Place) -> None:
    """Make the tables there."""
    store = store_of(where)
    await store.close()


def is_drained(where: Path | Place) -> bool:
    """Whether nothing is left in the journal."""
    return not any(path.stat().st_size for path in place_of(where).journal.iterdir())


async def until(holds: Callable[[], bool]) -> None:
    """Wait, within bounds, for something to become true."""
    async with asyncio.timeout(BOUND_S):
        while not holds():  # noqa: ASYNC110 - what is waited for is in a file
            await asyncio.sleep(0.02)


def everything_in(folder: Path) -> bytes:
    """All bytes of all files of a store."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
