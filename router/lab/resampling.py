"""How sure a measure is: bootstrap over questions, and the control that escalates as many at random. Deterministic."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from router.lab.measures import Floats, Outcomes, Undefined

DRAWS = 1000
LEVEL = 0.95
MOST_UNDEFINED = 0.01

Measure = Callable[[Floats], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Interval:
    """A measure on the questions themselves, and the ends of its interval; `low` and `high` are NaN where so many
    resamples leave it undefined that there is none."""

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside; never where there is no interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Draws:
    """Measures (k,) on the questions themselves, and on each of d resamples of them (d, k); NaN where undefined."""

    estimates: Floats
    resampled: Floats

    def interval(self, place: int, *, level: float = LEVEL) -> Interval:
        """Of the measure at this place, by the percentiles of its resamples (Efron, 1979)."""
        return interval_of(float(self.estimates[place]), self.resampled[:, place], level=level)

    def difference(self, other: "Draws", place: int, *, level: float = LEVEL) -> Interval:
        """This one's measure less the other's on the same resamples: paired, so that what the questions have in common
        cancels. Both must have been drawn with the same questions, seed and number."""
        if self.resampled.shape != other.resampled.shape:
            raise ValueError("as many resamples of as many measures are wanted")
        distances = self.resampled[:, place] - other.resampled[:, place]
        return interval_of(float(self.estimates[place] - other.estimates[place]), distances, level=level)


def interval_of(estimate: float, resampled: Floats, *, level: float = LEVEL) -> Interval:
    """The percentile interval of resamples (d,), of which a hundredth at most may be undefined."""
    known = resampled[~np.isnan(resampled)]
    if np.isnan(estimate) or known.size < (1 - MOST_UNDEFINED) * resampled.size:
        return Interval(estimate, np.nan, np.nan)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def bootstrap(measure: Measure, questions: int, *, draws: int = DRAWS, seed: int = 0) -> Draws:
    """What the measures say of the questions, and of `draws` samples of as many of them with replacement. `measure`
    gets how often each question was drawn (n,), and gives its numbers, NaN where one is undefined. The same seed and
    number of questions always give the same resamples."""
    if questions < 1 or draws < 1:
        raise ValueError("at least one question and one draw are wanted")
    estimates = np.asarray(measure(np.ones(questions)), dtype=np.float64)
    resampled = [measure(weights) for weights in resamples(questions, draws, seed)]
    return Draws(estimates, np.asarray(resampled, dtype=np.float64))


def resamples(questions: int, draws: int, seed: int) -> Iterator[Floats]:
    """How often each question is in a sample of as many with replacement, (n,) each time."""
    chance = np.random.default_rng(seed)
    for _ in range(draws):
        drawn = chance.integers(questions, size=questions)
        yield np.bincount(drawn, minlength=questions).astype(np.float64)


def or_nan(measure: Callable[[], float]) -> float:
    """The measure, or NaN where it is undefined."""
    try:
        return measure()
    except Undefined:
        return float("nan")


@dataclass(frozen=True, slots=True)
class Control:
    """As many questions escalated, drawn at random: the share right on average, exactly, and between which ends it lies
    in `level` of the drawings; and the mean cost."""

    quality: Interval
    cost: float


def shuffled(
    outcomes: Outcomes, escalated: float, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Control:
    """The control of a policy that escalates this share of the questions, in [0, 1]."""
    if not 0 <= escalated <= 1:
        raise ValueError("a share is in [0, 1]")
    count = round(escalated * len(outcomes))
    change = outcomes.final_right.astype(np.float64) - outcomes.draft_right
    share = count / len(outcomes)
    start, chance = float(outcomes.draft_right.mean()), np.random.default_rng(seed)
    drawn = np.array([chance.permutation(change)[:count].sum() for _ in range(draws)]) / len(outcomes)
    low, high = np.quantile(start + drawn, [(1 - level) / 2, (1 + level) / 2])
    cost = float(outcomes.draft_cost.mean() + share * outcomes.final_cost.mean())
    return Control(Interval(start + share * float(change.mean()), float(low), float(high)), cost)
