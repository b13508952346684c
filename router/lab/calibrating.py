"""Fits the map from a scorer's confidence to a probability, on graded answers. Pure.

Every map is fitted on Platt's targets, (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) in place of 1 and 0, so that none runs away
where the outcomes are perfectly told apart (Platt, Probabilistic outputs for support vector machines, 1999).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import mannwhitneyu
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import StratifiedKFold

from router.calibration import LEAST, Beta, Calibration, Isotonic, Platt

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]
Kind = Literal["platt", "beta", "bent", "isotonic"]
Fit = Callable[[Floats, Bools], Calibration]

FEWEST = 20
FOLDS = 5
MANY = 500
LEAST_GAIN = 1.0
SIGNIFICANT = 0.001
STRETCHES = 5
BENDING_COST = 1.0
POINTS = 100


class CannotCalibrate(ValueError):
    """The labels do not say how the score and the outcome hang together."""


class TooFewLabels(CannotCalibrate):
    """There are fewer labels than a fit needs."""


class OneClassOnly(CannotCalibrate):
    """Every outcome is the same."""


class NegativelyRelated(CannotCalibrate):
    """The outcome is true where the score is low."""


def fit_calibration(confidences: ArrayLike, outcomes: ArrayLike, *, seed: int) -> Calibration:
    """The map that is expected to do best on further questions.

    `confidences`: float[n] in [0, 1], the scorer's own; `outcomes`: bool[n], what the probability is to be of. The fits
    are compared by their log loss in cross-validation: 5 stratified folds, shuffled by `seed`. From 500 labels on the
    least loss wins. Below that isotonic regression, which needs more, is left out (Niculescu-Mizil and Caruana, ICML
    2005), and Platt's map wins unless another one loses a nat less in all, which is what Akaike's criterion charges for
    a parameter. Where fewer than 5 outcomes are of one kind, which no folds can share, it is Platt's.

    A score that says nothing gets a flat map, the base rate. Raises TooFewLabels (under 20), OneClassOnly,
    NegativelyRelated (by a one-sided Mann-Whitney test at 0.001), and CannotCalibrate for arrays that are not of one
    length, or for what is no confidence or no outcome.
    """
    scores, labels = checked(confidences, outcomes)
    if min(labels.sum(), (~labels).sum()) < FOLDS:
        return fit_platt(scores, labels)
    fits = FITS if len(labels) >= MANY else FITS_OF_FEW
    return fits[best_of(cross_validated(fits, scores, labels, seed=seed))](scores, labels)


def checked(confidences: ArrayLike, outcomes: ArrayLike) -> tuple[Floats, Bools]:
    """The labels as arrays. Raises CannotCalibrate and its kinds."""
    scores, given = np.asarray(confidences, dtype=float), np.asarray(outcomes)
    if scores.ndim != 1 or scores.shape != given.shape:
        raise CannotCalibrate(f"one outcome for each confidence is wanted, not {given.shape} for {scores.shape}")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise CannotCalibrate("a confidence is a number in [0, 1]")
    if not np.isin(given, (0, 1)).all():
        raise CannotCalibrate("an outcome is true or false")
    labels = given.astype(bool)
    if len(labels) < FEWEST:
        raise TooFewLabels(f"{len(labels)} labels are too few to calibrate by: {FEWEST} are needed, 300 are good")
    if labels.all() or not labels.any():
        raise OneClassOnly(f"all {len(labels)} outcomes are {bool(labels[0])}: there is nothing to tell apart")
    if mannwhitneyu(scores[labels], scores[~labels], alternative="less").pvalue < SIGNIFICANT:
        raise NegativelyRelated("the outcome is true where the score is low: is the scorer or the grader upside down?")
    return scores, labels


def cross_validated(fits: Mapping[Kind, Fit], scores: Floats, labels: Bools, *, seed: int) -> Mapping[Kind, Floats]:
    """The log loss of each question by a fit that has not seen it, in nats: float[n] for each kind."""
    losses: Mapping[Kind, Floats] = {kind: np.empty(len(scores)) for kind in fits}
    for seen, unseen in folds_of(labels, seed):
        for kind, fit in fits.items():
            fitted = probabilities_of(fit(scores[seen], labels[seen]), scores[unseen])
            losses[kind][unseen] = log_losses(fitted, labels[unseen])
    return losses


def folds_of(labels: Bools, seed: int) -> Iterator[tuple[Integers, Integers]]:
    """The questions to fit on and those to look at, FOLDS times."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    yield from folds.split(np.zeros(len(labels)), labels)


def best_of(losses: Mapping[Kind, Floats]) -> Kind:
    """The kind with the least loss; of fewer than MANY questions Platt's, unless that loses a nat less in all."""
    sums = {kind: float(each.sum()) for kind, each in losses.items()}
    best = min(sums, key=lambda kind: sums[kind])
    if len(losses["platt"]) < MANY and sums["platt"] - sums[best] <= LEAST_GAIN:
        return "platt"
    return best


def fit_platt(scores: Floats, labels: Bools) -> Platt:
    """Logistic regression on the log-odds, slope >= 0 (Platt, 1999)."""
    (slope,), intercept = rising_logistic(log_odds_of(scores)[:, None], labels)
    return Platt(slope=float(slope), intercept=intercept)


def fit_beta(scores: Floats, labels: Bools) -> Beta:
    """Logistic regression on ln p and -ln(1 - p), a and b >= 0 (Kull, Silva Filho and Flach, AISTATS 2017)."""
    kept = np.clip(scores, LEAST, 1 - LEAST)
    (a, b), c = rising_logistic(np.stack([np.log(kept), -np.log1p(-kept)], axis=1), labels)
    return Beta(a=float(a), b=float(b), c=c)


def fit_bent(scores: Floats, labels: Bools) -> Isotonic:
    """Platt's line with another slope >= 0 in each fifth of the labels, flat outside of them; a change of slope by d
    costs d² nats (a P-spline of degree 1: Eilers and Marx, Statistical Science 1996). Kept as 100 points."""
    x = log_odds_of(scores)
    bends = np.unique(np.quantile(x, np.linspace(0, 1, STRETCHES + 1)))
    slopes, intercept = rising_logistic(ramps(x, bends), labels, bending_cost=BENDING_COST)
    points = np.linspace(bends[0], bends[-1], POINTS)
    knots, places = np.unique(expit(points), return_index=True)
    values = np.maximum.accumulate(expit(ramps(points[places], bends) @ slopes + intercept))
    return Isotonic(knots=tuple(knots.tolist()), values=tuple(values.tolist()))


def fit_isotonic(scores: Floats, labels: Bools) -> Isotonic:
    """Pool adjacent violators (Zadrozny and Elkan, KDD 2002), straight lines between the steps."""
    steps = IsotonicRegression(y_min=0, y_max=1).fit(scores, targets_of(labels))
    return Isotonic(knots=tuple(steps.X_thresholds_.tolist()), values=tuple(steps.y_thresholds_.tolist()))


FITS_OF_FEW: Mapping[Kind, Fit] = {"platt": fit_platt, "beta": fit_beta, "bent": fit_bent}
FITS: Mapping[Kind, Fit] = {**FITS_OF_FEW, "isotonic": fit_isotonic}


def rising_logistic(design: Floats, labels: Bools, *, bending_cost: float = 0.0) -> tuple[Floats, float]:
    """The weights >= 0 of the columns of `design`, float[n, k], and the intercept, of the greatest likelihood less the
    bending cost times the squared differences of weights side by side."""
    targets, middle = targets_of(labels), design.mean(axis=0)
    columns = np.column_stack([design - middle, np.ones(len(design))])

    def loss(weights: Floats) -> tuple[float, Floats]:
        z, bent = columns @ weights, np.diff(weights[:-1])
        slope = columns.T @ (expit(z) - targets)
        slope[:-1] -= 2 * bending_cost * np.diff(bent, prepend=0, append=0)
        return float(np.sum(np.logaddexp(0, z) - targets * z) + bending_cost * bent @ bent), slope

    start = np.append(np.zeros(design.shape[1]), logit(targets.mean()))
    bounds = [(0, None)] * design.shape[1] + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13, "gtol": 1e-6})
    weights = np.asarray(found.x[:-1], dtype=float)
    return weights, float(found.x[-1] - middle @ weights)


def ramps(x: Floats, bends: Floats) -> Floats:
    """How far each x has come on each of the stretches between the bends: float[n, stretches]."""
    return np.asarray(np.clip(x[:, None] - bends[:-1], 0, np.diff(bends)), dtype=float)


def targets_of(labels: Bools) -> Floats:
    """Platt's targets."""
    right = labels.sum()
    return np.asarray(np.where(labels, (right + 1) / (right + 2), 1 / (len(labels) - right + 2)), dtype=float)


def log_odds_of(scores: Floats) -> Floats:
    """ln(p / (1 - p)), kept off 0 and 1 as the maps keep it."""
    return np.asarray(logit(np.clip(scores, LEAST, 1 - LEAST)), dtype=float)


def probabilities_of(calibration: Calibration, confidences: Floats) -> Floats:
    """float[n] in [0, 1], as the router computes them one by one."""
    return np.array([calibration.probability(float(one)) for one in confidences])


def log_losses(probabilities: Floats, labels: Bools) -> Floats:
    """-ln of what each outcome was given, float[n], in nats; 0 is taken for a millionth."""
    given = np.where(labels, probabilities, 1 - probabilities)
    return np.asarray(-np.log(np.maximum(given, LEAST)), dtype=float)
