"""A reply in vLLM's shape of a chat completion, whole and as a stream's events."""

import json
import math
from collections.abc import Iterator

from server.conformance.json_values import Json, JsonObject, at
from server.conformance.plays import Piece, Reply
from server.conformance.tokens import ids_before, token_id

CREATED = 1_700_000_000
ID = "chatcmpl-upstream"
DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"


def whole_chat(reply: Reply, body: JsonObject) -> JsonObject:
    """A chat completion."""
    n = choices_of(body)
    choices: list[Json] = [choice_of(reply.choice(index, n), index, body) for index in range(n)]
    return {
        "id": ID, "object": "chat.completion", "created": CREATED, "model": body.get("model"), **prompt_ids(body),
        **reply.fields,
        "choices": choices, "usage": reply.usage(n),
    }  # fmt: skip


def choice_of(reply: Reply, index: int, body: JsonObject) -> JsonObject:
    """One of its choices."""
    return {
        "index": index, "message": reply.message, "logprobs": logprobs_of(reply.pieces, body),
        "finish_reason": reply.finish_reason, **ids_of(reply.pieces, body), **reply.choice_fields,
    }  # fmt: skip


def chat_events(reply: Reply, body: JsonObject) -> list[bytes]:
    """The same as a stream, up to its end."""
    events = [event(chunk) for chunk in chat_chunks(reply, body)]
    if reply.comments:
        events = [part for one in events for part in (COMMENT, one)]
    return [*events, DONE]


def chat_chunks(reply: Reply, body: JsonObject) -> Iterator[JsonObject]:
    """A role for each choice, its pieces, an end without text, and the usage where it was asked for."""
    n = choices_of(body)
    choices = [reply.choice(index, n) for index in range(n)]
    for index in range(n):
        yield {**chunk_of(reply, body, index, {"role": "assistant", "content": ""}), **prompt_ids(body)}
    for place in range(max(len(choice.pieces) for choice in choices)):
        for index, choice in enumerate(choices):
            if place < len(choice.pieces):
                piece = choice.pieces[place]
                yield chunk_of(reply, body, index, piece.delta, (piece,))
    for index in range(n):
        yield chunk_of(reply, body, index, {"content": ""}, (), reply.finish_reason)
    if at(body, "stream_options", "include_usage") is True:
        yield {**opening(reply, body), "choices": [], "usage": reply.usage(n)}


def chunk_of(
    reply: Reply, body: JsonObject, index: int, delta: JsonObject, pieces: tuple[Piece, ...] = (),
    finish_reason: str | None = None,
) -> JsonObject:  # fmt: skip
    """One chunk."""
    choice: JsonObject = {
        "index": index, "delta": delta, "logprobs": logprobs_of(pieces, body) if pieces else None,
        "finish_reason": finish_reason, **ids_of(pieces, body), **reply.choice_fields,
    }  # fmt: skip
    return {**opening(reply, body), "choices": [choice]}


def opening(reply: Reply, body: JsonObject) -> JsonObject:
    """What every chunk has."""
    return {
        "id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": body.get("model"), **reply.fields,
    }  # fmt: skip


def choices_of(body: JsonObject) -> int:
    """How many answers are wanted."""
    n = body.get("n")
    return n if isinstance(n, int) else 1


def ids_of(pieces: tuple[Piece, ...], body: JsonObject) -> JsonObject:
    """Token ids, which vLLM gives to who asks for them."""
    asked = body.get("return_token_ids") is True
    return {"token_ids": [token_id(piece.token) for piece in pieces]} if asked else {}


def prompt_ids(body: JsonObject) -> JsonObject:
    """Those of the prompt."""
    return {"prompt_token_ids": ids_before(body)} if body.get("return_token_ids") is True else {}


def logprobs_of(pieces: tuple[Piece, ...], body: JsonObject) -> Json:
    """One entry a token, with as many alternatives as were asked for."""
    if body.get("logprobs") is not True:
        return None
    asked = body.get("top_logprobs")
    most = asked if isinstance(asked, int) else 0
    return {"content": [token_of(piece, most) for piece in pieces]}


def token_of(piece: Piece, most: int) -> JsonObject:
    """A token's entry; the likeliest one comes first."""
    others: list[Json] = [
        {"token": piece.token if rank == 0 else f"other-{rank}", "logprob": logprob, "bytes": None}
        for rank, logprob in enumerate(
            [math.log(piece.p), *(math.log((1 - piece.p) / 2**rank) for rank in range(1, 20))]
        )
    ]
    return {
        "token": piece.token, "logprob": math.log(piece.p), "bytes": [*piece.token.encode()],
        "top_logprobs": others[:most],
    }  # fmt: skip


def event(data: JsonObject) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"
