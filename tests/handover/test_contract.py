"""What a request may hold as its draft: anything, and only token ids are taken from it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.handover.contract import MAX_DRAFT_TOKENS, draft_of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(json_values)
def test_nothing_in_a_request_can_break_it(raw: object) -> None:
    draft = draft_of(raw, vocabulary=100)

    assert all(type(token) is int and 0 <= token < 100 for token in draft)


@pytest.mark.parametrize("wrong", [-1, 100, 2**70, 1.5, float("inf"), "5", None, True, [5]], ids=repr)
def test_a_draft_ends_at_the_first_thing_that_is_no_token(wrong: object) -> None:
    assert draft_of([7, 8, wrong, 9], vocabulary=100) == (7, 8)


def test_whole_numbers_may_be_written_as_decimals() -> None:
    assert draft_of(json.loads("[7.0, 8]"), vocabulary=100) == (7, 8)


def test_a_draft_is_no_longer_than_the_limit() -> None:
    assert len(draft_of([1] * (MAX_DRAFT_TOKENS + 5), vocabulary=100)) == MAX_DRAFT_TOKENS
