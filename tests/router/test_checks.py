"""Drafts that no score can save, and those that must not be taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.answer import Choice, Token
from models.prompt import Prompt
from router.checks import fits_schema, is_empty, is_looping, is_refused, prefix_matches
from router.evidence import evidence_of

PLAIN = Prompt({"messages": []}, "id")


def choice(text: str = "", **fields) -> Choice:
    """An answer."""
    whole = {"text": text, "reasoning": "", "refusal": "", "tool_calls": (), "tokens": (), "finish_reason": "stop"}
    return Choice(**{**whole, **fields})


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_white_space_is_no_answer(text: str) -> None:
    assert is_empty(choice(text), PLAIN)


@pytest.mark.parametrize("text", ["again and again, " * 4, "x" * 41, "Yes. " + "No. " * 12, "ab" * 1000])
def test_a_text_that_ends_in_repetition_loops(text: str) -> None:
    assert is_looping(choice(text), PLAIN)


@pytest.mark.parametrize(
    "text",
    ["", "no", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16", "ha ha ha", "-" * 39, "x" * 200 + ". The end."],
)
def test_a_text_that_does_not_is_none(text: str) -> None:
    assert not is_looping(choice(text), PLAIN)


@given(st.text(alphabet="ab", max_size=60))
def test_prefix_matches_are_what_they_say(text: str) -> None:
    for place, length in enumerate(prefix_matches(text)):
        if place:
            assert text[:length] == text[place : place + length]
            assert place + length == len(text) or text[length] != text[place + length]


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (choice("I'm sorry, but I can't help with that."), True),
        (choice("As an AI, I have no opinion."), True),
        (choice("anything", refusal="no"), True),
        (choice("The word 'sorry' has five letters."), False),
        (choice("Paris. " * 30 + "As an AI I end here."), False),
    ],
)
def test_a_refusal_stands_at_the_beginning(answer: Choice, refused: bool) -> None:
    assert is_refused(answer, PLAIN) is refused


@pytest.mark.parametrize(
    ("text", "schema", "fits"),
    [
        ('{"a": 1}', {"type": "object", "required": ["a"]}, True),
        ('{"b": 1}', {"type": "object", "required": ["a"]}, False),
        ('```json\n{"a": 1}\n```', {"type": "object"}, False),
        ("[1, 2", {}, False),
        ('{"a": 1}', {"type": 7}, True),
        ('{"a": 1}', {"$ref": "http://127.0.0.1:1/schema.json"}, True),
    ],
)
def test_json_is_validated_and_a_broken_schema_judges_nothing(text: str, schema: dict, fits: bool) -> None:
    assert fits_schema(text, schema) is fits


def test_forced_tokens_do_not_count_where_a_grammar_was_at_work() -> None:
    tokens = (Token('{"a": ', 0.0), Token("1", -0.5), Token("}", 0.0))
    constrained = Prompt({"messages": [], "response_format": {"type": "json_object"}}, "id")

    assert evidence_of(choice("x", tokens=tokens), constrained) == (tokens[1],)
    assert evidence_of(choice("x", tokens=tokens), PLAIN) == tokens


def test_reasoning_is_no_evidence() -> None:
    tokens = (Token("hmm", -3.0), Token("</think>", -0.1), Token("4", -0.2), Token("2", -0.3))

    assert evidence_of(choice("42", tokens=tokens, reasoning="hmm"), PLAIN) == tokens[2:]


@pytest.mark.parametrize("logprob", [0.0, float("nan")])
def test_log_probabilities_that_say_nothing_are_degenerate(logprob: float) -> None:
    assert evidence_of(choice("x", tokens=(Token("x", logprob),) * 3), PLAIN) == "degenerate-evidence"
