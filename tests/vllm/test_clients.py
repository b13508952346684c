"""Clients unchanged, through the gateway, before real vLLM: what a tool or a schema forces comes back as theirs.

Instructor's tools are left to the scripted models: it does not ask for `strict`, and without that vLLM forces a call
but not its arguments, which are too much for the demo's models.
"""

import asyncio
import contextlib
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, ConfigDict
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from vllm.gateways import tier
from vllm.servers import REPOSITORY, VllmServer, question

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning:pydantic")

ASKING = "What is the weather in Oslo?"
BRIEF = {"temperature": 0, "max_tokens": 100}
INSTRUCTOR = [REPOSITORY / ".venv-clients/bin/python", Path(__file__).with_name("instructor_program.py")]


class Weather(BaseModel):
    """The weather in a city."""

    model_config = ConfigDict(title="weather")
    city: Literal["Rome", "Oslo"]


TOOL = openai.pydantic_function_tool(Weather, name="weather")
NAMED = {"type": "function", "function": {"name": "weather"}}
STRICT = pytest.mark.parametrize(
    "way", [ToolOutput(Weather, name="weather", strict=True), NativeOutput(Weather, strict=True)]
)


@dataclass(frozen=True)
class Asking:
    """A gateway and a client of it, the tier whose answers it gives, and those of the answers that came."""

    url: str
    client: openai.AsyncOpenAI
    http: object
    tier: str
    tiers: list[str]


@pytest.fixture(params=[("small", 0), ("large", 1)], ids=["small", "large"])
async def asking(request, gateway, small: VllmServer, large: VllmServer) -> AsyncIterator[Asking]:
    """Of the small model, and of the large one after the small one's draft."""
    name, threshold = request.param
    cascade = await gateway({"small": tier(small), "large": tier(large)}, threshold=threshold)
    tiers: list[str] = []

    async def note(response) -> None:
        tiers.append(response.headers["x-smallfirst-tier"])

    http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [note]})
    url = f"{cascade.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="none", http_client=http, max_retries=0, timeout=60) as client:
        yield Asking(url, client, http, name, tiers)


async def test_openai_parses_an_answer_by_a_schema(asking: Asking) -> None:
    reply = await asking.client.chat.completions.parse(**question(ASKING, "auto", BRIEF), response_format=Weather)

    assert isinstance(reply.choices[0].message.parsed, Weather)
    assert asking.tiers == [asking.tier]


async def test_openai_streams_a_forced_call(asking: Asking) -> None:
    async with asking.client.chat.completions.stream(
        **question(ASKING, "auto", BRIEF), tools=[TOOL], tool_choice=NAMED
    ) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_completion()

    (call,) = final.choices[0].message.tool_calls
    assert (call.function.name, isinstance(call.function.parsed_arguments, Weather)) == ("weather", True)
    grown = [event.arguments_delta for event in events if event.type == "tool_calls.function.arguments.delta"]
    assert "".join(grown) == call.function.arguments
    assert asking.tiers == [asking.tier]


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("streaming", [False, True])
async def test_langchain_structures_its_output(asking: Asking, method: str, streaming: bool) -> None:
    model = ChatOpenAI(
        model="auto", base_url=asking.url, api_key="none", http_async_client=asking.http, max_retries=0,
        streaming=streaming, **BRIEF,
    )  # fmt: skip

    weather = await model.with_structured_output(Weather, method=method, strict=True).ainvoke(ASKING)

    assert isinstance(weather, Weather)
    assert asking.tiers == [asking.tier]


@STRICT
async def test_pydantic_ai_forces_its_output(asking: Asking, way) -> None:
    result = await agent_of(asking, way).run(ASKING)

    assert isinstance(result.output, Weather)
    assert asking.tiers == [asking.tier]


@STRICT
async def test_pydantic_ai_streams_its_output(asking: Asking, way) -> None:
    async with agent_of(asking, way).run_stream(ASKING) as result:
        outputs = [output async for output in result.stream_output(debounce_by=None)]

    assert isinstance(outputs[-1], Weather)
    assert asking.tiers == [asking.tier]


async def test_instructor_makes_a_model(asking: Asking) -> None:
    assert INSTRUCTOR[0].exists(), f"{INSTRUCTOR[0]} is not there: `make .venv-clients/test.done` installs it"
    process = await asyncio.create_subprocess_exec(*INSTRUCTOR, asking.url, "JSON_SCHEMA", stdout=PIPE, stderr=PIPE)
    try:
        printed, complaints = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    assert process.returncode == 0, complaints.decode()
    told = json.loads(printed)
    assert Weather.model_validate(told["model"])
    assert set(told["tiers"]) == {"small", asking.tier}


def agent_of(asking: Asking, way) -> Agent:
    """One that wants its output in this way, at once."""
    model = OpenAIChatModel("auto", provider=OpenAIProvider(openai_client=asking.client))
    return Agent(model, output_type=way, model_settings=BRIEF, retries=0)
