"""How the shipped budget holds its share on a stream of recorded confidences that changes task in the middle."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from router.budget import Budget
from router.drift import WINDOW, Drift, histogram_of
from router.lab.outcomes import read_outcomes

FILE = "filters-llama31-8b-70b.jsonl.gz"
CHANGES = (("sst2", "imdb"), ("imdb", "sst2"), ("arxiv", "boolq"), ("boolq", "mmlu"), ("mmlu", "arxiv"),
           ("sst2", "boolq"))  # fmt: skip
TARGETS = (0.1, 0.3, 0.5)
HALF = 5_000
SEEDS = 3
FIRST = 0.9  # the configured threshold
ROLLING = 1_000
SETTLED = 500


@dataclass(frozen=True)
class Draft:
    """A recorded draft: its confidence, and whether it is right by the large model's label."""

    confidence: float
    right: bool


@dataclass(frozen=True)
class Run:
    """A stream under a budget: which requests escalated, and what a threshold fixed on the first half would have."""

    stream: Sequence[Draft]
    escalated: np.ndarray
    fixed: np.ndarray


def drafts_by_corpus(folder: Path) -> Mapping[str, list[Draft]]:
    """The recorded drafts that have a confidence."""
    found = defaultdict(list)
    for one in read_outcomes(folder / FILE):
        small = one.outputs["small"]
        found[one.task.partition("/")[2]].append(Draft(small.confidence, small.correct))
    return found


def stream_of(drafts: Mapping[str, list[Draft]], change: tuple[str, str], seed: int) -> list[Draft]:
    """One corpus, and then another, each in a random order."""
    draw = random.Random(f"{change} {seed}")
    return [draft for corpus in change for draft in draw.sample(drafts[corpus], HALF)]


def run(stream: Sequence[Draft], target: float) -> Run:
    """The stream through the shipped budget."""
    budget, escalated = Budget(target), []
    for draft in stream:
        escalated.append(draft.confidence < (budget.threshold if budget.is_warm else FIRST))
        budget.saw(draft.confidence)
        budget.learn(part=float(escalated[-1]), whole=1.0)
    confidences = np.array([draft.confidence for draft in stream])
    fixed = confidences < np.quantile(confidences[:HALF], target)
    return Run(stream, np.array(escalated, float), fixed.astype(float))


def rolling(escalated: np.ndarray) -> np.ndarray:
    """The share of each 1,000 requests in a row."""
    return np.convolve(escalated, np.ones(ROLLING) / ROLLING, "valid")


def off_target(one: Run, target: float) -> dict:
    """How far from it the halves are, and any 1,000 requests in a row that begin 500 after the start or the change."""
    halves = [one.escalated[:HALF].mean() - target, one.escalated[HALF:].mean() - target]
    starts = np.arange(len(one.stream) - ROLLING + 1)
    settled = (starts >= SETTLED) & ((starts + ROLLING <= HALF) | (starts >= HALF + SETTLED))
    return {
        "before": float(halves[0]),
        "after": float(halves[1]),
        "worst_settled": float(np.abs(rolling(one.escalated) - target)[settled].max()),
        "fixed_threshold_after": float(one.fixed[HALF:].mean() - target),
    }


def quality(one: Run) -> dict:
    """The share of right answers of each half's requests, with the large model's label as right: under the budget, with
    as many escalated of the least sure ones in each half, and with as many at random."""
    halves = [slice(0, HALF), slice(HALF, None)]
    right = np.array([draft.right for draft in one.stream], float)
    confidences = np.array([draft.confidence for draft in one.stream])
    found = {"budget": 0.0, "least_sure": 0.0, "random": 0.0}
    for half in halves:
        went_up = one.escalated[half]
        order = np.argsort(confidences[half], kind="stable")
        least = np.zeros(len(order))
        least[order[: int(went_up.sum())]] = 1
        found["budget"] += float(np.maximum(went_up, right[half]).mean()) / 2
        found["least_sure"] += float(np.maximum(least, right[half]).mean()) / 2
        found["random"] += float(went_up.mean() + (1 - went_up.mean()) * right[half].mean()) / 2
    return found


def drifts(drafts: Mapping[str, list[Draft]], known: int = 500) -> dict:
    """Of windows of the same corpus, and of another, how many count as drifted from a histogram of so many drafts."""
    same, other = [], []
    draw = random.Random(0)
    for corpus in drafts:
        sample = draw.sample(drafts[corpus], len(drafts[corpus]))
        histogram = histogram_of(draft.confidence for draft in sample[:known])
        rest = sample[known:]
        same += [counts(histogram, rest[start : start + WINDOW]) for start in range(0, len(rest) - WINDOW + 1, WINDOW)]
        other += [counts(histogram, drafts[name][:WINDOW]) for name in drafts if name != corpus]
    return {"same": [sum(same), len(same)], "other": [sum(other), len(other)]}


def counts(histogram, window: Sequence[Draft]) -> bool:
    """Whether a window of drafts counts as drifted."""
    drift = Drift(histogram)
    for draft in window:
        drift.saw(draft.confidence)
    return drift.is_there
