"""Which threshold does what is wanted, by hand."""

import numpy as np
import pytest

from router.lab.targets import Measured, Target, candidates, effect_of, threshold_for

SURE = [0.9, 0.8, 0.6, 0.4, -1.0]
MEASURED = Measured(
    confidence=np.array(SURE),
    draft_right=np.array([True, True, False, True, True]),
    final_right=np.array([True, True, True, True, False]),
    draft_cost=np.full(5, 1.0),
    final_cost=np.full(5, 10.0),
)


def test_an_effect_is_counted_over_all_questions() -> None:
    effect = effect_of(MEASURED, 0.6)

    assert (effect.accepted, effect.right, effect.regret) == (0.6, 0.6, 0.2)
    assert (effect.kept, effect.cost) == (0.75, pytest.approx(25 / 50))


def test_what_has_no_confidence_is_never_accepted() -> None:
    assert effect_of(MEASURED, 0.0).accepted == 0.8


@pytest.mark.parametrize(
    ("target", "threshold"),
    [
        (Target("quality", 1.0), 0.8),
        (Target("quality", 0.75), 0.4),
        (Target("escalated", 0.6), 0.8),
        (Target("escalated", 0.2), 0.4),
        (Target("cost", 0.7), 0.8),
        (Target("cost", 1.0), 0.9),
        (Target("quality", 1.01), None),
        (Target("escalated", 0.1), None),
        (Target("cost", 0.05), None),
    ],
)
def test_quality_escalates_as_little_and_a_limit_as_much_as_it_can(target: Target, threshold: float | None) -> None:
    assert threshold_for(MEASURED, target) == threshold


def test_candidates_accept_what_was_measured_after_rounding() -> None:
    values = np.random.default_rng(1).uniform(size=2000)
    measured = Measured(values, *(np.ones(2000, dtype=bool),) * 2, np.ones(2000), np.ones(2000))

    found = candidates(measured)

    assert len(found) == 501
    assert found[0] == 1.0
    assert effect_of(measured, found[-1]).accepted == 1.0


def test_without_any_confidence_nothing_is_accepted() -> None:
    measured = Measured(np.array([-1.0]), np.array([True]), np.array([True]), np.ones(1), np.ones(1))

    assert candidates(measured) == [1.0]
