"""When two answers are the same."""

import pytest
from pydantic import JsonValue

from router.lab.agreement import agree


@pytest.mark.parametrize(
    ("answer", "other", "same"),
    [
        ("18", "$18", True),
        ("1,200 eggs", "1200", True),
        ("7.50", "7.5 dollars", True),
        ("C", "C", True),
        ("C", "c ", True),
        ("C", "D", False),
        ("New  York", "new york", True),
        (18, "18", True),
        (18, 18.0, True),
        ("18", "19", False),
        ("2 hours 30 minutes", "2 hours", False),
        ("5 of 6", "5 of 6", True),
        ("-3", "3", False),
        ("34", "4 * 1.5 + 2 * 4 + 20 = 6 + 8 + 20 = 34", True),
        ("0.5", "1/2 pound", True),
        (True, 1, False),
        (True, True, True),
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        (None, None, False),
        (None, "3", False),
        ("", "", True),
        ([1, "a"], [1, "a"], True),
        ({"a": True}, {"a": 1}, False),
        ("", " ", False),
    ],
)
def test_answers_agree_whatever_their_dress(answer: JsonValue, other: JsonValue, same: bool) -> None:
    assert agree(answer, other) is same
    assert agree(other, answer) is same
