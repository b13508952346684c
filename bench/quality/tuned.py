"""What `smallfirst tune` itself makes of the texts of recorded drafts and a helper's agreement, beside the scorer that
routing.py fits to the same questions.

    python bench/quality/tuned.py --data FOLDER    # some minutes; 1 where something is not shown

FOLDER has gsm8k-llama31-8b-70b and mmlu-pro-llama31-8b-70b as .jsonl.gz (docs/recorded.md). The artefact is tuned on
four fifths of the questions and judges the last fifth, in turn, as the gateway would: checks, final answers found in
the texts by a grader, agreement found by it too, calibration. Copies of a question are in one fifth.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from routing import FOLDS, Policy, fitted, policy, policy_figures
from routing_claims import Claim, at_least, better, claims_table, number
from routing_sets import GSM8K, MMLU_PRO, Questions, questions_of
from scipy.stats import rankdata

from router.events import CheckReason
from router.graders import grader_of
from router.lab.examples import Example, Helper, examples_of
from router.lab.folds import folds_of, held_out
from router.lab.judged import confidences
from router.lab.measures import Floats
from router.lab.resampling import Interval
from router.lab.tuning import Of, Wanted, tune
from router.policy import Policy as Rules
from router.scorers import SCORERS
from router.text_features import TEXT_FEATURES
from router.trust import OpinionPrint, TierPrint

HERE = Path(__file__).parent
CHECKS: tuple[CheckReason, ...] = ("empty", "malformed", "cut", "refused", "looping")
RULES = Rules("threshold", SCORERS["mean-logprob"], 0.0, CHECKS, "escalate")
HALF = 0.01  # as near to half of the questions as counts
AGREEMENT = ("agreement",)
BOTH, OWN = "tuned: text and agreement", "routing.py's own fit: text and agreement"


@dataclass(frozen=True)
class Pair:
    """A recorded set, the grader that finds and compares its answers, and what its models are."""

    name: str
    title: str
    grader: str
    models: tuple[str, str, str]


PAIRS = (
    Pair(GSM8K, "GSM8K, Llama 3.1 8B → 70B, helper Phi-3.5-mini", "numeric",
         ("Llama-3.1-8B", "Llama-3.1-70B", "Phi-3.5-mini")),
    Pair(MMLU_PRO, "MMLU-Pro, Llama 3.1 8B → 70B, helper mathstral-7B", "choice",
         ("Llama-3.1-8B", "Llama-3.1-70B", "mathstral-7B")),
)  # fmt: skip


def tuned(questions: Questions, pair: Pair, features: Sequence[str]) -> Policy:
    """An artefact that never sees what it judges."""
    examples = examples_of(
        questions.recorded, ("small", "large"), RULES, grader_of(pair.grader),
        [Helper("helper", grader_of(pair.grader))] if "agreement" in features else (), reads_tokens=False,
    )  # fmt: skip
    confidence = np.empty(len(examples))
    for held in held_out(folds_of(questions.prompts, FOLDS)):
        parts = [[one for one, is_held in zip(examples, held, strict=True) if is_held == wanted] for wanted in (0, 1)]
        confidence[held] = judged(parts[0], parts[1], pair, features)
    return policy(questions, confidence)


def judged(seen: Sequence[Example], unseen: Sequence[Example], pair: Pair, features: Sequence[str]) -> Floats:
    """Tune on the ones, judge the others."""
    drafter, final, helper = pair.models
    of = Of((TierPrint(model=drafter), TierPrint(model=final)), CHECKS, "escalate", "the set's own", "",
            {"agreement": OpinionPrint(model=helper, grader=pair.grader)})  # fmt: skip
    wanted = Wanted(
        scorer=None, features=tuple(features), confidence_of="no-regret", target=None, threshold=0.5, promise=None,
        certify_share=0.5, by_task=False, gate_sizes=(), loss="regret", seed=0, answer_by=pair.grader,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        scorer = tune(seen, of, wanted, Path(folder) / "splits.json").trust.fit.judging
    return confidences([example.evidence for example in unseen], scorer)


def within_fifths(questions: Questions, one: Policy) -> Policy:
    """The policy by each draft's place among those of its fifth, as a share: the fits to two splits differ by how many
    of their own questions were right, which says nothing of a draft, and an operator has one artefact."""
    places = np.empty(len(one.confidence))
    for held in held_out(folds_of(questions.prompts, FOLDS)):
        places[held] = rankdata(one.confidence[held]) / held.sum()
    return policy(questions, places)


def not_worse(text: str, difference: Interval) -> Claim:
    """A difference that must not lie below 0 all along its interval."""
    return Claim(text, difference, "not < 0 all along its interval", difference.high >= 0)


def on_pair(questions: Questions, pair: Pair) -> tuple[dict[str, Policy], Interval, list[Claim]]:
    """Each policy within fifths; how much more than routing.py's fit the tuned one has where all fifths are measured
    together; and what may be said of them."""
    measured = {
        BOTH: tuned(questions, pair, (*TEXT_FEATURES, *AGREEMENT)),
        "tuned: text": tuned(questions, pair, TEXT_FEATURES),
        "tuned: agreement": tuned(questions, pair, AGREEMENT),
        OWN: fitted(questions, "no-regret"),
        "routing.py's agreement": policy(questions, questions.agreement),
    }
    policies = {name: within_fifths(questions, one) for name, one in measured.items()}
    both = policies[BOTH]
    return policies, measured[BOTH].over(measured[OWN]), [
        not_worse(f"{name_of(pair)}: tuned over routing.py's own fit: APGR", both.over(policies[OWN])),
        better("… over the same without text: APGR", both.over(policies["tuned: agreement"])),
        better("… over routing.py's agreement: APGR", both.over(policies["routing.py's agreement"])),
        better("… text alone over chance: APGR - 0.5", above(policies["tuned: text"].of("apgr"), 0.5)),
    ]  # fmt: skip


def name_of(pair: Pair) -> str:
    """The set's, for people."""
    return pair.title.partition(",")[0]


def above(interval: Interval, level: float) -> Interval:
    """How much it is above a level."""
    return Interval(interval.estimate - level, interval.low - level, interval.high - level)


PAGE = """# What `smallfirst tune` makes of texts

Recorded outcomes of real pairs, which have texts and no log-probabilities; made by `python bench/quality/tuned.py
--data FOLDER` in {seconds:.0f} s on {cores} CPU cores ({machine}). Each artefact is tuned by the code of `smallfirst
tune` on four fifths of the questions, for P(no regret), and judges the last fifth as the gateway would, in turn; copies
of a question are in one fifth. The scorer of [routing.py](routing.md) is fitted on the same fifths. It knows the final
answers as the sets have them, and counts a helper without an answer as disagreement; the gateway finds final answers by
a grader, and a draft whose helper gives none goes up. Intervals are of 1,000 bootstrap resamples of the questions,
paired where they are of a difference.

All policies are measured by each draft's place among those of its fifth: so every fifth escalates the same share. An
operator has one artefact, and that is how one orders drafts; fits to different fifths differ also by how many of their
own questions were right, which costs APGR where they are measured together, GSM8K's few questions most, and the more
where each is calibrated too. (Measured together, as routing.py does it, tuned over routing.py's own fit is {together}.)

{claims}

A difference is claimed where its interval lies above 0, and reported in any case.

{sections}
"""


def section(title: str, figures: Mapping[str, Any]) -> str:
    """One set's policies."""
    lines = [f"## {title}", "", f"{figures['questions']:,} questions.", "",
             "| policy | APGR | AUROC right | AUROC gain | right with half escalated |",
             "|---|--:|--:|--:|--:|"]  # fmt: skip
    for name, one in figures["policies"].items():
        auroc = " | ".join(f"{one[key]['estimate']:.3f}" for key in ("auroc_right", "auroc_gain"))
        half = number(one["quality"]) if abs(one["escalated"] - 0.5) < HALF else "-"
        lines.append(f"| {name} | {number(one['apgr'])} | {auroc} | {half} |")
    return "\n".join(lines)


def page(figures: Mapping[str, Any], claims: Sequence[Claim]) -> str:
    """What people read."""
    return PAGE.format(
        seconds=figures["seconds"],
        cores=os.cpu_count(),
        machine=platform.machine(),
        claims=claims_table(claims),
        together=" and ".join(figures["together"]),
        sections="\n\n".join(section(title, one) for title, one in figures["sets"].items()),
    )


def main() -> int:
    """Parse, measure, write; 1 where something that must be shown is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the recorded sets")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    began = time.perf_counter()
    sets: dict[str, Any] = {}
    claims: list[Claim] = []
    together: list[str] = []
    for pair in PAIRS:
        questions = questions_of(options.data, pair.name)
        policies, difference, shown = on_pair(questions, pair)
        if pair.name == MMLU_PRO:
            shown.append(at_least("… APGR", policies[BOTH].of("apgr"), 0.65))
        claims += shown
        told = {name: policy_figures(questions.outcomes, one) for name, one in policies.items()}
        together.append(f"{number(difference)} on {name_of(pair)}")
        sets[pair.title] = {"questions": len(questions.outcomes), "policies": told}
    figures = {
        "seconds": time.perf_counter() - began,
        "together": together,
        "claims": [asdict(claim) for claim in claims],
        "sets": sets,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "tuned.json").write_text(json.dumps(figures, indent=2) + os.linesep)
    (options.out / "tuned.md").write_text(page(figures, claims))
    print(claims_table(claims))
    return 0 if all(claim.shown or claim.reported for claim in claims) else 1


if __name__ == "__main__":
    sys.exit(main())
