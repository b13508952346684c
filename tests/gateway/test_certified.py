"""Mode `certified`: what is promised is kept, or the final tier answers and the headers say why."""

import math
from datetime import date

import pytest
from fakes.live import DRAFT
from fakes.pools import probed
from fakes.scripted import Script
from fakes.trusting import certificate, fit, gate_of, trust
from gateway.test_streams import chunks_of, text_of

ASK: dict = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
PROMISED = trust(threshold=0.4, certified=certificate(0.8), gate=gate_of(2, threshold=0.4))
LARGE = Script("the large one's", speculation="handover")


async def headers_of(cascade, **controls: object):
    """What the answer's headers say."""
    raw = await cascade.client.chat.completions.with_raw_response.create(**ASK, extra_body={"smallfirst": controls})
    return {name.removeprefix("x-smallfirst-"): value for name, value in raw.headers.items()}


@pytest.mark.parametrize(("p", "tier"), [(0.85, "small"), (0.75, "large")])
async def test_drafts_are_accepted_from_the_certified_threshold_on(gateway, p: float, tier: str) -> None:
    cascade = await gateway(small=Script(DRAFT, ps=(p,)), large=LARGE, mode="certified", trust=PROMISED, threshold=None)

    said = await headers_of(cascade)

    assert (said["tier"], said["mode"], said["confidence-of"]) == (tier, "certified", "right")
    assert (float(said["threshold"]), float(said["confidence"])) == (0.8, pytest.approx(p, abs=1e-3))


async def test_mode_threshold_has_the_artefacts_other_threshold(gateway) -> None:
    cascade = await gateway(small=Script(DRAFT, ps=(0.5,)), large=LARGE, mode="certified", trust=PROMISED,
                            threshold=None)  # fmt: skip

    said = await headers_of(cascade, mode="threshold")

    assert (said["tier"], said["mode"], float(said["threshold"])) == ("small", "threshold", 0.4)


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (trust(certified=certificate(0.8, certified_on=date(2020, 1, 1))), "expired"),
        (trust(), "uncertified"),
        (None, "uncertified"),
        (trust(certified=certificate(0.8), clusters={"sums": fit(certified=certificate(0.8))}), "unknown-task"),
    ],
    ids=["too old", "tuned without a promise", "no artefact", "a kind of request that was not certified"],
)
async def test_without_a_valid_certificate_the_final_tier_answers(gateway, kept, reason: str) -> None:
    cascade = await gateway(small=Script(DRAFT), large=LARGE, trust=kept)

    said = await headers_of(cascade, mode="certified")

    assert (said["tier"], said["mode"], said["reason"]) == ("large", "exact", reason)
    assert "threshold" not in said


async def test_another_model_behind_a_tiers_name_is_not_what_was_certified(gateway) -> None:
    tiers = [{"model": "scripted", "fingerprint": "that of another"}, {"model": "scripted"}]
    kept = trust(certified=certificate(0.8), tiers=tiers)
    cascade = await gateway(small=Script(DRAFT), large=LARGE, mode="certified", trust=kept, threshold=None)
    await probed(cascade.url)

    said = await headers_of(cascade)

    assert (said["tier"], said["mode"], said["reason"]) == ("large", "exact", "stale")


async def test_a_kind_of_request_has_its_own_certificate(gateway) -> None:
    sums = fit(threshold=0.3, certified=certificate(0.6))
    kept = trust(certified=certificate(0.8), clusters={"sums": sums})
    cascade = await gateway(small=Script(DRAFT, ps=(0.7,)), large=LARGE, mode="certified", task="sums", trust=kept,
                            threshold=None)  # fmt: skip

    assert (await headers_of(cascade))["threshold"] == "0.600000"
    assert (await headers_of(cascade, mode="threshold"))["threshold"] == "0.300000"
    assert (await headers_of(cascade, mode="threshold", task="poems"))["threshold"] == "0.500000"
    assert (await headers_of(cascade, task="poems"))["reason"] == "unknown-task"


async def test_a_request_may_ask_for_more_than_was_promised_and_not_for_less(gateway) -> None:
    cascade = await gateway(small=Script(DRAFT, ps=(0.85,)), large=LARGE, mode="certified", trust=PROMISED,
                            threshold=None)  # fmt: skip

    assert (await headers_of(cascade, threshold=0.9))["tier"] == "large"
    with pytest.raises(Exception, match=r"smallfirst\.threshold: 0\.8 was certified"):
        await headers_of(cascade, threshold=0.7)


async def test_certified_streams_are_held(gateway) -> None:
    stream = {"on_doubt": "continue", "gate_tokens": 2, "holdback_tokens": 0}
    cascade = await gateway(small=Script(DRAFT, ps=(0.9, 0.9, 0.9, 0.1)), large=LARGE, mode="certified",
                            trust=PROMISED, stream=stream, threshold=None)  # fmt: skip

    chunks = await chunks_of(cascade.url)

    assert text_of(chunks) == "the large one's"
    with pytest.raises(Exception, match="whole answers were certified"):
        await headers_of(cascade, stream={"on_doubt": "finish"})


async def test_conversations_alone_were_certified(gateway) -> None:
    cascade = await gateway(small=Script(DRAFT), large=LARGE, mode="certified", trust=PROMISED, threshold=None)

    raw = await cascade.client.completions.with_raw_response.create(model="auto", prompt="x")

    assert (raw.headers["x-smallfirst-tier"], raw.headers["x-smallfirst-reason"]) == ("large", "uncertified")


@pytest.mark.parametrize("fields", [{"top_logprobs": 20, "logprobs": True}, {}])
async def test_what_a_client_asks_to_see_does_not_make_a_draft_surer(gateway, fields: dict) -> None:
    entropy = trust("entropy", certified=certificate(0.5))
    cascade = await gateway(small=Script(DRAFT, ps=(0.6,)), large=LARGE, mode="certified", trust=entropy,
                            threshold=None)  # fmt: skip

    raw = await cascade.client.chat.completions.with_raw_response.create(**ASK, **fields)

    seen.append(raw.headers["x-smallfirst-confidence"])
    assert len(set(seen)) == 1


seen: list[str] = []


async def test_tokens_without_their_texts_are_for_single_tiers(gateway) -> None:
    cascade = await gateway(small=Script(DRAFT), large=LARGE)

    with pytest.raises(Exception, match="return_tokens_as_token_ids: scores read the tokens' texts"):
        await cascade.client.chat.completions.create(**ASK, extra_body={"return_tokens_as_token_ids": True})


async def test_a_single_tier_answers_for_itself_whatever_was_certified(gateway) -> None:
    cascade = await gateway(small=Script(DRAFT), large=LARGE)

    raw = await cascade.client.chat.completions.with_raw_response.create(
        **{**ASK, "model": "small"}, extra_body={"smallfirst": {"mode": "certified"}}
    )

    assert raw.headers["x-smallfirst-mode"] == "exact"


async def test_a_failed_check_escalates_whatever_was_certified(gateway) -> None:
    cascade = await gateway(small=Script("", ps=(0.99,)), large=LARGE, mode="certified", trust=PROMISED,
                            threshold=None)  # fmt: skip

    assert (await headers_of(cascade))["reason"] in ("empty", "no-evidence")


def test_a_certificate_ends_on_its_day() -> None:
    one = certificate(0.8, certified_on=date(2026, 1, 1), max_age_days=31)

    assert one.expires_on == date(2026, 2, 1)
    assert math.isclose(one.delta, 0.1)
