"""Keeps records: in the journal at once, in the store soon. The way of a request waits for the first alone."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import structlog

from server.background import in_background
from server.store import asking
from server.store.ageing import Ageing
from server.store.database import READ_S, Database, Refused
from server.store.finding import Found, find
from server.store.gently import each
from server.store.journal import Journal, JournalFull
from server.store.lines import BadLine, Lately, line_of
from server.store.records import Feedback, Placed, Record, StoreDown
from server.store.segment import Segment
from server.store.spending import EVERY_S, Spending
from server.store.tally import Loss, Tally
from server.store.usage import Asked, Used, used
from server.store.writing import write

GATHER_S = 0.25  # records come to the store together, so that a commit is worth its while
CHUNK_BYTES = 512 * 2**10
LOOK_EVERY_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LAST_WORD_S = 5.0
DAY_S = 86400.0
FORGET_EVERY_S = 3600.0
FEEDBACK_SHARE = 0.5  # of the journal: who says a great deal of answers does not push out what was used
SEARCHES = 4  # at a time: each may read all of the journal

log = structlog.get_logger()


class Keeper:
    """A Ledger over a journal and a database. `run` is its writer, a task for as long as it is used."""

    def __init__(
        self, journal: Journal, database: Database, tally: Tally, *, keep_days: float | None,
        ageing: Ageing | None = None,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._database = database
        self._tally = tally
        self._keep_days = keep_days
        self._ageing = ageing or Ageing()
        self._lately = Lately()
        self._news = asyncio.Event()
        self._searching = asyncio.Semaphore(SEARCHES)
        self._drops = False
        self._fails = False
        self._begun = asyncio.Event()
        self._begun.set()
        self._look_at_s = self._forget_at_s = 0.0
        self._spending: Spending | None = None
        tally.watch(lambda: journal.left)

    def keep(self, record: Record) -> bool:
        """See Ledger."""
        try:
            line = line_of(record)
            self._journal.append(line, share=FEEDBACK_SHARE if isinstance(record, Feedback) else 1.0)
        except JournalFull:
            self._dropped("full")
        except (BadLine, OSError) as unwritable:
            self._dropped("unwritable", str(unwritable))
        else:
            self._lately.wrote(line, record)
            self._drops = False
            self._news.set()
            return True
        return False

    async def audits_since(self, cascade: str, after: int, *, formerly: Collection[str] = ()) -> Sequence[Placed]:
        """See Ledger. What ended processes left in the journal is among them. While this gateway cannot write to the
        store, others hardly can: what they find is not there to be read."""
        await self._is_readable()
        return await self._database.read(
            lambda connection: asking.audits_since(connection, cascade, after, formerly=formerly)
        )

    async def former_names(self, artefact: str, known: Collection[str]) -> Collection[str]:
        """See Ledger."""
        await self._is_readable()
        return await self._database.read(lambda connection: asking.former_names(connection, artefact, known))

    async def _is_readable(self) -> None:
        try:
            await asyncio.wait_for(self._begun.wait(), READ_S)
        except TimeoutError as late:
            raise StoreDown("what was left in the journal is not in the store yet") from late
        if self._fails:
            raise StoreDown("the store cannot be written to")

    async def find(self, given: str, key: str | None = None) -> Found | None:
        """The latest request that has this id, of this key or of any, with what was said of it. Raises StoreDown where
        it is not in the journal and the store cannot tell."""
        async with self._searching:
            return await find(given, self._database, self._journal.folder, key)

    async def used(self, asked: Asked) -> list[Used]:
        """What was used, as far as it is in the store. Raises StoreDown."""
        return await self._database.read(lambda connection: used(connection, asked))

    def follow(self, spending: Spending) -> None:
        """From now on tell it what this process has written, and have it look what others have: first when the store
        has what was left in the journal."""
        self._spending = spending
        self._news.set()

    async def run(self) -> None:
        """Drain the journal into the store, until cancelled; also what ended processes left behind."""
        self._begun.clear()
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self.round()
                pause_s, self._fails = FIRST_PAUSE_S, False
                self._begun.set()
            except (StoreDown, OSError) as down:
                self._failed(pause_s, str(down))
            except Exception:
                log.exception("store writer failed")
                self._failed(pause_s, "a mistake of ours")
            else:
                await self._wait_for_news()
                continue
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def round(self) -> None:
        """Drain once, and do what else is due. Raises StoreDown, or OSError."""
        now_s = time.monotonic()
        if now_s >= self._look_at_s:
            self._journal.adopt()
            self._look_at_s = now_s + LOOK_EVERY_S
        await self._database.prepare()
        await self.drain()
        await self._follow()
        if self._keep_days is not None and now_s >= self._forget_at_s:
            await self._forget_some(self._ageing.now() - self._keep_days * DAY_S, now_s)

    async def _follow(self) -> None:
        if self._spending is None:
            return
        try:
            await self._spending.follow(self._database)
        except StoreDown as down:
            log.warning("what callers have spent cannot be read", cause=str(down))

    def _failed(self, pause_s: float, cause: str) -> None:
        self._fails = True
        self._begun.set()
        self._tally.failed()
        log.warning("store cannot be written to", cause=cause, retry_s=pause_s, journal_bytes=self._journal.left)

    async def drain(self) -> None:
        """Bring to the store all that is in the journal by now; there may be more at any time. Raises StoreDown, or
        OSError."""
        left = self._journal.left
        while left > 0 and (segment := self._journal.next()) is not None:
            left -= await self._drain_from(segment)

    async def _drain_from(self, segment: Segment) -> int:
        """Some of it; how many bytes."""
        begun = segment.drained
        chunk = await asyncio.to_thread(segment.read, CHUNK_BYTES)
        read = await each(self._lately.record_of, chunk.lines)
        records = [record for record in read if record is not None]
        for _ in range(len(read) - len(records) + int(chunk.torn > 0)):
            self._dropped("torn")
        try:
            await self._write(records, segment)
        except Refused:
            await self._write_singly(records, segment)
        self._journal.drained(segment, chunk)
        return chunk.end - begun

    async def _write(self, records: Sequence[Record], segment: Segment) -> None:
        if not records:
            return
        async with self._database.writing() as connection:
            await write(connection, records)
        self._tally.written(records)
        if self._spending is not None and segment.is_own:
            self._spending.wrote(records)

    async def _write_singly(self, records: Sequence[Record], segment: Segment) -> None:
        """What the database refuses for what it is must not hold up the rest."""
        for record in records:
            try:
                await self._write([record], segment)
            except Refused as refused:
                self._dropped("refused", str(refused))

    async def _wait_for_news(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S if self._spending is None else EVERY_S):
                await self._news.wait()
                await asyncio.sleep(GATHER_S)
        self._news.clear()

    async def _forget_some(self, before: float, now_s: float) -> None:
        """Some of what is too old; the next round goes on at once where there is more."""
        async with self._database.writing() as connection:
            deleted = await asking.forget(connection, before)
        if deleted:
            self._news.set()
        else:
            self._forget_at_s = now_s + FORGET_EVERY_S

    def _dropped(self, reason: Loss, cause: str | None = None) -> None:
        """Counted each time, told once until something is kept again."""
        self._tally.dropped(reason)
        if not self._drops:
            log.error("records are dropped", reason=reason, cause=cause, journal_bytes=self._journal.left)
        self._drops = True

    async def close(self) -> None:
        """Drain what can be drained soon, and leave the rest to the next process."""
        try:
            with contextlib.suppress(StoreDown, OSError, TimeoutError):
                async with asyncio.timeout(LAST_WORD_S):
                    await self._database.prepare()
                    await self.drain()
        finally:
            self._journal.close()
            await self._database.close()


@asynccontextmanager
async def running(keeper: Keeper) -> AsyncIterator[Keeper]:
    """Its writer runs as long as the block."""
    try:
        async with in_background(keeper.run()):
            yield keeper
    finally:
        await keeper.close()
