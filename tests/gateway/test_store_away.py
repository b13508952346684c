"""A store that goes away while gateways run: what is believed meanwhile, for how long, and that all comes back."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from fakes.pools import metrics_of
from fakes.scripted import Script
from fakes.stores import count, until
from gateway.test_watching import (
    CERTIFICATE,
    TRUST,
    Book,
    Watched,
    an_audit,
    auditor_over,
    certificate_of,
    headers_of,
    watched,
)

from router.watch import GRACE_S, Watch


@dataclass
class Clock:
    """Goes when it is told to."""

    s: float = 50.0

    def __call__(self) -> float:
        return self.s


@asynccontextmanager
async def written_to_by_another(folder: Path) -> AsyncIterator[None]:
    """Nobody else can write to the store's database for as long as the block runs."""
    with closing(sqlite3.connect(folder / "smallfirst.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def clocked(cascade: Watched) -> Clock:
    """The clock of a fresh watch over the gateway's certificate, which has read all that there is."""
    clock = Clock()
    watch = Watch(CERTIFICATE, artefact=TRUST.identity, clock_s=clock)
    watch.remembers()
    cascade.app.state.served.watches["auto"][None] = watch
    await cascade.auditor.fold()
    assert watch.standing.state == "certified"
    return clock


async def failed(cascade: Watched) -> None:
    """The gateway has noticed that it cannot write."""
    registry = cascade.app.state.metrics.registry
    await until(lambda: registry.get_sample_value("smallfirst_store_failures_total") > 0)


async def test_a_certificate_outlives_its_store_for_a_while_and_comes_back_with_it(tmp_path: Path) -> None:
    async with watched(tmp_path) as cascade:
        clock = await clocked(cascade)
        async with written_to_by_another(tmp_path):
            await headers_of(cascade)
            await failed(cascade)

            clock.s += GRACE_S
            await cascade.auditor.fold()
            assert (await headers_of(cascade))["x-smallfirst-mode"] == "certified"
            assert (await certificate_of(cascade.url))["read_age_s"] == GRACE_S
            text = await metrics_of(cascade.url)
            assert f'smallfirst_audits_read_age_seconds{{cascade="auto",cluster=""}} {GRACE_S}' in text

            clock.s += 1
            headers = await headers_of(cascade)
            assert (headers["x-smallfirst-mode"], headers["x-smallfirst-reason"]) == ("exact", "unread")
            assert (await certificate_of(cascade.url))["state"] == "unread"

        async with asyncio.timeout(60):
            while not cascade.watch.standing.is_valid:
                await cascade.auditor.fold()
                await asyncio.sleep(0.05)
        assert (await headers_of(cascade))["x-smallfirst-mode"] == "certified"
        await until(lambda: count(tmp_path, "audits") == 3)


async def test_its_own_audits_raise_the_alarm_while_the_store_is_away(tmp_path: Path) -> None:
    async with watched(tmp_path) as cascade:
        await headers_of(cascade)
        await until(lambda: cascade.watch.watched.alarm.audits == 1)
        cascade.large.script = Script("no")
        async with written_to_by_another(tmp_path):
            for number in range(2, 7):
                if not cascade.watch.standing.is_valid:
                    break
                await headers_of(cascade)
                await until(lambda number=number: cascade.watch.watched.alarm.audits == number)

            assert (await headers_of(cascade))["x-smallfirst-reason"] == "alarmed"
            audits = cascade.watch.watched.alarm.audits
            assert count(tmp_path, "audits") <= 1, "they are in the journal alone"

        await until(lambda: count(tmp_path, "audits") == audits)
        await cascade.auditor.fold()
        assert (cascade.watch.standing.state, cascade.watch.watched.alarm.audits) == ("alarmed", audits)


async def test_two_gateways_of_one_store_see_each_others_alarms_when_it_is_back(tmp_path: Path) -> None:
    async with watched(tmp_path) as first, watched(tmp_path) as second:
        await headers_of(second)
        first.large.script = Script("no")
        async with written_to_by_another(tmp_path):
            while first.watch.standing.is_valid:
                audits = first.watch.watched.alarm.audits
                await headers_of(first)
                await until(lambda audits=audits: first.watch.watched.alarm.audits > audits)
            second.large.script = Script("no")
            for audits in (2, 3):
                await headers_of(second)
                await until(lambda audits=audits: second.watch.watched.alarm.audits == audits)
            assert second.watch.standing.state == "warned", "it cannot know"

        losses = sum(one.watch.watched.alarm.losses for one in (first, second))
        async with asyncio.timeout(60):
            while min(one.watch.watched.alarm.audits for one in (first, second)) < losses + 1:
                await asyncio.gather(first.auditor.fold(), second.auditor.fold())
                await asyncio.sleep(0.05)

        assert first.watch.watched.alarm == second.watch.watched.alarm
        assert (await headers_of(second))["x-smallfirst-reason"] == "alarmed"


async def test_a_ledger_that_goes_down_later_is_asked_again() -> None:
    book, clock = Book([an_audit(1, loss=False)]), Clock()
    auditor = await auditor_over(book)
    auditor.watches = {None: Watch(CERTIFICATE, artefact="a", clock_s=clock)}
    watch = auditor.watches[None]
    watch.remembers()
    await auditor.fold()

    book.is_down = True
    book.kept.append(an_audit(2, loss=True))
    for _ in range(3):
        clock.s += GRACE_S / 3
        await auditor.fold()
        assert (watch.standing.state, watch.watched.alarm.audits) == ("certified", 1)
    clock.s += 1
    await auditor.fold()
    assert watch.standing.state == "unread"
    book.is_down = False
    await auditor.fold()

    assert (watch.standing.state, watch.watched.alarm.losses, watch.read_age_s) == ("certified", 1, 0)
