"""What every door has in common: what it makes of a request, and how it words an answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct
from pydantic import BaseModel

from models.answer import Delta, Finish
from models.prompt import Prompt
from models.wire import JsonObject
from router.outcome import Outcome
from server.doors.controls import Controls
from server.errors import Problem


class Arrival(Struct, frozen=True):
    """What is known of a request beside its body: its id, when it came (Unix seconds), and its headers."""

    request_id: str
    created: int
    headers: Mapping[str, str]


class Writer(Protocol):
    """Words one answer; made for one request. A stream is its chunks, then its ending or a `broken` event."""

    @property
    def id(self) -> str:
        """The response's id, as its body has it."""
        ...

    def whole(self, delta: Delta, finish: Finish, outcome: Outcome) -> bytes:
        """The body of an answer in one piece."""
        ...

    def chunk(self, delta: Delta, outcome: Outcome) -> bytes:
        """The events that a delta is, or none."""
        ...

    def ending(self, finish: Finish, outcome: Outcome) -> bytes:
        """The last events of a stream that is whole."""
        ...

    def broken(self, problem: Problem) -> bytes:
        """The last event of a stream that is not."""
        ...


class Asked(Struct, frozen=True):
    """What a client wants: of which model or cascade, the prompt, how it is to be routed, and who words the answer."""

    model: str
    prompt: Prompt
    controls: Controls
    writer: Writer


@dataclass(frozen=True, slots=True)
class Door:
    """One API: its path, what its bodies are checked for, how one is read (raises RequestError), and what its errors
    look like."""

    path: str
    request: type[BaseModel]
    read: Callable[[bytes, Arrival], Asked]
    error_body: Callable[[Problem], JsonObject]
