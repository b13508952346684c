"""Gives every answer to a recorded question its marks: the answer that it comes to, and whether that is right."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from models.wire import Json
from router.graders import Grader, grader_of, same_answer
from router.lab.outcomes import Output, Recorded

AGREEMENT = "agreement"
JUDGE = "judge"
COMMAND = "command"
COMPARING = (AGREEMENT, JUDGE)


class CannotGrade(Exception):
    """A question cannot be graded as it is wanted."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What an answer comes to, and whether it is right; None where that cannot be told."""

    answer: Json
    correct: bool | None


class Examiner(Protocol):
    """Marks all answers to a question."""

    async def examine(self, question: Recorded) -> Mapping[str, Mark]:
        """The marks, by tier, of those that said something. Raises CannotGrade."""
        ...


@dataclass(frozen=True, slots=True)
class ByReference:
    """Each answer by the question's own `gold`."""

    grader: Grader

    async def examine(self, question: Recorded) -> Mapping[str, Mark]:
        """The marks."""
        return {
            tier: Mark(self.grader.answer_of(text), self.grader.grade(text, question.gold))
            for tier, text in answers_of(question).items()
        }


@dataclass(frozen=True, slots=True)
class ByAgreement:
    """Each answer by the final tier's, which counts as right: no reference is needed, and what is measured is
    disagreement. `final` is its name; None for the last tier of a question."""

    grader: Grader
    final: str | None = None

    async def examine(self, question: Recorded) -> Mapping[str, Mark]:
        """The marks; none can be told where the final tier gave no answer."""
        texts = answers_of(question)
        final = final_of(question, self.final)
        reference = texts.get(final)
        if reference is None or self.grader.answer_of(reference) is None:
            return {tier: Mark(self.grader.answer_of(text), None) for tier, text in texts.items()}
        return {
            tier: Mark(self.grader.answer_of(text), tier == final or same_answer(text, reference, self.grader))
            for tier, text in texts.items()
        }


@dataclass(slots=True)
class TierTally:
    """Of one tier's answers: how many are right, wrong, and neither for sure; their seconds, tokens and cost."""

    answers: int = 0
    right: int = 0
    wrong: int = 0
    untold: int = 0
    seconds: float = 0.0
    tokens: int = 0
    cost: float = 0.0

    @property
    def graded(self) -> int:
        """Those that a grader had to do with."""
        return self.right + self.wrong + self.untold

    def add(self, output: Output, *, graded: bool) -> None:
        """Take in an answer."""
        self.answers += 1
        self.right += graded and output.correct is True
        self.wrong += graded and output.correct is False
        self.untold += graded and output.correct is None
        self.seconds += output.seconds or 0.0
        self.tokens += output.completion_tokens or 0
        self.cost += output.cost or 0.0


@dataclass(slots=True)
class Tally:
    """What there is, tier by tier."""

    tiers: dict[str, TierTally] = field(default_factory=dict)
    questions: int = 0
    ungraded: int = 0

    def add(self, question: Recorded) -> None:
        """Take in a question."""
        graded = question.graded_by is not None
        self.questions += 1
        self.ungraded += not graded
        for tier, output in question.outputs.items():
            self.tiers.setdefault(tier, TierTally()).add(output, graded=graded)


class Examiners:
    """The examiner of each question: of the grader that it names itself, else of `default`; each is made once.

    A file may not name a grader that runs commands or asks servers: those that `special` makes are the operator's own
    choice, and so is `default`.
    """

    def __init__(
        self,
        default: str | None,
        *,
        final: str | None = None,
        special: Mapping[str, Callable[[str], Examiner]] | None = None,
    ) -> None:
        self._default = default
        self._final = final
        self._special = special or {}
        self._made: dict[str, Examiner] = {}
        if default is not None:
            self._made[default] = self._make(default)

    def wanted(self, question: Recorded) -> str | None:
        """How the question is graded, as `graded_by` will say it."""
        name = question.grader or self._default
        if name is None or self._final is None or kind_of(name) not in COMPARING:
            return name
        return f"{name} with {self._final}"

    def check(self, name: str) -> None:
        """Raise UnknownGrader or CannotGrade where a question names what it may not."""
        self._examiner(name)

    async def grade(self, question: Recorded) -> Recorded:
        """The question with its marks; as it is where nobody says how to grade it. Raises UnknownGrader or
        CannotGrade."""
        name = question.grader or self._default
        if name is None:
            return question
        return marked(question, self.wanted(question), await self._examiner(name).examine(question))

    def _examiner(self, name: str) -> Examiner:
        if name not in self._made:
            if kind_of(name) in self._special:
                raise CannotGrade(f"a question names the grader {name!r}: only --grader may name one of that kind")
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Examiner:
        kind, rest = kind_of(name), name.partition(":")[2]
        if kind in self._special:
            return self._special[kind](rest)
        if kind == AGREEMENT:
            return ByAgreement(grader_of(rest or "exact"), self._final)
        return ByReference(grader_of(name))


def kind_of(name: str) -> str:
    """What a grader's name begins with, before what is said of it."""
    return name.partition(":")[0]


def answers_of(question: Recorded) -> Mapping[str, str]:
    """What each tier said: its text, or the answer alone where only that was recorded."""
    said = {tier: said_by(output) for tier, output in question.outputs.items()}
    return {tier: text for tier, text in said.items() if text is not None}


def said_by(output: Output) -> str | None:
    """The text, else the answer, one that is no text as JSON."""
    if output.text is not None or output.answer is None:
        return output.text
    return output.answer if isinstance(output.answer, str) else json.dumps(output.answer)


def final_of(question: Recorded, name: str | None) -> str:
    """The final tier's name. Raises CannotGrade where the question has no output of it, or it is not known."""
    tiers: Sequence[str] = [*question.outputs]
    if name is None and len(tiers) == 2:
        return tiers[-1]
    if name is None or name not in tiers:
        names = ", ".join(tiers) or "none"
        raise CannotGrade(f"question {question.id!r}: say with --final which tier is the final one (it has: {names})")
    return name


def marked(question: Recorded, name: str | None, marks: Mapping[str, Mark]) -> Recorded:
    """The question with these marks, by that grader; answers without marks stay as they are."""
    if not marks:
        return question
    outputs = {
        tier: output.model_copy(update=update_of(output, marks[tier])) if tier in marks else output
        for tier, output in question.outputs.items()
    }
    return question.model_copy(update={"graded_by": name, "outputs": outputs})


def update_of(output: Output, mark: Mark) -> Mapping[str, Json]:
    """The fields that a mark changes; an answer that is all that was recorded stays."""
    answer = output.answer if output.text is None else mark.answer
    return {"answer": answer, "correct": mark.correct}
