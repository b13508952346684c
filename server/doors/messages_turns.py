"""A conversation in Anthropic's form to one in OpenAI's chat form."""

from collections.abc import Sequence
from typing import Literal

import orjson

from models.wire import Json, JsonObject
from server.doors.messages_blocks import (
    OF_ASSISTANT,
    OF_RESULT,
    OF_SYSTEM,
    OF_USER,
    Image,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    image_part,
    read_blocks,
)
from server.doors.messages_fields import Blocks
from server.doors.reading import Object, Part
from server.errors import RequestError

FAILED = "Error: "  # chat messages have no sign for a tool that failed: the model reads it in the text


class Turn(Part):
    """One turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: Blocks


def chat_messages(system: list[Object] | None, turns: Sequence[Turn]) -> list[JsonObject]:
    """The messages of a chat completion request. Raises RequestError."""
    messages = [] if system is None else system_messages(system, "system")
    for place, turn in enumerate(turns):
        at = f"messages.{place}.content"
        match turn.role:
            case "system":
                messages += system_messages(turn.content, at)
            case "user":
                messages += user_messages(turn.content, at)
            case "assistant":
                messages.append(assistant_message(turn.content, at))
    return messages


def system_messages(blocks: list[Object], at: str) -> list[JsonObject]:
    """The operator's words: a message, or none where there are none."""
    content = content_of([part_of(block, at) for block in read_blocks(blocks, OF_SYSTEM, at)])
    return [{"role": "system", "content": content}] if content else []


def user_messages(blocks: list[Object], at: str) -> list[JsonObject]:
    """What came of each tool in a message of its own, then what the user says. Chat messages of tools hold text
    alone: their pictures go with the user's words."""
    results: list[JsonObject] = []
    pictures: list[JsonObject] = []
    said: list[JsonObject] = []
    for place, block in enumerate(read_blocks(blocks, OF_USER, at)):
        if isinstance(block, ToolResult):
            message, shown = result_message(block, f"{at}.{place}.content")
            results.append(message)
            pictures += shown
        else:
            said.append(part_of(block, f"{at}.{place}"))
    parts = pictures + said
    spoken: list[JsonObject] = [{"role": "user", "content": content_of(parts)}] if parts or not results else []
    return results + spoken


def result_message(result: ToolResult, at: str) -> tuple[JsonObject, list[JsonObject]]:
    """The message of a tool, and the pictures that it showed."""
    blocks = read_blocks(result.content, OF_RESULT, at)
    text = "\n".join(block.text for block in blocks if isinstance(block, Text))
    pictures = [image_part(block, f"{at}.{place}") for place, block in enumerate(blocks) if isinstance(block, Image)]
    told = FAILED + text if result.is_error else text
    return {"role": "tool", "tool_call_id": result.tool_use_id, "content": told}, pictures


def assistant_message(blocks: list[Object], at: str) -> JsonObject:
    """What the model said, thought and called. What only Anthropic can read is left out."""
    read = read_blocks(blocks, OF_ASSISTANT, at)
    content = content_of([part_of(block, at) for block in read if isinstance(block, Text)])
    thoughts = "".join(block.thinking for block in read if isinstance(block, Thinking))
    calls: list[Json] = [call_of(block) for block in read if isinstance(block, ToolUse)]
    message: JsonObject = {"role": "assistant", "content": (content or None) if calls else content}
    if thoughts:
        message["reasoning"] = thoughts
    if calls:
        message["tool_calls"] = calls
    return message


def call_of(use: ToolUse) -> JsonObject:
    """A call as chat messages have it."""
    arguments = orjson.dumps(use.input).decode()
    return {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": arguments}}


def part_of(block: Part, at: str) -> JsonObject:
    """A text or a picture as a part of a chat message. Raises RequestError."""
    match block:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Image():
            return image_part(block, at)
        case _:
            raise RequestError(f"{at}: is not served here", param=at)


def content_of(parts: Sequence[JsonObject]) -> Json:
    """A message's content: one text alone is a string, which every chat template takes."""
    if not parts:
        return ""
    text = parts[0].get("text")
    return text if len(parts) == 1 and isinstance(text, str) else list(parts)


def prefilled(messages: Sequence[JsonObject]) -> JsonObject:
    """The fields that make vLLM go on with a last message of the assistant's. Raises RequestError where it cannot."""
    last = messages[-1]
    if last["role"] != "assistant":
        return {}
    if "tool_calls" in last:
        raise RequestError("messages: the last one calls tools: their results are missing", param="messages")
    return {"continue_final_message": True, "add_generation_prompt": False}
