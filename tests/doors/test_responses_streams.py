"""What a client of the Responses API reads of an answer while it is written."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import hypothesis
import openai
import pytest
from fakes.responses import SEARCH, call, events_of, folded, read_events, strict_response, until
from fakes.scripted import Script
from hypothesis import strategies as st
from pydantic import BaseModel

from models.answer import Delta, Usage
from models.parsing import delta_of, finish_of
from models.pool import Pool
from router.call import Tier
from router.cascade import Cascade
from router.events import Called, Opened
from router.failover import Failover
from router.money import LengthRatio, Price
from router.outcome import Outcome
from router.policy import Policy
from router.scorers import SCORERS
from server.doors.door import Arrival, Writer
from server.doors.responses import read_responses
from server.errors import DEADLINE

PAGE = Path(__file__).parents[2] / "docs" / "fields" / "responses.md"
TEXT_EVENTS = [
    "response.created", "response.in_progress",
    "response.output_item.added", "response.content_part.added",
    "response.output_text.delta", "response.output_text.delta", "response.output_text.delta",
    "response.output_text.done", "response.content_part.done", "response.output_item.done",
    "response.completed",
]  # fmt: skip


class Answer(BaseModel):
    """A structured answer."""

    sure: bool


async def test_a_text_is_told_event_by_event(gateway) -> None:
    cascade = await gateway(small=Script("yes it is", p=0.9), large=Script("no"))

    events = await events_of(cascade.url)

    assert [event["type"] for event in events] == TEXT_EVENTS
    assert [event["delta"] for event in events if event["type"].endswith("delta")] == ["yes", " it", " is"]
    opened, ended = events[0]["response"], events[-1]["response"]
    assert (opened["status"], opened["output"], opened["usage"]) == ("in_progress", [], None)
    assert opened["id"] == ended["id"]
    assert ended["output"][0]["content"][0]["text"] == "yes it is"
    assert ended["usage"]["output_tokens"] == 3
    assert ended["usage"]["smallfirst"]["tiers"].keys() == {"small"}


@pytest.mark.parametrize(
    "small",
    [
        Script("yes it is"),
        Script("はい 🎉 sí, 👩‍👩‍👧 是"),
        Script("it is", reasoning="let me see"),
        Script(
            reasoning="let me see", tool_calls=[call("1", "search", '{"query": "日本"}'), call("2", "search", "{}")]
        ),
        Script("and then", finish_reason="length"),
        Script(""),
    ],
)
@pytest.mark.parametrize("include", [[], ["message.output_text.logprobs"]])
async def test_a_stream_adds_up_to_the_response_in_one_piece(gateway, small: Script, include: list[str]) -> None:
    cascade = await gateway(small=small, large=Script("no"))
    asked = {"model": "small", "tools": [SEARCH], "include": include}

    events = await events_of(cascade.url, **asked)
    whole = await cascade.client.responses.with_raw_response.create(input="is it?", **asked)

    last = events[-1]["response"]
    assert told_alike(last) == told_alike(json.loads(whole.text))
    assert nameless(folded(events)) == nameless(last["output"])


async def test_an_escalated_stream_shows_the_final_tiers_answer_alone(gateway) -> None:
    cascade = await gateway(small=Script("maybe so", p=0.2), large=Script("no it is not"))

    raw = await cascade.client.responses.with_raw_response.create(model="auto", input="is it?", stream=True)
    events = [event async for event in raw.parse()]

    assert raw.headers["x-smallfirst-tier"] == "large"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "no it is not"
    assert events[-1].response.usage.smallfirst["tiers"].keys() == {"small", "large"}


async def test_the_clients_own_helper_follows_a_stream(gateway) -> None:
    cascade = await gateway(small=Script('{"sure": true}', reasoning="let me see"), large=Script("no"))

    async with cascade.client.responses.stream(model="small", input="is it?", text_format=Answer) as stream:
        snapshots = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()

    assert snapshots[-1] == '{"sure": true}'
    assert final.output_parsed == Answer(sure=True)
    assert final.output[0].content[0].text == "let me see"


async def test_the_clients_own_helper_follows_parallel_calls(gateway) -> None:
    calls = [call("1", "search", '{"query": "a"}'), call("2", "search", '{"query": "b"}')]
    cascade = await gateway(small=Script(tool_calls=calls), large=Script("no"))

    async with cascade.client.responses.stream(model="small", input="look", tools=[SEARCH]) as stream:
        snapshots = {
            event.output_index: event.snapshot
            async for event in stream
            if event.type == "response.function_call_arguments.delta"
        }
        final = await stream.get_final_response()

    assert snapshots == {0: '{"query": "a"}', 1: '{"query": "b"}'}
    assert [item.call_id for item in final.output] == ["1", "2"]


async def test_log_probabilities_come_with_their_words(gateway) -> None:
    cascade = await gateway(small=Script("yes it", p=0.9), large=Script("no"))

    events = await events_of(cascade.url, include=["message.output_text.logprobs"], top_logprobs=1)

    tokens = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert [[token["token"] for token in told] for told in tokens] == [["yes"], [" it"]]
    assert {len(token["top_logprobs"]) for told in tokens for token in told} == {1}
    done = next(event for event in events if event["type"] == "response.output_text.done")
    assert done["logprobs"] == [token for told in tokens for token in told]


async def test_a_cut_stream_ends_incomplete(gateway) -> None:
    cascade = await gateway(small=Script("and then", finish_reason="length"), large=Script("no"))

    events = await events_of(cascade.url, model="small", max_output_tokens=2)

    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert events[-2]["item"]["status"] == "incomplete"


@pytest.mark.parametrize(
    ("trouble", "code"), [("cut-stream", "bad_model_reply"), ("error-in-stream", "model_unreachable")]
)
async def test_a_stream_that_breaks_fails_in_the_middle(gateway, trouble: Any, code: str) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script("no it is not", trouble=trouble))

    events = await events_of(cascade.url)

    failed, error = events[-2:]
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"]["code"] == "server_error"
    (message,) = failed["response"]["output"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "no it is")
    assert (error["type"], error["code"]) == ("error", code)
    assert error["error"]["message"] == error["message"] == failed["response"]["error"]["message"]


async def test_the_official_client_raises_where_a_stream_breaks(gateway) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script("no it is not", trouble="cut-stream"))
    seen = []

    async def read() -> None:
        async for event in await cascade.client.responses.create(model="auto", input="is it?", stream=True):
            seen.append(event.type)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(openai.APIError) as broken:
        await read()

    assert (broken.value.code, broken.value.type) == ("bad_model_reply", "server_error")
    assert seen[-1] == "response.failed"


async def test_a_client_that_stops_reading_stops_the_work_upstream(gateway) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script("one two three " * 100, pause_s=0.05))

    async with await cascade.client.responses.create(model="auto", input="count", stream=True) as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                break

    await until(lambda: cascade.large.left == 1)


def test_a_stream_that_breaks_before_its_first_word_opens_first() -> None:
    events = read_events(writer_of(stream=True).broken(DEADLINE))

    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.failed",
        "error",
    ]


def test_what_comes_late_has_an_item_of_its_own() -> None:
    answer = [{"content": "so"}, {"tool_calls": [piece(0, "{", "1", "search")]}, {"content": "on"},
              {"tool_calls": [piece(1, "{}", "2", "search")]}, {"tool_calls": [piece(0, "}")]}]  # fmt: skip

    events = streamed(writer_of(stream=True), answer, "tool_calls")

    assert [shown(item) for item in events[-1]["response"]["output"]] == [
        ("so", "completed"), ("1 search {}", "completed"), ("on", "completed"), ("2 search {}", "completed")
    ]  # fmt: skip
    assert folded(events) == events[-1]["response"]["output"]


def test_every_event_is_documented() -> None:
    answer = [
        {"reasoning": "hm"},
        {"content": "so"},
        {"refusal": "no"},
        {"tool_calls": [piece(0, "{}", "1", "search")]},
    ]
    streams = [
        streamed(writer_of(stream=True), answer, "stop"),
        streamed(writer_of(stream=True), answer, "length"),
        read_events(writer_of(stream=True).broken(DEADLINE)),
    ]

    rows = re.findall(r"^\| (`(?:response\.|error`).*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == {
        event["type"] for events in streams for event in events
    }


def test_text_and_refusal_are_two_parts_of_a_message() -> None:
    events = streamed(writer_of(stream=True), [{"content": "well"}, {"refusal": "no"}, {"refusal": " way"}], "stop")

    (message,) = events[-1]["response"]["output"]
    assert [(part["type"], part.get("text") or part.get("refusal")) for part in message["content"]] == [
        ("output_text", "well"), ("refusal", "no way")
    ]  # fmt: skip


def test_a_call_without_an_id_gets_one() -> None:
    events = streamed(writer_of(stream=True), [{"tool_calls": [piece(0, "{}", None, "search")]}], "tool_calls")

    (item,) = events[-1]["response"]["output"]
    assert item["call_id"] == "call_r1_0"


def test_an_answer_that_changes_hands_in_the_middle_is_one_message() -> None:
    role = {"role": "assistant", "content": ""}
    told = outcome()
    told.observe(Opened("small", 1, 0.9, 0.1))

    events = streamed(writer_of(stream=True), [role, {"content": "so"}, role, {"content": " be it"}], "stop", told=told)

    response = events[-1]["response"]
    assert [shown(item) for item in response["output"]] == [("so be it", "completed")]
    assert sum(event["type"] == "response.created" for event in events) == 1
    assert response["usage"]["smallfirst"]["decision"]["tier"] == "small"


def test_a_name_that_comes_late_or_twice_is_the_name() -> None:
    answer = [{"tool_calls": [piece(0, "", "1", "")]}, {"tool_calls": [piece(0, "{}", "1", "search")]},
              {"tool_calls": [piece(0, "", "1", "search")]}]  # fmt: skip

    events = streamed(writer_of(stream=True), answer, "tool_calls")

    assert [shown(item) for item in events[-1]["response"]["output"]] == [("1 search {}", "completed")]


def test_tokens_held_back_go_with_the_word_that_they_are_part_of() -> None:
    writer = writer_of(stream=True, include=["message.output_text.logprobs"])
    deltas = [{"reasoning": "hm"}, {}, {"content": "🎉"}, {}]
    tokens = [["hm"], ["</think>", "🎉"], [""], ["</s>"]]

    events = streamed(writer, deltas, "stop", tokens)

    text = events[-1]["response"]["output"][1]["content"][0]
    assert "".join(token["token"] for token in text["logprobs"]) == text["text"] == "🎉"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text("abc_", min_size=1, max_size=8)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """A chat message: reasoning, text, refusal and calls, any of which may be missing."""
    calls = [call(f"id{place}", draw(names), draw(texts)) for place in range(draw(st.integers(0, 3)))]
    kinds = {name: draw(st.none() | texts) for name in ("reasoning", "content", "refusal")}
    return {**kinds, "tool_calls": calls}


def split(text: str, cuts: st.DataObject) -> list[str]:
    """A text in pieces, at places that are drawn; joined they are the text again."""
    places = sorted(cuts.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in itertools.pairwise([0, *places, len(text)])]


@hypothesis.given(answers(), st.sampled_from(["stop", "length", "content_filter", "tool_calls"]), st.data())
def test_any_stream_adds_up_to_the_response_in_one_piece(
    message: dict[str, Any], finish_reason: str, data: st.DataObject
) -> None:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for name in ("reasoning", "content", "refusal"):
        deltas += [{name: part} for part in split(message[name] or "", data)]
    for index, made in enumerate(message["tool_calls"]):
        function = made["function"]
        deltas.append({"tool_calls": [piece(index, "", made["id"], function["name"])]})
        deltas += [{"tool_calls": [piece(index, part)]} for part in split(function["arguments"], data)]

    events = streamed(writer_of(stream=True), deltas, finish_reason)
    reply = delta_of(json.dumps(chat({"message": message}, finish_reason)).encode(), 0.0)
    whole = json.loads(writer_of(stream=False).whole(reply, finish_of(reply.reply, streamed=False), outcome()))

    last = events[-1]["response"]
    strict_response(whole)
    assert told_alike(last) == told_alike(whole)
    assert nameless(folded(events)) == nameless(last["output"])


def piece(index: int, arguments: str, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    """A piece of a call, as chat streams it."""
    opening = {} if name is None else {"id": call_id, "type": "function"}
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"index": index, **opening, "function": function}


def chat(said: dict[str, Any], finish_reason: str | None, tokens: list[str] | None = None) -> dict[str, Any]:
    """A chat reply, or a chunk of one."""
    logprobs = {"content": [{"token": token, "logprob": -0.5} for token in tokens or ()]}
    choice = {"index": 0, **said, "finish_reason": finish_reason, "logprobs": logprobs}
    return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}


def streamed(
    writer: Writer,
    deltas: list[dict[str, Any]],
    finish_reason: str,
    tokens: list[list[str]] | None = None,
    told: Outcome | None = None,
) -> list[dict[str, Any]]:
    """The events of a stream of these deltas."""
    told = told or outcome()
    ends = [None] * (len(deltas) - 1) + [finish_reason]
    chunks: list[Delta] = [
        delta_of(json.dumps(chat({"delta": delta}, end, spoken)).encode(), 0.0)
        for delta, end, spoken in zip(deltas, ends, tokens or [[]] * len(deltas), strict=True)
    ]
    body = b"".join(writer.chunk(chunk, told) for chunk in chunks)
    return read_events(body + writer.ending(finish_of(chunks[-1].reply, streamed=True), told))


def writer_of(**fields: Any) -> Writer:
    """Who words the answer to a request."""
    body = json.dumps({"model": "small", "input": "is it?", **fields}).encode()
    return read_responses(body, Arrival("r1", 1, {})).writer


def outcome() -> Outcome:
    """A request that the small tier answered."""

    def nobody(endpoint: object) -> Any:
        raise AssertionError(endpoint)

    tier = Tier("small", Pool((), nobody), Price(1, 2))
    policy = Policy("threshold", SCORERS["mean-logprob"], 0.9, (), "escalate")
    told = Outcome(Cascade("small", (tier,), policy, LengthRatio(), Failover(1.0)))
    told.observe(Called("small", Usage(3, 4), 0.1))
    return told


def shown(item: dict[str, Any]) -> tuple[str, str]:
    """An item in short, and its status."""
    if item["type"] == "function_call":
        return f"{item['call_id']} {item['name']} {item['arguments']}", item["status"]
    return "".join(part["text"] for part in item["content"]), item["status"]


def told_alike(response: dict[str, Any]) -> dict[str, Any]:
    """A response without what differs between two requests for the same: its id and its times."""
    times = ("id", "created_at", "completed_at")
    return {
        **{name: value for name, value in response.items() if name not in times},
        "output": nameless(response["output"]),
    }


def nameless(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items without their ids."""
    return [{name: value for name, value in item.items() if name != "id"} for item in items]
