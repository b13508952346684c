"""A budget holds its share by moving the threshold, whatever comes; what moves it is said."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.budget import GAIN, SLACK, WARMED_UP, Budget
from router.policy import Policy
from router.scorers import SCORERS
from router.steering import Ended, Steering, at_price

POLICY = Policy("threshold", SCORERS["mean-logprob"], 0.9, (), "escalate")
NUMBER = 4_000


def escalations(
    budget: Budget, confidences: Sequence[float], *, failing: float = 0.0, floor: float = 0.0
) -> list[bool]:
    """Which of these requests go up; a share of them, every so many, without having been scored."""
    went_up = []
    for number, confidence in enumerate(confidences):
        fails = math.floor(number * failing) != math.floor((number + 1) * failing)
        if not fails:
            budget.saw(confidence)
        threshold = max(floor, budget.threshold if budget.is_warm else 0.9)
        went_up.append(fails or confidence < threshold)
        budget.learn(part=float(went_up[-1]), whole=1.0)
    return went_up


def share(went_up: Sequence[bool]) -> float:
    """Of all."""
    return sum(went_up) / len(went_up)


def sure(draw: random.Random) -> float:
    return draw.betavariate(20, 1)


def unsure(draw: random.Random) -> float:
    return draw.betavariate(2, 4)


def coarse(draw: random.Random) -> float:
    return draw.choice((0.5, 0.75, 1.0, 1.0, 1.0))


def alike(_draw: random.Random) -> float:
    return 1.0


@pytest.mark.parametrize("target", [0.05, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("first", [sure, unsure, coarse, alike])
@pytest.mark.parametrize("then", [sure, unsure, coarse, alike])
def test_the_share_is_held_before_and_after_a_change_of_task(
    target: float, first: Callable[[random.Random], float], then: Callable[[random.Random], float]
) -> None:
    draw = random.Random(3)
    stream = [first(draw) for _ in range(NUMBER)] + [then(draw) for _ in range(NUMBER)]

    went_up = escalations(Budget(target), stream)

    assert share(went_up[:NUMBER]) == pytest.approx(target, abs=0.02)
    assert share(went_up[NUMBER:]) == pytest.approx(target, abs=0.02)


def test_drafts_that_go_up_whatever_their_confidence_count() -> None:
    draw = random.Random(4)
    budget = Budget(0.4)

    went_up = escalations(budget, [unsure(draw) for _ in range(NUMBER)], failing=0.25)

    assert share(went_up) == pytest.approx(0.4, abs=0.02)
    assert not budget.is_infeasible


def test_a_share_that_cannot_be_had_is_said_and_forgotten_when_it_can() -> None:
    draw = random.Random(5)
    budget = Budget(0.2)
    assert share(escalations(budget, [sure(draw) for _ in range(NUMBER)], failing=0.5)) == pytest.approx(0.5, abs=0.02)
    assert budget.is_infeasible

    went_up = escalations(budget, [sure(draw) for _ in range(NUMBER)])

    assert not budget.is_infeasible
    assert share(went_up) == pytest.approx(0.2, abs=0.02), "what could not be had is not made good for later"


def test_under_a_floor_it_yields_and_says_so() -> None:
    draw = random.Random(6)
    budget = Budget(0.1)

    went_up = escalations(budget, [draw.random() for _ in range(NUMBER)], floor=0.5)

    assert share(went_up) == pytest.approx(0.5, abs=0.02)
    assert budget.is_infeasible


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.999, 1.0]), min_size=1, max_size=300),
    st.sampled_from([0.1, 0.5, 0.9]),
    st.integers(min_value=1, max_value=9),
)
def test_whatever_comes_the_share_is_within_its_bound(pattern: list[float], target: float, repeats: int) -> None:
    stream = [pattern[number % len(pattern)] for number in range(WARMED_UP + 300 * repeats)]
    budget = Budget(target)

    later = escalations(budget, stream)[WARMED_UP:]

    assert abs(share(later) - target) <= (1 + 2 * SLACK) / (GAIN * len(later)) + 1e-9


def test_money_is_held_as_requests_are() -> None:
    draw = random.Random(7)
    budget, spent, alone = Budget(0.5), 0.0, 0.0
    for _ in range(2 * NUMBER):
        confidence, cost = draw.random(), draw.lognormvariate(-9, 1.5)
        budget.saw(confidence)
        part = 0.1 * cost + cost * (confidence < budget.threshold)
        budget.learn(part=part, whole=cost)
        spent, alone = spent + part, alone + cost

    assert spent / alone == pytest.approx(0.5, abs=0.02)


def test_one_huge_request_does_not_throw_the_threshold_away() -> None:
    draw = random.Random(8)
    budget = Budget(0.5)
    escalations(budget, [draw.random() for _ in range(500)])
    before = budget.threshold

    budget.learn(part=1e6, whole=1e6)

    assert budget.threshold == pytest.approx(before, abs=0.1)


@pytest.mark.parametrize("target", [0.0, 1.0, -1.0, math.nan])
def test_a_target_that_is_no_share_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="a share above 0"):
        Budget(target)


@pytest.mark.parametrize(("part", "whole"), [(-1.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf)])
def test_what_is_no_amount_is_refused(part: float, whole: float) -> None:
    with pytest.raises(ValueError, match="a part and a whole"):
        Budget(0.5).learn(part=part, whole=whole)


def test_a_confidence_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="is a number"):
        Budget(0.5).saw(math.nan)


def test_requests_that_cost_nothing_teach_nothing() -> None:
    budget = Budget(0.5)
    for _ in range(100):
        budget.saw(0.5)
        budget.learn(part=0.0, whole=0.0)

    assert budget.share is None
    assert not budget.is_infeasible


def steering_with(target: float) -> Steering:
    """A budget that has seen confidences evenly over [0, 1]."""
    steering = Steering(escalated=Budget(target))
    for number in range(200):
        steering.learn(Ended(number % 10 < 10 * target, 1.0, 2.0, number / 200), POLICY)
    return steering


def test_the_budget_sets_the_threshold_once_it_knows_enough() -> None:
    cold = Steering(escalated=Budget(0.3)).steered(POLICY, 0.0)
    warm = steering_with(0.3).steered(POLICY, 0.0)

    assert (cold.threshold, cold.threshold_by) == (0.9, "config")
    assert warm.threshold == pytest.approx(0.3, abs=0.05)
    assert warm.threshold_by == "budget"


def test_load_lowers_the_threshold_as_a_price_would_and_says_so() -> None:
    steering = Steering(load_price=3.0)

    idle, busy, full = (steering.steered(POLICY, pressure) for pressure in (0.0, 0.5, 1.0))

    assert (idle.threshold, idle.threshold_by) == (0.9, "config")
    assert (busy.threshold, full.threshold) == (pytest.approx(0.8), pytest.approx(0.7))
    assert full.threshold_by == "load"


def test_what_happens_under_load_is_not_the_budgets() -> None:
    steering = steering_with(0.3)
    before = steering.steered(POLICY, 0.0)
    loaded = Steering(escalated=steering.escalated, load_price=2.0).steered(POLICY, 1.0)

    for _ in range(500):
        steering.learn(Ended(False, 1.0, 2.0, 0.5), loaded)

    assert steering.steered(POLICY, 0.0) == before


@pytest.mark.parametrize("changes", [{"mode": "exact"}, {"threshold_by": "request"}])
def test_neither_moves_mode_exact_or_a_requests_own_threshold(changes: dict[str, str]) -> None:
    policy = replace(POLICY, **changes)
    steering = Steering(escalated=steering_with(0.3).escalated, load_price=9.0)

    assert steering.steered(policy, 1.0) == policy


def test_under_a_certificate_the_budget_only_raises_the_threshold() -> None:
    low, high = steering_with(0.3), steering_with(0.6)
    certified = replace(POLICY, threshold=0.5, threshold_by="certificate")

    assert low.raised(certified) == certified
    assert high.raised(certified).threshold == pytest.approx(0.6, abs=0.1)
    assert high.raised(certified).threshold_by == "budget"


def test_no_price_leaves_the_range_of_confidence() -> None:
    assert at_price(0.9, 1e9) == 0.0
    assert at_price(1.0, 1e9) == 1.0
    assert at_price(math.nextafter(1.0, 2.0), 2.0) == 1.0


@given(st.lists(st.floats(0, 1), max_size=400), st.lists(st.floats(0, 1), max_size=50))
def test_one_that_goes_on_from_another_does_as_that_would_have(before: list[float], after: list[float]) -> None:
    first, second = Budget(0.3), Budget(0.3)
    escalations(first, before)
    second.go_on(first.learned)

    assert escalations(second, after) == escalations(first, after)
    assert (second.threshold, second.share, second.learned) == (first.threshold, first.share, first.learned)
