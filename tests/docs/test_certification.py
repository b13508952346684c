"""The tables of docs/certification.md are what the code computes."""

import math
from pathlib import Path

import pytest

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
