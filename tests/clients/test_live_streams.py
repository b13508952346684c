"""Streams whose writer changes in the middle, as real clients read them: one answer, and nothing of it twice."""

import anthropic
import openai
import pytest
from fakes.live import BETTER, live_cascade
from fakes.scripted import Script
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

ASKING = [{"role": "user", "content": "count"}]


@pytest.fixture
async def cascade(gateway):
    """In doubt at its sixth word."""
    running = await live_cascade(gateway)
    yield running
    assert len(running.large.seen) == 1
    assert running.large.seen[0]["kv_transfer_params"]["prompt_token_ids"][-3:] == [100, 101, 102]


async def test_openais_stream_helper(cascade) -> None:
    async with cascade.client.chat.completions.stream(
        model="auto", messages=ASKING, stream_options={"include_usage": True}
    ) as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
        whole = await stream.get_final_completion()

    assert "".join(deltas) == whole.choices[0].message.content == BETTER
    assert (whole.choices[0].message.role, whole.choices[0].finish_reason) == ("assistant", "stop")
    assert whole.usage.completion_tokens == 8


async def test_openais_log_probabilities(cascade) -> None:
    stream = await cascade.client.chat.completions.create(
        model="auto", messages=ASKING, stream=True, logprobs=True, top_logprobs=2
    )

    tokens = [token async for chunk in stream for choice in chunk.choices if choice.logprobs
              for token in choice.logprobs.content]  # fmt: skip
    assert "".join(token.token for token in tokens) == BETTER
    assert {len(token.top_logprobs) for token in tokens} == {2}


async def test_openais_responses(cascade) -> None:
    async with cascade.client.responses.stream(model="auto", input="count") as stream:
        events = [event async for event in stream]
        whole = await stream.get_final_response()

    assert whole.output_text == BETTER
    assert [item.type for item in whole.output] == ["message"]
    assert whole.usage.output_tokens == 8
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for name in ("response.created", "response.output_item.added", "response.content_part.added", "response.completed"):
        assert sum(event.type == name for event in events) == 1


async def test_anthropics_messages(cascade) -> None:
    async with (
        anthropic.AsyncAnthropic(base_url=cascade.url, api_key="none", max_retries=0) as client,
        client.messages.stream(model="auto", max_tokens=20, messages=ASKING) as stream,
    ):
        events = [event async for event in stream]
        whole = await stream.get_final_message()

    assert [(block.type, block.text) for block in whole.content] == [("text", BETTER)]
    assert (whole.stop_reason, whole.usage.output_tokens) == ("end_turn", 8)
    assert sum(event.type == "content_block_start" for event in events) == 1


async def test_langchain(cascade) -> None:
    model = ChatOpenAI(model="auto", base_url=f"{cascade.url}/v1", api_key="none", max_retries=0, stream_usage=True)

    chunks = [chunk async for chunk in model.astream("count")]

    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.content == BETTER
    assert whole.usage_metadata["output_tokens"] == 8
    assert whole.response_metadata["finish_reason"] == "stop"


async def test_pydantic_ai(cascade) -> None:
    provider = OpenAIProvider(base_url=f"{cascade.url}/v1", api_key="none")

    async with Agent(OpenAIChatModel("auto", provider=provider)).run_stream("count") as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    assert "".join(pieces) == BETTER
    assert result.usage.output_tokens == 8


CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
BAD = {**CALL, "function": {"name": "add", "arguments": '{"a": 1'}}
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "required": ["b"]}}}
SAYS = "let me see now"


async def test_a_call_of_the_large_model_after_words_of_the_small_one(gateway) -> None:
    cascade = await live_cascade(
        gateway,
        Script(SAYS, tool_calls=[BAD], says_first=True),
        Script(SAYS, tool_calls=[CALL], says_first=True, speculation="handover"),
    )

    async with cascade.client.chat.completions.stream(model="auto", messages=ASKING, tools=[ADD]) as stream:
        whole = await stream.get_final_completion()

    message = whole.choices[0].message
    assert (message.content, whole.choices[0].finish_reason) == (SAYS, "tool_calls")
    assert [call.function.arguments for call in message.tool_calls] == ['{"a": 1, "b": 2}']


async def test_a_large_model_that_dies_after_words_of_the_small_one(gateway) -> None:
    cascade = await live_cascade(gateway, large=Script(BETTER, trouble="cut-stream"))
    with pytest.raises(openai.APIError):
        async with cascade.client.chat.completions.stream(model="auto", messages=ASKING) as chunks:
            await chunks.get_final_completion()
    async with anthropic.AsyncAnthropic(base_url=cascade.url, api_key="none", max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError):
            async with client.messages.stream(model="auto", max_tokens=20, messages=ASKING) as stream:
                await stream.get_final_message()
