"""What answers cost, by what is known of them."""

from typing import Any

import numpy as np
import pytest

from router.lab.costs import CannotCost, TokenPrice, costs_of, price_of
from router.lab.outcomes import Recorded


def question(small: dict[str, Any], large: dict[str, Any], **more: dict[str, Any]) -> Recorded:
    """Of these outputs."""
    outputs = {"small": small, "large": large, **more}
    said = {name: {"model": name, "correct": True, **output} for name, output in outputs.items()}
    return Recorded.model_validate({"id": "one", "outputs": said})


PAIR = ("small", "large")


def test_recorded_costs_go_first() -> None:
    costs = costs_of([question({"cost": 1.0, "text": "abc"}, {"cost": 4.0})], PAIR, {}, ratio=10)

    assert (costs.by_tier["small"].tolist(), costs.by_tier["large"].tolist()) == ([1.0], [4.0])
    assert costs.basis == "as recorded"


@pytest.mark.parametrize("cost", [{}, {"cost": -1.0}])
def test_where_a_cost_is_missing_or_absurd_characters_count(cost: dict[str, float]) -> None:
    costs = costs_of([question({"text": "abc", "cost": 1.0}, {"text": "abcde", **cost})], PAIR, {}, ratio=10)

    assert (costs.by_tier["small"].tolist(), costs.by_tier["large"].tolist()) == ([3.0], [50.0])
    assert costs.basis == "by characters, of which one of large costs 10"


def test_prices_go_before_what_was_recorded() -> None:
    tokens = {"cost": 9.0, "text": "abcd", "prompt_tokens": 1_000_000, "completion_tokens": 500_000}
    one = question(tokens, tokens)

    by_tokens = costs_of([one], PAIR, {"small": TokenPrice(1.0, 2.0), "large": TokenPrice(10.0, 20.0)}, ratio=1)
    by_characters = costs_of([one], PAIR, {"small": 8.0, "large": 70.0}, ratio=1)

    assert (by_tokens.by_tier["small"].tolist(), by_tokens.by_tier["large"].tolist()) == ([2.0], [20.0])
    assert by_characters.by_tier["large"].tolist() == [280.0]
    assert by_tokens.basis == "by tokens, at the prices given"


def test_an_answer_without_text_is_as_long_as_the_draft() -> None:
    with_draft = costs_of([question({"text": "abc"}, {"text": "a"}, helper={})], (*PAIR, "helper"), {}, ratio=2)
    without = costs_of([question({}, {})], PAIR, {}, ratio=2)

    assert with_draft.by_tier["helper"].tolist() == [3.0]
    assert "answers of helper without text count as long as the draft" in with_draft.basis
    assert np.array_equal(without.by_tier["large"], [2.0])
    assert "answers count as equally long" in without.basis


def test_prices_that_do_not_fit_are_refused() -> None:
    one = question({"text": "a"}, {"text": "b"})

    for prices in ({"small": 1.0}, {"small": 1.0, "large": TokenPrice(1, 1)}):
        with pytest.raises(CannotCost, match="give each of small, large a price"):
            costs_of([one], PAIR, prices, ratio=1)
    with pytest.raises(CannotCost, match="has no numbers of tokens of 'small'"):
        costs_of([one], PAIR, dict.fromkeys(PAIR, TokenPrice(1, 1)), ratio=1)
    with pytest.raises(CannotCost, match="finite"):
        costs_of([one], PAIR, {}, ratio=float("nan"))


def test_prices_are_read_as_they_are_written() -> None:
    assert price_of("8") == 8.0
    assert price_of("0.02:0.04") == TokenPrice(0.02, 0.04)
    for wrong in ("", "x", "1:2:3", "-1", "nan", "inf:1", "1:"):
        with pytest.raises(ValueError, match="is no price"):
            price_of(wrong)
