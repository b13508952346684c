"""A draft's final answer beside a helper's."""

import pytest

from router.agreement import agreement_of, helper_request
from router.graders import GRADERS


@pytest.mark.parametrize(
    ("draft", "helper", "agreement"),
    [
        ("It is 42.", "6 * 7 = 42", 1.0),
        ("It is 42.", "The answer is 41", 0.0),
        ("I do not know", "42", 0.0),
        ("42", "I do not know", None),
        ("", "", None),
    ],
    ids=["the same", "another", "the draft has none", "the helper has none", "neither has one"],
)
def test_final_answers_are_compared(draft: str, helper: str, agreement: float | None) -> None:
    assert agreement_of(draft, helper, GRADERS["numeric"]) == agreement


def test_the_helper_gets_the_request_for_one_answer_in_one_piece() -> None:
    once = {"n": 3, "best_of": 3, "stream": True, "stream_options": {}, "logprobs": True, "top_logprobs": 5,
            "prediction": {"type": "content", "content": "42"}}  # fmt: skip
    kept = {"messages": [], "temperature": 0.7, "max_tokens": 9, "tools": [], "seed": 1}

    assert helper_request({**once, **kept}) == kept
