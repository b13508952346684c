"""What a response says of its request: the client's own values, else those that hold without them."""

from collections.abc import Mapping

from models.wire import Json, JsonObject
from server.doors.door import Arrival

DEFAULTS: Mapping[str, Json] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "model": None,
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "prompt_cache_options": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "user": None,
}
ALWAYS: Mapping[str, Json] = {
    "background": False,
    "conversation": None,
    "max_tool_calls": None,
    "previous_response_id": None,
    "prompt": None,
    "store": False,
    "truncation": "disabled",
}
PLAIN_TEXT: JsonObject = {"type": "text"}


def echo_of(fields: JsonObject, arrival: Arrival) -> JsonObject:
    """The part of a response that is known before the answer. A model's own defaults are not known, and null; nothing
    is stored, and no summary made, whatever was asked for."""
    reasoning, text = object_of(fields.get("reasoning")), object_of(fields.get("text"))
    return {
        "id": f"resp_{arrival.request_id}",
        "object": "response",
        "created_at": arrival.created,
        **ALWAYS,
        **{name: default if fields.get(name) is None else fields[name] for name, default in DEFAULTS.items()},
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "text": {"format": text.get("format") or PLAIN_TEXT, "verbosity": text.get("verbosity")},
    }


def object_of(value: Json) -> JsonObject:
    """The value, if it is an object."""
    return value if isinstance(value, dict) else {}
