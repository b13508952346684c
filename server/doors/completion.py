"""The door of /v1/completions: bytes to a prompt and our controls, or an error that names the field.

A text has no chat template, so it goes to the tiers' own /v1/completions, with all of the client's fields as they came.
"""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from models.prompt import Prompt
from models.wire import JsonObject
from server.doors.chat_answer import ChatWriter
from server.doors.completion_answer import shown_text
from server.doors.controls import OURS, with_mode
from server.doors.door import Arrival, Asked, Door
from server.doors.reading import Object, checked, read_fields
from server.doors.sampling import Sampled
from server.errors import openai_error

TokenId = Annotated[int, Field(ge=0)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]
Texts = Annotated[list[str], Field(min_length=1, fail_fast=True)]
SeveralIds = Annotated[list[TokenIds], Field(min_length=1, fail_fast=True)]
KIND = "text_completion"


def refuse_chats_own(value: object) -> None:
    """Nothing. Raises ValueError for a field that has no meaning beside a text."""
    if value is not None:
        raise ValueError("is a field of conversations: ask /v1/chat/completions, or leave it out")


OfChat = Annotated[None, BeforeValidator(refuse_chats_own)]


class CompletionRequest(Sampled):
    """The fields whose type, range or meaning can be wrong whatever the model."""

    prompt: str | Texts | TokenIds | SeveralIds | None = None
    prompt_embeds: str | Texts | None = None
    suffix: str | None = None
    stream_options: Object | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    best_of: int | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    prompt_logprobs: Annotated[int, Field(ge=-1, le=20)] | None = None
    logprob_token_ids: Annotated[list[TokenId], Field(fail_fast=True)] | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    user: str | None = None
    response_format: Object | None = None
    messages: OfChat = None
    tools: OfChat = None
    tool_choice: OfChat = None
    max_completion_tokens: OfChat = None
    top_logprobs: OfChat = None
    prediction: OfChat = None

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        if self.prompt is None and self.prompt_embeds is None:
            raise ValueError("prompt: is missing")
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise ValueError("best_of: is not served: ask for n answers and choose among them")
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens: should be at least 1, unless the prompt is to be echoed")
        return self


def read_completion(body: bytes, arrival: Arrival) -> Asked:
    """The request in a body. Raises RequestError."""
    fields = read_fields(body)
    request = checked(CompletionRequest, fields)
    asked = {name: value for name, value in fields.items() if name not in (OURS, *left_out(fields))}
    prompt = Prompt(asked, arrival.request_id, form="completion")
    writer = ChatWriter(f"cmpl-{arrival.request_id}", arrival.created, request.model, prompt, KIND, shown_text)
    return Asked(request.model, prompt, with_mode(request.smallfirst, arrival.headers), writer)


def left_out(fields: JsonObject) -> list[str]:
    """A null in place of a conversation's own field, which would make a text look like one; and a `best_of` that
    changes nothing, which not every server knows."""
    return [name for name in ("best_of", *OF_CHAT) if name in fields]


OF_CHAT = [name for name, field in CompletionRequest.model_fields.items() if field.annotation is type(None)]

COMPLETION = Door("/v1/completions", CompletionRequest, read_completion, openai_error)
