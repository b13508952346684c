"""The door of /v1/chat/completions: bytes to a prompt and our controls, or an error that names the field.

Known fields are checked for type and range; all of the client's fields go upstream as they came.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, Literal, Self

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.prompt import Prompt
from router.events import Mode
from server.errors import RequestError
from server.headers import PREFIX
from server.modes import refuse_mode_to_come
from server.wording import plain

OURS = "smallfirst"
MODE_HEADER = PREFIX + "mode"

Object = dict[str, object]
MAX_DEPTH = 250  # deeper JSON can be read, but not written again
PositiveInt = Annotated[int, Field(ge=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Wire(BaseModel):
    """A part of the request, checked strictly; what is not named here is not looked at."""

    model_config = ConfigDict(extra="ignore", strict=True)


class ContentPart(Wire):
    """A piece of a message: text, an image, audio; only the kind is looked at."""

    type: str


class Message(Wire):
    """One turn of the conversation."""

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[ContentPart], Field(fail_fast=True)] | None = None
    tool_calls: Annotated[list[Object], Field(fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and self.role != "assistant":
            raise ValueError("content is missing")
        return self


class Prediction(Wire):
    """The answer as the client predicts it, for the engine to verify."""

    type: Literal["content"]
    content: str | Annotated[list[ContentPart], Field(fail_fast=True)]


class Controls(BaseModel):
    """The body's object `smallfirst`: how this one request is routed. Never sent upstream."""

    model_config = ConfigDict(extra="forbid", strict=True)

    mode: Annotated[Mode | None, BeforeValidator(refuse_mode_to_come)] = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None


class ChatRequest(Wire):
    """The fields whose type or range can be wrong whatever the model."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    stream: bool | None = None
    stream_options: Object | None = None
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Object | None = None
    tools: Annotated[list[Object], Field(fail_fast=True)] | None = None
    tool_choice: str | Object | None = None
    response_format: Object | None = None
    prediction: Prediction | None = None
    smallfirst: Controls | None = None

    @field_validator("logit_bias")
    @classmethod
    def _biases_are_numbers(cls, biases: Object | None) -> Object | None:
        if biases and not all(isinstance(bias, int | float) for bias in biases.values()):
            raise ValueError("every bias should be a number")
        return biases

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: needs logprobs to be true")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: needs stream to be true")
        return self


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client wants: of which model or cascade, the prompt, and how it is to be routed."""

    model: str
    prompt: Prompt
    controls: Controls


def read_chat_request(body: bytes, *, mode_header: str | None, request_id: str) -> Asked:
    """The request in a body. Raises RequestError."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as broken:
        raise RequestError(f"the body is no JSON: {broken}") from broken
    if not isinstance(fields, dict):
        raise RequestError("the body is no JSON object")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and is_too_deep(fields):
        raise RequestError(f"the body is nested more than {MAX_DEPTH} levels deep")
    try:
        request = ChatRequest.model_validate(fields)
    except ValidationError as invalid:
        raise invalid_field(invalid) from invalid
    controls = with_mode(request.smallfirst or Controls(), mode_header)
    theirs = {name: value for name, value in fields.items() if name != OURS}
    return Asked(request.model, Prompt(theirs, request_id), controls)


def is_too_deep(fields: Object) -> bool:
    """Whether a JSON object is nested deeper than it could be written again."""
    level: list[Object | list[object]] = [fields]
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def with_mode(controls: Controls, mode_header: str | None) -> Controls:
    """The controls, in the mode that the request's header names, if it names one. Raises RequestError."""
    if mode_header is None:
        return controls
    try:
        return Controls.model_validate({**controls.model_dump(exclude_none=True), "mode": mode_header})
    except ValidationError as invalid:
        message = plain(invalid.errors(include_url=False)[0]["msg"])
        raise RequestError(f"{MODE_HEADER}: {message}", param=MODE_HEADER) from invalid


def invalid_field(invalid: ValidationError) -> RequestError:
    """The first thing that is wrong, under the name that the client gave it."""
    first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
    whole_path = [str(part) for part in first["loc"]]
    path = list(takewhile(lambda part: not is_union_member(part), whole_path))
    message = plain(first["msg"]) if path == whole_path else "has the wrong type"
    field, _, rest = message.partition(": ")
    if not path and field in ChatRequest.model_fields:
        path, message = [field], rest
    param = ".".join(path) or None
    return RequestError(f"{param}: {message}" if param else message, param=param)


def is_union_member(part: str) -> bool:
    """Whether a part of an error's path is no field, but the alternative of a union that was tried."""
    return part == "str" or part.startswith(("list[", "dict["))
