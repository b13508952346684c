"""The door of /v1/responses, OpenAI's Responses API: bytes to a chat prompt and our controls, or an error that names
the field.

What chat has too goes upstream as it came, also what is not known here. What chat has not is refused by its name.
"""

from models.prompt import Prompt
from models.wire import Json, JsonObject
from server.doors.controls import with_mode
from server.doors.door import Arrival, Asked, Door
from server.doors.reading import checked, read_fields
from server.doors.responses_answer import ResponsesWriter
from server.doors.responses_echo import echo_of
from server.doors.responses_items import messages_of
from server.doors.responses_request import ResponsesRequest
from server.doors.responses_tools import tools_of
from server.errors import openai_error

AS_THEY_CAME = frozenset(
    (
        "model", "stream", "temperature", "top_p", "user", "safety_identifier", "service_tier",
        "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "seed", "stop", "top_k", "presence_penalty", "frequency_penalty", "logit_bias", "prediction",
    )
)  # fmt: skip
FORMAT_KEYS = ("name", "description", "schema", "strict")


def read_responses(body: bytes, arrival: Arrival) -> Asked:
    """The request in a body. Raises RequestError."""
    fields = read_fields(body)
    request = checked(ResponsesRequest, fields)
    prompt = Prompt(chat_fields(fields, request), arrival.request_id)
    writer = ResponsesWriter(prompt, echo_of(fields, arrival))
    return Asked(request.model, prompt, with_mode(request.smallfirst, arrival.headers), writer)


def chat_fields(fields: JsonObject, request: ResponsesRequest) -> JsonObject:
    """The request as chat has it. Raises RequestError."""
    chat = {name: value for name, value in fields.items() if goes_as_it_came(name)}
    chat["messages"] = messages_of(fields["input"], request.instructions)
    chat |= tools_of(fields)
    renamed: JsonObject = {
        "max_completion_tokens": request.max_output_tokens,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
        "verbosity": request.text.verbosity if request.text else None,
        "response_format": response_format(fields.get("text")),
    }
    chat |= {name: value for name, value in renamed.items() if value is not None}
    if request.wants_logprobs:
        chat |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
    return chat


def goes_as_it_came(name: str) -> bool:
    """Whether chat has the field too, or nobody here knows it."""
    return name in AS_THEY_CAME or name not in ResponsesRequest.model_fields


def response_format(text: Json) -> JsonObject | None:
    """Chat's form of `text.format`; None for plain text, which needs no word."""
    given = text.get("format") if isinstance(text, dict) else None
    if not isinstance(given, dict) or given["type"] == "text":
        return None
    if given["type"] == "json_object":
        return {"type": "json_object"}
    schema: JsonObject = {name: given[name] for name in FORMAT_KEYS if given.get(name) is not None}
    return {"type": "json_schema", "json_schema": schema}


RESPONSES = Door("/v1/responses", ResponsesRequest, read_responses, openai_error)
