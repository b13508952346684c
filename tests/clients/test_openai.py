"""The official client, whole: what its helpers make of answers, of drafts that went up, and of errors."""

import asyncio

import httpx
import openai
import pytest
from fakes.obliging import obliging
from fakes.pools import probed
from fakes.scripted import Script
from fakes.waiting import until
from pydantic import BaseModel

ASKING = [{"role": "user", "content": "is it?"}]
TELLING = [{"role": "user", "content": "Who is told of in: 'Ada' is 36?"}]
BOTH = [{"role": "user", "content": "What are the weather in Oslo and the clock?"}]
ANSWER = "Here is what you asked for: is it?"


class Person(BaseModel):
    """Somebody who is told of."""

    name: str
    age: int


class Weather(BaseModel):
    """The weather in a city."""

    city: str


class Clock(BaseModel):
    """The time, some hours from now."""

    hours: int


ADA = Person(name="Ada", age=36)
TOOLS = [openai.pydantic_function_tool(Weather, name="weather"), openai.pydantic_function_tool(Clock, name="clock")]
CALLED = [("weather", Weather(city="Oslo")), ("clock", Clock(hours=7))]
BAD_CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Oslo"}'}}

# Every field of a chat request that this client, LangChain, Pydantic AI, Instructor or LiteLLM can send.
FIELDS = {
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": 0.5,
    "function_call": "auto",
    "functions": [{"name": "weather", "parameters": {"type": "object"}}],
    "logit_bias": {"5": -10},
    "logprobs": True,
    "max_completion_tokens": 50,
    "max_tokens": 60,
    "metadata": {"team": "a"},
    "modalities": ["text"],
    "moderation": {"model": "omni"},
    "n": 1,
    "parallel_tool_calls": True,
    "presence_penalty": -0.5,
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {"type": "text"},
    "safety_identifier": "s",
    "seed": 7,
    "service_tier": "default",
    "stop": ["END"],
    "store": False,
    "temperature": 0.5,
    "tool_choice": "auto",
    "tools": TOOLS,
    "top_logprobs": 3,
    "top_p": 0.9,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
}

SURE_OR_NOT = pytest.mark.parametrize(("tier", "small"), [("small", obliging()), ("large", Script("may be", p=0.2))])
JSON_OR_NOT = pytest.mark.parametrize(("tier", "small"), [("small", obliging()), ("large", Script("Ada, 36"))])
CALL_OR_NOT = pytest.mark.parametrize(
    ("tier", "small"), [("small", obliging()), ("large", Script(tool_calls=[BAD_CALL]))]
)


@SURE_OR_NOT
async def test_an_answer_and_who_gave_it(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=ASKING)

    assert raw.parse().choices[0].message.content == ANSWER
    assert answering(raw.headers) == (tier, tier == "large")
    assert [len(server.seen) for server in (cascade.small, cascade.large)] == [1, int(tier == "large")]


@SURE_OR_NOT
async def test_a_streamed_answer_and_who_gave_it(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    asking = cascade.client.chat.completions.with_streaming_response.create(
        model="auto", messages=ASKING, stream=True, stream_options={"include_usage": True}
    )
    async with asking as raw:
        chunks = [chunk async for chunk in await raw.parse()]

    assert answering(raw.headers) == (tier, tier == "large")
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == ANSWER
    assert chunks[-1].usage.total_tokens == 10 + len(ANSWER.split())
    assert raw.headers["x-request-id"] in chunks[0].id


@SURE_OR_NOT
async def test_the_blocking_client_gets_the_same(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    def ask() -> tuple[str | None, str, str]:
        with openai.OpenAI(base_url=f"{cascade.url}/v1", api_key="none", max_retries=0) as client:
            raw = client.chat.completions.with_raw_response.create(model="auto", messages=ASKING)
            chunks = client.chat.completions.create(model="auto", messages=ASKING, stream=True)
            streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            return raw.parse().choices[0].message.content, streamed, raw.headers["x-smallfirst-tier"]

    assert await asyncio.to_thread(ask) == (ANSWER, ANSWER, tier)


@SURE_OR_NOT
async def test_the_stream_helper_tells_the_text_as_it_grows(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    async with cascade.client.chat.completions.stream(
        model="auto", messages=ASKING, logprobs=True, top_logprobs=2, stream_options={"include_usage": True}
    ) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_completion()

    grown = [event.snapshot for event in events if event.type == "content.delta"]
    (done,) = [event for event in events if event.type == "content.done"]
    (doubts,) = [event for event in events if event.type == "logprobs.content.done"]
    assert grown[-1] == done.content == final.choices[0].message.content == ANSWER
    assert "".join(token.token for token in doubts.content) == ANSWER
    assert {len(token.top_logprobs) for token in doubts.content} == {2}
    assert final.choices[0].message.role == "assistant"
    assert set(final.usage.smallfirst["tiers"]) == {"small", tier}


@JSON_OR_NOT
async def test_parse_returns_the_clients_own_model(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    raw = await cascade.client.chat.completions.with_raw_response.parse(
        model="auto", messages=TELLING, response_format=Person
    )

    assert raw.parse().choices[0].message.parsed == ADA
    assert answering(raw.headers) == (tier, tier == "large")
    assert cascade.small.seen[0]["response_format"]["json_schema"]["strict"] is True


@JSON_OR_NOT
async def test_the_stream_helper_parses_too(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    async with cascade.client.chat.completions.stream(model="auto", messages=TELLING, response_format=Person) as stream:
        events = [event async for event in stream]

    assert [event.parsed for event in events if event.type == "content.done"] == [ADA]
    assert len(cascade.large.seen) == (tier == "large")


@CALL_OR_NOT
async def test_tools_are_parsed_by_the_clients_own_models(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    raw = await cascade.client.chat.completions.with_raw_response.parse(model="auto", messages=BOTH, tools=TOOLS)

    (choice,) = raw.parse().choices
    assert called(choice) == CALLED
    assert choice.finish_reason == "tool_calls"
    assert answering(raw.headers) == (tier, tier == "large")


@CALL_OR_NOT
async def test_parallel_calls_are_streamed(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    async with cascade.client.chat.completions.stream(model="auto", messages=BOTH, tools=TOOLS) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_completion()

    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [(event.name, event.parsed_arguments) for event in done] == called(final.choices[0]) == CALLED
    assert len({call.id for call in final.choices[0].message.tool_calls}) == 2
    assert len(cascade.large.seen) == (tier == "large")


async def test_a_call_is_answered_and_the_answer_goes_on(gateway) -> None:
    cascade = await gateway(small=obliging(), large=obliging())
    completions = cascade.client.chat.completions
    asked = await completions.parse(model="auto", messages=BOTH, tools=TOOLS, parallel_tool_calls=False)
    (call,) = asked.choices[0].message.tool_calls

    answered = await completions.create(
        model="auto",
        messages=[
            *BOTH,
            asked.choices[0].message,
            {"role": "tool", "tool_call_id": call.id, "content": "it is sunny"},
        ],
        tools=TOOLS,
    )

    assert answered.choices[0].message.content == "Here is what you asked for: it is sunny"
    assert cascade.small.seen[1]["messages"][1]["tool_calls"][0]["id"] == call.id


@pytest.mark.parametrize("stream", [False, True])
@SURE_OR_NOT
async def test_several_choices(gateway, tier: str, small: Script, stream: bool) -> None:
    cascade = await gateway(small=small, large=obliging())

    texts = await choices_of(cascade.client, stream=stream, n=3, temperature=1, logprobs=True)

    assert texts == [ANSWER] * 3
    assert len(cascade.large.seen) == (tier == "large")


@pytest.mark.parametrize("stream", [False, True])
async def test_every_field_reaches_both_models(gateway, stream: bool) -> None:
    cascade = await gateway(small=Script("may be", p=0.2), large=obliging())
    await probed(cascade.url)

    await cascade.client.chat.completions.create(model="auto", messages=ASKING, stream=stream, extra_body=FIELDS)

    for server in (cascade.small, cascade.large):
        (seen,) = server.seen
        assert {name: seen[name] for name in FIELDS} == FIELDS


@pytest.mark.parametrize(("limits", "text", "reason"), [({"max_completion_tokens": 2}, "Here is", "length"),
                                                         ({"stop": [" what"]}, "Here is", "stop")])  # fmt: skip
async def test_the_clients_own_limits_end_the_answer(gateway, limits, text: str, reason: str) -> None:
    cascade = await gateway(small=obliging(), large=obliging())

    reply = await cascade.client.chat.completions.create(model="auto", messages=ASKING, **limits)

    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (text, reason)


async def test_a_limit_within_json_is_the_clients_own_error(gateway) -> None:
    cascade = await gateway(small=obliging(), large=obliging())

    with pytest.raises(openai.LengthFinishReasonError):
        await cascade.client.chat.completions.parse(
            model="auto", messages=TELLING, response_format=Person, max_completion_tokens=2
        )


@pytest.mark.parametrize(
    ("asked", "large", "kind", "status", "param"),
    [
        ({"temperature": 9}, Script(), openai.BadRequestError, 400, "temperature"),
        ({"model": "gpt"}, Script(), openai.NotFoundError, 404, "model"),
        ({"extra_headers": {"content-type": "text/plain"}}, Script(), openai.APIStatusError, 415, None),
        ({}, Script(status=400, error={"error": {"message": "too long", "param": "messages"}}),
         openai.BadRequestError, 400, "messages"),
        ({}, Script(status=503), openai.InternalServerError, 503, None),
        ({}, Script(status=401), openai.InternalServerError, 502, None),
        ({}, Script(trouble="hang"), openai.InternalServerError, 504, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_of_the_clients_own_classes(gateway, asked, large, kind, status, param, stream: bool) -> None:
    cascade = await gateway(small=Script(p=0.1), large=large, limits={"first_token_s": 0.3, "total_s": 0.5})

    with pytest.raises(kind) as caught:
        await cascade.client.chat.completions.create(**{"model": "auto", "messages": ASKING, "stream": stream, **asked})

    assert (caught.value.status_code, caught.value.param) == (status, param)
    assert caught.value.message
    assert caught.value.request_id


async def test_a_stream_that_breaks_raises(gateway) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script("yes it is", trouble="error-in-stream"))
    text = ""

    with pytest.raises(openai.APIError) as caught:  # noqa: PT012 - the error comes while it is read
        async for chunk in await cascade.client.chat.completions.create(model="auto", messages=ASKING, stream=True):
            text += chunk.choices[0].delta.content

    assert text == "yes it"
    assert caught.value.code == "model_unreachable"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_runs_out_of_time_stops_the_call(gateway, stream: bool) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script(trouble="hang"))

    patience = httpx.Timeout(20, read=2)  # no longer than it takes, and long enough to get as far as the large model

    with pytest.raises(openai.APITimeoutError):
        await cascade.client.chat.completions.create(model="auto", messages=ASKING, stream=stream, timeout=patience)

    await until(lambda: cascade.large.left == 1)


async def test_a_cancelled_task_stops_the_call(gateway) -> None:
    cascade = await gateway(small=Script(trouble="hang"), large=Script())
    asking = asyncio.create_task(cascade.client.chat.completions.create(model="auto", messages=ASKING))
    await until(lambda: cascade.small.running == 1)

    asking.cancel()

    await until(lambda: cascade.small.left == 1)
    assert cascade.large.seen == []


async def test_a_stream_that_is_left_stops_the_call(gateway) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script("yes it is", trouble="stall"))

    async with cascade.client.chat.completions.stream(model="auto", messages=ASKING) as stream:
        await anext(event async for event in stream if event.type == "content.delta")

    await until(lambda: cascade.large.left == 1)


async def test_the_models_are_listed(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())

    names = [model.id async for model in cascade.client.models.list()]

    assert names == ["auto", "small", "large"]
    assert (await cascade.client.models.retrieve("small")).owned_by == "smallfirst"


def answering(headers) -> tuple[str, bool]:
    """The tier that answered, and whether the draft went up."""
    return headers["x-smallfirst-tier"], headers["x-smallfirst-escalated"] == "true"


def called(choice) -> list[tuple[str, BaseModel]]:
    """Each call's function and parsed arguments."""
    calls = [call.function for call in choice.message.tool_calls]
    return [(function.name, function.parsed_arguments) for function in calls]


async def choices_of(client: openai.AsyncOpenAI, *, stream: bool, **options) -> list[str]:
    """The texts of all choices."""
    asking = client.chat.completions.create(model="auto", messages=ASKING, stream=stream, **options)
    if not stream:
        return [choice.message.content for choice in (await asking).choices]
    texts: dict[int, str] = {}
    async for chunk in await asking:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    return [texts[index] for index in sorted(texts)]
