"""Fits the score before generation: what escalating gained, by ridge regression on a prompt's words. Deterministic."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from router.lab.fitting import CannotFit
from router.lab.folds import held_out
from router.lab.measures import Bools, Floats, Indices
from router.lab.word_rows import in_units, rarity_of, rows_of
from router.skipping import PromptGain

BUCKETS = 65_536
PENALTIES = (100.0, 200.0, 400.0, 800.0, 1600.0)
CLOSE_ENOUGH = 1e-4
PARTS = 3
FEWEST = 25


def gains_of(draft_right: Bools, final_right: Bools) -> Floats:
    """(n,): 1 where escalating makes a wrong answer right, -1 where it makes a right one wrong, else 0."""
    return final_right.astype(np.float64) - draft_right


def fit_gain(prompts: Sequence[str], gains: Floats, *, buckets: int = BUCKETS, seed: int = 0) -> PromptGain:
    """Ridge regression of the gains (n,) in [-1, 1] on n prompts' words and pairs of words, each weighed by how rare it
    is in them, with the penalty whose order of the prompts recovers most in cross-validation. Raises CannotFit where
    the prompts are fewer than 25, or all gains are one."""
    return fit_rows(rows_of(prompts, buckets), gains, seed=seed)


def cross_fitted_gain(
    prompts: Sequence[str], gains: Floats, fold: Indices, *, buckets: int = BUCKETS, seed: int = 0
) -> Floats:
    """(n,): the confidence before generation in each prompt, by a score that was fitted on the other folds alone, its
    penalty too. Raises CannotFit."""
    rows = rows_of(prompts, buckets)
    confidence = np.empty(len(prompts))
    for held in held_out(fold):
        fitted = fit_rows(rows[~held], gains[~held], seed=seed)
        confidence[held] = (1 - gains_in(fitted, rows[held])) / 2
    return confidence


def fit_rows(rows: sparse.csr_array, gains: Floats, *, seed: int) -> PromptGain:
    """The same, of shares (n, buckets)."""
    if rows.shape[0] != len(gains):
        raise CannotFit("as many gains as prompts are wanted")
    if len(gains) < FEWEST or np.ptp(gains) == 0:
        raise CannotFit(f"at least {FEWEST} prompts are wanted, on which escalating gains now more, now less")
    with threadpool_limits(1):  # more threads wait for each other on rows as sparse as these
        return regression(rows, gains, best_penalty(rows, gains, seed))


def best_penalty(rows: sparse.csr_array, gains: Floats, seed: int) -> float:
    """The penalty whose order of the prompts recovers most, each prompt in the order of a fit that has not seen it: the
    area under the gain so far is the gains times the ranks, but for a constant."""
    part = np.random.default_rng(seed).permutation(len(gains)) % PARTS

    def recovered(penalty: float) -> float:
        expected = np.empty(len(gains))
        for held in held_out(part):
            expected[held] = gains_in(regression(rows[~held], gains[~held], penalty), rows[held])
        return float(gains @ rankdata(expected))

    return max(PENALTIES, key=recovered)


def regression(rows: sparse.csr_array, gains: Floats, penalty: float) -> PromptGain:
    """One fit, rounded to whole units."""
    rarity = rarity_of(rows)
    model = Ridge(alpha=penalty, solver="sparse_cg", tol=CLOSE_ENOUGH).fit(rows @ sparse.diags_array(rarity), gains)
    weights = np.ravel(model.coef_) * rarity
    unit, whole = in_units(weights)
    return PromptGain(intercept=float(model.intercept_), unit=unit, weights=tuple(whole.tolist()))


def gains_in(fitted: PromptGain, rows: sparse.csr_array) -> Floats:
    """(n,): what `PromptGain.gain` says of shares (n, buckets), up to rounding."""
    gains: Floats = fitted.intercept + fitted.unit * (rows @ np.array(fitted.weights, dtype=np.float64))
    return np.clip(gains, -1.0, 1.0)
