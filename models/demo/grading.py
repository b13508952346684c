"""How good the demo pair is: accuracy by task, and whether the small model knows when it is right."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from models.demo.question import Question


@dataclass(frozen=True, slots=True)
class Graded:
    """One question: whether each model was right, and the small one's mean log-probability in nats."""

    question: Question
    small_right: bool
    large_right: bool
    small_mean_logprob: float


@dataclass(frozen=True, slots=True)
class Row:
    """A task's number of questions, and the shares that each model, and either, got right; in [0, 1]."""

    task: str
    questions: int
    small: float
    large: float
    either: float


def is_right(question: Question, text: str) -> bool:
    """Graded by exact answer, surrounding space aside."""
    return text.strip() == question.answer


def table(graded: Sequence[Graded]) -> list[Row]:
    """A row for each task, and one for all of them at the end."""
    by_task: defaultdict[str, list[Graded]] = defaultdict(list)
    for one in graded:
        by_task[one.question.task].append(one)
    return [*(row(task, by_task[task]) for task in sorted(by_task)), row("all", graded)]


def row(task: str, graded: Sequence[Graded]) -> Row:
    """The shares over some questions (at least one)."""
    count = len(graded)
    return Row(
        task,
        count,
        sum(one.small_right for one in graded) / count,
        sum(one.large_right for one in graded) / count,
        sum(one.small_right or one.large_right for one in graded) / count,
    )


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The probability that a right answer scores above a wrong one, ties counting half (Mann and Whitney 1947).

    Raises ValueError where all answers are right, or all wrong.
    """
    positives = sum(right)
    negatives = len(right) - positives
    if not positives or not negatives:
        raise ValueError("AUROC needs right and wrong answers")
    order = sorted(range(len(scores)), key=lambda index: scores[index])
    ranks = [0.0] * len(scores)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and scores[order[end]] == scores[order[start]]:
            end += 1
        for place in range(start, end):
            ranks[order[place]] = (start + 1 + end) / 2
        start = end
    rank_sum = sum(rank for rank, is_positive in zip(ranks, right, strict=True) if is_positive)
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown, in per cent."""
    lines = ["| task | questions | small | large | either |", "|---|--:|--:|--:|--:|"]
    for one in rows:
        shares = " | ".join(f"{100 * share:.1f}" for share in (one.small, one.large, one.either))
        lines.append(f"| {one.task} | {one.questions} | {shares} |")
    return "\n".join(lines)
