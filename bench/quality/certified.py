"""Certify many times over, and look at the whole population: is the regret as promised, and is anything accepted?

    python bench/quality/certified.py --data FOLDER     # the recorded outcomes of real pairs of models

A draw is 500 questions, with replacement, for the grid of thresholds (their confidences alone are looked at), and 500
more that certify. Written beside this script: certified.json, certified.md, certified.png. Exits 1 where a target is
missed.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
from certified_plot import draw
from certified_populations import Population, populations

from router.certificate import Certificate
from router.lab.certifying import Split, Tried, Wanted, certify, grid_of, plugged_in, tried_at
from router.lab.tails import most_losses

HERE = Path(__file__).parent
SEED = 20260131
QUESTIONS, DRAWS, DELTA, EPSILONS = 500, 1000, 0.1, (0.02, 0.05)
MOST_VIOLATIONS = 119  # of 1,000: 10 % and two standard errors
WANTED_ACCEPTANCE: Mapping[tuple[str, float], float] = {
    ("arxiv filter", 0.05): 0.75,
    ("sst2 filter", 0.05): 0.64,
    ("mmlu filter", 0.05): 0.35,
    ("boolq filter", 0.05): 0.29,
    ("imdb filter", 0.05): 0.13,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one population at one epsilon. Violations are draws whose threshold has a regret above epsilon in
    the whole population; acceptance and regret are means over the draws, of the whole population, 0 where none is
    certified; `best_acceptance` is that of the laxest threshold that is right, which nobody knows who has only a
    sample."""

    population: str
    score: str
    questions: int
    epsilon: float
    violations: int
    infeasible: int
    acceptance: float
    wanted_acceptance: float | None
    regret: float
    best_acceptance: float
    plug_in_violations: int
    plug_in_acceptance: float
    plug_in_regret: float

    @property
    def missed(self) -> bool:
        """Whether a target is."""
        return self.violations > MOST_VIOLATIONS or self.acceptance < (self.wanted_acceptance or 0)


def rows_of(population: Population, seed: Sequence[int]) -> Iterator[Row]:
    """A row for each epsilon, on the same draws."""
    tries = [a_draw(population, np.random.default_rng([*seed, number])) for number in range(DRAWS)]
    for epsilon in EPSILONS:
        wanted = Wanted("regret", "recorded", epsilon=epsilon, delta=DELTA)
        certificates = [certify(tried, wanted, Split("drawn"), on=date(2026, 1, 31)) for tried in tries]
        thresholds = [one.threshold if isinstance(one, Certificate) else None for one in certificates]
        plugged = [threshold_of(tried, plugged_in(tried, epsilon)) for tried in tries]
        everything = tried_at(grid_of(population.confidence), population.confidence, population.regret)
        best = threshold_of(everything, plugged_in(everything, epsilon))
        acceptance, regret = truth(population, thresholds)
        plug_in_acceptance, plug_in_regret = truth(population, plugged)
        yield Row(
            population.name,
            population.score,
            len(population.regret),
            epsilon,
            violations=int((regret > epsilon).sum()),
            infeasible=thresholds.count(None),
            acceptance=float(acceptance.mean()),
            wanted_acceptance=WANTED_ACCEPTANCE.get((population.name, epsilon)),
            regret=float(regret.mean()),
            best_acceptance=float(truth(population, [best])[0][0]),
            plug_in_violations=int((plug_in_regret > epsilon).sum()),
            plug_in_acceptance=float(plug_in_acceptance.mean()),
            plug_in_regret=float(plug_in_regret.mean()),
        )


def a_draw(population: Population, source: np.random.Generator) -> Tried:
    """The grid from some questions, tried on others."""
    tuning, certification = source.integers(0, len(population.regret), (2, QUESTIONS))
    grid = grid_of(population.confidence[tuning])
    return tried_at(grid, population.confidence[certification], population.regret[certification])


def threshold_of(tried: Tried, count: int) -> float | None:
    """The last of the first so many."""
    return float(tried.thresholds[count - 1]) if count else None


def truth(population: Population, thresholds: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """The acceptance rate and the regret of the whole population at each threshold; None accepts nothing."""
    escalating = [np.nextafter(1.0, 2.0) if one is None else one for one in thresholds]
    size, ordered = len(population.regret), np.sort(population.confidence)
    regretted = np.sort(population.confidence[population.regret])
    accepted = size - np.searchsorted(ordered, escalating)
    return accepted / size, (len(regretted) - np.searchsorted(regretted, escalating)) / size


def table(rows: Sequence[Row]) -> str:
    """In Markdown."""
    lines = [
        "| population | score | ε | violations | plug-in's | acceptance (wanted) | best possible | plug-in's |"
        " mean regret | infeasible |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        wanted = f" (≥ {row.wanted_acceptance:.2f})" if row.wanted_acceptance else ""
        lines.append(
            f"| {row.population} | {row.score} | {row.epsilon} | {row.violations} | {row.plug_in_violations}"
            f" | {row.acceptance:.3f}{wanted} | {row.best_acceptance:.3f} | {row.plug_in_acceptance:.3f}"
            f" | {row.regret:.4f} | {row.infeasible} |{' **missed**' if row.missed else ''}"
        )
    return "\n".join(lines)


def page(rows: Sequence[Row]) -> str:
    """What is committed to be read."""
    worst = max(rows, key=lambda row: row.violations)
    allowed = ", ".join(f"{most_losses(QUESTIONS, one, DELTA)} for ε = {one}" for one in EPSILONS)
    return f"""# Certified regret: honest, and useful

Written by `python bench/quality/certified.py --data FOLDER`, on the recorded outcomes of real pairs of models (seed
{SEED}).

Each line: {DRAWS:,} draws with replacement from the population. A draw takes {QUESTIONS} questions whose confidences
alone make the grid of thresholds, and {QUESTIONS} others that certify, at δ = {DELTA}: the laxest threshold with at
most so many regretted drafts ({allowed}). Its truth is that of the whole population. **Violations** are draws whose
threshold has a regret above ε there; the promise is {DELTA:.0%} of them at most, {MOST_VIOLATIONS} with Monte-Carlo
error. The **plug-in** is the laxest threshold whose regret in the same {QUESTIONS} questions is at most ε, as one
tunes without a test. **Acceptance** is the mean over the draws, 0 where a draw certifies nothing (**infeasible**);
the best possible is that of the laxest threshold that keeps ε in the whole population, which no sample tells.

{table(rows)}

The most violations are {worst.violations} of {DRAWS:,} ({worst.population}, ε = {worst.epsilon}). They are fewer
than δ allows because losses are whole numbers (at ε = 0.05, 18 of 500 have a tail of 0.086 and 19 one of 0.13), and
because the next laxer threshold is often well above ε where many questions share a confidence. The plug-in breaks ε
in about every second draw wherever the confidences are fine enough to come near it.

Populations. Filters: all questions of the corpus, and the small model's own probability for what it answered. With
the helper's agreement: the whole file, confidence 1 where the helper answers the same, else 0. `fitted` and `before
generation`: logistic regression for "not regretted", on nine plain features of the question and the answer (and the
helper's agreement), or on hashed words and pairs of words of the question alone, fitted on a third of the file that
is then no part of the population. These scorers are there to have a score to certify, not to be good ones.

![Violations and acceptance](certified.png)
"""


def main() -> int:
    """1 where a target is missed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of the recorded outcomes")
    folder = arguments.parse_args().data
    rows = [row for number, one in enumerate(populations(folder, SEED)) for row in rows_of(one, (SEED, number))]
    settings = {
        "seed": SEED,
        "questions": QUESTIONS,
        "draws": DRAWS,
        "delta": DELTA,
        "most_violations": MOST_VIOLATIONS,
    }
    (HERE / "certified.json").write_text(
        json.dumps({**settings, "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
    )
    (HERE / "certified.md").write_text(page(rows))
    draw(HERE / "certified.png", [asdict(row) for row in rows], allowed=DELTA * DRAWS)
    print(table(rows))
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
