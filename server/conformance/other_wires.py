"""A reply in the shapes of /v1/completions, /v1/responses and /v1/messages, as vLLM serves them: text alone."""

import json

from server.conformance.chat_wire import CREATED, DONE, event
from server.conformance.json_values import Json, JsonObject, at
from server.conformance.plays import Piece, Reply


def whole_completion(reply: Reply, body: JsonObject) -> JsonObject:
    """A text completion."""
    return {**completion_part(body, reply.text, reply.finish_reason), "usage": reply.usage(1)}


def completion_events(reply: Reply, body: JsonObject) -> list[bytes]:
    """The same as a stream."""
    events = [event(completion_part(body, piece.token, None)) for piece in reply.pieces]
    events.append(event(completion_part(body, "", reply.finish_reason)))
    if at(body, "stream_options", "include_usage") is True:
        events.append(event({**completion_part(body, "", None), "choices": [], "usage": reply.usage(1)}))
    return [*events, DONE]


def completion_part(body: JsonObject, text: str, finish_reason: str | None) -> JsonObject:
    """A completion or a chunk of it: both have one shape."""
    choice: JsonObject = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": "cmpl-upstream", "object": "text_completion", "created": CREATED, "model": body.get("model"),
        "choices": [choice],
    }  # fmt: skip


def whole_response(reply: Reply, body: JsonObject) -> JsonObject:
    """A response of the Responses API."""
    return response(body, "completed", [message_item(reply.text, "completed")], reply)


def response_events(reply: Reply, body: JsonObject) -> list[bytes]:
    """Its events, numbered."""
    place: JsonObject = {"item_id": "msg-upstream", "output_index": 0, "content_index": 0}
    part: JsonObject = {"type": "output_text", "text": reply.text, "annotations": []}
    parts: list[tuple[str, JsonObject]] = [
        ("response.created", {"response": response(body, "in_progress", [], None)}),
        ("response.in_progress", {"response": response(body, "in_progress", [], None)}),
        ("response.output_item.added", {"output_index": 0, "item": {**message_item("", "in_progress"), "content": []}}),
        ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
        *(("response.output_text.delta", {**place, "delta": piece.token, "logprobs": []}) for piece in reply.pieces),
        ("response.output_text.done", {**place, "text": reply.text, "logprobs": []}),
        ("response.content_part.done", {**place, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": message_item(reply.text, "completed")}),
        ("response.completed", {"response": whole_response(reply, body)}),
    ]
    return [named_event(name, {**data, "sequence_number": number}) for number, (name, data) in enumerate(parts)]


def response(body: JsonObject, status: str, output: list[Json], reply: Reply | None) -> JsonObject:
    """A response in a state."""
    usage = None if reply is None else counted(reply)
    return {
        "id": "resp-upstream", "object": "response", "created_at": CREATED, "status": status, "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "model": body.get("model"),
        "output": output, "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "usage": usage,
    }  # fmt: skip


def counted(reply: Reply) -> JsonObject:
    """The usage, by the Responses API's names."""
    usage = reply.usage(1)
    return {
        "input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"],
        "total_tokens": usage["total_tokens"], "input_tokens_details": {"cached_tokens": 3},
        "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip


def message_item(text: str, status: str) -> JsonObject:
    """The one item of the output."""
    content: list[Json] = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "msg-upstream", "type": "message", "role": "assistant", "status": status, "content": content}


def whole_message(reply: Reply, body: JsonObject) -> JsonObject:
    """A message of Anthropic's API."""
    return message(body, [{"type": "text", "text": reply.text}], "end_turn", len(reply.pieces))


def message_events(reply: Reply, body: JsonObject) -> list[bytes]:
    """Its events."""
    ending: JsonObject = {"stop_reason": "end_turn", "stop_sequence": None}
    parts: list[JsonObject] = [
        {"type": "message_start", "message": message(body, [], None, 0)},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *map(block_delta, reply.pieces),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ending, "usage": {"input_tokens": 11, "output_tokens": len(reply.pieces)}},
        {"type": "message_stop"},
    ]
    return [named_event(str(part["type"]), part) for part in parts]


def block_delta(piece: Piece) -> JsonObject:
    """A token of a message."""
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece.token}}


def message(body: JsonObject, content: list[Json], stop_reason: str | None, written: int) -> JsonObject:
    """A message in a state."""
    return {
        "id": "msg-upstream", "type": "message", "role": "assistant", "model": body.get("model"), "content": content,
        "stop_reason": stop_reason, "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": written},
    }  # fmt: skip


def named_event(name: str, data: JsonObject) -> bytes:
    """A server-sent event with a name."""
    written = json.dumps({"type": name, **data}, ensure_ascii=False)
    return f"event: {name}\ndata: {written}\n\n".encode()
