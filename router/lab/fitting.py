"""Fits a scorer: logistic regression over named features of recorded drafts, as plain weights. Deterministic."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from router.fitted import Logistic
from router.lab.folds import held_out
from router.lab.measures import Bools, Floats, Indices

Target = Literal["right", "no-regret"]
Features = Mapping[str, float]

FOLDS = 5
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
STEPS = 1000
LEAST = 1e-12
HUGE = 1e100  # beyond, squares overflow


class CannotFit(ValueError):
    """Drafts that nothing can be fitted to."""


def target_of(target: Target, draft_right: Bools, final_right: Bools) -> Bools:
    """(n,): what the confidence is to be the probability of, from whether each answer (n,) is right. `right`: the draft
    is. `no-regret`: not that the final tier is right and the draft wrong, which is what escalating would mend."""
    return draft_right if target == "right" else ~(final_right & ~draft_right)


def fit(features: Sequence[Features], target: Bools, names: Sequence[str], *, seed: int = 0) -> Logistic:
    """Logistic regression of the target (n,) on these features of n drafts, standardised, with the L2 penalty of the
    least cross-validated log loss; a feature that never changes weighs nothing. Raises CannotFit where a draft lacks a
    feature or has one that is no number below 10^100, or where either kind has fewer than 5 drafts."""
    return fit_columns(columns_of(features, names), target, names, seed=seed)


def cross_fitted(
    features: Sequence[Features],
    target: Bools,
    names: Sequence[str],
    fold: Indices | None = None,
    *,
    seed: int = 0,
) -> Floats:
    """(n,): the confidence in each draft by a scorer that was fitted on the other folds alone, its penalty too, so that
    the confidences may be measured on the same drafts. `fold` (n,) as `folds_of` makes it; by default the folds are
    five, drawn by `seed`. Raises CannotFit."""
    columns = columns_of(features, names)
    confidence = np.empty(len(columns))
    for held in stratified(target, FOLDS, seed) if fold is None else held_out(fold):
        fitted = fit_columns(columns[~held], target[~held], names, seed=seed)
        confidence[held] = confidences(fitted, columns[held])
    return confidence


def columns_of(features: Sequence[Features], names: Sequence[str]) -> Floats:
    """(n, k): each draft's features, in this order. Raises CannotFit."""
    if not features or not names:
        raise CannotFit("at least one draft and one feature are wanted")
    try:
        columns = np.array([[draft[name] for name in names] for draft in features], dtype=np.float64)
    except KeyError as missing:
        raise CannotFit(f"a draft has no feature {missing.args[0]!r}") from missing
    broken = ~(np.abs(columns) < HUGE).all(axis=0)
    if broken.any():
        raise CannotFit(f"feature {names[int(np.argmax(broken))]!r} of a draft is no number, or beyond all measure")
    return columns


def fit_columns(columns: Floats, target: Bools, names: Sequence[str], *, seed: int) -> Logistic:
    """The same, of features (n, k)."""
    if len(columns) != len(target):
        raise CannotFit("as many targets as drafts are wanted")
    if min(target.sum(), (~target).sum()) < FOLDS:
        raise CannotFit(f"at least {FOLDS} drafts of either kind are wanted")
    mean, spread = columns.mean(axis=0), columns.std(axis=0)
    changes = spread > LEAST * np.maximum(1.0, np.abs(mean))
    scale = np.where(changes, 1 / np.where(changes, spread, 1.0), 0.0)
    standard = (columns - mean) * scale
    with threadpool_limits(1):  # more threads wait for each other on so few columns
        model = regression(standard, target, best_strength(standard, target, seed))
    weights = model.coef_[0] * scale
    return Logistic(names=tuple(names), weights=tuple(map(float, weights)),
                    intercept=float(model.intercept_[0] - weights @ mean))  # fmt: skip


def best_strength(columns: Floats, target: Bools, seed: int) -> float:
    """scikit-learn's C with the least log loss over the folds; of equals the smallest, the strongest penalty."""
    losses = np.zeros(len(STRENGTHS))
    for kept in stratified(target, FOLDS, seed):
        for place, strength in enumerate(STRENGTHS):
            model = regression(columns[~kept], target[~kept], strength)
            losses[place] += log_loss(columns[kept] @ model.coef_[0] + model.intercept_[0], target[kept])
    return STRENGTHS[int(np.argmin(losses))]


def regression(columns: Floats, target: Bools, strength: float) -> LogisticRegression:
    """One fit."""
    return LogisticRegression(C=strength, max_iter=STEPS, solver="newton-cholesky").fit(columns, target)


def log_loss(odds: Floats, target: Bools) -> float:
    """The sum over drafts, in nats, of log-odds (n,)."""
    return float(np.logaddexp(0.0, np.where(target, -odds, odds)).sum())


def confidences(fitted: Logistic, columns: Floats) -> Floats:
    """(n,): of features (n, k) in the order of their names; the sigmoid of `Logistic.log_odds`, up to rounding."""
    odds = columns @ np.array(fitted.weights) + fitted.intercept
    shares: Floats = np.exp(-np.logaddexp(0.0, -odds))
    return shares


def stratified(target: Bools, folds: int, seed: int) -> Iterator[Bools]:
    """For each fold, which drafts (n,) are in it: as equal in number as can be, of either kind too."""
    fold = np.empty(len(target), dtype=np.intp)
    chance = np.random.default_rng(seed)
    start = 0
    for kind in (target, ~target):
        rows = chance.permutation(np.flatnonzero(kind))
        fold[rows] = (np.arange(len(rows)) + start) % folds
        start += len(rows)
    return held_out(fold)
