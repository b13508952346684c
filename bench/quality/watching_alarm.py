"""How soon the shipped alarm sounds, and how seldom falsely: many streams at once, folded in numpy by the same
arithmetic (`agrees` compares it with `router.alarm`, number by number)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from router.alarm import ALPHA, EXCESSES, PRIOR, SOON, WAITING, Stretch, folded

EPSILON = 0.02
CHECKED = 400


@dataclass(frozen=True)
class Stream:
    """Requests of which a share is accepted, and audited then with a probability."""

    accepted: float
    rate: float


class Alarms:
    """So many alarms at once, before their first audit."""

    def __init__(self, runs: int) -> None:
        self.stakes = np.tile((1 - WAITING) * np.array(PRIOR), (runs, 1))
        self.exposure = np.zeros(runs)
        self.peak = np.ones(runs)

    def fold(self, exposure: np.ndarray, propensity: float, loss: np.ndarray) -> None:
        """A stretch in each."""
        excess = np.array(EXCESSES)
        kept = np.exp(-EPSILON * np.outer(exposure, excess))
        paid = 1 + np.expm1(excess * EPSILON * propensity) / (EPSILON * propensity)
        before, self.exposure = self.waiting, self.exposure + exposure
        released = before - self.waiting
        self.stakes = self.stakes * np.where(loss[:, None], kept * paid, kept) + np.outer(released, PRIOR)
        self.peak = np.maximum(self.peak, self.value)

    @property
    def waiting(self) -> np.ndarray:
        """The stakes that wait."""
        return WAITING / np.sqrt(1 + self.exposure / SOON)

    @property
    def value(self) -> np.ndarray:
        """The e-values."""
        return self.stakes.sum(axis=1) + self.waiting

    @property
    def sound(self) -> np.ndarray:
        """Which of them sound."""
        return self.peak >= 1 / ALPHA


def audits(draw: np.random.Generator, stream: Stream, loss: float, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """The requests up to the next audit in each stream, and whether it finds a loss; `loss` is per request."""
    requests = draw.geometric(stream.accepted * stream.rate, runs)
    return requests, draw.random(runs) < loss / stream.accepted


def delays(stream: Stream, loss: float, *, runs: int, seed: int, quiet: int = 0, before: float = 0.0) -> dict:
    """How many audits it takes from when the loss rises, `quiet` audits of a lesser loss before."""
    draw, alarms = np.random.default_rng(seed), Alarms(runs)
    for _ in range(quiet):
        requests, lost = audits(draw, stream, before, runs)
        alarms.fold(requests * stream.rate, stream.rate, lost)
    early = alarms.sound
    taken = np.zeros(runs, int)
    while (waiting := ~alarms.sound).any() and taken.max() < 20_000:
        requests, lost = audits(draw, stream, loss, runs)
        alarms.fold(requests * stream.rate, stream.rate, lost)
        taken[waiting] += 1
    return {"median": float(np.median(taken[~early])), "of_ten_nine": float(np.quantile(taken[~early], 0.9)),
            "false_before": int(early.sum())}  # fmt: skip


def false_alarms(stream: Stream, *, runs: int, requests: int, seed: int) -> int:
    """In how many of so many streams, whose loss is epsilon exactly, an alarm sounds within so many requests."""
    draw, alarms = np.random.default_rng(seed), Alarms(runs)
    seen = np.zeros(runs, int)
    sound = np.zeros(runs, bool)
    while (seen < requests).any():
        passed, lost = audits(draw, stream, EPSILON, runs)
        seen += passed
        alarms.fold(passed * stream.rate, stream.rate, lost)
        sound |= alarms.sound & (seen <= requests)
    return int(sound.sum())


def agrees(seed: int = 0) -> bool:
    """Whether these alarms are the shipped one, over streams of all kinds."""
    return all(one_agrees(stream, seed) for stream in (Stream(1.0, 1.0), Stream(0.5, 0.3), Stream(0.2, 0.01)))


def one_agrees(stream: Stream, seed: int) -> bool:
    """The same for one stream."""
    draw, alarms = np.random.default_rng(seed), Alarms(1)
    stretches = []
    for _ in range(CHECKED):
        requests, lost = audits(draw, stream, 2 * EPSILON, 1)
        alarms.fold(requests * stream.rate, stream.rate, lost)
        stretches.append(Stretch(float(requests[0] * stream.rate), stream.rate, bool(lost[0])))
    shipped = folded(stretches, EPSILON)
    return bool(np.isclose(shipped.value, alarms.value[0]) and np.isclose(shipped.peak, alarms.peak[0]))


def example(loss: Callable[[int], float], stream: Stream, number: int, seed: int) -> tuple[list[float], list[float]]:
    """One stream's exposure and evidence, audit by audit."""
    draw, alarms = np.random.default_rng(seed), Alarms(1)
    exposures, evidence = [], []
    for place in range(number):
        requests, lost = audits(draw, stream, loss(place), 1)
        alarms.fold(requests * stream.rate, stream.rate, lost)
        exposures.append(float(alarms.exposure[0]))
        evidence.append(float(np.log(alarms.value[0])))
    return exposures, evidence
