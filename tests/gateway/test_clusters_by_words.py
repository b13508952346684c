"""Requests that name no task: their words tell which fit judges them."""

from pathlib import Path

import pytest
from fakes.asking import headers_of
from fakes.scripted import Script
from fakes.stores import decision
from fakes.trusting import certificate, fit, trust

from router.clusters import Centroids
from router.words import prompt_shares
from server.cli.decision_page import heading
from server.settings.schema import Settings

LARGE = Script("the large one's", speculation="handover")
BUCKETS = 4096
ADD, RHYME = "Add these!", "Rhyme on this!"


def mean_of(*prompts: str) -> tuple[int, ...]:
    """A centroid of prompts of a few words."""
    found = {bucket for prompt in prompts for bucket in prompt_shares(prompt, BUCKETS)}
    return tuple(1000 * (place in found) for place in range(BUCKETS))


def telling(**prompts: str) -> Centroids:
    """A cluster for each of these prompts."""
    return Centroids(
        floor=0.5, unit=1e-3, rarity=(1,) * BUCKETS, centroids={name: mean_of(one) for name, one in prompts.items()}
    )


CLUSTERS = {
    "sums": fit(threshold=0.3, certified=certificate(0.6)),
    "poems": fit(threshold=0.7, certified=certificate(0.9)),
    "named/only": fit(threshold=0.2, certified=certificate(0.2)),
}
KEPT = trust(certified=certificate(0.8), clusters=CLUSTERS, words=telling(sums=ADD, poems=RHYME))
JUDGED = {"trust": KEPT, "threshold": None, "mode": "certified"}


@pytest.mark.parametrize(
    ("asked", "mode", "cluster", "threshold"),
    [
        (ADD, "threshold", "sums", 0.3),
        (RHYME, "threshold", "poems", 0.7),
        ("Translate that", "threshold", None, 0.5),
        (ADD, "certified", "sums", 0.6),
        (RHYME, "certified", "poems", 0.9),
    ],
)
async def test_words_tell_which_fit_judges(
    gateway, asked: str, mode: str, cluster: str | None, threshold: float
) -> None:
    served = await gateway(small=Script("yes", p=0.95), large=LARGE, **JUDGED)

    said = await headers_of(served, asked, mode=mode)

    assert (said["tier"], said["mode"], said.get("cluster")) == ("small", mode, cluster)
    assert float(said["threshold"]) == threshold


async def test_what_is_of_no_known_kind_was_not_certified(gateway) -> None:
    served = await gateway(small=Script("yes"), large=LARGE, **JUDGED)

    for asked in ("Translate that", "", "?!"):
        said = await headers_of(served, asked)
        assert (said["tier"], said["mode"], said["reason"]) == ("large", "exact", "unknown-task")
        assert "cluster" not in said


async def test_a_named_task_comes_before_the_words(gateway) -> None:
    served = await gateway(small=Script("yes", p=0.5), large=LARGE, **JUDGED)

    said = await headers_of(served, RHYME, task="sums", mode="threshold")

    assert (said["tier"], said["cluster"], float(said["threshold"])) == ("small", "sums", 0.3)


@pytest.mark.parametrize(
    ("task", "reason"),
    [("sums", "other-task"), ("named/only", "other-task"), ("unheard-of", "unknown-task"), ("poems", "sure")],
)
async def test_no_certificate_is_for_a_request_that_names_what_its_words_do_not_show(
    gateway, task: str, reason: str
) -> None:
    served = await gateway(small=Script("yes", p=0.95), large=LARGE, **JUDGED)

    said = await headers_of(served, RHYME, task=task)

    assert (said["reason"], said["tier"]) == (reason, "small" if reason == "sure" else "large")
    assert said.get("cluster") == ("poems" if reason == "sure" else None)


async def test_the_cascades_own_task_comes_before_the_words_and_after_the_request(gateway) -> None:
    served = await gateway(small=Script("yes", p=0.95), large=LARGE, task="sums", **JUDGED)

    assert (await headers_of(served, ADD))["cluster"] == "sums"
    assert (await headers_of(served, RHYME))["reason"] == "other-task"
    assert (await headers_of(served, RHYME, task="poems"))["cluster"] == "poems"
    assert float((await headers_of(served, RHYME, mode="threshold"))["threshold"]) == 0.3


async def test_in_mode_exact_nothing_is_judged(gateway) -> None:
    served = await gateway(small=Script("yes"), large=LARGE, **JUDGED)

    assert "cluster" not in await headers_of(served, ADD, mode="exact")


async def test_all_that_the_user_said_is_read_and_nothing_else(gateway) -> None:
    served = await gateway(small=Script("yes", p=0.95), large=LARGE, **JUDGED)

    raw = await served.client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "system", "content": RHYME}, {"role": "user", "content": "Add"},
                                {"role": "assistant", "content": RHYME}, {"role": "user", "content": "these!"}],
    )  # fmt: skip

    assert raw.headers["x-smallfirst-cluster"] == "sums"


async def test_a_name_that_no_header_can_hold_is_escaped(gateway) -> None:
    name = "poèmes, x-evil: 1"
    kept = trust(clusters={name: fit()}, words=telling(**{name: RHYME}))
    served = await gateway(small=Script("yes"), large=LARGE, trust=kept, threshold=None)

    assert (await headers_of(served, RHYME))["cluster"] == "po%C3%A8mes%2C x-evil%3A 1"


async def test_the_decision_says_which_kind_was_judged(gateway, tmp_path: Path) -> None:
    served = await gateway(small=Script("yes", p=0.95), large=LARGE, store={"folder": str(tmp_path)}, **JUDGED)

    kept = []
    for controls in ({}, {"task": "sums", "mode": "threshold"}):
        raw = await served.client.chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": RHYME}], extra_body={"smallfirst": controls}
        )
        found = await served.client.get(f"/decisions/{raw.headers['x-request-id']}", cast_to=dict[str, object])
        kept.append((found["task"], found["cluster"]))

    assert kept == [(None, "poems"), ("sums", "sums")]


def test_explaining_names_the_kind() -> None:
    lines = " ".join(str(line) for line in heading(decision(cluster="poems")))

    assert "cluster poems" in lines


def test_a_function_that_tells_kinds_without_a_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="words: there is no fit for the clusters poems"):
        trust(clusters={"sums": fit()}, words=telling(sums=ADD, poems=RHYME))


def test_settings_take_such_an_artefact() -> None:
    tiers = {name: {"model": "scripted", "price": {"input": 1.0, "output": 1.0}, "urls": [f"http://{name}"]}
             for name in ("small", "large")}  # fmt: skip
    cascade = {"tiers": ["small", "large"], "trust": KEPT, "mode": "certified"}

    assert Settings.model_validate({"tiers": tiers, "cascades": {"auto": cascade}}).cascades["auto"].trust == KEPT
