"""The demo's questions, and how they are graded."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.demo.curriculum import CELLS, distinct, questions
from models.demo.grading import auroc, is_right
from models.demo.question import Question, Split


def test_no_question_is_in_two_splits() -> None:
    prompts = {split: {question.prompt for question in distinct(split, 1500)} for split in Split}

    assert not prompts[Split.TRAIN] & prompts[Split.THRESHOLD]
    assert not prompts[Split.TRAIN] & prompts[Split.HELD_OUT]
    assert not prompts[Split.THRESHOLD] & prompts[Split.HELD_OUT]


def test_the_same_seed_draws_the_same_questions() -> None:
    first, second = (list(islice(questions(Split.TRAIN, seed="x"), 200)) for _ in range(2))

    assert first == second
    assert first != list(islice(questions(Split.TRAIN, seed="y"), 200))


def test_every_family_and_level_is_held_out_too() -> None:
    tasks = {question.task for question in distinct(Split.HELD_OUT, 3000)}

    assert tasks == {f"{family.name}{level}" for family, level in CELLS}


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("What is 12 - 5?", "12 - 5 = 7."),
        ("Sort up: 39, 94, 6", "6, 39, 94"),
        ("What date is 20 days after 24 February?", "24 + 20 = 44. February has 28 days. It is 16 March."),
    ],
)
def test_questions_have_one_right_answer(prompt: str, answer: str) -> None:
    question = Question("any", prompt, answer)

    assert is_right(question, f" {answer}\n")
    assert not is_right(question, answer[:-1])


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[int, bool]]) -> None:
    right = [score for score, is_positive in pairs if is_positive]
    wrong = [score for score, is_positive in pairs if not is_positive]
    if not right or not wrong:
        with pytest.raises(ValueError, match="right and wrong"):
            auroc([score for score, _ in pairs], [is_positive for _, is_positive in pairs])
        return
    ordered = sum((a > b) + 0.5 * (a == b) for a in right for b in wrong)

    assert auroc([score for score, _ in pairs], [is_positive for _, is_positive in pairs]) == pytest.approx(
        ordered / (len(right) * len(wrong))
    )
