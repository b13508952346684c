"""How sure a drafter was, from the log-probabilities of what it wrote, or what models say of that when they are asked
(router/opinions.py). Pure functions, and what keeps their values while a draft is being written.

A score has its scorer's own unit; `confidence` is the scorer's monotone map of it to [0, 1]. That of the scorers here
is fixed, and no probability of being right: for that, it takes a calibration (router/trust.py).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from models.tokens import Token, Tokens
from router.running import Running, RunningMean, RunningMin, RunningQuantile
from router.text_features import Asked

ScorerName = Literal["mean-logprob", "low-quantile-logprob", "min-logprob", "margin", "entropy"]
AskingName = Literal["p-true", "agreement"]
ConfidenceOf = Literal["uncalibrated", "right", "no-regret"]

LOW_QUANTILE = 0.1
ALTERNATIVES = 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a scorer reads of one choice of a draft: the tokens that tell how sure the drafter was (at least one, where
    it reads any), the answer's text (calls of tools as JSON after it), the question where the scorer reads texts, and
    what models said of the answer where the scorer asks any (`Scorer.opinions`)."""

    tokens: Tokens
    text: str = ""
    opinions: Mapping[str, float] = field(default_factory=dict)
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Scorer:
    """A score of a draft's evidence, its map to [0, 1] and what that is the probability of, and how many alternatives a
    token it reads. `running` scores a draft under way; None where that takes the whole of it. `only_falls` where more
    tokens never make a draft surer; `opinions` are the questions about the draft whose answers it reads,
    `reads_text` whether it reads the texts of question and draft, and `reads_tokens` whether it reads any tokens."""

    name: ScorerName | AskingName | Literal["fitted"]
    score: Callable[[Evidence], float]
    confidence: Callable[[float], float]
    alternatives: int
    running: Callable[[], Running] | None
    only_falls: bool = False
    confidence_of: ConfidenceOf = "uncalibrated"
    opinions: tuple[str, ...] = ()
    reads_tokens: bool = True
    reads_text: bool = False


def mean_logprob(tokens: Tokens) -> float:
    """The mean log-probability of the sampled tokens, in nats; at most 0."""
    return math.fsum(tokens.logprobs) / len(tokens)


def logprob_of(token: Token) -> float:
    """The sampled token's own, in nats."""
    return token.logprob


def low_quantile_logprob(tokens: Tokens) -> float:
    """The log-probability, in nats, that a tenth of the tokens are at or below (the nearest rank)."""
    ordered = sorted(tokens.logprobs)
    return ordered[max(0, math.ceil(LOW_QUANTILE * len(ordered)) - 1)]


def min_logprob(tokens: Tokens) -> float:
    """The log-probability of the least likely token, in nats."""
    return min(tokens.logprobs)


def margin(tokens: Tokens) -> float:
    """The mean lead of a token's likeliest alternative over the second one, in probability; in [0, 1].

    Alternatives come in any order and with the sampled token among them (vLLM puts that one first), so they are
    sorted here. A token without two alternatives counts as its own probability.
    """
    return math.fsum(map(lead, tokens)) / len(tokens)


def lead(token: Token) -> float:
    """One token's lead, in probability."""
    if len(token.alternatives) < 2:
        return math.exp(token.logprob)
    ordered = sorted(token.alternatives)
    return math.exp(ordered[-1]) - math.exp(ordered[-2])


def entropy(tokens: Tokens) -> float:
    """The mean entropy of a token's alternatives, in nats, at least 0; what they leave of the probability counts as
    one more alternative, so it is a lower bound of the true entropy."""
    return math.fsum(map(spread, tokens)) / len(tokens)


def spread(token: Token) -> float:
    """One token's entropy, in nats; of the five likeliest alternatives, however many a client asked for."""
    likeliest = token.alternatives or (token.logprob,)
    if len(likeliest) > ALTERNATIVES:
        likeliest = tuple(sorted(likeliest, reverse=True)[:ALTERNATIVES])
    known = [*map(math.exp, likeliest)]
    left = 1.0 - math.fsum(known)
    parts = [part * logprob for part, logprob in zip(known, likeliest, strict=True) if part > 0.0]
    return -math.fsum([*parts, left * math.log(left)] if left > 0.0 else parts)


def probability(logprob: float) -> float:
    """exp, for a log-probability in nats; the rounding of a server may put it a little above 0."""
    return math.exp(min(0.0, logprob))


def unit(value: float) -> float:
    """The value, kept within [0, 1] against rounding."""
    return min(1.0, max(0.0, value))


def certainty(nats: float) -> float:
    """exp(-entropy): 1 where every token was certain, 1/k where each was one of k alike."""
    return math.exp(-max(0.0, nats))


def of_tokens(
    name: ScorerName,
    score: Callable[[Tokens], float],
    confidence: Callable[[float], float],
    alternatives: int,
    running: Callable[[], Running],
    *,
    only_falls: bool = False,
) -> Scorer:
    """A scorer that reads tokens alone."""
    return Scorer(name, lambda evidence: score(evidence.tokens), confidence, alternatives, running, only_falls)


def of_opinion(name: AskingName) -> Scorer:
    """A scorer that asks one question, whose answer is in [0, 1]: score and confidence are that."""
    return Scorer(name, lambda evidence: evidence.opinions[name], unit, 0, None, opinions=(name,), reads_tokens=False)


SCORERS: dict[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        of_tokens("mean-logprob", mean_logprob, probability, 0, lambda: RunningMean(logprob_of)),
        of_tokens("low-quantile-logprob", low_quantile_logprob, probability, 0, lambda: RunningQuantile(LOW_QUANTILE)),
        of_tokens("min-logprob", min_logprob, probability, 0, RunningMin, only_falls=True),
        of_tokens("margin", margin, unit, ALTERNATIVES, lambda: RunningMean(lead)),
        of_tokens("entropy", entropy, certainty, ALTERNATIVES, lambda: RunningMean(spread)),
    )
}

# The same of what models say when they are asked; a fixed scorer of these reads no tokens.
ASKING_SCORERS: dict[str, Scorer] = {scorer.name: scorer for scorer in map(of_opinion, get_args(AskingName))}


def scorer_of(name: ScorerName | AskingName) -> Scorer:
    """The fixed scorer of that name."""
    return SCORERS.get(name) or ASKING_SCORERS[name]
