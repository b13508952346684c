"""The fields of a Messages request, and what each is in a chat completion request."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from models.wire import JsonObject
from server.doors.controls import OURS, Controls
from server.doors.messages_fields import Blocks, NotServed, called, nothing_but
from server.doors.messages_tools import Tool, ToolChoice, chat_tool_fields
from server.doors.messages_turns import Turn, chat_messages, prefilled
from server.doors.reading import Object, Part, Wire
from server.errors import RequestError


class Metadata(Part):
    """Who the request is for."""

    user_id: str | None = None


class Thinking(Part):
    """Whether the model thinks before it answers, and for how long at most."""

    type: Literal["disabled", "enabled", "adaptive"]
    budget_tokens: Annotated[int, Field(ge=1)] | None = None
    display: Annotated[str | None, nothing_but("summarized")] = None


class Format(Part):
    """The schema of an answer in JSON."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, JsonValue], Field(alias="schema")]


class OutputConfig(Part):
    """How much effort the answer is worth, and its format."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Format | None = None
    task_budget: NotServed = None


def told_apart(thinking: Thinking) -> Thinking:
    """Raises ValueError where the budget and the kind do not go together."""
    if (thinking.type == "enabled") != (thinking.budget_tokens is not None):
        raise ValueError("budget_tokens goes with type 'enabled', and only with it")
    return thinking


class CountRequest(Wire):
    """The fields that say what the model reads."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[Turn], Field(min_length=1, fail_fast=True)]
    system: Blocks | None = None
    tools: Annotated[list[Tool], Field(fail_fast=True)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Annotated[Thinking, AfterValidator(told_apart)] | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    cache_control: Object | None = None
    smallfirst: Controls | None = None
    speed: Annotated[str | None, nothing_but("standard")] = None
    betas: Annotated[list[str], Field(fail_fast=True)] | None = None
    billing_policy: NotServed = None
    compaction: NotServed = None
    context_management: NotServed = None
    mcp_servers: NotServed = None
    user_profile_id: NotServed = None
    workspace_id: NotServed = None


class MessagesRequest(CountRequest):
    """And those that say how it answers."""

    max_tokens: Annotated[int, Field(ge=1)]
    stop_sequences: Annotated[list[str], Field(fail_fast=True)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    stream: bool | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    container: NotServed = None
    diagnostics: NotServed = None
    fallback_credit_token: NotServed = None
    fallbacks: NotServed = None
    inference_geo: NotServed = None
    thread: NotServed = None
    # What chat completions name otherwise, or what an answer in this API has no place for.
    stop: Annotated[None, called("stop_sequences")] = None
    max_completion_tokens: Annotated[None, called("max_tokens")] = None
    response_format: Annotated[None, called("output_config.format")] = None
    user: Annotated[None, called("metadata.user_id")] = None
    parallel_tool_calls: Annotated[None, called("tool_choice.disable_parallel_tool_use")] = None
    reasoning_effort: Annotated[None, called("output_config.effort")] = None
    stream_options: NotServed = None
    n: Annotated[int | None, nothing_but(1)] = None
    logprobs: NotServed = None
    top_logprobs: NotServed = None
    return_token_ids: NotServed = None
    audio: NotServed = None
    modalities: NotServed = None
    web_search_options: NotServed = None
    functions: Annotated[object, called("tools")] = None
    function_call: Annotated[object, called("tool_choice")] = None
    max_output_tokens: Annotated[object, called("max_tokens")] = None


def asked_fields(request: CountRequest, fields: JsonObject) -> JsonObject:
    """The chat completion request that asks for the same; fields that are not of this API stay as they came.
    Raises RequestError."""
    known = {*type(request).model_fields, OURS}
    messages = chat_messages(request.system, request.messages)
    if not messages:
        raise RequestError("messages: they say nothing", param="messages")
    return {
        **{name: value for name, value in fields.items() if name not in known},
        "model": request.model,
        "messages": [*messages],
        **prefilled(messages),
        **chat_tool_fields(request.tools, request.tool_choice),
        **thinking_fields(request),
        **format_fields(request),
    }


def chat_fields(request: MessagesRequest, fields: JsonObject) -> JsonObject:
    """As `asked_fields`, with what says how the model answers."""
    kept = {name: fields[name] for name in ("temperature", "top_p", "top_k", "stream") if fields.get(name) is not None}
    chat: JsonObject = {**asked_fields(request, fields), "max_completion_tokens": request.max_tokens, **kept}
    if request.stop_sequences:
        chat["stop"] = [*request.stop_sequences]
    if request.metadata is not None and request.metadata.user_id is not None:
        chat["user"] = request.metadata.user_id
    return chat


def thinking_fields(request: CountRequest) -> JsonObject:
    """As vLLM reads them in its own Messages API: no thinking is an effort of none, and a budget is one there too."""
    effort = request.output_config.effort if request.output_config else None
    chosen: JsonObject = {} if effort is None else {"reasoning_effort": effort}
    match request.thinking:
        case Thinking(type="disabled"):
            return {"reasoning_effort": "none"}
        case Thinking(type="enabled", budget_tokens=budget):
            return {**chosen, "thinking_token_budget": budget}
        case _:
            return chosen


def format_fields(request: CountRequest) -> JsonObject:
    """The answer's schema."""
    wanted = (request.output_config.format if request.output_config else None) or request.output_format
    if wanted is None:
        return {}
    schema: JsonObject = {"name": "answer", "schema": {**wanted.schema_}, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
