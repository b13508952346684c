"""Tokens in columns are the rows that they were made of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BadReply
from models.parsing import delta_of
from models.tokens import NO_TOKENS, Token, Tokens

LOGPROBS = st.floats(-50, 0)
ROWS = st.lists(st.builds(Token, st.text(max_size=3), LOGPROBS, st.lists(LOGPROBS, max_size=2).map(tuple)), max_size=8)


@given(st.lists(ROWS, max_size=4))
def test_parts_that_are_joined_are_all_their_rows(parts: list[list[Token]]) -> None:
    rows = [row for part in parts for row in part]

    joined = Tokens.joined(map(Tokens.of, parts))

    assert [*joined] == rows
    assert joined == Tokens.of(rows)
    assert joined.text == "".join(row.text for row in rows)


@given(ROWS, st.integers(0, 8), st.integers(0, 8))
def test_some_of_them_are_those_rows(rows: list[Token], start: int, end: int) -> None:
    assert [*Tokens.of(rows)[start:end]] == rows[start:end]
    assert [*Tokens.of(rows).where(row.logprob for row in rows)] == [row for row in rows if row.logprob]


def reply(*entries: object) -> bytes:
    """A chat completion with these log-probabilities."""
    choice = {"message": {"content": "ab"}, "logprobs": {"content": entries}}
    return json.dumps({"choices": [choice]}).encode()


def test_the_tokens_of_a_conversation_are_read_as_they_came() -> None:
    beside = [{"token": "a", "logprob": -1}, {"token": "c", "logprob": -2.5}]
    received = reply({"token": "a", "logprob": -1, "top_logprobs": beside}, {"token": "b", "logprob": 1e-9})

    (piece,) = delta_of(received, 0.0).pieces

    assert [*piece.tokens] == [Token("a", -1.0, (-1.0, -2.5)), Token("b", 0.0)]
    assert {type(logprob) for logprob in piece.tokens.logprobs} == {float}


@pytest.mark.parametrize(
    "entry",
    [{"token": 1, "logprob": -1}, {"token": "a", "logprob": None}, {"token": "a", "logprob": "-1"}, {"token": "a"}, "a",
     {"token": "a", "logprob": -1, "top_logprobs": [{"logprob": None}]}],
)  # fmt: skip
def test_a_token_that_is_none_makes_a_bad_reply(entry: object) -> None:
    with pytest.raises(BadReply):
        delta_of(reply({"token": "a", "logprob": -1}, entry), 0.0)


def test_no_tokens_are_no_evidence_of_anything() -> None:
    assert (delta_of(reply(), 0.0).pieces[0].tokens, len(NO_TOKENS), Tokens.of([])) == (NO_TOKENS, 0, NO_TOKENS)
