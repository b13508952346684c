"""What models say of a draft when they are asked about it: the answers to the questions that a scorer reads.

All of one draft's questions are asked at once, and what needs no draft is asked while that is being written. Where one
is not answered the others are of no use.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from msgspec import Struct, structs

from models.answer import Delta, Draft, draft_of
from models.errors import CapabilityMiss, ModelError, TimedOut
from models.prompt import Prompt
from router.agreement import agreement_of, helper_request
from router.call import Observe, Tier, metered
from router.events import About, Asked, Called, Event, Failed, Opined, Verdict
from router.graders import Grader, said_in
from router.p_true import p_true_of, p_true_request
from router.scorers import AskingName

ANSWERED_WITHIN_S = 10.0  # a question that is one token's work
MOST_CHOICES = 8  # of a draft, to ask about each

T = TypeVar("T")


class NoOpinion(Exception):
    """Nothing can be told of the draft from what was said."""


class Attempt:
    """A draft that questions are about, from when it is begun: what it answers, who writes it, and then the draft."""

    def __init__(self, prompt: Prompt, drafter: Tier) -> None:
        self.prompt = prompt
        self.drafter = drafter
        self._draft: asyncio.Future[Draft] = asyncio.get_running_loop().create_future()

    def ended(self, draft: Draft) -> None:
        """The draft is whole."""
        self._draft.set_result(draft)

    async def draft(self) -> Draft:
        """The draft, when it is whole."""
        return await asyncio.shield(self._draft)


class Opinion(Protocol):
    """One question about drafts."""

    @property
    def tier(self) -> Tier | None:
        """Who is asked; None: whoever wrote the draft."""
        ...

    async def ask(self, attempt: Attempt, observe: Observe) -> Sequence[float]:
        """The answer for each choice of the draft, in [0, 1]. Raises NoOpinion or a ModelError."""
        ...


@dataclass(frozen=True, slots=True)
class PTrue:
    """P(True): how likely a model finds it that the draft is right; the drafter itself, or another tier."""

    tier: Tier | None = None

    async def ask(self, attempt: Attempt, observe: Observe) -> Sequence[float]:
        """One call for each choice, at once, when the draft is whole."""
        draft = await attempt.draft()
        return await p_true(self.tier or attempt.drafter, attempt.prompt, draft, observe, about="opinion")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether a helper that answers the same request comes to the same final answer, as the grader finds it."""

    tier: Tier
    grader: Grader

    async def ask(self, attempt: Attempt, observe: Observe) -> Sequence[float]:
        """The helper answers while the drafter does; all choices for one prompt are compared with its one answer."""
        asking = Prompt(helper_request(attempt.prompt.fields), attempt.prompt.request_id, form=attempt.prompt.form,
                        salt=attempt.prompt.salt)  # fmt: skip
        helped = draft_of(await said(self.tier, asking, observe, about="opinion"))
        draft = await attempt.draft()
        each, rest = divmod(len(draft.choices), max(1, len(helped.choices)))
        if rest or not each:
            raise NoOpinion
        return [
            self._compared(said_in(choice), said_in(helped.choices[place // each]))
            for place, choice in enumerate(draft.choices)
        ]

    def _compared(self, draft_text: str, helper_text: str) -> float:
        agreement = agreement_of(draft_text, helper_text, self.grader)
        if agreement is None:
            raise NoOpinion
        return agreement


@dataclass(frozen=True, slots=True)
class Answers:
    """What was said of each choice of a draft, by the question's name; nothing where a question was not answered, and
    `failed` where that is because a tier failed."""

    of_choices: tuple[Mapping[str, float], ...] = ()
    failed: bool = False


class Asking:
    """Some questions about one draft, on their way until it is left."""

    def __init__(self, opinions: Mapping[AskingName, Opinion], attempt: Attempt, observe: Observe) -> None:
        self._names = tuple(opinions)
        self._attempt = attempt
        self._observe = observe
        self._asked = asyncio.create_task(all_of(one.ask(attempt, observe) for one in opinions.values()))

    async def answers(self, draft: Draft) -> Answers:
        """What they come to, now that the draft is whole."""
        began_s, answers = time.perf_counter(), Answers()
        self._attempt.ended(draft)
        try:
            answers = await self._said()
        finally:
            waited_s = time.perf_counter() - began_s
            self._observe(Opined(self._attempt.drafter.name, answers.of_choices, waited_s))
        return answers

    async def end(self) -> None:
        """Stop what is still under way."""
        self._asked.cancel()
        await asyncio.gather(self._asked, return_exceptions=True)

    async def _said(self) -> Answers:
        try:
            values = await self._asked
        except (NoOpinion, CapabilityMiss):
            return Answers()
        except ModelError:
            return Answers(failed=True)
        return Answers(tuple(dict(zip(self._names, of_one, strict=True)) for of_one in zip(*values, strict=True)))


class Panel(Struct, frozen=True):
    """Who is asked about a cascade's drafts: the opinions that its scorer may read, by name, and the final tier, whose
    word on a draft is the verdict."""

    final: Tier
    opinions: Mapping[AskingName, Opinion] = field(default_factory=dict)

    def asking(self, names: Sequence[str], attempt: Attempt, observe: Observe) -> Asking | None:
        """The questions of these names about a draft that is begun now, to be ended; None where there are none, or one
        that nobody can be asked."""
        asked = {name: opinion for name, opinion in self.opinions.items() if name in names}
        return Asking(asked, attempt, observe) if asked and len(asked) >= len(names) else None

    async def verdict(self, prompt: Prompt, draft: Draft, observe: Observe) -> float | None:
        """How likely the final tier finds it that every choice of the draft is right, by the least likely one; None
        where it does not tell. Raises a ModelError."""
        try:
            probability = min(await p_true(self.final, prompt, draft, observe, about="verdict"))
        except (NoOpinion, CapabilityMiss):
            return None
        observe(Verdict(self.final.name, probability))
        return probability


async def p_true(tier: Tier, prompt: Prompt, draft: Draft, observe: Observe, *, about: About) -> Sequence[float]:
    """P(right) of each choice, as the tier finds it. Raises NoOpinion or a ModelError."""
    if len(draft.choices) > MOST_CHOICES:
        raise NoOpinion
    texts = map(said_in, draft.choices)
    bodies = [
        p_true_request(prompt.fields, text, choice=place, extras=tier.takes_choices) for place, text in enumerate(texts)
    ]
    askings = [Prompt(body, prompt.request_id, form=prompt.form, salt=prompt.salt) for body in bodies]
    return await all_of(answered(tier, asking, observe, about=about) for asking in askings)


async def answered(tier: Tier, asking: Prompt, observe: Observe, *, about: About) -> float:
    """What one P(True) question comes to. Raises NoOpinion or a ModelError."""
    deltas = await said(tier, asking, observe, about=about, within_s=ANSWERED_WITHIN_S)
    probability = p_true_of(deltas[0].reply) if deltas else None
    if probability is None:
        raise NoOpinion
    return probability


async def said(
    tier: Tier, asking: Prompt, observe: Observe, *, about: About, within_s: float | None = None
) -> Sequence[Delta]:
    """All that a tier answers to a request that is ours and no client's; of its events the call's beginning, its end
    and its failure. Raises a ModelError."""

    def overheard(event: Event) -> None:
        if isinstance(event, Asked | Called):
            observe(structs.replace(event, about=about))

    try:
        if (lacked := tier.lacks(asking)) is not None:
            raise CapabilityMiss(f"messages: the model takes no {lacked}", param="messages")
        async with within(within_s), aclosing(metered(tier, asking, overheard)) as parts:
            return [part async for part in parts if isinstance(part, Delta)]
    except ModelError as error:
        observe(Failed(tier.name, error.reason, about))
        raise


@asynccontextmanager
async def within(seconds: float | None) -> AsyncIterator[None]:
    """So long and no longer; None: as long as it takes. Raises TimedOut."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as late:
        raise TimedOut("a question about a draft took too long") from late


async def all_of(asked: Iterable[Coroutine[None, None, T]]) -> Sequence[T]:
    """What all of them come to, at once; the first that fails ends the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in asked]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
