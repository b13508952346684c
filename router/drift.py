"""Whether the confidences that a drafter's answers have now are spread as they were when its policy was certified.

The population stability index of a window of confidences against the histogram that the artefact keeps. While nothing
has changed it is spread as (1/n + 1/m) times chi-squared with bins - 1 degrees of freedom, for a window of n and a
histogram of m (Yurdakul, "Statistical properties of population stability index", 2018). A window counts as drifted
where the index is both that unlikely (one window in 10,000) and large in itself (0.1, by convention a change to look
into); so, with windows of 1,000 and a histogram of 100 or more, that happens falsely about once in ten
million drafts.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from statistics import NormalDist
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

WINDOW = 1_000
FALSE_ALARM = 1e-4  # per window
LARGE = 0.1
LEAST = 0.5  # counts as so many where a bin is empty
BINS = 10

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Histogram(BaseModel):
    """Counts of confidences by bin: below the first of `edges`, between them, and from the last on; so there is one
    more bin than edges, which rise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edges: Annotated[tuple[Share, ...], Field(min_length=1)]
    counts: tuple[Count, ...]

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError("one more count than edges is wanted")
        if any(high <= low for low, high in pairwise(self.edges)):
            raise ValueError("the edges must rise")
        if not sum(self.counts):
            raise ValueError("a histogram of no confidences says nothing")
        return self

    def of(self, confidences: Iterable[float]) -> tuple[int, ...]:
        """How many of these fall into each bin."""
        counts = [0] * len(self.counts)
        for confidence in confidences:
            counts[bisect_right(self.edges, confidence)] += 1
        return tuple(counts)


class Drift:
    """Compares window after window of confidences with the histogram; what the last whole window came to stands until
    the next."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._counts = [0] * len(histogram.counts)
        self._limit = limit(histogram)
        self.index: float | None = None

    @property
    def is_there(self) -> bool:
        """Whether the last whole window is spread otherwise."""
        return self.index is not None and self.index > self._limit

    def saw(self, confidence: float) -> None:
        """A draft was scored, in [0, 1]."""
        self._counts[bisect_right(self._histogram.edges, confidence)] += 1
        if sum(self._counts) == WINDOW:
            self.index = stability_index(self._histogram.counts, self._counts)
            self._counts = [0] * len(self._counts)


def histogram_of(confidences: Iterable[float], bins: int = BINS) -> Histogram:
    """The histogram that an artefact keeps of at least one confidence in [0, 1]: bins with about as many in each, fewer
    where many are alike. Raises ValueError without one, or where one is no number."""
    ordered = sorted(confidences)
    if not ordered or any(math.isnan(one) for one in ordered):
        raise ValueError("confidences are wanted, and numbers all of them")
    cuts = {ordered[len(ordered) * place // bins] for place in range(1, bins)}
    edges = tuple(sorted(cuts - {ordered[0]})) or (ordered[0],)
    empty = Histogram(edges=edges, counts=(1,) * (len(edges) + 1))
    return Histogram(edges=edges, counts=empty.of(ordered))


def stability_index(expected: Iterable[int], seen: Iterable[int]) -> float:
    """The sum over bins of (q - p) ln(q / p), at least 0, for counts in as many bins; an empty bin counts as half a
    confidence in it."""
    before, now = ([max(LEAST, count) for count in counts] for counts in (expected, seen))
    whole_before, whole_now = math.fsum(before), math.fsum(now)
    shares = [(one / whole_before, other / whole_now) for one, other in zip(before, now, strict=True)]
    return math.fsum((q - p) * math.log(q / p) for p, q in shares)


def limit(histogram: Histogram) -> float:
    """The index above which a window counts as drifted."""
    spread = 1 / sum(histogram.counts) + 1 / WINDOW
    return max(LARGE, spread * chi_squared(len(histogram.counts) - 1, FALSE_ALARM))


def chi_squared(degrees: int, tail: float) -> float:
    """The value that a chi-squared number of so many degrees of freedom, at least 1, is above with probability `tail`
    in (0, 1); for small tails a few percent too large (Wilson and Hilferty, 1931)."""
    spread = 2 / (9 * degrees)
    return degrees * (1 - spread + NormalDist().inv_cdf(1 - tail) * math.sqrt(spread)) ** 3
