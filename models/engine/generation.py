"""What is asked of the model and what it says. Knows neither HTTP nor torch."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Finish: TypeAlias = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; temperature 0 is greedy, `top_k` 0 and `top_p` 1 leave all in."""

    temperature: float
    top_k: int
    top_p: float
    seed: int | None


@dataclass(frozen=True, slots=True)
class Ending:
    """When to stop. The text of what stopped it is shown only if `shown`."""

    max_tokens: int
    eos: frozenset[int]
    token_ids: frozenset[int]
    strings: tuple[str, ...]
    shown: bool


@dataclass(frozen=True, slots=True)
class Generation:
    """One sequence to write. `top_logprobs` None asks for no log-probabilities at all; `draft` may be a good guess."""

    prompt: tuple[int, ...]
    sampling: Sampling
    ending: Ending
    top_logprobs: int | None
    skip_special_tokens: bool
    draft: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that was or could have been next, with its raw log-probability."""

    token_id: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Token:
    """One written token. `offset` counts the characters of all token texts before it."""

    token_id: int
    chosen: Candidate | None
    top: tuple[Candidate, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Verification:
    """A step that verified draft tokens, and how many of these became the row's own."""

    proposed: int
    accepted: int


@dataclass(frozen=True, slots=True)
class Delta:
    """What one step wrote of row `index`. `text` lags behind `tokens` while more of these could change it."""

    index: int
    is_first: bool
    text: str
    tokens: tuple[Token, ...]
    finish: Finish | None
    stop_reason: int | str | None
    verification: Verification | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A whole answer."""

    index: int
    text: str
    tokens: tuple[Token, ...]
    finish: Finish | None
    stop_reason: int | str | None


def fold(index: int, deltas: list[Delta]) -> Choice:
    """The whole answer that a row's deltas make up."""
    last = deltas[-1]
    return Choice(
        index=index,
        text="".join(delta.text for delta in deltas),
        tokens=tuple(token for delta in deltas for token in delta.tokens),
        finish=last.finish,
        stop_reason=last.stop_reason,
    )
