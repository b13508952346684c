"""The fields of a request to /v1/responses: their types and ranges, and those that are refused, with the reason."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from server.doors.chat import PositiveInt, Prediction
from server.doors.reading import Object, Part, Wire
from server.doors.responses_checks import NOTHING_STORED, nothing_but
from server.doors.sampling import Sampled

LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"  # reasoning is sent in the clear, so it can be sent back as it is
NO_EQUIVALENT = "chat servers have no such thing"
MAX_METADATA = 16

MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


def few(metadata: object) -> object:
    """The value. Raises ValueError for a map of too many, before each of them is looked at."""
    if isinstance(metadata, dict) and len(metadata) > MAX_METADATA:
        raise ValueError(f"should have at most {MAX_METADATA} items, not {len(metadata)}")
    return metadata


class TextFormat(Part):
    """What form the text has."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    form: Annotated[Object | None, Field(alias="schema")] = None

    @model_validator(mode="after")
    def _schema_is_whole(self) -> Self:
        if self.type == "json_schema" and (self.name is None or self.form is None):
            raise ValueError("json_schema needs name and schema")
        return self


class Text(Part):
    """How the text is written."""

    format: TextFormat | None = None
    verbosity: str | None = None


NoSummary = nothing_but("auto", because="no summary is made, the reply has the reasoning itself")


class Reasoning(Part):
    """How the model reasons."""

    effort: str | None = None
    summary: Annotated[object, NoSummary] = None
    generate_summary: Annotated[object, NoSummary] = None
    context: Annotated[object, nothing_but("auto", because=NO_EQUIVALENT)] = None
    mode: Annotated[object, nothing_but("standard", because=NO_EQUIVALENT)] = None


class StreamOptions(Part):
    """How a stream is written."""

    include_obfuscation: Annotated[object, nothing_but(False, because="events are not padded")] = None


class CacheOptions(Part):
    """What chat can say of the prompt cache."""

    mode: str | None = None
    ttl: str | None = None
    comparison_response_id: Annotated[object, nothing_but(because=NOTHING_STORED)] = None
    prewarm: Annotated[object, nothing_but(False, because=NO_EQUIVALENT)] = None


class Unserved(Wire):
    """Fields without an equivalent, and chat's names for what has another name here."""

    access_programs: Annotated[object, nothing_but(because=NO_EQUIVALENT)] = None
    background: Annotated[object, nothing_but(False, because=f"{NOTHING_STORED}, ask for a stream")] = None
    background_options: Annotated[object, nothing_but(because=NOTHING_STORED)] = None
    context_management: Annotated[object, nothing_but(because=NO_EQUIVALENT)] = None
    conversation: Annotated[object, nothing_but(because=f"{NOTHING_STORED}, send the items in input")] = None
    image: Annotated[object, nothing_but(because=NO_EQUIVALENT)] = None
    max_tool_calls: Annotated[object, nothing_but(because="there are no built-in tools")] = None
    moderation: Annotated[object, nothing_but(because=NO_EQUIVALENT)] = None
    previous_response_id: Annotated[object, nothing_but(because=f"{NOTHING_STORED}, send the items in input")] = None
    prompt: Annotated[object, nothing_but(because=f"{NOTHING_STORED}, send the text in instructions")] = None
    truncation: Annotated[object, nothing_but("disabled", because="no input is cut")] = None

    messages: Annotated[object, nothing_but(because="its name here is input")] = None
    max_tokens: Annotated[object, nothing_but(because="its name here is max_output_tokens")] = None
    max_completion_tokens: Annotated[object, nothing_but(because="its name here is max_output_tokens")] = None
    response_format: Annotated[object, nothing_but(because="its name here is text.format")] = None
    verbosity: Annotated[object, nothing_but(because="its name here is text.verbosity")] = None
    reasoning_effort: Annotated[object, nothing_but(because="its name here is reasoning.effort")] = None
    logprobs: Annotated[object, nothing_but(False, because=f"its name here is include: [{LOGPROBS!r}]")] = None
    functions: Annotated[object, nothing_but(because="their name here is tools")] = None
    function_call: Annotated[object, nothing_but(because="its name here is tool_choice")] = None
    n: Annotated[object, nothing_but(1, because="a response is one answer")] = None
    modalities: Annotated[object, nothing_but(["text"], because="a response is text")] = None
    audio: Annotated[object, nothing_but(because="a response is text")] = None
    web_search_options: Annotated[object, nothing_but(because="there are no built-in tools")] = None
    return_token_ids: Annotated[object, nothing_but(False, because="a response has no place for token ids")] = None


class ResponsesRequest(Unserved, Sampled):
    """The fields whose type or range can be wrong whatever the model."""

    input: str | Annotated[list[object], Field(min_length=1)]
    instructions: str | None = None
    include: Annotated[list[str], Field(fail_fast=True)] | None = None
    max_output_tokens: PositiveInt | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue] | None, BeforeValidator(few)] = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: CacheOptions | None = None
    prompt_cache_retention: str | None = None
    reasoning: Reasoning | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    stream_options: StreamOptions | None = None
    text: Text | None = None
    tool_choice: str | Object | None = None
    tools: Annotated[list[object], Field(fail_fast=True)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    user: str | None = None

    prediction: Prediction | None = None

    @property
    def wants_logprobs(self) -> bool:
        """Whether the reply is to have the log-probabilities of its text."""
        return LOGPROBS in (self.include or ())

    @field_validator("include")
    @classmethod
    def _includes_are_served(cls, include: list[str] | None) -> list[str] | None:
        if any(name not in (LOGPROBS, ENCRYPTED) for name in include or ()):
            raise ValueError(f"only {LOGPROBS} and {ENCRYPTED} can be included")
        return include

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        if self.top_logprobs and not self.wants_logprobs:
            raise ValueError(f"top_logprobs: needs {LOGPROBS} in include")
        return self
