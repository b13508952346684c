"""Live streams at their edges: what comes with the answer's end, what cannot be gone on from, and how it is told."""

import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from fakes.live import BETTER, DOUBTS, DRAFT, LARGE, SURE, live_cascade
from fakes.pools import metrics_of
from fakes.scripted import Script
from fakes.trusting import gate_of, trust
from gateway.test_streams import ASK, chunks_of, metric, text_of


async def test_the_end_of_a_draft_is_never_shown_before_it_is_judged(gateway) -> None:
    large = replace(LARGE, text=f"{DRAFT} nine ten")
    cascade = await live_cascade(gateway, replace(SURE, finish_reason="length"), large, holdback_tokens=0)

    chunks = await chunks_of(cascade.url)

    assert text_of(chunks) == f"{DRAFT} nine ten"
    reasons = [choice["finish_reason"] for chunk in chunks[:-1] for choice in chunk["choices"]]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert chunks[-2]["smallfirst"]["reason"] == "cut"


async def test_a_sure_draft_without_a_holdback_is_told_as_sure(gateway) -> None:
    cascade = await live_cascade(gateway, SURE, holdback_tokens=0)

    chunks = await chunks_of(cascade.url)

    assert (text_of(chunks), chunks[-2]["smallfirst"]["reason"]) == (DRAFT, "sure")


async def test_an_answer_that_ends_at_its_gate_is_judged_whole(gateway) -> None:
    cascade = await live_cascade(gateway, Script("one two", ps=(0.99, 0.6)), holdback_tokens=0)

    chunks = await chunks_of(cascade.url)

    assert text_of(chunks) == "one two"
    assert "smallfirst" not in chunks[-2]


async def test_a_gate_does_not_open_for_what_is_in_doubt_already(gateway) -> None:
    small = Script(DRAFT, ps=(0.8, 0.8, 0.999))
    cascade = await gateway(
        small=small, large=LARGE, threshold=0.9, trust=trust("mean-logprob", 0.9, gate=gate_of(2, threshold=0.9)),
        stream={"on_doubt": "continue", "gate_tokens": 2, "holdback_tokens": 0},
    )  # fmt: skip

    chunks = await chunks_of(cascade.url)

    assert text_of(chunks) == DRAFT
    assert "smallfirst" not in chunks[-2]


@pytest.mark.parametrize("fields", [{"reasoning_effort": "low"}, {"documents": [{"text": "d"}]}])
async def test_what_only_the_server_can_render_is_gone_on_from_in_text(gateway, fields: dict[str, Any]) -> None:
    cascade = await live_cascade(gateway)

    chunks = await chunks_of(cascade.url, **fields)

    assert text_of(chunks) == BETTER
    (body,) = cascade.large.seen
    assert "kv_transfer_params" not in body
    assert body["continue_final_message"] is True
    assert body | fields == body


async def test_a_server_that_takes_no_notice_of_token_ids_goes_on_from_the_text(gateway) -> None:
    def without_ids(text: str) -> dict[str, Any]:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
        return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    async def deaf(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        text = " four FIVE SIX SEVEN EIGHT" if body.get("continue_final_message") else BETTER
        await response.write(b"data: " + json.dumps(without_ids(text)).encode() + b"\n\ndata: [DONE]\n\n")
        return response

    cascade = await live_cascade(gateway, large=replace(LARGE, handler=deaf))

    chunks = await chunks_of(cascade.url)

    assert text_of(chunks) == BETTER
    assert ["kv_transfer_params" in body for body in cascade.large.seen] == [True, False]


async def test_a_final_tier_that_thinks_anew_is_an_error_not_half_an_answer(gateway) -> None:
    cascade = await live_cascade(gateway, large=replace(LARGE, reasoning="a b c d"))

    chunks = await chunks_of(cascade.url)

    assert "error" in chunks[-1]
    assert "reasoning" not in json.dumps(chunks)


async def test_text_is_not_let_out_up_to_white_space(gateway) -> None:
    spaced = "one two  three four five six seven"  # its third token is a space alone
    cascade = await live_cascade(
        gateway,
        Script(spaced, ps=(0.99, 0.99, 0.99, 0.99, 0.2)),
        Script(spaced, speculation="handover"),
    )

    chunks = await chunks_of(cascade.url)

    assert text_of(chunks) == spaced
    assert cascade.large.seen[0]["kv_transfer_params"]["prompt_token_ids"] == [5, 6, 100, 101]


async def test_the_wait_for_the_gate_is_the_models_and_not_ours(gateway) -> None:
    cascade = await live_cascade(gateway, replace(SURE, pause_s=0.3))

    raw = await cascade.client.chat.completions.with_raw_response.create(**ASK)

    assert float(raw.headers["x-smallfirst-overhead-ms"]) < 300


@pytest.mark.parametrize("field", [{"min_p": 0.1}, {"logit_bias": {"5": 1}}])
async def test_what_the_final_tier_may_refuse_is_held(gateway, field: dict[str, Any]) -> None:
    cascade = await live_cascade(gateway, replace(SURE, ps=(0.99,)))

    chunks = await chunks_of(cascade.url, **field)

    assert text_of(chunks) == DRAFT
    assert "smallfirst" not in chunks[-2]


async def test_a_gate_at_nothing_does_not_open_for_what_is_lost(gateway) -> None:
    cascade = await live_cascade(gateway, replace(DOUBTS, ps=(0.2,)), on_doubt="finish", open_at=0.0)

    chunks = await chunks_of(cascade.url)

    assert text_of(chunks) == BETTER


async def test_a_refusal_after_the_gate_goes_no_further(gateway) -> None:
    small = Script("Unfortunately, I am unable to help with that at all today, sorry")
    cascade = await live_cascade(gateway, small, Script("Unfortunately, I do not know"), holdback_tokens=1)

    chunks = await chunks_of(cascade.url)

    assert "unable" not in text_of(chunks)
    assert chunks[-2]["smallfirst"]["reason"] == "refused"


async def test_a_prediction_gives_way_to_the_rest_of_the_draft(gateway) -> None:
    cascade = await live_cascade(gateway)

    await chunks_of(cascade.url, prediction={"type": "content", "content": DRAFT})

    assert cascade.large.seen[0]["vllm_xargs"] == {"draft_token_ids": [103, 104, 105]}


async def test_an_answer_that_was_gone_on_with_and_broke_is_counted(gateway) -> None:
    cascade = await live_cascade(gateway, large=replace(LARGE, trouble="cut-stream"))

    await chunks_of(cascade.url)

    assert await metric(cascade.url, 'smallfirst_continued_streams_total{cascade="auto",prefix="ids"') == 1


async def test_missing_evidence_that_is_accepted_is_accepted_in_an_open_stream_too(gateway) -> None:
    async def silent_end(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for place, word in enumerate(("one", " two", " three", " and a much longer rest without any of them")):
            token = {"token": word, "logprob": -0.01, "bytes": [], "top_logprobs": []}
            scored = {"content": [token]} if place < 3 else None
            choice = {"index": 0, "delta": {"content": word}, "logprobs": scored, "token_ids": [place],
                      "finish_reason": "stop" if place == 3 else None}  # fmt: skip
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    cascade = await gateway(
        small=Script(handler=silent_end), large=LARGE, on_missing_evidence="accept", trust=trust(gate=gate_of(2)),
        stream={"on_doubt": "continue", "gate_tokens": 2, "holdback_tokens": 0},
    )  # fmt: skip

    chunks = await chunks_of(cascade.url)

    assert chunks[-2]["smallfirst"]["reason"] == "no-evidence"
    assert cascade.large.seen == []
    assert "opened_streams_total" in await metrics_of(cascade.url)


async def test_an_id_that_is_no_part_of_the_shown_text_is_written_anew_and_counted_once(gateway) -> None:
    async def half_a_character(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        pieces = [("one", [100]), (" two", [101]), (" three", [102, 777]), (" four", [103]), (" five", [104])]
        for place, (word, ids) in enumerate(pieces):
            p = -0.01 if place < 4 else -5.0
            tokens = [{"token": word, "logprob": p, "bytes": [], "top_logprobs": []}]
            tokens += [{"token": "", "logprob": -0.01, "bytes": [], "top_logprobs": []}] * (len(ids) - 1)
            choice = {"index": 0, "delta": {"content": word}, "logprobs": {"content": tokens}, "token_ids": ids,
                      "finish_reason": None}  # fmt: skip
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        return response

    cascade = await live_cascade(gateway, Script(DRAFT, handler=half_a_character), holdback_tokens=1)

    chunks = await chunks_of(cascade.url, stream_options={"include_usage": True})

    assert text_of(chunks) == BETTER
    assert cascade.large.seen[0]["kv_transfer_params"]["prompt_token_ids"] == [5, 6, 100, 101, 102]
    usage = chunks[-2]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 8)
