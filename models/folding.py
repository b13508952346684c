"""A stream as the one reply that it adds up to: a whole answer is the fold of its chunks."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from models.answer import Delta, Finish, Piece
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
        whole = {**whole, **chunk}
    whole.pop("delta", None)
    entries = [entry for chunk in chunks for entry in (chunk.get("logprobs") or {}).get("content") or ()]
    logprobs: WireLogprobs | None = {"content": entries} if entries else None
    ids = [token_id for chunk in chunks for token_id in chunk.get("token_ids") or ()]
    message = message_of([chunk.get("delta") or {} for chunk in chunks])
    return {**whole, "index": index, "message": message, "logprobs": logprobs, "token_ids": ids}


def message_of(deltas: Iterable[WireMessage]) -> WireMessage:
    """The message that the deltas add up to: texts are joined, tool calls put together; other fields are said once."""
    whole: dict[str, object] = {"role": "assistant", "content": None}
    calls: dict[int, WireToolCall] = {}
    for delta in deltas:
        for name, value in delta.items():
            said = whole.get(name)
            whole[name] = said + value if isinstance(said, str) and isinstance(value, str) and name != "role" else value
        for call in delta.get("tool_calls") or ():
            index = call.get("index") or 0
            calls[index] = call_of(calls.get(index), call)
    if calls:
        whole["tool_calls"] = [without_index(calls[index]) for index in sorted(calls)]
        whole["content"] = whole["content"] or None
    message: WireMessage = {}
    message.update(whole)  # type: ignore[typeddict-item]
    return message


def call_of(said: WireToolCall | None, more: WireToolCall) -> WireToolCall:
    """A tool call, and what one more piece adds to its arguments."""
    if said is None:
        return more
    function = said.get("function") or {}
    arguments = (function.get("arguments") or "") + ((more.get("function") or {}).get("arguments") or "")
    return {**more, **said, "function": {**function, "arguments": arguments}}


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
