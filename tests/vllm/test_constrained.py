"""Tools, schemas and adapters: what vLLM does beside plain text comes through whole and streamed."""

import json

import pytest
from vllm.gateways import Gateway, text_of, tier
from vllm.servers import VllmServer

CITIES = ["Rome", "Oslo"]
ASKING = "What is the weather in Oslo?"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": CITIES}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
NAMED = {"type": "function", "function": {"name": "weather"}}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "weather",
        "schema": {
            "type": "object",
            "properties": {"city": {"enum": CITIES}, "sunny": {"type": "boolean"}},
            "required": ["city", "sunny"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture
async def cascade(gateway, small: VllmServer, large: VllmServer) -> Gateway:
    """small before large."""
    return await gateway({"small": tier(small), "large": tier(large)}, threshold=0)


@pytest.mark.parametrize("choice", ["required", NAMED])
@pytest.mark.parametrize("model", ["auto", "large"])
async def test_a_forced_tool_call_comes_whole(cascade, small, large, model: str, choice) -> None:
    forced = {"tools": [WEATHER], "tool_choice": choice}
    alone = (await (small if model == "auto" else large).ask(ASKING, **forced)).choices[0]

    raw = await cascade.ask(ASKING, model, **forced)

    answer = raw.parse().choices[0]
    (call,) = answer.message.tool_calls
    assert call.function == alone.message.tool_calls[0].function
    assert (call.function.name, json.loads(call.function.arguments)["city"] in CITIES) == ("weather", True)
    assert answer.finish_reason == alone.finish_reason
    assert raw.headers["x-smallfirst-tier"] == ("small" if model == "auto" else "large")


@pytest.mark.parametrize("choice", ["required", NAMED])
@pytest.mark.parametrize("model", ["auto", "large"])
async def test_a_forced_tool_call_comes_in_pieces(cascade, small, large, model: str, choice) -> None:
    forced = {"tools": [WEATHER], "tool_choice": choice}
    alone = (await (small if model == "auto" else large).ask(ASKING, **forced)).choices[0].message.tool_calls[0]

    raw = await cascade.ask(ASKING, model, stream=True, **forced)

    deltas = [chunk.choices[0].delta async for chunk in raw.parse()]
    functions = [call.function for delta in deltas for call in delta.tool_calls or ()]
    assert "".join(function.name or "" for function in functions) == "weather"
    arguments = "".join(function.arguments or "" for function in functions)
    assert json.loads(arguments) == json.loads(alone.function.arguments)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["auto", "large"])
async def test_an_answer_by_a_schema_fits_it(cascade, model: str, stream: bool) -> None:
    raw = await cascade.ask(ASKING, model, response_format=SCHEMA, stream=stream)

    answer = json.loads(await text_of(raw, stream=stream))
    assert answer.keys() == {"city", "sunny"}
    assert answer["city"] in CITIES


@pytest.mark.parametrize("stream", [False, True])
async def test_a_draft_cut_in_the_middle_of_its_json_goes_up(cascade, stream: bool) -> None:
    raw = await cascade.ask(ASKING, response_format=SCHEMA, max_tokens=3, stream=stream)

    assert await text_of(raw, stream=stream)
    assert (raw.headers["x-smallfirst-tier"], raw.headers["x-smallfirst-reason"]) == ("large", "malformed")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tier_can_be_an_adapter(gateway, small, stream: bool) -> None:
    # One after the other: on a CPU, vLLM applies an adapter to its whole batch.
    plain = (await small.ask(ASKING, max_tokens=20)).choices[0].message.content
    tuned = (await small.ask(ASKING, max_tokens=20, model="tuned")).choices[0].message.content

    front = await gateway({"tuned": tier(small, model="tuned")})
    raw = await front.ask(ASKING, "tuned", max_tokens=20, stream=stream)

    assert await text_of(raw, stream=stream) == tuned != plain
