"""What the demo pair's texts, and its own word on its drafts, add to the log-probabilities, through `tune`'s code.

    smallfirst up     # the demo; in another terminal:
    smallfirst demo questions --count 1200 > fit.jsonl
    smallfirst demo questions --count 1200 --split held-out --seed five > fresh.jsonl
    smallfirst record fit.jsonl fit-recorded.jsonl --temperature 0 --p-true small
    smallfirst record fresh.jsonl fresh-recorded.jsonl --temperature 0 --p-true small
    python bench/quality/tuned_demo.py fit-recorded.jsonl fresh-recorded.jsonl

Each artefact is tuned on the first file and judges the second.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from routing import Policy, policy
from routing_claims import better, claims_table, number
from routing_sets import Questions
from tuned import RULES, Pair, judged

from router.features import TOKEN_FEATURES
from router.graders import grader_of
from router.lab.examples import Confirming, Example, examples_of
from router.lab.measures import Outcomes
from router.lab.outcomes import Recorded, read_outcomes
from router.text_features import TEXT_FEATURES

RESULT = Path(__file__).with_name("tuned_demo.json")
PAIR = Pair("demo", "The demo pair", "exact", ("smallfirst-demo-small", "smallfirst-demo-large", "none"))
P_TRUE = ("p-true",)
FEATURES = {
    "tokens": tuple(TOKEN_FEATURES),
    "text": TEXT_FEATURES,
    "tokens and text": (*TOKEN_FEATURES, *TEXT_FEATURES),
    "tokens and P(True)": (*TOKEN_FEATURES, *P_TRUE),
}


def questions_in(file: Path) -> Questions:
    """A recorded file, with its own costs."""
    recorded = list(read_outcomes(file))
    right = {tier: np.array([bool(one.outputs[tier].correct) for one in recorded]) for tier in ("small", "large")}
    cost = {tier: np.array([one.outputs[tier].cost or 0.0 for one in recorded]) for tier in ("small", "large")}
    scale = cost["large"].mean()
    return Questions(recorded, Outcomes(right["small"], right["large"], cost["small"] / scale, cost["large"] / scale))


def examples(recorded: Sequence[Recorded], features: Sequence[str]) -> list[Example]:
    """As `tune` meets them."""
    asked = [Confirming()] if "p-true" in features else []
    reads_tokens = any(name in TOKEN_FEATURES for name in features)
    return examples_of(recorded, ("small", "large"), RULES, grader_of("exact"), asked, reads_tokens=reads_tokens)


def main() -> None:
    """Tune, judge, print and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fit", type=Path)
    parser.add_argument("fresh", type=Path)
    options = parser.parse_args()
    seen, unseen = questions_in(options.fit), questions_in(options.fresh)
    policies: dict[str, Policy] = {}
    for name, features in FEATURES.items():
        parts = [examples(questions.recorded, features) for questions in (seen, unseen)]
        policies[name] = policy(unseen, judged(parts[0], parts[1], PAIR, features))
    alone = policies["tokens"]
    claims = [
        better(f"demo pair, {name} over tokens alone: APGR", one.over(alone))
        for name, one in policies.items()
        if one is not alone
    ]
    figures = {
        "fitted_on": len(seen.outcomes),
        "fresh": len(unseen.outcomes),
        "drafter": float(unseen.outcomes.draft_right.mean()),
        "apgr": {name: asdict(one.of("apgr")) for name, one in policies.items()},
        "auroc_right": {name: asdict(one.of("auroc_right")) for name, one in policies.items()},
        "claims": [asdict(claim) for claim in claims],
    }
    RESULT.write_text(json.dumps(figures, indent=2) + os.linesep)
    for name, one in policies.items():
        print(f"{name}: APGR {number(one.of('apgr'))}, AUROC {number(one.of('auroc_right'))}")
    print(claims_table(claims))


if __name__ == "__main__":
    main()
