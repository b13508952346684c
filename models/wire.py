"""The parts of an OpenAI reply or chunk that are read here. What is not named passes through untouched."""

from typing import NotRequired, TypeAlias, TypedDict

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]


class WireAlternative(TypedDict):
    """One of the likeliest tokens at a position; log-probability in nats."""

    token: NotRequired[str]
    logprob: float


class WireToken(TypedDict):
    """The sampled token at a position; `top_logprobs` may hold it too, in any order."""

    token: str
    logprob: float
    top_logprobs: NotRequired[list[WireAlternative]]


class WireLogprobs(TypedDict, total=False):
    """A choice's log-probabilities, one entry a token: in `content`, or, of a text completion, in lists side by side,
    where a prompt's first token has none, and `top_logprobs` are keyed by the tokens' names."""

    content: list[WireToken] | None
    tokens: list[str] | None
    token_logprobs: list[float | None] | None
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int] | None


class WireFunction(TypedDict, total=False):
    """The function of a tool call; the arguments are JSON in a string, in pieces when streamed."""

    name: str | None
    arguments: str | None


class WireToolCall(TypedDict, total=False):
    """A tool call, or a piece of one; `index` says which call a streamed piece belongs to."""

    index: int
    id: str | None
    function: WireFunction


class WireMessage(TypedDict, total=False):
    """What an assistant said: a whole message, or the delta of a chunk."""

    content: str | None
    reasoning: str | None
    reasoning_content: str | None
    refusal: str | None
    tool_calls: list[WireToolCall] | None


class WireChoice(TypedDict, total=False):
    """One of `n` answers: `message` in a whole reply, `delta` in a chunk, `text` in both of a text completion."""

    index: int
    text: str
    message: WireMessage
    delta: WireMessage
    logprobs: WireLogprobs | None
    finish_reason: str | None
    stop_reason: str | int | None
    token_ids: list[int] | None
    prompt_token_ids: list[int] | None


class WireUsage(TypedDict, total=False):
    """Tokens of a call."""

    prompt_tokens: int
    completion_tokens: int | None
    total_tokens: int
    completion_tokens_details: JsonObject | None


class WireSpeculation(TypedDict, total=False):
    """What verifying drafts came to in one answer, as vLLM reports it (`--per-request-spec-decode-metrics`)."""

    num_draft_tokens: int
    num_accepted_draft_tokens: int
    num_spec_steps: int
    num_spec_tokens: int


class WireMetrics(TypedDict, total=False):
    """vLLM's measurements of one answer."""

    speculative_decoding: WireSpeculation | None


class WireReply(TypedDict, total=False):
    """A completion, or one chunk of it; or a server's error in a stream."""

    error: object
    id: str
    object: str
    created: int
    model: str
    choices: list[WireChoice]
    usage: WireUsage | None
    prompt_token_ids: list[int] | None
    metrics: WireMetrics | None
