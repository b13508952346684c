"""Compares policies on recorded questions: what each would have answered, and how surely one is better. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from router.lab.candidates import Candidate
from router.lab.costs import Costs
from router.lab.measures import (
    Bools,
    Curve,
    Floats,
    Outcomes,
    Point,
    Ranking,
    Reliability,
    Undefined,
    apgr,
    auroc,
    auroc_for_gain,
    brier,
    cheapest,
    cpt,
    curve_of,
    ece,
    point_of,
    ranking_of,
    reliability_of,
)
from router.lab.outcomes import Recorded
from router.lab.resampling import Control, Draws, Interval, bootstrap, or_nan, shuffled
from router.lab.selection import CannotEvaluate, Roles
from router.scorers import ConfidenceOf

MeasureName = Literal["apgr", "cpt_50", "cpt_80", "auroc_right", "auroc_gain", "brier"]
MEASURES: tuple[MeasureName, ...] = ("apgr", "cpt_50", "cpt_80", "auroc_right", "auroc_gain", "brier")
CHANCES = 100
MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier's part in it: the models that answered under its name, and the share that was right, in [0, 1]; None of
    a helper that was not graded."""

    name: str
    models: tuple[str, ...]
    right: float | None


@dataclass(frozen=True, slots=True)
class Mixture:
    """Sending a share of requests straight to the final tier and the others to the drafter alone, drawn by chance: the
    drafter's mean cost as a share of the final tier's, and what share each gets right."""

    draft_cost: float
    draft_right: float
    final_right: float

    def quality_for(self, cost: float) -> float:
        """What so much a request buys, of the two and what lies between them."""
        if self.draft_cost >= 1:
            return self.final_right
        share = min(1.0, max(0.0, (cost - self.draft_cost) / (1 - self.draft_cost)))
        return self.draft_right + share * (self.final_right - self.draft_right)


@dataclass(frozen=True, slots=True)
class Operating:
    """A policy at one threshold: what it does, and the share of the final tier's right answers that it keeps; beside
    it, what escalating as many at random would do, and the share right where the same money sends as many requests as
    it can straight to the final tier, at random."""

    point: Point
    kept: float
    quality_for_cost: float
    control: Control


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One policy. `scored` is the share of drafts that have a confidence; `measures` with their intervals, and the
    `differences` from the baseline's, paired; the calibration error, and the one that a perfectly calibrated confidence
    would show on so many questions by chance; the point that keeps the quality that was asked for with the fewest
    escalations, None where none does, and its `own`, at the thresholds that it came with; a cost is a share of the
    final tier's alone. Of a curve with very many thresholds, some."""

    name: str
    confidence_of: ConfidenceOf
    before_generation: bool
    scored: float
    measures: Mapping[MeasureName, Interval]
    differences: Mapping[MeasureName, Interval]
    ece: float
    ece_by_chance: float
    keeping: Operating | None
    own: Mapping[str, Operating]
    curve: Curve
    reliability: Reliability


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is compared with what: the baseline's name (None: the first), the share of the final tier's right answers to
    keep, and the number of resamples."""

    baseline: str | None = None
    quality_kept: float = 0.98
    draws: int = 1000


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The comparison, and what it is of. `either` is the share of questions that one of both tiers got right; a cost is
    a share of the final tier's alone."""

    questions: int
    tiers: tuple[Tier, ...]
    either: float
    at_random: Mixture
    graded_by: tuple[str, ...]
    cost_basis: str
    baseline: str
    wanted: Wanted
    policies: tuple[Evaluated, ...]


def evaluate(
    questions: Sequence[Recorded], roles: Roles, candidates: Sequence[Candidate], costs: Costs, wanted: Wanted
) -> Evaluation:
    """Every candidate on the same questions and the same resamples of them. Raises CannotEvaluate where there is no
    candidate, or the baseline is none of them."""
    if not 0 <= wanted.quality_kept <= 1:
        raise CannotEvaluate("the share of right answers to keep is in [0, 1]")
    baseline = baseline_of(candidates, wanted.baseline)
    right = {role: right_of(questions, role) for role in (roles.draft, roles.final)}
    scale = float(costs.by_tier[roles.final].mean()) or 1.0
    outcomes = {one.name: outcomes_of(one, roles, right, costs, scale) for one in candidates}
    draws = {one.name: draws_of(one, outcomes[one.name], wanted.draws) for one in candidates}
    draft, final = right[roles.draft], right[roles.final]
    mixture = Mixture(float(costs.by_tier[roles.draft].mean()) / scale, float(draft.mean()), float(final.mean()))
    evaluated = [evaluated_one(one, outcomes[one.name], draws, mixture, baseline, wanted) for one in candidates]
    return Evaluation(
        questions=len(questions),
        tiers=tuple(tier_of(questions, name) for name in roles.names),
        either=float((draft | final).mean()),
        at_random=mixture,
        graded_by=tuple(sorted({one.graded_by for one in questions if one.graded_by is not None})),
        cost_basis=costs.basis,
        baseline=baseline,
        wanted=wanted,
        policies=tuple(evaluated),
    )


def baseline_of(candidates: Sequence[Candidate], name: str | None) -> str:
    """The candidate that the others are compared with. Raises CannotEvaluate."""
    names = [one.name for one in candidates]
    if not names:
        raise CannotEvaluate(
            "no policy to compare: the drafts have neither a recorded confidence, nor a reply with log-probabilities,"
            " nor a helper's answer beside them; --fit fits what can be fitted"
        )
    if name is not None and name not in names:
        raise CannotEvaluate(f"there is no policy {name!r} (there are: {', '.join(names)})")
    return name or names[0]


def right_of(questions: Sequence[Recorded], tier: str) -> Bools:
    """(n,): whether its answers are right."""
    return np.array([bool(one.outputs[tier].correct) for one in questions])


def outcomes_of(candidate: Candidate, roles: Roles, right: Mapping[str, Bools], costs: Costs, scale: float) -> Outcomes:
    """What becomes of each question under the candidate; costs as shares of the final tier's mean."""
    draft, final = costs.by_tier[roles.draft] / scale, costs.by_tier[roles.final] / scale
    if candidate.asks_helper and roles.helper is not None:
        draft = draft + costs.by_tier[roles.helper] / scale
    if candidate.asks_p_true and costs.p_true is not None:
        draft = draft + costs.p_true / scale
    escalating = final - draft if candidate.before_generation else final
    return Outcomes(right[roles.draft], right[roles.final], draft, escalating)


def draws_of(candidate: Candidate, outcomes: Outcomes, draws: int) -> Draws:
    """The measures, on all questions and on resamples; Brier's of the drafts that have a confidence."""
    ranking, happened = ranking_of(candidate.confidence), happened_of(candidate, outcomes)
    scored = (candidate.confidence >= 0).astype(np.float64)
    probabilities = ranking_of(np.maximum(candidate.confidence, 0.0))

    def measures(weights: Floats) -> Sequence[float]:
        points = curve_of(ranking, outcomes, weights)
        judged = weights * scored
        return (
            or_nan(lambda: apgr(points)),
            or_nan(lambda: cpt(points, 0.5)),
            or_nan(lambda: cpt(points, 0.8)),
            or_nan(lambda: auroc(ranking, outcomes.draft_right, weights)),
            or_nan(lambda: auroc_for_gain(ranking, outcomes, weights)),
            brier(probabilities, happened, judged) if judged.any() else math.nan,
        )

    return bootstrap(measures, len(outcomes), draws=draws)


def happened_of(candidate: Candidate, outcomes: Outcomes) -> Bools:
    """(n,): what the confidence is the probability of; of an uncalibrated one, that the draft is right."""
    return ~outcomes.gain if candidate.confidence_of == "no-regret" else outcomes.draft_right


def evaluated_one(
    candidate: Candidate,
    outcomes: Outcomes,
    draws: Mapping[str, Draws],
    mixture: Mixture,
    baseline: str,
    wanted: Wanted,
) -> Evaluated:
    """All that is told of one policy."""
    curve = curve_of(ranking_of(candidate.confidence), outcomes)
    own, other = draws[candidate.name], draws[baseline]
    scored = candidate.confidence >= 0
    reliability, error, by_chance = calibration_of(
        candidate.confidence[scored], happened_of(candidate, outcomes)[scored]
    )
    return Evaluated(
        name=candidate.name,
        confidence_of=candidate.confidence_of,
        before_generation=candidate.before_generation,
        scored=float(scored.mean()),
        measures={name: own.interval(place) for place, name in enumerate(MEASURES)},
        differences={} if candidate.name == baseline
        else {name: own.difference(other, place) for place, name in enumerate(MEASURES)},
        ece=error,
        ece_by_chance=by_chance,
        keeping=keeping(curve, outcomes, mixture, wanted),
        own={
            name: operating(point_of(curve, threshold), outcomes, mixture, wanted)
            for name, threshold in candidate.thresholds.items()
        },
        curve=thinned(curve),
        reliability=reliability,
    )  # fmt: skip


def thinned(curve: Curve) -> Curve:
    """Of a curve with many thresholds, so many that a plot shows no difference, both ends among them."""
    places = np.unique(np.linspace(0, len(curve.thresholds) - 1, MOST_POINTS).astype(np.intp))
    return Curve(
        curve.thresholds[places],
        curve.escalated[places],
        curve.quality[places],
        curve.regret[places],
        curve.cost[places],
    )


def keeping(curve: Curve, outcomes: Outcomes, mixture: Mixture, wanted: Wanted) -> Operating | None:
    """The fewest escalations that keep the quality, of thresholds that a draft without confidence does not pass; None
    where none do."""
    try:
        point = cheapest(curve, wanted.quality_kept * mixture.final_right, least=0.0)
    except Undefined:
        return None
    return operating(point, outcomes, mixture, wanted)


def operating(point: Point, outcomes: Outcomes, mixture: Mixture, wanted: Wanted) -> Operating:
    """The point beside its controls."""
    kept = point.quality / mixture.final_right if mixture.final_right > 0 else math.nan
    control = shuffled(outcomes, point.escalated, draws=wanted.draws)
    return Operating(point, kept, mixture.quality_for(point.cost), control)


def calibration_of(confidence: Floats, happened: Bools) -> tuple[Reliability, float, float]:
    """The reliability of confidences (n,) in [0, 1], their calibration error, and the mean of the one that they would
    have if each came true as often as it says: what so few questions show by chance."""
    if not confidence.size:
        nothing = np.empty(0)
        return Reliability(nothing, nothing), math.nan, math.nan
    ranking = ranking_of(confidence)
    reliability = reliability_of(ranking, happened)
    return reliability, ece(reliability), chance_error(ranking, confidence)


def chance_error(ranking: Ranking, confidence: Floats) -> float:
    """The mean calibration error of drawings in which every confidence is exactly true."""
    chance = np.random.default_rng(0)
    errors = [ece(reliability_of(ranking, chance.random(confidence.size) < confidence)) for _ in range(CHANCES)]
    return float(np.mean(errors))


def tier_of(questions: Sequence[Recorded], name: str) -> Tier:
    """A tier's share of right answers, where all were graded."""
    outputs = [one.outputs[name] for one in questions]
    graded = [output.correct for output in outputs if output.correct is not None]
    share = sum(graded) / len(graded) if len(graded) == len(outputs) else None
    return Tier(name, tuple(sorted({output.model for output in outputs})), share)
