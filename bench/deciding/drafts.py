"""Drafts as vLLM sends them: ordinary ones, and those whose texts are the worst for the checks."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from models.wire import JsonObject

ALTERNATIVES = 5
CHARACTERS = 4  # of a token of a text that is cut into such
LETTERS = "etaoinshrdlu"
LOOKED_AT = 184  # of an end that would be twelve times the same, the characters that the search looks for
QUESTION: JsonObject = {"model": "auto", "messages": [{"role": "user", "content": "why is the sky blue?"}]}
JSON_WANTED: JsonObject = {**QUESTION, "response_format": {"type": "json_object"}}


@dataclass(frozen=True, slots=True)
class Text:
    """A kind of text, by its tokens; how its draft finished, and what was asked."""

    tokens: Callable[[int], Sequence[str]]
    finish_reason: str = "stop"
    fields: Mapping[str, object] | None = None


def words(count: int) -> list[str]:
    """Ordinary text: a word a token, drawn anew each time, the same in each run."""
    drawn = random.Random(count)
    return [" " + "".join(drawn.choices(LETTERS, k=drawn.randint(1, 7))) for _ in range(count)]


def cut_up(text: str, count: int) -> list[str]:
    """The end of a text, in so many tokens."""
    end = text[-CHARACTERS * count :]
    return [end[place : place + CHARACTERS] for place in range(0, len(end), CHARACTERS)]


def repeated(piece: str, count: int, end: str = "") -> list[str]:
    """One piece again and again, then an end."""
    whole = CHARACTERS * count
    return cut_up(piece * (whole // len(piece) + 1) + end, count)


def json_list(count: int) -> list[str]:
    """JSON, half of whose tokens are numbers."""
    numbers = [part for number in range((count - 4) // 2) for part in (", ", str(number % 1000))]
    return ['{"a"', ": [", *numbers[1:], "]", "}"]


ORDINARY = Text(words)
WORST: Mapping[str, Text] = {
    "one phrase again and again, cut": Text(lambda count: repeated("and so on, ", count), "length"),
    "one phrase again and again": Text(lambda count: repeated("and so on, ", count)),
    "a loop of 333 characters, eleven times": Text(lambda count: cut_up("".join(words(4000)) + 11 * long(), count)),
    "a loop that the last characters break": Text(lambda count: repeated("and so on, ", count, "the end.")),
    "an end that nearly stands everywhere": Text(lambda count: repeated("a", count, "b" + "a" * (LOOKED_AT - 2))),
    "runs of one letter, each long enough to be looked at": Text(
        lambda count: repeated("".join("a" * 199 + mark for mark in "bcdefghijklmnopqrstu"), count, "a" * 199)
    ),
    "punctuation alone": Text(lambda count: cut_up("".join(random.Random(count).choices("!?.,-*# ", k=20_000)), count)),
    "JSON that was asked for": Text(json_list, fields=JSON_WANTED),
}


def long() -> str:
    """A piece of 333 characters."""
    return "".join(words(100))[:333]


def reply(text: Text, count: int, alternatives: int) -> bytes:
    """A whole reply of so many tokens, with so many likely ones beside each."""
    drawn = random.Random(count + 1)
    tokens = text.tokens(count)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(tokens), "refusal": None, "tool_calls": []},
        "logprobs": {"content": [token_of(token, drawn, alternatives) for token in tokens]},
        "finish_reason": text.finish_reason,
        "stop_reason": None,
    }
    usage = {"prompt_tokens": 16, "completion_tokens": count, "total_tokens": 16 + count}
    body = {"id": "chatcmpl-0", "object": "chat.completion", "created": 1, "model": "small", "choices": [choice]}
    return orjson.dumps({**body, "usage": usage})


def token_of(token: str, drawn: random.Random, alternatives: int) -> dict[str, object]:
    """One token, first among its alternatives."""
    logprob = -drawn.expovariate(4)
    beside = [named(token, logprob), *(named(" other", logprob - drawn.expovariate(0.5)) for _ in range(alternatives))]
    return {**named(token, logprob), "top_logprobs": beside[:alternatives]}


def named(token: str, logprob: float) -> dict[str, object]:
    """A token with its log-probability."""
    return {"token": token, "logprob": logprob, "bytes": [*token.encode()]}
