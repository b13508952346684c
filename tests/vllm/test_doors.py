"""The other APIs before real vLLM: the same answers as by chat, with the official clients."""

from collections.abc import AsyncIterator

import anthropic
import pytest
from openai.lib._pydantic import to_strict_json_schema
from vllm.gateways import Gateway, tier
from vllm.servers import VllmServer
from vllm.test_clients import ASKING, Weather

from models.demo.curriculum import distinct
from models.demo.question import Split

QUESTIONS = [question.prompt for question in distinct(Split.HELD_OUT, 6)]
SCHEMA = to_strict_json_schema(Weather)


@pytest.fixture
async def cascade(gateway, small: VllmServer, large: VllmServer) -> Gateway:
    """The demo pair."""
    return await gateway({"small": tier(small), "large": tier(large)}, scorer="min-logprob", threshold=0.7302)


@pytest.fixture
async def claude(cascade: Gateway) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Anthropic's client of it."""
    async with anthropic.AsyncAnthropic(base_url=cascade.url, api_key="none", max_retries=0, timeout=60) as client:
        yield client


async def test_a_response_says_what_chat_says(cascade: Gateway) -> None:
    for prompt in QUESTIONS:
        chat = (await cascade.ask(prompt)).parse()

        whole = await cascade.client.responses.create(model="auto", input=prompt, temperature=0)
        async with cascade.client.responses.stream(model="auto", input=prompt, temperature=0) as stream:
            streamed = await stream.get_final_response()

        said = (chat.choices[0].message.content, chat.usage.prompt_tokens, chat.usage.completion_tokens)
        for response in (whole, streamed):
            assert (response.output_text, response.usage.input_tokens, response.usage.output_tokens) == said


async def test_a_message_says_what_chat_says(cascade: Gateway, claude: anthropic.AsyncAnthropic) -> None:
    for prompt in QUESTIONS:
        chat = (await cascade.ask(prompt)).parse()
        asked = {"model": "auto", "max_tokens": 300, "messages": [{"role": "user", "content": prompt}],
                 "extra_body": {"temperature": 0}}  # fmt: skip

        whole = await claude.messages.create(**asked)
        async with claude.messages.stream(**asked) as stream:
            streamed = await stream.get_final_message()
        counted = await claude.messages.count_tokens(model="auto", messages=asked["messages"])

        for message in (whole, streamed):
            assert message.content[0].text == chat.choices[0].message.content
            assert message.usage.output_tokens == chat.usage.completion_tokens
            assert message.stop_reason == "end_turn"
        assert counted.input_tokens == chat.usage.prompt_tokens


@pytest.mark.parametrize("streams", [False, True])
async def test_a_response_calls_the_tool_that_it_must(cascade: Gateway, streams: bool) -> None:
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
    asked = {"model": "auto", "input": ASKING, "temperature": 0, "max_output_tokens": 100, "tools": [tool],
             "tool_choice": {"type": "function", "name": "weather"}}  # fmt: skip

    if streams:
        async with cascade.client.responses.stream(**asked) as stream:
            response = await stream.get_final_response()
    else:
        response = await cascade.client.responses.create(**asked)

    (call,) = response.output
    assert (call.type, call.name) == ("function_call", "weather")
    assert Weather.model_validate_json(call.arguments)


async def test_a_response_fits_its_schema(cascade: Gateway) -> None:
    response = await cascade.client.responses.parse(
        model="auto", input=ASKING, temperature=0, max_output_tokens=100, text_format=Weather
    )

    assert isinstance(response.output_parsed, Weather)


@pytest.mark.parametrize("streams", [False, True])
async def test_a_message_uses_the_tool_that_it_must(claude: anthropic.AsyncAnthropic, streams: bool) -> None:
    asked = {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": ASKING}],
             "tools": [{"name": "weather", "input_schema": SCHEMA, "strict": True}],
             "tool_choice": {"type": "tool", "name": "weather"}, "extra_body": {"temperature": 0}}  # fmt: skip

    if streams:
        async with claude.messages.stream(**asked) as stream:
            message = await stream.get_final_message()
    else:
        message = await claude.messages.create(**asked)

    (use,) = message.content
    assert (use.type, use.name, message.stop_reason) == ("tool_use", "weather", "tool_use")
    assert Weather.model_validate(use.input)
