"""Scores and confidences, against their definitions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tokens import Token, Tokens
from router.scorers import SCORERS, Evidence, Scorer

logprobs = st.floats(min_value=-50, max_value=0)
tokens = st.lists(
    st.builds(Token, st.just("x"), logprobs, st.lists(logprobs, max_size=5).map(tuple)), min_size=1, max_size=40
)


def of(*logprobs: float) -> Evidence:
    """Tokens of these log-probabilities."""
    return Evidence(Tokens.of([Token("x", logprob) for logprob in logprobs]))


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=lambda scorer: scorer.name)
@given(tokens)
def test_confidence_is_in_the_unit_interval(scorer: Scorer, answer: list[Token]) -> None:
    assert 0 <= scorer.confidence(scorer.score(Evidence(Tokens.of(answer)))) <= 1


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=lambda scorer: scorer.name)
@given(tokens)
def test_the_order_of_tokens_does_not_matter(scorer: Scorer, answer: list[Token]) -> None:
    assert scorer.score(Evidence(Tokens.of(answer))) == pytest.approx(scorer.score(Evidence(Tokens.of(answer[::-1]))))


@pytest.mark.parametrize("name", ["mean-logprob", "low-quantile-logprob", "min-logprob"])
def test_a_certain_answer_has_confidence_one(name) -> None:
    scorer = SCORERS[name]

    assert scorer.confidence(scorer.score(of(0.0, 0.0))) == 1.0


def test_the_mean_is_the_geometric_mean_of_the_probabilities() -> None:
    scorer = SCORERS["mean-logprob"]

    assert scorer.confidence(scorer.score(of(math.log(0.9), math.log(0.4)))) == pytest.approx(0.6)


def test_the_low_quantile_is_the_tenth_part() -> None:
    scorer = SCORERS["low-quantile-logprob"]
    answer = of(*[math.log(share / 20) for share in range(1, 21)])

    assert scorer.confidence(scorer.score(answer)) == pytest.approx(2 / 20)


def test_the_minimum_is_the_least_sure_token() -> None:
    scorer = SCORERS["min-logprob"]

    assert scorer.confidence(scorer.score(of(-0.1, -3.0, -0.2))) == pytest.approx(math.exp(-3.0))


def test_the_margin_sorts_alternatives_that_come_with_the_sampled_token_first() -> None:
    scorer = SCORERS["margin"]
    answer = [Token("x", math.log(0.2), (math.log(0.2), math.log(0.7), math.log(0.1)))]

    assert scorer.confidence(scorer.score(Evidence(Tokens.of(answer)))) == pytest.approx(0.5)


def test_the_entropy_of_four_alike_is_a_quarter() -> None:
    scorer = SCORERS["entropy"]
    answer = [Token("x", math.log(0.25), (math.log(0.25),) * 4)]

    assert scorer.confidence(scorer.score(Evidence(Tokens.of(answer)))) == pytest.approx(0.25)


def test_what_the_alternatives_leave_counts_as_one_more() -> None:
    scorer = SCORERS["entropy"]
    answer = [Token("x", math.log(0.5), (math.log(0.5),))]

    assert scorer.confidence(scorer.score(Evidence(Tokens.of(answer)))) == pytest.approx(0.5)


def test_the_entropy_is_that_of_the_five_likeliest_however_many_there_are() -> None:
    likeliest = tuple(math.log(p) for p in (0.4, 0.2, 0.1, 0.05, 0.05))
    more = (*[math.log(0.01)] * 15, *likeliest)
    scorer = SCORERS["entropy"]

    of_more, of_five = (Evidence(Tokens.of([Token("x", -1.0, beside)])) for beside in (more, likeliest))

    assert scorer.score(of_more) == scorer.score(of_five)
