"""What a client of the Responses API gets in one piece, with the official client."""

import asyncio
import json
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from fakes.responses import SEARCH, call, strict_response, until
from fakes.scripted import Script
from openai.lib._tools import ResponsesPydanticFunctionTool
from pydantic import BaseModel


class City(BaseModel):
    """A structured answer."""

    name: str
    people: int


class Search(BaseModel):
    """Look something up."""

    query: str


async def test_a_sure_draft_is_the_response(gateway) -> None:
    cascade = await gateway(small=Script("yes it is", p=0.9), large=Script("no"))

    raw = await cascade.client.responses.with_raw_response.create(model="auto", input="is it?")
    response = raw.parse()

    strict_response(json.loads(raw.text))
    assert response.output_text == "yes it is"
    assert response.id == f"resp_{raw.headers['x-request-id']}"
    assert (response.object, response.status, response.model) == ("response", "completed", "auto")
    assert response.completed_at >= response.created_at
    assert (response.error, response.incomplete_details, response.store) == (None, None, False)
    (message,) = response.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed")
    assert message.content[0].annotations == []
    assert raw.headers["x-smallfirst-tier"] == "small"
    assert cascade.small.seen[0]["messages"] == [{"role": "user", "content": "is it?"}]


async def test_an_unsure_draft_is_escalated_and_billed(gateway) -> None:
    cascade = await gateway(small=Script("may be", p=0.2), large=Script("no it is not"))

    raw = await cascade.client.responses.with_raw_response.create(model="auto", input="is it?")
    response = raw.parse()

    assert response.output_text == "no it is not"
    assert raw.headers["x-smallfirst-reason"] == "unsure"
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (10, 4, 14)
    assert usage.input_tokens_details.cached_tokens == 3
    assert usage.output_tokens_details.reasoning_tokens == 0
    assert usage.smallfirst["tiers"]["small"]["completion_tokens"] == 2
    assert usage.smallfirst["cost"] == pytest.approx(194e-6)


async def test_the_synchronous_client_is_served_too(gateway) -> None:
    cascade = await gateway(small=Script("はい 🎉 sí"), large=Script("no"))

    def ask() -> tuple[str, str]:
        with openai.OpenAI(base_url=f"{cascade.url}/v1", api_key="none", max_retries=0) as client:
            text = client.responses.create(model="auto", input="本当?").output_text
            with client.responses.stream(model="auto", input="本当?") as stream:
                return text, stream.get_final_response().output_text

    assert await asyncio.to_thread(ask) == ("はい 🎉 sí", "はい 🎉 sí")
    assert cascade.small.seen[1]["messages"] == [{"role": "user", "content": "本当?"}]


async def test_reasoning_and_calls_are_items_of_their_own(gateway) -> None:
    small = Script(
        reasoning="let me see", tool_calls=[call("1", "search", '{"query": "é"}'), call("2", "search", "{}")]
    )
    cascade = await gateway(small=small, large=Script("no"))

    response = await cascade.client.responses.create(model="small", input="look", tools=[SEARCH])

    reasoning, *calls = response.output
    assert (reasoning.type, reasoning.content[0].text, reasoning.summary) == ("reasoning", "let me see", [])
    assert [(item.type, item.call_id, item.name, item.arguments) for item in calls] == [
        ("function_call", "1", "search", '{"query": "é"}'),
        ("function_call", "2", "search", "{}"),
    ]
    assert len({item.id for item in response.output}) == 3


async def test_an_output_can_be_sent_back_as_input(gateway) -> None:
    small = Script(reasoning="let me see", tool_calls=[call("1", "search", '{"query": "x"}')])
    cascade = await gateway(small=small, large=Script("no"))
    first = await cascade.client.responses.create(model="small", input="look", tools=[SEARCH])
    cascade.small.script = Script("found")

    second = await cascade.client.responses.create(
        model="small",
        tools=[SEARCH],
        input=[
            {"role": "user", "content": "look"},
            *first.output,
            {"type": "function_call_output", "call_id": "1", "output": "here"},
        ],
    )

    assert second.output_text == "found"
    assert cascade.small.seen[1]["messages"] == [
        {"role": "user", "content": "look"},
        {
            "role": "assistant",
            "content": None,
            "reasoning": "let me see",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "search", "arguments": '{"query": "x"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "here"},
    ]


async def test_an_answer_is_parsed_into_a_model(gateway) -> None:
    cascade = await gateway(
        small=Script('{"name": "Bern", "people": "many"}'), large=Script('{"name": "Bern", "people": 1}')
    )

    response = await cascade.client.responses.parse(model="auto", input="which?", text_format=City)

    assert response.output_parsed == City(name="Bern", people=1), "the draft does not fit the schema"
    sent = cascade.small.seen[0]["response_format"]
    assert (sent["type"], sent["json_schema"]["name"], sent["json_schema"]["strict"]) == ("json_schema", "City", True)
    assert sent["json_schema"]["schema"]["required"] == ["name", "people"]
    assert response.text.format.schema_ == sent["json_schema"]["schema"]


async def test_the_arguments_of_a_call_are_parsed_into_a_model(gateway) -> None:
    tool = openai.pydantic_function_tool(Search)["function"]
    small = Script(tool_calls=[call("1", "Search", '{"query": "x"}')])
    cascade = await gateway(small=small, large=Script("no"))
    asked: Any = ResponsesPydanticFunctionTool({"type": "function", **tool}, Search)

    response = await cascade.client.responses.parse(model="auto", input="look", tools=[asked])

    assert response.output[0].parsed_arguments == Search(query="x")


@pytest.mark.parametrize(
    ("finish_reason", "status", "reason"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("abort", "incomplete", None),
    ],
)
async def test_an_answer_that_was_cut_is_incomplete(
    gateway, finish_reason: str, status: str, reason: str | None
) -> None:
    cascade = await gateway(small=Script("and then", finish_reason=finish_reason), large=Script("no"))

    response = await cascade.client.responses.create(model="small", input="tell", max_output_tokens=2)

    assert (response.status, response.output[-1].status) == (status, status)
    assert (response.incomplete_details and response.incomplete_details.reason) == reason
    assert (response.completed_at is None) == (status == "incomplete")
    assert cascade.small.seen[0]["max_completion_tokens"] == 2


async def test_a_refusal_is_a_content_of_its_own(gateway) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        message = {"role": "assistant", "content": None, "refusal": "I would rather not"}
        return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    cascade = await gateway(small=Script(handler=refuse), large=Script("no"))

    response = await cascade.client.responses.create(model="small", input="do it")

    (content,) = response.output[0].content
    assert (content.type, content.refusal) == ("refusal", "I would rather not")
    assert response.output_text == ""


async def test_an_answer_without_a_word_has_an_empty_message(gateway) -> None:
    cascade = await gateway(small=Script(""), large=Script("no"))

    response = await cascade.client.responses.create(model="small", input="say nothing")

    assert [content.text for content in response.output[0].content] == [""]


async def test_log_probabilities_are_shown_to_who_asks(gateway) -> None:
    cascade = await gateway(small=Script("yes it is", p=0.8), large=Script("no"))

    plain = await cascade.client.responses.create(model="auto", input="is it?")
    asked = await cascade.client.responses.create(
        model="auto", input="is it?", include=["message.output_text.logprobs"], top_logprobs=2
    )

    assert plain.output[0].content[0].logprobs == []
    tokens = asked.output[0].content[0].logprobs
    assert [token.token for token in tokens] == ["yes", " it", " is"]
    assert {len(token.top_logprobs) for token in tokens} == {2}
    assert asked.top_logprobs == 2
    assert cascade.small.seen[1]["top_logprobs"] >= 2


async def test_the_log_probabilities_are_those_of_the_text_alone(gateway) -> None:
    cascade = await gateway(small=Script("it is", reasoning="it is it is"), large=Script("no"))

    async def think(_request: web.Request) -> web.StreamResponse:
        words = ["it", " is", " hm", "</think>", "it", " is", "</s>"]
        tokens = [{"token": word, "logprob": -0.1 * place, "bytes": None} for place, word in enumerate(words)]
        message = {"role": "assistant", "content": "it is", "reasoning": "it is hm"}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": tokens}}
        return web.json_response({"choices": [choice]})

    cascade.small.script = Script(handler=think)
    response = await cascade.client.responses.create(
        model="small", input="is it?", include=["message.output_text.logprobs"]
    )

    tokens = response.output[1].content[0].logprobs
    assert [(token.token, round(token.logprob, 1), token.bytes) for token in tokens] == [
        ("it", -0.4, [105, 116]),
        (" is", -0.5, [32, 105, 115]),
    ]


async def test_the_response_repeats_its_request(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))
    request = {
        "instructions": "be brief", "max_output_tokens": 9, "metadata": {"a": "b"}, "parallel_tool_calls": False,
        "prompt_cache_key": "k", "safety_identifier": "s", "temperature": 0.5, "tool_choice": "required",
        "tools": [SEARCH], "top_p": 0.9, "user": "u", "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "store": True, "truncation": "disabled",
    }  # fmt: skip

    raw = await cascade.client.responses.with_raw_response.create(model="small", input="is it?", **request)

    shown = json.loads(raw.text)
    strict_response(shown)
    changed = {"reasoning": {"effort": "low", "summary": None}, "store": False}
    assert {name: shown[name] for name in request} == {**request, **changed}


async def test_the_service_tier_is_the_one_that_served(gateway) -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        asked = (await request.json())["service_tier"]
        choice = {"index": 0, "message": {"content": asked}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "service_tier": "default"})

    cascade = await gateway(small=Script(handler=serve), large=Script("no"))

    response = await cascade.client.responses.create(model="small", input="x", service_tier="flex")

    assert (response.output_text, response.service_tier) == ("flex", "default")


@pytest.mark.parametrize(("status", "error"), [(401, "server_error"), (500, "server_error"), (429, "overloaded_error")])
async def test_a_failure_is_an_error_in_openais_shape(gateway, status: int, error: str) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script(status=status))

    with pytest.raises(openai.InternalServerError) as failed:
        await cascade.client.responses.create(model="auto", input="is it?", stream=status == 500)

    assert failed.value.body["type"] == error


async def test_nothing_can_be_fetched_again(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))
    responses = cascade.client.responses
    made = await responses.create(model="auto", input="is it?", store=True)

    for fetch in (responses.retrieve, responses.delete, responses.cancel):
        with pytest.raises(openai.NotFoundError, match="nothing is stored") as missing:
            await fetch(made.id)
        assert missing.value.body["param"] == "response_id"
    with pytest.raises(openai.NotFoundError, match="nothing is stored"):
        await responses.input_items.list(made.id)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_work_upstream(gateway, stream: bool) -> None:
    busy = Script("one two three " * 100, pause_s=0.5)
    cascade = await gateway(small=Script(p=0.1), large=busy)

    async with aiohttp.ClientSession() as session:
        body = {"model": "auto", "input": "count", "stream": stream}
        asking = asyncio.create_task(session.post(f"{cascade.url}/v1/responses", json=body))
        await until(lambda: cascade.large.running == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await until(lambda: cascade.large.running == 0)
    assert cascade.large.left == 1
