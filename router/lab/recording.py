"""Asks every tier every question, so that what is tuned and certified is what the models really say."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import orjson

from models.answer import Usage
from models.errors import CapabilityMiss, Misconfigured, ModelError
from models.wire import Json, JsonObject, WireReply
from router.graders import said_in
from router.lab.asking import PATIENT, Answers, Patience, Whole, ask
from router.lab.outcomes import Output, Recorded
from router.lab.questions import Question
from router.money import Price
from router.scorers import ALTERNATIVES

T = TypeVar("T")
MOST_IN_A_ROW = 20
UNFINISHED = 2
SEVERAL = " or "  # between the fingerprints of servers that are not alike


class CannotRecord(Exception):
    """A tier cannot be asked, or refuses whatever it is asked."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A tier that is asked: its name, its model's name and where to ask it; without a price, who answers tells the
    cost (`usage.smallfirst.cost`, a gateway). `fingerprints` are what its servers say that they are, `takes_choices`
    whether they can be held to one of some answers."""

    name: str
    model: str
    answers: Answers
    price: Price | None = None
    fingerprints: Callable[[], Collection[str]] = tuple
    takes_choices: bool = True


class Examining(Protocol):
    """Adds to answers what a model says of one of them."""

    @property
    def asked(self) -> Asked:
        """Who is asked."""
        ...

    async def added(
        self, question: Question, outputs: Mapping[str, Output], patience: Patience
    ) -> Mapping[str, Output]:
        """The answers with that. Raises a ModelError or CannotRecord."""
        ...


class Recorder:
    """Asks the tiers, each at most `at_once` questions at a time, and then who is `examining` what they said, and hands
    what is complete to `keep`; `told` hears of every question that is over.

    `refused` and `failed` count the questions that a tier does not take, and those that one could not answer just now;
    `refusal` and `failure` are the first reasons. `unsure` counts the answers, by tier, without log-probabilities.
    """

    def __init__(
        self,
        tiers: Sequence[Asked],
        keep: Callable[[Recorded], Awaitable[None]],
        *,
        at_once: int,
        patience: Patience = PATIENT,
        told: Callable[[], None] = lambda: None,
        examining: Examining | None = None,
    ) -> None:
        self._tiers = tuple(tiers)
        self._examining = examining
        self._keep = keep
        self._patience = patience
        self._told = told
        self._most_in_a_row = max(MOST_IN_A_ROW, UNFINISHED * at_once)
        everyone = [*tiers] if examining is None else [*tiers, examining.asked]
        self._turns = {tier.name: asyncio.Semaphore(at_once) for tier in everyone}
        self._room = asyncio.Semaphore(at_once * UNFINISHED)
        self._answered = set[str]()
        self._in_a_row = Counter[str]()
        self.refused = 0
        self.failed = 0
        self.refusal = ""
        self.failure = ""
        self.unsure = Counter[str]()

    async def run(self, questions: Iterable[Question]) -> None:
        """Ask all of them, with few in memory at a time. Raises CannotRecord, or what `questions` and `keep` raise."""
        try:
            async with asyncio.TaskGroup() as group:
                for question in questions:
                    await self._room.acquire()
                    group.create_task(self._record(question)).add_done_callback(lambda _: self._room.release())
        except BaseExceptionGroup as failed:
            raise leaves(failed)[0] from failed

    async def _record(self, question: Question) -> None:
        try:
            outputs = await self._examined(question, await self._outputs(question))
        except* ModelError as wrong:
            self._not_recorded(leaves(wrong))
        else:
            await self._keep(question.answered(outputs))
        self._told()

    def _not_recorded(self, reasons: Sequence[BaseException]) -> None:
        refusal = next((reason for reason in reasons if isinstance(reason, CapabilityMiss)), None)
        if refusal is None:
            self.failed += 1
            self.failure = self.failure or str(reasons[0])
        else:
            self.refused += 1
            self.refusal = self.refusal or str(refusal)

    async def _outputs(self, question: Question) -> Mapping[str, Output]:
        """What every tier says; the first failure ends the others' work. Raises a group of errors."""
        async with asyncio.TaskGroup() as group:
            asked = {tier.name: group.create_task(self._output(tier, question.request)) for tier in self._tiers}
        return {name: task.result() for name, task in asked.items()}

    async def _output(self, tier: Asked, request: JsonObject) -> Output:
        whole = await self._turn(
            tier, lambda: ask(tier.answers, request, alternatives=ALTERNATIVES, patience=self._patience)
        )
        if not whole.draft.choices[0].tokens:
            self.unsure[tier.name] += 1
        return output_of(tier, whole)

    async def _examined(self, question: Question, outputs: Mapping[str, Output]) -> Mapping[str, Output]:
        """The answers with what is said of them. Raises a ModelError."""
        examining = self._examining
        if examining is None:
            return outputs
        return await self._turn(examining.asked, lambda: examining.added(question, outputs, self._patience))

    async def _turn(self, tier: Asked, asking: Callable[[], Awaitable[T]]) -> T:
        """What comes of it when it is the tier's turn. Raises a ModelError."""
        async with self._turns[tier.name]:
            try:
                said = await asking()
            except ModelError as failed:
                self._judge(tier, failed)
                raise
        self._answered.add(tier.name)
        self._in_a_row[tier.name] = 0
        return said

    def _judge(self, tier: Asked, failed: ModelError) -> None:
        """Raise CannotRecord where it is no use to go on: what is refused here and there is the prompts' fault."""
        if isinstance(failed, Misconfigured):
            raise CannotRecord(f"tier {tier.name!r}: {failed}: see to its address, model and key") from failed
        if isinstance(failed, CapabilityMiss) and tier.name in self._answered:
            return
        self._in_a_row[tier.name] += 1
        if self._in_a_row[tier.name] >= self._most_in_a_row:
            raise CannotRecord(
                f"tier {tier.name!r}: {self._most_in_a_row} questions in a row got no answer, the last one: {failed}"
            ) from failed


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors in a group, and in those within it."""
    found: list[BaseException] = []
    for one in group.exceptions:
        found += leaves(one) if isinstance(one, BaseExceptionGroup) else [one]
    return found


def output_of(tier: Asked, whole: Whole) -> Output:
    """An answer as it is recorded."""
    reply = plain(whole.reply)
    usage = whole.usage
    return Output(
        model=tier.model,
        text=said_in(whole.draft.choices[0]),
        reply=reply,
        fingerprint=fingerprint_of(tier),
        seconds=round(whole.seconds, 6),
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        cost=cost_of(tier, usage, reply),
    )


def fingerprint_of(tier: Asked) -> str | None:
    """What the tier's servers say that they are."""
    return SEVERAL.join(sorted(tier.fingerprints())) or None


def cost_of(tier: Asked, usage: Usage | None, reply: JsonObject) -> float | None:
    """By the tier's price, or as the gateway says."""
    if tier.price is not None:
        return tier.price.of(usage) if usage else None
    cost = at(reply, "usage", "smallfirst", "cost")
    return float(cost) if isinstance(cost, int | float) else None


def at(tree: Json, *path: str) -> Json:
    """The value at that path of an object, None where there is none."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def plain(reply: WireReply) -> JsonObject:
    """The reply as JSON."""
    value: JsonObject = orjson.loads(orjson.dumps(reply))
    return value
