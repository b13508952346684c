"""What a model says: deltas as they come, and the draft that they add up to."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Literal, NamedTuple

from msgspec import Struct

from models.calls import Numbering
from models.tokens import NO_TOKENS, Tokens
from models.wire import WireMessage, WireReply, WireUsage

FINISH_REASON = attrgetter("finish_reason")  # read for each delta: a generator takes longer than all that it looks at


class WentOn(Struct, frozen=True):
    """How an answer went on after another model's words: `by` their token ids or their text, after so many tokens."""

    by: Literal["ids", "text"]
    tokens: int


class Usage(Struct, frozen=True):
    """Tokens of one call. `estimated` where the server did not say: a call that was cut off, or a server that never
    says; then a token is counted as four characters where it was not seen itself."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False

    def __add__(self, other: "Usage") -> "Usage":
        """Those of both calls; an estimate where either is."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.estimated or other.estimated,
        )


class Speculation(Struct, frozen=True):
    """Tokens of a draft that an engine verified for one answer, over its steps: `proposed` to it, `accepted` by it;
    at most `at_once` in a step. A token that was rejected is counted again where it is proposed again."""

    proposed: int
    accepted: int
    steps: int
    at_once: int

    @property
    def rate(self) -> float:
        """The token acceptance rate, 0 to 1; nothing proposed counts as nothing accepted."""
        return self.accepted / self.proposed if self.proposed else 0.0


class Piece(NamedTuple):
    """What one delta adds to one choice; `token_ids` only where they were asked for and the server knows them.

    There is one for each token: a named tuple is made in half the time of a frozen dataclass.
    """

    index: int  # type: ignore[assignment]  # in place of the method that tuples have
    message: WireMessage
    tokens: Tokens = NO_TOKENS
    finish_reason: str | None = None
    token_ids: tuple[int, ...] = ()

    @property
    def characters(self) -> int:
        """How much it says: answer, reasoning, refusal and tool calls."""
        message = self.message
        content = message.get("content") or ""
        if len(message) == 1 and content:
            return len(content)
        said = len(content) + len(reasoning_of(message)) + len(message.get("refusal") or "")
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            said += len(function.get("name") or "") + len(function.get("arguments") or "")
        return said

    @property
    def is_plain(self) -> bool:
        """Whether it is text of the answer itself: no reasoning, refusal or tool call, which a parser made of the
        model's words."""
        return self.characters == len(self.message.get("content") or "")

    @property
    def length(self) -> int:
        """Its tokens, as far as they are known."""
        return len(self.tokens) or len(self.token_ids)


class Delta(NamedTuple):
    """A piece of an answer: the reply or chunk as it came, what was read out of it, and when (seconds, monotonic). The
    first one has the fingerprint of the tokenizer of the answer's token ids, where that is known, and how the answer
    went on after another model's words, where it did. `more`: another came with it, and may be sent with it."""

    reply: WireReply
    pieces: tuple[Piece, ...]
    received_s: float
    tokenizer: str | None = None
    went_on: WentOn | None = None
    more: bool = False

    @property
    def length(self) -> int:
        """The tokens of all its pieces, as far as they are known."""
        pieces = self.pieces
        return pieces[0].length if len(pieces) == 1 else sum([piece.length for piece in pieces])

    @property
    def ends(self) -> bool:
        """Whether the answer, or a choice of it, ends with this."""
        pieces = self.pieces
        return bool(pieces[0].finish_reason) if len(pieces) == 1 else any(map(FINISH_REASON, pieces))


class Finish(Struct, frozen=True):
    """The end of an answer: the tokens that it took and the server's own report of them, None where it made none; the
    chunk of a stream that brought the report; what came of drafts that the server verified, where it says so,
    and whether it was `handed` one."""

    usage: Usage | None
    reported: WireUsage | None = None
    chunk: WireReply | None = None
    speculation: Speculation | None = None
    handed: bool = False


class ToolCall(Struct, frozen=True):
    """A function that the model wants called; `arguments` should be JSON."""

    name: str
    arguments: str


class Choice(Struct, frozen=True):
    """One whole answer."""

    text: str
    reasoning: str
    refusal: str
    tool_calls: tuple[ToolCall, ...]
    tokens: Tokens
    finish_reason: str | None
    token_ids: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """Its tokens, as far as they are known."""
        return len(self.tokens) or len(self.token_ids)

    @property
    def answer_tokens(self) -> Tokens:
        """The tokens of the answer itself: of tool calls, those of their arguments, where these can be found as they
        stand; where the model reasoned first, those from the answer's beginning on. None where the answer cannot be
        found among them."""
        arguments = [call.arguments for call in self.tool_calls if call.arguments]
        called = tokens_saying(arguments, self.tokens) if arguments else NO_TOKENS
        if called:
            return called
        if not self.reasoning:
            return self.tokens
        said = self.text.strip() or next((call.arguments or call.name for call in self.tool_calls), "")
        start = self.tokens.text.rfind(said) if said else -1
        if start < 0:
            return NO_TOKENS
        first = 0
        while start > 0 and first < len(self.tokens):
            start -= len(self.tokens.texts[first])
            first += 1
        return self.tokens[first if start == 0 else first - 1 :]


def tokens_saying(texts: Sequence[str], tokens: Tokens) -> Tokens:
    """The tokens that hold some of these texts, which follow each other; none where a text cannot be found."""
    joined = tokens.text
    spans: list[tuple[int, int]] = []
    end = 0
    for text in texts:
        start = joined.find(text, end)
        if start < 0:
            return NO_TOKENS
        end = start + len(text)
        spans.append((start, end))
    return tokens.where(
        any(place < last and place + len(text) > first for first, last in spans) for text, place in placed(tokens.texts)
    )


def placed(texts: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Each text, and where in the whole of them it begins."""
    place = 0
    for text in texts:
        yield text, place
        place += len(text)


class Draft(Struct, frozen=True):
    """A provisional answer: every choice, whole."""

    choices: tuple[Choice, ...]


def draft_of(deltas: Iterable[Delta]) -> Draft:
    """The fold of a stream, whatever its number of deltas."""
    pieces: dict[int, list[Piece]] = {}
    for delta in deltas:
        for piece in delta.pieces:
            pieces.setdefault(piece.index, []).append(piece)
    return Draft(tuple(choice_of(pieces[index]) for index in sorted(pieces)))


def choice_of(pieces: list[Piece]) -> Choice:
    """One choice from its pieces, in order."""
    messages = [piece.message for piece in pieces]
    reasons = [piece.finish_reason for piece in pieces if piece.finish_reason]
    return Choice(
        text=text_of(pieces),
        reasoning="".join([reasoning_of(message) for message in messages]),
        refusal="".join([message.get("refusal") or "" for message in messages]),
        tool_calls=tool_calls_of(messages),
        tokens=Tokens.joined([piece.tokens for piece in pieces]),
        finish_reason=reasons[-1] if reasons else None,
        token_ids=tuple(chain.from_iterable([piece.token_ids for piece in pieces])),
    )


def text_of(pieces: Iterable[Piece]) -> str:
    """What they say, put together."""
    return "".join([piece.message.get("content") or "" for piece in pieces])


def reasoning_of(message: WireMessage) -> str:
    """What the model thought aloud, under either of the names that servers give it."""
    return message.get("reasoning") or message.get("reasoning_content") or ""


def tool_calls_of(messages: list[WireMessage]) -> tuple[ToolCall, ...]:
    """The calls that the messages' pieces add up to."""
    calling = [message for message in messages if message.get("tool_calls")]
    if not calling:
        return ()
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    numbering = Numbering()
    for message in calling:
        for place, call in enumerate(message.get("tool_calls") or ()):
            index = numbering.of(call, place)
            function = call.get("function") or {}
            names[index] = names.get(index, "") + (function.get("name") or "")
            arguments[index] = arguments.get(index, "") + (function.get("arguments") or "")
    return tuple(ToolCall(names[index], arguments[index]) for index in sorted(names))
