"""Drafts that are handed over, mode `exact`, and the client's own predictions."""

import openai
import pytest
from fakes.pools import probed
from fakes.scripted import Script

ASK = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}
UNSURE = Script("yes it was so", p=0.1)
TAKES = Script("yes it is so", speculation="handover")


async def test_an_escalated_draft_is_handed_over(gateway) -> None:
    cascade = await gateway(small=UNSURE, large=TAKES)
    await probed(cascade.url)

    raw = await cascade.client.chat.completions.with_raw_response.create(**ASK)

    reply = raw.parse()
    assert reply.choices[0].message.content == "yes it is so"
    assert cascade.large.seen[-1]["vllm_xargs"] == {"draft_token_ids": [100, 101, 102, 103]}
    assert raw.headers["x-smallfirst-token-acceptance"] == "1.000000"
    assert reply.usage.model_extra["smallfirst"]["speculation"] == {
        "proposed_tokens": 4, "accepted_tokens": 4, "steps": 1,
    }  # fmt: skip
    assert "vllm_xargs" not in cascade.small.seen[-1]


async def test_a_stream_tells_of_the_draft_at_its_end(gateway) -> None:
    cascade = await gateway(small=UNSURE, large=TAKES)
    await probed(cascade.url)

    stream = await cascade.client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    assert chunks[-1].usage.model_extra["smallfirst"]["speculation"]["accepted_tokens"] == 4


async def test_a_server_that_takes_no_drafts_starts_anew(gateway) -> None:
    cascade = await gateway(small=UNSURE, large=Script("yes it is so"))
    await probed(cascade.url)

    raw = await cascade.client.chat.completions.with_raw_response.create(**ASK)

    assert "vllm_xargs" not in cascade.large.seen[-1]
    assert "x-smallfirst-token-acceptance" not in raw.headers


@pytest.mark.parametrize("small", [Script("", p=0.1), Script(" ".join(["so it is"] * 60), p=0.1)])
async def test_a_draft_of_no_use_is_not_handed_over(gateway, small: Script) -> None:
    cascade = await gateway(small=small, large=TAKES)
    await probed(cascade.url)

    await cascade.client.chat.completions.create(**ASK)

    assert "vllm_xargs" not in cascade.large.seen[-1]


@pytest.mark.parametrize("small", [UNSURE, Script("yes it was so", p=0.99)])
async def test_mode_exact_is_always_the_final_tiers_answer(gateway, small: Script) -> None:
    cascade = await gateway(small=small, large=TAKES)
    await probed(cascade.url)

    raw = await cascade.client.chat.completions.with_raw_response.create(
        **ASK, extra_headers={"x-smallfirst-mode": "exact"}
    )

    assert raw.parse().choices[0].message.content == "yes it is so"
    told = {name.removeprefix("x-smallfirst-"): value for name, value in raw.headers.items()}
    assert (told["tier"], told["mode"], told["reason"], told["escalated"]) == ("large", "exact", "exact", "false")
    assert told["token-acceptance"] == "1.000000"
    assert "threshold" not in told
    assert cascade.small.seen[-1].get("logprobs") is None
    assert cascade.large.seen[-1]["vllm_xargs"] == {"draft_token_ids": [100, 101, 102, 103]}


@pytest.mark.parametrize("small", [Script(status=500), Script(trouble="reset")])
async def test_mode_exact_does_without_a_drafter_that_fails(gateway, small: Script) -> None:
    cascade = await gateway(small=small, large=TAKES, mode="exact", threshold=None)
    await probed(cascade.url)

    raw = await cascade.client.chat.completions.with_raw_response.create(**ASK)

    assert raw.parse().choices[0].message.content == "yes it is so"
    assert "vllm_xargs" not in cascade.large.seen[-1]


@pytest.mark.parametrize("kind", ["none", "drafter"])
async def test_mode_exact_asks_no_drafter_whose_draft_is_of_no_use(gateway, kind) -> None:
    cascade = await gateway(small=UNSURE, large=Script("yes it is so", speculation=kind), mode="exact", threshold=None)
    await probed(cascade.url)

    await cascade.client.chat.completions.create(**ASK)

    assert cascade.small.seen == []


async def test_a_threshold_of_ones_own_does_not_go_with_mode_exact(gateway) -> None:
    cascade = await gateway(small=UNSURE, large=TAKES)

    with pytest.raises(openai.BadRequestError, match="keeps no draft"):
        await cascade.client.chat.completions.create(
            **ASK, extra_body={"smallfirst": {"mode": "exact", "threshold": 0.5}}
        )


@pytest.mark.parametrize("model", ["large", "auto"])
async def test_a_prediction_is_verified_and_counted_as_openai_does(gateway, model: str) -> None:
    cascade = await gateway(small=UNSURE, large=TAKES)
    await probed(cascade.url)

    reply = await cascade.client.chat.completions.create(
        **{**ASK, "model": model}, prediction={"type": "content", "content": "yes it is so and so"}
    )

    assert reply.choices[0].message.content == "yes it is so"
    details = reply.usage.completion_tokens_details
    assert (details.accepted_prediction_tokens, details.rejected_prediction_tokens) == (4, 2)
    assert "prediction" not in cascade.large.seen[-1]


@pytest.mark.parametrize("prediction", ["yes", {"type": "content"}, {"type": "guess", "content": "yes"}])
async def test_a_prediction_of_another_shape_is_refused_by_name(gateway, prediction) -> None:
    cascade = await gateway(small=UNSURE, large=TAKES)

    with pytest.raises(openai.BadRequestError, match="prediction"):
        await cascade.client.chat.completions.create(**ASK, prediction=prediction)
