"""Measures of a confidence, against cases computed by hand and definitions spelt out in loops."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from router.lab.measures import (
    Curve,
    Outcomes,
    Undefined,
    apgr,
    auroc,
    auroc_for_gain,
    brier,
    cheapest,
    cpt,
    curve_of,
    ece,
    point_of,
    ranking_of,
    recovered,
    reliability_of,
)

few = st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.4, 0.8]), st.booleans(), st.booleans()), min_size=2, max_size=12)


def outcomes(
    draft: Sequence[int], final: Sequence[int], *, draft_cost: float = 1.0, final_cost: float = 10.0
) -> Outcomes:
    """Of these right (1) and wrong (0) answers, at one cost each."""
    count = len(draft)
    return Outcomes(
        np.array(draft, dtype=bool), np.array(final, dtype=bool), np.full(count, draft_cost), np.full(count, final_cost)
    )


def curve(confidence: Sequence[float], draft: Sequence[int], final: Sequence[int]) -> Curve:
    """The curve of these answers."""
    return curve_of(ranking_of(confidence), outcomes(draft, final))


def test_a_curve_goes_from_every_draft_accepted_to_none() -> None:
    points = curve([0.9, 0.2, 0.5, 0.2], [1, 0, 0, 0], [1, 1, 0, 1])

    assert points.thresholds.tolist() == [0.2, 0.5, 0.9, math.inf]
    assert points.escalated.tolist() == [0.0, 0.5, 0.75, 1.0]
    assert points.quality.tolist() == [0.25, 0.75, 0.75, 0.75]
    assert points.regret.tolist() == [0.5, 0.0, 0.0, 0.0]
    assert points.cost.tolist() == [1.0, 6.0, 8.5, 11.0]


def test_a_threshold_between_confidences_does_as_the_next_one_up() -> None:
    points = curve([0.9, 0.2, 0.5, 0.2], [1, 0, 0, 0], [1, 1, 0, 1])

    assert [point_of(points, at).escalated for at in (0.0, 0.2, 0.3, 0.5, 0.91, math.inf)] == [
        0.0, 0.0, 0.5, 0.5, 1.0, 1.0,
    ]  # fmt: skip


def test_the_area_under_the_recovered_gap_is_as_computed_by_hand() -> None:
    # Escalated in the order wrong-to-right, no change, right-to-wrong, wrong-to-right: 0, 1, 1, 0, 1 of a gap of 1.
    points = curve([0.1, 0.2, 0.3, 0.4], [0, 1, 1, 0], [1, 1, 0, 1])

    assert recovered(points).tolist() == [0.0, 1.0, 1.0, 0.0, 1.0]
    assert apgr(points) == pytest.approx((0.5 + 1 + 0.5 + 0.5) / 4)


def test_a_gap_recovered_by_the_first_tenth_is_nearly_all_of_the_area() -> None:
    points = curve([0.0] + [1.0] * 9, [0] + [1] * 9, [1] * 10)

    assert apgr(points) == pytest.approx(0.95)
    assert cpt(points, 0.5) == pytest.approx(0.05)
    assert cpt(points, 1.0) == pytest.approx(0.1)


def test_one_confidence_for_all_is_as_good_as_chance() -> None:
    points = curve([0.5] * 4, [0, 1, 0, 1], [1, 1, 1, 0])

    assert apgr(points) == pytest.approx(0.5)
    assert cpt(points, 0.8) == pytest.approx(0.8)


def test_ties_count_the_same_in_any_order() -> None:
    one = curve([0.5, 0.5, 0.9], [0, 1, 1], [1, 1, 1])
    other = curve([0.5, 0.9, 0.5], [1, 1, 0], [1, 1, 1])

    assert apgr(one) == apgr(other) == pytest.approx((0.5 + 0.5 + 1) / 3)


@given(few)
def test_the_area_of_a_two_valued_confidence_is_that_of_its_corner(rows: list[tuple[float, bool, bool]]) -> None:
    draft, final = [row[1] for row in rows], [row[2] for row in rows]
    assume(sum(final) > sum(draft))
    agrees = np.array([row[0] > 0.3 for row in rows])
    points = curve(agrees, draft, final)

    corner = point_of(points, 1.0)
    height = (corner.quality - np.mean(draft)) / (np.mean(final) - np.mean(draft))
    assert apgr(points) == pytest.approx(corner.escalated * height / 2 + (1 - corner.escalated) * (height + 1) / 2)


@given(few)
def test_a_draw_weighs_a_question_as_its_copies_would(rows: list[tuple[float, bool, bool]]) -> None:
    weights = np.arange(len(rows)) % 3 + 0.0
    copies = [row for row, weight in zip(rows, weights, strict=True) for _ in range(int(weight))]
    assume(sum(row[2] for row in copies) > sum(row[1] for row in copies))
    columns = [list(column) for column in zip(*rows, strict=True)]
    repeated = [list(column) for column in zip(*copies, strict=True)]
    ranking, other = ranking_of(columns[0]), ranking_of(repeated[0])
    right, right_of_copies = np.array(columns[1]), np.array(repeated[1])
    weighed = curve_of(ranking, outcomes(columns[1], columns[2]), weights)
    copied = curve_of(other, outcomes(repeated[1], repeated[2]))

    assert apgr(weighed) == pytest.approx(apgr(copied))
    assert cpt(weighed, 0.6) == pytest.approx(cpt(copied, 0.6))
    assert brier(ranking, right, weights) == pytest.approx(brier(other, right_of_copies))
    assert ece(reliability_of(ranking, right, weights, bins=3)) == pytest.approx(
        ece(reliability_of(other, right_of_copies, bins=3))
    )


def test_no_gap_cannot_be_recovered() -> None:
    for draft, final in (([1, 0], [0, 1]), ([1, 1], [0, 1])):
        points = curve([0.1, 0.9], draft, final)
        with pytest.raises(Undefined, match="no better than the drafter"):
            apgr(points)
        with pytest.raises(Undefined, match="no better than the drafter"):
            cpt(points, 0.5)


def test_the_share_to_escalate_is_the_first_that_recovers_so_much() -> None:
    # 0, 1/2, 1/2, 0, 1/2, 1 of the gap.
    points = curve([0.1, 0.2, 0.3, 0.4, 0.5], [0, 1, 1, 0, 0], [1, 1, 0, 1, 1])

    assert cpt(points, 0.25) == pytest.approx(0.1)
    assert cpt(points, 0.5) == pytest.approx(0.2)
    assert cpt(points, 0.75) == pytest.approx(0.9)
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        cpt(points, 0.0)


def test_auroc_is_the_share_of_pairs_in_order_and_ties_count_half() -> None:
    ranking = ranking_of([0.1, 0.4, 0.4, 0.9])

    assert auroc(ranking, np.array([False, False, True, True])) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert auroc(ranking_of([3.0] * 5), np.array([True, False, True, False, False])) == 0.5


@pytest.mark.parametrize("right", [[True, True], [False, False]])
def test_auroc_of_one_kind_is_undefined(right: list[bool]) -> None:
    with pytest.raises(Undefined, match="all questions are of one kind"):
        auroc(ranking_of([0.2, 0.3]), np.array(right))


def test_gain_is_where_the_final_tier_mends_the_draft() -> None:
    told = outcomes([0, 0, 1, 1], [1, 0, 0, 1])

    assert told.gain.tolist() == [True, False, False, False]
    assert auroc_for_gain(ranking_of([0.1, 0.5, 0.05, 0.9]), told) == pytest.approx(2 / 3)


def test_brier_is_the_mean_squared_distance() -> None:
    assert brier(ranking_of([0.8, 0.3, 0.3]), np.array([True, False, True])) == pytest.approx((0.04 + 0.09 + 0.49) / 3)


def test_bins_of_equal_mass_are_the_usual_ones_without_ties() -> None:
    said = [0.1, 0.2, 0.3, 0.6, 0.7, 0.9]
    reliability = reliability_of(ranking_of(said), np.array([0, 0, 1, 1, 0, 1], dtype=bool), bins=3)

    assert reliability.said == pytest.approx([0.15, 0.45, 0.8])
    assert reliability.happened == pytest.approx([0.0, 1.0, 0.5])
    assert ece(reliability) == pytest.approx((0.15 + 0.55 + 0.3) / 3)


def test_a_question_on_the_edge_of_two_bins_counts_in_both() -> None:
    reliability = reliability_of(ranking_of([0.1, 0.5, 0.9]), np.array([False, True, True]), bins=2)

    assert reliability.said == pytest.approx([(0.1 + 0.25) / 1.5, (0.25 + 0.9) / 1.5])
    assert reliability.happened == pytest.approx([0.5 / 1.5, 1.0])


def test_questions_with_one_probability_count_as_their_mean() -> None:
    right = np.array([True, False, True, False])

    assert ece(reliability_of(ranking_of([0.5] * 4), right, bins=4)) == 0.0
    assert ece(reliability_of(ranking_of([0.9] * 4), right)) == pytest.approx(0.4)


def test_the_cheapest_point_keeps_the_quality() -> None:
    points = curve([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1], [1, 1, 1, 1])

    assert cheapest(points, 0.75).escalated == 0.25
    assert cheapest(points, 1.0).escalated == 0.75
    with pytest.raises(Undefined):
        cheapest(points, 1.1)


@pytest.mark.parametrize("confidence", [[], [0.5, math.nan], [math.inf, 0.1], [[0.5]]])
def test_what_is_no_confidence_is_refused(confidence: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite number for each question"):
        ranking_of(confidence)


def test_outcomes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="as many rows"):
        outcomes([1, 0], [1])
    with pytest.raises(ValueError, match="at least one"):
        outcomes([], [])
    for draft_cost, final_cost in ((-1.0, 10.0), (math.nan, 1.0), (1.0, -2.0)):
        with pytest.raises(ValueError, match="a cost is a finite number"):
            outcomes([1], [1], draft_cost=draft_cost, final_cost=final_cost)


def test_escalating_may_cost_less_where_it_spares_the_draft() -> None:
    points = curve_of(ranking_of([0.2, 0.9]), outcomes([0, 1], [1, 1], draft_cost=3.0, final_cost=-1.0))

    assert points.cost.tolist() == [3.0, 2.5, 2.0]
