"""Prompts whose embedding tells that they are not worth a draft; the helper's server embeds them."""

from pathlib import Path

import httpx
import pytest
from fakes.asking import headers_of
from fakes.embedding import embeds, hangs, reply, says
from fakes.pools import probed
from fakes.scripted import Script
from fakes.stores import decision
from fakes.trusting import certificate, trust

from router.skipping import EmbeddingGain
from server.cli.decision_page import sentence
from server.settings.schema import Settings
from server.store.records import Step

LARGE = Script("the large one's", speculation="handover")
GAIN = {"kind": "embedding-gain", "model": "helping", "intercept": 0.0, "weights": (1.0, 0.0)}
HARD = trust(threshold=0.4, certified=certificate(0.8), skip=GAIN)
SKIPPING = {"trust": HARD, "threshold": None, "skip": {"below": 0.4, "embeddings": "helper"}}
EMBEDDING = Script(handler=embeds("integrate"), served="helping")


@pytest.mark.parametrize("mode", ["threshold", "certified"])
async def test_a_prompt_that_is_too_hard_goes_to_the_next_tier_at_once(gateway, mode: str) -> None:
    cascade = await gateway(small=Script("yes"), large=LARGE, helper=EMBEDDING, mode=mode, **SKIPPING)

    said = await headers_of(cascade, "Integrate!")

    assert (said["tier"], said["mode"], said["reason"], said["escalated"]) == ("large", mode, "skipped", "true")
    assert cascade.small.seen == []
    assert cascade.helper.seen == [{"input": "Integrate!", "truncate_prompt_tokens": -1, "model": "helping"}]


async def test_other_prompts_are_drafted(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=LARGE, helper=EMBEDDING, **SKIPPING)

    assert (await headers_of(cascade, "Add!"))["tier"] == "small"
    assert len(cascade.helper.seen) == 1


@pytest.mark.parametrize(
    "broken",
    [
        Script(handler=hangs),
        Script(handler=says({"error": "no such endpoint"}, 404)),
        Script(handler=says({"error": "too long"}, 400)),
        Script(handler=says({"error": "dead"}, 500)),
        Script(handler=says({"data": []})),
        Script(handler=says(reply([1.0, 0.0, 0.0]))),
        Script(trouble="reset"),
        Script(trouble="html"),
    ],
    ids=["late", "no embeddings", "refused", "failed", "no reply", "another length", "reset", "html"],
)
async def test_where_there_is_no_embedding_nothing_is_skipped(gateway, broken: Script) -> None:
    cascade = await gateway(small=Script("yes"), large=LARGE, helper=broken, **SKIPPING)

    said = await headers_of(cascade, "Integrate!")

    assert (said["tier"], said["reason"]) == ("small", "sure")


async def test_what_is_late_is_left_alone(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=LARGE, helper=Script(handler=hangs), **SKIPPING)

    await headers_of(cascade, "Integrate!")

    assert cascade.helper.left == 1
    assert 'smallfirst_tier_failures_total{reason="timeout",tier="helper"} 1.0' in await metrics(cascade)


async def test_its_tokens_are_counted_and_paid_for(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=LARGE, helper=EMBEDDING, **SKIPPING)

    answer = await cascade.client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Add!"}])

    told = answer.usage.model_extra["smallfirst"]
    assert told["tiers"]["helper"] == {"prompt_tokens": 5, "completion_tokens": 0, "cost": pytest.approx(5e-6)}
    assert told["cost"] == pytest.approx(told["tiers"]["small"]["cost"] + 5e-6)
    assert answer.usage.prompt_tokens == told["tiers"]["small"]["prompt_tokens"]
    counted = await metrics(cascade)
    assert 'smallfirst_tier_calls_total{tier="helper"} 1.0' in counted
    assert 'smallfirst_tier_tokens_total{kind="prompt",tier="helper"} 5.0' in counted
    assert 'smallfirst_cost_total{cascade="auto",tier="helper"} 5e-06' in counted


async def test_mode_exact_and_prompts_without_words_ask_for_none(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=LARGE, helper=EMBEDDING, **SKIPPING)

    assert (await headers_of(cascade, "Integrate!", mode="exact"))["reason"] == "exact"
    assert (await headers_of(cascade, ""))["tier"] == "small"

    assert cascade.helper.seen == []


async def test_a_tier_that_embeds_and_drafts_still_shows_its_draft(gateway, tmp_path: Path) -> None:
    both = Script("it is not", ps=(0.9, 0.5, 0.2))
    skip = {**GAIN, "model": "scripted", "weights": (0.0,)}
    kept = {"trust": trust(skip=skip), "threshold": None, "skip": {"below": 0.4, "embeddings": "small"}}
    cascade = await gateway(small=both, large=LARGE, store={"folder": str(tmp_path)}, **kept)

    said = await headers_of(cascade, "Add!")
    found = await cascade.client.get(f"/decisions/{said['x-request-id']}", cast_to=dict[str, object])

    assert [one["tokens"] for one in found["evidence"]] == [3]


async def test_servers_that_are_another_model_than_was_asked_tell_nothing(gateway) -> None:
    other = trust(skip={**GAIN, "fingerprint": "that of another"})
    cascade = await gateway(small=Script("yes"), large=LARGE, helper=EMBEDDING, **{**SKIPPING, "trust": other})
    await probed(cascade.url)

    assert (await headers_of(cascade, "Integrate!"))["tier"] == "small"
    assert cascade.helper.seen == []


def settings(skip: dict[str, object], gain: object) -> Settings:
    """Of a cascade that skips so."""
    tiers = {name: {"model": model, "price": {"input": 1.0, "output": 1.0}, "urls": [f"http://{name}"]}
             for name, model in (("small", "scripted"), ("large", "scripted"), ("helper", "helping"))}  # fmt: skip
    cascade = {"tiers": ["small", "large"], "trust": trust(skip=gain), "skip": {"below": 0.4, **skip}}
    return Settings.model_validate({"tiers": tiers, "cascades": {"auto": cascade}})


@pytest.mark.parametrize(
    ("skip", "gain", "mistake"),
    [
        ({}, GAIN, "say which tier embeds, as `embeddings`"),
        ({"embeddings": "nobody"}, GAIN, "skip.embeddings: there is no tier 'nobody'"),
        ({"embeddings": "small"}, GAIN, "the artefact was made with helping, tier 'small' is scripted"),
        ({"embeddings": "helper"}, {"intercept": 0.0, "unit": 1.0, "weights": (1,)}, "scores the prompts' words"),
    ],
)
def test_settings_that_do_not_fit_the_artefact_are_refused(skip, gain: object, mistake: str) -> None:
    with pytest.raises(ValueError, match=mistake):
        settings(skip, gain)


def test_settings_that_fit_are_taken() -> None:
    assert settings({"embeddings": "helper"}, GAIN).cascades["auto"].skip is not None


@pytest.mark.parametrize(("vector", "confidence"), [((0.6, 0.8), 0.2), ((0.0, 1.0), 0.5), ((1.0,), None)])
def test_the_confidence_is_of_the_gain(vector: tuple[float, ...], confidence: float | None) -> None:
    assert EmbeddingGain.model_validate(GAIN).confidence(vector) == confidence


def test_explaining_a_skipped_prompt_names_no_tier_that_only_embedded_it() -> None:
    steps = (Step("helper"), Step("large"))

    said = sentence(decision(tier="large", escalated=True, reason="skipped", steps=steps))

    assert (
        said
        == "large answered: of the tier before it was known that it would hardly have answered such a prompt as well."
    )


async def metrics(cascade) -> str:
    """What Prometheus reads."""
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{cascade.url}/metrics")).text
