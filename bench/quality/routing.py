"""Which answers to trust, on recorded outcomes of real pairs: agreement with a helper, a scorer fitted on text, and a
score before generation, each against what it must show.

    python bench/quality/routing.py --data FOLDER    # about a minute and a half; 1 where something is not shown

FOLDER has gsm8k-llama31-8b-70b, mmlu-pro-llama31-8b-70b and mmlu-mixtral-gpt4 as .jsonl.gz (docs/recorded.md). What
is fitted is fitted on four fifths of the questions, its penalty too, and measured on the last fifth, in turn; copies of
a question are in one fifth.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from routing_claims import Claim, at_least, at_most, better, claims_table, page
from routing_plot import draw
from routing_sets import GSM8K, MMLU, MMLU_PRO, Questions, neighbours, questions_of

from router.lab.fitting import Target, cross_fitted, target_of
from router.lab.folds import folds_of
from router.lab.measures import (
    Curve,
    Floats,
    Outcomes,
    apgr,
    auroc,
    auroc_for_gain,
    cpt,
    curve_of,
    point_of,
    ranking_of,
)
from router.lab.resampling import Draws, Interval, bootstrap, or_nan, shuffled
from router.lab.skip_fitting import cross_fitted_gain, gains_of

HERE = Path(__file__).parent
FOLDS = 5
DRAWS = 1000
OTHER_SPLITS = (1, 2)
MEASURES = ("apgr", "auroc_right", "auroc_gain", "quality", "cost")
TITLES = {
    GSM8K: "GSM8K, Llama 3.1 8B → 70B, helper Phi-3.5-mini",
    MMLU_PRO: "MMLU-Pro, Llama 3.1 8B → 70B, helper mathstral-7B",
    MMLU: "MMLU, Mixtral 8x7B → GPT-4, before generation",
}


@dataclass(frozen=True)
class Policy:
    """A confidence in each question's draft, its curve, one threshold to look at, and its measures on resamples. A
    fitted one has its APGR on other splits beside."""

    confidence: Floats
    curve: Curve
    threshold: float
    draws: Draws
    other_splits: tuple[float, ...] = ()

    def of(self, measure: str) -> Interval:
        """One of the measures."""
        return self.draws.interval(MEASURES.index(measure))

    def over(self, other: "Policy", measure: str = "apgr") -> Interval:
        """How much more of it than another policy, on the same resamples."""
        return self.draws.difference(other.draws, MEASURES.index(measure))


def policy(
    questions: Questions, confidence: Floats, *, threshold: float | None = None, other_splits: Sequence[float] = ()
) -> Policy:
    """At a threshold, by default the one that escalates as near to half the questions as can be."""
    outcomes = questions.outcomes
    points = curve_of(ranking_of(confidence), outcomes)
    chosen = threshold or float(points.thresholds[int(np.abs(points.escalated - 0.5).argmin())])
    return Policy(confidence, points, chosen, measured(confidence, outcomes, chosen), tuple(other_splits))


def measured(confidence: Floats, outcomes: Outcomes, threshold: float) -> Draws:
    """The measures on all questions and on resamples of them; quality, and cost as a share of the final tier's alone,
    at the threshold."""
    ranking = ranking_of(confidence)

    def measures(weights: Floats) -> Sequence[float]:
        points = curve_of(ranking, outcomes, weights)
        point = point_of(points, threshold)
        return (
            or_nan(lambda: apgr(points)),
            or_nan(lambda: auroc(ranking, outcomes.draft_right, weights)),
            or_nan(lambda: auroc_for_gain(ranking, outcomes, weights)),
            point.quality,
            point.cost * float(weights.sum() / (weights @ outcomes.final_cost)),
        )

    return bootstrap(measures, len(outcomes), draws=DRAWS)


def across_splits(questions: Questions, confidence_of: Callable[[int], Floats], splits: Sequence[int]) -> Policy:
    """A fitted policy: measured on the first split into folds, its APGR on others told beside."""
    others = [apgr_of(questions.outcomes, confidence_of(seed)) for seed in splits]
    return policy(questions, confidence_of(0), other_splits=others)


def apgr_of(outcomes: Outcomes, confidence: Floats) -> float:
    """Of a confidence."""
    return apgr(curve_of(ranking_of(confidence), outcomes))


def fitted(questions: Questions, target: Target, *, agreement: bool = True, splits: Sequence[int] = ()) -> Policy:
    """A scorer of the draft's text, and the helper's agreement, that never sees what it judges."""
    outcomes = questions.outcomes
    names = [name for name in questions.signals[0] if agreement or name != "agreement"]
    wanted = target_of(target, outcomes.draft_right, outcomes.final_right)

    def confidence_of(seed: int) -> Floats:
        fold = folds_of(questions.prompts, FOLDS, seed=seed)
        return cross_fitted(questions.signals, wanted, names, fold, seed=seed)

    return across_splits(questions, confidence_of, splits)


def before_generation(questions: Questions, prompts: Sequence[str], *, splits: Sequence[int] = ()) -> Policy:
    """A score of these texts that never sees what it judges."""
    gains = gains_of(questions.outcomes.draft_right, questions.outcomes.final_right)

    def confidence_of(seed: int) -> Floats:
        return cross_fitted_gain(prompts, gains, folds_of(questions.prompts, FOLDS, seed=seed), seed=seed)

    return across_splits(questions, confidence_of, splits)


def on_gsm8k(questions: Questions) -> tuple[dict[str, Policy], list[Claim]]:
    """Agreement alone, and a fitted scorer on top."""
    policies = {
        "agreement": policy(questions, questions.agreement, threshold=1.0),
        "agreement, letter by letter": policy(questions, questions.same_text, threshold=1.0),
        "fitted for right": fitted(questions, "right", splits=OTHER_SPLITS),
        "fitted for no-regret": fitted(questions, "no-regret", splits=OTHER_SPLITS),
    }
    alone, by_letter = policies["agreement"], policies["agreement, letter by letter"]
    return policies, [
        at_least("GSM8K, agreement alone: APGR (.86–.88 wanted)", alone.of("apgr"), 0.86),
        at_least("… where an answer agrees letter by letter alone: APGR", by_letter.of("apgr"), 0.86),
        at_least("… accuracy (about .94 wanted)", alone.of("quality"), 0.935),
        at_most("… at a cost, as a share of the final tier's alone, helper included", alone.of("cost"), 0.55),
        better("… fitted for right over agreement alone: APGR", policies["fitted for right"].over(alone)),
        better("… fitted for no-regret over agreement alone: APGR", policies["fitted for no-regret"].over(alone)),
    ]


def on_mmlu_pro(questions: Questions) -> tuple[dict[str, Policy], list[Claim]]:
    """Text, helper's answer and a fitted scorer; no use is made of the subject."""
    policies = {
        "fitted for no-regret": fitted(questions, "no-regret", splits=OTHER_SPLITS),
        "fitted for right": fitted(questions, "right"),
        "fitted for no-regret, text alone": fitted(questions, "no-regret", agreement=False),
        "agreement": policy(questions, questions.agreement, threshold=1.0),
        "before generation": before_generation(questions, questions.prompts),
    }
    full, alone = policies["fitted for no-regret"], policies["agreement"]
    unseen = questions.unseen
    on_half = measured(full.confidence[unseen], questions.outcomes.part(unseen), full.threshold).interval(0)
    return policies, [
        at_least("MMLU-Pro, text, helper's answer and fitted scorer: APGR", full.of("apgr"), 0.65),
        at_least("… on the half that was not looked at when features were chosen: APGR", on_half, 0.65),
        better("… over agreement alone: APGR", full.over(alone)),
    ]


def on_mmlu(questions: Questions) -> tuple[dict[str, Policy], list[Claim]]:
    """The prompt alone."""
    with_task = [f"{task} {prompt}" for task, prompt in zip(questions.tasks, questions.prompts, strict=True)]
    policies = {
        "the prompt's words": before_generation(questions, questions.prompts, splits=OTHER_SPLITS),
        "the subject's name and the prompt's words": before_generation(questions, with_task),
        "the subject's name alone": before_generation(questions, questions.tasks),
        "nearest neighbours": policy(questions, neighbours(questions, folds_of(questions.prompts, FOLDS))),
    }
    words = policies["the prompt's words"]
    return policies, [
        at_least("MMLU, before generation, from the prompt's words alone: APGR", words.of("apgr"), 0.66),
        better("… with the subject's name in front of the prompt, over without: APGR",
               policies["the subject's name and the prompt's words"].over(words)),
        better("… the prompt's words over nearest neighbours: APGR", words.over(policies["nearest neighbours"])),
    ]  # fmt: skip


def figures_of(questions: Questions, policies: Mapping[str, Policy]) -> dict[str, Any]:
    """A set's, as they are committed."""
    outcomes = questions.outcomes
    return {
        "questions": len(outcomes),
        "drafter": float(outcomes.draft_right.mean()),
        "final": float(outcomes.final_right.mean()),
        "either": float((outcomes.draft_right | outcomes.final_right).mean()),
        "policies": {name: policy_figures(outcomes, one) for name, one in policies.items()},
    }


def policy_figures(outcomes: Outcomes, one: Policy) -> dict[str, Any]:
    """A policy's."""
    point = point_of(one.curve, one.threshold)
    measures = {name: asdict(one.of(name)) for name in MEASURES if math.isfinite(one.of(name).estimate)}
    return {
        **measures,
        "apgr_on_other_splits": one.other_splits,
        "cpt_50": cpt(one.curve, 0.5),
        "cpt_80": cpt(one.curve, 0.8),
        "escalated": point.escalated,
        "regret": point.regret,
        "as_many_at_random": asdict(shuffled(outcomes, point.escalated, draws=DRAWS).quality),
    }


def main() -> int:
    """Parse, measure, write; 1 where something that must be shown is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the recorded sets")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    began = time.perf_counter()
    sets, claims, curves = {}, [], {}
    for name, measure in ((GSM8K, on_gsm8k), (MMLU_PRO, on_mmlu_pro), (MMLU, on_mmlu)):
        questions = questions_of(options.data, name)
        policies, shown = measure(questions)
        claims += shown
        sets[TITLES[name]] = figures_of(questions, policies)
        curves[TITLES[name]] = {title: one.curve for title, one in policies.items()}
    figures = {
        "seconds": time.perf_counter() - began,
        "draws": DRAWS,
        "other_splits": OTHER_SPLITS,
        "claims": [asdict(claim) for claim in claims],
        "sets": sets,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "routing.json").write_text(json.dumps(figures, indent=2) + os.linesep)
    (options.out / "routing.md").write_text(page(figures, claims))
    draw(curves, {TITLES[GSM8K]}, options.out / "routing.png")
    print(claims_table(claims))
    return 0 if all(claim.shown or claim.reported for claim in claims) else 1


if __name__ == "__main__":
    sys.exit(main())
