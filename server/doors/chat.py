"""The door of /v1/chat/completions: bytes to a prompt and our controls, or an error that names the field.

Known fields are checked for type and range; all of the client's fields go upstream as they came.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.prompt import Prompt
from server.doors.chat_answer import ChatWriter
from server.doors.controls import OURS, with_mode
from server.doors.door import Arrival, Asked, Door
from server.doors.reading import Object, Wire, checked, read_fields
from server.doors.sampling import Sampled
from server.errors import openai_error

PositiveInt = Annotated[int, Field(ge=1)]


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


class ChatRequest(Sampled):
    """The fields whose type or range can be wrong whatever the model."""

    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    stream_options: Object | None = None
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Object], Field(fail_fast=True)] | None = None
    tool_choice: str | Object | None = None
    response_format: Object | None = None
    prediction: Prediction | None = None

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: needs logprobs to be true")
        return self


def read_chat(body: bytes, arrival: Arrival) -> Asked:
    """The request in a body. Raises RequestError."""
    fields = read_fields(body)
    request = checked(ChatRequest, fields)
    prompt = Prompt({name: value for name, value in fields.items() if name != OURS}, arrival.request_id)
    writer = ChatWriter(f"chatcmpl-{arrival.request_id}", arrival.created, request.model, prompt)
    return Asked(request.model, prompt, with_mode(request.smallfirst, arrival.headers), writer)


CHAT = Door("/v1/chat/completions", ChatRequest, read_chat, openai_error)
