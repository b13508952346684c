"""What a well-formed request may not ask for: vLLM's limits, and what this engine lacks."""

from collections.abc import Mapping
from typing import Final

from models.engine.bodies import Body, ChatBody, CompletionBody, GenerationBody
from models.engine.card import Card
from models.engine.errors import Refused, UnknownModel
from models.engine.sampler import is_greedy

_MAX_LOGPROBS: Final = 20
_MAX_STOP_STRINGS: Final = 4
_MAX_CHOICES: Final = 128

# Fields that vLLM has and this engine has not, with the values that change nothing.
_LACKING: Final[Mapping[str, tuple[object, ...]]] = {
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "structured_outputs": (None,),
    "logit_bias": (None, {}),
    "min_p": (None, 0),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "min_tokens": (None, 0),
    "prompt_logprobs": (None,),
    "logprob_token_ids": (None,),
    "allowed_token_ids": (None,),
    "bad_words": (None, []),
    "use_beam_search": (None, False),
    "truncate_prompt_tokens": (None,),
    "prompt_embeds": (None,),
    "chat_template": (None,),
    "documents": (None, []),
    "echo": (None, False),
    "suffix": (None, ""),
}


def check_model(body: Body, card: Card) -> None:
    """A model that is named must be the served one."""
    if body.model not in (None, "", card.name):
        raise UnknownModel(f"the model {body.model!r} does not exist", param="model")


def check_supported(body: Body) -> None:
    """Nothing may be asked for that would silently be left out."""
    for name, value in (body.model_extra or {}).items():
        if name in _LACKING and value not in _LACKING[name]:
            raise Refused(f"{name!r} is not supported by this engine", param=name)


def check_values(body: GenerationBody) -> None:
    """Ranges, as vLLM has them."""
    strings = body.stop_strings()
    choices = 1 if body.n is None else body.n
    _demand(1 <= choices <= _MAX_CHOICES, "n", f"must be from 1 to {_MAX_CHOICES}")
    _demand((body.temperature or 0) >= 0, "temperature", "must be non-negative")
    _demand(body.top_p is None or 0 < body.top_p <= 1, "top_p", "must be in (0, 1]")
    _demand((body.top_k or 0) >= -1, "top_k", "must be 0 or -1 (all), or at least 1")
    _demand(len(strings) <= _MAX_STOP_STRINGS, "stop", f"takes at most {_MAX_STOP_STRINGS} strings")
    _demand("" not in strings, "stop", "cannot contain an empty string")
    _demand(body.stream_options is None or bool(body.stream), "stream_options", "needs 'stream'")


def check_choices(choices: int, temperature: float) -> None:
    """Greedy answers are all the same."""
    _demand(choices == 1 or not is_greedy(temperature), "n", "must be 1 when using greedy sampling")


def check_chat(body: ChatBody) -> None:
    """What only a chat request can get wrong."""
    asked = body.top_logprobs
    _demand(asked is None or bool(body.logprobs), "top_logprobs", "needs 'logprobs' to be true")
    _demand(0 <= (asked or 0) <= _MAX_LOGPROBS, "top_logprobs", f"must be 0 to {_MAX_LOGPROBS}")


def check_completion(body: CompletionBody) -> None:
    """What only a completion request can get wrong."""
    asked = body.logprobs or 0
    prompts = 1 if isinstance(body.prompt, str) else sum(not isinstance(each, int) for each in body.prompt)
    _demand(prompts <= _MAX_CHOICES, "prompt", f"takes at most {_MAX_CHOICES} prompts")
    _demand(0 <= asked <= _MAX_LOGPROBS, "logprobs", f"must be from 0 to {_MAX_LOGPROBS}")


def check_budget(max_tokens: int | None, card: Card) -> None:
    """An answer has at least a token and could fit into the context."""
    if max_tokens is None:
        return
    _demand(max_tokens >= 1, "max_tokens", "must be at least 1")
    limit = card.max_model_len
    _demand(max_tokens <= limit, "max_tokens", f"must be at most the context length, {limit}")


def check_prompt(prompt: list[int], card: Card) -> None:
    """A prompt has tokens that the model knows, and leaves room for an answer."""
    _demand(bool(prompt), "prompt", "cannot be empty")
    check_vocabulary(prompt, card, param="prompt")
    if len(prompt) >= card.max_model_len:
        raise Refused(
            f"this model's maximum context length is {card.max_model_len} tokens, "
            f"the prompt has {len(prompt)} and leaves no room for an answer",
            param="input_tokens",
        )


def check_vocabulary(tokens: list[int], card: Card, *, param: str) -> None:
    """Token ids are below the vocabulary's size."""
    strangers = [token for token in tokens if not 0 <= token < card.vocabulary]
    if strangers:
        raise Refused(f"token id {strangers[0]} is out of vocabulary", param=param)


def check_text(text: str, card: Card, longest_token_chars: int) -> None:
    """Refuse a hopeless prompt before the work of tokenising it."""
    limit = card.max_model_len * longest_token_chars
    if len(text) > limit:
        raise Refused(
            f"the prompt has {len(text)} characters, no more than {limit} can fit the context",
            param="input_text",
        )


def _demand(condition: bool, param: str, rule: str) -> None:
    if not condition:
        raise Refused(f"{param} {rule}", param=param)
