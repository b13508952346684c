"""Certificates by kind of request: each has its own alarm, drift and standing."""

import math
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import FrameType

import pytest
from fakes.pools import metrics_of, probed
from fakes.scripted import Script
from fakes.stores import audit, rows, store_of
from fakes.trusting import certificate, fit, gate_of, trust
from fakes.waiting import until
from gateway.test_watching import Watched, certificate_of, headers_of, watched
from pydantic import ValidationError

from models.prompt import Prompt
from router.alarm import ALPHA
from router.audits import LOST_AT_START
from router.drift import WINDOW, histogram_of
from router.policy import Policy
from router.scorers import SCORERS
from router.streaming import gate_for
from router.trust import Trust
from router.trusted import Trusted
from server.cli.check import plan
from server.doors.controls import Controls
from server.routing import controlled
from server.settings.schema import Settings

PROMISED = certificate(0.5, loss="disagreement")
SUMS, POEMS = fit(certified=PROMISED), fit(certified=PROMISED)
BY_TASK = trust(clusters={"sums": SUMS, "poems": POEMS, "riddles": fit()})
HOSTILE = 'a"} 1\nsmallfirst_certificate_valid{cascade="auto'.replace("\n", "\\n")


async def asked(cascade: Watched, task: str, times: int = 1) -> None:
    """Requests of a task, each of which is audited and folded before the next."""
    watch = cascade.app.state.served.watches["auto"][task]
    for _ in range(times):
        wanted = watch.watched.alarm.audits + 1
        await headers_of(cascade, extra_body={"smallfirst": {"task": task}})
        await until(lambda wanted=wanted: watch.watched.alarm.audits == wanted)


async def reasons_of(cascade: Watched, *tasks: str) -> list[tuple[str, str]]:
    """In which mode each is served just now, and why."""
    said = [await headers_of(cascade, extra_body={"smallfirst": {"task": task}}) for task in tasks]
    return [(one["x-smallfirst-mode"], one["x-smallfirst-reason"]) for one in said]


async def test_a_cluster_whose_alarm_sounds_falls_back_alone() -> None:
    async with watched(judged=BY_TASK) as cascade:
        await asked(cascade, "poems", 3)
        cascade.large.script = Script("no")
        await asked(cascade, "sums", 4)
        cascade.large.script = Script("yes")

        assert await reasons_of(cascade, "sums", "poems") == [("exact", "alarmed"), ("certified", "sure")]
        sums, poems = [await certificate_of(cascade.url, task) for task in ("sums", "poems")]
        assert (sums["state"], sums["audited"], sums["audited_losses"]) == ("alarmed", 4, 4)
        assert (poems["state"], poems["audited_losses"]) == ("certified", 0)
        text = await metrics_of(cascade.url)
        assert 'smallfirst_certificate_valid{cascade="auto",cluster="sums"} 0.0' in text
        assert 'smallfirst_certificate_valid{cascade="auto",cluster="poems"} 1.0' in text
        assert 'smallfirst_certificate_state{cascade="auto",cluster="sums",state="alarmed"} 1.0' in text


def test_a_gate_tells_nothing_of_requests_that_another_scorer_judges() -> None:
    gated = trust(clusters={"sums": fit()}, gate=gate_of(4))
    served = Trusted(gated, Policy("threshold", SCORERS["mean-logprob"], 0.5, (), "escalate"), threshold=0.5)
    prompt = Prompt({"messages": []}, "id")

    gates = [gate_for(served.policy("threshold", served.kind(task, "")), prompt) for task in ("sums", "songs")]

    assert gates == [None, gated.gate]


def test_the_plan_says_whose_streams_are_held() -> None:
    tier = {"model": "scripted", "price": {"input": 1.0, "output": 2.0}, "urls": ["http://a"]}
    gated = {"tiers": ["small", "large"], "threshold": 0.5, "stream": {"on_doubt": "finish", "gate_tokens": 4}}
    artefacts = [trust(gate=gate_of(4)), trust(gate=gate_of(4), clusters={"sums": fit()})]

    said = [
        "\n".join(plan(Settings.model_validate({"tiers": {"small": tier, "large": tier}, "cascades": {
            "auto": {**gated, "trust": one}}, "store": {"url": "none"}}), [], None)) for one in artefacts
    ]  # fmt: skip

    assert ["those of requests of a known kind are held" in one for one in said] == [False, True]


async def test_what_has_no_certificate_is_watched_by_none() -> None:
    async with watched(judged=BY_TASK) as cascade:
        assert await reasons_of(cascade, "riddles", "songs") == [("exact", "uncertified")] * 2
        assert set(cascade.app.state.served.watches["auto"]) == {"sums", "poems"}


async def test_the_requests_of_another_cluster_stretch_no_audit() -> None:
    async with watched(judged=BY_TASK) as cascade:
        for _ in range(3):
            await asked(cascade, "poems")
        await asked(cascade, "sums")

        sums, poems = [await certificate_of(cascade.url, task) for task in ("sums", "poems")]
        lost = LOST_AT_START / PROMISED.acceptance
        assert (sums["exposure"], poems["exposure"]) == pytest.approx((1 + lost, 3 + lost))


async def test_the_alarms_share_one_error_as_the_certificates_do() -> None:
    async with watched(judged=BY_TASK) as cascade:
        both = [await certificate_of(cascade.url, task) for task in ("sums", "poems")]

        assert [math.exp(-one["alarm_at"]) for one in both] == pytest.approx([ALPHA / 2] * 2)
        assert 'smallfirst_alarm_at{cascade="auto",cluster="sums"} 3.68' in await metrics_of(cascade.url)


async def test_an_alarm_that_a_single_certificate_would_have_is_none_of_one_of_many() -> None:
    many = {f"kind {number}": SUMS for number in range(64)}
    async with watched(judged=trust(clusters=many)) as cascade:
        cascade.large.script = Script("no")
        await asked(cascade, "kind 7", 2)

        found = await certificate_of(cascade.url, "kind 7")
        assert math.log(1 / math.sqrt(ALPHA)) < found["evidence"] < found["alarm_at"] == pytest.approx(7.15, abs=0.01)
        assert found["state"] == "certified"
        assert len(cascade.app.state.served.watches["auto"]) == 64


async def test_a_cluster_whose_confidences_drift_is_warned_alone() -> None:
    spread = {"confidences": histogram_of([number / 500 for number in range(500)])}
    judged = trust(clusters={"sums": {**SUMS, **spread}, "poems": {**POEMS, **spread}})
    async with watched(judged=judged) as cascade:
        for _ in range(WINDOW - 1):
            cascade.app.state.served.watches["auto"]["sums"].scored(0.9)
        await asked(cascade, "poems")
        await asked(cascade, "sums")

        states = {task: await certificate_of(cascade.url, task) for task in ("sums", "poems")}
        assert {task: one["state"] for task, one in states.items()} == {"sums": "warned", "poems": "certified"}
        assert states["sums"]["drift"] > 0.1
        assert states["poems"]["drift"] is None
        assert [cascade.auditor.watches[task].vigilance for task in ("sums", "poems")] == [4.0, 1.0]


async def test_what_a_request_costs_does_not_grow_with_the_clusters() -> None:
    few, many = trust(clusters={"sums": SUMS}), trust(clusters={"sums": SUMS, **{f"{n}": SUMS for n in range(63)}})

    assert await calls_of_a_request(many) == await calls_of_a_request(few)


async def calls_of_a_request(judged: Trust) -> int:
    """How many functions are called to route one, and to draw whether it is audited."""
    async with watched(judged=judged) as cascade:
        await probed(cascade.url)
        served, counted, prompt = cascade.app.state.served, 0, Prompt({"messages": []}, "id")

        def count(_frame: FrameType, event: str, _arg: object) -> None:
            nonlocal counted
            counted += event in ("call", "c_call")

        for profile in (None, count):  # what is made once is made the first time
            sys.setprofile(profile)
            one = controlled(served.cascades["auto"], Controls(task="sums"), served, prompt)
            cascade.auditor.ticket(prompt, one.policy)
            sys.setprofile(None)
        assert one.policy.mode == "certified"
        return counted


async def filled(folder: Path, judged: Trust, cluster: str | None, losses: Sequence[bool]) -> None:
    """A store with the audits of a gateway that has ended."""
    store = store_of(folder)
    for loss in losses:
        kept = audit(loss=loss, artefact=judged.identity, propensity=1.0, exposure=1.0, grader="exact", cluster=cluster)
        assert store.keeper.keep(kept)
    await store.close()


async def test_a_clusters_alarm_outlives_the_gateway(tmp_path: Path) -> None:
    await filled(tmp_path, BY_TASK, "sums", [True] * 5)

    async with watched(tmp_path, judged=BY_TASK) as cascade:
        assert await reasons_of(cascade, "sums", "poems") == [("exact", "alarmed"), ("certified", "sure")]

    assert rows(tmp_path, "SELECT DISTINCT cluster FROM audits ORDER BY cluster") == [("poems",), ("sums",)]


async def test_an_audit_without_a_cluster_is_no_clusters(tmp_path: Path) -> None:
    await filled(tmp_path, BY_TASK, None, [True] * 5)

    async with watched(tmp_path, judged=BY_TASK) as cascade:
        states = {one: (await certificate_of(cascade.url, one))["state"] for one in ("poems", "sums")}

    assert states == {"poems": "certified", "sums": "certified"}


async def test_a_certificate_that_serves_nothing_neither_expires_nor_shares_the_alarms_error() -> None:
    old = certificate(0.5, loss="disagreement", certified_on=date(2026, 1, 2), max_age_days=1)

    async with watched(judged=trust(certified=old, clusters={"sums": SUMS})) as cascade:
        sums = await certificate_of(cascade.url, "sums")
        text = await metrics_of(cascade.url)

    assert math.exp(-sums["alarm_at"]) == pytest.approx(ALPHA)
    assert [line for line in text.splitlines() if line.startswith("smallfirst_certificate_valid{")] == [
        'smallfirst_certificate_valid{cascade="auto",cluster="sums"} 1.0'
    ]


async def test_a_cluster_named_like_a_label_makes_no_series_of_its_own() -> None:
    async with watched(judged=trust(clusters={HOSTILE: SUMS})) as cascade:
        await asked(cascade, HOSTILE)

        valid = [line for line in (await metrics_of(cascade.url)).splitlines() if line.startswith(
            "smallfirst_certificate_valid{")]  # fmt: skip
        assert len(valid) == 1
        assert valid[0].endswith('\\"} 1\\\\nsmallfirst_certificate_valid{cascade=\\"auto"} 1.0')


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines", "a\x00b", "a\n"])
def test_what_no_request_could_name_is_no_cluster(name: str) -> None:
    with pytest.raises(ValidationError):
        trust(clusters={name: SUMS})


def test_the_plan_says_how_certificates_are_watched() -> None:
    tier = {"model": "scripted", "price": {"input": 1.0, "output": 1.0}, "urls": ["http://x"]}
    sums = fit(certified=PROMISED.model_copy(update={"grader": "numeric"}))
    auto = {"tiers": ["small", "large"], "mode": "certified", "trust": trust(clusters={"sums": sums, "poems": POEMS}),
            "task": "sums", "audits": {"rate": 0.1, "spend_per_day": 1.0}}  # fmt: skip

    said = "\n".join(plan(Settings.model_validate({"tiers": {"small": tier, "large": tier}, "cascades": {"auto": auto},
                                                   "store": {"url": "none"}}), [], None))  # fmt: skip

    assert "audits by exact do not watch the certificate for sums: tune again" in said
    assert "the certificate for poems" not in said
    assert "each certificate has an alarm, that sounds falsely with probability 0.025 at most" in said
    assert said.count("with probability 0.9 for sums, poems, until ") == 1
