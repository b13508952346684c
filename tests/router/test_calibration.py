"""The maps of an artefact: they rise, stay in [0, 1], and are refused where they could not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from router.calibration import Beta, Calibration, Isotonic, Platt, log_odds, sigmoid

UNIT = st.floats(0, 1)
SLOPES = st.floats(0, 1e3)
SHIFTS = st.floats(-1e3, 1e3)
RISING = st.lists(UNIT, min_size=1, max_size=9, unique=True).map(sorted)
MAPS = st.one_of(
    st.builds(lambda a, b: Platt(slope=a, intercept=b), SLOPES, SHIFTS),
    st.builds(lambda a, b, c: Beta(a=a, b=b, c=c), SLOPES, SLOPES, SHIFTS),
    RISING.flatmap(lambda knots: st.builds(
        lambda values: Isotonic(knots=tuple(knots), values=tuple(sorted(values))),
        st.lists(UNIT, min_size=len(knots), max_size=len(knots)))),
)  # fmt: skip


@given(MAPS, UNIT, UNIT)
def test_a_map_never_falls_and_stays_a_probability(calibration: Calibration, one: float, other: float) -> None:
    low, high = (calibration.probability(confidence) for confidence in sorted((one, other)))

    assert 0 <= low <= high + 1e-12
    assert high <= 1


def test_isotonic_is_straight_between_its_knots_and_flat_outside() -> None:
    steps = Isotonic(knots=(0.2, 0.4), values=(0.1, 0.5))

    assert [steps.probability(c) for c in (0.0, 0.2, 0.3, 0.4, 1.0)] == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5])


@pytest.mark.parametrize(
    ("knots", "values"), [((0.4, 0.2), (0.1, 0.5)), ((0.2, 0.4), (0.5, 0.1)), ((0.2,), (0.1, 0.5)), ((), ())]
)
def test_steps_that_do_not_rise_are_refused(knots: tuple[float, ...], values: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Isotonic(knots=knots, values=values)


@pytest.mark.parametrize("slope", [-0.1, float("nan"), float("inf")])
def test_a_slope_that_would_turn_the_order_round_is_refused(slope: float) -> None:
    with pytest.raises(ValidationError):
        Platt(slope=slope, intercept=0.0)


def test_log_odds_and_sigmoid_are_each_others_inverse_and_never_overflow() -> None:
    for p in (0.0, 1e-9, 0.3, 0.5, 0.999, 1.0):
        assert sigmoid(log_odds(p)) == pytest.approx(p, abs=2e-6)
    assert (sigmoid(-1e6), sigmoid(1e6)) == (0.0, 1.0)
