"""Server-sent events as they stand in a body, and the answers that a chat stream's chunks add up to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from server.conformance.json_values import Json, JsonObject, at, objects
from server.conformance.wrong import Wrong

DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, if it has one, and its data."""

    name: str
    data: str

    @property
    def json(self) -> Json:
        """The data. Raises Wrong where it is no JSON."""
        try:
            value: Json = json.loads(self.data)
        except ValueError as broken:
            raise Wrong(f"an event is no JSON: {self.data[:60]!r}") from broken
        return value


@dataclass(slots=True)
class Folded:
    """What the chunks of one choice add up to."""

    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: dict[int, JsonObject] = field(default_factory=dict)
    roles: list[Json] = field(default_factory=list)
    finish_reasons: list[Json] = field(default_factory=list)
    tokens: list[Json] = field(default_factory=list)
    after_finish: bool = False


def events_of(body: bytes) -> list[Event]:
    """The events of a whole stream. Raises Wrong where a line is none of the format, or the last event has no end."""
    text = body.decode(errors="strict") if is_utf8(body) else bad_utf8()
    events: list[Event] = []
    name, data = "", list[str]()
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line:
            if data:
                events.append(Event(name, "\n".join(data)))
            name, data = "", []
            continue
        before, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if before == "data":
            data.append(value)
        elif before == "event":
            name = value
        elif before not in ("", "id", "retry"):
            raise Wrong(f"a line of the stream is of no event: {line[:60]!r}")
    if data:
        raise Wrong("the last event has no end")
    return events


def is_utf8(body: bytes) -> bool:
    """Whether the bytes are whole characters."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def bad_utf8() -> str:
    """Raises Wrong."""
    raise Wrong("the stream is not UTF-8")


def chunks_of(events: Sequence[Event]) -> list[JsonObject]:
    """The chunks before the end. Raises Wrong for what is no JSON object."""
    chunks: list[JsonObject] = []
    for event in events:
        if event.data != DONE:
            chunk = event.json
            if not isinstance(chunk, dict):
                raise Wrong(f"an event is no JSON object: {event.data[:60]!r}")
            chunks.append(chunk)
    return chunks


def folded(chunks: Sequence[JsonObject]) -> dict[int, Folded]:
    """Each choice by its index."""
    choices: dict[int, Folded] = {}
    for chunk in chunks:
        for choice in objects(chunk.get("choices")):
            index = choice.get("index")
            fold(choices.setdefault(index if isinstance(index, int) else 0, Folded()), choice)
    return choices


def fold(into: Folded, choice: JsonObject) -> None:
    """Add a chunk's choice."""
    delta = choice.get("delta")
    content = text_at(delta, "content")
    into.after_finish = into.after_finish or bool(into.finish_reasons and (content or at(delta, "tool_calls")))
    into.content += content
    into.reasoning += text_at(delta, "reasoning") or text_at(delta, "reasoning_content")
    into.refusal += text_at(delta, "refusal")
    into.tokens += objects(at(choice, "logprobs", "content"))
    role, finish_reason = at(delta, "role"), choice.get("finish_reason")
    if role is not None:
        into.roles.append(role)
    if finish_reason is not None:
        into.finish_reasons.append(finish_reason)
    for call in objects(at(delta, "tool_calls")):
        fold_call(into.calls, call)


def fold_call(calls: dict[int, JsonObject], piece: JsonObject) -> None:
    """Add a piece of a tool call, as OpenAI's own clients do: the type may come again, ids and names add up. Raises
    Wrong where it does not say to which call it belongs."""
    index = piece.get("index")
    if not isinstance(index, int):
        raise Wrong("a piece of a tool call has no index")
    call = calls.setdefault(index, {"id": "", "type": "", "function": {"name": "", "arguments": ""}})
    call["id"] = text_at(call, "id") + text_at(piece, "id")
    call["type"] = text_at(piece, "type") or call["type"]
    call["function"] = {
        name: text_at(call["function"], name) + text_at(piece.get("function"), name) for name in ("name", "arguments")
    }


def text_at(value: Json, name: str) -> str:
    """The text under a name, or none."""
    text = at(value, name)
    return text if isinstance(text, str) else ""
