"""The score before generation, as the way of a request reads it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from router.skipping import PromptGain
from router.words import LONGEST, prompt_shares

BUCKETS = 64


@given(st.text(max_size=200))
def test_a_prompt_is_a_vector_of_length_one_or_nothing(prompt: str) -> None:
    shares = prompt_shares(prompt, BUCKETS)

    assert all(0 <= bucket < BUCKETS for bucket in shares)
    assert not shares or math.fsum(share**2 for share in shares.values()) == pytest.approx(1.0)


def test_words_count_whatever_their_case_and_what_stands_between_them() -> None:
    assert prompt_shares("What is Two, plus two?", BUCKETS) == prompt_shares("what IS two\nplus (two)", BUCKETS)
    assert prompt_shares("two plus", 2**20) != prompt_shares("plus two", 2**20)
    assert prompt_shares("", BUCKETS) == prompt_shares("?!", BUCKETS) == {}


def test_buckets_are_the_same_everywhere() -> None:
    assert prompt_shares("hello world", 65_536) == pytest.approx(
        dict.fromkeys((42_630, 4_419, 4_485), 1 / math.sqrt(3))
    )


def test_the_end_of_a_long_prompt_is_what_counts() -> None:
    assert prompt_shares("b " * LONGEST + " a" * LONGEST, BUCKETS) == prompt_shares(" a" * (LONGEST // 2), BUCKETS)


def test_the_gain_is_the_intercept_and_the_weights_of_its_words() -> None:
    scorer = PromptGain(intercept=0.1, unit=0.001, weights=tuple(range(BUCKETS)))
    ((bucket, share),) = prompt_shares("hello", BUCKETS).items()

    assert scorer.gain("") == 0.1
    assert scorer.gain("hello") == pytest.approx(0.1 + 0.001 * bucket * share)
    assert scorer.confidence("hello") == pytest.approx((1 - scorer.gain("hello")) / 2)


@given(st.text(max_size=50), st.floats(-5, 5))
def test_the_confidence_is_in_the_unit_interval(prompt: str, intercept: float) -> None:
    scorer = PromptGain(intercept=intercept, unit=1.0, weights=(30_000, -30_000))

    assert 0 <= scorer.confidence(prompt) <= 1


@pytest.mark.parametrize(
    "change",
    [{"weights": ()}, {"weights": (40_000,)}, {"weights": (0.5,)}, {"unit": 0.0}, {"intercept": math.nan}, {"more": 1}],
)
def test_what_is_no_such_score_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PromptGain.model_validate({"intercept": 0.0, "unit": 1.0, "weights": (1, 2), **change})
