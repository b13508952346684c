"""Grades by a judge: a model that is shown two answers, in both orders, and says which are good.

A judge prefers the first answer, or the second, more often than it should (Zheng et al., Judging LLM-as-a-judge,
2023): a mark that changes with the order counts as none, and how often that happens is told.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from models.errors import CapabilityMiss, ModelError
from models.forms import texts_of
from models.wire import JsonObject
from router.lab.asking import PATIENT, Answers, Patience, ask
from router.lab.grading import CannotGrade, Mark, answers_of, final_of
from router.lab.outcomes import Recorded

VERDICT = re.compile(r"\bverdict\b\W{0,12}(A|B|both|neither)\b", re.IGNORECASE)
GOOD = {"a": (True, False), "b": (False, True), "both": (True, True), "neither": (False, False)}

ASKED = """Judge two answers to a question. An answer is good if it does what the question asks for, and everything in \
it that matters is correct; how it is worded or how long it is does not matter, nor does which answer comes first.

<question>
{question}
</question>
{reference}
<answer_a>
{a}
</answer_a>

<answer_b>
{b}
</answer_b>

Say briefly what is wrong with each answer, if anything. Then end with one of these lines, and nothing after it:
Verdict: A (only answer A is good)
Verdict: B (only answer B is good)
Verdict: both (both are good)
Verdict: neither (none of them is good)"""
REFERENCE = "\n<reference_answer>\n{gold}\n</reference_answer>\n"


@dataclass(slots=True)
class OrderBias:
    """How much a judge's verdicts owe to the order: of `pairs` that were judged in both orders, those that
    `changed` with it; of the verdicts for one answer alone, those for the `first` and for the `second`; and those that
    could not be read."""

    pairs: int = 0
    changed: int = 0
    first: int = 0
    second: int = 0
    unreadable: int = 0

    def add(self, good: tuple[bool, bool] | None) -> None:
        """Take in one verdict."""
        self.unreadable += good is None
        self.first += good == (True, False)
        self.second += good == (False, True)


@dataclass(frozen=True, slots=True)
class ByJudge:
    """Each tier's answer beside the final tier's, whose name is `final`; None for the last tier of a question."""

    judge: Answers
    final: str | None = None
    patience: Patience = PATIENT
    bias: OrderBias = field(default_factory=OrderBias)

    async def examine(self, question: Recorded) -> Mapping[str, Mark]:
        """The marks; of the final tier only one that all comparisons share."""
        texts = answers_of(question)
        final = final_of(question, self.final)
        drafts = {tier: text for tier, text in texts.items() if tier != final and final in texts}
        pairs = {tier: await self._pair(question, text, texts[final]) for tier, text in drafts.items()}
        of_final = {mark for _, mark in pairs.values()}
        good = {tier: mark for tier, (mark, _) in pairs.items()}
        good[final] = of_final.pop() if len(of_final) == 1 else None
        return {tier: Mark(question.outputs[tier].answer, good.get(tier)) for tier in texts}

    async def _pair(self, question: Recorded, draft: str, final: str) -> tuple[bool | None, bool | None]:
        """Whether each is good; None where the orders disagree. Two that are alike have only one order."""
        there = await self._verdict(question, draft, final)
        back = there if draft == final else await self._verdict(question, final, draft)
        self.bias.pairs += 1
        if there is None or back is None:
            return None, None
        marks = (agreed(there[0], back[1]), agreed(there[1], back[0]))
        self.bias.changed += None in marks
        return marks

    async def _verdict(self, question: Recorded, a: str, b: str) -> tuple[bool, bool] | None:
        """Whether A and B are good; None where the judge does not say, or does not take so long a question."""
        try:
            whole = await ask(self.judge, request_of(question, a, b), alternatives=None, patience=self.patience)
        except CapabilityMiss:
            good = None
        except ModelError as failed:
            raise CannotGrade(f"the judge: {failed}") from failed
        else:
            good = verdict_in(whole.draft.choices[0].text)
        self.bias.add(good)
        return good


def request_of(question: Recorded, a: str, b: str) -> JsonObject:
    """What the judge is asked."""
    reference = "" if question.gold is None else REFERENCE.format(gold=question.gold)
    told = ASKED.format(question=conversation_of(question), reference=reference, a=a, b=b)
    return {"messages": [{"role": "user", "content": told}], "temperature": 0}


def conversation_of(question: Recorded) -> str:
    """What was asked: the one message, or all of them with who said each. Raises CannotGrade where it has no text."""
    messages = (question.request or {}).get("messages")
    turns = [turn for turn in messages if isinstance(turn, dict)] if isinstance(messages, list) else []
    if len(turns) > 1:
        return "\n\n".join(f"{turn.get('role')}: {texts_of(turn.get('content'))}" for turn in turns)
    if question.prompt is None:
        raise CannotGrade(f"question {question.id!r} has no text that a judge could be shown")
    return question.prompt


def verdict_in(text: str) -> tuple[bool, bool] | None:
    """Whether A and B are good by a verdict; None where the text has none."""
    said = VERDICT.findall(text)
    word = said[-1] if said else text.strip().strip("*.()[]\"'")
    return GOOD.get(word.lower())


def agreed(one: bool, other: bool) -> bool | None:
    """The mark that both orders give."""
    return one if one == other else None
