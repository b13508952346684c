"""Streams of audits, many at once, and the shipped evidence on them after every audit."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import poisson

from router.lab.betting import log_e_value
from router.lab.certifying import delta_of_round

RUNS = 2_000
ROUNDS = (2, 3, 10)
EXPOSURE = 100.0  # times 1 / epsilon: how long a stream of false renewals is
MOST_AUDITS = 40_000


@dataclass(frozen=True)
class Stream:
    """Requests of which a share is accepted, and audited then with a probability; four times that while more losses
    were found than epsilon has, where it is `wary`."""

    name: str
    accepted: float
    rate: float
    wary: bool = False

    @property
    def told(self) -> dict:
        """As a row begins."""
        return {"accepted": self.accepted, "rate": self.rate, "wary": self.wary}

    def propensity(self, losses: np.ndarray, exposure: np.ndarray, epsilon: float) -> np.ndarray:
        """Of the requests up to the next audit, in each run."""
        return np.where(self.wary & (losses > epsilon * exposure), min(1.0, 4 * self.rate), self.rate)


STREAMS = (
    Stream("all accepted", 1.0, 1.0),
    Stream("half accepted", 0.5, 0.05),
    Stream("a fifth accepted", 0.2, 0.05),
    Stream("wary", 0.5, 0.1, wary=True),
)


class Runs:
    """So many runs of a stream, before their first audit."""

    def __init__(self, stream: Stream, epsilon: float, loss: float, *, seed: int) -> None:
        self.stream, self.epsilon, self.loss = stream, epsilon, loss
        self.losses, self.exposure = np.zeros(RUNS), np.zeros(RUNS)
        self._draw = np.random.default_rng(seed)

    def audit(self) -> None:
        """The requests up to the next audit of each, and what that finds; `loss` is per request."""
        propensity = self.stream.propensity(self.losses, self.exposure, self.epsilon)
        self.exposure += self._draw.geometric(self.stream.accepted * propensity) * propensity
        self.losses += self._draw.random(RUNS) < self.loss / self.stream.accepted

    @property
    def evidence(self) -> np.ndarray:
        """The logarithms of the shipped e-values."""
        return log_e_value(self.losses, self.exposure, self.epsilon)


def false_renewals(stream: Stream, epsilon: float, delta: float, *, seed: int) -> dict:
    """In how many runs, whose loss is epsilon exactly, each round's delta is reached after some audit; and how many a
    Poisson tail would have renewed in round 2."""
    runs, peak, least = Runs(stream, epsilon, epsilon, seed=seed), np.zeros(RUNS), np.ones(RUNS)
    while (runs.exposure < EXPOSURE / epsilon).any():
        runs.audit()
        counts = runs.exposure < EXPOSURE / epsilon
        peak = np.where(counts, np.maximum(peak, runs.evidence), peak)
        least = np.where(counts, np.minimum(least, poisson.cdf(runs.losses, epsilon * runs.exposure)), least)
    deltas = {number: delta_of_round(delta, number) for number in ROUNDS}
    renewed = {str(number): int((peak >= -np.log(one)).sum()) for number, one in deltas.items()}
    return {"renewed": renewed, "by_one_look": int((least <= deltas[2]).sum())}


def until_renewed(stream: Stream, epsilon: float, loss: float, delta: float, *, seed: int) -> dict:
    """How many audits it takes, where one looks after each."""
    runs, taken = Runs(stream, epsilon, loss, seed=seed), np.zeros(RUNS, int)
    waiting = np.ones(RUNS, bool)
    while waiting.any() and taken.max() < MOST_AUDITS:
        runs.audit()
        taken[waiting] += 1
        waiting &= runs.evidence < -np.log(delta)
    return {"median": float(np.median(taken)), "of_ten_nine": float(np.quantile(taken, 0.9))}


def one_look(epsilon: float, loss: float, delta: float) -> dict:
    """For which exposure, fixed before, one look by a Poisson tail renews in half, and nine of ten, of the runs."""
    found = {}
    for name, wanted in (("median", 0.5), ("of_ten_nine", 0.9)):
        exposure = 1
        while chance_of_one_look(exposure, epsilon, loss, delta) < wanted:
            exposure += 1
        found[name] = exposure
    return found


def chance_of_one_look(exposure: float, epsilon: float, loss: float, delta: float) -> float:
    """That so few losses are found that the tail is at most delta."""
    most = poisson.ppf(delta, epsilon * exposure)
    most -= poisson.cdf(most, epsilon * exposure) > delta
    return float(poisson.cdf(most, loss * exposure)) if most >= 0 else 0.0
