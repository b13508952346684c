"""What an operator wants kept nowhere is taken out of texts before they are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.store.redacting import REDACTED, Redaction

CARD = r"\b\d{4}(?:[ -]?\d{4}){3}\b"
MAIL = r"[\w.+-]+@[\w-]+\.[\w.]+"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("pay 1234 5678 9012 3456 now", f"pay {REDACTED} now"),
        ("ünï: jo@example.org, ok", f"ünï: {REDACTED} ok"),
        ("1234567890123456", REDACTED),
        ("nothing here", "nothing here"),
        ("", ""),
    ],
)
def test_a_match_is_replaced(text: str, kept: str) -> None:
    assert Redaction.of([CARD, MAIL + ","]).of_text(text) == kept


def test_matches_that_overlap_or_touch_are_one_whatever_their_order() -> None:
    for patterns in (["abc", "cde", "ef"], ["ef", "cde", "abc"]):
        assert Redaction.of(patterns).of_text("xabcdefy") == f"x{REDACTED}y"


def test_a_match_at_the_end_of_what_is_kept_is_one() -> None:
    redaction = Redaction.of(["secret"])

    assert redaction.of_text("a secret", 4) == f"a {REDACTED}"
    assert redaction.of_text("a secret", 2) == "a "
    assert redaction.of_text("a secret and more", 10) == f"a {REDACTED} a"


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        (["a ", "sec", "ret", " b"], ("a ", REDACTED, "", " b")),
        (["a sec", "r", "et b"], (f"a {REDACTED}", "", " b")),
        (["secret secret"], (f"{REDACTED} {REDACTED}",)),
        (["secret", "secret", ""], (REDACTED, "", "")),
        (["a", "", "b"], ("a", "", "b")),
        ([], ()),
    ],
)
def test_a_match_over_several_tokens_is_in_none_of_them(tokens: list[str], kept: tuple[str, ...]) -> None:
    assert Redaction.of(["secret"]).of_tokens(tokens) == kept


@given(st.lists(st.text("secrt ü", max_size=5), max_size=12))
def test_tokens_say_together_what_their_text_says(tokens: list[str]) -> None:
    redaction = Redaction.of(["s+e*c", "r ?e", "ü"])

    kept = redaction.of_tokens(tokens)

    assert len(kept) == len(tokens)
    assert "".join(kept) == redaction.of_text("".join(tokens))


def test_all_texts_of_a_request_are_looked_at() -> None:
    request = {"messages": [{"role": "user", "content": [{"type": "text", "text": "my secret"}]}], "n": 2,
               "metadata": {"secret": None}}  # fmt: skip

    assert Redaction.of(["secret"]).of_request(request) == {
        "messages": [{"role": "user", "content": [{"type": "text", "text": f"my {REDACTED}"}]}], "n": 2,
        "metadata": {REDACTED: None},
    }  # fmt: skip


def test_an_expression_that_matches_nothing_takes_nothing_out() -> None:
    assert Redaction.of(["", "x*"]).of_text("abc") == "abc"
    assert Redaction().of_text("abc") == "abc"


def test_time_is_linear_in_the_text() -> None:
    """Expressions on which a backtracking engine would need longer than the universe is old."""
    redaction = Redaction.of(["(a+)+b", "(a|aa)+c", "(.*)*d"])

    assert redaction.of_text("a" * 100_000) == "a" * 100_000


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(?=a)", "a{1001}"])
def test_what_is_no_expression_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no regular expression of RE2"):
        Redaction.of([pattern])
