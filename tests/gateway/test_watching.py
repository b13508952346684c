"""What moves the threshold and what speaks against a certificate, as operators and clients see it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import openai
import pytest
from fakes.gateway import running_app
from fakes.pools import metrics_of, probed
from fakes.scripted import Script, ScriptedServer
from fakes.stores import Store, store_of
from fakes.stores import audit as an_audit_record
from fakes.trusting import trust
from fakes.waiting import until
from fastapi import FastAPI

from router.alarm import Stretch
from router.audits import LOST_AT_START, AuditRules, Sampling
from router.certificate import Certificate
from router.drift import histogram_of
from router.trust import Trust
from router.watch import Watch
from server.app import create_app
from server.auditing import Auditor, Comparing
from server.settings.schema import Settings
from server.store.records import Audit, Placed, Record, StoreDown

MESSAGES = [{"role": "user", "content": "is it?"}]
PRICE = {"input": 1.0, "output": 1.0}
CERTIFICATE = Certificate(
    loss="disagreement", grader="exact", epsilon=0.02, delta=0.1, threshold=0.5, questions=500, accepted=400, losses=3,
    split="0" * 64, certified_on=datetime.now(UTC).date(),
)  # fmt: skip


TRUST = trust(certified=CERTIFICATE)


async def headers_of(cascade, **more: object):
    """The headers of one answer."""
    raw = await cascade.client.chat.completions.with_raw_response.create(
        **{"model": "auto", "messages": MESSAGES, **more}
    )
    return raw.headers


async def card_of(url: str) -> dict[str, Any]:
    """What `GET /v1/cascades` says of the only one."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/cascades") as reply:
        (card,) = (await reply.json())["data"]
        return card


async def certificate_of(url: str, cluster: str | None = None) -> dict[str, Any]:
    """What it says of a cluster's certificate."""
    (one,) = (one for one in (await card_of(url))["certificates"] if one["cluster"] == cluster)
    return one


async def test_a_budget_moves_the_threshold_and_says_so(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.9), large=Script("no"), budget={"escalated": 0.5})

    first = await headers_of(cascade)
    for _ in range(60):
        later = await headers_of(cascade)
    own = await headers_of(cascade, extra_body={"smallfirst": {"threshold": 0.7}})

    assert (first["x-smallfirst-threshold"], first["x-smallfirst-threshold-by"]) == ("0.500000", "config")
    assert later["x-smallfirst-threshold-by"] == "budget"
    assert (own["x-smallfirst-threshold"], own["x-smallfirst-threshold-by"]) == ("0.700000", "request")
    card = await card_of(cascade.url)
    assert card["budget"] == {"target": 0.5, "share": pytest.approx(card["budget"]["share"]), "infeasible": False}
    text = await metrics_of(cascade.url)
    assert 'smallfirst_threshold_by{by="budget",cascade="auto"} 1.0' in text
    assert 'smallfirst_budget_infeasible{cascade="auto"} 0.0' in text


async def test_a_budget_that_cannot_be_had_is_said(gateway) -> None:
    cascade = await gateway(small=Script("", p=0.9), large=Script("no"), budget={"escalated": 0.1})
    for _ in range(60):
        await headers_of(cascade)
    cascade.small.script = Script("yes", p=0.9)
    for _ in range(55):
        await headers_of(cascade)
    cascade.small.script = Script("", p=0.9)

    for _ in range(20):
        await headers_of(cascade)

    assert 'smallfirst_budget_infeasible{cascade="auto"} 1.0' in await metrics_of(cascade.url)


async def test_the_final_tiers_load_lowers_the_threshold_and_says_so(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.7), large=Script("no", waiting=3), threshold=0.8,
                            budget={"load_price": 2.0})  # fmt: skip
    await probed(cascade.url)

    loaded = await headers_of(cascade)

    assert loaded["x-smallfirst-tier"] == "small"
    assert (loaded["x-smallfirst-threshold"], loaded["x-smallfirst-threshold-by"]) == ("0.600000", "load")
    assert (await card_of(cascade.url))["threshold_by"] == "load"


async def test_without_a_price_load_moves_nothing(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.7), large=Script("no", waiting=3), threshold=0.8)
    await probed(cascade.url)

    headers = await headers_of(cascade)

    assert (headers["x-smallfirst-tier"], headers["x-smallfirst-threshold-by"]) == ("large", "config")


@dataclass
class Watched:
    """A gateway whose cascade has a certificate, and who stands behind it."""

    app: FastAPI
    url: str
    client: openai.AsyncOpenAI
    small: ScriptedServer
    large: ScriptedServer

    @property
    def auditor(self) -> Auditor:
        return self.app.state.overseen["auto"].auditor

    @property
    def watch(self) -> Watch:
        return self.app.state.served.watches["auto"][None]


@asynccontextmanager
async def watched(folder: Path | None = None, *, judged: Trust = TRUST, **fitted: object) -> AsyncIterator[Watched]:
    """It audits every accepted draft, and serves what was certified of their disagreement with the large model's."""
    async with AsyncExitStack() as stack:
        small = await stack.enter_async_context(ScriptedServer(Script("yes", p=0.9)))
        large = await stack.enter_async_context(ScriptedServer(Script("yes")))
        tiers = {
            name: {"model": "scripted", "price": PRICE, "urls": [server.url]}
            for name, server in (("small", small), ("large", large))
        }
        kept = judged.model_copy(update={"fit": judged.fit.model_copy(update=fitted)})
        auto = {"tiers": ["small", "large"], "mode": "certified", "trust": kept,
                "audits": {"rate": 1.0, "spend_per_day": 1.0}}  # fmt: skip
        store = {} if folder is None else {"folder": folder}
        app = create_app(Settings.model_validate({"tiers": tiers, "cascades": {"auto": auto}, "store": store}))
        url = await stack.enter_async_context(running_app(app))
        client = await stack.enter_async_context(openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none"))
        yield Watched(app, url, client, small, large)


async def test_audits_that_disagree_raise_the_alarm() -> None:
    async with watched() as cascade:
        assert (await certificate_of(cascade.url))["state"] == "certified"
        cascade.large.script = Script("no")

        number = 0
        while cascade.watch.standing.is_valid:
            number += 1
            await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)
            await until(lambda number=number: cascade.watch.watched.alarm.audits == number)

        certificate = await certificate_of(cascade.url)
        assert certificate["state"] == "alarmed"
        assert certificate["evidence"] >= certificate["alarm_at"]
        assert certificate["audited"] == certificate["audited_losses"] == number <= 5
        assert number <= certificate["exposure"] <= number + 2 * LOST_AT_START
        text = await metrics_of(cascade.url)
        assert 'smallfirst_certificate_valid{cascade="auto",cluster=""} 0.0' in text
        assert 'smallfirst_certificate_state{cascade="auto",cluster="",state="alarmed"} 1.0' in text
        assert 'smallfirst_alarm_evidence{cascade="auto",cluster=""}' in text
        headers = await headers_of(cascade)
        assert (headers["x-smallfirst-tier"], headers["x-smallfirst-mode"], headers["x-smallfirst-reason"]) == (
            "large", "exact", "alarmed")  # fmt: skip


async def test_what_a_laxer_threshold_accepted_tells_nothing_of_the_certificate() -> None:
    async with watched() as cascade:
        cascade.large.script = Script("no")

        for _ in range(5):
            await headers_of(cascade, extra_headers={"x-smallfirst-mode": "threshold"})
        await headers_of(cascade)
        await until(lambda: cascade.watch.watched.alarm.audits == 1)

        assert (await certificate_of(cascade.url))["state"] == "certified"


async def test_an_alarm_outlives_the_gateway(tmp_path: Path) -> None:
    await filled(tmp_path, [True] * 5)

    async with watched(tmp_path) as cascade:
        headers = await headers_of(cascade)

    assert (headers["x-smallfirst-tier"], headers["x-smallfirst-mode"], headers["x-smallfirst-reason"]) == (
        "large", "exact", "alarmed")  # fmt: skip


async def test_an_alarm_outlives_a_gateway_that_was_killed_before_its_audits_were_in_the_store(tmp_path: Path) -> None:
    await left_in_the_journal(tmp_path, [True] * 5)

    async with watched(tmp_path) as cascade:
        headers = await headers_of(cascade)

    assert headers["x-smallfirst-reason"] == "alarmed"


async def test_audits_that_raised_no_alarm_hold_up_nothing(tmp_path: Path) -> None:
    await filled(tmp_path, [False] * 5)

    async with watched(tmp_path) as cascade:
        headers = await headers_of(cascade)

    assert (headers["x-smallfirst-tier"], headers["x-smallfirst-mode"]) == ("small", "certified")


async def test_while_nobody_knows_whether_there_was_an_alarm_the_final_tier_answers(tmp_path: Path) -> None:
    (tmp_path / "smallfirst.db").write_bytes(b"no database at all" * 100)

    async with watched(tmp_path) as cascade:
        headers = await headers_of(cascade)

        assert (headers["x-smallfirst-tier"], headers["x-smallfirst-mode"], headers["x-smallfirst-reason"]) == (
            "large", "exact", "unread")  # fmt: skip
        text = await metrics_of(cascade.url)
        assert 'smallfirst_certificate_state{cascade="auto",cluster="",state="unread"} 1.0' in text


async def filled(folder: Path, losses: Sequence[bool]) -> None:
    """A store with the audits of a gateway that has ended."""
    await keeping(folder, losses).close()


async def left_in_the_journal(folder: Path, losses: Sequence[bool]) -> None:
    """As `filled`, by a gateway that was killed before it drained them."""
    await filled(folder, [])
    keeping(folder, losses).journal.close()


def keeping(folder: Path, losses: Sequence[bool]) -> Store:
    """A store whose journal has the audits."""
    store = store_of(folder)
    for loss in losses:
        kept = an_audit_record(loss=loss, artefact=TRUST.identity, propensity=1.0, exposure=1.0, grader="exact")
        assert store.keeper.keep(kept)
    return store


def test_what_an_alarm_says_is_what_audits_saw() -> None:
    regret = CERTIFICATE.model_copy(update={"loss": "regret", "audited_by": "exact", "disagreement": 0.05})
    watch = Watch(regret, artefact="a")

    watch.remembers()
    assert watch.standing.state == "unread"
    watch.read()
    while not watch.watched.alarm.sounds:
        watch.audited(Stretch(1.0, 1.0, True), datetime.now(UTC).timestamp())

    assert watch.standing.why == "audits show a disagreement with the final tier above 0.05"


async def test_audits_that_agree_are_counted_and_raise_none() -> None:
    async with watched(confidences=histogram_of([0.9, 0.95])) as cascade:
        for number in range(1, 6):
            await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)
            await until(lambda number=number: cascade.watch.watched.alarm.audits == number)

        certificate = await certificate_of(cascade.url)
        assert (certificate["state"], certificate["audited_losses"]) == ("certified", 0)
        assert certificate["evidence"] < 0


@dataclass
class Book:
    """A ledger that remembers, and may be down."""

    kept: list[Record] = field(default_factory=list)
    is_down: bool = False

    def keep(self, record: Record) -> bool:
        self.kept.append(record)
        return True

    async def audits_since(self, cascade: str, after: int, *, formerly: Collection[str] = ()) -> Sequence[Placed]:
        if self.is_down:
            raise StoreDown("down")
        names = {cascade, *formerly}
        audits = [record for record in self.kept if isinstance(record, Audit) and record.cascade in names]
        return [Placed(place, audit) for place, audit in enumerate(audits, 1) if place > after][:3]

    async def former_names(self, artefact: str, known: Collection[str]) -> Collection[str]:
        audits = [record for record in self.kept if isinstance(record, Audit)]
        return {one.cascade for one in audits if one.artefact == artefact and one.cascade not in known}


@dataclass
class Counts:
    """Counts nothing."""

    def observe(self, event: object, cascade: str) -> None: ...

    def audit_cost(self, cascade: str, tier: str, cost: float) -> None: ...

    def audited(self, cascade: str, result: str) -> None: ...


def an_audit(number: int, *, loss: bool | None, artefact: str | None = "a", grader: str = "exact") -> Audit:
    """One that some gateway kept."""
    return Audit(
        id=f"{number:032}", decision="d", time=datetime.now(UTC).timestamp(), cascade="auto", drafter="small",
        final="large", propensity=0.5, loss=loss, grader=grader, confidence=0.9, cost=0.25, artefact=artefact,
        exposure=1.0,
    )  # fmt: skip


async def auditor_over(book: Book, others: Collection[str] = ()) -> Auditor:
    """Of a gateway's cascade, with another ledger."""
    settings = {
        "tiers": {name: {"model": "m", "price": PRICE, "urls": ["http://x"]} for name in ("small", "large")},
        "cascades": {"auto": {"tiers": ["small", "large"], "threshold": 0.5}},
    }
    app = create_app(Settings.model_validate(settings))
    async with app.router.lifespan_context(app):
        cascade = app.state.served.cascades["auto"]
    return Auditor(
        cascade, {None: Watch(CERTIFICATE, artefact="a")}, sampling=Sampling(AuditRules(0.5, 10.0), draw=Random(1)),
        comparing=Comparing("exact", lambda text, reference: text == reference), has_room=lambda: True, ledger=book,
        counting=Counts(), others=others,
    )  # fmt: skip


async def test_the_audits_of_all_gateways_are_folded_once_and_those_of_other_policies_never() -> None:
    mine = [an_audit(number, loss=number % 4 == 0) for number in range(8)]
    others = [an_audit(20, loss=True, artefact="b"), an_audit(21, loss=True, grader="json")]
    book = Book([*mine, *others])
    auditor = await auditor_over(book)

    await asyncio.gather(*(auditor.fold() for _ in range(5)))

    assert (auditor.watches[None].watched.alarm.audits, auditor.watches[None].watched.alarm.losses) == (8, 2)
    assert auditor.sampling.spent_today == pytest.approx(10 * 0.25), "what others paid today counts"


async def test_a_cascade_that_was_renamed_is_still_judged_by_the_audits_under_its_old_name() -> None:
    audits = [an_audit(1, loss=True), replace(an_audit(2, loss=True), cascade="old")]
    renamed, another = await auditor_over(Book(audits)), await auditor_over(Book(audits), others=["old"])

    for auditor in (renamed, another):
        await auditor.fold()

    assert renamed.watches[None].watched.alarm.losses == 2
    assert another.watches[None].watched.alarm.losses == 1


async def test_an_audit_without_exposure_or_with_an_impossible_one_is_left_out() -> None:
    book = Book([replace(an_audit(1, loss=True), exposure=None), replace(an_audit(2, loss=True), exposure=0.1)])
    auditor = await auditor_over(book)

    await auditor.fold()

    assert auditor.watches[None].watched.alarm.audits == 0


async def test_a_ledger_that_is_down_is_asked_again() -> None:
    book = Book([an_audit(1, loss=True)], is_down=True)
    auditor = await auditor_over(book)
    auditor.watches[None].remembers()

    await auditor.fold()
    assert (auditor.watches[None].watched.alarm.audits, auditor.watches[None].standing.state) == (0, "unread")
    book.is_down = False
    await auditor.fold()

    assert (auditor.watches[None].watched.alarm.audits, auditor.watches[None].standing.state) == (1, "certified")
