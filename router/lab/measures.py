"""How good a confidence is, on questions with known outcomes: curves over its thresholds, and what they come to.

Everything is a sum over groups of questions with one confidence, so that ties are treated alike in whatever order the
questions come, and every measure takes `weights` (n,): how often each question counts (see resampling.py). Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

BINS = 15


class Undefined(ValueError):
    """A measure that these questions do not have: there is no gap to recover, or all of them are of one kind."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of n questions, one row each: whether the draft and the final tier's answer are right, and what a
    request costs, in any one unit: `draft_cost` where its draft is accepted, with that of scoring it, and `final_cost`
    more where it is escalated (less, where escalating spares the draft)."""

    draft_right: Bools
    final_right: Bools
    draft_cost: Floats
    final_cost: Floats

    def __post_init__(self) -> None:
        """Raises ValueError where the rows are none or not as many, or a request would cost less than nothing."""
        rows = {len(self.draft_right), len(self.final_right), len(self.draft_cost), len(self.final_cost)}
        if len(rows) != 1 or rows == {0}:
            raise ValueError("as many rows in each column are wanted, and at least one")
        costs = np.concatenate([self.draft_cost, self.draft_cost + self.final_cost])
        if not np.isfinite(costs).all() or costs.min() < 0:
            raise ValueError("a cost is a finite number, at least 0")

    def __len__(self) -> int:
        return len(self.draft_right)

    def part(self, rows: Bools) -> "Outcomes":
        """Those of some of the questions, chosen by a mask (n,)."""
        return Outcomes(self.draft_right[rows], self.final_right[rows], self.draft_cost[rows], self.final_cost[rows])

    @property
    def gain(self) -> Bools:
        """(n,): where escalating helps, since the draft is wrong and the final tier right."""
        return self.final_right & ~self.draft_right


@dataclass(frozen=True, slots=True)
class Ranking:
    """The distinct values (g,) of a confidence, rising, and the `group` (n,) of each question: its value's place."""

    values: Floats
    group: Indices

    def sums(self, rows: ArrayLike, weights: Floats | None = None) -> Floats:
        """(g,): a column (n,) summed over each group."""
        column = np.asarray(rows, dtype=np.float64)
        if weights is not None:
            column = column * weights
        return np.bincount(self.group, weights=column, minlength=len(self.values)).astype(np.float64)


def ranking_of(confidence: ArrayLike) -> Ranking:
    """Of a confidence (n,), in any unit. Raises ValueError where there is none, or one that is no finite number."""
    column = np.asarray(confidence, dtype=np.float64)
    if column.ndim != 1 or not column.size or not np.isfinite(column).all():
        raise ValueError("a confidence is one finite number for each question, and at least one of them")
    values, group = np.unique(column, return_inverse=True)
    return Ranking(values, group)


@dataclass(frozen=True, slots=True)
class Curve:
    """A policy at each of its g + 1 thresholds, from the one that accepts every draft to infinity, which accepts none:
    the shares of questions that are escalated, answered right and answered with regret, in [0, 1], and the mean cost.

    Between two neighbours every mixture can be had, by escalating their difference with some probability.
    """

    thresholds: Floats
    escalated: Floats
    quality: Floats
    regret: Floats
    cost: Floats


def curve_of(ranking: Ranking, outcomes: Outcomes, weights: Floats | None = None) -> Curve:
    """Accept iff the confidence is at least the threshold."""
    total = float(len(outcomes) if weights is None else weights.sum())
    draft, final = outcomes.draft_right.astype(np.float64), outcomes.final_right.astype(np.float64)

    def along(start: Floats, change: Floats) -> Floats:
        """The mean of a column whose rows change as they are escalated."""
        first = float((start if weights is None else start * weights).sum())
        means: Floats = (first + reached(ranking.sums(change, weights))) / total
        return means

    nothing, gain = np.zeros(len(outcomes)), outcomes.gain.astype(np.float64)
    return Curve(
        thresholds=np.append(ranking.values, np.inf),
        escalated=along(nothing, nothing + 1.0),
        quality=along(draft, final - draft),
        regret=along(gain, -gain),
        cost=along(outcomes.draft_cost, outcomes.final_cost),
    )


def recovered(curve: Curve) -> Floats:
    """(g + 1,): the share of the gap between the drafter's quality and the final tier's that each threshold recovers; 0
    where none is escalated, 1 where all are, above 1 where drafts that the final tier gets wrong are kept. Raises
    Undefined where the final tier is no better (Ong et al., RouteLLM, 2024: performance gap recovered)."""
    gap = curve.quality[-1] - curve.quality[0]
    if gap <= 0:
        raise Undefined("the final tier is no better than the drafter on these questions")
    shares: Floats = (curve.quality - curve.quality[0]) / gap
    return shares


def apgr(curve: Curve) -> float:
    """The average performance gap recovered: the area under `recovered` over the share of questions escalated, by the
    trapezoid rule over all thresholds; 0.5 on average for escalating at random, at most 1 unless the final tier gets
    worse what the drafter gets right. Raises Undefined (Ong et al., RouteLLM, 2024, who take ten shares instead of
    all)."""
    return float(np.trapezoid(recovered(curve), curve.escalated))


def cpt(curve: Curve, share: float) -> float:
    """The call-performance threshold: the smallest share of questions to escalate, in [0, 1], that recovers this share
    of the gap, 0 < share <= 1, between thresholds by a straight line. Raises Undefined (Ong et al., RouteLLM, 2024)."""
    if not 0 < share <= 1:
        raise ValueError("a share of the gap is above 0 and at most 1")
    shares = recovered(curve)
    place = int(np.argmax(shares >= share - 1e-12))
    low, high = shares[place - 1], shares[place]
    left, right = curve.escalated[place - 1], curve.escalated[place]
    return float(left + (right - left) * min(1.0, (share - low) / (high - low)))


def auroc(ranking: Ranking, positive: Bools, weights: Floats | None = None) -> float:
    """The probability that a positive (n,) ranks above one that is not, ties counting half, in [0, 1]. Raises Undefined
    where all are of one kind (Mann and Whitney, 1947)."""
    positives, negatives = ranking.sums(positive, weights), ranking.sums(~positive, weights)
    pairs = positives.sum() * negatives.sum()
    if pairs <= 0:
        raise Undefined("all questions are of one kind")
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / pairs)


def auroc_for_gain(ranking: Ranking, outcomes: Outcomes, weights: Floats | None = None) -> float:
    """The probability that a question on which escalating helps has less confidence than one on which it does not, ties
    counting half. Raises Undefined."""
    return auroc(ranking, ~outcomes.gain, weights)


def brier(ranking: Ranking, happened: Bools, weights: Floats | None = None) -> float:
    """The mean squared distance of a probability from what `happened` (n,), in [0, 1] (Brier, 1950)."""
    counts, hits = ranking.sums(np.ones(len(happened)), weights), ranking.sums(happened, weights)
    return float((counts * ranking.values**2 - 2 * hits * ranking.values + hits).sum() / counts.sum())


@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins (b,) of equal mass along a probability: its mean in each, and how often it happened there; in [0, 1]."""

    said: Floats
    happened: Floats


def reliability_of(
    ranking: Ranking, happened: Bools, weights: Floats | None = None, *, bins: int = BINS
) -> Reliability:
    """The questions in order of their probability, cut into this many bins of exactly equal mass. Questions with one
    probability count as the mean of them all, and one on an edge counts in both bins, in part; so without ties, and
    with a number of questions that `bins` divides, these are the usual equal-mass bins (Nguyen and O'Connor, 2015)."""
    if bins < 1:
        raise ValueError("at least one bin is wanted")
    counts = ranking.sums(np.ones(len(happened)), weights)
    edges = np.linspace(0.0, 1.0, bins + 1)
    mass = reached(counts / counts.sum())

    def means(rows: Floats) -> Floats:
        """The mean of a column in each bin."""
        return np.clip(np.diff(np.interp(edges, mass, reached(rows / counts.sum()))) * bins, 0.0, 1.0)

    return Reliability(means(counts * ranking.values), means(ranking.sums(happened, weights)))


def reached(shares: Floats) -> Floats:
    """(g + 1,): the running sum, from 0."""
    return np.concatenate([[0.0], np.cumsum(shares)])


def ece(reliability: Reliability) -> float:
    """The expected calibration error over bins of equal mass: the mean distance between what was said and what
    happened, in [0, 1] (Naeini, Cooper and Hauskrecht, AAAI 2015, with equal-mass bins)."""
    return float(np.abs(reliability.said - reliability.happened).mean())


@dataclass(frozen=True, slots=True)
class Point:
    """A policy at one threshold: shares in [0, 1], and the mean cost of a request."""

    threshold: float
    escalated: float
    quality: float
    regret: float
    cost: float


def point_at(curve: Curve, place: int) -> Point:
    """The curve's threshold at this place."""
    columns: Sequence[Floats] = (curve.thresholds, curve.escalated, curve.quality, curve.regret, curve.cost)
    return Point(*(float(column[place]) for column in columns))


def point_of(curve: Curve, threshold: float) -> Point:
    """What the policy does at this threshold."""
    return point_at(curve, int(np.searchsorted(curve.thresholds, threshold, side="left")))


def cheapest(curve: Curve, quality: float, *, least: float = -np.inf) -> Point:
    """The point with the fewest escalations that has this quality, at a threshold of `least` or above; Undefined where
    none has it."""
    good = np.flatnonzero((curve.quality >= quality - 1e-12) & (curve.thresholds >= least))
    if not good.size:
        raise Undefined("no threshold has this quality")
    return point_at(curve, int(good[0]))
