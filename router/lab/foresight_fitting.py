"""Whether a score before generation has earned its place; and the one of embeddings. Deterministic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from router.lab.fitting import CannotFit
from router.lab.folds import folds_of, held_out
from router.lab.measures import Floats, Indices
from router.lab.skip_fitting import FEWEST, cross_fitted_gain
from router.skipping import EmbeddingGain

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
PARTS = FOLDS = 5
DRAWS = 1000
MIDDLE = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Worth:
    """What skipping in a score's order gains over skipping as many prompts at random, in accuracy (a share of all
    requests), averaged over all shares of skipped prompts: an estimate, and its 95 % interval by bootstrap. Each prompt
    is scored by a fit that has not seen it."""

    gain: float
    low: float
    high: float

    @property
    def is_earned(self) -> bool:
        """Whether the interval is above 0."""
        return self.low > 0


def worth_of(gains: Floats, confidence: Floats, *, seed: int = 0) -> Worth:
    """Of n prompts: what escalating gained (n,), in [-1, 1], and the held-out confidence in each (n,). Prompts with the
    lowest one are skipped first."""
    draws = np.random.default_rng(seed).integers(0, len(gains), (DRAWS, len(gains)))
    drawn = [area(gains[one], confidence[one]) for one in draws]
    low, high = np.quantile(drawn, MIDDLE)
    return Worth(area(gains, confidence), float(low), float(high))


def area(gains: Floats, confidence: Floats) -> float:
    """Between the gain so far, in this order, and in a random one: the gains times the ranks, but for a constant."""
    ranks = rankdata(-confidence) - (len(gains) + 1) / 2
    return float(gains @ ranks) / len(gains) ** 2


def worth_of_words(prompts: Sequence[str], gains: Floats, *, seed: int = 0) -> Worth:
    """Of a score of n prompts' words. Raises CannotFit."""
    return worth_of(gains, cross_fitted_gain(prompts, gains, parts_of(prompts, seed), seed=seed), seed=seed)


def worth_of_embeddings(prompts: Sequence[str], vectors: Floats, gains: Floats, *, seed: int = 0) -> Worth:
    """Of a score of n prompts' embeddings (n, d). Raises CannotFit."""
    return worth_of(gains, cross_fitted_embeddings(vectors, gains, parts_of(prompts, seed), seed=seed), seed=seed)


def cross_fitted_embeddings(vectors: Floats, gains: Floats, fold: Indices, *, seed: int = 0) -> Floats:
    """(n,): the confidence before generation, from embeddings (n, d), by a score that was fitted on the other folds
    alone, its penalty too. Raises CannotFit."""
    confidence = np.empty(len(gains))
    for held in held_out(fold):
        intercept, weights = fit_ridge(vectors[~held], gains[~held], seed)
        confidence[held] = (1 - np.clip(intercept + vectors[held] @ weights, -1.0, 1.0)) / 2
    return confidence


def fit_embedding_gain(
    vectors: Floats, gains: Floats, *, model: str, fingerprint: str | None = None, seed: int = 0
) -> EmbeddingGain:
    """Ridge regression of the gains (n,) in [-1, 1] on embeddings (n, d) of length 1, with the penalty whose order of
    the prompts recovers most in cross-validation. Raises CannotFit where the prompts are fewer than 25, or all gains
    are one. Nearest neighbours would need the embeddings of the questions in the artefact, which must not hold them."""
    intercept, weights = fit_ridge(vectors, gains, seed)
    return EmbeddingGain(model=model, fingerprint=fingerprint, intercept=intercept, weights=tuple(weights.tolist()))


def fit_ridge(vectors: Floats, gains: Floats, seed: int) -> tuple[float, Floats]:
    """The intercept, and the weights (d,)."""
    if len(gains) < FEWEST or np.ptp(gains) == 0:
        raise CannotFit(f"at least {FEWEST} prompts are wanted, on which escalating gains now more, now less")
    part = np.random.default_rng(seed).permutation(len(gains)) % PARTS

    def recovered(penalty: float) -> float:
        expected = np.empty(len(gains))
        for held in held_out(part):
            expected[held] = Ridge(alpha=penalty).fit(vectors[~held], gains[~held]).predict(vectors[held])
        return float(gains @ rankdata(expected))

    with threadpool_limits(1):
        model = Ridge(alpha=max(PENALTIES, key=recovered)).fit(vectors, gains)
    return float(model.intercept_), np.ravel(model.coef_)


def parts_of(prompts: Sequence[str], seed: int) -> Indices:
    """Each prompt's fold. Raises CannotFit where there are too few."""
    try:
        return folds_of(prompts, FOLDS, seed=seed)
    except ValueError as few:
        raise CannotFit(str(few)) from few
