"""A stream as the one reply that it adds up to: a whole answer is the fold of its chunks."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from models.answer import Delta, Finish, Piece
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
    whole: dict[str, object] = {"role": "assistant", "content": None}
    calls: dict[int, WireToolCall] = {}
    numbering = Numbering()
    for delta in deltas:
        for name, value in delta.items():
            whole[name] = joined(name, whole.get(name), value)
        for place, call in enumerate(delta.get("tool_calls") or ()):
            index = numbering.of(call, place)
            calls[index] = call_of(calls.get(index), call)
    if calls:
        whole["tool_calls"] = [without_index(calls[index]) for index in sorted(calls)]
        whole["content"] = whole["content"] or None
    message: WireMessage = {}
    message.update(whole)  # type: ignore[typeddict-item]
    return message


def joined(name: str, said: object, more: object) -> object:
    """A field of a message, and what one more delta says of it."""
    if more is None:
        return said
    if isinstance(said, str) and isinstance(more, str) and name in TEXTS:
        return said + more
    return [*said, *more] if isinstance(said, list) and isinstance(more, list) else more


def call_of(said: WireToolCall | None, more: WireToolCall) -> WireToolCall:
    """A tool call, and what one more piece of it says: its arguments are joined, of the rest the first word counts."""
    if said is None:
        return more
    function, added = said.get("function") or {}, more.get("function") or {}
    known = {name: value for name, value in said.items() if value is not None}
    whole: WireToolCall = {**more, **known}  # type: ignore[typeddict-item]
    whole["function"] = {
        "name": function.get("name") or added.get("name"),
        "arguments": (function.get("arguments") or "") + (added.get("arguments") or ""),
    }
    return whole


def without_index(call: WireToolCall) -> WireToolCall:
    """As a whole message has it."""
    whole: WireToolCall = {**call}
    whole.pop("index", None)
    return whole


def piece_of(pieces: Sequence[Piece], choice: WireChoice) -> Piece:
    """One piece of all, beside the choice that their chunks add up to."""
    return replace(
        pieces[0],
        message=choice["message"],
        tokens=tuple(token for piece in pieces for token in piece.tokens),
        finish_reason=next((piece.finish_reason for piece in reversed(pieces) if piece.finish_reason), None),
        token_ids=tuple(token_id for piece in pieces for token_id in piece.token_ids),
    )
