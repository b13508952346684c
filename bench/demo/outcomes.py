"""What each policy would have answered, from what both models answered: accuracy, escalation, cost. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recorded:
    """One question: both tiers' correctness and cost, the draft's confidence (0 where a check failed), and what the
    cascade did."""

    task: str
    small_right: bool
    large_right: bool
    cascade_right: bool
    escalated: bool
    confidence: float
    small_cost: float
    large_cost: float
    cascade_cost: float


@dataclass(frozen=True, slots=True)
class Point:
    """A policy over all questions: shares in [0, 1], and the mean cost of a request."""

    threshold: float
    accuracy: float
    escalated: float
    cost: float


def at_threshold(recorded: Sequence[Recorded], threshold: float) -> Point:
    """Accept iff the confidence is at least the threshold."""
    kept = [one.confidence >= threshold for one in recorded]
    count = len(recorded)
    right = sum(one.small_right if keep else one.large_right for one, keep in zip(recorded, kept, strict=True))
    cost = sum(one.small_cost + (0.0 if keep else one.large_cost) for one, keep in zip(recorded, kept, strict=True))
    return Point(threshold, right / count, 1 - sum(kept) / count, cost / count)


def curve(recorded: Sequence[Recorded]) -> list[Point]:
    """Every distinct policy of the form `confidence >= threshold`, from all drafts kept to none."""
    thresholds = sorted({one.confidence for one in recorded})
    return [at_threshold(recorded, threshold) for threshold in [*thresholds, 1.1]]


def cheapest(recorded: Sequence[Recorded], *, kept_quality: float) -> Point:
    """The point with the fewest escalations that keeps this share of the large model's accuracy."""
    wanted = kept_quality * sum(one.large_right for one in recorded) / len(recorded)
    return min((point for point in curve(recorded) if point.accuracy >= wanted), key=lambda point: point.escalated)
