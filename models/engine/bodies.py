"""What clients send, as far as it is ours to read; the rest is kept aside in `model_extra`."""

from typing import Annotated, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.engine.errors import Malformed

Ids: TypeAlias = list[int]
Extra: TypeAlias = str | int | float | list[str | int | float]
Seed: TypeAlias = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Body(BaseModel):
    """Any request."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True)

    model: str | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read JSON; raises Malformed."""
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            param = str(first["loc"][0]) if first["loc"] else None
            raise Malformed(f"{where or 'body'}: {first['msg']}", param=param) from error


class StreamOptions(BaseModel):
    """What a stream carries beside the answer."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class GenerationBody(Body):
    """What both ways of generating share."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    request_id: str | None = None
    n: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: Seed | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: Ids | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    vllm_xargs: dict[str, Extra] | None = None

    def stop_strings(self) -> tuple[str, ...]:
        """The stop strings as a list, however they were sent."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class Part(BaseModel):
    """A piece of a message; only text is understood."""

    type: str
    text: str | None = None


class Message(BaseModel):
    """A turn of a conversation; what else it holds is the chat template's business."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: str
    content: str | list[Part] | None = None


class Templated(BaseModel):
    """How the chat template is applied."""

    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, object] | None = None


class Transfer(BaseModel):
    """Of vLLM's transfer parameters the one that needs no connector: the prompt as ids."""

    prompt_token_ids: Ids | None = None


class ChatBody(GenerationBody, Templated):
    """/v1/chat/completions."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    add_special_tokens: bool = False
    kv_transfer_params: Transfer | None = None


class CompletionBody(GenerationBody):
    """/v1/completions."""

    prompt: str | Ids | list[str] | list[Ids]
    logprobs: int | None = None
    add_special_tokens: bool = True


class TokenizeBody(Body, Templated):
    """/tokenize: a prompt, or messages."""

    prompt: str | None = None
    messages: list[Message] | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None


class DetokenizeBody(Body):
    """/detokenize."""

    tokens: Ids
