"""Graders, by hand-made cases: what models write, and what must not be taken for an answer."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.answer import Choice, ToolCall
from models.tokens import NO_TOKENS
from models.wire import Json
from router.final_answers import choice_in, json_in, number_in, same_json, written
from router.graders import GRADERS, UnknownGrader, grader_of, plugged_in, said_in, same_answer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("18", 18),
        ("So she makes 9 * 2 = $18 per day.", 18),
        ("It is -5.", -5),
        ("It is −5 °C.", -5),
        ("between 10-5", 5),
        ("10 - 5", 5),
        ("x=-5", -5),
        ("(-3)", -3),
        ("-$5", -5),
        ("$-5", -5),
        ("$1,234.50 in all", Fraction("1234.5")),
        ("€ 1,234,567", 1234567),
        ("1,00,000 rupees", 100000),
        ("12\u202f345", 12345),
        ("12{,}345", 12345),
        ("3,14", 14),
        (".5", Fraction(1, 2)),
        ("3.50", Fraction(7, 2)),
        ("12.", 12),
        ("50%", 50),
        ("50 %", 50),
        ("3/4", Fraction(3, 4)),
        ("1 1/2 cups", Fraction(3, 2)),
        ("½", Fraction(1, 2)),
        ("1½", Fraction(3, 2)),
        ("−½", Fraction(-1, 2)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\dfrac{3}{4}", Fraction(-3, 4)),
        (r"1\frac{1}{2}", Fraction(3, 2)),
        ("12/4 = 3", 3),
        ("5/0", None),
        ("1e-3", Fraction(1, 1000)),
        ("6.02 × 10^23", 602 * 10**21),
        ("6.02 × 10²³", 602 * 10**21),
        (r"6.02 \times 10^{-3}", Fraction(602, 100000)),
        ("2^10", 1024),
        ("1e999999999", None),
        ("10^999999999", None),
        ("9" * 5000, None),
        ("٣", 3),
        ("H2O", None),
        ("none", None),
        ("", None),
        ("5 apples, no: 7 apples", 7),
        ("First 3, then 4.\n#### 7\nDone in 2 steps.", 7),
        ("#### $1,234", 1234),
        ("# 18", 18),
        (r"We get \boxed{42}. That took 3 steps.", 42),
        (r"\boxed{\frac{1}{2}} of 10", Fraction(1, 2)),
        (r"\boxed{x = 7}", 7),
        (r"\boxed{unclosed, 8", 8),
        ("The answer is 5. I checked it in 3 ways.", 5),
        ("The answer is 12 - 5 = 7.", 7),
        ("The answer is 3, no, wait.\nThe answer is 4. Sure in 2 ways.", 4),
        ("Answer: **42** (of 100)", 42),
        ("**Answer:**\n42 of 100", 42),
        ("The answer is as follows.\nIt is 9", 9),
        ('{"reasoning": "16 - 7 = 9, 9 * 2 = 18", "answer": "18"}', 18),
        ('{"answer": 18, "reasoning": "9 * 2 = 19"}', 18),
        ('```json\n{"reasoning": "so 3", "answer": "12 eggs"}\n```\nThat is all 1 of us know.', 12),
        ('{"reasoning": "a "broken" string", "answer": "18"}', 18),
        ('{"answer": true, "n": 4}', 4),
    ],
)
def test_the_number_that_a_text_comes_to(text: str, number: int | Fraction | None) -> None:
    assert number_in(text) == number


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ("She pays $18.00", "18", True),
        ("She pays 18", "# 18", True),
        ("1,234.50", 1234.5, True),
        ("0.1", 0.1, True),
        ("It is 19", "18", False),
        ("I cannot tell.", "18", False),
        ("18", None, None),
        ("18", "eighteen", None),
        ("1", True, None),
        ("18", [18], None),
        ("18", float("nan"), None),
    ],
)
def test_numbers_are_compared_by_value(text: str, gold: Json, right: bool | None) -> None:
    assert GRADERS["numeric"].grade(text, gold) is right


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("C", "C"),
        ("c", "C"),
        ("(c)", "C"),
        (" c. ", "C"),
        ("C. Paris", "C"),
        ("C) Paris", "C"),
        ("(C) Paris", "C"),
        ("C: Paris", "C"),
        ("C, because it is", "C"),
        ("**C**", "C"),
        ("**C.** Paris", "C"),
        ("C\nBecause A is wrong.", "C"),
        ("Option C", "C"),
        ("The answer is (C).", "C"),
        ("The answer is C because A is wrong.", "C"),
        ("The correct answer is: C", "C"),
        ("The correct option is **C**.", "C"),
        ("Answer: **B**", "B"),
        ("**Answer:** B", "B"),
        ("Answer:\n\nB", "B"),
        ("The answer is (A). No: the answer is (B).", "B"),
        ("The answer is definitely (D).", "D"),
        (r"\boxed{C}", "C"),
        (r"Therefore $\boxed{\text{(C)}}$.", "C"),
        ('{"answer": "C"}', "C"),
        ('{"reasoning": "The answer is (A)?", "choice": "B"}', "B"),
        ('```json\n{"answer": "c"}\n```', "C"),
        ("A is wrong, and so is B.\nSo it must be (D).", "D"),
        ("A is wrong.\n\nD", "D"),
        ("J", "J"),
        ("The answer is a dog.", None),
        ("Answer: I believe that it is hot", None),
        ("It is (A) or (B).", None),
        ("E.g. Paris", None),
        ("A dog barks.", None),
        ("I think so.", None),
        ("Paris", None),
        ("", None),
    ],
)
def test_the_letter_that_a_text_chooses(text: str, letter: str | None) -> None:
    assert choice_in(text) == letter


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [("(C)", "C", True), ("C", "(c)", True), ("D", "C", False), ("none of them", "C", False), ("C", 2, None),
     ("C", "Paris", None), ("C", None, None)],
)  # fmt: skip
def test_choices_are_compared_by_letter(text: str, gold: Json, right: bool | None) -> None:
    assert GRADERS["choice"].grade(text, gold) is right


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ('{"a": 1, "b": [1.50, "x"]}', {"b": [1.5, "x"], "a": 1.0}, True),
        ('{"a": 1}', '{"a": 1.0}', True),
        ('Here it is:\n```json\n{"a": 1}\n```\nDone.', {"a": 1}, True),
        ('```\n[1, 2]\n```', "[1, 2]", True),
        ('Sure: {"a": {"b": 1}} as you asked {sic}', {"a": {"b": 1}}, True),
        ('first {"a": 2}, then {"a": 1}', {"a": 1}, True),
        ('{"a": 1e2}', {"a": 100}, True),
        ('{"a": true}', {"a": 1}, False),
        ('{"a": 0}', {"a": False}, False),
        ('{"a": null}', {}, False),
        ("[1, 2]", [2, 1], False),
        ("[1]", [1, 1], False),
        ('"yes"', "yes", True),
        ('"no"', "yes", False),
        ("yes", "yes", None),
        ('{"a": 1}', "yes", None),
        ('"5"', "5", True),
        ("5", "5", True),
        ("hello", {"a": 1}, False),
        ("", {"a": 1}, False),
        ("{broken", {"a": 1}, False),
        ("NaN", [1], False),
        ("[1e999]", [1], False),
        ('{"a": 1}', None, None),
    ],
)  # fmt: skip
def test_json_is_compared_by_value(text: str, gold: Json, right: bool | None) -> None:
    assert GRADERS["json"].grade(text, gold) is right


@pytest.mark.parametrize(
    ("name", "text", "gold", "right"),
    [
        ("exact", " yes\n", "yes ", True),
        ("exact", "Yes", "yes", False),
        ("exact", "", "", True),
        ("exact", "5", 5, True),
        ("exact", "true", True, True),
        ("exact", "5", [5], None),
        ("exact", "5", None, None),
        (r"regex:code (\d+)", "code 1, then code 22", "22", True),
        (r"regex:code (\d+)", "code 1, then code 22", 22, True),
        (r"regex:code (\d+)", "code 1", "22", False),
        (r"regex:code (\d+)", "nothing", "22", False),
        (r"regex:code (\d+)", "code 22", None, None),
        ("regex:(?i)refund", "A REFUND is due", None, True),
        ("regex:(?i)refund", "Nothing is due", "anything", False),
        ("regex:a(b)?", "a", "b", False),
    ],
)
def test_texts_and_patterns(name: str, text: str, gold: Json, right: bool | None) -> None:
    assert grader_of(name).grade(text, gold) is right


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        ("numeric", "That is $18.", "18.00", True),
        ("numeric", "19", "18", False),
        ("numeric", "I do not know", "18", False),
        ("numeric", "18", "I do not know", None),
        ("choice", "(B)", "The answer is B.", True),
        ("json", '{"a": 1, "b": 2}', '{"b": 2.0, "a": 1}', True),
        ("json", '"5"', '"5"', True),
        ("exact", " x", "x", True),
        ("exact", "", "", None),
        (r"regex:(\d+)$", "a 5", "b 5", True),
    ],
)
def test_two_answers_are_one_or_not(name: str, one: str, other: str, same: bool | None) -> None:
    assert same_answer(one, other, grader_of(name)) is same


@pytest.mark.parametrize("name", sorted(GRADERS))
@given(text=st.text())
def test_any_text_is_the_same_answer_as_itself_or_has_none(name: str, text: str) -> None:
    assert same_answer(text, text, GRADERS[name]) in (True, None)


@given(st.fractions())
def test_a_number_is_read_as_it_is_written(number: Fraction) -> None:
    assert number_in(written(number)) == number or len(written(number)) > 60


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_any_json_is_found_among_words_and_equal_to_itself(value: Json) -> None:
    text = json.dumps(value)

    assert same_json(json_in(text), value)
    if isinstance(value, list | dict):
        assert same_json(json_in(f"Here: {text} is it"), value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("vibes", "there is no grader 'vibes' (there are: exact, numeric, choice, json, regex:PATTERN"),
     ("", "there is no grader ''"), ("regex:(", "no regular expression")],
)  # fmt: skip
def test_an_unknown_grader_is_refused(name: str, message: str) -> None:
    with pytest.raises(UnknownGrader) as refused:
        grader_of(name)

    assert message in str(refused.value)


class Shouting:
    """A grader of somebody else's."""

    def answer_of(self, text: str) -> Json:
        """All of it."""
        return text.upper()

    def grade(self, text: str, reference: Json) -> bool | None:
        """Whatever the letters' size."""
        return text.upper() == str(reference).upper()


def test_a_grader_that_a_package_offers_is_taken_as_class_or_as_object() -> None:
    for loaded in (Shouting, Shouting()):
        assert plugged_in("shouting", loaded).grade("yes", "YES") is True
    with pytest.raises(UnknownGrader, match="without `answer_of`"):
        plugged_in("shouting", object())


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice("yes", "", "", (), NO_TOKENS, "stop"), "yes"),
        (Choice("", "", "", (ToolCall("find", '{"x": 1}'),), NO_TOKENS, "tool_calls"),
         '{"arguments": {"x": 1}, "name": "find"}'),
        (Choice("Let me see.", "", "", (ToolCall("a", "{"), ToolCall("b", "null")), NO_TOKENS, "tool_calls"),
         'Let me see.\n[{"arguments": "{", "name": "a"}, {"arguments": "null", "name": "b"}]'),
    ],
)  # fmt: skip
def test_calls_of_tools_are_read_as_json(choice: Choice, said: str) -> None:
    assert said_in(choice) == said


@pytest.mark.parametrize(
    "text",
    ["9" * 200_000, "1," * 100_000, "1,23" * 50_000, "[" * 200_000, '{"a":' * 40_000, "{} " * 70_000, "(" * 200_000,
     "answer: " * 25_000, "1 " * 100_000, r"\boxed{" * 30_000, "\\frac{1}{" * 20_000, "** " * 70_000, "```\n" * 50_000,
     "-" * 200_000, "1^" * 100_000, "A " * 100_000, "5" + " " * 200_000, "#" * 200_000],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_a_monstrous_text_is_read_like_any_other(text: str) -> None:
    for name, grader in GRADERS.items():
        assert same_answer(text, "{} 17 (C)", grader) is (name == "json" and text.startswith("{} "))
