"""Following a draft: what is proposed while a model writes, counted in the steps that its engine would take."""

from collections.abc import Sequence
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.handover.following import PATIENCE, Following

TOKENS_A_STEP = 16
ANSWER = list(range(100, 160))
tokens = st.lists(st.integers(0, 9), max_size=60)
answers = st.lists(st.integers(0, 9), min_size=1, max_size=60)


def steps(draft: Sequence[int], answer: Sequence[int], tokens_a_step: int = TOKENS_A_STEP) -> int:
    """How many steps an engine takes: the first writes one token, each other what it verified and one more."""
    following = Following(draft)
    written, count = 1, 1
    following.take(answer[:1])
    while written < len(answer):
        proposed = following.next(min(tokens_a_step, len(answer) - written - 1))
        kept = 0
        while kept < len(proposed) and proposed[kept] == answer[written + kept]:
            kept += 1
        following.take(answer[written : written + kept + 1])
        written += kept + 1
        count += 1
    return count


@given(answers, st.integers(1, 20))
def test_a_perfect_draft_is_verified_in_as_few_steps_as_there_can_be(answer: list[int], tokens_a_step: int) -> None:
    assert steps(answer, answer, tokens_a_step) == 1 + ceil((len(answer) - 1) / (tokens_a_step + 1))


@given(tokens, answers)
def test_no_draft_makes_an_answer_take_more_steps_than_tokens(draft: list[int], answer: list[int]) -> None:
    assert steps(draft, answer) <= len(answer)


@given(tokens, answers, st.integers(-1, 20))
def test_what_is_proposed_is_a_part_of_the_draft(draft: list[int], answer: list[int], count: int) -> None:
    following = Following(draft)
    following.take(answer)

    proposed = following.next(count)

    assert len(proposed) <= max(0, count)
    assert any(tuple(draft[start : start + len(proposed)]) == proposed for start in range(len(draft) + 1))


@given(tokens, answers, st.integers(0, 60))
def test_it_does_not_matter_how_many_tokens_are_taken_at_a_time(draft, answer: list[int], cut: int) -> None:
    at_once, in_parts = Following(draft), Following(draft)

    at_once.take(answer)
    in_parts.take(answer[:cut])
    in_parts.take(answer[cut:])

    assert (at_once.next(9), at_once.taken) == (in_parts.next(9), in_parts.taken)


@pytest.mark.parametrize(
    ("draft", "extra"),
    [
        ([*ANSWER[:30], 7, *ANSWER[31:]], 1),
        ([*ANSWER[:30], *ANSWER[31:]], 2),
        ([*ANSWER[:30], 7, 8, 9, *ANSWER[30:]], 1),
        ([*ANSWER[:30], *range(7, 27), *ANSWER[30:]], 2),
        ([*ANSWER[:20], *ANSWER[40:], *ANSWER[20:40]], 5),
    ],
    ids=["one token replaced", "one token missing", "three tokens more", "twenty tokens more", "two parts swapped"],
)
def test_where_the_draft_deviates_only_a_few_steps_are_lost(draft: list[int], extra: int) -> None:
    assert steps(draft, ANSWER) <= steps(ANSWER, ANSWER) + extra


def test_a_replaced_digit_does_not_lead_to_another_place_with_the_same_digits() -> None:
    line = [5, 1, 5, 2, 5, 3, 5, 4, 5, 6, 5, 7]
    answer = [*line[:5], 9, *line[6:]]

    assert steps(line, answer) == steps(answer, answer) + 1


def test_a_useless_draft_is_given_up() -> None:
    following = Following(ANSWER)
    following.take([1] * (PATIENCE - 1))
    assert following.next(4)

    following.take([1])

    assert following.next(4) == ()


def test_a_draft_that_was_given_up_is_taken_up_again_where_two_of_its_tokens_are_written() -> None:
    following = Following(ANSWER)
    following.take([1] * 50)

    following.take(ANSWER[20:22])

    assert following.next(3) == tuple(ANSWER[22:25])


def test_a_draft_at_its_end_proposes_nothing() -> None:
    following = Following(ANSWER)

    following.take(ANSWER)

    assert following.next(4) == ()
