"""Drift of confidences: seldom seen where there is none, and soon where there is."""

import random

import pytest
from pydantic import ValidationError

from router.drift import LARGE, WINDOW, Drift, Histogram, chi_squared, histogram_of, limit, stability_index


def windows(draw: random.Random, histogram: Histogram, number: int, a: float, b: float) -> list[bool]:
    """Whether each window of such confidences counts as drifted."""
    drift, found = Drift(histogram), []
    for _ in range(number):
        for _ in range(WINDOW):
            drift.saw(draw.betavariate(a, b))
        found.append(drift.is_there)
    return found


def test_the_same_confidences_do_not_drift() -> None:
    draw = random.Random(1)
    for known in (100, 300, 1_000):
        histogram = histogram_of(draw.betavariate(8, 2) for _ in range(known))
        assert not any(windows(draw, histogram, 20, 8, 2))


def test_other_confidences_do_at_once() -> None:
    draw = random.Random(2)
    histogram = histogram_of(draw.betavariate(8, 2) for _ in range(500))

    assert windows(draw, histogram, 1, 8, 4) == [True]


def test_a_change_too_small_to_matter_is_none() -> None:
    draw = random.Random(3)
    histogram = histogram_of(draw.betavariate(8, 2) for _ in range(50_000))

    assert limit(histogram) == LARGE
    assert not any(windows(draw, histogram, 5, 8.3, 2))


def test_what_a_window_came_to_stands_until_the_next() -> None:
    drift = Drift(histogram_of([0.1, 0.2, 0.3, 0.4] * 100))
    assert drift.index is None
    for _ in range(WINDOW):
        drift.saw(0.9)
    assert drift.is_there
    for _ in range(WINDOW - 1):
        drift.saw(0.25)
    assert drift.is_there


def test_bins_hold_about_as_many_each_and_ties_make_them_fewer() -> None:
    even = histogram_of(number / 1_000 for number in range(1_000))
    tied = histogram_of([1.0] * 90 + [0.5] * 10)

    assert set(even.counts) == {100}
    assert (tied.edges, tied.counts) == ((1.0,), (10, 90))


def test_confidences_that_are_all_alike_make_a_histogram_too() -> None:
    alike = histogram_of([1.0] * 500)
    drift = Drift(alike)

    for _ in range(WINDOW):
        drift.saw(1.0)
    assert not drift.is_there
    for _ in range(WINDOW):
        drift.saw(0.5)
    assert drift.is_there


def test_its_json_can_be_kept() -> None:
    histogram = histogram_of([0.1, 0.5, 0.5, 0.9])

    assert Histogram.model_validate_json(histogram.model_dump_json()) == histogram


def test_the_index_is_zero_for_the_same_shares_and_positive_for_others() -> None:
    assert stability_index([10, 20, 30], [100, 200, 300]) == pytest.approx(0)
    assert stability_index([10, 10], [10, 30]) > 0
    assert stability_index([10, 0], [0, 10]) < 10


@pytest.mark.parametrize(("degrees", "tail", "value"), [(1, 0.01, 6.635), (9, 1e-4, 33.72), (20, 1e-4, 52.39)])
def test_the_quantiles_are_those_of_the_tables(degrees: int, tail: float, value: float) -> None:
    assert chi_squared(degrees, tail) == pytest.approx(value, rel=0.02)


@pytest.mark.parametrize("confidences", [[], [0.5, float("nan")]])
def test_what_is_no_sample_is_refused(confidences: list[float]) -> None:
    with pytest.raises(ValueError, match="confidences are wanted"):
        histogram_of(confidences)


@pytest.mark.parametrize(
    ("edges", "counts"), [([0.5], [1]), ([0.5, 0.5], [1, 1, 1]), ([0.5], [0, 0]), ([], [1]), ([2.0], [1, 1])]
)
def test_what_is_no_histogram_is_refused(edges: list[float], counts: list[int]) -> None:
    with pytest.raises(ValidationError):
        Histogram.model_validate({"edges": edges, "counts": counts})
