"""What both kinds of reply are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import orjson

from models.engine.generation import Candidate, Choice, Delta, Token, Verification

Json: TypeAlias = Mapping[str, object]
Spell: TypeAlias = Callable[[Candidate], str]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every chunk of one answer has in common."""

    id: str
    created: int
    model: str
    fingerprint: str

    def around(self, kind: str, choices: Sequence[Json]) -> dict[str, object]:
        """A reply or a chunk of it."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }


class Form(Protocol):
    """How an API words an answer."""

    def openings(self) -> list[Json]:
        """Chunks that precede the first delta."""
        ...

    def chunk(self, delta: Delta) -> Json:
        """One delta of a stream."""
        ...

    def closing(self) -> Json:
        """The chunk that carries the usage."""
        ...

    def whole(self, choices: Sequence[Choice]) -> Json:
        """All at once."""
        ...


def as_text(candidate: Candidate) -> str:
    """A token as log-probabilities usually name it."""
    return candidate.text


def as_token_id(candidate: Candidate) -> str:
    """A token as it is named on request: different tokens can have the same text."""
    return f"token_id:{candidate.token_id}"


def usage(prompt_tokens: int, completion_tokens: int) -> Json:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
        "prompt_tokens_details": None,
    }


def speculation(verifications: Sequence[Verification], most: int) -> Json:
    """vLLM's account of the draft tokens that one sequence verified, at most so many in a step."""
    steps = len(verifications)
    proposed = sum(each.proposed for each in verifications)
    accepted = sum(each.accepted for each in verifications)
    return {
        "mean_acceptance_length": 1 + accepted / steps,
        "draft_acceptance_rate": accepted / proposed,
        "acceptance_histogram": [sum(each.accepted == count for each in verifications) for count in range(most + 1)],
        "num_spec_steps": steps,
        "num_accepted_draft_tokens": accepted,
        "num_draft_tokens": proposed,
        "num_spec_tokens": most,
    }


def token_ids(tokens: Sequence[Token]) -> list[int]:
    """The ids alone."""
    return [token.token_id for token in tokens]


def chosen_first(token: Token) -> list[Candidate]:
    """The chosen token, then the most likely ones, each once: vLLM's order."""
    if token.chosen is None:
        return []
    others = (each for each in token.top if each.token_id != token.token_id)
    return [token.chosen, *others]


def sse(what: Json) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(what) + b"\n\n"
