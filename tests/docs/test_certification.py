"""The tables of docs/certification.md are what the code computes."""

import math
from pathlib import Path

import pytest

from router.lab.betting import exposure_needed
from router.lab.certifying import delta_of_round
from router.lab.tails import least_epsilon, most_losses

PAGE = (Path(__file__).parents[2] / "docs" / "certification.md").read_text()
SIZES = (50, 100, 200, 500, 1000, 2000, 5000)
RATES = (0, 0.01, 0.02, 0.04)


@pytest.mark.parametrize("questions", SIZES)
def test_the_page_says_how_many_losses_are_allowed(questions) -> None:
    most = [most_losses(questions, epsilon, delta) for delta in (0.1, 0.05) for epsilon in (0.01, 0.02, 0.05)]

    assert f"| {questions} | {' | '.join('–' if one < 0 else str(one) for one in most)} |\n" in PAGE


@pytest.mark.parametrize("questions", SIZES)
def test_the_page_says_which_epsilon_is_the_least(questions) -> None:
    least = [
        f"{math.ceil(least_epsilon(round(rate * questions), questions, 0.1) * 10_000) / 10_000:.4f}"
        if (rate * questions).is_integer()
        else "–"
        for rate in map(float, RATES)
    ]

    assert f"| {questions} | {' | '.join(least)} |\n" in PAGE


@pytest.mark.parametrize(
    ("words", "share"), [("none", 0.0), ("a quarter of ε", 0.25), ("half of ε", 0.5), ("three quarters of ε", 0.75)]
)
def test_the_page_says_how_much_exposure_renews(words: str, share: float) -> None:
    delta = delta_of_round(0.1, 2)
    needed = [math.ceil(exposure_needed(epsilon, delta, rate=share * epsilon)) for epsilon in (0.05, 0.02)]

    assert f"| {words} | {needed[0]} | {needed[1]} |\n" in PAGE


def test_the_page_says_how_much_of_delta_all_renewals_have() -> None:
    assert 0.39 < sum(delta_of_round(1.0, number) for number in range(2, 100_000)) < 0.4
