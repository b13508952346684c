"""`smallfirst demo questions`: prompts with their answers, the same for the same seed."""

import json

import pytest
from cli.test_commands import run

from models.demo.curriculum import distinct
from models.demo.question import Question, Split


async def drawn(*arguments: str) -> list[dict[str, str]]:
    """What the command prints."""
    code, out, err = await run("demo", "questions", *arguments)
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


async def test_the_questions_that_the_demo_is_graded_on_are_printed_with_their_answers() -> None:
    printed = await drawn("--count", "20", "--split", "held-out")

    assert [(one["task"], one["prompt"], one["gold"], one["grader"]) for one in printed] == [
        (question.task, question.prompt, question.answer, "exact") for question in distinct(Split.HELD_OUT, 20)
    ]
    assert len({one["id"] for one in printed}) == 20


@pytest.mark.parametrize("split", ["train", "threshold", "held-out"])
async def test_a_seed_draws_other_questions_of_the_split_each_once(split: str) -> None:
    first, again, other = [await drawn("--count", "300", "--split", split, "--seed", seed) for seed in ("x", "x", "y")]

    assert first == again != other
    assert len({one["id"] for one in first}) == len({one["prompt"] for one in first}) == 300
    assert {Question(one["task"], one["prompt"], one["gold"]).split for one in first} == {split}
