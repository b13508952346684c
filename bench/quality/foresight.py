"""Skipping drafts before generation: what hashed words tell, and what a server's embeddings do.

    python bench/quality/foresight.py --data FOLDER --embeddings URL --model NAME

Every prompt is scored by a fit that has not seen it. Written beside this script: foresight.json, foresight.md.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from certified_populations import read
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors

from router.lab.folds import folds_of, held_out
from router.lab.foresight_fitting import Worth, area, cross_fitted_embeddings, worth_of
from router.lab.skip_fitting import cross_fitted_gain, gains_of
from server.cli.embedding import embeddings
from server.settings.tier import TierSettings

HERE = Path(__file__).parent
SEED, FOLDS, DRAWS = 0, 5, 1000
NAMES = ("mmlu-mixtral-gpt4", "mmlu-pro-llama31-8b-70b", "gsm8k-mixtral-gpt4", "gsm8k-llama31-8b-70b")
NEIGHBOURS = (20, 50, 100, 200, 400)


@dataclass(frozen=True, slots=True)
class Row:
    """One way to score a file's prompts: what its order gains over a random one, of all that the best order would, and
    how much more than words (an estimate and its 95 % interval, on the same resamples)."""

    file: str
    score: str
    questions: int
    worth: Worth
    of_best: float
    more_than_words: tuple[float, float, float]


def rows_of(name: str, folder: Path, tier: TierSettings) -> Iterator[Row]:
    """Of words, of embeddings by ridge regression, and by nearest neighbours."""
    questions = [one for one in read(folder, name) if one.prompt]
    prompts = [one.prompt for one in questions]
    right = {role: np.array([bool(one.outputs[role].correct) for one in questions]) for role in ("small", "large")}
    gains, fold = gains_of(right["small"], right["large"]), folds_of(prompts, FOLDS, seed=SEED)
    found = asyncio.run(embeddings("embedder", tier, prompts))
    vectors = np.array(found)
    scores = {
        "words": cross_fitted_gain(prompts, gains, fold, seed=SEED),
        "embeddings, ridge": cross_fitted_embeddings(vectors, gains, fold, seed=SEED),
        "embeddings, nearest neighbours": neighbours(vectors, gains, fold),
    }
    best = area(gains, -gains)
    for score, confidence in scores.items():
        more = difference(gains, confidence, scores["words"])
        worth = worth_of(gains, confidence, seed=SEED)
        yield Row(name, score, len(gains), worth, worth.gain / best, more)


def neighbours(vectors: np.ndarray, gains: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """float[n]: one half less half the mean gain of the nearest prompts of other folds, as many as do best among these
    for each other."""
    confidence = np.empty(len(gains))
    for held in held_out(fold):
        seen, index = vectors[~held], NearestNeighbors(algorithm="brute").fit(vectors[~held])
        own = gains[~held][index.kneighbors(seen, max(NEIGHBOURS) + 1, return_distance=False)[:, 1:]]
        count = max(NEIGHBOURS, key=lambda few: float(gains[~held] @ rankdata(own[:, :few].mean(axis=1))))
        near = index.kneighbors(vectors[held], count, return_distance=False)
        confidence[held] = (1 - gains[~held][near].mean(axis=1)) / 2
    return confidence


def difference(gains: np.ndarray, mine: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """What one order gains over another."""
    draws = np.random.default_rng(SEED).integers(0, len(gains), (DRAWS, len(gains)))
    more = [area(gains[one], mine[one]) - area(gains[one], other[one]) for one in draws]
    low, high = np.quantile(more, (0.025, 0.975))
    return area(gains, mine) - area(gains, other), float(low), float(high)


def table(rows: Sequence[Row]) -> str:
    """In Markdown, in points of accuracy."""
    lines = [
        "| file | questions | score | gain over a random order, points | of the best order's | more than words |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for row in rows:
        worth, (more, low, high) = row.worth, row.more_than_words
        beside = "" if row.score == "words" else f"{100 * more:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
        lines.append(
            f"| {row.file} | {row.questions} | {row.score} | {100 * worth.gain:+.2f} ({100 * worth.low:+.2f} to"
            f" {100 * worth.high:+.2f}) | {row.of_best:.0%} | {beside} |"
        )
    return "\n".join(lines)


def page(rows: Sequence[Row], model: str) -> str:
    """What is committed to be read."""
    earned = [f"{row.score} on {row.file}" for row in rows if row.worth.is_earned]
    better = [f"{row.score} on {row.file}" for row in rows if row.more_than_words[1] > 0]
    worse = [f"{row.score} on {row.file}" for row in rows if row.more_than_words[2] < 0]
    return f"""# Skipping drafts before generation

Written by `python bench/quality/foresight.py --data FOLDER --embeddings URL --model {model}`, on recorded outcomes.

Prompts are skipped in the order of a score that was fitted on other questions (five folds). **Gain over a random
order**: the accuracy that escalating them gains, over skipping as many at random, in points of all requests, averaged
over all shares of skipped prompts, with its 95 % interval (bootstrap); `tune --skip` keeps a score only where that is
above 0. **Of the best order's**: that of an order which knows both answers. **More than words**: on the same resamples.

{table(rows)}

The embeddings are `{model}`'s{STATIC if model.startswith("wordllama") else ""}.

- Earned by its interval: {"; ".join(earned) or "none"}.
- Better than words: {"; ".join(better) or "none"}.
- Worse than words: {"; ".join(worse) or "none"}.

Nearest neighbours are here to compare with; `tune` does not offer them, as an artefact would have to hold the
questions' embeddings.
"""


STATIC = """: static word embeddings, the smallest that there are. A model that reads sentences
may tell more; that has to be measured on your own questions"""


def main() -> None:
    """Measure, and write."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of the recorded outcomes")
    arguments.add_argument("--embeddings", required=True, help="a server with /v1/embeddings")
    arguments.add_argument("--model", required=True, help="the model's name there")
    given = arguments.parse_args()
    tier = TierSettings.model_validate(
        {"model": given.model, "price": {"input": 0.0, "output": 0.0}, "urls": [given.embeddings], "dialect": "openai"}
    )
    rows = [row for name in NAMES for row in rows_of(name, given.data, tier)]
    told = {"seed": SEED, "folds": FOLDS, "model": given.model, "rows": [asdict(row) for row in rows]}
    (HERE / "foresight.json").write_text(json.dumps(told, indent=1) + "\n")
    (HERE / "foresight.md").write_text(page(rows, given.model))
    print(table(rows))


if __name__ == "__main__":
    main()
