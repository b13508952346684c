"""Prompts that are not worth a draft: the first tier is not asked."""

import pytest
from fakes.asking import headers_of
from fakes.scripted import Script
from fakes.trusting import certificate, trust

from models.forms import Fields
from router.skipping import PromptGain
from router.words import LONGEST, asked_in, prompt_shares
from server.settings.schema import Settings

LARGE = Script("the large one's", speculation="handover")
BUCKETS = 1024


def gains(*words: str) -> PromptGain:
    """The final tier does better by 0.8 on prompts of one of these words, by nothing on others."""
    weights = [0] * BUCKETS
    for word in words:
        (bucket,) = prompt_shares(word, BUCKETS)
        weights[bucket] = 8
    return PromptGain(intercept=0.0, unit=0.1, weights=tuple(weights))


HARD = trust(threshold=0.4, certified=certificate(0.8), skip=gains("integrate"))
SKIPPING = {"trust": HARD, "threshold": None, "skip": {"below": 0.2}}


@pytest.mark.parametrize("mode", ["threshold", "certified"])
async def test_a_prompt_that_is_too_hard_goes_to_the_next_tier_at_once(gateway, mode: str) -> None:
    cascade = await gateway(small=Script("yes"), large=LARGE, mode=mode, **SKIPPING)

    said = await headers_of(cascade, "Integrate!")

    assert (said["tier"], said["mode"], said["reason"], said["escalated"]) == ("large", mode, "skipped", "true")
    assert "confidence" not in said
    assert cascade.small.seen == []


async def test_other_prompts_are_drafted(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=LARGE, **SKIPPING)

    assert (await headers_of(cascade, "Add!"))["tier"] == "small"


async def test_mode_exact_drafts_all_the_same(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=LARGE, **SKIPPING)

    assert (await headers_of(cascade, "Integrate!", mode="exact"))["reason"] == "exact"


async def test_without_the_setting_nothing_is_skipped(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=LARGE, trust=HARD, threshold=None)

    assert (await headers_of(cascade, "Integrate!"))["tier"] == "small"


@pytest.mark.parametrize("made", [trust(models=("s", "l")), None])
def test_it_takes_an_artefact_that_scores_prompts(made) -> None:
    tiers = {name: {"model": name[0], "price": {"input": 1.0, "output": 1.0}, "urls": [f"http://{name}"]}
             for name in ("small", "large")}  # fmt: skip
    cascade = {"tiers": ["small", "large"], "threshold": 0.5, "trust": made, "skip": {"below": 0.2}}

    with pytest.raises(ValueError, match="skip: prompts are scored by"):
        Settings.model_validate({"tiers": tiers, "cascades": {"auto": cascade}})


@pytest.mark.parametrize(
    ("request_fields", "words"),
    [
        ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"},
                       {"role": "assistant", "content": "x"}, {"role": "user", "content": "b"}]}, "a\nb"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]}, "a"),
        ({"messages": [{"role": "user", "content": "b" * 2 * LONGEST}]}, "b" * LONGEST),
        ({"messages": [7, {"role": "user"}, {}]}, ""),
        ({"messages": None}, ""),
        ({"prompt": "a"}, "a"),
        ({"prompt": ["a", "b"]}, "a"),
        ({"prompt": [1, 2]}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_what_the_user_said_is_scored(request_fields: Fields, words: str) -> None:
    assert asked_in(request_fields) == words
