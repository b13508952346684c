"""Blocks of content, each kind with its keys; an image as chat completions have it."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from models.wire import JsonObject
from server.doors.messages_fields import Blocks, NotServed, nothing_but
from server.doors.reading import Object, Part, checked_at
from server.errors import RequestError


class Block(Part):
    """Any block. Servers cache prompts by themselves: a `cache_control` has no effect."""

    type: str
    cache_control: Object | None = None


class Text(Block):
    """A piece of text."""

    text: str
    citations: NotServed = None


class Image(Block):
    """A picture."""

    source: Object
    transformations: NotServed = None


class ToolUse(Block):
    """A tool that the model called."""

    id: str
    name: str
    input: Object
    caller: Annotated[Object | None, nothing_but({"type": "direct"})] = None
    toolset_name: NotServed = None


class ToolResult(Block):
    """What came of it."""

    tool_use_id: str
    content: Blocks = Field(default_factory=list)
    is_error: bool | None = None
    toolset_name: NotServed = None


class Thinking(Part):
    """What the model thought before it answered; the signature says nothing here."""

    type: str
    thinking: str
    signature: str | None = None


class RedactedThinking(Part):
    """Thoughts that only Anthropic can read."""

    type: str
    data: str


class Base64Source(Part):
    """A picture in the request itself."""

    type: str
    media_type: str
    data: str


class UrlSource(Part):
    """A picture elsewhere: the model's server fetches it."""

    type: str
    url: str


OF_SYSTEM: Mapping[str, type[Part]] = {"text": Text}
OF_USER: Mapping[str, type[Part]] = {"text": Text, "image": Image, "tool_result": ToolResult}
OF_RESULT: Mapping[str, type[Part]] = {"text": Text, "image": Image}
OF_ASSISTANT: Mapping[str, type[Part]] = {
    "text": Text,
    "tool_use": ToolUse,
    "thinking": Thinking,
    "redacted_thinking": RedactedThinking,
}
SOURCES: Mapping[str, type[Part]] = {"base64": Base64Source, "url": UrlSource}


def read_blocks(blocks: list[Object], kinds: Mapping[str, type[Part]], at: str) -> list[Part]:
    """The blocks found `at` this path. Raises RequestError where one is of none of these kinds, or wrong in itself."""
    return [typed(block, kinds, f"{at}.{place}") for place, block in enumerate(blocks)]


def typed(fields: Object, kinds: Mapping[str, type[Part]], at: str) -> Part:
    """The part that its `type` says it is. Raises RequestError."""
    name = fields.get("type")
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        served = ", ".join(kinds)
        raise RequestError(f"{at}.type: {name!r} is not served here (there are: {served})", param=f"{at}.type")
    return checked_at(kind, fields, at)


def image_part(image: Image, at: str) -> JsonObject:
    """The picture as a part of a chat message. Raises RequestError."""
    match typed(image.source, SOURCES, f"{at}.source"):
        case Base64Source(media_type=media_type, data=data):
            url = f"data:{media_type};base64,{data}"
        case UrlSource(url=url):
            pass
    return {"type": "image_url", "image_url": {"url": url}}
