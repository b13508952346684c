"""Intervals by resampling, against what is known of them."""

import math

import numpy as np
import pytest

from router.lab.measures import Floats, Outcomes, Undefined, curve_of, point_of, ranking_of
from router.lab.resampling import bootstrap, interval_of, or_nan, resamples, shuffled


def mean_of(column: Floats):
    """A measure: the mean of a column, and of its double."""
    return lambda weights: [float(weights @ column / weights.sum()), float(2 * weights @ column / weights.sum())]


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    column = np.random.default_rng(1).normal(size=400)

    interval = bootstrap(mean_of(column), 400, draws=2000).interval(0)

    error = 1.96 * column.std() / math.sqrt(400)
    assert interval.estimate == pytest.approx(column.mean())
    assert interval.low == pytest.approx(column.mean() - error, abs=0.015)
    assert interval.high == pytest.approx(column.mean() + error, abs=0.015)


def test_a_difference_is_paired_so_that_what_the_questions_share_cancels() -> None:
    hard = np.random.default_rng(2).normal(size=200) * 10
    one, other = bootstrap(mean_of(hard + 0.1), 200), bootstrap(mean_of(hard), 200)

    difference = one.difference(other, 0)

    assert not one.interval(0).excludes_zero
    assert difference.excludes_zero
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))


def test_the_same_seed_draws_the_same_questions_and_another_one_others() -> None:
    first, again, other = (np.array(list(resamples(50, 3, seed))) for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first.sum(axis=1) == 50).all()


def test_differences_of_other_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="as many resamples"):
        bootstrap(mean_of(np.ones(3)), 3, draws=5).difference(bootstrap(mean_of(np.ones(3)), 3, draws=6), 0)


def test_a_measure_that_resamples_leave_undefined_has_no_interval() -> None:
    mostly = np.array([math.nan] * 2 + [0.5] * 98)
    rarely = np.array([math.nan] + [0.5] * 199)

    assert math.isnan(interval_of(0.5, mostly).low)
    assert not interval_of(0.5, mostly).excludes_zero
    assert interval_of(0.5, rarely).low == 0.5
    assert math.isnan(interval_of(math.nan, rarely).high)


def test_undefined_is_not_a_number() -> None:
    def undefined() -> float:
        raise Undefined("no gap")

    assert math.isnan(or_nan(undefined))
    assert or_nan(lambda: 0.25) == 0.25


def test_nothing_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match="at least one question"):
        bootstrap(mean_of(np.ones(0)), 0)


def test_the_control_escalates_as_many_at_random() -> None:
    draft = np.arange(400) % 2 == 0
    outcomes = Outcomes(draft, np.ones(400, dtype=bool), np.full(400, 1.0), np.full(400, 4.0))
    sure = curve_of(ranking_of(draft), outcomes)

    control = shuffled(outcomes, 0.5)

    assert control.quality.estimate == 0.75
    assert control.cost == 3.0
    assert 0.70 < control.quality.low < 0.75 < control.quality.high < 0.80
    assert point_of(sure, 1.0).quality == 1.0
    assert shuffled(outcomes, 0.0).quality.high == 0.5
    assert shuffled(outcomes, 1.0).quality.low == 1.0
    with pytest.raises(ValueError, match="a share"):
        shuffled(outcomes, 1.5)
