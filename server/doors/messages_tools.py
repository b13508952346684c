"""The tools that a model may call, and whether it must, to the chat form."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from models.wire import Json, JsonObject
from server.doors.messages_fields import NotServed, nothing_but
from server.doors.reading import Object, Part


def custom(kind: object) -> object:
    """The kind of a tool that the client itself runs. Raises ValueError."""
    if kind is not None and kind != "custom":
        raise ValueError(f"tools of type {kind!r} are not served here: only custom ones, which the client runs itself")
    return kind


class Tool(Part):
    """A tool that the client runs. Its input is always streamed as the model writes it."""

    type: Annotated[str | None, BeforeValidator(custom)] = None
    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    input_schema: dict[str, JsonValue]
    strict: bool | None = None
    cache_control: Object | None = None
    eager_input_streaming: bool | None = None
    allowed_callers: Annotated[list[str] | None, nothing_but([], ["direct"])] = None
    defer_loading: NotServed = None
    input_examples: NotServed = None


class ToolChoice(Part):
    """Whether the model may, must or must not call a tool, and which."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None

    @model_validator(mode="after")
    def _names_its_tool(self) -> "ToolChoice":
        if (self.type == "tool") != (self.name is not None):
            raise ValueError("name: goes with type 'tool', and only with it")
        return self


CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_tool(tool: Tool) -> JsonObject:
    """The tool as chat completions have it."""
    function: JsonObject = {"name": tool.name, "parameters": {**tool.input_schema}}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def chat_tool_fields(tools: list[Tool] | None, choice: ToolChoice | None) -> JsonObject:
    """The fields of a chat completion request that say which tools there are, and what to do with them."""
    fields: JsonObject = {}
    if tools:
        fields["tools"] = [chat_tool(tool) for tool in tools]
    if choice is None:
        return fields
    named: Json = {"type": "function", "function": {"name": choice.name}}
    fields["tool_choice"] = CHOICES.get(choice.type, named)
    if choice.disable_parallel_tool_use:
        fields["parallel_tool_calls"] = False
    return fields
