"""Chooses the threshold that keeps a promise, on questions that nothing was fitted on. Pure.

Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei, 2021): each threshold of a grid that was fixed before is a
hypothesis, "the expected loss there is above epsilon", tested by the binomial tail; in fixed order, strictest first,
until one is not rejected. A loss is counted over all questions, and an escalated one loses nothing: so the losses never
fall as the threshold does, a strict start costs no power, and a finer grid costs none either.
"""

import math
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.certificate import Certificate, Loss
from router.lab.tails import fewest_questions, least_epsilon, most_losses

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]
Reason = Literal["too few questions", "too many losses", "nothing accepted"]

FINEST_GRID = 1000


class CannotCertify(ValueError):
    """What was given is no certification split, no grid or no promise."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The promise: with probability at least 1 - `delta`, the expected `loss` of a request, by `grader`, is at most
    `epsilon`; for `max_age_days` where no audits watch it. Raises CannotCertify where they are not in (0, 1)."""

    loss: Loss
    grader: str
    epsilon: float
    delta: float
    max_age_days: int = 90

    def __post_init__(self) -> None:
        if not (0 < self.epsilon < 1 and 0 < self.delta < 1):
            raise CannotCertify(f"epsilon and delta are above 0 and below 1, not {self.epsilon} and {self.delta}")


@dataclass(frozen=True, slots=True)
class Split:
    """Which questions certify: the SHA-256 of their ids, how often they have done so, this time included, and the day
    on which they were claimed for it."""

    sha256: str
    use: int = 1
    on: date | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """A policy at each threshold of its grid, strictest first: how many of the `questions` it accepts and loses there.

    `thresholds`: float[m], falling; `accepted`, `losses`: int[m], losses <= accepted <= questions.
    """

    thresholds: Floats
    accepted: Integers
    losses: Integers
    questions: int


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No threshold of the grid keeps the promise. At the strictest one that accepts anything, of `questions` so many
    are `accepted` and lost. `feasible_epsilon` is the least that would have been certified there (1 where nothing is
    accepted); `questions_needed`, about how many would certify that threshold at the same rate of losses; None: no
    number of them."""

    reason: Reason
    wanted: Wanted
    delta: float
    threshold: float
    questions: int
    accepted: int
    losses: int
    feasible_epsilon: float
    questions_needed: int | None

    @property
    def message(self) -> str:
        """Why, and what would be feasible, in a sentence."""
        wanted = f"{self.wanted.loss} <= {self.wanted.epsilon:g} is infeasible at delta {self.delta:.3g}"
        if self.reason == "nothing accepted":
            return f"{wanted}: no threshold accepts one of the {self.questions} questions: the grid was made of others"
        seen = f"the strictest threshold, {self.threshold:.4g}, accepts {self.accepted} of {self.questions} questions"
        more = "more questions do not help: the drafts that the scorer trusts most are wrong too often"
        if self.questions_needed is not None:
            more = f"about {self.questions_needed} questions would do at this rate of losses"
        least = math.ceil(self.feasible_epsilon * 10_000) / 10_000
        return f"{wanted}, {self.reason}: {seen} and loses {self.losses}; feasible there is {least:g}; {more}"


def regrets(draft_right: ArrayLike, final_right: ArrayLike) -> Bools:
    """Which drafts, accepted, are regretted: wrong where the final tier is right. bool[n] both. Raises CannotCertify
    where one is not graded."""
    draft, final = checked_outcomes(draft_right), checked_outcomes(final_right)
    if draft.shape != final.shape:
        raise CannotCertify("a draft and a final answer are wanted for each question")
    return ~draft & final


def disagreements(agrees: ArrayLike) -> Bools:
    """Which drafts, accepted, are not what the final tier says: bool[n]. Never fewer than the regrets, where two right
    answers always agree. Raises CannotCertify where one is not graded."""
    return ~checked_outcomes(agrees)


def grid_of(confidences: ArrayLike) -> Floats:
    """The thresholds to certify among, float[m], strictest first, from confidences of the tuning split, float[n]:
    halfway between neighbours, where no rounding decides about a tie, and 0, which accepts everything. Of more than
    1,000 those near even shares of the questions. Raises CannotCertify."""
    scores = checked_confidences(confidences)
    if len(scores) == 0:
        raise CannotCertify("a grid is made of the confidences of some questions, and there are none")
    distinct = np.unique(scores)
    low, high = distinct[:-1], distinct[1:]
    between = np.where((low + high) / 2 > low, (low + high) / 2, high)
    if len(between) > FINEST_GRID:
        shares = np.linspace(0, 1, FINEST_GRID + 1)[1:-1]
        between = between[np.unique(np.searchsorted(between[:-1], np.quantile(scores, shares)))]
    return np.append(0.0, between)[::-1]


def tried_at(grid: ArrayLike, confidence: ArrayLike, loss: ArrayLike) -> Tried:
    """What each threshold of the grid, float[m], accepts of the certification split: `confidence` float[n] in [0, 1],
    `loss` bool[n], whether the draft is lost where it is accepted. Raises CannotCertify."""
    thresholds = np.unique(checked_confidences(grid))[::-1]
    scores, lost = checked_confidences(confidence), checked_outcomes(loss)
    if lost.shape != scores.shape:
        raise CannotCertify(f"one loss for each confidence is wanted, not {len(lost)} for {len(scores)}")
    if len(thresholds) == 0 or len(scores) == 0:
        raise CannotCertify("a threshold and a question at least are wanted")
    return Tried(thresholds, at_least(thresholds, scores), at_least(thresholds, scores[lost]), len(scores))


def certify(tried: Tried, wanted: Wanted, split: Split, *, on: date) -> Certificate | Infeasible:
    """The laxest threshold that keeps the promise, certified on that day; or why there is none.

    The thresholds, and all else that the policy is made of, must have been fixed before the split's outcomes were
    looked at: then no choice among them by its outcomes costs more than delta, which is halved for each earlier use of
    the split.
    """
    delta = delta_at_use(wanted.delta, split.use)
    last = certified(tried, wanted.epsilon, delta) - 1
    if last < 0 or tried.accepted[last] == 0:
        return infeasible(tried, wanted, delta)
    return Certificate(
        loss=wanted.loss, grader=wanted.grader, epsilon=wanted.epsilon, delta=delta,
        threshold=float(tried.thresholds[last]), questions=tried.questions, accepted=int(tried.accepted[last]),
        losses=int(tried.losses[last]), split=split.sha256, use=split.use, certified_on=on,
        max_age_days=wanted.max_age_days,
    )  # fmt: skip


def certified(tried: Tried, epsilon: float, delta: float) -> int:
    """How many thresholds, strictest first, are certified before the first that is not: the fixed sequence."""
    kept = tried.losses <= most_losses(tried.questions, epsilon, delta)
    return len(kept) if kept.all() else int(np.argmin(kept))


def plugged_in(tried: Tried, epsilon: float) -> int:
    """How many thresholds, strictest first, lose at most epsilon of this very sample: to compare with, no promise."""
    kept = tried.losses / tried.questions <= epsilon
    return len(kept) if kept.all() else int(np.argmin(kept))


def delta_at_use(delta: float, use: int) -> float:
    """What is left of delta at a split's use-th use, 1 being the first: halved at each further one. That any one of a
    split's certificates is wrong has probability below twice delta."""
    if use < 1:
        raise CannotCertify(f"uses are counted from 1, not {use}")
    return math.ldexp(delta, 1 - use)


def delta_of_round(delta: float, number: int) -> float:
    """The delta of the number-th certification on fresh questions, 1 being the first: 6 delta / (pi² number²). That any
    one of them all is wrong has probability at most delta."""
    if number < 1:
        raise CannotCertify(f"rounds are counted from 1, not {number}")
    return delta * 6 / (math.pi * number) ** 2


def delta_of_cluster(delta: float, clusters: int) -> float:
    """The delta of each of so many clusters, where the promise is to hold for all of them at once (Bonferroni)."""
    if clusters < 1:
        raise CannotCertify(f"there is one cluster at least, not {clusters}")
    return delta / clusters


def infeasible(tried: Tried, wanted: Wanted, delta: float) -> Infeasible:
    """Why nothing useful was certified."""
    first = int(np.argmax(tried.accepted > 0))
    accepted, losses, questions = int(tried.accepted[first]), int(tried.losses[first]), tried.questions
    reason: Reason = "too many losses"
    if accepted == 0:
        reason = "nothing accepted"
    elif most_losses(questions, wanted.epsilon, delta) < 0:
        reason = "too few questions"
    needed = fewest_questions(wanted.epsilon, delta, rate=losses / questions) if accepted else None
    feasible = least_epsilon(losses, questions, delta) if accepted else 1.0
    return Infeasible(
        reason, wanted, delta, float(tried.thresholds[first]), questions, accepted, losses, feasible, needed
    )


def at_least(thresholds: Floats, scores: Floats) -> Integers:
    """How many of the scores are at least each threshold: int[m]."""
    return np.asarray(len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left"), dtype=np.int64)


def checked_confidences(given: ArrayLike) -> Floats:
    """float[n] in [0, 1]. Raises CannotCertify."""
    scores = np.asarray(given, dtype=float)
    if scores.ndim != 1 or not ((scores >= 0) & (scores <= 1)).all():
        raise CannotCertify("confidences and thresholds are numbers in [0, 1], one after the other")
    return scores


def checked_outcomes(given: ArrayLike) -> Bools:
    """bool[n]. Raises CannotCertify."""
    outcomes = np.asarray(given)
    if outcomes.ndim != 1 or not np.isin(outcomes, (0, 1)).all():
        raise CannotCertify("outcomes are true or false, one after the other: leave out what no grader has judged")
    return outcomes.astype(bool)
