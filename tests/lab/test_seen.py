"""The sketch by which an artefact knows again what it was made of."""

import pytest

from router.lab.outcomes import Recorded
from router.lab.seen import MOST, mark_of, share_seen, sketch_of


def question(name: str, **fields: object) -> Recorded:
    """One without words, but for these fields."""
    return Recorded.model_validate({"id": name, "outputs": {}, **fields})


def marks(first: int, count: int) -> list[str]:
    """Those of so many questions."""
    return [mark_of(question("x", prompt=f"question {number}")) for number in range(first, first + count)]


def test_what_was_asked_is_what_counts() -> None:
    asked = {"role": "user", "content": "is it?"}
    one = question("1", prompt="is it?")

    assert mark_of(one) == mark_of(question("2", request={"messages": [dict(reversed(asked.items()))], "seed": 7}))
    assert mark_of(one) != mark_of(question("1", prompt="is it not?"))
    assert mark_of(one) != mark_of(question("1", request={"messages": [{"role": "system", "content": "x"}, asked]}))


def test_without_words_a_question_is_its_id_task_and_right_answer() -> None:
    one = question("1", task="sums", gold=3)

    assert mark_of(one) == mark_of(question("1", task="sums", gold=3, graded_by="exact"))
    assert mark_of(one) not in {
        mark_of(question("1", task="sums", gold=4)),
        mark_of(question("2", task="sums", gold=3)),
    }


@pytest.mark.parametrize(("again", "fresh", "share"), [(10, 0, 1.0), (10, 30, 0.25), (0, 30, 0.0), (0, 0, 0.0)])
def test_of_few_questions_the_share_is_exact(again: int, fresh: int, share: float) -> None:
    sketch = sketch_of(marks(0, 100))

    assert share_seen(sketch, [*marks(0, again), *marks(1000, fresh)]) == share


def test_of_many_questions_the_share_is_estimated_from_a_sample() -> None:
    sketch = sketch_of(marks(0, 20_000))

    assert len(sketch) == 12 * MOST
    assert share_seen(sketch, marks(10_000, 20_000)) == pytest.approx(0.5, abs=0.05)
    assert share_seen(sketch, marks(0, 2_000)) == 1.0
    assert share_seen(sketch, marks(20_000, 2_000)) == 0.0


def test_nothing_is_known_without_a_sketch() -> None:
    assert share_seen("", marks(0, 10)) == 0.0
