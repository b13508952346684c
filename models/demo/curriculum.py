"""The demo pair's curriculum: every family and level, drawn from a seed into splits that share no question.

A split is a function of the prompt alone (see `Question.split`), so a question can be told apart for ever, whatever
seed drew it. Answers are exact: one text counts as right.
"""

from collections.abc import Iterator
from random import Random

from models.demo.families import arithmetic, facts, measures, numbers, reading, text
from models.demo.question import Family, Question, Split

FAMILIES: tuple[Family, ...] = (
    *arithmetic.FAMILIES,
    *numbers.FAMILIES,
    *text.FAMILIES,
    *measures.FAMILIES,
    *reading.FAMILIES,
    *facts.FAMILIES,
)
CELLS = tuple((family, level) for family in FAMILIES for level in family.weights)
WEIGHTS = tuple(family.weights[level] for family, level in CELLS)


def questions(split: Split, *, seed: str) -> Iterator[Question]:
    """Endless questions of one split, drawn by the levels' weights; the same seed draws the same ones."""
    random = Random(seed)
    while True:
        family, level = random.choices(CELLS, WEIGHTS)[0]
        prompt, answer = family.ask(random, level)
        question = Question(f"{family.name}{level}", prompt, answer)
        if question.split == split:
            yield question


def distinct(split: Split, count: int) -> list[Question]:
    """The split's first `count` different questions: the fixed set that is graded or tuned on."""
    found: dict[str, Question] = {}
    for question in questions(split, seed=f"{split} questions"):
        found.setdefault(question.prompt, question)
        if len(found) == count:
            return list(found.values())
    raise AssertionError("the stream of questions is endless")
