"""Scores of a draft under way, token by token, in constant memory."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from models.answer import Token


class Running(Protocol):
    """What a scorer would say of the tokens so far."""

    def add(self, token: Token) -> None:
        """One more token."""
        ...

    @property
    def score(self) -> float:
        """In the scorer's own unit; of at least one token."""
        ...


class RunningMean:
    """The mean of a number that each token has."""

    def __init__(self, value: Callable[[Token], float]) -> None:
        self._value = value
        self._sum = 0.0
        self._count = 0

    def add(self, token: Token) -> None:
        """One more token."""
        self._sum += self._value(token)
        self._count += 1

    @property
    def score(self) -> float:
        """The mean."""
        return self._sum / self._count


class RunningMin:
    """The log-probability of the least likely token, in nats."""

    def __init__(self) -> None:
        self.score = 0.0

    def add(self, token: Token) -> None:
        """One more token."""
        self.score = min(self.score, token.logprob)


class RunningQuantile:
    """The log-probability that a share of the tokens are at or below (the nearest rank), to within half a percent of
    itself, in nats; log-probabilities between 0 and -1e-6 count as -1e-6.

    Counts in buckets that grow by a constant factor: Masson, Rim and Lee, DDSketch (VLDB 2019). There are at most 1,900
    of them between -1e-6 and -100 nats, what is less counts as -100.
    """

    RELATIVE_ERROR = 0.005
    LEAST, MOST = 1e-6, 100.0

    def __init__(self, share: float) -> None:
        self._share = share
        self._growth = (1 + self.RELATIVE_ERROR) / (1 - self.RELATIVE_ERROR)
        self._buckets: Counter[int] = Counter()
        self._count = 0

    def add(self, token: Token) -> None:
        """One more token."""
        size = min(max(-token.logprob, self.LEAST), self.MOST)
        self._buckets[math.ceil(math.log(size, self._growth))] += 1
        self._count += 1

    @property
    def score(self) -> float:
        """The quantile."""
        left = max(1, math.ceil(self._share * self._count))
        for bucket in sorted(self._buckets, reverse=True):
            left -= self._buckets[bucket]
            if left <= 0:
                return float(-2 * self._growth**bucket / (self._growth + 1))
        return 0.0
