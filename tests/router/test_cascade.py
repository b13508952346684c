"""The cascade's own logic, with models that say what they are told."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from models.answer import Delta, Finish, Piece, Usage
from models.errors import ModelError, Overloaded, Unreachable
from models.prompt import Prompt
from models.tokens import Token, Tokens
from router.call import Tier
from router.cascade import Cascade, answer
from router.events import Accepted, Called, Escalated, Event, Failed, Finished, Mode, Planned
from router.failover import Failover
from router.money import LengthRatio, Price
from router.outcome import Outcome
from router.policy import Policy
from router.scorers import SCORERS

PROMPT = Prompt({"messages": [{"role": "user", "content": "is it?"}]}, "id")


@dataclass
class Says:
    """A model; `asked` counts its calls and `closed` those that were ended."""

    text: str
    p: float = 0.99
    error: ModelError | None = None
    hangs: bool = False
    asked: int = 0
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    closed: int = 0
    prompts: list[Prompt] = field(default_factory=list)
    takes_handover: bool = False
    goes_on: bool = True

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        self.asked += 1
        self.was_asked.set()
        self.prompts.append(prompt)
        try:
            if self.hangs:
                await asyncio.Event().wait()
            if self.error is not None:
                raise self.error
            for word in self.text.split():
                piece = Piece(0, {"content": word}, Tokens.of([Token(word, math.log(self.p))]), "stop")
                yield Delta({"choices": []}, (piece,), time.perf_counter())
            yield Finish(Usage(10, len(self.text.split())))
        finally:
            self.closed += 1


def cascade_of(*models: Says, threshold: float = 0.5, mode: Mode = "threshold", share: float = 1.0) -> Cascade:
    """Tiers named a, b, c ..., each ten times as dear as the one before."""
    tiers = tuple(Tier("abc"[place], model, Price(10.0**place, 10.0**place)) for place, model in enumerate(models))
    policy = Policy(mode, SCORERS["mean-logprob"], threshold, ("empty",), "escalate")
    return Cascade("test", tiers, policy, LengthRatio(), Failover(share))


async def run(cascade: Cascade) -> tuple[str, list[Event]]:
    """The answer's text, and what happened."""
    events: list[Event] = []
    async with aclosing(answer(cascade, PROMPT, events.append)) as parts:
        deltas = [part async for part in parts if isinstance(part, Delta)]
    return " ".join(str(piece.message["content"]) for delta in deltas for piece in delta.pieces), events


async def test_the_story_of_an_accepted_draft() -> None:
    text, events = await run(cascade_of(Says("yes"), Says("no")))

    assert text == "yes"
    assert [type(event).__name__ for event in events] == [
        "Planned", "Asked", "Began", "Wrote", "Called", "Scored", "Drafted", "Accepted", "Finished"
    ]  # fmt: skip
    assert events[0] == Planned("test", ("a", "b"), "threshold", 0.5)
    assert events[-2:] == [Accepted("a", "sure"), Finished("a")]


async def test_three_tiers_are_asked_in_order_until_one_is_sure() -> None:
    first, second, third = Says("eh", p=0.1), Says("yes"), Says("no")

    text, events = await run(cascade_of(first, second, third))

    assert text == "yes"
    assert Escalated("a", "b", "unsure") in events
    assert (first.asked, second.asked, third.asked) == (1, 1, 0)


async def test_confidence_equal_to_the_threshold_is_enough() -> None:
    text, _ = await run(cascade_of(Says("yes", p=0.5), Says("no"), threshold=math.exp(math.log(0.5))))

    assert text == "yes"


async def test_only_drafters_are_asked_for_evidence() -> None:
    small, large = Says("eh", p=0.1), Says("no")

    await run(cascade_of(small, large))

    assert small.prompts[0].alternatives == 0
    assert large.prompts[0].alternatives is None


async def test_a_failed_drafter_costs_nothing_and_escalates() -> None:
    cascade = cascade_of(Says("", error=Overloaded("busy")), Says("no"))
    outcome = Outcome(cascade)

    async with aclosing(answer(cascade, PROMPT, outcome.observe)) as parts:
        _ = [part async for part in parts]

    assert outcome.reason == "overloaded"
    assert outcome.spent["a"].cost == 0
    assert outcome.tier == "b"


async def test_the_final_tiers_error_is_raised_and_told() -> None:
    cascade = cascade_of(Says("eh", p=0.1), Says("", error=Unreachable("gone")))
    events: list[Event] = []

    with pytest.raises(Unreachable):
        async with aclosing(answer(cascade, PROMPT, events.append)) as parts:
            _ = [part async for part in parts]

    assert Failed("b", "unreachable") in events
    assert not any(isinstance(event, Finished) for event in events)


@pytest.mark.parametrize("place", [0, 1])
async def test_cancelling_ends_the_call_that_runs_and_counts_it(place: int) -> None:
    models = [Says("eh", p=0.1), Says("no")]
    models[place].hangs = True
    events: list[Event] = []

    async def consume() -> None:
        async with aclosing(answer(cascade_of(*models), PROMPT, events.append)) as parts:
            _ = [part async for part in parts]

    task = asyncio.create_task(consume())
    async with asyncio.timeout(5):
        await models[place].was_asked.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert models[place].closed == 1
    called = [event for event in events if isinstance(event, Called)][-1]
    assert called.usage.estimated
    assert called.usage.prompt_tokens > 0


async def test_what_the_final_tier_alone_would_cost_is_learned_from_escalations() -> None:
    small, large = Says("eh", p=0.1), Says("a much longer answer")
    cascade = cascade_of(small, large)
    await story(cascade)
    small.p = 0.9

    outcome = await story(cascade)

    assert outcome.estimates_final
    assert outcome.cost_final_alone == pytest.approx((10 + 4) * 10 / 1e6)


async def story(cascade: Cascade) -> Outcome:
    """One request's outcome."""
    outcome = Outcome(cascade)
    async with aclosing(answer(cascade, PROMPT, outcome.observe)) as parts:
        _ = [part async for part in parts]
    return outcome
