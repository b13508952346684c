"""Asks a model whether recorded drafts are right, with the question and the reading of it that a request meets
(router/opinions.py), so that what is fitted to is what will be served."""

import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from models.answer import Delta, Draft, Finish, Usage
from models.errors import CapabilityMiss
from models.prompt import Prompt
from models.wire import JsonObject, WireReply
from router.call import Tier
from router.lab.asking import Answers, Patience, patiently
from router.lab.judged import text_alone
from router.lab.outcomes import P_TRUE, Opinion, Output
from router.lab.questions import Question
from router.lab.recording import Asked, CannotRecord, cost_of, fingerprint_of, plain
from router.money import Price
from router.opinions import NoOpinion, p_true


@dataclass(frozen=True, slots=True)
class Opining:
    """P(True) of the drafts of one tier, as the tier that is `asked` finds it; itself, or another."""

    drafter: str
    asked: Asked

    async def added(
        self, question: Question, outputs: Mapping[str, Output], patience: Patience
    ) -> Mapping[str, Output]:
        """The outputs, with what is said of the draft. Raises a ModelError, or CannotRecord where there is none."""
        output = outputs.get(self.drafter) or question.outputs.get(self.drafter)
        draft = None if output is None else output.draft() or text_alone(output)
        if output is None or draft is None:
            raise CannotRecord(f"question {question.id!r} has no answer of {self.drafter!r} to ask about: ask it too")
        said = await patiently(lambda: self._said(question.request, draft), patience)
        opinions = {**(output.opinions or {}), P_TRUE: said}
        return {**outputs, self.drafter: output.model_copy(update={"opinions": opinions})}

    async def _said(self, request: JsonObject, draft: Draft) -> Opinion:
        """One asking. Raises a ModelError."""
        began_s, heard = time.perf_counter(), Heard(self.asked.answers)
        tier = Tier(self.asked.name, heard, Price(0, 0), takes_choices=self.asked.takes_choices)
        try:
            value = min(await p_true(tier, Prompt(request, uuid.uuid4().hex), draft, ignored, about="opinion"))
        except (NoOpinion, CapabilityMiss):
            value = None
        return Opinion(
            model=self.asked.model,
            value=value,
            fingerprint=fingerprint_of(self.asked),
            seconds=round(time.perf_counter() - began_s, 6),
            cost=None if heard.reply is None else cost_of(self.asked, heard.usage, plain(heard.reply)),
        )


class Heard:
    """A model whose last reply and usage are kept."""

    takes_handover = False
    goes_on = False

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.reply: WireReply | None = None
        self.usage: Usage | None = None

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """As the model says it."""
        async with aclosing(self._answers.generate(prompt)) as parts:
            async for part in parts:
                if isinstance(part, Delta):
                    self.reply = part.reply
                else:
                    self.usage = part.usage
                yield part


def ignored(_event: object) -> None:
    """Nobody counts what is asked while recording."""
