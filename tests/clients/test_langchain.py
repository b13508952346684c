"""LangChain: the standard tests for chat models that its packages bring, asked of both tiers, and what they leave out.

Declared as unsupported, because their standard tests fetch a file from the internet: image, audio and PDF inputs, and
images and PDFs as a tool's answer. The tests at the end send such parts with bytes of their own. The standard timing of
streams is off too: it replays recordings, and here there is something to ask.
"""

from typing import ClassVar

import pytest
from fakes.obliging import obliging
from fakes.scripted import Script
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import BaseModel

pytestmark = [
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning:pydantic"),
    pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema:UserWarning:langchain_openai"),
]

NOWHERE = "http://127.0.0.1:8080/v1"
BYTES = "UklGRg=="
PARTS = [
    (
        {"type": "image", "base64": BYTES, "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BYTES}"}},
    ),
    (
        {"type": "image", "url": "https://example.org/a.png"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ),
    (
        {"type": "audio", "base64": BYTES, "mime_type": "audio/wav"},
        {"type": "input_audio", "input_audio": {"data": BYTES, "format": "wav"}},
    ),
    (
        {"type": "file", "base64": BYTES, "mime_type": "application/pdf", "filename": "a.pdf"},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{BYTES}", "filename": "a.pdf"}},
    ),
]


class TestUnits(ChatModelUnitTests):
    """The standard tests that ask nothing."""

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, object]:
        return {"model": "auto", "base_url": NOWHERE, "api_key": "none"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, object], dict[str, object]]:
        environment = {"OPENAI_API_KEY": "none", "OPENAI_API_BASE": NOWHERE}
        return environment, {"model": "auto"}, {"openai_api_key": "none", "openai_api_base": NOWHERE}


class Standard(ChatModelIntegrationTests):
    """The standard tests that ask."""

    small: ClassVar[Script]
    url: ClassVar[str]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _gateway(cls, standing) -> None:
        cls.url = standing(small=cls.small, large=obliging()).url

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, object]:
        return {"model": "auto", "base_url": self.url, "api_key": "none", "stream_usage": True}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "large"

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        return {"invoke": ["cache_read_input"], "stream": ["cache_read_input"]}

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self.chat_model_class(**self.chat_model_params, streaming=stream).invoke("Hello")


class TestOfTheSmallModel(Standard):
    """Every answer is the small model's."""

    small = obliging()


class TestOfTheLargeModel(Standard):
    """Every draft goes up."""

    small = obliging(p=0.2)


class Person(BaseModel):
    """Somebody who is told of."""

    name: str
    age: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


BAD_CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Oslo"}'}}
ASKING = "What is the weather in Oslo?"


@pytest.mark.parametrize(
    ("tier", "small"), [("small", obliging()), ("large", Script(tool_calls=[BAD_CALL])), ("large", obliging(p=0.2))]
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_call_that_nobody_could_make_goes_up(gateway, tier: str, small: Script, streaming: bool) -> None:
    cascade = await gateway(small=small, large=obliging())
    model = chat_model(cascade.url, streaming=streaming).bind_tools([weather])

    answer = await model.ainvoke(ASKING)

    (call,) = answer.tool_calls
    assert await weather.ainvoke(call["args"]) == "sunny in Oslo"
    assert answer.response_metadata["headers"]["x-smallfirst-tier"] == tier
    assert len(cascade.large.seen) == (tier == "large")


@pytest.mark.parametrize(("tier", "small"), [("small", obliging()), ("large", Script("Ada is 36"))])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_structured_output_comes_from_who_can_write_it(gateway, tier: str, small: Script, method: str) -> None:
    cascade = await gateway(small=small, large=obliging())
    model = chat_model(cascade.url).with_structured_output(Person, method=method)

    assert await model.ainvoke("Who is told of in: 'Ada' is 36?") == Person(name="Ada", age=36)
    assert len(cascade.large.seen) == (tier == "large")


@pytest.mark.parametrize(("tier", "small"), [("small", obliging()), ("large", Script("may be", p=0.2))])
async def test_a_stream_is_one_message_whoever_writes_it(gateway, tier: str, small: Script) -> None:
    cascade = await gateway(small=small, large=obliging())
    full = AIMessageChunk("")

    async for chunk in chat_model(cascade.url, logprobs=True, stream_usage=True).astream("is it?"):
        full += chunk

    assert full.text == "Here is what you asked for: is it?"
    assert "".join(token["token"] for token in full.response_metadata["logprobs"]["content"]) == full.text
    assert full.response_metadata["headers"]["x-smallfirst-tier"] == tier
    assert full.usage_metadata["output_tokens"] == len(full.text.split())
    assert full.usage_metadata["input_token_details"]["cache_read"] == 3


@pytest.mark.parametrize(("part", "sent"), PARTS)
async def test_files_of_every_kind_reach_the_model(gateway, part, sent) -> None:
    cascade = await gateway(small=obliging(), large=obliging())

    await chat_model(cascade.url).ainvoke([HumanMessage([{"type": "text", "text": "Describe:"}, part])])

    assert cascade.small.seen[0]["messages"][0]["content"] == [{"type": "text", "text": "Describe:"}, sent]


@pytest.mark.parametrize(("part", "sent"), PARTS)
async def test_a_tool_answers_with_files_of_every_kind(gateway, part, sent) -> None:
    cascade = await gateway(small=obliging(), large=obliging())
    called = AIMessage([], tool_calls=[{"type": "tool_call", "id": "1", "name": "weather", "args": {"city": "Oslo"}}])
    answered = ToolMessage([part], tool_call_id="1", name="weather")

    await chat_model(cascade.url).bind_tools([weather]).ainvoke([HumanMessage(ASKING), called, answered])

    assert cascade.small.seen[0]["messages"][2]["content"] == [sent]


def chat_model(url: str, **options) -> ChatOpenAI:
    """Of the cascade."""
    return ChatOpenAI(
        model="auto", base_url=f"{url}/v1", api_key="none", include_response_headers=True, max_retries=0, **options
    )
