"""Which of several servers a request goes to. Pure: servers are seen through what is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

from models.abilities import SpeculationKind

Server = TypeVar("Server")

MUCH_BUSIER = 2
MUCH_BUSIER_SHARE = 0.25
PRIOR_TOKENS_A_STEP = 2.0


@dataclass(frozen=True, slots=True)
class Candidate(Generic[Server]):
    """A server that may be asked, and what counts for or against it: its requests, whether it said a moment ago that
    it has no room, what speculation it does, and the tokens that a step of it was seen to write."""

    server: Server
    name: str
    load: float
    full: bool = False
    speculation: SpeculationKind | None = None
    tokens_a_step: float | None = None
    at_once: int = 0


def pick(candidates: Sequence[Candidate[Server]], conversation: bytes) -> Candidate[Server]:
    """Of the two servers that a conversation is drawn to, the first, unless it is much busier than the second.

    The two are the first by rendezvous hashing (Thaler and Ravishankar, 1998), so a conversation finds the server that
    has its beginning in the cache, from every gateway, and servers that come and go move no other conversation; taking
    the better of two keeps the loads close together (Mitzenmacher, 2001).
    """
    if len(candidates) == 1:
        return candidates[0]
    first, second, *_ = sorted(candidates, key=lambda one: draw(one.name, conversation), reverse=True)
    if first.full != second.full:
        return second if first.full else first
    busier_by = first.load - second.load
    return second if busier_by > max(MUCH_BUSIER, MUCH_BUSIER_SHARE * second.load) else first


def draw(name: str, conversation: bytes) -> bytes:
    """How strongly a server draws a conversation."""
    return blake2b(conversation, key=name.encode()[:64], digest_size=8).digest()


def worth_it(candidates: Sequence[Candidate[Server]], saturation_tokens: int) -> Sequence[Candidate[Server]]:
    """Where some servers speculate and some do not: those that write an answer sooner at their present load."""
    speculating = [one for one in candidates if one.speculation in ("drafter", "handover")]
    plain = [one for one in candidates if one.speculation not in ("drafter", "handover")]
    if not speculating or not plain:
        return candidates
    least = min(speculating, key=lambda one: one.load)
    tokens = least.tokens_a_step or PRIOR_TOKENS_A_STEP
    pays = speculation_pays(tokens, at_once=least.at_once, batch=least.load + 1, saturation_tokens=saturation_tokens)
    return speculating if pays else plain


def expected_tokens_a_step(acceptance: float, at_once: int) -> float:
    """Tokens that a step writes when each of `at_once` draft tokens is accepted with probability `acceptance` (0 to 1).

    (1 - a^(k+1)) / (1 - a): Leviathan, Kalman and Matias, "Fast Inference from Transformers via Speculative Decoding",
    2023, arXiv 2211.17192, equation 1.
    """
    if acceptance >= 1:
        return at_once + 1.0
    return float((1 - acceptance ** (at_once + 1)) / (1 - acceptance))


def speculation_pays(tokens_a_step: float, *, at_once: int, batch: float, saturation_tokens: int) -> bool:
    """Whether steps that write `tokens_a_step` for each of `batch` requests beat plain ones, by the roofline: a step
    takes the same time up to `saturation_tokens` tokens in it, being bound by memory, and grows with them beyond."""

    def time_of(tokens: float) -> float:
        return max(1.0, tokens / saturation_tokens)

    return tokens_a_step * time_of(batch) > time_of(batch * (at_once + 1))
