"""Certificates renewed from audits: how seldom falsely, however often one looks, and how many audits it takes.

    python bench/quality/renewed.py --data FOLDER     # with recorded outcomes too; some five minutes
    python bench/quality/renewed.py                   # simulated streams alone

Writes renewed.json and renewed.md. The exit code is 1 where a claim does not hold.
"""

import argparse
import json
import sys
from pathlib import Path

from renewed_page import page
from renewed_recorded import FALSE, USEFUL, corpora, renewals
from renewed_streams import ROUNDS, RUNS, STREAMS, false_renewals, one_look, until_renewed

from router.lab.certifying import delta_of_round

HERE = Path(__file__).parent
DELTA = 0.1
EPSILONS = (0.05, 0.02)
SHARES = (0.0, 0.25, 0.4, 0.6)  # of epsilon
DEVIATIONS = 3


def simulated() -> dict:
    """False renewals at epsilon, and how many audits it takes below."""
    false, needed = [], []
    for epsilon in EPSILONS:
        for place, stream in enumerate(STREAMS):
            found = false_renewals(stream, epsilon, DELTA, seed=place)
            false.append({"epsilon": epsilon, **stream.told, **found})
        for share in SHARES:
            loss = share * epsilon
            row = {"epsilon": epsilon, "loss": loss, "one_look": one_look(epsilon, loss, delta_of_round(DELTA, 2))}
            for stream in STREAMS[:3]:
                row[stream.name] = until_renewed(stream, epsilon, loss, delta_of_round(DELTA, 2), seed=100)
            needed.append(row)
    return {"delta": DELTA, "runs": RUNS, "rounds": list(ROUNDS), "false": false, "needed": needed}


def recorded(folder: Path) -> dict:
    """The same with recorded drafts, through all of the shipped code but the store."""
    rows = []
    for corpus in corpora(folder):
        for epsilon in EPSILONS:
            rows += [renewals(corpus, epsilon, DELTA, aim) for aim in (FALSE, USEFUL)]
    return {"rows": [row for row in rows if row is not None]}


def at_most(chance: float, runs: int) -> float:
    """The most of so many runs that a chance allows, with Monte-Carlo error."""
    return chance * runs + DEVIATIONS * (chance * (1 - chance) * runs) ** 0.5


def claims(figures: dict) -> dict[str, bool]:
    """What is said of these figures, and whether it is so."""
    streams = figures["simulated"]
    false = streams["false"]
    said = {
        f"a disagreement of epsilon, looked at after every audit, is renewed in at most delta = "
        f"{delta_of_round(DELTA, number):.3g} of the runs in round {number}": all(
            row["renewed"][str(number)] <= at_most(delta_of_round(DELTA, number), RUNS) for row in false
        )
        for number in ROUNDS
    }
    said["a test for one look, looked at so often, renews oftener than that"] = all(
        row["by_one_look"] > at_most(delta_of_round(DELTA, 2), RUNS) for row in false
    )
    if "recorded" in figures:
        rows = figures["recorded"]["rows"]
        said["on recorded drafts, at most delta of the runs certify a threshold that loses more than epsilon"] = all(
            row["false"] <= at_most(row["delta"], row["runs"]) for row in rows
        )
    return said


def main() -> int:
    """Run, write, and tell whether the claims hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of recorded outcomes")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    figures = {"simulated": simulated()}
    if options.data is not None:
        figures["recorded"] = recorded(options.data)
    figures["claims"] = claims(figures)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "renewed.json").write_text(json.dumps(figures, indent=1) + "\n")
    text = page(figures)
    (options.out / "renewed.md").write_text(text)
    print(text)
    return 0 if all(figures["claims"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
