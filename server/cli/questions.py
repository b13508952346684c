"""`smallfirst demo questions`: the demo pair's questions, as prompts to record."""

from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice

import orjson

from models.demo.curriculum import distinct, questions
from models.demo.question import Question, Split


def prompts(split: Split, count: int, seed: str | None) -> Iterator[str]:
    """A line for each question, all of them different; without a seed the ones that the demo is graded on."""
    drawn = distinct(split, count) if seed is None else islice(different(split, seed), count)
    for question in drawn:
        yield orjson.dumps(
            {"id": id_of(question), "task": question.task, "prompt": question.prompt,
             "gold": question.answer, "grader": "exact"}
        ).decode()  # fmt: skip


def different(split: Split, seed: str) -> Iterator[Question]:
    """Endless questions, each once."""
    seen: set[str] = set()
    for question in questions(split, seed=seed):
        if question.prompt not in seen:
            seen.add(question.prompt)
            yield question


def id_of(question: Question) -> str:
    """The same for the same question, whatever seed drew it."""
    return f"{question.task}-{blake2b(question.prompt.encode(), digest_size=8).hexdigest()}"
