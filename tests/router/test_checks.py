"""Drafts that no score can save, and those that must not be taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.answer import Choice, ToolCall
from models.prompt import Prompt
from models.tokens import NO_TOKENS, Token, Tokens
from router.checks import ends_in_repeats, failed_check, is_cut, is_empty, is_looping, is_malformed, is_refused
from router.evidence import evidence_of
from router.schemas import fits_schema

PLAIN = Prompt({"messages": []}, "id")


def choice(text: str = "", **fields) -> Choice:
    """An answer."""
    whole = {
        "text": text,
        "reasoning": "",
        "refusal": "",
        "tool_calls": (),
        "tokens": NO_TOKENS,
        "finish_reason": "stop",
    }
    return Choice(**{**whole, "tokens": NO_TOKENS, **fields})


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_white_space_is_no_answer(text: str) -> None:
    assert is_empty(choice(text), PLAIN)


REPEATS = ["again and again, " * 4, "x" * 41, "Yes. " + "No. " * 12, "ab" * 1000]


@pytest.mark.parametrize("text", REPEATS)
def test_a_cut_text_that_ends_in_repetition_loops(text: str) -> None:
    assert is_looping(choice(text, finish_reason="length"), PLAIN)


@pytest.mark.parametrize("text", ["again and again, " * 20, "x" * 300, "ab" * 1000])
def test_an_ended_text_loops_where_it_repeats_far_more(text: str) -> None:
    assert is_looping(choice(text), PLAIN)


@pytest.mark.parametrize(
    "text",
    ["", "no", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16", "ha ha ha", "-" * 40, "x" * 300 + ". The end.",
     "- [ ] todo\n" * 4, "    }\n" * 8, "1" + "0" * 60],
)  # fmt: skip
def test_tables_rules_and_lists_are_no_loops(text: str) -> None:
    assert not is_looping(choice(text), PLAIN)


@given(
    st.text(alphabet="ab", max_size=9), st.text(alphabet="ab", min_size=1, max_size=6), st.integers(0, 12),
    st.text(alphabet="ab", max_size=3), st.integers(2, 5), st.integers(1, 20),
)  # fmt: skip
def test_a_text_ends_in_repeats_where_it_ends_in_some_piece_that_often(
    before: str, piece: str, times: int, after: str, repeats: int, characters: int
) -> None:
    text = before + piece * times + after
    looped = any(
        text[-length:] == (text[-period:] * length)[-length:]
        for period in range(1, len(text) + 1)
        for length in range(max(period * repeats, characters), len(text) + 1)
    )

    assert looped == ends_in_repeats(text, repeats=repeats, characters=characters)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (choice("I'm sorry, but I can't help with that."), True),
        (choice("As an AI, I have no opinion."), True),
        (choice("anything", refusal="no"), True),
        (choice("Unfortunately, I am not able to say."), True),
        (choice("Sorry, but I can’t provide that."), True),
        (choice("\n***\n> “I can't help with that.”"), True),
        (choice("... " * 1000), False),
        (choice("The word 'sorry' has five letters."), False),
        (choice("The Concorde was an airliner."), False),
        (choice("'No puedo' means \"I am unable to\" in English."), False),
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


def fans_out(levels: int) -> dict:
    """A schema whose checking doubles with each level."""
    definitions = {"a0": {}}
    for level in range(1, levels):
        definitions[f"a{level}"] = {"allOf": [{"$ref": f"#/$defs/a{level - 1}"}] * 2}
    return {"$defs": definitions, "$ref": f"#/$defs/a{levels - 1}"}


@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        (fans_out(5), True),
        (fans_out(40), False),
        ({"properties": {"next": {"$ref": "#"}}}, True),
        ({"enum": ["x" * 300_000, 7]}, False),
    ],
)
def test_a_schema_that_would_take_too_long_fits_nothing(schema: dict, fits: bool) -> None:
    assert fits_schema("7", schema) is fits


OFFER = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("tool_choice", "answer", "malformed"),
    [
        ("auto", choice("no"), False),
        ("auto", choice('<tool_call>{"name": "add"}'), True),
        ("auto", choice("", tool_calls=(ToolCall("add", "5"),)), True),
        ("required", choice("no"), True),
        ("required", choice("", tool_calls=(ToolCall("add", "{}"),)), False),
        ("none", choice("", tool_calls=(ToolCall("add", "{}"),)), True),
        ({"type": "function", "function": {"name": "add"}}, choice("", tool_calls=(ToolCall("sub", "{}"),)), True),
        ({"type": "function", "function": {"name": "add"}}, choice("", tool_calls=(ToolCall("add", ""),)), False),
    ],
)
def test_tools_are_called_as_they_were_asked_for(tool_choice: object, answer: Choice, malformed: bool) -> None:
    prompt = Prompt({"messages": [], "tools": [OFFER], "tool_choice": tool_choice}, "id")

    assert is_malformed(answer, prompt) is malformed


@pytest.mark.parametrize("reason", ["abort", "error", "content_filter", None])
def test_an_answer_that_did_not_end_by_itself_is_cut(reason: str | None) -> None:
    assert is_cut(choice("yes", finish_reason=reason), PLAIN)


def test_an_answer_cut_before_the_clients_limit_is_cut_by_something_else() -> None:
    limited = Prompt({"messages": [], "max_tokens": 3}, "id")
    tokens = Tokens.of([Token("x", -0.1)] * 3)

    assert not is_cut(choice("xxx", finish_reason="length", tokens=tokens), limited)
    assert is_cut(choice("xx", finish_reason="length", tokens=tokens[:2]), limited)


def test_fewer_choices_than_asked_for_are_an_answer_cut() -> None:
    two = Prompt({"messages": [], "n": 2}, "id")

    assert failed_check([choice("yes")], two, ["cut"]) == "cut"
    assert failed_check([choice("yes")] * 2, two, ["cut"]) is None


def test_forced_tokens_do_not_count_where_a_grammar_was_at_work() -> None:
    tokens = Tokens.of([Token('{"a": ', 0.0), Token("1", -0.5), Token("}", 0.0)])
    constrained = Prompt({"messages": [], "response_format": {"type": "json_object"}}, "id")

    assert evidence_of(choice("x", tokens=tokens), constrained).tokens == tokens[1:2]
    assert evidence_of(choice("x", tokens=tokens), PLAIN).tokens == tokens


def test_reasoning_is_no_evidence() -> None:
    tokens = Tokens.of([
        Token("42?", -3.0), Token("</think>", -0.1), Token("4", -0.2), Token("2", -0.3), Token("<|im_end|>", -0.0001),
    ])  # fmt: skip

    assert evidence_of(choice("42", tokens=tokens, reasoning="42?"), PLAIN).tokens == tokens[2:]
    assert evidence_of(choice("43", tokens=tokens, reasoning="42?"), PLAIN) == "no-evidence"


def test_log_probabilities_of_a_part_of_the_answer_are_no_evidence() -> None:
    assert evidence_of(choice("yes it is", tokens=Tokens.of([Token("yes", -0.1)])), PLAIN) == "no-evidence"


@pytest.mark.parametrize("logprob", [0.0, float("nan")])
def test_log_probabilities_that_say_nothing_are_degenerate(logprob: float) -> None:
    assert evidence_of(choice("x", tokens=Tokens.of([Token("x", logprob)] * 3)), PLAIN) == "degenerate-evidence"
