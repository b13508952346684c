"""What a fitted scorer reads of a draft, by name. Token features are folds, the same for a draft under way as for a
whole one; pure."""

import math
from collections.abc import Callable, Mapping, Sequence

from models.answer import Token
from router.running import (
    Running,
    RunningEnd,
    RunningLength,
    RunningLowestWindow,
    RunningMapped,
    RunningMean,
    RunningMin,
    RunningQuantile,
    RunningSum,
)
from router.scorers import LOW_QUANTILE, Evidence, lead, logprob_of, spread

WINDOW_TOKENS = 8


def exponential(running: Callable[[], Running]) -> Callable[[], Running]:
    """A log-probability's probability."""
    return lambda: RunningMapped(running(), math.exp)


def mean_logprob() -> Running:
    """In nats."""
    return RunningMean(logprob_of)


def mean_margin() -> Running:
    """In probability."""
    return RunningMean(lead)


def low_quantile() -> Running:
    """In nats."""
    return RunningQuantile(LOW_QUANTILE)


TOKEN_FEATURES: Mapping[str, Callable[[], Running]] = {
    "mean-logprob": mean_logprob,
    "mean-probability": exponential(mean_logprob),
    "low-quantile-logprob": low_quantile,
    "min-logprob": RunningMin,
    "min-probability": exponential(RunningMin),
    "sum-logprob": RunningSum,
    "margin": mean_margin,
    "entropy": lambda: RunningMean(spread),
    "lowest-window-logprob": lambda: RunningLowestWindow(WINDOW_TOKENS),
    "log-tokens": RunningLength,
    "end-mean-logprob": lambda: RunningEnd(mean_logprob),
    "end-min-logprob": lambda: RunningEnd(RunningMin),
    "end-min-probability": lambda: RunningEnd(exponential(RunningMin)),
    "end-margin": lambda: RunningEnd(mean_margin),
}


def features_of(evidence: Evidence, names: Sequence[str]) -> Mapping[str, float]:
    """Their values, by name. Raises KeyError where there is no such feature, or nobody was asked for it."""
    return {name: feature(name, evidence) for name in names}


def feature(name: str, evidence: Evidence) -> float:
    """One feature's value. Raises KeyError."""
    if name not in TOKEN_FEATURES:
        return evidence.opinions[name]
    return folded(TOKEN_FEATURES[name](), evidence.tokens)


def folded(running: Running, tokens: Sequence[Token]) -> float:
    """A running score of all the tokens."""
    for token in tokens:
        running.add(token)
    return running.score
