"""The functions that a model may call, and which of them it must: the flat form here, the nested one of chat."""

from collections.abc import Set as AbstractSet
from typing import Annotated, Literal

from pydantic import Field

from models.wire import Json, JsonObject
from server.doors.reading import Object, Part, Wire, checked_at
from server.doors.responses_checks import nothing_but, objects_in, refusal, unserved

PASSED_ON = ("name", "description", "parameters", "strict")
SERVED = ("function",)
CHOICES = ("auto", "none", "required")
NO_EQUIVALENT = "chat's functions have no such thing"


class FunctionTool(Part):
    """A function that the client can run."""

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None
    defer_loading: Annotated[object, nothing_but(False, because=NO_EQUIVALENT)] = None
    allowed_callers: Annotated[object, nothing_but(["direct"], because=NO_EQUIVALENT)] = None
    output_schema: Annotated[object, nothing_but(because=NO_EQUIVALENT)] = None
    is_async: Annotated[object, nothing_but(False, because=NO_EQUIVALENT), Field(alias="async")] = None


class NamedChoice(Wire):
    """The one function that must be called."""

    name: str


class AllowedChoice(Wire):
    """The functions that may be called, or of which one must be."""

    mode: Literal["auto", "required"]
    tools: list[object]


def tools_of(fields: JsonObject) -> JsonObject:
    """The fields of chat that say which tools there are and how they are used. Raises RequestError."""
    tools = [
        chat_tool(tool, f"tools.{index}") for index, tool in enumerate(objects_in(fields.get("tools") or [], "tools"))
    ]
    choice, allowed = chosen(fields.get("tool_choice"), {str(tool["name"]) for tool in tools})
    if not tools:
        if choice not in (None, "auto", "none"):
            raise refusal("tool_choice", "needs tools")
        return {}
    translated: JsonObject = {
        "tools": [
            {"type": "function", "function": tool} for tool in tools if allowed is None or tool["name"] in allowed
        ]
    }
    if choice is not None:
        translated["tool_choice"] = choice
    if fields.get("parallel_tool_calls") is not None:
        translated["parallel_tool_calls"] = fields["parallel_tool_calls"]
    return translated


def chat_tool(tool: JsonObject, place: str) -> JsonObject:
    """A function as chat has it. Raises RequestError."""
    if tool.get("type") != "function":
        raise unserved(place, tool.get("type"), SERVED)
    checked_at(FunctionTool, tool, place)
    return {name: tool[name] for name in PASSED_ON if tool.get(name) is not None}


def chosen(choice: Json, names: AbstractSet[str]) -> tuple[Json, AbstractSet[str] | None]:
    """Chat's `tool_choice`, and the names of the functions that remain, None for all. Raises RequestError."""
    if choice is None or choice in CHOICES:
        return choice, None
    kind = choice.get("type") if isinstance(choice, dict) else None
    if isinstance(choice, dict) and kind == "function":
        name = checked_at(NamedChoice, choice, "tool_choice").name
        return {"type": "function", "function": {"name": known(name, names, "tool_choice.name")}}, None
    if isinstance(choice, dict) and kind == "allowed_tools":
        return allowed_of(choice, names)
    raise refusal("tool_choice", f"should be {', '.join(CHOICES)}, or an object of type function or allowed_tools")


def allowed_of(choice: JsonObject, names: AbstractSet[str]) -> tuple[Json, AbstractSet[str]]:
    """Chat as vLLM speaks it cannot forbid a tool that it is told of, so it is told of the allowed ones alone."""
    mode = checked_at(AllowedChoice, choice, "tool_choice").mode
    place = "tool_choice.tools"
    allowed: set[str] = set()
    for index, tool in enumerate(objects_in(choice["tools"], place)):
        if tool.get("type") != "function":
            raise unserved(f"{place}.{index}", tool.get("type"), SERVED)
        name = checked_at(NamedChoice, tool, f"{place}.{index}").name
        allowed.add(known(name, names, f"{place}.{index}.name"))
    if not allowed:
        raise refusal(place, "needs at least 1")
    return mode, allowed


def known(name: str, names: AbstractSet[str], place: str) -> str:
    """The name of a function that is among the tools. Raises RequestError."""
    if name not in names:
        raise refusal(place, "names no function among tools")
    return name
