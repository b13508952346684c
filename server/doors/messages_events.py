"""A streamed answer in Anthropic's form: blocks that open, grow and close, one after another."""

from collections.abc import Iterator, Mapping

from models.answer import Delta, Finish
from models.calls import Numbering
from models.errors import BadReply
from models.wire import JsonObject, WireReply
from router.outcome import Outcome
from server.bill import bill
from server.doors.events import written
from server.doors.messages_answer import Ending, Named, ending_of, tokens_of, whole_message
from server.doors.messages_errors import anthropic_error
from server.doors.messages_said import Kind, Said, said_in
from server.errors import Problem

DELTAS: dict[Kind, tuple[str, str]] = {
    "thinking": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "tool_use": ("input_json_delta", "partial_json"),
}
UNCOUNTED: JsonObject = {"input_tokens": 0, "output_tokens": 0}  # the numbers come with the end


class MessagesWriter:
    """Words one answer. Of a stream it keeps the block that is open, and how the answer ended."""

    def __init__(self, named: Named) -> None:
        self._named = named
        self._begun = False
        self._place = -1
        self._open: tuple[Kind, int] | None = None
        self._numbering = Numbering()
        self._calls_begun: set[int] = set()
        self._arguments: list[str] = []
        self._refused = False
        self._last: WireReply = {}

    @property
    def id(self) -> str:
        """The message's."""
        return self._named.id

    def whole(self, delta: Delta, finish: Finish, outcome: Outcome) -> bytes:
        """A message."""
        return whole_message(self._named, delta, finish, outcome)

    def chunk(self, delta: Delta, _outcome: Outcome) -> bytes:
        """What a delta adds; one that adds nothing shows that the model is still at work."""
        events = [] if self._begun else [self._start()]
        for piece in delta.pieces:
            self._refused = self._refused or bool(piece.message.get("refusal"))
            if piece.finish_reason is not None:
                self._last = delta.reply
            for said in said_in(piece.message, self._numbering):
                events += self._told(said)
        return b"".join(events or [typed_event({"type": "ping"})])

    def ending(self, finish: Finish, outcome: Outcome) -> bytes:
        """Why it stopped, what it took, and the end."""
        ending = ending_of(self._last, "".join(self._arguments) if self._calls_begun else None, refused=self._refused)
        usage = {**tokens_of(finish, outcome, self._named.prompt), "smallfirst": bill(outcome)}
        stopped: JsonObject = {"stop_reason": ending.reason, "stop_sequence": ending.sequence}
        last: JsonObject = {"type": "message_delta", "delta": stopped, "usage": usage}
        return b"".join([*self._closed(), typed_event(last), typed_event({"type": "message_stop"})])

    def broken(self, problem: Problem) -> bytes:
        """An error event; nothing follows it."""
        return typed_event(anthropic_error(problem))

    def _start(self) -> bytes:
        self._begun = True
        return typed_event({"type": "message_start", "message": self._named.message([], Ending(), UNCOUNTED)})

    def _told(self, said: Said) -> Iterator[bytes]:
        """Events for some more of a block: of the one that is open, or of a new one."""
        if said.kind == "tool_use" and said.call in self._calls_begun and not said.text:
            return
        if self._open != (said.kind, said.call):
            yield from self._closed()
            yield self._opened(said)
        if said.kind == "tool_use":
            self._arguments.append(said.text)
        if said.text:
            kind, field = DELTAS[said.kind]
            yield self._event("content_block_delta", {"delta": {"type": kind, field: said.text}})

    def _opened(self, said: Said) -> bytes:
        if said.kind == "tool_use":
            if said.call in self._calls_begun:
                raise BadReply("the model's server mixes the calls of several tools")
            self._calls_begun.add(said.call)
            self._arguments = []
        self._open = (said.kind, said.call)
        self._place += 1
        return self._event("content_block_start", {"content_block": opening(said, self._named)})

    def _closed(self) -> Iterator[bytes]:
        if self._open is not None:
            self._open = None
            yield self._event("content_block_stop", {})

    def _event(self, kind: str, rest: JsonObject) -> bytes:
        return typed_event({"type": kind, "index": self._place, **rest})


def opening(said: Said, named: Named) -> JsonObject:
    """A block before anything is in it."""
    match said.kind:
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "text":
            return {"type": "text", "text": ""}
        case "tool_use":
            return {"type": "tool_use", "id": named.call_id(said), "name": said.name, "input": {}}


def typed_event(content: Mapping[str, object]) -> bytes:
    """A server-sent event that has its name in its data as well."""
    return b"event: " + str(content["type"]).encode() + b"\ndata: " + written(content) + b"\n\n"
