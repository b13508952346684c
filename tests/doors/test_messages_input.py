"""Whatever is sent to the Messages API is read, or refused as the client's mistake; tiers that cannot count say so."""

import json
from typing import Any

import anthropic
import pytest
from fakes.gateway import running_gateway
from fakes.scripted import Script, ScriptedServer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.doors.door import Arrival
from server.doors.messages import read_messages
from server.doors.messages_count import read_count
from server.doors.messages_request import MessagesRequest
from server.errors import RequestError
from server.settings.schema import Settings

GOOD = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "is it?"}]}
MESSAGES = GOOD["messages"]
KEYS = ("type", "text", "content", "role", "name", "input", "source", "url", "data", "media_type", "id", "tool_use_id",
        "input_schema", "format", "schema", "effort", "budget_tokens", "user_id")  # fmt: skip
KINDS = (
    "text",
    "image",
    "tool_use",
    "tool_result",
    "thinking",
    "base64",
    "url",
    "user",
    "assistant",
    "enabled",
    "tool",
)

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.sampled_from(KINDS) | st.text(max_size=5)
odd_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
blocks = st.dictionaries(st.sampled_from(KEYS), odd_values, max_size=6)
turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.lists(blocks, max_size=3)}
)
odd_fields = st.dictionaries(st.sampled_from([*MessagesRequest.model_fields]), odd_values, max_size=4)


@settings(max_examples=300)
@example({}, [{"role": "system", "content": []}], True)
@given(odd_fields, st.lists(turns, max_size=3), st.booleans())
def test_whatever_is_sent_is_read_or_refused(fields: dict[str, Any], conversation: list[Any], good: bool) -> None:
    body = {**GOOD, **({"messages": conversation} if conversation else {}), **fields} if good else fields

    for read in (lambda sent: read_messages(sent, Arrival("1", 0, {})), read_count):
        try:
            read(json.dumps(body).encode())
        except RequestError as refused:
            assert refused.problem.status == 400  # noqa: PT017 - both ways out are good


@pytest.mark.parametrize(("dialects", "counts"), [(("openai", "vllm"), True), (("openai", "openai"), False)])
async def test_a_tier_of_another_dialect_cannot_count(dialects: tuple[str, str], counts: bool) -> None:
    async with ScriptedServer(Script()) as server:
        tier = {"model": "scripted", "price": {"input": 1.0, "output": 1.0}, "urls": [server.url]}
        tiers = {name: {**tier, "dialect": dialect} for name, dialect in zip(("small", "large"), dialects, strict=True)}
        config = {"tiers": tiers, "cascades": {"auto": {"tiers": ["small", "large"], "threshold": 0.5}}}
        async with (
            running_gateway(Settings.model_validate(config)) as url,
            anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0, timeout=20) as client,
        ):
            if counts:
                assert (await client.messages.count_tokens(model="auto", messages=MESSAGES)).input_tokens > 0
                return
            with pytest.raises(anthropic.HTTPNotImplementedError) as caught:
                await client.messages.count_tokens(model="auto", messages=MESSAGES)

    assert "dialect" in caught.value.api_message
