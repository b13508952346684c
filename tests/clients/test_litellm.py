"""LiteLLM as a client: whole and streamed answers, tools, schemas, and its own kinds of errors."""

import asyncio
import json

import litellm
import pytest
from fakes.live import BETTER, live_cascade
from fakes.obliging import obliging
from fakes.scripted import Script
from fakes.waiting import until
from pydantic import BaseModel

pytestmark = [
    pytest.mark.filterwarnings("ignore:Items? .* using the `ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*fields' attribute on the instance:DeprecationWarning"),
]

ASKING = [{"role": "user", "content": "is it?"}]
ANSWER = "Here is what you asked for: is it?"
WEATHER = [{"role": "user", "content": "What is the weather in Oslo?"}]
TELLING = [{"role": "user", "content": "Who is told of in: 'Ada' is 36?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
BAD_CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Oslo"}'}}

SURE_OR_NOT = pytest.mark.parametrize(("tier", "small"), [("small", obliging()), ("large", obliging(p=0.2))])
CALL_OR_NOT = pytest.mark.parametrize(
    ("tier", "small"), [("small", obliging()), ("large", Script(tool_calls=[BAD_CALL]))]
)


class Person(BaseModel):
    """Somebody who is told of."""

    name: str
    age: int


@SURE_OR_NOT
async def test_an_answer_and_who_gave_it(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    reply = await ask(cascade, ASKING)

    assert reply.choices[0].message.content == ANSWER
    assert reply.usage.completion_tokens == len(ANSWER.split())
    assert tier_of(reply) == tier
    assert asked(cascade) == (1, int(tier == "large"))


@SURE_OR_NOT
async def test_a_streamed_answer_and_who_gave_it(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    reply = await ask(cascade, ASKING, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in reply]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert chunks[-1].usage.completion_tokens == len(ANSWER.split())
    assert tier_of(reply) == tier
    assert asked(cascade) == (1, int(tier == "large"))


@SURE_OR_NOT
async def test_the_blocking_client_gets_the_same(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    def texts() -> tuple[str, str]:
        whole = litellm.completion(messages=ASKING, **target(cascade))
        chunks = litellm.completion(messages=ASKING, stream=True, **target(cascade))
        return whole.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    assert await asyncio.to_thread(texts) == (ANSWER, ANSWER)
    assert asked(cascade) == (2, 2 if tier == "large" else 0)


@pytest.mark.parametrize("stream", [False, True])
@CALL_OR_NOT
async def test_a_call_that_nobody_could_make_goes_up(gateway, tier: str, small: Script, stream: bool) -> None:
    cascade = await gateway(small=small, large=obliging())

    reply = await ask(cascade, WEATHER, tools=TOOLS, stream=stream)
    if stream:
        reply = litellm.stream_chunk_builder([chunk async for chunk in reply])

    (call,) = reply.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Oslo"})
    assert reply.choices[0].finish_reason == "tool_calls"
    assert asked(cascade) == (1, int(tier == "large"))


@pytest.mark.parametrize(("tier", "small"), [("small", obliging()), ("large", Script("Ada is 36"))])
async def test_an_answer_by_a_schema(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    reply = await ask(cascade, TELLING, response_format=Person)

    assert Person.model_validate_json(reply.choices[0].message.content) == Person(name="Ada", age=36)
    assert cascade.small.seen[0]["response_format"]["type"] == "json_schema"
    assert tier_of(reply) == tier


@pytest.mark.parametrize(
    ("options", "large", "kind"),
    [
        ({"temperature": 9}, Script(), litellm.BadRequestError),
        ({"model": "openai/gpt"}, Script(), litellm.NotFoundError),
        ({}, Script(status=503), litellm.ServiceUnavailableError),
    ],
)
async def test_errors_are_of_the_clients_own_classes(gateway, options, large: Script, kind) -> None:
    cascade = await gateway(small=Script(p=0.1), large=large)

    with pytest.raises(kind):
        await ask(cascade, ASKING, **options)


async def test_a_client_that_runs_out_of_time_stops_the_call(gateway) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script(trouble="hang"))

    with pytest.raises(litellm.Timeout):
        await ask(cascade, ASKING, timeout=3)

    await until(lambda: cascade.large.left == 1)


def target(cascade) -> dict[str, object]:
    """What makes it ask the cascade."""
    return {"model": "openai/auto", "api_base": f"{cascade.url}/v1", "api_key": "none", "max_retries": 0}


async def ask(cascade, messages, **options):
    """Its reply, or its stream."""
    return await litellm.acompletion(messages=messages, **{**target(cascade), **options})


def tier_of(reply) -> str:
    """The tier that answered, by the header as the client shows it."""
    return reply._hidden_params["additional_headers"]["llm_provider-x-smallfirst-tier"]


def asked(cascade) -> tuple[int, int]:
    """How often each model was."""
    return len(cascade.small.seen), len(cascade.large.seen)


async def test_a_stream_whose_writer_changes_in_the_middle(gateway) -> None:
    cascade = await live_cascade(gateway)

    stream = await litellm.acompletion(
        model="openai/auto", api_base=f"{cascade.url}/v1", api_key="none", messages=ASKING, stream=True
    )

    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == BETTER
    assert len(cascade.large.seen) == 1
