"""Drafts in doubt, on which the final tier has the last word before it has to answer."""

from dataclasses import replace

import openai
import pytest
from fakes.pools import probed
from fakes.scripted import Script
from fakes.trusting import certificate, gate_of, trust
from fakes.waiting import until

from router.p_true import QUESTION
from server.settings.schema import Settings

USER = {"role": "user", "content": "is it?"}
ASK: dict = {"model": "auto", "messages": [USER]}
LARGE = Script("the large one's", p_true=0.8)
BAND = {"verdict": {"band": [0.4, 0.9]}, "threshold": 0.7, "scorer": "mean-logprob"}


async def headers_of(cascade, controls: object = None, **fields: object) -> dict[str, str]:
    """What the answer's headers say."""
    raw = await cascade.client.chat.completions.with_raw_response.create(
        **ASK, **fields, extra_body={"smallfirst": controls} if controls else None
    )
    return {name.removeprefix("x-smallfirst-"): value for name, value in raw.headers.items()}


@pytest.mark.parametrize("confidence", [0.5, 0.8])
@pytest.mark.parametrize(("p", "tier"), [(0.8, "small"), (0.5, "small"), (0.49, "large")])
async def test_the_final_tier_decides_on_a_draft_in_doubt(gateway, confidence: float, p: float, tier: str) -> None:
    cascade = await gateway(small=Script("yes it is", p=confidence), large=replace(LARGE, p_true=p), **BAND)

    said = await headers_of(cascade)

    assert (said["tier"], said["reason"], said["escalated"]) == (tier, "verdict", str(tier == "large").lower())
    assert (float(said["confidence"]), float(said["verdict"])) == (pytest.approx(confidence), pytest.approx(p))
    assert cascade.large.seen[0]["messages"] == [USER, {"role": "assistant", "content": "yes it is"},
                                                 {"role": "user", "content": QUESTION}]  # fmt: skip
    assert len(cascade.large.seen) == (1 if tier == "small" else 2)


@pytest.mark.parametrize(("confidence", "tier", "reason"), [(0.39, "large", "unsure"), (0.9, "small", "sure")])
async def test_outside_of_the_band_nobody_is_asked(gateway, confidence: float, tier: str, reason: str) -> None:
    cascade = await gateway(small=Script("yes", p=confidence), large=LARGE, **BAND)

    said = await headers_of(cascade)

    assert (said["tier"], said["reason"]) == (tier, reason)
    assert "verdict" not in said
    assert not any("structured_outputs" in body for body in cascade.large.seen)


@pytest.mark.parametrize(("threshold", "tier"), [(0.3, "small"), (0.95, "large")])
async def test_a_requests_own_threshold_outside_of_the_band_decides(gateway, threshold: float, tier: str) -> None:
    cascade = await gateway(small=Script("yes", p=0.5), large=LARGE, **BAND)

    said = await headers_of(cascade, {"threshold": threshold})

    assert said["tier"] == tier
    assert "verdict" not in said


async def test_a_verdict_must_be_as_sure_as_is_wanted(gateway) -> None:
    band = {**BAND, "verdict": {"band": [0.4, 0.9], "at": 0.81}}
    cascade = await gateway(small=Script("yes", p=0.5), large=LARGE, **band)

    assert (await headers_of(cascade))["tier"] == "large"


async def test_a_verdict_is_paid_for_and_is_no_answer_of_the_final_tier(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.5), large=LARGE, **BAND)

    usage = (await cascade.client.chat.completions.create(**ASK)).usage

    assert (usage.prompt_tokens, usage.completion_tokens) == (10, 1)
    told = usage.model_extra["smallfirst"]
    assert told["tiers"]["large"] == {"prompt_tokens": 20, "completion_tokens": 1, "cost": 0.00022}
    assert told["cost_final_alone_estimated"]
    assert told["cost_final_alone"] == pytest.approx(0.00012)


async def test_a_rejected_draft_is_handed_over_and_both_calls_are_paid_for(gateway) -> None:
    large = replace(LARGE, p_true=0.1, speculation="handover")
    cascade = await gateway(small=Script("the large one", p=0.5), large=large, **BAND)
    await probed(cascade.url)

    raw = await cascade.client.chat.completions.with_raw_response.create(**ASK)

    usage = raw.parse().usage
    assert usage.prompt_tokens == 10
    assert usage.model_extra["smallfirst"]["tiers"]["large"]["prompt_tokens"] == 30
    assert usage.model_extra["smallfirst"]["speculation"]["accepted_tokens"] == 3
    assert "vllm_xargs" not in cascade.large.seen[0]
    assert cascade.large.seen[1]["vllm_xargs"]


@pytest.mark.parametrize("status", [400, 500, 503])
@pytest.mark.parametrize(("missing", "tier"), [("escalate", "large"), ("accept", "small")])
async def test_a_final_tier_that_does_not_say_is_missing_evidence(
    gateway, status: int, missing: str, tier: str
) -> None:
    large = replace(LARGE, when_asked=status)
    cascade = await gateway(small=Script("yes", p=0.5), large=large, on_missing_evidence=missing, **BAND)

    said = await headers_of(cascade)

    assert (said["tier"], said["reason"]) == (tier, "no-evidence")
    assert "verdict" not in said


async def test_the_least_right_of_several_choices_counts(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.5), large=LARGE, **BAND)

    assert (await headers_of(cascade, n=2))["tier"] == "small"
    assert len(cascade.large.seen) == 2


async def test_a_draft_that_fails_a_check_is_not_asked_about(gateway) -> None:
    cascade = await gateway(small=Script("I'm sorry, but I can't help", p=0.5), large=LARGE, **BAND)

    assert (await headers_of(cascade))["reason"] == "refused"
    assert len(cascade.large.seen) == 1


async def test_a_client_that_leaves_ends_the_verdict(gateway) -> None:
    cascade = await gateway(small=Script("yes", p=0.5), large=replace(LARGE, when_asked=0), **BAND)

    with pytest.raises(openai.APITimeoutError):
        await cascade.client.with_options(timeout=0.5).chat.completions.create(**ASK)

    await until(lambda: cascade.large.left == 1)
    assert cascade.large.running == 0


async def test_streams_with_a_verdict_are_held(gateway) -> None:
    made = trust(threshold=0.5, gate=gate_of(2))
    cascade = await gateway(small=Script("yes it is", p=0.6), large=LARGE, trust=made, threshold=None,
                            verdict={"band": [0.4, 0.9]})  # fmt: skip

    stream = await cascade.client.chat.completions.create(**ASK, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "yes it is"
    with pytest.raises(openai.BadRequestError, match="verdict is on whole drafts"):
        await headers_of(cascade, {"stream": {"on_doubt": "finish", "gate_tokens": 2}}, stream=True)


async def test_what_was_certified_with_a_verdict_is_served_with_it(gateway) -> None:
    band = {"low": 0.4, "high": 0.9, "at": 0.5}
    made = trust("mean-logprob", certified=certificate(0.7), verdict=band)
    cascade = await gateway(small=Script("yes", p=0.5), large=LARGE, mode="certified", trust=made, threshold=None,
                            verdict={"band": [0.4, 0.9]}, on_missing_evidence="escalate")  # fmt: skip

    said = await headers_of(cascade)

    assert (said["tier"], said["mode"], said["reason"]) == ("small", "certified", "verdict")


@pytest.mark.parametrize(
    ("cascade", "mistake"),
    [
        ({"verdict": {"band": [0.8, 0.6]}}, "band: it begins below its end"),
        ({"verdict": {"band": [0.8]}}, "verdict.band"),
        ({"verdict": {"band": [0.1, 0.2]}}, "verdict.band: the threshold 0.5 is not within 0.1 and 0.2"),
        ({"verdict": {"band": [0.4, 0.6], "at": 0.0}}, "verdict.at"),
        ({"verdict": {"low": 0.4, "high": 0.6}}, "verdict.low"),
        ({"verdict": {"band": [0.4, 0.6]}, "threshold": None, "trust": trust(gate=gate_of(24), models=("s", "l")),
          "stream": {"on_doubt": "continue"}}, "a verdict is on whole drafts"),
        ({"verdict": {"band": [0.4, 0.9]}, "threshold": None, "mode": "certified",
          "trust": trust(certified=certificate(0.7), models=("s", "l"))}, "it was certified with no verdict"),
    ],
)  # fmt: skip
def test_a_verdict_that_cannot_be_is_refused(cascade: dict, mistake: str) -> None:
    tiers = {name: {"model": model, "price": {"input": 1.0, "output": 1.0}, "urls": [f"http://{name}"]}
             for name, model in (("small", "s"), ("large", "l"))}  # fmt: skip

    with pytest.raises(ValueError) as wrong:
        Settings.model_validate(
            {"tiers": tiers, "cascades": {"auto": {"tiers": ["small", "large"], "threshold": 0.5, **cascade}}}
        )

    assert mistake in str(wrong.value)
