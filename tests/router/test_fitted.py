"""Features by hand, and a fitted scorer that says of a draft under way what it says of the whole."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.tokens import Token, Tokens
from router.calibration import Platt
from router.features import TOKEN_FEATURES, features_of
from router.fitted import Logistic, base_scorer, calibrated
from router.scorers import Evidence

LOGPROBS = st.floats(-20, 0)
TOKENS = st.lists(
    st.builds(Token, st.sampled_from(("a", " b", ".", "\n", "")), LOGPROBS, st.lists(LOGPROBS, max_size=3).map(tuple)),
    min_size=1, max_size=40,
)  # fmt: skip
ALL = Logistic(names=tuple(TOKEN_FEATURES), weights=tuple(0.1 for _ in TOKEN_FEATURES), intercept=-0.5)


def written(*texts: str) -> Evidence:
    """A token for each text, with the log-probabilities -1, -2, -3, …"""
    return Evidence(Tokens.of([Token(text, -float(place)) for place, text in enumerate(texts, 1)]))


def value(name: str, evidence: Evidence) -> float:
    """One feature's."""
    return features_of(evidence, (name,))[name]


def test_features_are_what_their_names_say() -> None:
    evidence = written("a", "b", "c")

    assert value("mean-logprob", evidence) == pytest.approx(-2)
    assert value("min-probability", evidence) == pytest.approx(math.exp(-3))
    assert value("sum-logprob", evidence) == pytest.approx(-6)
    assert value("log-tokens", evidence) == pytest.approx(math.log(4))


def test_the_lowest_window_is_of_tokens_in_a_row() -> None:
    evidence = Evidence(Tokens.of([Token("x", -(8.0 if place in (3, 12) else 0.0)) for place in range(20)]))

    assert value("lowest-window-logprob", evidence) == pytest.approx(-1)
    assert value("lowest-window-logprob", written("a", "b")) == pytest.approx(-1.5)


@pytest.mark.parametrize(
    ("texts", "mean"),
    [
        (("1", "+", "1", ".", " So", " 2", "."), -6),
        (("One", ".", "\n", "Two", "."), -4.5),
        (("One", "\n", "Two"), -3),
        (("It", " is", " 1", ".", "5", "."), -3.5),
        (("One", ".", " Two", ".", "</s>"), -4),
        (("One", ".", " ", "Two"), -4),
        (("One", ".", " ", "\n"), -2.5),
        (("Only",), -1),
    ],
    ids=["a sentence", "a line after a stop", "a line", "a decimal point", "the end's token", "a space by itself",
         "space at the end", "one token"],
)  # fmt: skip
def test_the_end_is_the_last_sentence_or_line(texts: tuple[str, ...], mean: float) -> None:
    assert value("end-mean-logprob", written(*texts)) == pytest.approx(mean)


@given(TOKENS)
def test_a_draft_under_way_has_the_score_of_what_there_is(tokens: list[Token]) -> None:
    scorer = base_scorer(ALL)
    assert scorer.running is not None
    running = scorer.running()

    for count, token in enumerate(tokens, 1):
        running.add(token)
        assert running.score == pytest.approx(scorer.score(Evidence(Tokens.of(tokens[:count]))))
    assert 0 <= scorer.confidence(running.score) <= 1


def test_a_scorer_that_asks_somebody_reads_whole_drafts_alone() -> None:
    scorer = base_scorer(Logistic(names=("mean-logprob", "agreement"), weights=(1.0, 2.0), intercept=0.0))

    assert scorer.running is None
    assert scorer.opinions == ("agreement",)
    assert scorer.score(Evidence(Tokens.of([Token("x", -1.0)]), "x", {"agreement": 1.0})) == pytest.approx(1.0)
    with pytest.raises(KeyError):
        scorer.score(Evidence(Tokens.of([Token("x", -1.0)])))


def test_a_scorer_of_text_reads_whole_drafts_alone_and_asks_nobody() -> None:
    scorer = base_scorer(Logistic(names=("mean-logprob", "text-length"), weights=(1.0, 1.0), intercept=0.0))

    assert scorer.running is None
    assert (scorer.opinions, scorer.reads_text, scorer.reads_tokens) == ((), True, True)
    assert scorer.score(Evidence(Tokens.of([Token("x", -1.0)]), "xy")) == pytest.approx(-1.0 + math.log(3))
    assert not base_scorer(ALL).reads_text
    assert not base_scorer(Logistic(names=("text-length",), weights=(1.0,), intercept=0.0)).reads_tokens


@pytest.mark.parametrize(("answer_by", "found"), [("choice", 1.0), ("numeric", 0.0), (None, 0.0)])
def test_features_of_the_final_answer_are_of_what_the_grader_finds(answer_by: str | None, found: float) -> None:
    scorer = base_scorer(Logistic(names=("text-answer-found",), weights=(1.0,), intercept=0.0, answer_by=answer_by))

    assert scorer.score(Evidence((), "The answer is (B).")) == found


def test_what_this_version_does_not_have_is_refused() -> None:
    with pytest.raises(ValidationError, match="there is no feature text-vibes in this version: tune again"):
        Logistic(names=("text-vibes", "text-length"), weights=(1.0, 1.0), intercept=0.0)
    with pytest.raises(ValidationError, match="there is no grader 'vibes'"):
        Logistic(names=("text-length",), weights=(1.0,), intercept=0.0, answer_by="vibes")


def test_alternatives_are_asked_for_only_where_a_feature_reads_them() -> None:
    assert base_scorer(Logistic(names=("mean-logprob",), weights=(1.0,), intercept=0.0)).alternatives == 0
    assert base_scorer(Logistic(names=("end-margin",), weights=(1.0,), intercept=0.0)).alternatives == 5


def test_calibration_keeps_the_score_and_says_what_the_confidence_is_of() -> None:
    raw = base_scorer(Logistic(names=("mean-logprob",), weights=(1.0,), intercept=0.0))
    scorer = calibrated(raw, Platt(slope=1.0, intercept=1.0), "no-regret")

    assert scorer.score(written("a")) == raw.score(written("a")) == -1.0
    assert scorer.confidence(-1.0) == pytest.approx(0.5)
    assert (raw.confidence_of, scorer.confidence_of) == ("uncalibrated", "no-regret")


@pytest.mark.parametrize(
    "wrong",
    [{"weights": (1.0,)}, {"names": ("a", "a")}, {"weights": (1.0, math.nan)}, {"intercept": math.inf}],
    ids=["a weight too few", "a name twice", "not a number", "infinite"],
)
def test_weights_that_are_none_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Logistic.model_validate({"names": ("a", "b"), "weights": (1.0, 2.0), "intercept": 0.0, **wrong})
