"""What is kept of a request, and what can be asked and said of it afterwards."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from fakes.live import BETTER, DOUBTS, LARGE, LIVE, TRUST
from fakes.pools import probed
from fakes.scripted import Script
from fakes.stores import count, everything_in, rows, until
from fakes.trusting import fit, trust

from server.access.caller import Caller, anyone, key_of

SECRET = "the goose lays at midnight"
ASK = {"model": "auto", "messages": [{"role": "user", "content": SECRET}]}
DOORS: dict[str, tuple[dict[str, Any], str]] = {
    "/v1/chat/completions": (ASK, "chatcmpl-"),
    "/v1/completions": ({"model": "auto", "prompt": SECRET}, "cmpl-"),
    "/v1/responses": ({"model": "auto", "input": SECRET}, "resp_"),
    "/v1/messages": ({**ASK, "max_tokens": 9}, "msg_"),
}


@pytest.mark.parametrize("path", DOORS)
async def test_a_decision_is_found_by_each_of_its_ids(gateway, path: str, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("may be", p=0.2), large=Script("no it is not"))
    body, prefix = DOORS[path]

    request_id = await ask(cascade.url, body, path)
    by_response = await told(cascade.url, prefix + request_id)
    await until(lambda: count(tmp_path) == 1)
    by_request, by_own = [await told(cascade.url, one) for one in (request_id, by_response["id"])]

    assert by_response == by_request == by_own
    assert by_response["response_id"] == prefix + request_id
    assert (by_response["endpoint"], by_response["cascade"], by_response["mode"]) == (path, "auto", "threshold")
    assert (by_response["tier"], by_response["escalated"], by_response["reason"]) == ("large", True, "unsure")
    assert (by_response["status"], by_response["streamed"]) == (200, False)
    assert by_response["confidence"] == pytest.approx(0.2)
    assert by_response["threshold"] == 0.5


async def test_a_decision_says_what_each_tier_did_and_what_else_it_could_have_cost(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("may be", p=0.2), large=Script("no it is not"))

    decision = await told(cascade.url, await ask(cascade.url))

    small, large = decision["steps"]
    assert (small["tier"], small["reason"], small["completion_tokens"]) == ("small", "unsure", 2)
    assert (large["tier"], large["reason"], large["completion_tokens"]) == ("large", None, 4)
    assert small["score"] == pytest.approx(-1.609438)
    assert (small["cost"], large["cost"]) == (pytest.approx(14e-6), pytest.approx(180e-6))
    assert decision["cost"] == pytest.approx(194e-6)
    assert decision["otherwise"] == {
        "first": {"tier": "small", "cost": pytest.approx(14e-6), "estimated": False},
        "final": {"tier": "large", "cost": pytest.approx(180e-6), "estimated": False},
    }
    assert 0 < small["first_piece_s"] <= small["waited_s"] < decision["waited_s"] < decision["seconds"]


async def test_what_the_final_tier_would_have_cost_is_an_estimate_where_it_was_not_asked(
    gateway, tmp_path: Path
) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes", p=0.9), large=Script("no"))

    decision = await told(cascade.url, await ask(cascade.url))

    assert (decision["tier"], decision["escalated"], decision["reason"]) == ("small", False, "sure")
    assert decision["otherwise"]["final"]["estimated"] is True
    assert [step["tier"] for step in decision["steps"]] == ["small"]


async def test_a_decision_says_what_models_were_asked_and_said_of_the_draft(gateway, tmp_path: Path) -> None:
    small, large = Script("maybe", p=0.5, p_true=0.8), Script("no", p_true=0.25)
    band = {"scorer": "p-true", "opinions": {"p-true": {}}, "verdict": {"band": [0.5, 0.9]}, "threshold": 0.7}
    cascade = await keeping(gateway, tmp_path, small=small, large=large, **band)

    fresh = await told(cascade.url, await ask(cascade.url))
    await until(lambda: count(tmp_path) == 1)
    stored = await told(cascade.url, fresh["id"])

    drafted, final = stored["steps"]
    assert fresh == stored
    assert (stored["reason"], stored["verdict"]) == ("verdict", pytest.approx(0.25))
    assert drafted["opinions"] == [{"p-true": pytest.approx(0.8)}]
    assert drafted["verdict"] == pytest.approx(0.25)
    assert (final["opinions"], final["verdict"]) == ([], None)


def test_a_callers_key_is_kept_under_its_public_id() -> None:
    assert (key_of(Caller("key-1")), key_of(anyone())) == ("key-1", None)


async def test_a_request_without_a_key_is_nobodys(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"))

    assert (await told(cascade.url, await ask(cascade.url)))["key"] is None


@pytest.mark.parametrize("stream", [False, True])
async def test_the_numbers_of_each_token_are_kept_and_no_text(gateway, stream: bool, tmp_path: Path) -> None:
    small = Script("the fox jumps", ps=(0.9, 0.1, 0.5))
    cascade = await keeping(gateway, tmp_path, small=small, large=Script("a very different answer"))

    decision = await told(cascade.url, await ask(cascade.url, {**ASK, "stream": stream}))
    await until(lambda: count(tmp_path) == 1)

    (evidence,) = decision["evidence"]
    assert evidence == {"tier": "small", "tokens": 3, "logprobs": [-0.1054, -2.3026, -0.6931], "texts": None}
    assert decision["texts"] is None
    kept = everything_in(tmp_path)
    assert decision["id"].encode() in kept
    for text in (SECRET, "fox", "different"):
        assert text.encode() not in kept


@pytest.mark.parametrize("stream", [False, True])
async def test_texts_are_kept_where_the_operator_wants_them(gateway, stream: bool, tmp_path: Path) -> None:
    small = Script("the fox jumps", ps=(0.9, 0.1, 0.5))
    cascade = await keeping(gateway, tmp_path, small=small, large=Script("a different answer"), texts=True)
    body = {**ASK, "stream": stream, "seed": 7}

    decision = await told(cascade.url, await ask(cascade.url, body))
    await until(lambda: count(tmp_path) == 1)

    assert decision["evidence"][0]["texts"] == ["the", " fox", " jumps"]
    assert decision["texts"] == {"request": body, "answer": "a different answer", "drafts": {"small": "the fox jumps"}}
    assert SECRET.encode() in everything_in(tmp_path)


@pytest.mark.parametrize(
    ("texts", "kept"), [(False, ["sums", "poems", None, "sums"]), (True, ["sums", "poems", SECRET, "sums"])]
)
async def test_a_task_that_the_operator_does_not_know_is_a_text(
    gateway, texts: bool, kept: list[str | None], tmp_path: Path
) -> None:
    judged = trust(clusters={"poems": fit()})
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"), texts=texts, trust=judged,
                            task="sums", threshold=None)  # fmt: skip

    said = [{"task": "sums"}, {"task": "poems"}, {"task": SECRET}, {}]
    decisions = [await told(cascade.url, await ask(cascade.url, {**ASK, "smallfirst": one})) for one in said]

    assert [one["task"] for one in decisions] == kept


async def test_the_first_tokens_of_a_long_draft_are_enough(gateway, tmp_path: Path) -> None:
    small = Script(" ".join("word" for _ in range(50)), p=0.2)
    cascade = await keeping(gateway, tmp_path, small=small, large=Script("no"), evidence_tokens=10)

    for stream in (False, True):
        (evidence,) = (await told(cascade.url, await ask(cascade.url, {**ASK, "stream": stream})))["evidence"]
        assert (evidence["tokens"], len(evidence["logprobs"])) == (50, 10)


async def test_no_numbers_are_kept_where_the_operator_wants_none(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script(p=0.2), large=Script("no"), evidence_tokens=0)

    assert (await told(cascade.url, await ask(cascade.url)))["evidence"] == []


async def test_of_several_choices_the_least_likely_one_is_kept(gateway, tmp_path: Path) -> None:
    async def two(_request: web.Request) -> web.Response:
        choices = [
            {"index": index, "message": {"content": word}, "finish_reason": "stop",
             "logprobs": {"content": [{"token": word, "logprob": logprob, "top_logprobs": []}]}}
            for index, (word, logprob) in enumerate((("sure", -0.1), ("unsure", -3.0)))
        ]  # fmt: skip
        return web.json_response({"choices": choices, "usage": {"prompt_tokens": 1, "completion_tokens": 2}})

    cascade = await keeping(gateway, tmp_path, small=Script(handler=two), large=Script("no"), texts=True)

    (evidence,) = (await told(cascade.url, await ask(cascade.url, {**ASK, "n": 2})))["evidence"]

    assert (evidence["texts"], evidence["logprobs"]) == (["unsure"], [-3.0])


async def test_the_decision_of_a_live_stream_tells_where_it_opened(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=DOUBTS, large=LARGE, texts=True, trust=TRUST, stream=LIVE)
    await probed(cascade.url)

    decision = await told(cascade.url, await ask(cascade.url, {**ASK, "stream": True}))

    assert decision["steps"][0]["opened_at"] == 2
    assert (decision["tier"], decision["reason"]) == ("large", "unsure")
    assert decision["texts"]["answer"] == BETTER
    assert decision["evidence"][0]["logprobs"] == [-0.0101] * 5 + [-1.6094]


async def test_a_tool_call_is_kept_as_what_was_called(gateway, tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
    cascade = await keeping(
        gateway, tmp_path, small=Script(tool_calls=[call]), large=Script("no"), texts=True, checks=[]
    )

    for stream in (False, True):
        decision = await told(cascade.url, await ask(cascade.url, {**ASK, "stream": stream}))
        assert decision["texts"]["answer"] == 'look{"at": "it"}'


async def test_a_request_as_deep_as_may_be_is_kept(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"), texts=True)
    deep: Any = {}
    for _ in range(248):
        deep = {"a": deep}

    request_id = await ask(cascade.url, {**ASK, "deep": deep})
    await until(lambda: count(tmp_path) == 1)

    assert (await told(cascade.url, request_id))["texts"]["request"]["deep"] == deep


async def test_a_request_that_is_too_large_is_not_kept_and_its_decision_is(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"), texts=True)
    large = [{"role": "user", "content": "x" * 2**18}]

    texts = (await told(cascade.url, await ask(cascade.url, {"model": "auto", "messages": large})))["texts"]

    assert (texts["request"], texts["answer"]) == (None, "yes")


async def test_a_single_tier_and_mode_exact_have_no_threshold(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"))

    single = await told(cascade.url, await ask(cascade.url, {**ASK, "model": "small"}))
    exact = await told(cascade.url, await ask(cascade.url, {**ASK, "smallfirst": {"mode": "exact"}}))

    assert (single["reason"], single["threshold"], single["evidence"]) == ("only-tier", None, [])
    assert (exact["reason"], exact["threshold"], exact["tier"]) == ("exact", None, "large")


@pytest.mark.parametrize(
    ("large", "stream", "status", "failure"),
    [
        (Script(status=500), False, 503, "unreachable"),
        (Script(status=500), True, 503, "unreachable"),
        (Script("one two three", trouble="cut-stream"), True, 502, "bad-reply"),
    ],
)
async def test_a_request_that_fails_is_kept_too(
    gateway, large: Script, stream: bool, status: int, failure: str, tmp_path: Path
) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script(p=0.2), large=large)

    decision = await told(cascade.url, await ask(cascade.url, {**ASK, "stream": stream}))

    assert (decision["status"], decision["failure"], decision["tier"]) == (status, failure, "large")


async def test_a_request_whose_client_leaves_is_kept_too(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script(p=0.2), large=Script(trouble="hang"))

    async with aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await session.post(f"{cascade.url}/v1/chat/completions", json=ASK)
    await until(lambda: count(tmp_path) == 1)

    assert rows(tmp_path, "SELECT status, tier, failure FROM decisions") == [(499, "large", None)]


async def test_what_no_tier_was_asked_is_not_kept(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script(), large=Script())

    await post(cascade.url, "/v1/chat/completions", {"model": "nobody", "messages": ASK["messages"]})
    await post(cascade.url, "/v1/embeddings", {"model": "small", "input": "x"})
    await ask(cascade.url)
    await until(lambda: count(tmp_path) > 0)

    assert count(tmp_path) == 1


async def test_requests_go_on_while_the_database_is_locked(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"))
    await ask(cascade.url)
    await until(lambda: count(tmp_path) == 1)
    file = tmp_path / "smallfirst.db"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN EXCLUSIVE")  # who writes just now needs this loop to end it

        asked = [await ask(cascade.url) for _ in range(20)]
        decision = await told(cascade.url, asked[-1])
        status, _ = await post(cascade.url, "/v1/feedback", {"id": asked[0], "label": "right"})

        assert (decision["request_id"], status) == (asked[-1], 200)
        other.execute("COMMIT")
    await until(lambda: count(tmp_path) == 21)
    await until(lambda: count(tmp_path, "feedback") == 1)


async def test_a_store_that_cannot_be_read_says_so_and_takes_feedback_all_the_same(gateway, tmp_path: Path) -> None:
    (tmp_path / "smallfirst.db").write_bytes(b"no database at all" * 100)
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"))

    request_id = await ask(cascade.url)
    known = await told(cascade.url, request_id)
    unknown, problem = await get(cascade.url, "/v1/decisions/chatcmpl-unknown")
    said, reply = await post(cascade.url, "/v1/feedback", {"id": "chatcmpl-unknown", "score": 0.5})

    assert known["request_id"] == request_id
    assert (unknown, problem["error"]["code"]) == (503, "store_unreadable")
    assert (said, reply["decision"]) == (202, None)


async def test_feedback_joins_its_decision(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"), texts=True)
    request_id = await ask(cascade.url)

    first, reply = await post(cascade.url, "/v1/feedback", {"id": f"chatcmpl-{request_id}", "label": "right"})
    await until(lambda: count(tmp_path, "feedback") == 1)
    await post(cascade.url, "/v1/feedback", {"id": request_id, "label": "wrong", "score": 0.25, "correction": "no!"})
    decision = await told(cascade.url, request_id)

    assert (first, reply["object"], reply["decision"], reply["left_out"]) == (200, "feedback", decision["id"], [])
    earlier, later = decision["feedback"]
    assert (earlier["label"], earlier["score"], earlier["correction"]) == ("right", None, None)
    assert (later["label"], later["score"], later["correction"]) == ("wrong", 0.25, "no!")
    assert earlier["id"] == reply["id"]


async def test_a_correction_is_not_kept_where_texts_are_not(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"))
    request_id = await ask(cascade.url)

    partly = await post(cascade.url, "/v1/feedback", {"id": request_id, "label": "wrong", "correction": SECRET})
    alone = await post(cascade.url, "/v1/feedback", {"id": request_id, "correction": SECRET})
    await until(lambda: count(tmp_path, "feedback") == 1)

    assert (partly[0], partly[1]["left_out"]) == (200, ["correction"])
    assert (alone[0], alone[1]["error"]["param"]) == (400, "correction")
    assert "store.texts" in alone[1]["error"]["message"]
    assert SECRET.encode() not in everything_in(tmp_path)


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({}, 400, "id"),
        ({"id": 7, "score": 1}, 400, "id"),
        ({"id": "", "score": 1}, 400, "id"),
        ({"id": "x" * 161, "score": 1}, 400, "id"),
        ({"id": "x'; DROP TABLE feedback; --", "score": 1}, 400, "id"),
        ({"id": "x\n", "score": 1}, 400, "id"),
        ({"id": "\u0000", "score": 1}, 400, "id"),
        ({"id": "unknown", "score": 1}, 404, "id"),
        ({"id": "%", "score": 1}, 400, "id"),
        ({"id": "known"}, 400, "score"),
        ({"id": "known", "score": None, "label": None}, 400, "score"),
        ({"id": "known", "score": 1.01}, 400, "score"),
        ({"id": "known", "score": -0.01}, 400, "score"),
        ({"id": "known", "score": True}, 400, "score"),
        ({"id": "known", "score": "1"}, 400, "score"),
        ({"id": "known", "score": 1e999}, 400, None),
        ({"id": "known", "label": "good"}, 400, "label"),
        ({"id": "known", "label": ["right"]}, 400, "label"),
        ({"id": "known", "correction": ""}, 400, "correction"),
        ({"id": "known", "correction": "x" * 2**15 + "x"}, 400, "correction"),
        ({"id": "known", "correction": {"text": "x"}}, 400, "correction"),
        ({"id": "known", "label": "right", "mood": "good"}, 400, "mood"),
        ({"id": "known", "label": "right", "time": 0}, 400, "time"),
    ],
)
async def test_wrong_feedback_is_refused_by_name(
    gateway, fields: dict[str, Any], status: int, param: str | None, tmp_path: Path
) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"), texts=True)
    await ask(cascade.url, headers={"x-request-id": "known"})

    got, reply = await post(cascade.url, "/v1/feedback", fields)
    last, _ = await post(cascade.url, "/v1/feedback", {"id": "known", "label": "right"})
    await until(lambda: count(tmp_path, "feedback") == 1)

    assert (got, reply["error"]["param"]) == (status, param)
    assert last == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[]", "application/json", 400),
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"id":' * 9999, "application/json", 400),
        (b" " * 2**18 + b"{}", "application/json", 413),
        (b'{"id":"x","score":1}', "text/plain", 415),
    ],
)
async def test_a_body_that_is_no_feedback_is_refused(
    gateway, body: bytes, kind: str, status: int, tmp_path: Path
) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script(), large=Script())

    async with (
        aiohttp.ClientSession(headers={"content-type": kind}) as session,
        session.post(f"{cascade.url}/v1/feedback", data=body) as reply,
    ):
        assert reply.status == status


@pytest.mark.parametrize("odd", ["unknown", "..%2F..%2Fetc", "%00", "x'%20OR%201=1--", "x" * 200, "%", "*"])
async def test_there_is_no_decision_of_an_odd_id(gateway, odd: str, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script(), large=Script())
    await ask(cascade.url)

    status, reply = await get(cascade.url, f"/v1/decisions/{odd}")

    assert (status, reply["error"]["type"]) == (404, "invalid_request_error")


async def test_of_requests_with_the_clients_own_id_the_latest_is_told(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"))
    mine = {"x-request-id": "mine"}

    await ask(cascade.url, headers=mine)
    await ask(cascade.url, {**ASK, "model": "large"}, headers=mine)
    await until(lambda: count(tmp_path) == 2)

    assert (await told(cascade.url, "mine"))["cascade"] == "large"


async def test_a_gateway_without_a_store_says_so(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"), store={"url": "none"})
    request_id = await ask(cascade.url)

    for status, reply in (
        await get(cascade.url, f"/v1/decisions/{request_id}"),
        await post(cascade.url, "/v1/feedback", {"id": request_id, "score": 1}),
    ):
        assert (status, reply["error"]["code"]) == (404, "decision_not_found")
        assert "keeps no decisions" in reply["error"]["message"]


async def test_strangers_are_told_nothing(gateway, tmp_path: Path) -> None:
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"))
    request_id = await ask(cascade.url)
    elsewhere = {"host": "evil.example"}

    assert (await get(cascade.url, f"/v1/decisions/{request_id}", elsewhere))[0] == 403
    assert (await post(cascade.url, "/v1/feedback", {"id": request_id, "score": 1}, elsewhere))[0] == 403


async def test_a_full_journal_refuses_feedback_and_no_request(gateway, tmp_path: Path) -> None:
    (tmp_path / "smallfirst.db").write_bytes(b"no database at all" * 100)
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "1-old.jsonl").write_bytes(b" " * (2**20 - 1) + b"\n")
    cascade = await keeping(gateway, tmp_path, small=Script("yes"), large=Script("no"), journal_max_bytes=2**20)

    request_id = await ask(cascade.url)
    status, reply = await post(cascade.url, "/v1/feedback", {"id": request_id, "score": 1})

    assert (status, reply["error"]["code"]) == (503, "store_full")
    _, metrics = await get(cascade.url, "/metrics")
    assert 'smallfirst_journal_dropped_records_total{reason="full"} 2.0' in metrics


async def keeping(gateway, folder: Path, *, small: Script, large: Script, **more: Any):
    """A gateway that keeps its decisions there; what is no setting of the store is one of the cascade."""
    names = ("texts", "evidence_tokens", "journal_max_bytes")
    store = {name: more.pop(name) for name in names if name in more}
    return await gateway(small=small, large=large, store={"folder": str(folder), **store}, **more)


async def ask(
    url: str, body: dict[str, Any] = ASK, path: str = "/v1/chat/completions", headers: dict[str, str] | None = None
) -> str:
    """The id of a request that was read to its end."""
    async with aiohttp.ClientSession() as session, session.post(url + path, json=body, headers=headers) as reply:
        await reply.read()
        return reply.headers["x-request-id"]


async def told(url: str, given: str) -> dict[str, Any]:
    """The decision that has this id."""
    status, decision = await get(url, f"/v1/decisions/{given}")
    assert status == 200, decision
    assert isinstance(decision, dict)
    return decision


async def get(url: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and body."""
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as session,
        session.get(url + path, headers=headers) as reply,
    ):
        said = await reply.text()
        return reply.status, json.loads(said) if reply.content_type == "application/json" else said


async def post(url: str, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and body."""
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as session,
        session.post(url + path, json=body, headers=headers) as reply,
    ):
        return reply.status, await reply.json()
