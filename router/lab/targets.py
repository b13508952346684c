"""Which threshold does what an operator wants, on recorded questions. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Aim = Literal["quality", "escalated", "cost"]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted: at least this share of the final tier's right answers (`quality`), at most this share of requests
    escalated (`escalated`), or at most this share of what the final tier alone costs (`cost`)."""

    aim: Aim
    share: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Every question as a threshold meets it, float or bool [n] each: the confidence in its draft (-1: escalates
    whatever the threshold), whether draft and final answer are right, and what they cost."""

    confidence: Floats
    draft_right: Bools
    final_right: Bools
    draft_cost: Floats
    final_cost: Floats

    @property
    def regret(self) -> Bools:
        """Whether accepting a draft loses what the final tier had right: bool[n]."""
        return self.final_right & ~self.draft_right


@dataclass(frozen=True, slots=True)
class Effect:
    """What a threshold does to some questions: shares in [0, 1]; `kept` of the final tier's right answers, `cost` of
    its costs; both None where that is zero."""

    threshold: float
    accepted: float
    right: float
    regret: float
    kept: float | None
    cost: float | None


def effect_of(measured: Measured, threshold: float) -> Effect:
    """The threshold's effect on these questions (at least one)."""
    accepted = measured.confidence >= threshold
    right = np.where(accepted, measured.draft_right, measured.final_right)
    paid = measured.draft_cost.sum() + measured.final_cost[~accepted].sum()
    final_right, final_cost = int(measured.final_right.sum()), float(measured.final_cost.sum())
    return Effect(
        threshold=threshold,
        accepted=float(accepted.mean()),
        right=float(right.mean()),
        regret=float((accepted & measured.regret).mean()),
        kept=float(right.sum()) / final_right if final_right else None,
        cost=float(paid) / final_cost if final_cost else None,
    )


def threshold_for(measured: Measured, target: Target) -> float | None:
    """The threshold that reaches the target with the fewest escalations (`quality`), or keeps within it with as many as
    it allows; None where none does."""
    effects = [effect_of(measured, threshold) for threshold in candidates(measured)]
    reached = [effect for effect in effects if reaches(effect, target)]
    if not reached:
        return None
    if target.aim == "quality":
        return max(reached, key=lambda effect: effect.accepted).threshold
    return min(reached, key=lambda effect: effect.accepted).threshold


def reaches(effect: Effect, target: Target) -> bool:
    """Whether the effect is as it is wanted."""
    match target.aim:
        case "quality":
            return effect.kept is not None and effect.kept >= target.share
        case "escalated":
            return 1 - effect.accepted <= target.share
        case "cost":
            return effect.cost is not None and effect.cost <= target.share


def candidates(measured: Measured, most: int = 500) -> Sequence[float]:
    """Thresholds that differ in what they accept: 1, and so many quantiles of the confidences at most, to 6 digits
    rounded down, so that what is printed accepts what was measured."""
    usable = measured.confidence[measured.confidence >= 0]
    if not len(usable):
        return [1.0]
    quantiles = np.quantile(usable, np.linspace(0, 1, min(most, len(usable))), method="lower")
    return [1.0, *sorted({float(np.floor(value * 1e6) / 1e6) for value in quantiles}, reverse=True)]
