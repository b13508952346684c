"""What a model's message, or a piece of one, says: the one reading that whole answers and streams share."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from models.answer import reasoning_of
from models.calls import Numbering
from models.wire import WireMessage

Kind = Literal["thinking", "text", "tool_use"]


class Said(NamedTuple):
    """Some more of a block: its kind, its text (of a tool's call: of its arguments), and which call it is."""

    kind: Kind
    text: str
    call: int = 0
    id: str = ""
    name: str = ""


def said_in(message: WireMessage, numbering: Numbering) -> Iterator[Said]:
    """In the order in which a message has them: thoughts, text, calls."""
    if thoughts := reasoning_of(message):
        yield Said("thinking", thoughts)
    if text := (message.get("content") or "") + (message.get("refusal") or ""):
        yield Said("text", text)
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        named, index = call.get("id"), numbering.of(call, place)
        name = function.get("name") or ""
        yield Said("tool_use", function.get("arguments") or "", index, named if isinstance(named, str) else "", name)
