"""Scores of a draft under way, token by token, in constant memory."""

import math
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from models.tokens import Token


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


class RunningSum:
    """The log-probability of all that was said, in nats."""

    def __init__(self) -> None:
        self.score = 0.0

    def add(self, token: Token) -> None:
        """One more token."""
        self.score += token.logprob


class RunningLowestWindow:
    """The lowest mean log-probability of so many tokens in a row, in nats; of all of them where they are fewer."""

    def __init__(self, tokens: int) -> None:
        self._window: deque[float] = deque(maxlen=tokens)
        self._sum = 0.0
        self._lowest = math.inf

    def add(self, token: Token) -> None:
        """One more token."""
        if len(self._window) == self._window.maxlen:
            self._sum -= self._window[0]
        self._window.append(token.logprob)
        self._sum += token.logprob
        if len(self._window) == self._window.maxlen:
            self._lowest = min(self._lowest, self._sum / len(self._window))

    @property
    def score(self) -> float:
        """The lowest window's mean."""
        return self._lowest if self._lowest < math.inf else self._sum / len(self._window)


class RunningLength:
    """ln(1 + how many tokens)."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, _token: Token) -> None:
        """One more token."""
        self._count += 1

    @property
    def score(self) -> float:
        """The logarithm."""
        return math.log1p(self._count)


class RunningMapped:
    """Another running score, through a function."""

    def __init__(self, running: Running, through: Callable[[float], float]) -> None:
        self._running = running
        self._through = through

    def add(self, token: Token) -> None:
        """One more token."""
        self._running.add(token)

    @property
    def score(self) -> float:
        """The function's value."""
        return self._through(self._running.score)


class RunningEnd:
    """Another running score, of the answer's last sentence or line alone: where a written-out answer says its result.

    A sentence ends with a full stop, question or exclamation mark that white space follows; white space alone begins
    none, and neither does a token without text, such as the end of the answer.
    """

    def __init__(self, begun: Callable[[], Running]) -> None:
        self._begun = begun
        self._running = begun()
        self._ended = False
        self._after_space = False

    def add(self, token: Token) -> None:
        """One more token."""
        text = token.text
        begins_with_space = text[:1].isspace()
        if text.strip() and self._ended and (begins_with_space or self._after_space):
            self._running = self._begun()
            self._ended = False
        self._running.add(token)
        if text.strip():
            self._ended = text.rstrip().endswith((".", "?", "!"))
        self._ended = self._ended or "\n" in text
        self._after_space = text[-1:].isspace() or (not text.strip() and self._after_space)

    @property
    def score(self) -> float:
        """That of the last sentence so far."""
        return self._running.score
