"""What becomes of a request to the Responses API: what the model is sent, and what is refused by its name."""

import contextlib
import inspect
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fakes.responses import SEARCH, call
from fakes.scripted import Script
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.response import Response
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

from models.wire import JsonObject
from server.doors.door import Arrival
from server.doors.reading import Part
from server.doors.responses import read_responses
from server.doors.responses_items import ITEMS, messages_of
from server.doors.responses_parts import PARTS
from server.doors.responses_request import ResponsesRequest
from server.errors import DEADLINE, RequestError

PAGE = Path(__file__).parents[2] / "docs" / "fields" / "responses.md"
GOOD: JsonObject = {"model": "auto", "input": "is it?"}
OTHER = {**SEARCH, "name": "other"}
IMAGE = "data:image/png;base64,AAAA"


def sent(**fields: Any) -> dict[str, Any]:
    """What a tier's server is asked, but for what the gateway adds."""
    return dict(read_responses(json.dumps({**GOOD, **fields}).encode(), Arrival("r1", 1, {})).prompt.fields)


def refused(**fields: Any) -> tuple[str | None, str]:
    """The field that a refusal blames, and its message."""
    with pytest.raises(RequestError) as wrong:
        sent(**fields)
    problem = wrong.value.problem
    assert problem.status == 400
    return problem.param, problem.message


def test_a_plain_request_is_a_plain_chat() -> None:
    assert sent() == {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}


def test_instructions_come_first() -> None:
    assert sent(instructions="be brief")["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "is it?"},
    ]


@pytest.mark.parametrize(
    ("fields", "chat"),
    [
        ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "text"}}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True, "top_logprobs": 0}),
        (
            {"include": ["message.output_text.logprobs"], "top_logprobs": 3},
            {"logprobs": True, "top_logprobs": 3},
        ),
        ({"include": ["reasoning.encrypted_content"]}, {}),
    ],
)
def test_a_field_of_another_name_is_translated(fields: dict, chat: dict) -> None:
    assert sent(**fields) == {**sent(), **chat}


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.5, "top_p": 0.9, "user": "u", "seed": 7, "stop": ["x"], "stream": True},
        {"safety_identifier": "s", "service_tier": "flex", "prompt_cache_key": "k", "prompt_cache_retention": "24h"},
        {"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}},
        {"top_k": 5, "min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}, "never_heard_of": [None]},
        {"presence_penalty": 1, "frequency_penalty": -1, "logit_bias": {"5": 1}},
        {"prediction": {"type": "content", "content": "guess"}},
    ],
)
def test_what_chat_has_too_goes_as_it_came(fields: dict) -> None:
    assert sent(**fields) == {**sent(), **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"store": True},
        {"store": False},
        {"metadata": {"a": "b"}},
        {"background": False},
        {"truncation": "disabled"},
        {"stream": False, "n": 1, "logprobs": False},
        {"reasoning": {"summary": "auto", "generate_summary": None, "context": "auto", "mode": "standard"}},
        {"top_logprobs": 0},
        {"tool_choice": "auto", "parallel_tool_calls": True},
        {"tool_choice": "none", "tools": []},
        {"smallfirst": {"threshold": 0.7}},
        dict.fromkeys(
            name for name in ResponsesRequest.model_fields if name not in {"model", "input", "stream", "temperature"}
        ),
    ],
)
def test_what_changes_nothing_is_accepted(fields: dict) -> None:
    assert {name: value for name, value in sent(**fields).items() if value not in (None, False)} == sent()


def test_a_stream_may_be_asked_for_without_padding() -> None:
    assert "stream_options" not in sent(stream=True, stream_options={"include_obfuscation": False})


NOT_SERVED: list[tuple[dict[str, Any], str]] = [
    ({"access_programs": {"cyber": "standard"}}, "access_programs"),
    ({"background": True}, "background"),
    ({"background_options": {}}, "background_options"),
    ({"context_management": [{"type": "compaction"}]}, "context_management"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"image": {"context_compression": "auto"}}, "image"),
    ({"max_tool_calls": 3}, "max_tool_calls"),
    ({"moderation": {"model": "m"}}, "moderation"),
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"truncation": "auto"}, "truncation"),
    ({"messages": [{"role": "user", "content": "x"}]}, "messages"),
    ({"max_tokens": 3}, "max_tokens"),
    ({"max_completion_tokens": 3}, "max_completion_tokens"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"verbosity": "low"}, "verbosity"),
    ({"reasoning_effort": "low"}, "reasoning_effort"),
    ({"logprobs": True}, "logprobs"),
    ({"functions": []}, "functions"),
    ({"function_call": "auto"}, "function_call"),
    ({"n": 2}, "n"),
    ({"modalities": ["audio"]}, "modalities"),
    ({"audio": {"voice": "v"}}, "audio"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"return_token_ids": True}, "return_token_ids"),
    ({"include": ["file_search_call.results"]}, "include"),
    ({"include": "all"}, "include"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"include": ["message.output_text.logprobs"], "top_logprobs": 21}, "top_logprobs"),
    ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
    ({"reasoning": {"generate_summary": "concise"}}, "reasoning.generate_summary"),
    ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
    ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
    ({"reasoning": {"depth": 3}}, "reasoning.depth"),
    ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ({"stream": True, "stream_options": {"include_usage": True}}, "stream_options.include_usage"),
    ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
    ({"prompt_cache_options": {"prewarm": True}}, "prompt_cache_options.prewarm"),
    ({"prompt_cache_options": {"comparison_response_id": "r"}}, "prompt_cache_options.comparison_response_id"),
    ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format"),
    ({"text": {"format": {"type": "json_object", "schema_": {}}}}, "text.format.schema_"),
    ({"text": {"stop": "x"}}, "text.stop"),
    ({"model": ""}, "model"),
    ({"input": None}, "input"),
    ({"input": 7}, "input"),
    ({"input": []}, "input"),
    ({"input": [7]}, "input.0"),
    ({"instructions": 7}, "instructions"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"temperature": 3}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"metadata": {"a": 7}}, "metadata.a"),
    ({"metadata": {str(place): "" for place in range(17)}}, "metadata"),
    ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
    ({"stream": "yes"}, "stream"),
    ({"store": "yes"}, "store"),
    ({"logit_bias": {"5": "x"}}, "logit_bias"),
    ({"prediction": "guess"}, "prediction"),
    ({"smallfirst": {"threshold": 2}}, "smallfirst.threshold"),
    ({"tools": {}}, "tools"),
    ({"tools": [7]}, "tools.0"),
    ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    ({"tools": [{"type": "custom", "name": "x"}]}, "tools.0.type"),
    ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools.0.name"),
    ({"tools": [{**SEARCH, "cache": True}]}, "tools.0.cache"),
    ({"tools": [{**SEARCH, "strict": "yes"}]}, "tools.0.strict"),
    ({"tools": [{**SEARCH, "defer_loading": True}]}, "tools.0.defer_loading"),
    ({"tools": [{**SEARCH, "async": True}]}, "tools.0.async"),
    ({"tools": [{**SEARCH, "allowed_callers": ["programmatic"]}]}, "tools.0.allowed_callers"),
    ({"tools": [{**SEARCH, "output_schema": {}}]}, "tools.0.output_schema"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [SEARCH], "tool_choice": "any"}, "tool_choice"),
    ({"tools": [SEARCH], "tool_choice": {"type": "web_search"}}, "tool_choice"),
    ({"tools": [SEARCH], "tool_choice": {"type": "custom", "name": "x"}}, "tool_choice"),
    ({"tools": [SEARCH], "tool_choice": {"type": "function"}}, "tool_choice.name"),
    ({"tools": [SEARCH], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice.name"),
    (
        {"tools": [SEARCH], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
        "tool_choice.tools",
    ),
    (
        {"tools": [SEARCH], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]}},
        "tool_choice.tools.0.type",
    ),
    (
        {"tools": [SEARCH], "tool_choice": {"type": "allowed_tools", "mode": "any", "tools": [SEARCH]}},
        "tool_choice.mode",
    ),
    (
        {"tools": [SEARCH], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [OTHER]}},
        "tool_choice.tools.0.name",
    ),
]


@pytest.mark.parametrize(("fields", "param"), NOT_SERVED)
def test_what_is_not_served_is_refused_by_its_name(fields: dict, param: str) -> None:
    blamed, message = refused(**fields)

    assert blamed == param
    assert message.startswith(f"{param}: ")


def test_a_type_that_is_not_served_is_named() -> None:
    assert (
        refused(tools=[{"type": "web_search"}])[1] == "tools.0.type: 'web_search' is not served (there are: function)"
    )
    assert "'item_reference' is not served" in refused(input=[{"type": "item_reference", "id": "msg_1"}])[1]
    assert "is missing" in refused(input=[{"id": "msg_1"}])[1]


def test_every_unserved_field_is_among_those_refused() -> None:
    unserved = {name for name, field in ResponsesRequest.model_fields.items() if field.annotation is object}

    assert unserved <= {param for _, param in NOT_SERVED}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"role": "user", "content": "x"}, {"role": "user", "content": "x"}),
        ({"type": "message", "role": "developer", "content": "x"}, {"role": "developer", "content": "x"}),
        ({"type": None, "role": "system", "content": "x"}, {"role": "system", "content": "x"}),
        (
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": IMAGE, "detail": "low"}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}}]},
        ),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]},
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]},
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_data": "AA", "filename": "a.pdf"}]},
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "AA", "filename": "a.pdf"}}]},
        ),
        (
            {"role": "user", "content": [
                {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
            {"role": "user", "content": [
                {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
        ),
        (
            {"role": "assistant", "id": "msg_1", "status": "completed", "content": [
                {"type": "output_text", "text": "a", "annotations": [], "logprobs": []},
                {"type": "output_text", "text": "b"}]},
            {"role": "assistant", "content": "ab"},
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        ),
        (
            {"type": "function_call", "call_id": "1", "name": "search", "arguments": "{}", "id": "fc_1"},
            {"role": "assistant", "content": None, "tool_calls": [call("1", "search", "{}")]},
        ),
        (
            {"type": "function_call_output", "call_id": "1", "output": "found"},
            {"role": "tool", "tool_call_id": "1", "content": "found"},
        ),
        (
            {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "found"}]},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "found"}]},
        ),
        (
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
            {"role": "assistant", "content": None, "reasoning": "hm"},
        ),
        (
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": None},
            {"role": "assistant", "content": None, "reasoning": "hm"},
        ),
    ],
)  # fmt: skip
def test_an_item_is_a_message(item: dict, message: dict) -> None:
    assert messages_of([item], None) == [message]


def test_an_assistants_turn_is_one_message() -> None:
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
    said = {"role": "assistant", "content": "let me see"}
    calls = [{"type": "function_call", "call_id": name, "name": "search", "arguments": "{}"} for name in "12"]
    found = [{"type": "function_call_output", "call_id": name, "output": "found"} for name in "12"]

    messages = messages_of([thought, said, *calls, *found, thought, {"role": "assistant", "content": "so"}], None)

    assert messages == [
        {"role": "assistant", "content": "let me see", "reasoning": "hm",
         "tool_calls": [call("1", "search", "{}"), call("2", "search", "{}")]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
        {"role": "tool", "tool_call_id": "2", "content": "found"},
        {"role": "assistant", "content": "so", "reasoning": "hm"},
    ]  # fmt: skip


def test_calls_stay_next_to_their_outputs() -> None:
    calls = [{"type": "function_call", "call_id": name, "name": "search", "arguments": "{}"} for name in "12"]
    thoughts = [{"type": "reasoning", "content": [{"text": text}]} for text in ("so", "or")]
    said = {"role": "assistant", "content": "wait"}

    messages = messages_of([thoughts[0], calls[0], thoughts[1], calls[1], said], None)

    assert [(message["reasoning"], message["content"], len(message["tool_calls"])) for message in messages] == [
        ("so\nor", "wait", 2)
    ]


def test_two_answers_in_a_row_stay_two() -> None:
    thought = {"type": "reasoning", "content": [{"text": "hm"}]}
    said = {"role": "assistant", "content": "so"}

    assert messages_of([said, said, thought, said], None) == [said, said, {**said, "reasoning": "hm"}]


@pytest.mark.parametrize(
    ("item", "place"),
    [
        ({"type": "item_reference", "id": "msg_1"}, "type"),
        ({"id": "msg_1"}, "type"),
        ({"type": "computer_call", "id": "1"}, "type"),
        ({"type": "custom_tool_call", "call_id": "1", "name": "x", "input": ""}, "type"),
        ({"type": 7}, "type"),
        ({"role": "tool", "content": "x"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": 7}, "content"),
        ({"role": "assistant", "content": "x", "phase": "commentary"}, "phase"),
        ({"role": "user", "content": [7]}, "content.0"),
        ({"role": "user", "content": [{"text": "x"}]}, "content.0.type"),
        ({"role": "user", "content": [{"type": "text", "text": "x"}]}, "content.0.type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "content.0.text"),
        ({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}, "content.0.file_id"),
        ({"role": "user", "content": [{"type": "input_image"}]}, "content.0.image_url"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": "AA"}]}, "content.0.input_audio"),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}, "content.0.file_id"),
        ({"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]}, "content.0.file_url"),
        (
            {"role": "user", "content": [{"type": "input_file", "file_data": "AA", "detail": "high"}]},
            "content.0.detail",
        ),
        ({"type": "function_call", "call_id": "1", "name": "x"}, "arguments"),
        ({"type": "function_call", "call_id": "1", "name": "x", "arguments": "", "namespace": "n"}, "namespace"),
        ({"type": "function_call", "call_id": "1", "name": "x", "arguments": "", "async": True}, "async"),
        (
            {"type": "function_call", "call_id": "1", "name": "x", "arguments": "", "caller": {"type": "program"}},
            "caller",
        ),
        ({"type": "function_call_output", "output": "x"}, "call_id"),
        ({"type": "function_call_output", "call_id": "1", "output": [{"type": "x"}]}, "output.0.type"),
        ({"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}, "encrypted_content"),
        ({"type": "reasoning", "content": "hm"}, "content"),
    ],
)
def test_an_item_without_an_equivalent_is_refused_by_its_place(item: dict, place: str) -> None:
    param, message = refused(input=[{"role": "user", "content": "x"}, item])

    assert param == f"input.1.{place}"
    assert message.startswith(f"{param}: ")


def test_an_input_that_says_nothing_is_refused() -> None:
    assert refused(input=[{"type": "reasoning", "summary": []}])[0] == "input"


def test_a_function_is_nested_for_chat() -> None:
    chat = sent(tools=[SEARCH], tool_choice={"type": "function", "name": "search"}, parallel_tool_calls=False)

    function = {name: value for name, value in SEARCH.items() if name != "type"}
    assert chat["tools"] == [{"type": "function", "function": function}]
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "search"}}
    assert chat["parallel_tool_calls"] is False


def test_allowed_tools_are_all_that_the_model_hears_of() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "other"}]}

    chat = sent(tools=[SEARCH, OTHER], tool_choice=choice)

    assert [tool["function"]["name"] for tool in chat["tools"]] == ["other"]
    assert chat["tool_choice"] == "required"


async def test_a_refusal_is_an_error_in_openais_shape_and_asks_nobody(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())

    with pytest.raises(openai.BadRequestError) as wrong:
        await cascade.client.responses.create(model="auto", input="is it?", previous_response_id="resp_1")

    assert wrong.value.body == {
        "message": "previous_response_id: is not served: nothing is stored here, send the items in input",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": None,
    }
    assert cascade.small.seen == []


async def test_a_request_may_bring_its_own_threshold(gateway) -> None:
    cascade = await gateway(small=Script("maybe", p=0.6), large=Script("no"))

    response = await cascade.client.responses.create(
        model="auto", input="is it?", extra_body={"smallfirst": {"threshold": 0.7}, "min_tokens": 3}
    )

    assert response.output_text == "no"
    assert cascade.small.seen[0]["min_tokens"] == 3
    assert "smallfirst" not in cascade.small.seen[0]


keys = st.sampled_from(["type", "role", "content", "text", "name", "tools", "format", "call_id", "output", "summary"])
words = st.sampled_from(["message", "function", "reasoning", "user", "assistant", "input_text", "auto", "json_schema"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(ResponsesRequest.model_fields)), json_values))
def test_whatever_is_sent_is_read_or_refused(fields: dict[str, Any]) -> None:
    with contextlib.suppress(RequestError):
        assert sent(**fields)["messages"]


@given(json_values)
def test_whatever_is_input_is_read_or_refused(value: Any) -> None:
    with contextlib.suppress(RequestError):
        assert messages_of([{"role": "user", "content": "x"}, value], None)


def test_every_field_of_a_request_is_documented() -> None:
    documented = documented_in("Of the request", "Field")

    assert {name for name in documented if "." not in name} == set(ResponsesRequest.model_fields)
    assert {name for name in documented if "." in name} == set(inner_fields())
    assert set(typing.get_type_hints(ResponseCreateParamsStreaming)) <= documented


def test_every_item_and_content_is_documented() -> None:
    assert documented_in("Items", "Item") == set(ITEMS)
    assert documented_in("Items", "Content") == set(PARTS)


def test_every_field_of_a_reply_is_documented() -> None:
    writer = read_responses(json.dumps(GOOD).encode(), Arrival("r1", 1, {})).writer
    first = json.loads(writer.broken(DEADLINE).split(b"\n")[1].removeprefix(b"data: "))

    documented = documented_in("Of the reply", "Field")

    assert documented == set(first["response"]) | set(Response.model_fields)


def inner_fields() -> Iterator[str]:
    """The dotted names of the keys of those objects whose keys are all known."""
    for name, field in ResponsesRequest.model_fields.items():
        for kind in typing.get_args(field.annotation):
            if inspect.isclass(kind) and issubclass(kind, Part):
                yield from (f"{name}.{inner}" for inner in kind.model_fields)


def documented_in(heading: str, column: str) -> set[str]:
    """The names in the tables of a section of the page whose first column has this title."""
    section = re.split(r"^#+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(f"{heading}\n")]
    tables = re.findall(rf"^\| {column} \|.*\n(?:\|.*\n)+", text, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()[2:]]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
