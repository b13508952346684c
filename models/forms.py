"""What differs between the two kinds of request that a server completes: a conversation, and a text. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from models.wire import Json, JsonObject

FormName = Literal["chat", "completion"]
Fields = Mapping[str, Json]

LENGTH_LIMITS = ("max_completion_tokens", "max_tokens")
DEFAULT_LENGTH = 16  # of a text completion, by OpenAI's API and vLLM's
CHAT_PATH = "/v1/chat/completions"
COMPLETION_PATH = "/v1/completions"

# Fields that say something about one model, and why a cascade cannot take them.
OF_ONE_MODEL = {
    "echo": "prompt tokens would be judged as if they were the answer's",
    "prompt_logprobs": "they are one model's, and say nothing of the answer",
    "prompt_embeds": "they belong to one model",
    "return_tokens_as_token_ids": "scores read the tokens' texts",
    "logprob_token_ids": "they belong to one tokenizer, and take the place of the likeliest tokens that scores need",
}

OF_ONE_TEXT_MODEL = ("echo", "prompt_logprobs", "prompt_embeds", "logprob_token_ids")
OF_ONE_CHAT_MODEL = ("prompt_logprobs", "logprob_token_ids", "return_tokens_as_token_ids")


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of request, as functions of its fields. `logprobs` is how many likely tokens beside each sampled one the
    client asked for, None where it wants no log-probabilities; `evidence` asks a server for those that we need (with
    its extras, where it knows those of vLLM); `opening` is what a request has in common with those that follow it;
    `of_one_model` names the first field that only a single model can serve, and why; `has_ids` tells whether asking for
    token ids leaves the answer as it is."""

    path: str
    input: str
    choices: Callable[[Fields], int]
    logprobs: Callable[[Fields], int | None]
    length_limit: Callable[[Fields], int | None]
    evidence: Callable[[Fields, int, bool], JsonObject]
    opening: Callable[[Fields], list[str]]
    of_one_model: Callable[[Fields], tuple[str, str] | None]
    has_ids: Callable[[Fields], bool]


def form_of(body: Fields) -> FormName:
    """Which kind a request is: a conversation has messages, and a text completion may not have any."""
    return "chat" if "messages" in body else "completion"


def times(fields: Fields) -> int:
    """How many answers to one prompt are asked for."""
    count = fields.get("n")
    return count if isinstance(count, int) else 1


def chat_logprobs(fields: Fields) -> int | None:
    """`logprobs` is a switch, and `top_logprobs` the number."""
    count = fields.get("top_logprobs")
    if fields.get("logprobs") is not True:
        return None
    return count if isinstance(count, int) else 0


def chat_length_limit(fields: Fields) -> int | None:
    """Under either of its names."""
    limits = (fields.get(name) for name in LENGTH_LIMITS)
    return next((limit for limit in limits if isinstance(limit, int)), None)


def chat_evidence(fields: Fields, alternatives: int, _extras: bool) -> JsonObject:
    """As many alternatives as the scorer or the client reads."""
    return {"logprobs": True, "top_logprobs": max(alternatives, chat_logprobs(fields) or 0)}


def chat_opening(fields: Fields) -> list[str]:
    """All turns up to the user's first word."""
    messages = fields.get("messages")
    told: list[str] = []
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            told.append(f"{message.get('role')}:{texts_of(message.get('content'))}")
            if message.get("role") == "user":
                break
    return told


def chat_of_one_model(fields: Fields) -> tuple[str, str] | None:
    """Log-probabilities in one model's own terms."""
    given = (name for name in OF_ONE_CHAT_MODEL if fields.get(name) not in (None, False))
    return next(((name, OF_ONE_MODEL[name]) for name in given), None)


def prompts(fields: Fields) -> list[Json]:
    """The prompts of a text completion: texts, or lists of token ids."""
    given = fields.get("prompt")
    if isinstance(given, list) and not all(isinstance(token, int) for token in given):
        return given
    return [given]


def text_choices(fields: Fields) -> int:
    """As many for each prompt."""
    return times(fields) * len(prompts(fields))


def text_logprobs(fields: Fields) -> int | None:
    """`logprobs` is the number."""
    count = fields.get("logprobs")
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def text_length_limit(fields: Fields) -> int | None:
    """Where the client says nothing, the API does."""
    limit = fields.get("max_tokens")
    return limit if isinstance(limit, int) else DEFAULT_LENGTH


def text_evidence(fields: Fields, alternatives: int, extras: bool) -> JsonObject:
    """Alternatives are keyed by their texts, where those of equal text are lost; so they are named by their ids, unless
    the client itself reads the texts."""
    asked = text_logprobs(fields)
    wanted: JsonObject = {"logprobs": max(alternatives, asked or 0)}
    by_id = extras and alternatives > 0 and asked is None
    return {**wanted, "return_tokens_as_token_ids": True} if by_id else wanted


def text_opening(fields: Fields) -> list[str]:
    """The first prompt."""
    first = next(iter(prompts(fields)), None)
    return [first if isinstance(first, str) else str(first)]


def text_of_one_model(fields: Fields) -> tuple[str, str] | None:
    """What is about the prompt itself, or in one model's own terms."""
    if not all(isinstance(prompt, str) for prompt in prompts(fields)) and fields.get("prompt") is not None:
        return "prompt", "token ids belong to one tokenizer"
    given = (name for name in OF_ONE_TEXT_MODEL if fields.get(name) is not None and fields.get(name) is not False)
    return next(((name, OF_ONE_MODEL[name]) for name in given), None)


def text_has_ids(fields: Fields) -> bool:
    """vLLM leaves the prompt out of an echo that comes with token ids."""
    return not fields.get("echo")


FORMS: Mapping[FormName, Form] = {
    "chat": Form(
        CHAT_PATH, "messages", times, chat_logprobs, chat_length_limit, chat_evidence, chat_opening,
        of_one_model=chat_of_one_model, has_ids=lambda _fields: True,
    ),
    "completion": Form(
        COMPLETION_PATH, "prompt", text_choices, text_logprobs, text_length_limit, text_evidence, text_opening,
        of_one_model=text_of_one_model, has_ids=text_has_ids,
    ),
}  # fmt: skip


def parts_of(messages: Json) -> list[Json]:
    """The parts of all messages whose content is in parts."""
    contents = (
        [message.get("content") for message in messages if isinstance(message, dict)]
        if isinstance(messages, list)
        else []
    )
    return [part for content in contents if isinstance(content, list) for part in content]


def last_turn(fields: Fields) -> str:
    """The text of a conversation's last turn that is the user's; empty where there is none."""
    messages = fields.get("messages")
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "user":
            return texts_of(message.get("content"))
    return ""


def texts_of(content: Json) -> str:
    """The text of a message's content: itself, or its text parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))
