"""The question whether an answer is right, as a request to a model, and what its reply says. Pure.

P(True), the probability that a model gives to its answer being right when it is asked: Kadavath et al., "Language
Models (Mostly) Know What They Know" (2022), arXiv:2207.05221.
"""

import math
import re
from collections.abc import Mapping, Sequence

from models.forms import Fields, form_of, prompts, texts_of, times
from models.wire import Json, JsonObject, WireLogprobs, WireReply

RIGHT, WRONG = "A", "B"
QUESTION = "Is the answer above correct? Answer with one letter and nothing else.\n(A) True\n(B) False"
TEXT_QUESTION = "\n\nIs the text above a correct continuation?\n(A) True\n(B) False\nIt is: ("
LEAST_SAID = 0.5  # what the two letters must have of the probability, where nothing forces one of them
MOST_ALTERNATIVES = 20
CHOICE_ALTERNATIVES = 5

# What a server renders the conversation from, or finds it in its cache by: with these the question is read after it.
RENDERED_FROM = {
    "chat": (
        "messages", "tools", "documents", "chat_template", "chat_template_kwargs", "mm_processor_kwargs",
        "media_io_kwargs", "cache_salt", "priority",
    ),
    "completion": ("cache_salt", "priority"),
}  # fmt: skip
WITHOUT_THINKING: Mapping[str, Json] = {"enable_thinking": False, "thinking": False}

# Words that a tokenizer may take for more than words, as far as their makers have them in common.
CONTROL = re.compile(
    r"""<(?=[|｜][^<>]{1,64}>)
    |<(?=[^<>\s]{0,64}[|｜_:][^<>\s]{0,64}>)
    |<(?=/?(?:s|bos|eos|pad|unk|mask|sep|cls|sop|eop|think|image|audio|video)>)
    |\[(?=/?(?:[A-Z_]{3,64}|gMASK)\])""",
    re.VERBOSE,
)


def p_true_request(request: Fields, draft_text: str, *, choice: int = 0, extras: bool = True) -> JsonObject:
    """The question about a draft as the fields of a request, but for the model: of one token, at the end of what was
    asked and answered, so that a server that has these in its prefix cache reads the question alone.

    `request` has the fields of a conversation, or of a text completion, of whose answers this is the one at the place
    `choice`. With `extras` the server is one of vLLM that can be held to a choice; else it may answer anything.
    """
    form = form_of(request)
    kept = {name: request[name] for name in RENDERED_FROM[form] if request.get(name) is not None}
    asked = {**kept, "max_tokens": 1, "temperature": 0}
    if extras:
        asked["structured_outputs"] = {"choice": [RIGHT, WRONG]}
    alternatives = CHOICE_ALTERNATIVES if extras else MOST_ALTERNATIVES
    if form == "completion":
        return {**asked, "prompt": f"{asked_text(request, choice)}{neutral(draft_text)}{TEXT_QUESTION}",
                "logprobs": alternatives}  # fmt: skip
    if request.get("tools"):
        asked["tool_choice"] = "none"
    if extras:
        asked["chat_template_kwargs"] = {**object_of(request.get("chat_template_kwargs")), **WITHOUT_THINKING}
    asked["messages"] = [*answered(request, neutral(draft_text)), {"role": "user", "content": QUESTION}]
    return {**asked, "logprobs": True, "top_logprobs": alternatives}


def answered(request: Fields, text: str) -> list[Json]:
    """The conversation with an answer; one that goes on with the last message is that message's end."""
    given = request.get("messages")
    messages = given if isinstance(given, list) else []
    last = object_of(messages[-1]) if messages else {}
    if request.get("continue_final_message") and last.get("role") == "assistant":
        return [*messages[:-1], {"role": "assistant", "content": texts_of(last.get("content")) + text}]
    return [*messages, {"role": "assistant", "content": text}]


def asked_text(request: Fields, choice: int) -> str:
    """The prompt that the answer at this place goes on with."""
    given = prompts(request)
    prompt = given[min(choice // max(1, times(request)), len(given) - 1)] if given else None
    return prompt if isinstance(prompt, str) else ""


def neutral(text: str) -> str:
    """The text with a space inside whatever looks like a control token: a server would cut `<|im_end|>` into the token
    that ends a turn, whoever wrote it, and a draft could then go on in another's name."""
    return CONTROL.sub(lambda found: f"{found[0]} ", text)


def p_true_of(reply: WireReply) -> float | None:
    """P(right), in [0, 1], of what may be said of the answer: the share of the first letter in the probability of both.
    None where the reply does not tell: no log-probabilities, or it is likelier to say anything else."""
    likeliest = dict[str, float]()
    for text, logprob in first_tokens(reply):
        likeliest[text] = max(likeliest.get(text, -math.inf), logprob)
    right, wrong = (
        math.fsum(math.exp(min(0.0, logprob)) for text, logprob in likeliest.items() if text.strip() == letter)
        for letter in (RIGHT, WRONG)
    )
    return right / (right + wrong) if right + wrong >= LEAST_SAID else None


def first_tokens(reply: WireReply) -> Sequence[tuple[str, float]]:
    """What the reply's first token is and might have been, in any order and maybe twice, with log-probabilities in
    nats."""
    choices = reply.get("choices") or []
    logprobs: WireLogprobs = (choices[0].get("logprobs") if choices else None) or {}
    sampled = next(iter(logprobs.get("content") or ()), None)
    if sampled is None:
        return [*(next(iter(logprobs.get("top_logprobs") or ()), None) or {}).items()]
    others = ((other.get("token"), other["logprob"]) for other in sampled.get("top_logprobs") or ())
    named = [(text, float(logprob)) for text, logprob in others if isinstance(text, str)]
    return [(sampled["token"], float(sampled["logprob"])), *named]


def object_of(value: Json) -> JsonObject:
    """The value, if it is an object; else an empty one."""
    return value if isinstance(value, dict) else {}
