"""A fitted scorer, and the promise that nothing is fitted on what is measured."""

import math
import warnings

import numpy as np
import pytest

from router.calibration import sigmoid
from router.lab.fitting import CannotFit, cross_fitted, fit, target_of
from router.lab.folds import folds_of, held_out

CHANCE = np.random.default_rng(7)


def drafts(count: int = 2000) -> tuple[list[dict[str, float]], np.ndarray]:
    """Drafts with two features that matter, of different scale, and one that does not; and whether they are right."""
    near, far, idle = CHANCE.normal(size=(3, count))
    right = CHANCE.random(count) < 1 / (1 + np.exp(-(1.5 * near - far + 0.5)))
    columns = zip(near, 1000 + 50 * far, idle, strict=True)
    return [{"near": float(a), "far": float(b), "idle": float(c)} for a, b, c in columns], right


def test_the_weights_are_those_that_the_labels_were_drawn_by() -> None:
    features, right = drafts(20_000)

    fitted = fit(features, right, ["near", "far", "idle"])

    assert fitted.names == ("near", "far", "idle")
    assert fitted.weights == pytest.approx((1.5, -1 / 50, 0.0), abs=0.08)
    assert fitted.weights[1] == pytest.approx(-1 / 50, abs=0.002)
    assert fitted.intercept == pytest.approx(0.5 + 20, abs=1.5)


def test_the_weights_stand_for_features_as_they_come() -> None:
    features, right = drafts()

    fitted = fit(features, right, ["near", "far"])

    confidences = np.array([sigmoid(fitted.log_odds(draft)) for draft in features])
    assert confidences.mean() == pytest.approx(right.mean(), abs=0.01)
    assert confidences[right].mean() > confidences[~right].mean() + 0.2


def test_the_same_drafts_give_the_same_fit() -> None:
    features, right = drafts()

    assert fit(features, right, ["far", "near"]) == fit(features, right, ["far", "near"])


def test_a_feature_that_never_changes_weighs_nothing() -> None:
    features, right = drafts(200)

    fitted = fit([{**draft, "still": 0.1} for draft in features], right, ["still", "near"])

    assert fitted.weights[0] == 0.0


def test_perfectly_told_apart_is_no_trouble() -> None:
    features = [{"x": float(place)} for place in range(40)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit(features, np.arange(40) >= 20, ["x"])

    assert fitted.log_odds({"x": 0.0}) < 0 < fitted.log_odds({"x": 39.0})


def test_noise_is_worth_nothing_where_nothing_is_fitted_on_what_is_measured() -> None:
    chance = np.random.default_rng(3)
    features = [{f"f{place}": float(value) for place, value in enumerate(row)} for row in chance.normal(size=(300, 40))]
    right = chance.random(300) < 0.5
    names = [f"f{place}" for place in range(40)]

    confidence = cross_fitted(features, right, names, folds_of([str(row) for row in range(300)], 5))

    assert abs(np.corrcoef(confidence, right)[0, 1]) < 0.15
    assert cross_fitted(features, right, names).std() < 0.2


def test_what_is_held_out_does_not_change_what_judges_it() -> None:
    features, right = drafts(400)
    fold = folds_of([str(row) for row in range(400)], 4)
    flipped = np.where(fold == 2, ~right, right)

    one = cross_fitted(features, right, ["near", "far"], fold)
    other = cross_fitted(features, flipped, ["near", "far"], fold)

    assert np.array_equal(one[fold == 2], other[fold == 2])
    assert not np.array_equal(one[fold != 2], other[fold != 2])


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"far": math.nan}, "feature 'far' of a draft is no number, or beyond all measure"),
        ({"near": math.inf}, "feature 'near' of a draft is no number, or beyond all measure"),
        ({"near": -1e308}, "feature 'near' of a draft is no number, or beyond all measure"),
        ("near", "a draft has no feature 'near'"),
    ],
)
def test_a_missing_feature_is_an_error(change: dict[str, float] | str, mistake: str) -> None:
    features, right = drafts(60)
    features[7] = {"far": 1.0} if isinstance(change, str) else {**features[7], **change}

    with pytest.raises(CannotFit, match=mistake):
        fit(features, right, ["near", "far"])


def test_too_little_is_an_error() -> None:
    features, right = drafts(60)

    for target in (np.zeros(60, dtype=bool), np.ones(60, dtype=bool), np.arange(60) < 4):
        with pytest.raises(CannotFit, match="at least 5 drafts of either kind"):
            fit(features, target, ["near"])
    with pytest.raises(CannotFit, match="at least one draft and one feature"):
        fit(features, right, [])
    with pytest.raises(CannotFit, match="at least one draft and one feature"):
        fit([], right[:0], ["near"])
    with pytest.raises(CannotFit, match="as many targets as drafts"):
        fit(features, right[:-1], ["near"])


def test_no_regret_is_whatever_escalating_would_not_mend() -> None:
    draft, final = np.array([0, 0, 1, 1], dtype=bool), np.array([0, 1, 0, 1], dtype=bool)

    assert target_of("right", draft, final).tolist() == [False, False, True, True]
    assert target_of("no-regret", draft, final).tolist() == [True, False, True, True]


def test_copies_of_a_question_are_in_one_fold() -> None:
    keys = [f"question {row % 50}" for row in range(200)]

    fold = folds_of(keys, 5)

    assert {key: {int(fold[row]) for row in range(200) if keys[row] == key} for key in keys}.keys() == set(keys)
    assert all(len({int(fold[row]) for row in range(200) if keys[row] == key}) == 1 for key in keys)
    assert np.bincount(fold).tolist() == [40] * 5
    assert sum(held.sum() for held in held_out(fold)) == 200
    assert not np.array_equal(fold, folds_of(keys, 5, seed=1))


@pytest.mark.parametrize(("keys", "folds"), [(["a", "a", "a"], 2), (["a", "b"], 3), (["a", "b"], 1), ([], 2)])
def test_folds_that_cannot_be_are_an_error(keys: list[str], folds: int) -> None:
    with pytest.raises(ValueError, match="cannot be split"):
        folds_of(keys, folds)
