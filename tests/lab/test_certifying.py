import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.certificate import Certificate
from router.lab.certifying import (
    FINEST_GRID,
    CannotCertify,
    Infeasible,
    Split,
    Tried,
    Wanted,
    certified,
    certify,
    delta_at_use,
    delta_of_cluster,
    delta_of_round,
    disagreements,
    grid_of,
    plugged_in,
    regrets,
    tried_at,
)
from router.lab.tails import fewest_questions, least_epsilon, most_losses, p_value

TODAY = date(2026, 1, 31)
SPLIT = Split("5b1e")
WANTED = Wanted("regret", "numeric", epsilon=0.05, delta=0.1)
SHARES = st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]) | st.floats(0, 1)
GRADED = st.lists(st.tuples(SHARES, st.booleans()), min_size=1, max_size=40)


def arrays(graded):
    return np.array([one for one, _ in graded]), np.array([lost for _, lost in graded])


def tail(losses, questions, epsilon):
    """P(so few or fewer), by the definition."""
    return sum(
        math.comb(questions, one) * epsilon**one * (1 - epsilon) ** (questions - one) for one in range(losses + 1)
    )


@given(confidences=st.lists(SHARES, min_size=1, max_size=30))
def test_a_grid_tells_apart_all_the_confidences_it_was_made_of_and_ends_with_everything(confidences) -> None:
    grid = grid_of(confidences)

    assert (np.diff(grid) < 0).all()
    assert grid[-1] == 0
    told_apart = {tuple(one >= threshold for one in confidences) for threshold in grid}
    assert told_apart == {tuple(one >= least for one in confidences) for least in confidences}


def test_no_threshold_of_a_grid_is_where_rounding_would_decide() -> None:
    confidences = np.repeat([0.1, 0.5, 0.7], 10)

    assert grid_of(confidences) == pytest.approx([0.6, 0.3, 0])


def test_a_grid_of_very_many_questions_has_thresholds_at_even_shares_of_them() -> None:
    confidences = np.random.default_rng(0).random(20_000) ** 4

    grid = grid_of(confidences)

    shares = (confidences[:, None] >= grid).mean(axis=0)
    assert len(grid) == FINEST_GRID
    assert np.diff(shares, prepend=0).max() < 0.0021
    assert not np.isin(grid, confidences).any()


@given(graded=GRADED, grid=st.lists(SHARES, min_size=1, max_size=10))
def test_each_threshold_accepts_what_is_at_least_it(graded, grid) -> None:
    confidence, loss = arrays(graded)

    tried = tried_at(grid, confidence, loss)

    assert tried.thresholds.tolist() == sorted(set(grid), reverse=True)
    assert tried.accepted.tolist() == [sum(confidence >= one) for one in tried.thresholds]
    assert tried.losses.tolist() == [sum((confidence >= one) & loss) for one in tried.thresholds]
    assert tried.questions == len(graded)


def test_a_draft_is_regretted_where_it_is_wrong_and_the_final_tier_is_right() -> None:
    assert regrets([True, True, False, False], [True, False, True, False]).tolist() == [False, False, True, False]
    assert disagreements([True, False]).tolist() == [False, True]


@settings(deadline=None)
@given(questions=st.integers(1, 60), epsilon=st.floats(0.005, 0.9), delta=st.floats(0.005, 0.5))
def test_the_most_losses_are_those_of_the_exact_tail(questions, epsilon, delta) -> None:
    most = most_losses(questions, epsilon, delta)

    assert most == -1 or tail(most, questions, epsilon) <= delta * (1 + 1e-9)
    assert tail(most + 1, questions, epsilon) > delta * (1 - 1e-9)
    assert p_value(most + 1, questions, epsilon) == pytest.approx(tail(most + 1, questions, epsilon))


def test_500_questions_at_a_delta_of_a_tenth_may_lose_18_for_5_percent_and_5_for_2() -> None:
    assert most_losses(500, 0.05, 0.1) == 18
    assert most_losses(500, 0.02, 0.1) == 5


def test_a_certificate_says_what_was_promised_of_which_policy_on_which_questions() -> None:
    confidence = np.concatenate([np.full(300, 0.9), np.full(200, 0.4)])
    loss = np.zeros(500, dtype=bool)
    loss[[1, 2, 3]] = loss[300:350] = True

    got = certify(tried_at(grid_of(confidence), confidence, loss), WANTED, Split("5b1e", 2), on=TODAY)

    assert got == Certificate(
        loss="regret",
        grader="numeric",
        epsilon=0.05,
        delta=0.05,
        threshold=0.65,
        questions=500,
        accepted=300,
        losses=3,
        split="5b1e",
        use=2,
        certified_on=TODAY,
        max_age_days=90,
    )


@pytest.mark.parametrize(("losses", "threshold"), [(18, 0.0), (19, 0.65)])
def test_the_laxest_threshold_is_taken_up_to_the_last_loss_that_the_tail_allows(losses, threshold) -> None:
    confidence = np.repeat([0.9, 0.4], 250)
    loss = np.zeros(500, dtype=bool)
    loss[250 : 250 + losses] = True

    got = certify(tried_at(grid_of(confidence), confidence, loss), WANTED, SPLIT, on=TODAY)

    assert isinstance(got, Certificate)
    assert got.threshold == pytest.approx(threshold)


def test_the_certificates_that_are_wrong_are_no_more_than_delta_of_the_draws() -> None:
    # Just unsafe at threshold 0, and 45 questions without a loss have a tail of 0.0994: allowing a single loss, or
    # testing the other tail, would let a third of the draws or nearly all of them through.
    source = np.random.default_rng(20260131)
    draws, wrong = 4_000, 0
    for _ in range(draws):
        confidence = np.where(source.random(45) < 0.4, 0.9, 0.4)
        loss = (source.random(45) < 0.0501 / 0.6) & (confidence < 0.5)
        got = certify(tried_at([0.65, 0.0], confidence, loss), WANTED, SPLIT, on=TODAY)
        wrong += isinstance(got, Certificate) and got.threshold == 0

    assert 0.08 < wrong / draws < 0.115


def test_many_confidences_to_choose_among_break_the_promise_no_more_often() -> None:
    # Losses grow with doubt: the whole grid is in play, and a threshold below 0.5 is unsafe.
    source = np.random.default_rng(7)
    draws, wrong, plugged = 2_000, 0, 0
    for _ in range(draws):
        confidence = source.random(200)
        loss = source.random(200) < 0.4 * (1 - confidence)
        tried = tried_at(np.linspace(0, 1, 501), confidence, loss)
        got = certify(tried, WANTED, SPLIT, on=TODAY)
        wrong += isinstance(got, Certificate) and got.threshold < 0.5
        plugged += tried.thresholds[plugged_in(tried, 0.05) - 1] < 0.5

    assert 0.03 < wrong / draws < 0.1 < 0.3 < plugged / draws


def test_a_policy_that_never_loses_answers_everything() -> None:
    confidence = np.linspace(0, 1, 500)

    got = certify(tried_at(grid_of(confidence), confidence, np.zeros(500)), WANTED, SPLIT, on=TODAY)

    assert isinstance(got, Certificate)
    assert (got.threshold, got.accepted, got.losses) == (0.0, 500, 0)


def test_the_sequence_stops_at_the_first_threshold_that_fails_whatever_comes_after() -> None:
    tried = Tried(np.array([0.9, 0.6, 0.3]), np.array([100, 200, 300]), np.array([0, 40, 0]), 500)

    assert certified(tried, 0.05, 0.1) == 1
    assert plugged_in(tried, 0.05) == 1


def test_the_plug_in_threshold_loses_at_most_epsilon_of_the_sample() -> None:
    tried = Tried(np.array([0.9, 0.6, 0.3]), np.array([100, 200, 300]), np.array([20, 25, 26]), 500)

    assert plugged_in(tried, 0.05) == 2
    assert plugged_in(tried, 0.01) == 0


def test_too_few_questions_are_infeasible_and_say_how_many_would_do() -> None:
    confidence = np.full(44, 0.9)

    got = certify(tried_at([0.5], confidence, np.zeros(44)), WANTED, SPLIT, on=TODAY)

    assert isinstance(got, Infeasible)
    assert (got.reason, got.questions_needed, got.losses) == ("too few questions", 45, 0)
    assert got.feasible_epsilon == pytest.approx(1 - 0.1 ** (1 / 44))
    assert "about 45 questions would do" in got.message
    assert "feasible there is 0.051" in got.message


def test_losses_at_the_strictest_threshold_are_infeasible_and_say_what_would_be_feasible() -> None:
    confidence, loss = np.full(500, 0.9), np.zeros(500, dtype=bool)
    loss[:20] = True
    tried = tried_at([0.95, 0.8], confidence, loss)

    got = certify(tried, WANTED, SPLIT, on=TODAY)

    assert isinstance(got, Infeasible)
    assert (got.reason, got.threshold, got.accepted, got.losses) == ("too many losses", 0.8, 500, 20)
    needed = got.questions_needed
    assert needed is not None
    assert 500 < needed < 1_000
    assert p_value(math.ceil(0.04 * needed), needed, 0.05) <= 0.1
    feasible = replace(WANTED, epsilon=got.feasible_epsilon * 1.0001)
    assert isinstance(certify(tried, feasible, SPLIT, on=TODAY), Certificate)
    less = replace(WANTED, epsilon=got.feasible_epsilon * 0.9999)
    assert isinstance(certify(tried, less, SPLIT, on=TODAY), Infeasible)


def test_more_questions_do_not_help_where_the_surest_drafts_are_wrong_too_often() -> None:
    loss = np.tile([True] + [False] * 9, 50)

    got = certify(tried_at([0.5], np.full(500, 0.9), loss), WANTED, SPLIT, on=TODAY)

    assert isinstance(got, Infeasible)
    assert got.questions_needed is None
    assert "more questions do not help" in got.message


def test_a_threshold_that_accepts_nothing_is_no_certificate() -> None:
    got = certify(tried_at([0.95, 0.9], np.full(500, 0.5), np.zeros(500)), WANTED, SPLIT, on=TODAY)

    assert isinstance(got, Infeasible)
    assert got.reason == "nothing accepted"
    assert got.feasible_epsilon == 1
    assert "the grid was made of others" in got.message


def test_a_tie_is_accepted_whole_or_not_at_all() -> None:
    loss = np.zeros(500, dtype=bool)
    loss[:19] = True

    got = certify(tried_at(grid_of(np.full(500, 0.5)), np.full(500, 0.5), loss), WANTED, SPLIT, on=TODAY)

    assert isinstance(got, Infeasible)
    assert got.accepted == 500


@pytest.mark.parametrize(("epsilon", "delta", "fewest"), [(0.05, 0.1, 45), (0.02, 0.1, 114), (0.01, 0.05, 299)])
def test_the_fewest_questions_are_those_that_do_without_a_loss(epsilon, delta, fewest) -> None:
    assert fewest_questions(epsilon, delta) == fewest
    assert most_losses(fewest, epsilon, delta) == 0
    assert most_losses(fewest - 1, epsilon, delta) == -1


def test_no_number_of_questions_shows_that_a_rate_is_below_itself() -> None:
    assert fewest_questions(0.05, 0.1, rate=0.05) is None
    assert fewest_questions(0.05, 0.1, rate=0.0499999) is None


@settings(deadline=None)
@given(questions=st.integers(1, 2_000), losses=st.integers(0, 30), delta=st.floats(0.01, 0.5))
def test_the_least_epsilon_is_where_the_tail_is_delta(questions, losses, delta) -> None:
    least = least_epsilon(min(losses, questions), questions, delta)

    assert least == 1 or p_value(min(losses, questions), questions, least) == pytest.approx(delta, rel=1e-6)


def test_delta_is_halved_at_each_further_use_of_a_split() -> None:
    assert [delta_at_use(0.1, use) for use in (1, 2, 3)] == [0.1, 0.05, 0.025]
    confidence, loss = np.full(45, 0.9), np.zeros(45)

    assert isinstance(certify(tried_at([0.5], confidence, loss), WANTED, Split("5b1e", 1), on=TODAY), Certificate)
    assert isinstance(certify(tried_at([0.5], confidence, loss), WANTED, Split("5b1e", 2), on=TODAY), Infeasible)


def test_a_split_used_beyond_all_measure_certifies_nothing() -> None:
    got = certify(tried_at([0.5], np.full(500, 0.9), np.zeros(500)), WANTED, Split("5b1e", 5_000), on=TODAY)

    assert isinstance(got, Infeasible)


def test_all_rounds_of_certification_together_spend_delta() -> None:
    spent = [delta_of_round(0.1, number) for number in range(1, 20_001)]

    assert spent == sorted(spent, reverse=True)
    assert 0.0999 < sum(spent) < 0.1


def test_delta_is_divided_among_clusters() -> None:
    assert delta_of_cluster(0.1, 4) == 0.025


@pytest.mark.parametrize("share", [delta_at_use, delta_of_round, delta_of_cluster])
def test_what_is_counted_from_1_is_not_0(share) -> None:
    with pytest.raises(CannotCertify):
        share(0.1, 0)


@pytest.mark.parametrize(
    ("grid", "confidence", "loss"),
    [
        ([], [0.5], [True]),
        ([0.5], [], []),
        ([float("nan")], [0.5], [True]),
        ([1.5], [0.5], [True]),
        ([0.5], [float("nan")], [True]),
        ([0.5], [-0.1], [True]),
        ([0.5], [0.5, 0.6], [True]),
        ([0.5], [0.5], [None]),
        ([0.5], [0.5], [2]),
        ([[0.5]], [0.5], [True]),
    ],
)
def test_what_is_no_grid_or_no_graded_split_is_refused(grid, confidence, loss) -> None:
    with pytest.raises(CannotCertify):
        tried_at(grid, confidence, loss)


@pytest.mark.parametrize(
    ("draft", "final"), [([None], [True]), ([True], [None]), ([True, False], [True]), (True, True)]
)
def test_what_no_grader_has_judged_is_neither_regretted_nor_not(draft, final) -> None:
    with pytest.raises(CannotCertify):
        regrets(draft, final)


def test_what_no_grader_has_judged_is_no_disagreement() -> None:
    with pytest.raises(CannotCertify, match="no grader has judged"):
        disagreements([True, None])


@pytest.mark.parametrize("confidences", [[], [float("nan")], [2.0]])
def test_what_is_no_confidence_makes_no_grid(confidences) -> None:
    with pytest.raises(CannotCertify):
        grid_of(confidences)


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 0.1), (1, 0.1), (float("nan"), 0.1), (0.05, 0), (0.05, 1)])
def test_a_promise_of_nothing_or_of_all_is_refused(epsilon, delta) -> None:
    with pytest.raises(CannotCertify):
        Wanted("regret", "numeric", epsilon=epsilon, delta=delta)
