"""What the scripted model says to a request, and what becomes of the request: a play has one reply for each model."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from server.conformance.json_values import Json, JsonObject

SMALL, LARGE = "conformance-small", "conformance-large"
SURE, UNSURE = 0.999, 0.02
Trouble = Literal[
    "none", "hang", "hang-amid", "wait-amid", "reset-amid", "end-amid", "error-amid",
    "not-json", "html", "empty", "500", "500-html", "503", "429",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    """A token: what it adds to the message, its text, and how probable it was."""

    delta: JsonObject
    token: str
    p: float = SURE


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, in pieces and whole; `fields` and `choice_fields` are added to every reply and chunk. `bytes_at_once`
    cuts what is sent, wherever that falls; `trouble` is what goes wrong on the way."""

    pieces: tuple[Piece, ...]
    message: JsonObject
    finish_reason: str = "stop"
    fields: JsonObject = field(default_factory=dict)
    choice_fields: JsonObject = field(default_factory=dict)
    comments: bool = False
    bytes_at_once: int | None = None
    trouble: Trouble = "none"

    @property
    def text(self) -> str:
        """The answer's text."""
        content = self.message.get("content")
        return content if isinstance(content, str) else ""

    def with_trouble(self, trouble: Trouble) -> "Reply":
        """The same answer, which something happens to."""
        return replace(self, trouble=trouble)

    def choice(self, index: int, n: int) -> "Reply":
        """One of `n` answers: they differ at the end."""
        if n == 1:
            return self
        ending = f" number {index}"
        return replace(
            self,
            pieces=(*self.pieces, Piece({"content": ending}, ending)),
            message={**self.message, "content": self.text + ending},
        )

    def rest(self, written: int) -> "Reply":
        """What is left of the answer when this many tokens are written."""
        if not written:
            return self
        pieces = self.pieces[written:]
        left = "".join(str(piece.delta.get("content") or "") for piece in pieces)
        return replace(self, pieces=pieces, message={**self.message, "content": left})

    def usage(self, n: int) -> JsonObject:
        """What it took: a token a piece, of every choice."""
        written = sum(len(self.choice(index, n).pieces) for index in range(n))
        return {
            "prompt_tokens": 11, "completion_tokens": written, "total_tokens": 11 + written,
            "prompt_tokens_details": {"cached_tokens": 3},
        }  # fmt: skip


def says(*tokens: str, p: float = SURE) -> Reply:
    """An answer of these tokens."""
    return Reply(tuple(Piece({"content": token}, token, p) for token in tokens), said("".join(tokens)))


def words(text: str, p: float = SURE) -> Reply:
    """An answer whose tokens are the text's words."""
    first, *others = text.split(" ")
    return says(first, *(f" {word}" for word in others), p=p)


def thinks(key: str, thoughts: str, text: str, p: float = SURE) -> Reply:
    """An answer with the thoughts before it, under the key that the server has for them."""
    answer = words(text, p)
    thought = tuple(Piece({key: token.token}, token.token, p) for token in words(thoughts).pieces)
    return replace(answer, pieces=thought + answer.pieces, message={**answer.message, key: thoughts})


def calls(*made: tuple[str, str], before: str = "", interleaved: bool = False, p: float = SURE) -> Reply:
    """Tool calls, each a name and its arguments, as vLLM streams them: the name first, then the arguments in parts."""
    by_call = [call_pieces(index, name, arguments, p) for index, (name, arguments) in enumerate(made)]
    pieces = [piece for one in by_call for piece in one]
    if interleaved:
        longest = max(map(len, by_call))
        pieces = [one[place] for place in range(longest) for one in by_call if place < len(one)]
    spoken = words(before, p).pieces if before else ()
    whole: list[Json] = [
        {"id": f"call-{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(made)
    ]
    message: JsonObject = {**said(before or None), "tool_calls": whole}
    return Reply((*spoken, *pieces), message, "tool_calls")


def call_pieces(index: int, name: str, arguments: str, p: float) -> list[Piece]:
    """One call's pieces."""
    opening: JsonObject = {
        "index": index, "id": f"call-{index}", "type": "function", "function": {"name": name, "arguments": ""},
    }  # fmt: skip
    parts = [arguments[start : start + 4] for start in range(0, len(arguments), 4)]
    return [
        Piece({"tool_calls": [opening]}, name, p),
        *(Piece({"tool_calls": [{"index": index, "function": {"arguments": part}}]}, part, p) for part in parts),
    ]


def said(text: str | None) -> JsonObject:
    """A message of this text."""
    return {"role": "assistant", "content": text}


@dataclass(frozen=True, slots=True)
class Request:
    """What reached the model."""

    path: str
    body: JsonObject

    @property
    def model(self) -> Json:
        """Who was asked."""
        return self.body.get("model")


@dataclass(slots=True)
class Play:
    """One case's replies under its marker, and what happened. `hanging`: an answer hangs; `left`: a caller went
    before its answer's end; `go` lets an answer that waits go on."""

    marker: str
    small: Reply
    large: Reply
    requests: list[Request] = field(default_factory=list)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    def reply_to(self, model: Json) -> Reply:
        """What this model says."""
        return self.small if model == SMALL else self.large

    def asked(self, model: str) -> Sequence[Request]:
        """The requests to one model."""
        return [request for request in self.requests if request.model == model]
