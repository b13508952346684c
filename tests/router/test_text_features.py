"""What is read from a draft's text, feature by feature."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.text_features import LONGEST, TEXT_FEATURES, Asked, features_beside, result_of, sums_in, text_features

OPTIONS = "Which is the largest?\nA. a mouse\nB. an elephant\nC. a whale\nD. "


def feature(name: str, text: str, *, prompt: str = "", answer: str | None = None) -> float:
    """One of them."""
    return text_features(text, prompt=prompt, answer=answer)[f"text-{name}"]


def test_counts_are_logarithms_of_one_more() -> None:
    text = "It may be 7. However, 3 = 4? It may be 7."

    assert feature("length", text) == pytest.approx(math.log(1 + len(text)))
    assert feature("sentences", text) == pytest.approx(math.log(1 + 3))
    assert feature("hedges", text) == pytest.approx(math.log(1 + 3))
    assert feature("equations", text) == pytest.approx(math.log(2))


def test_shares_are_of_all_that_is_said() -> None:
    assert feature("digits", "ab12") == 0.5
    assert feature("capitals", "aBCd") == 0.5
    assert feature("symbols", "a b$") == 0.25
    assert feature("repeated-sentences", "No. No. Yes. No.") == 0.5


def test_what_repeats_itself_compresses_well() -> None:
    assert feature("compressed", "the same again " * 40) < 0.2
    assert feature("compressed", "every word here says what no other word had told us") > 0.8


@pytest.mark.parametrize(("text", "closed"), [("Done.", 1.0), ('{"answer": 4}\n', 1.0), ("and then", 0.0), ("", 0.0)])
def test_an_answer_that_ends_is_closed(text: str, closed: float) -> None:
    assert feature("closed", text) == closed


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("2 + 3 * 4 = 14", [True]),
        ("2 + 3 * 4 = 20", [False]),
        ("16 - 3 - 4 = 9, and 9 x $2 = $18", [True, True]),
        ("$1,200 x 2 = $2,400.", [True]),
        ("10 / 3 = 3.33", [True]),
        ("10 ÷ 4 = 2", [False]),
        ("<<16-3=12>>", [False]),
        ("1 / 0 = 5", []),
        ("4 + 4 = 2 * 4", []),
        ("x + 3 = 7", []),
        ("2 = 2", []),
        ("5 - 3 = -2", [False]),
        ("12 + 3 = 15.50", [False]),
        ("20 - 5 = 15%", []),
        (" + ".join(["1"] * 40) + " = 41", []),
    ],
)
def test_written_sums_are_checked(text: str, right: list[bool]) -> None:
    assert list(sums_in(text)) == right


def test_products_come_before_sums() -> None:
    assert result_of("10 - 2 * 3 / 6 + 1") == 10.0


def test_numbers_of_the_question_that_are_not_taken_up_show() -> None:
    prompt = "There are 1,200 eggs in 3 boxes of 400, for -2.5 a piece"

    assert feature("prompt-numbers-used", "1200 / 3 = 400, at -2.5", prompt=prompt) == 1.0
    assert feature("prompt-numbers-used", "3 boxes of 5", prompt=prompt) == 0.25
    assert feature("own-numbers", "3 boxes of 5, 6 and 5", prompt=prompt) == pytest.approx(math.log(3))


def test_the_chosen_option_is_known_by_its_place() -> None:
    assert feature("answer-option", "It is (B).", prompt=OPTIONS, answer="B") == 0.5
    assert feature("answer-option", "It is (E).", prompt=OPTIONS, answer="E") == 0.0
    assert feature("answer-option", "It is B.", answer="B") == 0.0


def test_other_options_that_were_weighed_before_the_answer_count() -> None:
    text = "A mouse is small, an elephant is not, a whale is more. The answer is (C), no elephant."

    assert feature("other-options", text, prompt=OPTIONS, answer="C") == pytest.approx(math.log(3))
    assert feature("other-options", "The answer is (C).", prompt=OPTIONS, answer="C") == 0.0


def test_an_answer_that_is_a_fraction_shows_by_itself_or_by_its_option() -> None:
    assert feature("answer-fraction", "7.5", answer="7.5") == 1.0
    assert feature("answer-fraction", "7.0", answer="7.0") == 0.0
    assert feature("answer-fraction", "B", prompt="?\nA. 3\nB. 3.5 m", answer="B") == 1.0
    assert feature("answer-found", "so it is", answer=None) == 0.0
    assert feature("answer-found", "so it is 4", answer="4") == 1.0


texts = st.text(st.sampled_from("ab .,?!\n()=+-*/x÷$%0179AB'’\ud800\u0663é"), max_size=300) | st.text(max_size=100)


@given(texts, texts, st.none() | texts)
def test_any_text_has_every_feature_as_a_finite_number(text: str, prompt: str, answer: str | None) -> None:
    features = text_features(text, prompt=prompt, answer=answer)

    assert tuple(features) == TEXT_FEATURES
    assert all(math.isfinite(value) and value >= 0 for value in features.values())
    assert all(name.startswith("text-") for name in features)


def test_numbers_too_large_for_a_float_are_left_out() -> None:
    huge = "9" * 400

    features = text_features(f"{huge} + 1 = {huge}, 3 * {huge} = 4", prompt=huge, answer=huge)

    assert all(map(math.isfinite, features.values()))
    assert features["text-own-numbers"] == pytest.approx(math.log(4))


def test_the_end_of_a_long_text_is_what_counts() -> None:
    assert text_features("7 = 8. " * LONGEST + "a" * LONGEST) == text_features("a" * LONGEST)


def test_the_end_of_a_long_question_is_what_counts() -> None:
    beginning = "A. 7 8 9\n" * LONGEST

    assert features_beside(Asked(beginning + "a" * LONGEST), "7 A", "A") == text_features("7 A", answer="A")


def test_a_question_is_read_once_for_all_drafts() -> None:
    asked = Asked(OPTIONS)

    assert asked.options is asked.options
    assert features_beside(asked, "It is (B).", "B") == text_features("It is (B).", prompt=OPTIONS, answer="B")


def test_an_empty_draft_has_nothing() -> None:
    assert set(text_features("").values()) == {0.0}
