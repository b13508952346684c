"""What the store has of the requests that were answered."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

DRAINED_WITHIN_S = 60


@dataclass(frozen=True, slots=True)
class Kept:
    """Of so many answers that clients got whole: how many have no row, and how many have several. `rows` are all
    decisions of this run, `used` the requests that usage counts."""

    answered: int
    lost: int
    twice: int
    rows: int
    used: int

    @property
    def figures(self) -> dict[str, int]:
        """As they are committed."""
        return asdict(self)


async def kept_of(url: str, answered: Sequence[str]) -> Kept:
    """Wait until the journals are drained, and count."""
    database = create_async_engine(url)
    try:
        rows: dict[str, int] = {}
        for _second in range(DRAINED_WITHIN_S):
            async with database.connect() as connection:
                found = await connection.execute(text("SELECT request_id, count(*) FROM decisions GROUP BY request_id"))
                rows = dict(map(tuple, found.all()))
            if all(request_id in rows for request_id in answered):
                break
            await asyncio.sleep(1)
        async with database.connect() as connection:
            used = (await connection.execute(text("SELECT coalesce(sum(requests), 0) FROM usage"))).scalar_one()
    finally:
        await database.dispose()
    return Kept(
        answered=len(answered),
        lost=sum(request_id not in rows for request_id in answered),
        twice=sum(rows.get(request_id, 0) > 1 for request_id in answered),
        rows=sum(rows.values()),
        used=int(used),
    )
