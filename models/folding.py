"""A stream as the one reply that it adds up to: a whole answer is the fold of its chunks."""

from collections.abc import Iterable, Sequence
from itertools import chain

from models.answer import Delta, Finish, Piece
from models.answer import choice_of as said_by
from models.calls import Numbering
from models.parsing import TEXTS
from models.wire import WireChoice, WireLogprobs, WireMessage, WireReply, WireToolCall


def whole_of(deltas: Sequence[Delta], finish: Finish) -> Delta:
    """The deltas (at least one) of a chat stream as one delta, whose reply is a chat completion."""
    choices: dict[int, list[WireChoice]] = {}
    pieces: dict[int, list[Piece]] = {}
    for delta in deltas:
        for choice, piece in zip(delta.reply.get("choices") or (), delta.pieces, strict=True):
            choices.setdefault(piece.index, []).append(choice)
            pieces.setdefault(piece.index, []).append(piece)
    first = deltas[0].reply
    reply: WireReply = {
        **first,
        **(finish.chunk or {}),
        "object": "chat.completion",
        "choices": [choice_of(index, choices[index]) for index in sorted(choices)],
    }
    joined = tuple(piece_of(pieces[index], reply["choices"][place]) for place, index in enumerate(sorted(pieces)))
    return Delta(reply, joined, deltas[-1].received_s, deltas[0].tokenizer)


def choice_of(index: int, chunks: Sequence[WireChoice]) -> WireChoice:
    """One choice: what its chunks say last, and what they say of the message and the tokens put together."""
    whole: WireChoice = {}
    for chunk in chunks:
        whole = {**whole, **{name: value for name, value in chunk.items() if value is not None or name not in whole}}  # type: ignore[typeddict-item]
    whole.pop("delta", None)
    whole["index"] = index
    whole["message"] = message_of([chunk.get("delta") or {} for chunk in chunks])
    whole["logprobs"] = logprobs_of([chunk.get("logprobs") or {} for chunk in chunks])
    if any(chunk.get("token_ids") is not None for chunk in chunks):
        whole["token_ids"] = [token_id for chunk in chunks for token_id in chunk.get("token_ids") or ()]
    return whole


def logprobs_of(chunks: Sequence[WireLogprobs]) -> WireLogprobs | None:
    """The lists of each chunk's tokens, one after the other, under their names."""
    joined: dict[str, list[object]] = {}
    for chunk in chunks:
        for name, tokens in chunk.items():
            if isinstance(tokens, list):
                joined.setdefault(name, []).extend(tokens)
    if not joined:
        return None
    whole: WireLogprobs = {"content": None}
    whole.update(joined)  # type: ignore[typeddict-item]
    return whole


def message_of(deltas: Iterable[WireMessage]) -> WireMessage:
    """The message that the deltas add up to: what the model says is joined, lists are too, tool calls are put together;
    of other fields the last word counts."""
    said: dict[str, list[object]] = {"role": ["assistant"], "content": []}
    calls: dict[int, list[WireToolCall]] = {}
    numbering = Numbering()
    for delta in deltas:
        for name, value in delta.items():
            said.setdefault(name, []).append(value)
        for place, call in enumerate(delta.get("tool_calls") or ()):
            calls.setdefault(numbering.of(call, place), []).append(call)
    whole = {name: joined(name, values) for name, values in said.items()}
    if calls:
        whole["tool_calls"] = [call_of(calls[number]) for number in sorted(calls)]
        whole["content"] = whole["content"] or None
    message: WireMessage = {}
    message.update(whole)  # type: ignore[typeddict-item]
    return message


def joined(name: str, values: Sequence[object]) -> object:
    """A field of a message from all that the deltas say of it."""
    told = [value for value in values if value is not None]
    if not told:
        return None
    if name in TEXTS and all(isinstance(value, str) for value in told):
        return "".join(map(str, told))
    lists = [value for value in told if isinstance(value, list)]
    return list(chain.from_iterable(lists)) if len(lists) == len(told) else told[-1]


def call_of(pieces: Sequence[WireToolCall]) -> WireToolCall:
    """A tool call as a whole message has it: its arguments are joined, of the rest the first word counts."""
    whole: WireToolCall = {**pieces[0]}
    if len(pieces) > 1:
        for piece in reversed(pieces):
            whole.update({name: value for name, value in piece.items() if value is not None})  # type: ignore[typeddict-item]
        functions = [piece.get("function") or {} for piece in pieces]
        whole["function"] = {
            "name": next((function["name"] for function in functions if function.get("name")), None),
            "arguments": "".join(function.get("arguments") or "" for function in functions),
        }
    whole.pop("index", None)
    return whole


def piece_of(pieces: list[Piece], choice: WireChoice) -> Piece:
    """One piece of all, beside the choice that their chunks add up to."""
    said = said_by(pieces)
    return Piece(pieces[0].index, choice["message"], said.tokens, said.finish_reason, said.token_ids)
