"""The input of a response as chat messages.

An assistant's turn is several items here (its reasoning, its words, its calls), and one message there.
"""

from typing import Annotated, Literal

from pydantic import Field

from models.wire import Json, JsonObject
from server.doors.reading import Wire, checked_at
from server.doors.responses_checks import nothing_but, objects_in, refusal, unserved
from server.doors.responses_parts import chat_parts

ITEMS = ("message", "function_call", "function_call_output", "reasoning")

Direct = nothing_but({"type": "direct"}, because="only the model itself calls functions here")
NoNamespace = nothing_but(because="functions have no namespaces here")


class MessageItem(Wire):
    """A message, with or without its type."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[object]
    phase: Annotated[object, nothing_but(because="a chat message has no phase")] = None


class CallItem(Wire):
    """A function call that the model made."""

    call_id: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    arguments: str
    namespace: Annotated[object, NoNamespace] = None
    caller: Annotated[object, Direct] = None
    is_async: Annotated[object, nothing_but(False, because="calls are answered in turn"), Field(alias="async")] = None


class CallOutputItem(Wire):
    """What a function returned."""

    call_id: Annotated[str, Field(min_length=1)]
    output: str | list[object]
    namespace: Annotated[object, NoNamespace] = None
    caller: Annotated[object, Direct] = None


class Thought(Wire):
    """A piece of reasoning, or of its summary."""

    text: str


class ReasoningItem(Wire):
    """What the model thought; only in the clear."""

    encrypted_content: Annotated[
        object, nothing_but("", because="it was not written here and cannot be read, leave the item out")
    ] = None
    content: Annotated[list[Thought], Field(fail_fast=True)] | None = None
    summary: Annotated[list[Thought], Field(fail_fast=True)] | None = None


class Messages:
    """The chat messages of an input, item by item."""

    def __init__(self, instructions: str | None) -> None:
        self._done: list[JsonObject] = [] if instructions is None else [{"role": "system", "content": instructions}]
        self._turn: JsonObject = {}
        self._calls: list[Json] = []

    def add(self, item: JsonObject, place: str) -> None:
        """Take an item. Raises RequestError."""
        match item.get("type") or ("message" if "role" in item else None):
            case "message":
                self._add_message(item, place)
            case "function_call":
                self._add_call(item, place)
            case "function_call_output":
                self._add_output(item, place)
            case "reasoning":
                self._add_reasoning(item, place)
            case _:
                raise unserved(place, item.get("type"), ITEMS)

    def all(self) -> list[Json]:
        """All of them."""
        self._end_turn()
        return [*self._done]

    def _add_message(self, item: JsonObject, place: str) -> None:
        message = checked_at(MessageItem, item, place)
        content = content_of(item["content"], f"{place}.content", joined=message.role == "assistant")
        if message.role != "assistant":
            self._end_turn()
            self._done.append({"role": message.role, "content": content})
            return
        if "content" in self._turn:
            self._end_turn()
        self._turn["content"] = content

    def _add_call(self, item: JsonObject, place: str) -> None:
        call = checked_at(CallItem, item, place)
        function: JsonObject = {"name": call.name, "arguments": call.arguments}
        self._calls.append({"id": call.call_id, "type": "function", "function": function})

    def _add_output(self, item: JsonObject, place: str) -> None:
        output = checked_at(CallOutputItem, item, place)
        content = content_of(item["output"], f"{place}.output", joined=False)
        self._end_turn()
        self._done.append({"role": "tool", "tool_call_id": output.call_id, "content": content})

    def _add_reasoning(self, item: JsonObject, place: str) -> None:
        reasoning = checked_at(ReasoningItem, item, place)
        text = "\n".join(thought.text for thought in reasoning.content or reasoning.summary or ())
        if not text:
            return
        if "content" in self._turn and not self._calls:
            self._end_turn()
        before = self._turn.get("reasoning")
        self._turn["reasoning"] = f"{before}\n{text}" if before else text

    def _end_turn(self) -> None:
        turn, calls = self._turn, self._calls
        if not turn and not calls:
            return
        message: JsonObject = {"role": "assistant", "content": None, **turn}
        self._done.append({**message, "tool_calls": calls} if calls else message)
        self._turn, self._calls = {}, []


def messages_of(given: Json, instructions: str | None) -> list[Json]:
    """The chat messages of `input` and `instructions`. Raises RequestError."""
    messages = Messages(instructions)
    items: list[JsonObject] = (
        [{"role": "user", "content": given}] if isinstance(given, str) else objects_in(given, "input")
    )
    for index, item in enumerate(items):
        messages.add(item, f"input.{index}")
    said = messages.all()
    if not said:
        raise refusal("input", "says nothing")
    return said


def content_of(content: Json, place: str, *, joined: bool) -> Json:
    """A message's content; texts alone can be `joined`, as those of one answer belong together."""
    if isinstance(content, str):
        return content
    parts = chat_parts(content, place)
    texts = [part.get("text") for part in parts]
    if joined and all(isinstance(text, str) for text in texts):
        return "".join(text for text in texts if isinstance(text, str))
    return [*parts]
