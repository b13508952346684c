"""What a fitted scorer reads of a draft, by name. Token features are folds, the same for a draft under way as for a
whole one; those of its text are of whole drafts alone. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence

from models.tokens import Token
from router.graders import Grader
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
from router.text_features import LONGEST, TEXT_FEATURES, Asked, features_beside

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


def features_of(evidence: Evidence, names: Sequence[str], reader: Grader | None = None) -> Mapping[str, float]:
    """Their values, by name; `reader` finds the final answer in a draft, for the features that are of it. Raises
    KeyError where there is no such feature, or nobody was asked for it."""
    read = read_in(evidence, reader) if any(name in TEXT_FEATURES for name in names) else {}
    rows = [*evidence.tokens]
    return {name: read[name] if name in read else feature(name, evidence, rows) for name in names}


def feature(name: str, evidence: Evidence, rows: Sequence[Token]) -> float:
    """One feature's value, but for those of the text, of evidence with these tokens. Raises KeyError."""
    return folded(TOKEN_FEATURES[name](), rows) if name in TOKEN_FEATURES else evidence.opinions[name]


def read_in(evidence: Evidence, reader: Grader | None) -> Mapping[str, float]:
    """All features of the text."""
    found = None if reader is None else reader.answer_of(evidence.text[-LONGEST:])
    return features_beside(evidence.asked or Asked(""), evidence.text, None if found is None else str(found))


def folded(running: Running, tokens: Sequence[Token]) -> float:
    """A running score of all the tokens."""
    for token in tokens:
        running.add(token)
    return running.score
