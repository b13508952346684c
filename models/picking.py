"""Which of several servers a request goes to. Pure: servers are seen through what is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

from models.abilities import SpeculationKind

Server = TypeVar("Server")

MUCH_BUSIER = 2
MUCH_BUSIER_SHARE = 0.25
PRIOR_ACCEPTANCE = 0.6
PRIOR_AT_ONCE = 5


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
    return second if is_much_busier(first, second) else first


def is_much_busier(one: Candidate[Server], other: Candidate[Server]) -> bool:
    """Whether one server has so many more requests that its cache is not worth the wait, or alone has no room."""
    if one.full != other.full:
        return one.full
    return one.load - other.load > max(MUCH_BUSIER, MUCH_BUSIER_SHARE * other.load)


def draw(name: str, conversation: bytes) -> bytes:
    """How strongly a server draws a conversation."""
    return blake2b(conversation, key=name.encode()[:64], digest_size=8).digest()


def useful(candidates: Sequence[Candidate[Server]], *, drafted: bool) -> Sequence[Candidate[Server]]:
    """Without the servers whose speculation is idle for a request, `drafted` or not, unless the others are much busier:
    who verifies drafts is of use to a request that brings one, who drafts by itself to one that does not."""
    idle = "drafter" if drafted else "handover"
    fit = [one for one in candidates if one.speculation != idle]
    rest = [one for one in candidates if one.speculation == idle]
    if not fit or not rest:
        return candidates
    return candidates if is_much_busier(least_busy(fit), least_busy(rest)) else fit


def worth_it(candidates: Sequence[Candidate[Server]], saturation_tokens: int) -> Sequence[Candidate[Server]]:
    """Where some servers speculate and some do not: those that write an answer sooner at their present load."""
    speculating = [one for one in candidates if one.speculation in ("drafter", "handover")]
    plain = [one for one in candidates if one.speculation not in ("drafter", "handover")]
    if not speculating or not plain:
        return candidates
    least = least_busy(speculating)
    at_once = least.at_once or PRIOR_AT_ONCE
    tokens = least.tokens_a_step or expected_tokens_a_step(PRIOR_ACCEPTANCE, at_once)
    pays = speculation_pays(tokens, at_once=at_once, batch=least.load + 1, saturation_tokens=saturation_tokens)
    return speculating if pays and not is_much_busier(least, least_busy(plain)) else plain


def least_busy(candidates: Sequence[Candidate[Server]]) -> Candidate[Server]:
    """The one with the fewest requests; those without room last."""
    return min(candidates, key=lambda one: (one.full, one.load))


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
