"""Pydantic AI: agents with tools, structured output in each of its ways, and streams."""

import pytest
from fakes.obliging import obliging
from fakes.scripted import Script
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

ASKING = "What is the weather in Oslo?"
TELLING = "Who is told of in: 'Ada' is 36?"
BAD_CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Oslo"}'}}
CALL_OR_NOT = pytest.mark.parametrize(
    ("tier", "small"), [("small", obliging()), ("large", Script(tool_calls=[BAD_CALL])), ("large", obliging(p=0.2))]
)
PERSON_OR_NOT = pytest.mark.parametrize(
    ("tier", "small"), [("small", obliging()), ("large", Script("Ada is 36")), ("large", obliging(p=0.2))]
)


class Person(BaseModel):
    """Somebody who is told of."""

    name: str
    age: int


WAYS = [ToolOutput(Person), NativeOutput(Person), PromptedOutput(Person)]


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@CALL_OR_NOT
async def test_an_agent_uses_its_tool(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    result = await Agent(model_of(cascade), tools=[weather]).run(ASKING)

    assert result.output == "Here is what you asked for: sunny in Oslo"
    assert result.usage.requests == 2
    assert asked(cascade) == (2, 2 if tier == "large" else 0)
    last = getattr(cascade, tier).seen[-1]["messages"]
    assert [message["role"] for message in last] == ["user", "assistant", "tool"]


@CALL_OR_NOT
async def test_an_agent_uses_its_tool_in_a_stream(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())

    async with Agent(model_of(cascade), tools=[weather]).run_stream(ASKING) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    assert "".join(pieces) == "Here is what you asked for: sunny in Oslo"
    assert len(pieces) > 1
    assert result.usage.output_tokens > len(pieces)
    assert asked(cascade) == (2, 2 if tier == "large" else 0)


@PERSON_OR_NOT
@pytest.mark.parametrize("way", WAYS)
async def test_structured_output(gateway, tier: str, small: Script, way) -> None:
    cascade = await gateway(small=small, large=obliging())

    result = await Agent(model_of(cascade), output_type=way).run(TELLING)

    assert result.output == Person(name="Ada", age=36)
    assert asked(cascade) == (1, int(tier == "large"))


@PERSON_OR_NOT
@pytest.mark.parametrize("way", WAYS)
async def test_structured_output_in_a_stream(gateway, tier: str, small: Script, way) -> None:
    cascade = await gateway(small=small, large=obliging())

    async with Agent(model_of(cascade), output_type=way).run_stream(TELLING) as result:
        outputs = [output async for output in result.stream_output(debounce_by=None)]

    assert outputs[-1] == Person(name="Ada", age=36)
    assert asked(cascade) == (1, int(tier == "large"))


@pytest.mark.parametrize("p", [0.99, 0.2])
async def test_what_the_model_thought_is_told_apart(gateway, p: float) -> None:
    cascade = await gateway(small=obliging(p=p, reasoning="let me see"), large=obliging(reasoning="let me see"))
    agent = Agent(model_of(cascade))

    whole = await agent.run(ASKING)
    async with agent.run_stream(ASKING) as streamed:
        await streamed.get_output()

    for result in (whole, streamed):
        thought, said = result.all_messages()[-1].parts
        assert (thought.part_kind, thought.content) == ("thinking", "let me see")
        assert (said.part_kind, said.content) == ("text", f"Here is what you asked for: {ASKING}")
    assert asked(cascade) == (2, 2 if p < 0.5 else 0)


async def test_an_output_that_the_agent_refuses_is_asked_for_again(gateway) -> None:
    cascade = await gateway(small=obliging(), large=obliging())
    agent = Agent(model_of(cascade), output_type=ToolOutput(Person))

    @agent.output_validator
    def of_age(person: Person) -> Person:
        if person.age < 18:
            raise ModelRetry("somebody who is 36")
        return person

    result = await agent.run("Who is told of in: 'Ada' is 6?")

    assert result.output.age == 36
    assert asked(cascade) == (2, 0)


async def test_a_refusal_is_the_agents_error(gateway) -> None:
    cascade = await gateway(small=obliging(p=0.1), large=Script(status=503))

    with pytest.raises(ModelHTTPError) as caught:
        await Agent(model_of(cascade)).run(ASKING)

    assert caught.value.status_code == 503


def model_of(cascade) -> OpenAIChatModel:
    """The cascade, as agents want it."""
    return OpenAIChatModel("auto", provider=OpenAIProvider(openai_client=cascade.client))


def asked(cascade) -> tuple[int, int]:
    """How often each model was."""
    return len(cascade.small.seen), len(cascade.large.seen)
