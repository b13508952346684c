"""Does a calibrated confidence mean what it says? Fit on 300 labels, many times over, and look at all other questions.

    python bench/quality/calibrated.py --data FOLDER     # the recorded outcomes of real pairs of models

Written beside this script: calibrated.json, calibrated.md, calibrated.png; with another --seed nothing is written.
Exits 1 where a target is missed.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from calibrated_plot import draw
from certified_populations import read

from router.calibration import Calibration
from router.lab.calibrating import FITS, best_of, cross_validated, fit_calibration, log_losses, probabilities_of
from router.lab.measures import brier, ece, ranking_of, reliability_of

HERE = Path(__file__).parent
SEED = 20260131
LABELS, DRAWS, BINS = 300, 50, 15
USUAL = {kind: fit for kind, fit in FITS.items() if kind != "bent"}
MOST_ERROR: Mapping[str, float] = {"arxiv": 0.035, "boolq": 0.035, "imdb": 0.05, "mmlu": 0.035, "sst2": 0.035}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one map does on questions that it was not fitted on: the expected calibration error, Brier score, log loss
    in nats, and in each bin the mean probability and the share that is right."""

    error: float
    brier: float
    log_loss: float
    said: np.ndarray
    right: np.ndarray


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the draws on one corpus: uncalibrated, calibrated, and by each kind of fit alone."""

    corpus: str
    questions: int
    wanted_error: float
    uncalibrated: Mapping[str, float]
    calibrated: Mapping[str, float]
    error_deviation: float
    error_of_fit: Mapping[str, float]
    error_without_bent: float
    chosen: Mapping[str, int]
    diagram: Mapping[str, Sequence[float]]

    @property
    def missed(self) -> bool:
        """Whether the target is."""
        return self.calibrated["error"] > self.wanted_error


def corpora(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each with the small model's confidence, float[n], and whether it is right, bool[n]."""
    questions = read(folder, "filters-llama31-8b-70b")
    for corpus in sorted(MOST_ERROR):
        those = [one.outputs["small"] for one in questions if one.task == f"filter/{corpus}"]
        yield corpus, np.array([one.confidence for one in those]), np.array([bool(one.correct) for one in those])


def row_of(corpus: str, confidence: np.ndarray, right: np.ndarray, source: np.random.Generator) -> Row:
    """What came of all draws on one corpus."""
    uncalibrated, calibrated, chosen, without_bent = [], [], [], []
    alone: dict[str, list[float]] = {kind: [] for kind in FITS}
    for number in range(DRAWS):
        fitted_on, rest = np.split(source.permutation(len(right)), [LABELS])
        labels = confidence[fitted_on], right[fitted_on]
        fits = {kind: fit(*labels) for kind, fit in FITS.items()}
        calibration = fit_calibration(*labels, seed=number)
        chosen.append(next(kind for kind, fit in fits.items() if fit == calibration))
        uncalibrated.append(seen(confidence[rest], right[rest]))
        calibrated.append(seen(applied(calibration, confidence[rest]), right[rest]))
        for kind, fit in fits.items():
            alone[kind].append(seen(applied(fit, confidence[rest]), right[rest]).error)
        usual = best_of(cross_validated(USUAL, *labels, seed=number))
        without_bent.append(alone[usual][-1])
    return Row(
        corpus,
        len(right),
        MOST_ERROR[corpus],
        means(uncalibrated),
        means(calibrated),
        error_deviation=float(np.std([one.error for one in calibrated], ddof=1)),
        error_of_fit={kind: float(np.mean(errors)) for kind, errors in alone.items()},
        error_without_bent=float(np.mean(without_bent)),
        chosen=dict(Counter(chosen)),
        diagram=diagram(uncalibrated, calibrated),
    )


def applied(calibration: Calibration, confidence: np.ndarray) -> np.ndarray:
    """Its probabilities, each distinct confidence looked up once."""
    distinct, places = np.unique(confidence, return_inverse=True)
    return probabilities_of(calibration, distinct)[places]


def seen(probability: np.ndarray, right: np.ndarray) -> Seen:
    """Over bins of equally many questions, in order of the probability."""
    ranking = ranking_of(probability)
    bins = reliability_of(ranking, right, bins=BINS)
    log_loss = float(log_losses(probability, right).mean())
    return Seen(ece(bins), brier(ranking, right), log_loss, bins.said, bins.happened)


def means(draws: Sequence[Seen]) -> Mapping[str, float]:
    """Of the three figures."""
    return {name: float(np.mean([getattr(one, name) for one in draws])) for name in ("error", "brier", "log_loss")}


def diagram(uncalibrated: Sequence[Seen], calibrated: Sequence[Seen]) -> Mapping[str, Sequence[float]]:
    """The bins' means over the draws."""
    curves = {"uncalibrated": uncalibrated, "calibrated": calibrated}
    return {
        f"{name}_{axis}": np.mean([getattr(one, axis) for one in draws], axis=0).round(4).tolist()
        for name, draws in curves.items()
        for axis in ("said", "right")
    }


def table(rows: Sequence[Row]) -> str:
    """In Markdown."""
    kinds = list(FITS)
    lines = [
        f"| corpus | ECE before | **ECE after** (wanted) | deviation | Brier | log loss | chosen | {' | '.join(kinds)}"
        " | chosen without bent |",
        "|---|--:|--:|--:|--:|--:|---|" + "--:|" * (len(kinds) + 1),
    ]
    for row in rows:
        before, after = row.uncalibrated, row.calibrated
        chosen = ", ".join(f"{kind} {row.chosen[kind]}" for kind in kinds if kind in row.chosen)
        alone = " | ".join(f"{row.error_of_fit[kind]:.4f}" for kind in kinds)
        lines.append(
            f"| {row.corpus} | {before['error']:.4f} | **{after['error']:.4f}** (≤ {row.wanted_error})"
            f" | {row.error_deviation:.4f} | {before['brier']:.4f} → {after['brier']:.4f}"
            f" | {before['log_loss']:.4f} → {after['log_loss']:.4f} | {chosen} | {alone}"
            f" | {row.error_without_bent:.4f} |"
            f"{' **missed**' if row.missed else ''}"
        )
    return "\n".join(lines)


def page(rows: Sequence[Row]) -> str:
    """What is committed to be read."""
    return f"""# Calibrated confidence

Written by `python bench/quality/calibrated.py --data FOLDER`, on the recorded outcomes of yes/no filters (seed
{SEED}).

Each line: {DRAWS} draws of {LABELS} labels from the corpus, without replacement. The map from the small model's own
confidence to P(its answer is right) is fitted and chosen on these alone, and looked at on all other questions.
**ECE** is the expected calibration error over {BINS} bins of equally many questions; its mean over the draws, and
its standard deviation from draw to draw. The last columns are the ECE of each fit where it is taken always.

{table(rows)}

The targets are for the mean of {DRAWS} draws, which itself varies: with `--seed` 1 to 5 it is .022 to .025 on
arXiv, .027 to .033 on BoolQ, .044 to .046 on IMDB, .031 to .035 on MMLU and .020 to .025 on SST-2; once (seed 2)
MMLU's is .0353, above its target.

What to see: a straight map does on four corpora; on IMDB, where the small model is right four times of ten unless it is
nearly sure, only one that may bend. The bent map was added to the three usual ones because of this corpus:
cross-validation of these alone (the last column) leaves Platt's too seldom, and isotonic regression, which can follow,
is the worst on BoolQ, MMLU and SST-2. Its constants (five stretches, a nat for a squared unit of bend) are round
numbers: with four or eight stretches, or a third or three times of that cost, the ECE of the bent map moves by at most
0.003 on any corpus. On arXiv, MMLU and SST-2 this small model's own confidence happens to be calibrated already; 300
labels cannot improve it, and cost up to 0.006.

![Reliability diagrams](calibrated.png)
"""


def write(rows: Sequence[Row]) -> None:
    """Beside this script."""
    figures = {"seed": SEED, "labels": LABELS, "draws": DRAWS, "bins": BINS, "rows": [asdict(row) for row in rows]}
    (HERE / "calibrated.json").write_text(json.dumps(figures, indent=1) + "\n")
    (HERE / "calibrated.md").write_text(page(rows))
    draw(HERE / "calibrated.png", figures["rows"])


def main() -> int:
    """1 where a target is missed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of the recorded outcomes")
    arguments.add_argument("--seed", type=int, default=SEED, help="of the draws (%(default)s)")
    given = arguments.parse_args()
    source = np.random.default_rng(given.seed)
    rows = [row_of(*corpus, source) for corpus in corpora(given.data)]
    if given.seed == SEED:
        write(rows)
    print(table(rows))
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
