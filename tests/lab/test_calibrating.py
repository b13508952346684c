import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from router.calibration import Isotonic, Platt
from router.lab.calibrating import (
    FITS,
    CannotCalibrate,
    Kind,
    NegativelyRelated,
    OneClassOnly,
    TooFewLabels,
    best_of,
    fit_bent,
    fit_beta,
    fit_calibration,
    fit_isotonic,
    fit_platt,
    probabilities_of,
    targets_of,
)

KINDS: tuple[Kind, ...] = ("platt", "beta", "bent", "isotonic")
GRID = np.linspace(0, 1, 401)
CONFIDENCES = st.sampled_from([0.0, 0.001, 0.25, 0.5, 0.500001, 0.9, 0.999999, 1.0]) | st.floats(0, 1)
LABELLED = st.lists(st.tuples(CONFIDENCES, st.booleans()), min_size=20, max_size=60)


def drawn(count, probability, *, seed=0):
    """Confidences evenly in [0, 1], right with that probability of each."""
    source = np.random.default_rng(seed)
    confidences = source.random(count)
    return confidences, source.random(count) < probability(confidences)


def hooked(confidences):
    """Right four times of ten, and nearly always at the very top: what no Platt map can follow."""
    return np.where(confidences < 0.9, 0.4, 0.4 + 5.8 * (confidences - 0.9))


def likelihood(calibration, confidences, outcomes):
    probabilities, targets = probabilities_of(calibration, confidences), targets_of(outcomes)
    return np.sum(targets * np.log(probabilities) + (1 - targets) * np.log1p(-probabilities))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(labelled=LABELLED)
def test_no_map_falls_or_promises_certainty_whatever_the_labels(kind, labelled) -> None:
    confidences, outcomes = np.array([one for one, _ in labelled]), np.array([right for _, right in labelled])

    values = probabilities_of(FITS[kind](confidences, outcomes), GRID)

    assert (np.diff(values) >= 0).all()
    assert kind != "isotonic" or (values > 0).all()
    assert kind != "isotonic" or (values < 1).all()
    assert ((values >= 0) & (values <= 1)).all()


@settings(max_examples=60, deadline=None)
@given(labelled=LABELLED)
def test_a_fit_says_on_average_what_it_saw(labelled) -> None:
    confidences, outcomes = np.array([one for one, _ in labelled]), np.array([right for _, right in labelled])

    for fit in (fit_platt, fit_beta, fit_isotonic):
        said = probabilities_of(fit(confidences, outcomes), confidences).mean()
        assert said == pytest.approx(targets_of(outcomes).mean(), abs=1e-3)


def test_platt_is_logistic_regression_on_the_log_odds_with_platts_targets() -> None:
    confidences, outcomes = drawn(300, lambda one: one**2)
    targets, x = targets_of(outcomes), logit(confidences)[:, None]
    expected = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(
        np.concatenate([x, x]), np.repeat([1, 0], 300), sample_weight=np.concatenate([targets, 1 - targets])
    )

    fitted = fit_platt(confidences, outcomes)

    assert fitted.slope == pytest.approx(expected.coef_[0, 0], rel=1e-3)
    assert fitted.intercept == pytest.approx(expected.intercept_[0], rel=1e-3)


def test_platts_targets_are_not_quite_0_and_1() -> None:
    assert targets_of(np.array([True, True, True, False])) == pytest.approx([4 / 5, 4 / 5, 4 / 5, 1 / 3])


def test_beta_finds_the_map_that_the_outcomes_came_from() -> None:
    confidences, outcomes = drawn(20_000, lambda one: expit(2 * np.log(one) - 0.5 * np.log1p(-one) + 1), seed=3)

    fitted = fit_beta(confidences, outcomes)

    assert (fitted.a, fitted.b, fitted.c) == pytest.approx((2, 0.5, 1), abs=0.1)


@settings(max_examples=40, deadline=None)
@given(a=st.floats(-0.3, 0.3), b=st.floats(-0.3, 0.3), c=st.floats(-0.3, 0.3))
def test_no_other_beta_map_is_likelier(a, b, c) -> None:
    confidences, outcomes = drawn(300, lambda one: one**2)
    best = fit_beta(confidences, outcomes)
    other = best.model_copy(update={"a": max(0.0, best.a + a), "b": max(0.0, best.b + b), "c": best.c + c})

    assert likelihood(other, confidences, outcomes) <= likelihood(best, confidences, outcomes) + 1e-6


def test_isotonic_pools_what_is_in_the_wrong_order() -> None:
    confidences = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    outcomes = np.array([False, True, False, True, True, True])
    low, high = 1 / 4, 5 / 6

    fitted = fit_isotonic(confidences, outcomes)

    middle = (low + high) / 2
    assert probabilities_of(fitted, confidences) == pytest.approx([low, middle, middle, high, high, high])


def test_a_bent_map_follows_what_a_straight_one_cannot() -> None:
    confidences, outcomes = drawn(3_000, hooked)

    def error(calibration):
        return np.abs(probabilities_of(calibration, GRID) - hooked(GRID)).mean()

    assert error(fit_bent(confidences, outcomes)) < 0.03 < 0.045 < error(fit_platt(confidences, outcomes))


def test_few_labels_that_platt_describes_get_platt() -> None:
    confidences, outcomes = drawn(300, lambda one: expit(1.5 * logit(one) - 0.5))

    assert fit_calibration(confidences, outcomes, seed=0).kind == "platt"


def test_few_labels_that_platt_cannot_describe_get_another_map() -> None:
    confidences, outcomes = drawn(400, hooked)

    fitted = fit_calibration(confidences, outcomes, seed=0)

    assert isinstance(fitted, Isotonic)
    assert fitted == fit_bent(confidences, outcomes)


def test_many_labels_with_steps_get_isotonic_regression() -> None:
    confidences, outcomes = drawn(5_000, lambda one: np.where(one < 0.3, 0.1, np.where(one < 0.6, 0.5, 0.9)))

    fitted = fit_calibration(confidences, outcomes, seed=0)

    assert fitted == fit_isotonic(confidences, outcomes)
    assert fitted.probability(0.45) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("gain", "best"), [(-0.01, "platt"), (0.99, "platt"), (1.01, "beta")])
def test_below_500_labels_platt_is_left_for_more_than_a_nat_only(gain, best) -> None:
    assert best_of({"platt": np.full(499, 1 + gain / 499), "beta": np.ones(499)}) == best


@pytest.mark.parametrize(("gain", "best"), [(-0.01, "platt"), (0.01, "beta")])
def test_from_500_labels_on_the_least_loss_wins(gain, best) -> None:
    assert best_of({"platt": np.full(500, 1 + gain / 500), "beta": np.ones(500)}) == best


def test_outcomes_too_few_of_a_kind_to_compare_by_get_platt() -> None:
    confidences = np.linspace(0, 1, 1_000)

    fitted = fit_calibration(confidences, confidences > 0.0035, seed=0)

    assert isinstance(fitted, Platt)
    assert fitted.slope > 0


def test_a_score_that_says_nothing_gets_the_base_rate() -> None:
    outcomes = np.tile([True, True, True, False], 50)

    constant = fit_calibration(np.full(200, 0.7), outcomes, seed=0)

    assert constant.probability(0.0) == constant.probability(1.0) == pytest.approx(0.75, abs=0.01)


def test_a_score_that_leans_the_wrong_way_by_chance_gets_the_base_rate() -> None:
    confidences, outcomes = np.repeat([0.4, 0.6], 30), np.tile([True] * 16 + [False] * 14, 2)
    outcomes[30] = False

    fitted = fit_calibration(confidences, outcomes, seed=0)

    assert fitted.probability(0.0) == fitted.probability(1.0) == pytest.approx(31 / 60, abs=0.01)


def test_a_score_that_is_upside_down_is_an_error_that_says_so() -> None:
    confidences, outcomes = drawn(300, lambda one: 1 - one)

    with pytest.raises(NegativelyRelated, match="upside down"):
        fit_calibration(confidences, outcomes, seed=0)


def test_outcomes_that_are_perfectly_told_apart_get_a_finite_map() -> None:
    confidences = np.linspace(0, 1, 100)

    for fit in FITS.values():
        fitted = fit(confidences, confidences > 0.5)
        assert 0 < fitted.probability(0.2) < 0.05
        assert 0.95 < fitted.probability(0.8) < 1


def test_the_same_seed_gives_the_same_map() -> None:
    confidences, outcomes = drawn(300, hooked)

    assert fit_calibration(confidences, outcomes, seed=7) == fit_calibration(confidences, outcomes, seed=7)


def test_outcomes_may_be_given_as_0_and_1_in_lists() -> None:
    confidences, outcomes = drawn(100, lambda one: one)

    assert fit_calibration(confidences.tolist(), outcomes.astype(int).tolist(), seed=0) == fit_calibration(
        confidences, outcomes, seed=0
    )


@pytest.mark.parametrize(
    ("confidences", "outcomes", "error", "words"),
    [
        ([], [], TooFewLabels, "0 labels are too few"),
        ([0.5] * 19, [True, False] * 9 + [True], TooFewLabels, "20 are needed"),
        ([0.5] * 20, [True] * 20, OneClassOnly, "all 20 outcomes are True"),
        ([0.5] * 20, [0] * 20, OneClassOnly, "all 20 outcomes are False"),
        ([0.5] * 19 + [float("nan")], [True, False] * 10, CannotCalibrate, r"in \[0, 1\]"),
        ([0.5] * 19 + [1.01], [True, False] * 10, CannotCalibrate, r"in \[0, 1\]"),
        ([0.5] * 20, [True, False] * 9 + [True, None], CannotCalibrate, "true or false"),
        ([0.5] * 20, [1, 0] * 9 + [1, 0.5], CannotCalibrate, "true or false"),
        ([0.5] * 20, [True, False] * 11, CannotCalibrate, "one outcome for each"),
        ([[0.5] * 20], [[True] * 20], CannotCalibrate, "one outcome for each"),
    ],
)
def test_labels_that_say_nothing_are_refused_in_words(confidences, outcomes, error, words) -> None:
    with pytest.raises(error, match=words):
        fit_calibration(confidences, outcomes, seed=0)
